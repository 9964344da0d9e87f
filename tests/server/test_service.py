"""The life of a server's service, with an application entity that does as it is told."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher

from txdicom.errors import SettingsError
from txdicom.net.config import NetConfig
from txdicom.server import launch, service
from txdicom.server.log_lines import format_line
from txdicom.server.service import DicomServer, StartError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


class FakeAssociation:
    def __init__(self) -> None:
        self.ended = ""

    def hang_up(self, why: str) -> None:
        self.ended = why


class FakeEntity:
    """Its `starting`, `binding` and `stopping` are what the methods wait for."""

    ae_title = "HERE"
    config = NetConfig()

    def __init__(self) -> None:
        self.acceptor = self
        self.associations: dict[int, FakeAssociation] = {}
        self.calls: list[str] = []
        self.starting: Awaitable[Any] = succeed(None)
        self.stopping: Awaitable[Any] = succeed(None)
        self.binding: Awaitable[Any] = succeed(None)

    async def bind(self, endpoint: str) -> None:
        self.calls.append(f"bind {endpoint}")
        await self.binding

    async def start(self) -> None:
        self.calls.append("start")
        await self.starting

    async def stop(self) -> None:
        self.calls.append("stop")
        await self.stopping


class FakeFolder:
    def __init__(self) -> None:
        self.held = True
        self.noted = 0

    def note_process(self) -> None:
        self.noted += 1

    def release(self) -> None:
        self.held = False


class Stage:
    """A service and what is around it."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.entity = FakeEntity()
        self.folder = FakeFolder()
        self.handlers: dict[int, Any] = {}
        self.at_exit: list[Callable[[], None]] = []
        self.settled = 0
        self.log: list[str] = []

    def server(self, **options: Any) -> DicomServer:
        return DicomServer(self.reactor, self.entity, self.folder, **options)  # type: ignore[arg-type]

    def settle(self) -> None:
        self.settled += 1

    def send(self, number: signal.Signals) -> None:
        self.handlers[number](number, None)

    def observe(self, event: Any) -> None:
        if str(event["log_namespace"]).startswith("txdicom.server"):
            self.log.append(format_line(event)[20:].rstrip())


class Reactor(MemoryReactorClock):
    """`begin` calls what waits for the reactor to run; a stop is only noted."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = 0

    def callFromThread(self, function: Callable[..., object], *args: object) -> None:
        function(*args)

    def stop(self) -> None:
        self.stopped += 1

    def begin(self) -> None:
        for function, arguments, keywords in self.whenRunningHooks:
            function(*arguments, **keywords)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = Stage()
    monkeypatch.setattr(service.signal, "signal", made.handlers.__setitem__)
    monkeypatch.setattr(service.atexit, "register", made.at_exit.append)
    monkeypatch.setattr(launch, "settle", made.settle)
    globalLogPublisher.addObserver(made.observe)
    yield made
    globalLogPublisher.removeObserver(made.observe)


def test_a_life(stage: Stage) -> None:
    server = stage.server()
    server.privilegedStartService()
    server.startService()
    assert stage.folder.noted == 1
    assert stage.entity.calls == []
    stage.reactor.begin()
    assert stage.entity.calls == ["start"]
    assert stage.settled == 1
    assert stage.log == ["info    ready: HERE accepts associations"]
    stopped: list[Any] = []
    server.stopService().addCallback(stopped.append)
    assert stopped == [None]
    assert stage.entity.calls == ["start", "stop"]
    assert not stage.folder.held
    assert stage.log[-1] == "info    stopped"
    assert stage.at_exit == []


def test_the_folder_is_held_until_all_is_done(stage: Stage) -> None:
    server = stage.server()
    server.startService()
    stage.reactor.begin()
    stage.entity.stopping = waiting = Deferred()
    stage.entity.associations[1] = FakeAssociation()
    done = server.stopService()
    assert stage.log[-1] == "info    draining: 1 connections, running operations have 30 s"
    assert not done.called
    assert stage.folder.held
    waiting.callback(None)
    assert done.called
    assert not stage.folder.held


def test_ports_that_had_to_wait(stage: Stage) -> None:
    stage.server(late=["unix:/a"]).privilegedStartService()
    assert stage.entity.calls == ["bind unix:/a"]


def test_a_port_that_had_to_wait_and_cannot_be_opened(stage: Stage) -> None:
    stage.entity.binding = fail(FileNotFoundError(2, "No such file or directory"))
    with pytest.raises(StartError, match="cannot listen on unix:/a: No such file or directory"):
        stage.server(late=["unix:/a"]).privilegedStartService()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SettingsError(["one", "two"]), "one\\x0atwo"),
        (PermissionError(13, "Permission denied", "/store"), "Permission denied: /store"),
        (OSError("what happened"), "what happened"),
    ],
)
def test_a_start_that_fails_ends_the_process_with_failure(stage: Stage, error: Exception, reason: str) -> None:
    stage.entity.starting = fail(error)
    server = stage.server()
    server.startService()
    stage.reactor.begin()
    assert stage.reactor.stopped == 1
    assert len(stage.at_exit) == 1
    assert stage.log == [f"error   the server HERE cannot start: {reason}"]
    assert stage.settled == 0


def test_a_mistake_in_an_add_in_is_shown_where_it_is(stage: Stage) -> None:
    stage.entity.starting = fail(ZeroDivisionError())
    server = stage.server()
    server.startService()
    stage.reactor.begin()
    assert stage.log[0].startswith("error   the start failed\n")
    assert "ZeroDivisionError" in stage.log[0]
    assert stage.log[1] == "error   the server HERE cannot start: ZeroDivisionError"


def test_a_stop_before_it_is_ready(stage: Stage) -> None:
    stage.entity.starting = Deferred()
    server = stage.server()
    server.startService()
    stage.reactor.begin()
    assert server.stopService().called
    assert stage.log == ["info    stopped before it was ready", "info    stopped"]
    assert stage.at_exit == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_and_a_second_one_aborts(stage: Stage, number: signal.Signals) -> None:
    server = stage.server()
    server.startService()
    stage.reactor.begin()
    association = stage.entity.associations[1] = FakeAssociation()
    stage.send(number)
    assert stage.reactor.stopped == 1
    assert stage.log[-1] == f"info    {number.name}: stopping; once more aborts what is running"
    stage.entity.stopping = Deferred()
    server.stopService()
    assert association.ended == ""
    stage.send(number)
    assert association.ended
    assert stage.reactor.stopped == 1
    assert stage.log[-1] == f"warning {number.name} again: what is running is aborted"
    # a third one ends the process
    assert stage.handlers[number] is signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.signal, "getsignal", lambda number: signal.SIG_IGN)
    stage.server().startService()
    stage.reactor.begin()
    assert stage.handlers == {}
