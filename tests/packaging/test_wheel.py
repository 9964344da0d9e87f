"""The wheel as a user gets it: built, installed into an empty environment, run from a folder far from the sources."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import txdicom

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
#: seconds until a server that was just started must accept, and until one that was told to stop must have ended
START, STOP = 60.0, 60.0
#: what pip prints when it reaches no index
UNREACHABLE = "Retrying (Retry("

pytestmark = pytest.mark.timeout(600)


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead to the sources or to settings of this machine's user."""
    leading = ("PYTHON", "VIRTUAL_ENV", "TXDICOM_", "COV")
    return {name: value for name, value in os.environ.items() if not name.startswith(leading)}


def run(command: Sequence[str | Path], cwd: Path, seconds: float = 300.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=clean_environment(), timeout=seconds, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT], folder)
    assert built.returncode == 0, built.stdout + built.stderr
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs' folder of a new virtual environment that holds the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    made = run([sys.executable, "-m", "venv", folder], folder)
    assert made.returncode == 0, made.stdout + made.stderr
    programs = folder / "bin"
    pip = run([programs / "python", "-m", "pip", "install", "--disable-pip-version-check", wheel], folder)
    output = pip.stdout + pip.stderr
    if pip.returncode and UNREACHABLE in output and not os.environ.get("TXDICOM_REQUIRE_PEERS"):
        pytest.skip("no package index can be reached to install the wheel's dependencies")
    assert pip.returncode == 0, output
    return programs


def test_the_wheel_holds_the_package_and_the_plugin_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    information = f"txdicom-{txdicom.__version__}.dist-info/"
    ours = [name for name in names if not name.startswith((information, "txdicom/"))]
    assert ours == ["twisted/plugins/txdicom_plugin.py"]
    assert {"txdicom/__init__.py", "txdicom/py.typed", f"{information}licenses/LICENSE"} <= set(names)
    assert [name for name in names if "__pycache__" in name] == []
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "txdicom").rglob("*.py")}
    assert sources <= set(names)


def test_what_is_installed_is_consistent(installed: Path, tmp_path: Path) -> None:
    check = run([installed / "python", "-m", "pip", "--disable-pip-version-check", "check"], tmp_path)
    assert check.returncode == 0, check.stdout + check.stderr
    found = run([installed / "python", "-c", "import txdicom; print(txdicom.__file__)"], tmp_path)
    assert found.stdout.startswith(str(installed.parent)), found.stdout + found.stderr


def test_twistd_knows_the_server(installed: Path, tmp_path: Path) -> None:
    shown = run([installed / "twistd", "dicomserver", "--help"], tmp_path)
    assert shown.returncode == 0, shown.stderr
    for option in ("--base", "--ae-title", "--listen", "--set"):
        assert option in shown.stdout
    assert "Traceback" not in shown.stdout + shown.stderr


def await_accepting(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the server did not accept within {START:g} s:\n{log.read_text()}")


def test_a_server_answers_an_echo_and_ends_cleanly(installed: Path, tmp_path: Path, free_port: int) -> None:
    log = tmp_path / "server.log"
    arguments = ["--base", tmp_path / "base", "--listen", f"tcp:{free_port}:interface=127.0.0.1"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [installed / "twistd", "-n", "--pidfile=", "dicomserver", *arguments],
            cwd=tmp_path,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        await_accepting(server, free_port, log)
        echo = run([installed / "txdicom", "echo", f"TXDICOM@127.0.0.1:{free_port}"], tmp_path, 60.0)
        assert echo.returncode == 0, echo.stdout + echo.stderr + log.read_text()
        server.send_signal(signal.SIGTERM)
        assert server.wait(STOP) == 0, log.read_text()
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
    assert "Traceback" not in log.read_text()
    assert (tmp_path / "base" / "TXDICOM" / "server.toml").is_file()
