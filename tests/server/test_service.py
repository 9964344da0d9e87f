"""The life of a server's service, with an application entity that does as it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher

from txdicom.errors import SettingsError
from txdicom.interfaces.control import Applied
from txdicom.server import launch, service
from txdicom.server.logs.lines import format_line
from txdicom.server.service import DicomServer, StartError
from txdicom.server.settings.tables import ServerSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path


class FakeServed:
    """Its `starting`, `binding` and `stopping` are what the methods wait for."""

    ae_title = "HERE"
    addresses = ()

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.starting: Awaitable[Any] = succeed(None)
        self.stopping: Awaitable[Any] = succeed(None)
        self.binding: Awaitable[Any] = succeed(None)

    async def bind(self, endpoint: str, *, secure: bool = False) -> None:
        self.calls.append(f"bind {endpoint}")
        await self.binding

    def administered(self, reactor: Any, live: Any, stop: Callable[[bool], None]) -> Any:
        self.stop_by_administrator = stop
        return object()

    async def start(self) -> None:
        self.calls.append("start")
        await self.starting

    async def stop(self) -> None:
        self.calls.append("stop")
        await self.stopping

    def abort_all(self) -> None:
        self.calls.append("abort all")


class FakeLive:
    """Settings that are read again when the test says so."""

    def __init__(self, folder: str) -> None:
        self.settings = Settings(server=ServerSettings(admin_socket=os.path.join(folder, "s")))
        self.answers: list[Deferred[Any]] = []

    def reload(self) -> Deferred[Any]:
        self.answers.append(Deferred())
        return self.answers[-1]


class FakeFolder:
    path = ""

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
        self.served = FakeServed()
        self.folder = FakeFolder()
        self.handlers: dict[int, Any] = {}
        self.at_exit: list[Callable[[], None]] = []
        self.settled = 0
        self.log: list[str] = []
        self.told: list[dict[str, object]] = []

    def server(self, **options: Any) -> DicomServer:
        return DicomServer(self.reactor, self.served, self.folder, **options)  # type: ignore[arg-type]

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
    # of this module alone: the reactor sets its own handlers with the real one, perhaps for the first time here
    monkeypatch.setattr(service, "signal", SimpleNamespace(**{**vars(signal), "signal": made.handlers.__setitem__}))
    monkeypatch.setattr(service.atexit, "register", made.at_exit.append)
    monkeypatch.setattr(launch, "settle", made.settle)
    monkeypatch.setattr(service, "notify", lambda **fields: made.told.append(fields))
    globalLogPublisher.addObserver(made.observe)
    yield made
    globalLogPublisher.removeObserver(made.observe)


def test_a_life(stage: Stage) -> None:
    server = stage.server()
    server.privilegedStartService()
    server.startService()
    assert stage.folder.noted == 1
    assert stage.served.calls == []
    stage.reactor.begin()
    assert stage.served.calls == ["start"]
    assert stage.settled == 1
    assert stage.log == ["info    ready: HERE accepts associations"]
    stopped: list[Any] = []
    server.stopService().addCallback(stopped.append)
    assert stopped == [None]
    assert stage.served.calls == ["start", "stop"]
    assert not stage.folder.held
    assert stage.log[-1] == "info    stopped"
    assert stage.at_exit == []
    assert [next(iter(fields)) for fields in stage.told] == ["READY", "STOPPING"]


def test_the_folder_is_held_until_all_is_done(stage: Stage) -> None:
    server = stage.server()
    server.startService()
    stage.reactor.begin()
    stage.served.stopping = waiting = Deferred()
    done = server.stopService()
    assert not done.called
    assert stage.folder.held
    waiting.callback(None)
    assert done.called
    assert not stage.folder.held


def test_ports_that_had_to_wait(stage: Stage) -> None:
    stage.server(late=["unix:/a"]).privilegedStartService()
    assert stage.served.calls == ["bind unix:/a"]


def test_a_port_that_had_to_wait_and_cannot_be_opened(stage: Stage) -> None:
    stage.served.binding = fail(FileNotFoundError(2, "No such file or directory"))
    with pytest.raises(StartError, match="cannot listen on unix:/a: No such file or directory"):
        stage.server(late=["unix:/a"]).privilegedStartService()
    assert str(stage.told[0]["STATUS"]).startswith("cannot start: cannot listen on unix:/a: ")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SettingsError(["one", "two"]), "one\\x0atwo"),
        (PermissionError(13, "Permission denied", "/store"), "Permission denied: /store"),
        (OSError("what happened"), "what happened"),
    ],
)
def test_a_start_that_fails_ends_the_process_with_failure(stage: Stage, error: Exception, reason: str) -> None:
    stage.served.starting = fail(error)
    server = stage.server()
    server.startService()
    stage.reactor.begin()
    assert stage.reactor.stopped == 1
    assert len(stage.at_exit) == 1
    assert stage.log == [f"error   the server HERE cannot start: {reason}"]
    assert stage.told == [{"STATUS": f"cannot start: {service.reason_of(error)}"}]
    assert stage.settled == 0


def test_a_mistake_in_an_add_in_is_shown_where_it_is(stage: Stage) -> None:
    stage.served.starting = fail(ZeroDivisionError())
    server = stage.server()
    server.startService()
    stage.reactor.begin()
    assert stage.log[0].startswith("error   the start failed\n")
    assert "ZeroDivisionError" in stage.log[0]
    assert stage.log[1] == "error   the server HERE cannot start: ZeroDivisionError"


def test_a_stop_before_it_is_ready(stage: Stage) -> None:
    stage.served.starting = Deferred()
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
    stage.send(number)
    assert stage.reactor.stopped == 1
    assert stage.log[-1] == f"info    {number.name}: stopping; once more aborts what is running"
    stage.served.stopping = Deferred()
    server.stopService()
    assert "abort all" not in stage.served.calls
    stage.send(number)
    assert stage.served.calls[-1] == "abort all"
    assert stage.reactor.stopped == 1
    assert stage.log[-1] == f"warning {number.name} again: what is running is aborted"
    # a third one ends the process
    assert stage.handlers[number] is signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.signal, "getsignal", lambda number: signal.SIG_IGN)
    stage.server().startService()
    stage.reactor.begin()
    assert stage.handlers == {}


# -- SIGHUP ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def live(tmp_path: Path) -> FakeLive:
    return FakeLive(str(tmp_path))


def running(stage: Stage, monkeypatch: pytest.MonkeyPatch, live: FakeLive, *, terminal: bool = False) -> DicomServer:
    monkeypatch.setattr(service, "on_terminal", lambda: terminal)
    monkeypatch.setattr(service.AdminServer, "start", lambda self: None)
    server = stage.server(live=live)
    server.startService()
    stage.reactor.begin()
    stage.log.clear()
    stage.told.clear()
    return server


def test_a_hangup_has_the_files_read_again(stage: Stage, monkeypatch: pytest.MonkeyPatch, live: FakeLive) -> None:
    running(stage, monkeypatch, live)
    stage.send(signal.SIGHUP)
    assert stage.told == [{"RELOADING": 1}]
    [answer] = live.answers
    answer.callback(Applied(changed=("server.max_clients",), restart=("server.listen",)))
    assert stage.log == [
        "info    SIGHUP: settings and files are read again",
        "info    settings and files were read again; changed: server.max_clients",
        "warning these need a restart: server.listen",
    ]
    assert stage.told[1:] == [{"READY": 1}]
    assert stage.reactor.stopped == 0
    stage.send(signal.SIGHUP)
    assert len(live.answers) == 2


def test_a_hangup_while_the_files_are_read(stage: Stage, monkeypatch: pytest.MonkeyPatch, live: FakeLive) -> None:
    running(stage, monkeypatch, live)
    for _ in range(3):
        stage.send(signal.SIGHUP)
    assert len(live.answers) == 1
    live.answers[0].callback(Applied(changed=(), restart=()))
    assert len(live.answers) == 2  # once more: the files may have changed since
    live.answers[1].callback(Applied(changed=(), restart=()))
    assert len(live.answers) == 2


def test_a_hangup_with_mistakes_in_the_files(stage: Stage, monkeypatch: pytest.MonkeyPatch, live: FakeLive) -> None:
    running(stage, monkeypatch, live)
    stage.send(signal.SIGHUP)
    live.answers[0].errback(SettingsError(["server.toml:1: no"]))
    assert stage.log == ["info    SIGHUP: settings and files are read again"]  # who reads them tells of mistakes
    assert stage.told[1:] == [{"READY": 1}]


def test_a_hangup_of_the_terminal_stops(stage: Stage, monkeypatch: pytest.MonkeyPatch, live: FakeLive) -> None:
    running(stage, monkeypatch, live, terminal=True)
    stage.send(signal.SIGHUP)
    assert stage.reactor.stopped == 1
    assert live.answers == []


def test_a_stop_does_not_wait_for_what_is_read(stage: Stage, monkeypatch: pytest.MonkeyPatch, live: FakeLive) -> None:
    server = running(stage, monkeypatch, live)
    stage.send(signal.SIGHUP)
    assert server.stopService().called
    assert stage.told == [{"RELOADING": 1}, {"STOPPING": 1}]


def test_whether_there_is_a_terminal() -> None:
    """A process in a session of its own has none."""
    program = "from txdicom.server.service import on_terminal; print(on_terminal())"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, start_new_session=True
    )
    assert run.stdout == "False\n"


def test_an_administrator_stops_it_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch, live: FakeLive) -> None:
    running(stage, monkeypatch, live)
    stage.served.stop_by_administrator(True)
    assert stage.reactor.stopped == 1
    assert stage.served.calls[-1] == "abort all"
