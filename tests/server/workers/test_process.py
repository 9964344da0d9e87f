"""One worker as its parent sees it; its process is the test's."""

from __future__ import annotations

import errno
import signal
import sys
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from twisted.protocols.amp import AmpBox
from twisted.python.failure import Failure

from txdicom.errors import ConnectionFailed, DicomError, InternalError
from txdicom.server.logs.lines import format_line
from txdicom.server.workers import commands
from txdicom.server.workers.process import LOG_FD, Worker, WorkerFailed


class Owner:
    def __init__(self) -> None:
        self.told: list[Any] = []
        self.welcome: Deferred[None] = Deferred()

    async def ready(self, worker: Worker) -> None:
        self.told.append("ready")
        await self.welcome

    def take_slot(self, worker: Worker, number: int, calling_ae: str) -> bool:
        self.told.append((number, calling_ae))
        return True

    def free_slot(self, worker: Worker, number: int) -> None:
        self.told.append(number)

    def silence_changed(self, worker: Worker) -> None:
        self.told.append("silent" if worker.silent else "answers")

    def exited(self, worker: Worker, why: str) -> None:
        self.told.append(why)


class Transport:
    pid: int | None = 99
    closed = False

    def loseConnection(self) -> None:
        self.closed = True


class Reactor(Clock):
    """Keeps what is asked of it; `refuses` is what it cannot do."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[list[str]] = []
        self.link: Any = StringTransport()
        self.protocol: Any = None
        self.refuses = ""
        #: what the process ends with before it is there
        self.reaped: Exception | None = None

    def adoptStreamConnection(self, fd: int, family: int, factory: Any) -> None:
        self._may("adopt")
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.link)

    def spawnProcess(self, protocol: Any, executable: str, args: list[str], **options: Any) -> None:
        self._may("spawn")
        self.spawned.append(args)
        protocol.makeConnection(Transport())
        if self.reaped is not None:
            protocol.transport.pid = None
            protocol.processExited(Failure(self.reaped))

    def _may(self, what: str) -> None:
        if what == self.refuses:
            raise OSError(errno.EMFILE, "Too many open files")


class Stage:
    def __init__(self) -> None:
        self.clock = Reactor()
        self.owner = Owner()
        self.lines = b""
        self.log: list[str] = []
        self.worker = Worker(self.clock, self.owner, 2, self.take)
        self.worker.transport = Transport()  # type: ignore[assignment]
        self.failures: list[Any] = []
        self.worker.started.addErrback(self.failures.append)

    def take(self, data: bytes) -> None:
        self.lines += data

    def ready(self) -> None:
        self.worker.became_ready()
        self.owner.welcome.callback(None)

    def end(self, reason: Exception) -> None:
        self.worker.processExited(Failure(reason))
        self.worker.processEnded(Failure(reason))


@pytest.fixture
def stage() -> Any:
    made = Stage()

    def observe(event: Any) -> None:
        if event["log_namespace"] == "txdicom.server.workers.process":
            made.log.append(format_line(event)[20:].rstrip())

    globalLogPublisher.addObserver(observe)
    yield made
    globalLogPublisher.removeObserver(observe)


def test_it_is_ready_when_it_is_welcome(stage: Stage) -> None:
    stage.worker.became_ready()
    assert stage.worker.administrator is not None
    assert (stage.worker.state, stage.worker.started.called) == ("starting", False)
    stage.owner.welcome.callback(None)
    assert (stage.worker.state, stage.worker.started.called) == ("ready", True)


def test_one_that_ends_while_it_is_welcomed(stage: Stage) -> None:
    stage.worker.became_ready()
    stage.end(ProcessTerminated(1))
    stage.owner.welcome.callback(None)
    assert stage.worker.state == "ended"
    assert len(stage.failures) == 1


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (ProcessDone(0), "status 0"),
        (ProcessTerminated(3), "status 3"),
        (ProcessTerminated(signal=9), "signal 9 (SIGKILL)"),
        (ProcessTerminated(signal=35), "signal 35"),
    ],
)
def test_how_it_has_ended(stage: Stage, reason: Exception, why: str) -> None:
    stage.end(reason)
    assert stage.owner.told == [why]
    [failure] = stage.failures
    assert failure.check(WorkerFailed)
    assert str(failure.value) == f"worker 2 has ended before it was ready: {why}"
    assert stage.worker.gone.called
    assert stage.clock.getDelayedCalls() == []


def test_its_own_sentence_goes_before(stage: Stage) -> None:
    stage.worker.failed("there is no licence")
    stage.end(ProcessTerminated(1))
    assert str(stage.failures[0].value) == "there is no licence"


def test_what_holds_its_output_open_is_not_waited_for(stage: Stage) -> None:
    """A program that an add-in has started may go on."""
    stage.worker.processExited(Failure(ProcessDone(0)))
    stage.clock.advance(2)
    assert stage.worker.transport.closed  # type: ignore[union-attr]


def test_slots_are_for_its_own_connections(stage: Stage) -> None:
    stage.worker.numbers |= {5, 7}
    stage.worker.half_open |= {5, 7}
    assert stage.worker.take_slot(5, "A")
    assert stage.worker.half_open == {7}
    assert not stage.worker.take_slot(6, "A")
    stage.worker.free_slot(6)
    stage.worker.free_slot(5)
    stage.worker.free_slot(5)
    stage.worker.free_slot(7)
    assert stage.owner.told == [(5, "A"), 5, 7]
    assert stage.worker.half_open == set()


def test_what_it_writes(stage: Stage) -> None:
    stage.worker.childDataReceived(LOG_FD, b"line")
    assert stage.lines == b"line"
    stage.worker.childDataReceived(2, b"ModuleNotFound")
    stage.worker.childDataReceived(1, b"hello\n")
    stage.worker.childDataReceived(2, b"Error: x\n\n" + b"y" * 10_000 + b"\n")
    assert stage.log == [
        "warning worker 2 wrote: hello",
        "warning worker 2 wrote: ModuleNotFoundError: x",
        "warning worker 2 wrote: " + "y" * 4096,
    ]


def test_what_an_add_in_writes_may_be_about_a_patient(stage: Stage) -> None:
    stage.ready()
    stage.worker.childDataReceived(1, b"Doe^Jane\n")
    stage.worker.childDataReceived(2, b'Fatal Python error: Aborted\n  File "x.py", line 1 in f\n')
    stage.worker.childDataReceived(1, b"the end")
    assert len(stage.log) == 3
    stage.end(ProcessDone(0))
    assert stage.log == [
        "warning worker 2 wrote: [redacted]",
        "warning worker 2 wrote: Fatal Python error: Aborted",
        'warning worker 2 wrote:   File "x.py", line 1 in f',
        "warning worker 2 wrote: [redacted]",
    ]


def test_after_its_end_it_is_told_nothing(stage: Stage) -> None:
    stage.ready()
    stage.end(ProcessDone(0))
    stage.worker.drain()
    stage.worker.abort_all()
    stage.worker.kill()
    assert (stage.worker.state, stage.worker.administrator) == ("ended", None)
    assert not stage.worker.takes_connections


def test_one_that_is_stopped_amid_its_start_gets_no_connections(stage: Stage) -> None:
    """It could not even reject them."""
    stage.worker._channel = Channel()  # type: ignore[assignment]
    stage.worker.drain()
    assert (stage.worker.state, stage.worker.takes_connections) == ("draining", False)


def test_one_that_drains_gets_connections(stage: Stage) -> None:
    stage.worker._channel = Channel()  # type: ignore[assignment]
    stage.ready()
    assert stage.worker.takes_connections
    stage.worker.drain()
    assert stage.worker.takes_connections
    stage.end(ProcessDone(0))
    assert not stage.worker.takes_connections


class Channel:
    def close(self) -> None:
        pass


def test_no_module_comes_from_the_folder_it_is_started_in(stage: Stage) -> None:
    stage.worker.spawn({})
    stage.worker._channel.close()  # type: ignore[union-attr]
    assert stage.clock.spawned == [[sys.executable, "-P", "-m", "txdicom.server.workers.worker"]]


@pytest.mark.parametrize("refused", ["adopt", "spawn"])
def test_nothing_is_left_of_one_that_cannot_be_spawned(stage: Stage, refused: str) -> None:
    """Its owner tries again, and must not hear of an end besides."""
    stage.clock.refuses = refused
    with pytest.raises(OSError, match="Too many"):
        stage.worker.spawn({})
    assert stage.clock.spawned == []
    assert not stage.worker._asking.link.open
    assert stage.clock.link.disconnecting is (refused == "spawn")


def test_what_it_has_said_at_last_is_read(stage: Stage) -> None:
    """The end of its process may be seen before the end of the link."""
    stage.worker.spawn({})
    stage.end(ProcessTerminated(1))
    assert (stage.failures, stage.worker.gone.called) == ([], False)
    box = commands.Failed.makeArguments({"sentence": "there is no licence"}, None)
    box[b"_command"] = commands.Failed.commandName
    stage.clock.protocol.dataReceived(box.serialize())
    stage.clock.protocol.connectionLost(Failure(ConnectionDone()))
    assert str(stage.failures[0].value) == "there is no licence"
    assert stage.worker.gone.called
    assert stage.clock.getDelayedCalls() == []


def test_what_holds_its_link_open_is_not_waited_for(stage: Stage) -> None:
    stage.worker.spawn({})
    stage.end(ProcessTerminated(1))
    stage.clock.advance(2)
    assert stage.clock.link.disconnecting
    stage.clock.protocol.connectionLost(Failure(ConnectionDone()))
    assert stage.worker.gone.called


def test_one_that_ends_before_it_is_there(stage: Stage) -> None:
    """Twisted may reap it in the call that starts it."""
    stage.clock.reaped = ProcessTerminated(signal=9)
    stage.worker.spawn({})
    assert (stage.worker.state, stage.worker.process, stage.worker._channel) == ("ended", 99, None)
    assert stage.owner.told == ["signal 9 (SIGKILL)"]
    assert stage.clock.link.value() == b""
    stage.worker.processEnded(Failure(stage.clock.reaped))
    stage.clock.protocol.connectionLost(Failure(ConnectionDone()))
    assert str(stage.failures[0].value) == "worker 2 has ended before it was ready: signal 9 (SIGKILL)"
    assert stage.clock.getDelayedCalls() == []


def test_one_that_does_not_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[Any] = []
    monkeypatch.setattr("os.kill", lambda *arguments: killed.append(arguments))
    stage.worker.spawn({})
    stage.ready()
    stage.clock.advance(9)
    assert not stage.worker.silent
    stage.clock.advance(1)
    assert stage.owner.told == ["ready", "silent"]
    answer = AmpBox(_answer=b"2")  # to the first question after Begin
    stage.clock.protocol.dataReceived(answer.serialize())
    assert stage.owner.told == ["ready", "silent", "answers"]
    stage.clock.pump([5, 10, 49])
    assert killed == []
    stage.clock.advance(1)
    assert killed == [(99, signal.SIGKILL)]
    assert stage.log == [
        "warning worker 2 (process 99) has not answered for 10 s: others get its connections",
        "warning worker 2 (process 99) answers again",
        "warning worker 2 (process 99) has not answered for 10 s: others get its connections",
        "error   worker 2 (process 99) has not answered for 60 s: it is killed",
    ]
    stage.end(ProcessTerminated(signal=9))
    stage.clock.protocol.connectionLost(Failure(ConnectionDone()))
    assert stage.clock.getDelayedCalls() == []


def test_one_without_descriptors_rests_for_a_second(stage: Stage) -> None:
    assert not stage.worker.rests
    stage.worker.exhausted()
    stage.worker.exhausted()
    stage.clock.advance(0.9)
    assert stage.worker.rests
    stage.clock.advance(0.1)
    assert not stage.worker.rests
    assert stage.log == ["error   worker 2 (process 0) has no file descriptor left: it gets no connections for 1 s"]


async def test_what_it_is_asked(stage: Stage) -> None:
    stage.worker.spawn({})
    stage.worker._channel.close()  # type: ignore[union-attr]
    asked = [Deferred.fromCoroutine(stage.worker.ask(commands.Apply, n, text="")) for n in (330, 0)]
    stage.clock.advance(329)
    assert not asked[0].called
    stage.clock.advance(1)
    with pytest.raises(InternalError, match=r"worker 2 \(process 99\) has not answered Apply within 330 s"):
        await asked[0]
    stage.clock.advance(10_000)
    stage.clock.protocol.connectionLost(Failure(ConnectionDone()))
    with pytest.raises(ConnectionFailed, match=r"worker 2 .* has ended meanwhile"):
        await asked[1]
    with pytest.raises(ConnectionFailed):
        await stage.worker.ask(commands.Apply, 330, text="")


@pytest.mark.parametrize("error", [DicomError("it has not answered"), RuntimeError("x")])
def test_one_that_is_not_welcome_is_killed(stage: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    killed: list[bool] = []
    monkeypatch.setattr(stage.worker, "kill", lambda: killed.append(True))
    stage.worker.became_ready()
    stage.owner.welcome.errback(error)
    assert killed == [True]
    expected = "error   worker 2 cannot begin as the others go on, and is killed: it has not answered"
    assert (stage.log[0] == expected) is isinstance(error, DicomError)
