"""txdicom server: over servers without processes; tests/integration/test_service_manager.py has real ones."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import fail, succeed

from tests.cli.running import Command
from tests.server.managing.servers import Servers
from txdicom.cli import server_folders
from txdicom.cli.main import main
from txdicom.cli.tables import duration, size
from txdicom.interfaces.control import AddinReport, Applied, WorkerStatus
from txdicom.server.managing import starting
from txdicom.server.managing.manager import ServiceAdministrator
from txdicom.server.managing.starting import StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    made = Servers(tmp_path / "base", monkeypatch)
    yield made
    made.end()


@pytest.fixture
def call(servers: Servers, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """`call("list", status=1)`: what the command has said on both outputs."""

    def run(*words: str, status: int = 0) -> tuple[str, str]:
        found = main(["server", *words, "--base", str(servers.base)])
        captured = capsys.readouterr()
        assert found == status, captured
        assert "Traceback" not in captured.err
        return captured.out, captured.err

    return run


def records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize(
    "name",
    "create list show set remove start stop restart pause resume status test systemd".split(),  # noqa: SIM905
)
def test_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", name, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example" in out
    assert f"  txdicom server {name}" in out
    assert "--json" in out


# -- folders -----------------------------------------------------------------------------------------------------------


def test_create(servers: Servers, call: Callable[..., tuple[str, str]]) -> None:
    out, err = call("create", "ONE", "--listen", "tcp:11112", "--set", "server.max_clients=5")
    assert err == ""
    made, known, start = out.splitlines()
    assert made == f"made: {servers.base}/ONE; its settings are in server.toml there"
    assert "(allow_anonymous = false)" in known
    assert known.endswith(f"txdicom ae add TITLE HOST:PORT --ae-title ONE --base {servers.base}")
    assert start == f"start it: txdicom server start ONE --base {servers.base}"
    [record] = records(call("create", "TWO", "--set", "server.start_mode=disabled", "--json")[0])
    assert record == {
        "type": "server",
        "ae_title": "TWO",
        "folder": str(servers.base / "TWO"),
        "listen": ["tcp:11112:interface=127.0.0.1"],
        "secure_listen": [],
        "allow_anonymous": True,
    }
    assert call("create", "ONE", status=1)[1].startswith("Error: there is a server ONE already: ")
    out, err = call("create", "X", "--set", "server.max_clints=1", "--listen", "tcp:x", status=1)
    assert (out, err.count("Error: ")) == ("", 2)
    assert not (servers.base / "X").exists()


def test_remove_asks(servers: Servers, call: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = servers.create("ONE")
    _, err = call("remove", "ONE", status=1)
    assert f"{folder} is deleted, with settings, AE titles, logs and add-ins, and no stored instance in it" in err
    assert "Error: nobody can be asked whether that is meant: --yes says so" in err
    monkeypatch.setattr(server_folders.sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    answers = [False, True]
    monkeypatch.setattr(server_folders.click, "confirm", lambda *words, err: answers.pop(0))
    call("remove", "ONE", status=1)
    assert folder.exists()
    assert call("remove", "ONE")[0] == "removed: ONE\n"
    assert not folder.exists()


def test_remove_with_images(servers: Servers, call: Callable[..., tuple[str, str]], tmp_path: Path) -> None:
    folder = servers.create("ONE")
    (folder / "store" / "1.dcm").touch()
    _, err = call("remove", "ONE", "--yes", status=1)
    assert "and 1 stored instance in it" in err
    assert "--with-images" in err
    servers.start("ONE")
    assert "stop it first" in call("remove", "ONE", "--yes", "--with-images", status=1)[1]
    servers.running["ONE"].stop()
    [record] = records(call("remove", "ONE", "--yes", "--with-images", "--json")[0])
    assert record == {"type": "removed", "ae_title": "ONE", "folder": str(folder), "instances": 1}
    servers.create("TWO", f"archive.store={tmp_path}/store")
    assert f"its store is elsewhere, and stays: {tmp_path}/store" in call("remove", "TWO", "--yes")[1]


def test_systemd(servers: Servers, call: Callable[..., tuple[str, str]]) -> None:
    servers.create("ONE")
    out, err = call("systemd")
    assert err == ""
    assert "\nType=notify\n" in out
    assert records(call("systemd", "ONE", "--json")[0])[0]["text"] == out


# -- settings ----------------------------------------------------------------------------------------------------------


def test_show(servers: Servers, call: Callable[..., tuple[str, str]]) -> None:
    servers.create("ONE", "server.max_clients=7")
    rows = [line.split("\t") for line in call("show")[0].splitlines()]
    assert [row[:2] for row in rows if row[0] == "server.max_clients"] == [["server.max_clients", "7"]]
    out, _ = call("show", "server.max_clients")
    row, doc = out.splitlines()
    assert row.split("\t")[2].startswith("server.toml:")
    assert "associations" in doc
    running = servers.start("ONE")
    running.control.results["settings"] = {"server": {"max_clients": 9}}
    assert (
        call("show", "server.max_clients")[0]
        .splitlines()[0]
        .endswith("\t9, for this run, or until server.toml is read again")
    )
    [record] = records(call("show", "server.max_clients", "--json")[0])
    assert record.pop("from").startswith("server.toml:")
    assert record == {
        "type": "setting",
        "name": "server.max_clients",
        "value": 7,
        "in_force": 9,
        "needs_restart": False,
        "doc": doc,
    }
    assert "did you mean server.max_clients?" in call("show", "max_clients", status=1)[1]


def test_set(servers: Servers, call: Callable[..., tuple[str, str]]) -> None:
    path = servers.create("ONE") / "server.toml"
    out, err = call("set", "server.max_clients=5", 'server.listen=["tcp:0:interface=127.0.0.1"]')
    assert (out, err) == (
        "set: server.max_clients, server.listen; the server does not run, and takes it when it starts\n",
        "",
    )
    before = path.read_text()
    assert "\nmax_clients = 5\n" in before
    out, err = call("set", "server.max_clients=-5", "server.listen=x", status=1)
    assert (out, err.count("Error: server.")) == ("", 2)
    out, err = call("set", "max_clients=5", "addins.x.y=1", 'log.level="', status=1)
    assert [line.partition(":")[2].partition(":")[0].strip() for line in err.splitlines()] == [
        "max_clients=5",
        "log.level",
        "addins.x.y",
    ]
    assert path.read_text() == before


def test_set_of_one_that_runs(servers: Servers, call: Callable[..., tuple[str, str]]) -> None:
    servers.create("ONE")
    control: Any = servers.start("ONE").control
    control.set_settings = lambda values: Applied(changed=("server.max_clients",), restart=("server.workers",))
    assert call("set", "server.max_clients=5", "server.workers=2")[0].splitlines() == [
        "in force: server.max_clients",
        "set, needs a restart: server.workers",
    ]
    control.set_settings = lambda values: Applied(overridden=("server.max_clients",))
    assert call("set", "server.max_clients=5")[0] == (
        "set, but for this run the command line sets: server.max_clients\n"
    )
    control.set_settings = lambda values: Applied()
    assert call("set", "server.max_clients=5")[0] == "nothing is different from before\n"
    assert records(call("set", "server.max_clients=5", "--json")[0]) == [
        {"type": "applied", "changed": [], "restart": [], "overridden": [], "running": True}
    ]


# -- state -------------------------------------------------------------------------------------------------------------


def test_list(servers: Servers, call: Callable[..., tuple[str, str]]) -> None:
    assert call("list") == ("", "")
    servers.create("ONE", "server.start_mode=manual")
    servers.create("TWO", "server.listen=[]")
    servers.start("TWO", ports=["127.0.0.1:104", "127.0.0.1:2762 (TLS)"])
    (servers.create("BAD") / "server.toml").write_text("[server]\nx = 1\n")
    out, err = call("list")
    assert [line.split("\t") for line in out.splitlines()] == [
        ["BAD", "stopped", "?", "", "", f"{servers.base}/BAD"],
        ["ONE", "stopped", "manual", "tcp:11112:interface=127.0.0.1", "", f"{servers.base}/ONE"],
        ["TWO", "running", "automatic", "127.0.0.1:104, 127.0.0.1:2762 (TLS)", str(os.getpid()), f"{servers.base}/TWO"],
    ]
    assert err.startswith("Warning: BAD: server.toml:2: server.x")
    assert [one["state"] for one in records(call("list", "--json")[0])] == ["stopped", "stopped", "running"]


def test_status(servers: Servers, call: Callable[..., tuple[str, str]]) -> None:
    assert "there is no server in" in call("status", status=1)[1]
    servers.create("ONE")
    assert dict(line.split("\t") for line in call("status", status=1)[0].splitlines() if line) == {
        "server": "ONE",
        "state": "stopped",
        "folder": f"{servers.base}/ONE",
        "would listen on": "tcp:11112:interface=127.0.0.1",
    }
    workers = [WorkerStatus(index=1, process=5, state="running", connections=2, restarts=1)]
    control = servers.start("ONE", display_name="The first", workers=workers).control
    rows = [line.split("\t") for line in call("status", "ONE", status=1)[0].splitlines() if line]
    assert rows[0] == ["server", "ONE (The first)"]
    assert ["connections", "3, 2 of them with an association"] in rows
    assert ["worker 1", "running, process 5, 2 connections, started again 1 times"] in rows
    assert ["add-in storage", "not healthy, it is slow"] in rows
    control.results["addin_health"] = AddinReport(healthy=True, sentences=[])
    [record] = records(call("status", "--json")[0])
    assert record["addins"] == [{"name": "storage", "version": "1", "healthy": True, "sentences": []}]
    assert record["workers"][0]["restarts"] == 1
    assert (record["state"], record["total"], record["warnings"]) == ("running", 9, [])
    assert call("status", "TWO", status=1)[1].startswith("Error: there is no server TWO in ")
    # one that cannot be read hides none
    (servers.create("BAD") / "server.toml").write_bytes(b"\xff")
    bad, one = records(call("status", "--json", status=1)[0])
    assert (bad["ae_title"], bad["warnings"]) == ("BAD", ["server.toml cannot be read: it is not UTF-8"])
    assert one["state"] == "running"


def test_test(servers: Servers, call: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    servers.create("ONE")
    said: list[list[str]] = [[], ["a port is busy", "another"]]
    monkeypatch.setattr(ServiceAdministrator, "test", lambda self, reactor, title: succeed(said.pop(0)))
    assert call("test") == ("ONE is in order\n", "")
    assert call("test", "ONE", status=1) == ("ONE: a port is busy; another\n", "")
    said += [["x"]]
    assert records(call("test", "--json", status=1)[0]) == [
        {"type": "test", "ae_title": "ONE", "in_order": False, "problems": ["x"]}
    ]


def test_test_of_one_that_is_paused_or_silent(servers: Servers, call: Callable[..., tuple[str, str]]) -> None:
    servers.create("ONE", "server.listen=[]")
    running = servers.start("ONE", state="paused")
    assert call("test", status=1)[0] == "ONE: it is paused: `txdicom server resume ONE` has it go on\n"
    running.answers = False
    sentence = f"ONE: process {os.getpid()} has the folder, but no server answers at {servers.base}/ONE/ONE.sock\n"
    assert call("test", status=1)[0] == sentence
    running.stop()
    assert call("test")[0] == "ONE is in order\n"
    (servers.base / "ONE" / "aetitles.toml").write_text("[A]\nport = 0\n")
    assert call("test", status=1)[0].startswith("ONE: aetitles.toml:2: A.port: ")


# -- processes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def started(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of those that were started; BAD fails."""
    titles: list[str] = []

    async def start(reactor: Any, folder: Any, timeout: float) -> int:
        title = os.path.basename(folder.path)
        titles.append(title)
        if title == "BAD":
            raise StartFailed(["a port is busy", "and more"])
        servers.start(title, ports=["127.0.0.1:104"])
        return os.getpid()

    monkeypatch.setattr(starting, "start", start)
    return titles


