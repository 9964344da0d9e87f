"""A server's folder that cannot be used: status 1 and a sentence that names it, in foreground and background."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.integration.test_twistd import SOON, TWISTD, Workplace, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: root may read everything; without these two capabilities the modes of files hold for root, too
AS_ANYBODY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()

HOW = pytest.mark.parametrize(
    "how", [("-n", "--pidfile="), ("--pidfile=server.pid",)], ids=["foreground", "background"]
)


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    made = Workplace(tmp_path)
    yield made
    made.stop_all()


def refusal(workplace: Workplace, how: tuple[str, ...]) -> str:
    """The only problem that a start tells."""
    if AS_ANYBODY:
        assert shutil.which(AS_ANYBODY[0]), "setpriv (util-linux) is needed to test as root"
    run = subprocess.run(
        [*AS_ANYBODY, *TWISTD, *how, *workplace.arguments("--listen", "tcp:0:interface=127.0.0.1")],
        cwd=workplace.folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    head, problem = run.stderr.splitlines()
    assert head == "The server was not started:"
    assert not workplace.pidfile.exists()
    return problem.strip()


def closed(path: Path) -> Callable[[], None]:
    """Takes all rights on a folder; the result gives them back, so that it can be removed."""
    mode = path.stat().st_mode
    path.chmod(0)
    return lambda: path.chmod(mode)


@HOW
def test_a_folder_that_cannot_be_read(workplace: Workplace, how: tuple[str, ...]) -> None:
    workplace.home.mkdir(parents=True)
    (workplace.home / "server.toml").write_text("")
    give_back = closed(workplace.home)
    try:
        assert refusal(workplace, how) == "server.toml cannot be read: Permission denied"
    finally:
        give_back()


@HOW
def test_a_base_that_cannot_be_read(workplace: Workplace, how: tuple[str, ...]) -> None:
    workplace.base.mkdir()
    give_back = closed(workplace.base)
    try:
        assert refusal(workplace, how) == f"{workplace.base} cannot be read: Permission denied"
    finally:
        give_back()


@HOW
def test_a_store_that_cannot_be_written(workplace: Workplace, how: tuple[str, ...]) -> None:
    images = workplace.folder / "images"
    images.mkdir(mode=0o500)
    workplace.home.mkdir(parents=True)
    (workplace.home / "server.toml").write_text(f'[archive]\nstore = "{images}"\n')
    assert refusal(workplace, how) == f"server.toml:2: archive.store: you may not write to {images}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
@HOW
def test_a_folder_of_another_user(workplace: Workplace, how: tuple[str, ...]) -> None:
    workplace.home.mkdir(parents=True)
    os.chown(workplace.home, 65534, 65534)
    found = refusal(workplace, how)
    assert found.startswith(
        f"{workplace.home} belongs to user 65534, not to you (user 0): start the server as that user"
    )


@HOW
def test_a_base_that_is_a_file(workplace: Workplace, how: tuple[str, ...]) -> None:
    workplace.base.write_text("")
    assert str(workplace.base) in refusal(workplace, how)
