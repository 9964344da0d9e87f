"""One worker as its parent sees it: its process, the channel for connections, the link, what it says."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.error import ConnectionClosed, ProcessDone
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import Logger
from twisted.protocols.amp import CommandLocator

from txdicom.admin.client import Administrator
from txdicom.errors import ConnectionFailed, DicomError, InternalError
from txdicom.interfaces import Private
from txdicom.server.workers import commands
from txdicom.server.workers.channel import channel, hand_over
from txdicom.server.workers.pulse import GIVEN_UP, SILENT, Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IDelayedCall
    from twisted.protocols.amp import AmpBox, Command, IResponderLocator
    from twisted.python.failure import Failure

_log = Logger()

#: the module that a worker runs
MODULE: Final = "txdicom.server.workers.worker"
#: the descriptors that a worker finds open
CHANNEL_FD: Final = 3
LINK_FD: Final = 4
LOG_FD: Final = 5
#: seconds in which the last of what an ended worker has said is read
_LAST_WORDS: Final = 2.0
#: seconds for which one without file descriptors gets no connections
_REST: Final = 1.0
#: characters of a line of its standard output in the log
_LONGEST: Final = 4096
#: what `faulthandler` and a traceback say of where they were
_OF_THE_INTERPRETER: Final = re.compile(r'Fatal Python error: |Current thread 0x|Thread 0x|Traceback |  File "')


class WorkerFailed(DicomError):
    """A worker cannot start; the text is for the operator."""


class Owner(Protocol):
    """Who hears of what a worker does."""

    async def ready(self, worker: Worker) -> None:
        """It has started, and gets connections when this is done."""

    def take_slot(self, worker: Worker, number: int, calling_ae: str) -> bool:
        """Whether an association may begin on one of its connections."""

    def free_slot(self, worker: Worker, number: int) -> None:
        """One of its connections is gone."""

    def silence_changed(self, worker: Worker) -> None:
        """It does not answer any more, or does again: see `Worker.silent`."""

    def exited(self, worker: Worker, why: str) -> None:
        """Its process has ended."""


class Worker(ProcessProtocol):
    """One life of a worker's process: `starting`, `ready`, `draining`, `ended`.

    `lines` takes the bytes of its log lines.
    """

    def __init__(self, reactor: Any, owner: Owner, index: int, lines: Callable[[bytes], None]) -> None:
        self.index = index
        self.state = "starting"
        self.process = 0
        #: None until it is ready, and after its end
        self.administrator: Administrator | None = None
        #: how many changes of settings it began with
        self.changes = 0
        #: the numbers of its connections
        self.numbers: set[int] = set()
        #: and of those without an association
        self.half_open: set[int] = set()
        self.born: float = reactor.seconds()
        #: fires when it is ready, fails with WorkerFailed where it ends before
        self.started: Deferred[None] = Deferred()
        #: fires when it has ended and all that it has said is read
        self.gone: Deferred[None] = Deferred()
        self._reactor = reactor
        self._owner = owner
        self._lines = lines
        self._sentence = ""
        self._amid_start = True
        self._channel: socket.socket | None = None
        self._asking = Administrator(reactor, locator=partial(_Answers, self))
        self._partial = {1: b"", 2: b""}
        self._patience: IDelayedCall | None = None
        self._pulse = Pulse(reactor, self._ping, self._silence_changed, self._too_long)
        self._rests_until = self.born

    @property
    def connections(self) -> int:
        """How many it has."""
        return len(self.numbers)

    @property
    def takes_connections(self) -> bool:
        """Whether some may be handed over to it; one that drains rejects them."""
        return self.state in {"ready", "draining"} and self._channel is not None and not self._amid_start

    @property
    def silent(self) -> bool:
        """Whether it has not answered for a while."""
        return self._pulse.silent

    @property
    def rests(self) -> bool:
        """Whether it has had no file descriptor left a moment ago."""
        return bool(self._reactor.seconds() < self._rests_until)

    def spawn(self, start: Mapping[str, Any]) -> None:
        """Starts the process, and has it begin with these values (`txdicom.server.workers.inside.Start`). OSError."""
        ours, theirs = channel()
        link, its_link = socket.socketpair()
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # first, as nothing is left to be undone where it fails
            self._reactor.adoptStreamConnection(
                link.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: self._asking.link)
            )
            self._reactor.spawnProcess(
                self,
                sys.executable,
                # -P: no module comes from whatever folder the server was started in
                [sys.executable, "-P", "-m", MODULE],
                # it is the parent that tells of the start
                env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
                childFDs={
                    0: nothing,
                    1: "r",
                    2: "r",
                    CHANNEL_FD: theirs.fileno(),
                    LINK_FD: its_link.fileno(),
                    LOG_FD: "r",
                },
            )
        except BaseException:
            self._asking.link.drop("")
            ours.close()
            raise
        finally:
            os.close(nothing)
            for end in (theirs, link, its_link):
                end.close()
        if self.state == "ended":  # it may be reaped by the call that has started it
            ours.close()
            return
        self._channel = ours
        # what does not reach it is told by its end
        self._asking.link.call(commands.Begin, start=dict(start)).addErrback(lambda failure: None)

    def hand_over(self, number: int, secure: bool, connection: socket.socket) -> None:
        """Gives it a connection. ChannelFull, ChannelClosed."""
        assert self._channel is not None
        hand_over(self._channel, number, secure, connection)
        self.numbers.add(number)
        self.half_open.add(number)

    async def ask(self, command: type[Command], seconds: float, **arguments: Any) -> dict[str, Any]:
        """What it answers within that many seconds; 0: no limit. Its own errors come as they are.

        InternalError where it has not answered, ConnectionFailed where it has ended.
        """
        name = f"worker {self.index} (process {self.process})"
        answer = maybeDeferred(self._asking.link.call, command, **arguments)
        try:
            return await (answer.addTimeout(seconds, self._reactor) if seconds else answer)
        except TooLate:
            raise InternalError(f"{name} has not answered {command.__name__} within {seconds:g} s") from None
        except ConnectionClosed:
            raise ConnectionFailed(f"{name} has ended meanwhile") from None

    def drain(self) -> None:
        """Has it finish and end."""
        if self.state != "ended":
            self.state = "draining"
            self._tell(commands.Drain)

    def abort_all(self) -> None:
        """Has it abort all that is running."""
        self._tell(commands.AbortAll)

    def kill(self) -> None:
        """Ends it whatever it does."""
        if self.state != "ended":
            os.kill(self.process, signal.SIGKILL)  # it is not reaped yet, so that the id is its own

    def _ping(self) -> Deferred[Any]:
        return maybeDeferred(self._asking.link.call, commands.Ping)

    def _silence_changed(self) -> None:
        name = {"worker": self.index, "process": self.process}
        if self.silent:
            text = "worker {worker} (process {process}) has not answered for {seconds:g} s: others get its connections"
            _log.warn(text, **name, seconds=SILENT)
        else:
            _log.warn("worker {worker} (process {process}) answers again", **name)
        self._owner.silence_changed(self)

    def _too_long(self) -> None:
        text = "worker {worker} (process {process}) has not answered for {seconds:g} s: it is killed"
        _log.error(text, worker=self.index, process=self.process, seconds=GIVEN_UP)
        self.kill()

    def _tell(self, command: type[Command]) -> None:
        if self._asking.link.open:
            self._asking.link.call(command)

    # -- from the link -------------------------------------------------------------------------------------------------

    def became_ready(self) -> None:
        """The worker says that it has started."""
        if self.state == "starting":
            self.administrator = self._asking
            Deferred.fromCoroutine(self._welcome()).addErrback(self._not_welcome)

    async def _welcome(self) -> None:
        await self._owner.ready(self)
        if self.state == "starting":
            self.state = "ready"
            self._amid_start = False
            self._pulse.begin()
            self.started.callback(None)

    def _not_welcome(self, failure: Failure) -> None:
        if self.state == "ended":
            return
        if failure.check(DicomError):
            why = failure.getErrorMessage()
            _log.error(
                "worker {worker} cannot begin as the others go on, and is killed: {why}", worker=self.index, why=why
            )
        else:
            _log.failure("worker {worker} does not do as it is told", failure, worker=self.index)
        self.kill()

    def failed(self, sentence: str) -> None:
        """The worker says why it cannot start; it ends by itself."""
        self._sentence = sentence

    def take_slot(self, number: int, calling_ae: str) -> bool:
        """The worker asks whether an association may begin."""
        granted = number in self.numbers and self._owner.take_slot(self, number, calling_ae)
        if granted:
            self.half_open.discard(number)
        return granted

    def free_slot(self, number: int) -> None:
        """The worker says that a connection is gone."""
        if number in self.numbers:
            self.numbers.discard(number)
            self.half_open.discard(number)
            self._owner.free_slot(self, number)

    def exhausted(self) -> None:
        """The worker says that it has no file descriptor left."""
        if not self.rests:
            text = (
                "worker {worker} (process {process}) has no file descriptor left: it gets no connections for {rest:g} s"
            )
            _log.error(text, worker=self.index, process=self.process, rest=_REST)
        self._rests_until = self._reactor.seconds() + _REST

    # -- from Twisted --------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """It runs, or has already ended again."""
        self.process = self.transport.pid  # type: ignore[union-attr]

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803 (Twisted's names)
        """Log lines; or what something in it writes to its standard output: an interpreter that breaks down."""
        if childFD == LOG_FD:
            self._lines(data)
            return
        *lines, rest = (self._partial[childFD] + data).split(b"\n")
        self._partial[childFD] = rest[-_LONGEST:]
        for line in lines:
            self._write_line(line)

    def _write_line(self, line: bytes) -> None:
        """Nobody knows what it is: once there are patients, only what an interpreter says of itself is shown."""
        text = line[:_LONGEST].decode("utf-8", "backslashreplace").rstrip()
        if text:
            plain = self._amid_start or _OF_THE_INTERPRETER.match(text) is not None
            _log.warn("worker {worker} wrote: {text}", worker=self.index, text=text if plain else Private(text))

    def processExited(self, reason: Failure) -> None:  # noqa: N802 (Twisted's name)
        """The process has ended; what it has said may be on its way."""
        self.state = "ended"
        self.administrator = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._pulse.end()
        self._patience = self._reactor.callLater(_LAST_WORDS, self._read_no_more)
        self._owner.exited(self, _why(reason))

    def _read_no_more(self) -> None:
        self.transport.loseConnection()  # type: ignore[union-attr]
        self._asking.link.drop("")

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 (Twisted's name)
        """And all that it has written is here; what it has said on the link may be on its way."""
        if self._asking.link.open:
            self._asking.when_lost().addCallback(lambda _: self._ended(reason))
        else:
            self._ended(reason)

    def _ended(self, reason: Failure) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        for rest in self._partial.values():
            self._write_line(rest)
        if not self.started.called:
            self.started.errback(
                WorkerFailed(self._sentence or f"worker {self.index} has ended before it was ready: {_why(reason)}")
            )
        self.gone.callback(None)


class _Answers(CommandLocator):
    """Finds what answers a worker: to its own commands, and to the events of its administrative interface."""

    def __init__(self, worker: Worker, events: IResponderLocator) -> None:
        self._worker = worker
        self._events = events

    def locateResponder(self, name: bytes) -> Callable[[AmpBox], Deferred[AmpBox]] | None:  # noqa: N802 (Twisted's name)
        """See `IResponderLocator`."""
        return super().locateResponder(name) or self._events.locateResponder(name)  # type: ignore[no-any-return, no-untyped-call]

    @commands.Ready.responder
    def _ready(self) -> dict[str, Any]:
        self._worker.became_ready()
        return {}

    @commands.Failed.responder
    def _failed(self, sentence: Any) -> dict[str, Any]:
        self._worker.failed(str(sentence))
        return {}

    @commands.TakeSlot.responder
    def _take_slot(self, number: int, calling_ae: str) -> dict[str, Any]:
        return {"granted": self._worker.take_slot(number, calling_ae)}

    @commands.FreeSlot.responder
    def _free_slot(self, number: int) -> dict[str, Any]:
        self._worker.free_slot(number)
        return {}

    @commands.Exhausted.responder
    def _exhausted(self) -> dict[str, Any]:
        self._worker.exhausted()
        return {}


def _why(reason: Failure) -> str:
    """How a process has ended."""
    if reason.check(ProcessDone):
        return "status 0"
    number = getattr(reason.value, "signal", None)
    if number in set(signal.Signals):
        return f"signal {number} ({signal.Signals(number).name})"
    if number is not None:
        return f"signal {number}"
    return f"status {getattr(reason.value, 'exitCode', None)}"
