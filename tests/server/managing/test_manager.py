"""The service manager: what it finds, makes, changes and removes, without a process."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tests.server.managing.servers import Servers
from txdicom import server as package
from txdicom.errors import BadArgument, Conflict, ConnectionFailed, DicomError, NotFound, SettingsError
from txdicom.interfaces.control import Applied
from txdicom.server.folder import ServerFolder
from txdicom.server.managing.manager import AlreadyRuns, ServiceAdministrator, socket_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    made = Servers(tmp_path / "base", monkeypatch)
    yield made
    made.end()


def look(servers: Servers, title: str) -> Any:
    return servers.result(servers.administrator.look(servers.clock, title))


def test_it_is_exported() -> None:
    assert package.ServiceAdministrator is ServiceAdministrator
    with pytest.raises(AttributeError, match="has no attribute 'Other'"):
        _ = package.Other  # type: ignore[attr-defined]


# -- which -------------------------------------------------------------------------------------------------------------


def test_which_server(servers: Servers) -> None:
    find = servers.administrator.find
    with pytest.raises(NotFound, match=r"there is no server TXDICOM in .*: none is there; `txdicom server create TX"):
        find()
    servers.create("ONE")
    assert find() == find("ONE") == "ONE"
    with pytest.raises(NotFound, match=r"there is no server TWO in .*: there is ONE"):
        find("TWO")
    servers.create("TWO")
    with pytest.raises(NotFound, match=r"there is no server THREE in .*: there are ONE, TWO"):
        find("THREE")
    with pytest.raises(SettingsError, match=r"several servers in .* \(ONE, TWO\)"):
        find()
    with pytest.raises(SettingsError, match=r"--ae-title: '\.\./x' cannot be"):
        find("../x")


def test_states(servers: Servers) -> None:
    for title, mode in (("A", "automatic"), ("B", "manual"), ("C", "disabled"), ("D", "manual")):
        servers.create(title, f"server.start_mode={mode}", "server.listen=[]")
    servers.start("A", ports=["127.0.0.1:104"], display_name="The first")
    servers.start("B", state="paused")
    servers.start("D").answers = False
    found = servers.result(servers.administrator.servers(servers.clock))
    assert [(one.ae_title, one.state, one.start_mode, one.running) for one in found] == [
        ("A", "running", "automatic", True),
        ("B", "paused", "manual", True),
        ("C", "stopped", "disabled", False),
        ("D", "not answering", "manual", False),
    ]
    assert (found[0].ports, found[0].display_name, found[0].process) == (("127.0.0.1:104",), "The first", os.getpid())
    assert (found[2].ports, found[2].process, found[2].problems) == ((), None, ())
    assert found[3].process == os.getpid()
    assert found[3].problems == (f"no server answers at {servers.base}/D/D.sock",)
    servers.running["D"].folder.release()


def test_a_server_whose_settings_are_broken(servers: Servers) -> None:
    folder = servers.create("ONE")
    (folder / "server.toml").write_text("[server]\nmax_clients = -1\n")
    one = look(servers, "ONE")
    assert (one.state, one.start_mode) == ("stopped", "")
    assert [problem.partition(": server")[0] for problem in one.problems] == ["server.toml:2"]


def test_one_that_cannot_be_read_hides_no_other(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    for title in ("A", "B", "C"):
        servers.create(title)
    (servers.base / "A" / "server.toml").write_bytes(b"\xff\xfe")
    assert servers.administrator.warnings("A") == []
    holder = ServerFolder.holder

    def unknown(self: ServerFolder) -> int | None:
        if self.path.endswith("B"):
            raise SettingsError([f"{self.lock_file} cannot be read: Permission denied"])
        if self.path.endswith("C"):
            raise NotFound("there is no server C")
        return holder(self)

    monkeypatch.setattr(ServerFolder, "holder", unknown)
    found = servers.result(servers.administrator.servers(servers.clock))
    assert [(one.ae_title, one.state, one.problems) for one in found] == [
        ("A", "stopped", ("server.toml cannot be read: it is not UTF-8",)),
        ("B", "not answering", (f"{servers.base}/B/.lock cannot be read: Permission denied",)),
    ]
    servers.administrator.base = str(servers.base / "A" / "server.toml")
    with pytest.raises(SettingsError, match="Not a directory"):
        servers.result(servers.administrator.servers(servers.clock))


def test_where_its_socket_is(tmp_path: Path) -> None:
    assert socket_of(str(tmp_path / "A")) == str(tmp_path / "A" / "A.sock")
    for text, name in (('admin_socket = "/run/x"', "/run/x"), ("admin_socket = 5", "A.sock"), ("server = 5", "A.sock")):
        (tmp_path / "A").mkdir(exist_ok=True)
        (tmp_path / "A" / "server.toml").write_text(f"[server]\n{text}\n" if "admin" in text else text)
        assert socket_of(str(tmp_path / "A")) == os.path.join(tmp_path, "A", name)


# -- making and removing -----------------------------------------------------------------------------------------------


def test_create(servers: Servers) -> None:
    settings = servers.administrator.create("ONE", ["server.max_clients=5", "log.level=debug"], ["tcp:11112"])
    assert (settings.server.max_clients, settings.server.listen, settings.log.level) == (5, ("tcp:11112",), "debug")
    assert settings.server.allow_anonymous is False  # others can reach it
    text = (servers.base / "ONE" / "server.toml").read_text()
    assert "#max_clients =" not in text
    assert "allow_anonymous = false" in text
    assert stat.S_IMODE((servers.base / "ONE").stat().st_mode) == 0o700
    # and nothing holds it
    assert ServerFolder(str(servers.base), "ONE").holder() is None
    with pytest.raises(Conflict, match="there is a server ONE already"):
        servers.administrator.create("ONE")


def test_who_says_it_lets_anybody_in(servers: Servers) -> None:
    settings = servers.administrator.create("ONE", ["server.allow_anonymous=true"], ["tcp:11112"])
    assert settings.server.allow_anonymous is True
    [warning] = servers.administrator.warnings("ONE")
    assert warning.startswith("whoever can reach this server is let in")


def test_mistakes_make_nothing(servers: Servers) -> None:
    with pytest.raises(SettingsError) as raised:
        servers.administrator.create("ONE", ["server.max_clints=5", "nonsense", "addins.enabled=x"], ["tcp:x"])
    assert [problem.split(":")[0] for problem in raised.value.problems] == [
        "--set nonsense",
        "--set server.max_clints",
        "--listen server.listen[0]",
    ]
    with pytest.raises(SettingsError, match="there is no add-in 'x'"):
        servers.administrator.create("ONE", ["addins.enabled=x"])
    with pytest.raises(SettingsError, match="too long for the administrative socket"):
        servers.administrator.create("ONE", [f"server.admin_socket={'x' * 200}"])
    with pytest.raises(SettingsError, match="cannot be a server's AE title"):
        servers.administrator.create("../ONE")
    assert not servers.base.exists()


def test_what_would_be_lost(servers: Servers, tmp_path: Path) -> None:
    folder = servers.create("ONE")
    (folder / "store" / "1.2" / "3").mkdir(parents=True)
    for name in ("1.dcm", "2.dcm", "2~2.dcm", "duplicates.jsonl"):
        (folder / "store" / "1.2" / "3" / name).touch()
    lost = servers.administrator.contents("ONE")
    assert (lost.folder, lost.instances, lost.elsewhere) == (str(folder), 3, "")
    elsewhere = tmp_path / "store"
    servers.create("TWO", f"archive.store={elsewhere}")
    assert servers.administrator.contents("TWO").elsewhere == str(elsewhere)
    (folder / "server.toml").write_text("broken")
    assert servers.administrator.contents("ONE").instances == 3


def test_remove(servers: Servers, tmp_path: Path) -> None:
    folder = servers.create("ONE")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (folder / "store" / "link").symlink_to(kept)
    servers.start("ONE")
    with pytest.raises(
        Conflict, match=rf"ONE runs \(process {os.getpid()}\): stop it first, `txdicom server stop ONE`"
    ):
        servers.administrator.remove("ONE")
    servers.running["ONE"].stop()
    servers.administrator.remove("ONE")
    assert os.listdir(servers.base) == []
    assert os.listdir(kept) == ["file"]
    with pytest.raises(NotFound):
        servers.administrator.remove("ONE")


def test_what_an_earlier_removal_has_left_is_in_nobodys_way(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    rmtree = shutil.rmtree

    def fails(path: str, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise PermissionError(errno.EACCES, "Permission denied", f"{path}/store/1.2")

    monkeypatch.setattr(shutil, "rmtree", fails)
    for _ in range(2):
        servers.create("ONE")
        with pytest.raises(
            DicomError, match=r"server is removed, but not all .*/\.ONE\.removed-\w+/store/1\.2 cannot .*; delete \S+$"
        ):
            servers.administrator.remove("ONE")
        with pytest.raises(NotFound):
            servers.administrator.find("ONE")
    assert len(os.listdir(servers.base)) == 2
    (servers.base / ".ONE.removed").mkdir()  # it had this name once
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    servers.create("ONE")
    servers.administrator.remove("ONE")
    assert os.listdir(servers.base) == []


def test_a_folder_that_cannot_be_renamed(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = servers.create("ONE")

    def busy(old: str, new: str) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", old)

    monkeypatch.setattr(os, "rename", busy)
    with pytest.raises(DicomError, match=f"^{folder} cannot be removed: Device or resource busy$"):
        servers.administrator.remove("ONE")
    assert os.listdir(servers.base) == ["ONE"]


def test_a_folder_behind_a_link_is_not_removed(servers: Servers, tmp_path: Path) -> None:
    servers.create("ONE").rename(tmp_path / "elsewhere")
    (servers.base / "ONE").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DicomError, match="is a link to"):
        servers.administrator.remove("ONE")
    assert (tmp_path / "elsewhere" / "server.toml").exists()


# -- settings ----------------------------------------------------------------------------------------------------------


def set_(servers: Servers, values: dict[str, dict[str, Any]]) -> Any:
    return servers.result(servers.administrator.set(servers.clock, "ONE", values))


def test_settings_of_one_that_does_not_run(servers: Servers) -> None:
    path = servers.create("ONE") / "server.toml"
    before = path.read_text()
    assert set_(servers, {"server": {"max_clients": 7}, "archive": {"flush": False}}) is None
    document = tomllib.loads(path.read_text())
    assert (document["server"]["max_clients"], document["archive"]["flush"]) == (7, False)
    assert [line for line in path.read_text().splitlines() if line.startswith("##")] == [
        line for line in before.splitlines() if line.startswith("##")
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_mistakes_in_settings_change_nothing(servers: Servers) -> None:
    path = servers.create("ONE") / "server.toml"
    before = path.read_text()
    with pytest.raises(BadArgument) as raised:
        set_(servers, {"server": {"max_clints": 7, "max_pdu_length": 1}, "tls": {"key": "x"}})
    assert len(raised.value.problems) == 2
    with pytest.raises(BadArgument, match="TLS cannot be done without"):
        set_(servers, {"server": {"secure_listen": ["tcp:2762"]}})
    assert path.read_text() == before
    path.write_text("[server\n")
    with pytest.raises(SettingsError, match=r"server\.toml: .*correct that first"):
        set_(servers, {"server": {"max_clients": 7}})


def test_settings_of_one_that_runs_are_its_own_to_change(servers: Servers) -> None:
    path = servers.create("ONE") / "server.toml"
    before = path.read_text()
    running = servers.start("ONE")
    asked: list[Any] = []
    applied = Applied(changed=("server.max_clients",), restart=("server.workers",))

    def set_settings(values: Any) -> Applied:
        asked.append(values)
        return applied

    running.control.set_settings = set_settings  # type: ignore[method-assign, attr-defined]
    assert set_(servers, {"server": {"max_clients": 7, "workers": 2}}) == applied
    assert asked == [{"server": {"max_clients": 7, "workers": 2}}]
    assert path.read_text() == before
    running.answers = False
    with pytest.raises(ConnectionFailed):
        set_(servers, {"server": {"max_clients": 7}})
    running.folder.release()


def shown(servers: Servers, key: str | None = None) -> Any:
    return servers.result(servers.administrator.shown_settings(servers.clock, "ONE", key))


def test_where_settings_come_from(servers: Servers) -> None:
    path = servers.create("ONE", "server.max_clients=7", "server.listen=[]") / "server.toml"
    line = path.read_text().splitlines().index("max_clients = 7") + 1
    [one] = shown(servers, "server.max_clients")
    assert (one.value, one.text, one.place, one.in_force, one.remark) == (7, "7", f"server.toml:{line}", None, "")
    assert "associations" in one.doc
    names = [one.name for one in shown(servers)]
    assert {"server.listen", "archive.store", "tls.ca", "log.level", "addins.enabled"} < set(names)
    assert len(names) == len(set(names))
    assert all(one.name.startswith("tls.") for one in shown(servers, "tls"))
    assert [one.place for one in shown(servers, "tls.ca")] == ["default"]
    with pytest.raises(NotFound, match=r"no setting server\.max_clint; did you mean server\.max_clients\?"):
        shown(servers, "server.max_clint")
    with pytest.raises(NotFound, match="did you mean one of server, archive"):
        shown(servers, "zzz")


def test_what_needs_a_restart(servers: Servers) -> None:
    servers.create("ONE", "server.max_clients=7", "server.max_operations=5")
    running = servers.start("ONE")
    running.control.results["settings"] = {"server": {"max_clients": 7, "max_operations": 16, "listen": ["tcp:1"]}}
    rows = {one.name: one for one in shown(servers)}
    assert [name for name, one in rows.items() if one.needs_restart] == ["server.listen"]
    assert rows["server.max_operations"].remark == "16, for this run, or until server.toml is read again"
    assert rows["server.listen"].remark == '["tcp:1"], until a restart'
    assert (rows["server.max_clients"].in_force, rows["server.max_clients"].remark) == (7, "")


# -- what must not start -----------------------------------------------------------------------------------------------


def start(servers: Servers) -> Any:
    return servers.result(servers.administrator.start(servers.clock, "ONE"))


def test_what_is_not_started(servers: Servers) -> None:
    servers.create("ONE", "server.start_mode=disabled")
    with pytest.raises(Conflict, match=r"its start_mode is disabled; `txdicom server set --ae-title ONE server.start_"):
        start(servers)
    with pytest.raises(Conflict, match="its start_mode is disabled"):
        servers.administrator.check("ONE")
    servers.start("ONE", state="paused")
    with pytest.raises(AlreadyRuns, match=rf"ONE runs already: it is paused \(process {os.getpid()}\)"):
        start(servers)


def test_what_is_checked_before(servers: Servers) -> None:
    folder = servers.create("ONE")
    servers.administrator.check("ONE")
    (folder / "aetitles.toml").write_text("[A]\nport = 0\n")
    (folder / "configuration" / "licence.py").write_text("1 +")
    with pytest.raises(SettingsError) as raised:
        servers.administrator.check("ONE")
    assert [problem.partition(":")[0] for problem in raised.value.problems] == ["aetitles.toml"]
    (folder / "aetitles.toml").write_text("")
    with pytest.raises(SettingsError, match="licence"):
        servers.administrator.check("ONE")


# -- stopping ----------------------------------------------------------------------------------------------------------


def stop(servers: Servers, **options: Any) -> Any:
    return servers.result(servers.administrator.stop(servers.clock, "ONE", **options))


def test_stop_by_an_administrator(servers: Servers) -> None:
    servers.create("ONE")
    assert stop(servers) is False
    running = servers.start("ONE")
    asked: list[bool] = []

    def ended(force: bool) -> None:
        asked.append(force)
        servers.clock.callLater(3, running.folder.release)

    running.control.stop = ended  # type: ignore[method-assign]
    assert stop(servers, force=True) is True
    assert asked == [True]
    assert servers.clock.seconds() >= 3


def test_one_that_does_not_end(servers: Servers) -> None:
    servers.create("ONE", "server.drain_timeout=1")
    servers.start("ONE")
    with pytest.raises(DicomError, match=rf"not ended within 2 s \(process {os.getpid()}\); allow it more, or abort"):
        stop(servers, timeout=2)
    with pytest.raises(DicomError, match=r"not ended within 2 s .*; its log says what it waits for"):
        stop(servers, force=True, timeout=2)


def test_where_nobody_answers_the_process_is_signalled(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    servers.create("ONE")
    running = servers.start("ONE")
    running.answers = False
    sent: list[tuple[int, int]] = []

    def kill(process: int, number: int) -> None:
        sent.append((process, int(number)))
        if len(sent) == 2:
            running.folder.release()

    monkeypatch.setattr(os, "kill", kill)
    assert stop(servers, force=True, timeout=5) is True
    assert sent == [(os.getpid(), 15), (os.getpid(), 15)]


def test_a_process_that_has_not_the_lock_is_not_signalled(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = servers.create("ONE")
    running = servers.start("ONE")
    running.answers = False
    monkeypatch.setattr(os, "kill", lambda *arguments: pytest.fail("it was signalled"))
    for text in ("1\n", "", "nonsense"):
        (folder / ".lock").write_text(text)
        with pytest.raises(DicomError, match=r"which process has .* is not known"):
            stop(servers, timeout=1)
    running.folder.release()
