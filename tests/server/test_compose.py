"""From the command line to a server that is ready to start."""

from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from txdicom.errors import SettingsError
from txdicom.scp.passwords import PasswordFile
from txdicom.server.compose import (
    Prepared,
    early_and_late,
    make_entity,
    open_ports,
    prepare,
    prepare_worker,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOCAL = "tcp:0:interface=127.0.0.1"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "base"


@pytest.fixture
def ready(base: Path) -> Iterator[Callable[..., Prepared]]:
    """`prepare`, whose folders are let go at the end of the test."""
    done: list[Prepared] = []

    def run(*set_options: str, listen: tuple[str, ...] = (), title: str | None = None) -> Prepared:
        for one in done:
            one.folder.release()
        done.append(prepare(str(base), title, set_options, listen, {}))
        return done[-1]

    yield run
    for one in done:
        one.folder.release()


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    events: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"] == "txdicom.server.compose":
            events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


def test_the_first_start_makes_a_server_that_explains_itself(ready: Callable[..., Prepared], base: Path) -> None:
    prepared = ready("archive.flush=false")
    assert prepared.folder.path == str(base / "TXDICOM")
    assert tomllib.loads((base / "TXDICOM" / "server.toml").read_text())["server"] == {"ae_title": "TXDICOM"}
    assert prepared.settings.archive.flush is False
    assert prepared.warnings == []
    assert len(prepared.made) == 1
    assert ready().settings.archive.flush is True
    assert ready().made == []


def test_a_folder_that_has_only_an_ae_table_gets_settings(ready: Callable[..., Prepared], base: Path) -> None:
    folder = base / "HERE"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "aetitles.toml").write_text('[NULLSCP]\nhost = "127.0.0.1"\nport = 5\n')
    prepared = ready(title="HERE")
    assert set(prepared.ae_table) == {"NULLSCP"}
    assert tomllib.loads((folder / "server.toml").read_text())["server"] == {"ae_title": "HERE"}
    assert any("was open to other users (mode 755)" in sentence for sentence in prepared.made)


def test_made_within_reach_of_others_it_lets_in_only_who_is_known(ready: Callable[..., Prepared], base: Path) -> None:
    prepared = ready(listen=("tcp:11112",))
    assert prepared.settings.server.allow_anonymous is False
    assert prepared.warnings[0].startswith("nobody is let in: ")
    text = (base / "TXDICOM" / "server.toml").read_text()
    assert "other computers could reach the server when it was made" in text
    # the file keeps it, whatever later runs listen on
    assert ready(listen=(LOCAL,)).settings.server.allow_anonymous is False
    (base / "TXDICOM" / "aetitles.toml").write_text("[CALLER]\n")
    assert ready().warnings == []
    assert ready("server.allow_anonymous=true").settings.server.allow_anonymous is True


def test_an_open_server_is_told_about(ready: Callable[..., Prepared]) -> None:
    ready()
    assert ready(listen=("tcp:11112",)).warnings[0].startswith("whoever can reach this server is let in: ")
    assert ready("server.listen=[]").warnings == ["no association can be opened: server.listen is empty"]


def test_folders_follow_from_the_servers(ready: Callable[..., Prepared], base: Path) -> None:
    folder = str(base / "TXDICOM")

    def folders(*set_options: str) -> tuple[str, str]:
        settings = ready(*set_options).settings
        return settings.archive.store, settings.server.temporary_directory

    assert folders() == (f"{folder}/store", f"{folder}/store/.incoming")
    assert folders("archive.store=elsewhere") == (f"{folder}/elsewhere", f"{folder}/elsewhere/.incoming")
    assert folders(f"archive.store={base}/x") == (f"{base}/x", f"{base}/x/.incoming")
    assert folders("server.temporary_directory=in") == (f"{folder}/store", f"{folder}/in")