def test_start(servers: Servers, call: Callable[..., tuple[str, str]], started: list[str]) -> None:
    servers.create("ONE")
    assert call("start") == (f"ONE is ready: 127.0.0.1:104 (process {os.getpid()})\n", "")
    assert call("start", "ONE") == (f"ONE runs already: it is running (process {os.getpid()})\n", "")
    [record] = records(call("start", "ONE", "--json")[0])
    assert record == {
        "type": "started",
        "ae_title": "ONE",
        "success": True,
        "state": "running",
        "process": os.getpid(),
        "ports": ["127.0.0.1:104"],
        "errors": [],
    }
    assert started == ["ONE"]
    servers.running["ONE"].answers = False
    assert call("start", "ONE", status=1)[1].startswith("Error: ONE: no server answers at ")
    servers.running["ONE"].folder.release()


def test_start_that_fails(servers: Servers, call: Callable[..., tuple[str, str]], started: list[str]) -> None:
    servers.create("BAD")
    assert call("start", status=1) == ("", "Error: BAD: a port is busy\nError: BAD: and more\n")
    [record] = records(call("start", "--json", status=1)[0])
    assert (record["success"], record["state"], record["errors"]) == (False, "stopped", ["a port is busy", "and more"])
    assert "there is no server X" in call("start", "X", status=1)[1]
    assert "--all and a title do not go together" in call("start", "X", "--all", status=2)[1]
    assert "--timeout" in call("start", "--timeout", "0", status=2)[1]


