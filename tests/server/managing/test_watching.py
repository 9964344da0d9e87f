"""The events of several servers in one function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from tests.server.managing.servers import Servers
from txdicom.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from txdicom.interfaces.control import ControlEvent
    from txdicom.server.managing.watching import Watch


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    made = Servers(tmp_path / "base", monkeypatch)
    for title in ("ONE", "TWO"):
        made.create(title)
    yield made
    made.end()


class Seen:
    """What a watch has told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, Any]] = []

    def __call__(self, title: str, event: ControlEvent) -> None:
        self.events.append((title, event.name, dict(event.data)))

    def take(self) -> list[tuple[str, str]]:
        events, self.events = self.events, []
        return [event[:2] for event in events]


def close(servers: Servers, watch: Watch) -> None:
    servers.result(Deferred.fromCoroutine(watch.close()))
    assert watch.ended.called


def test_servers_that_come_and_go(servers: Servers) -> None:
    seen = Seen()
    one = servers.start("ONE", connections=3)
    watch = servers.administrator.watch(servers.clock, seen)
    servers.result(watch.begun)
    assert [(title, name, data["connections"]) for title, name, data in seen.events] == [("ONE", "ServerFound", 3)]
    seen.take()
    one.control.happen("ClientConnected", id=1)
    servers.turn()
    assert seen.take() == [("ONE", "ClientConnected")]
    two = servers.start("TWO")
    for _ in range(12):
        servers.turn(0.1)
    assert seen.take() == [("TWO", "ServerFound")]
    two.control.happen("AeTitlesChanged", ae_titles=["A"])
    one.control.happen("ServiceShuttingDown")
    servers.turn()
    assert seen.take() == [("ONE", "ServiceShuttingDown"), ("TWO", "AeTitlesChanged")]
    one.stop()
    servers.turn()
    assert seen.take() == [("ONE", "ServerLost")]
    servers.start("ONE")
    for _ in range(12):
        servers.turn(0.1)
    assert seen.take() == [("ONE", "ServerFound")]
    close(servers, watch)
    two.control.happen("ClientConnected", id=1)
    for _ in range(30):
        servers.turn(0.1)
    assert seen.events == []
    assert two.control.listeners == []


def test_only_some(servers: Servers) -> None:
    seen = Seen()
    running = [servers.start(title) for title in ("ONE", "TWO")]
    watch = servers.administrator.watch(servers.clock, seen, ["TWO"], ["ClientAction"])
    servers.result(watch.begun)
    for one in running:
        one.control.happen("ClientConnected", id=1)
        one.control.happen("ClientAction", id=1)
    servers.turn()
    assert seen.take() == [("TWO", "ServerFound"), ("TWO", "ClientAction")]
    close(servers, watch)


def test_a_listener_that_fails_ends_nothing(servers: Servers) -> None:
    names: list[str] = []
    logged: list[Any] = []

    def listener(title: str, event: ControlEvent) -> None:
        names.append(event.name)
        raise ZeroDivisionError

    one = servers.start("ONE")
    globalLogPublisher.addObserver(logged.append)
    try:
        watch = servers.administrator.watch(servers.clock, listener)
        servers.result(watch.begun)
        one.control.happen("ClientConnected", id=1)
        servers.turn()
    finally:
        globalLogPublisher.removeObserver(logged.append)
    assert names == ["ServerFound", "ClientConnected"]
    assert [event["name"] for event in logged if event.get("log_failure")] == names
    close(servers, watch)


def test_a_base_that_cannot_be_read(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    servers.administrator.base = str(servers.base / "ONE" / "server.toml")
    watch = servers.administrator.watch(servers.clock, Seen())
    with pytest.raises(SettingsError, match="cannot be read: Not a directory"):
        servers.result(watch.begun)
    close(servers, watch)


def test_a_base_that_cannot_be_read_any_more(servers: Servers) -> None:
    watch = servers.administrator.watch(servers.clock, Seen())
    servers.result(watch.begun)
    assert not watch.ended.called
    servers.administrator.base = str(servers.base / "ONE" / "server.toml")
    with pytest.raises(SettingsError, match="cannot be read: Not a directory"):
        servers.result(watch.ended)
    close(servers, watch)


def test_a_server_that_goes_while_it_is_found(servers: Servers) -> None:
    seen = Seen()
    one = servers.start("ONE")
    watch = servers.administrator.watch(servers.clock, seen)
    one.stop()
    servers.result(watch.begun)
    assert seen.events == []
    close(servers, watch)