def test_nothing_is_made_where_something_is_wrong(base: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        prepare(str(base), None, ["x", "server.max_clients=y", "nowhere.key=z"], ["foo"], {})
    assert len(raised.value.problems) == 4
    assert not base.exists()


def test_mistakes_of_both_files_and_the_command_line_come_together(ready: Callable[..., Prepared], base: Path) -> None:
    ready()
    (base / "TXDICOM" / "server.toml").write_text("[server]\nx = 1\n")
    (base / "TXDICOM" / "aetitles.toml").write_text("[A]\nport = 'x'\n")
    with pytest.raises(SettingsError) as raised:
        prepare(str(base), None, ["archive.y=1"], (), {})
    assert [problem.rpartition(":")[0].split(" ")[0] for problem in raised.value.problems] == [
        "server.toml:2:",
        "--set",
        "aetitles.toml:2:",
    ]


def test_which_add_ins_take_part(ready: Callable[..., Prepared]) -> None:
    entity = make_entity(ready(), reactor)
    assert [addin.name for addin in entity.addins] == ["verification", "storage"]  # type: ignore[attr-defined]
    entity = make_entity(ready("addins.enabled=verification"), reactor)
    assert [addin.name for addin in entity.addins] == ["verification"]  # type: ignore[attr-defined]
    assert entity.ae_title == "TXDICOM"


async def test_every_port_that_cannot_be_opened_is_told(ready: Callable[..., Prepared]) -> None:
    entity = make_entity(ready(), reactor)
    open_ports(entity, [LOCAL])
    taken = entity.ports[0].getHost().port  # type: ignore[attr-defined]
    other = make_entity(ready(), reactor)
    with pytest.raises(SettingsError) as raised:
        open_ports(other, [LOCAL, f"tcp:{taken}:interface=127.0.0.1", "tcp:0:interface=192.0.2.1"])
    first, second = raised.value.problems
    assert first.startswith(f"cannot listen on tcp:{taken}:interface=127.0.0.1: Address already in use")
    assert second.startswith("cannot listen on tcp:0:interface=192.0.2.1: Cannot assign requested address")
    await entity.stop()
    await other.stop()


def test_an_endpoint_that_takes_its_time() -> None:
    class Slow:
        def bind(self, endpoint: str) -> Any:
            async def run() -> None:
                await Deferred()

            return run()

    with pytest.raises(SettingsError, match="cannot listen on slow:1: it is not open at once"):
        open_ports(Slow(), ["slow:1"])  # type: ignore[arg-type]


def test_what_is_opened_when() -> None:
    endpoints = ["tcp:1", "unix:/a", "tcp6:2"]
    assert early_and_late(endpoints, daemon=False) == (endpoints, [])
    assert early_and_late(endpoints, daemon=True) == (["tcp:1", "tcp6:2"], ["unix:/a"])


# -- configuration and add-ins -----------------------------------------------------------------------------------------

CONFIGURING = """
from twisted.internet.defer import Deferred
from zope.interface import implementer
from txdicom.errors import LicenseError
from txdicom.interfaces import ILicense, IServerConfig

@implementer(IServerConfig, ILicense)
class It:
    name = "it"
    limits = {"max_clients": 3}
    def configure_server(self, server):
        CONFIGURE
    def check(self):
        CHECK
"""


def configuring(base: Path, configure: str = "server.provide(ILicense, self)", check: str = "pass") -> None:
    folder = base / "TXDICOM" / "configuration"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "it.py").write_text(CONFIGURING.replace("CONFIGURE", configure).replace("CHECK", check))


def test_a_licence_limits_the_settings(ready: Callable[..., Prepared], base: Path) -> None:
    configuring(base)
    entity = make_entity(ready(), reactor)
    assert entity.config.max_clients == 3
    assert entity.folder == str(base / "TXDICOM")


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"check": "raise LicenseError('it has expired')"}, "its licence does not allow it: it has expired"),
        ({"check": "1 / 0"}, "its licence cannot be checked: ZeroDivisionError: division by zero (it.py:14)"),
        ({"configure": "1 / 0"}, "configuration add-in it has failed: ZeroDivisionError: division by zero (it.py:12)"),
        ({"configure": "return Deferred()"}, "a configuration add-in or the licence waits for the reactor, which does"),
        ({"configure": "1 +"}, "configuration/it.py:12: SyntaxError: invalid syntax"),
    ],
)
def test_a_configuration_that_does_not_let_it_start(
    ready: Callable[..., Prepared], base: Path, how: dict[str, str], sentence: str
) -> None:
    configuring(base, **how)
    # no ordinary add-in is imported then
    (base / "TXDICOM" / "addins").mkdir()
    (base / "TXDICOM" / "addins" / "other.py").write_text("raise AssertionError\n")
    with pytest.raises(SettingsError) as raised:
        make_entity(ready(), reactor)
    [problem] = raised.value.problems
    assert problem.startswith(sentence)


