"""txdicom client."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.admin.serving import CLIENT
from tests.server.managing.servers import Servers
from txdicom.cli import client, running
from txdicom.cli.main import main
from txdicom.errors import NotFound, SettingsError
from txdicom.server.managing import manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    made = Servers(tmp_path / "base", monkeypatch)
    for title in ("ONE", "TWO", "THREE"):
        made.create(title)
    made.start("ONE")
    made.start("TWO")
    yield made
    made.end()


def call(servers: Servers, capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> tuple[str, str]:
    found = main(["client", *words, "--base", str(servers.base)])
    captured = capsys.readouterr()
    assert found == status, captured
    return captured.out, captured.err


@pytest.mark.parametrize("name", ["list", "disconnect", "watch"])
def test_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["client", name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"  txdicom client {name}" in out
    assert "--json" in out


def test_list(servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    now = time.time()
    known = replace(CLIENT, connected=now - 65, last_active=now - 2, bytes_received=1500)
    servers.running["ONE"].control.results["clients"] = [known]
    servers.running["TWO"].control.results["clients"] = []
    [line] = call(servers, capsys, "list")[0].splitlines()
    server, number, title, address, age, action, _idle, messages, received, sent = line.split("\t")
    assert (server, number, title, address) == ("ONE", "7", "CT1", "192.0.2.7:50000")
    assert (age, action, messages, received, sent) == ("1 min 5 s", "C-STORE-RQ", "3", "1.5 kB", "5 B")
    [record] = [json.loads(line) for line in call(servers, capsys, "list", "--json")[0].splitlines()]
    assert (record["type"], record["server"], record["id"], record["bytes_received"]) == ("client", "ONE", 7, 1500)
    assert call(servers, capsys, "list", "--ae-title", "TWO") == ("", "")
    assert "no server answers" in call(servers, capsys, "list", "--ae-title", "THREE", status=1)[1]


def test_disconnect(servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(servers, capsys, "disconnect", "7", "--ae-title", "TWO")[0] == "disconnected: client 7 of TWO\n"
    control = servers.running["TWO"].control
    assert ("disconnect_client", 7) in control.asked
    control.errors["disconnect_client"] = NotFound("there is no client 9")
    assert call(servers, capsys, "disconnect", "9", "--ae-title", "TWO", status=1)[1] == "Error: there is no client 9\n"
    assert "several servers" in call(servers, capsys, "disconnect", "7", status=1)[1]
    assert "ID" in call(servers, capsys, "disconnect", "x", status=2)[1]


# -- watch -------------------------------------------------------------------------------------------------------------

EVENTS: list[tuple[str, dict[str, Any], str]] = [
    ("ClientConnected", {"id": 7, "ae_title": "", "address": "h:1"}, "client (7, h:1) has connected"),
    ("ClientAssociated", {"id": 7, "ae_title": "CT", "address": "h:1"}, "CT (7, h:1) has an association"),
    (
        "ClientAction",
        {
            "id": 7,
            "ae_title": "CT",
            "address": "h:1",
            "last_action": "C-STORE-RQ",
            "messages": 2,
            "bytes_received": 1500,
        },
        "CT (7, h:1) C-STORE-RQ, 2 messages, 1.5 kB received",
    ),
    (
        "ClientDisconnected",
        {"id": 7, "ae_title": "CT", "address": "h:1", "outcome": "released\x1b[2J"},
        "CT (7, h:1) is gone: released\\x1b[2J",
    ),
    ("AeTitlesChanged", {"ae_titles": ["A", "B"]}, "AE titles have changed: A, B"),
    ("SettingsChanged", {"changed": ["a.b"], "restart": ["c.d"]}, "settings have changed: a.b; after a restart: c.d"),
    ("SettingsChanged", {"changed": [], "restart": ["c"]}, "settings have changed: none at once; after a restart: c"),
    ("ServiceShuttingDown", {}, "the server stops"),
    ("ServerFound", {"state": "paused", "connections": 3}, "the server is paused, with 3 connections"),
    ("ServerLost", {}, "the server has gone"),
    ("SomethingNew", {"x": 1}, "SomethingNew"),
]


@pytest.mark.parametrize(("name", "data", "sentence"), EVENTS)
def test_events_as_sentences(name: str, data: dict[str, Any], sentence: str) -> None:
    from txdicom.cli.output import printable

    assert printable(client._sentence(name, data)) == sentence


def watching(servers: Servers, monkeypatch: pytest.MonkeyPatch, during: Any) -> None:
    """Has `during` done while a watch runs, which is cancelled then as Ctrl-C does."""

    def run(work: Any, *, debug: bool = False) -> int:
        results: list[Any] = []
        deferred = Deferred.fromCoroutine(work(servers.clock)).addBoth(results.append)
        for _ in range(20):
            servers.turn(0.1)
        during()
        for _ in range(20):
            servers.turn(0.1)
        if not results:
            deferred.cancel()
            for _ in range(20):
                servers.turn(0.1)
            assert results
            return 130
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return int(results[0])

    monkeypatch.setattr(running, "run", run)


def test_watch(servers: Servers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def during() -> None:
        for title in ("ONE", "TWO"):
            servers.running[title].control.happen("AeTitlesChanged", ae_titles=["A"])

    watching(servers, monkeypatch, during)
    lines = call(servers, capsys, "watch", status=130)[0].splitlines()
    assert [line.split("  ", 1)[1] for line in sorted(lines, key=lambda line: line[10:])] == [
        "ONE  AE titles have changed: A",
        "ONE  the server is running, with 3 connections",
        "TWO  AE titles have changed: A",
        "TWO  the server is running, with 3 connections",
    ]
    lines = call(servers, capsys, "watch", "--ae-title", "TWO", "--json", status=130)[0].splitlines()
    records = [json.loads(line) for line in lines]
    assert [(one["server"], one["event"]) for one in records] == [("TWO", "ServerFound"), ("TWO", "AeTitlesChanged")]
    assert records[1]["data"] == {"ae_titles": ["A"]}
    assert all(one.control.listeners == [] for one in servers.running.values())
    assert "there is no server X" in call(servers, capsys, "watch", "--ae-title", "X", status=1)[1]


def test_a_base_that_goes_ends_the_watch(
    servers: Servers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def during() -> None:
        monkeypatch.setattr(manager, "servers_in", servers_in)

    def servers_in(base: str) -> list[str]:
        raise SettingsError([f"{base} cannot be read: Permission denied"])

    watching(servers, monkeypatch, during)
    assert call(servers, capsys, "watch", status=1)[1] == f"Error: {servers.base} cannot be read: Permission denied\n"


def test_a_reader_that_goes_ends_the_watch(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        encoding = "utf-8"

        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

        def fileno(self) -> int:
            return 1

    watching(servers, monkeypatch, lambda: None)
    monkeypatch.setattr("sys.stdout", Gone())
    with pytest.raises(BrokenPipeError):
        client.watch.main(["--base", str(servers.base)], standalone_mode=False)