def test_start_all(servers: Servers, call: Callable[..., tuple[str, str]], started: list[str]) -> None:
    assert call("start", "--all")[1] == f"there is no server in {servers.base} whose start_mode is automatic\n"
    for title, mode in (
        ("A", "automatic"),
        ("BAD", "automatic"),
        ("C", "manual"),
        ("D", "disabled"),
        ("E", "automatic"),
    ):
        servers.create(title, f"server.start_mode={mode}")
    (servers.create("F") / "server.toml").write_text("x = 1\n")
    servers.start("E")
    out, err = call("start", "--all", status=1)
    assert started == ["A", "BAD"]
    assert [line.split()[0] for line in out.splitlines()] == ["A", "E"]
    assert [line.split()[1] for line in err.splitlines()] == ["F:", "BAD:", "BAD:"]


def test_stop_and_restart(servers: Servers, call: Callable[..., tuple[str, str]], started: list[str]) -> None:
    servers.create("ONE")
    assert call("stop")[0] == "ONE does not run\n"
    control: Any = servers.start("ONE").control
    forced: list[bool] = []

    def ended(force: bool) -> None:
        forced.append(force)
        servers.clock.callLater(1, servers.running["ONE"].stop)

    control.stop = ended
    assert call("restart", "--force")[0] == f"ONE is ready: 127.0.0.1:104 (process {os.getpid()})\n"
    servers.running["ONE"].control.stop = ended  # type: ignore[method-assign]
    assert records(call("stop", "ONE", "--json")[0]) == [{"type": "stopped", "ae_title": "ONE", "was_running": True}]
    assert forced == [True, False]