def test_what_is_wrong_with_add_ins_comes_together(ready: Callable[..., Prepared], base: Path) -> None:
    ready()
    (base / "TXDICOM" / "addins" / "bad.py").write_text("1 +")
    with pytest.raises(SettingsError) as raised:
        make_entity(ready("addins.enabled=storge", "addins.required=bad", "addins.none.x=1"), reactor)
    assert [problem.partition(":")[0] for problem in raised.value.problems] == [
        "--set addins.enabled",
        "addins/bad.py",
    ]


# -- users -------------------------------------------------------------------------------------------------------------


def test_users_by_a_password_file(ready: Callable[..., Prepared], base: Path) -> None:
    ready()
    file = base / "TXDICOM" / "users"
    PasswordFile(file).add("anna", "secret")
    entity = make_entity(ready("server.password_file=users"), reactor)
    assert [addin.name for addin in entity.addins] == ["verification", "storage", "passwords"]
    assert entity.addins[-1].path == str(file)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("open", "others than its owner may use {} (mode 644): chmod 600 {}"),
        ("none", "{} cannot be read: No such file or directory"),
    ],
)
def test_password_files_that_cannot_be_used(
    ready: Callable[..., Prepared], base: Path, name: str, sentence: str
) -> None:
    ready()
    (base / "TXDICOM" / "open").touch()
    (base / "TXDICOM" / "open").chmod(0o644)
    with pytest.raises(SettingsError) as raised:
        ready(f"server.password_file={name}")
    [problem] = raised.value.problems
    path = base / "TXDICOM" / name
    assert problem.startswith(f"--set server.password_file: {sentence.format(path, path)}")


def test_a_mistake_in_the_settings_comes_with_the_password_files(ready: Callable[..., Prepared], base: Path) -> None:
    ready()
    with pytest.raises(SettingsError) as raised:
        prepare(str(base), None, ["server.password_file=none", f"archive.store={os.devnull}"], (), {})
    assert [problem.partition(":")[0] for problem in raised.value.problems] == [
        "--set archive.store",
        "--set server.password_file",
    ]


# -- workers -----------------------------------------------------------------------------------------------------------


def test_a_worker_has_the_same_server_and_a_staging_folder_of_its_own(ready: Callable[..., Prepared]) -> None:
    first = ready("server.max_clients=7", "archive.flush=false")
    base, title = os.path.split(first.folder.path)
    again = prepare_worker(base, title, first.text, first.overrides, 2)
    staging = first.settings.server.temporary_directory
    assert again.settings.server == replace(first.settings.server, temporary_directory=f"{staging}/2")
    assert again.settings.archive == first.settings.archive
    assert make_entity(again, reactor).config.temporary_directory == f"{staging}/2"
    assert not os.path.exists(staging)
    with pytest.raises(SettingsError, match="there is no such setting"):
        prepare_worker(base, title, "[server]\nx = 1", (), 1)


def test_a_worker_does_not_tell_again_what_is_left_out(
    ready: Callable[..., Prepared], base: Path, logged: list[LogEvent]
) -> None:
    ready()
    (base / "TXDICOM" / "addins" / "bad.py").write_text("1 +")
    prepared = ready()
    make_entity(prepared, reactor)
    assert [event["log_level"] for event in logged] == [LogLevel.info, LogLevel.error, LogLevel.info]
    make_entity(replace(prepared, worker=1), reactor)
    assert len(logged) == 3