def test_restart_looks_before_it_stops(
    servers: Servers, call: Callable[..., tuple[str, str]], started: list[str]
) -> None:
    folder = servers.create("ONE")
    servers.start("ONE")
    (folder / "aetitles.toml").write_text("[A]\nport = 0\n")
    assert call("restart", status=1)[1].startswith("Error: ONE: aetitles.toml:2: A.port: ")
    assert servers.running["ONE"].control.asked[-1] == ("status",)
    assert started == []


def test_pause_and_resume(servers: Servers, call: Callable[..., tuple[str, str]]) -> None:
    servers.create("ONE")
    assert call("pause", status=1)[1].startswith("Error: no server answers at ")
    control = servers.start("ONE").control
    assert call("pause")[0] == "ONE takes no new associations; go on: txdicom server resume ONE\n"
    assert call("resume", "ONE")[0] == "ONE takes associations again\n"
    assert records(call("pause", "--json")[0]) == [{"type": "paused", "ae_title": "ONE"}]
    assert [one[0] for one in control.asked] == ["pause", "resume", "pause"]


def test_no_answer_in_time_is_a_sentence(
    servers: Servers, call: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.create("ONE")
    error = TimeoutError("no answer to Pause within 30 s")
    monkeypatch.setattr(ServiceAdministrator, "connect", lambda self, reactor, title: fail(error))
    assert call("pause", status=1)[1] == "Error: no answer to Pause within 30 s\n"


# -- tables ------------------------------------------------------------------------------------------------------------


async def test_a_table_on_a_terminal(servers: Servers) -> None:
    servers.create("ONE", "server.start_mode=manual")
    ended = await Command("server", "list", "--base", str(servers.base), terminal=True).ended
    assert ended.status == 0
    assert "start mode" in ended.out
    assert "\x1b[2mstopped" in ended.out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.5, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3725, "1 h 2 min"), (90_000, "1 d 1 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (2_500_000, "2.5 MB"), (10**13, "10.0 TB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
