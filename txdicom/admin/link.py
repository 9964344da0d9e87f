"""One end of an administrative link: AMP boxes over a transport, every buffer and time with a limit.

`twisted.protocols.amp.AMP` keeps a half box of any size, closes the link at a mistake, and would switch to TLS or take
file descriptors when told to; here are its boxes and its dispatching without these.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.amp import COMMAND, AmpBox, BoxDispatcher, IBoxSender, IResponderLocator
from zope.interface import implementer

from txdicom.admin.boxes import BoxError, BoxReader
from txdicom.net.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.protocols.amp import Command
    from twisted.python.failure import Failure

    from txdicom.admin.turns import Turns

_log = Logger()

#: seconds for a box that has begun to come
BOX_TIMEOUT: Final = 30.0
#: seconds in which the other end has to read something of what waits for it
READ_TIMEOUT: Final = 60.0
#: bytes of events that may wait for a subscriber
MAX_UNREAD: Final = 1 << 20
#: commands of one link that are being answered at once
MAX_COMMANDS: Final = 8
#: seconds for the last bytes when a link is closed
_LINGER: Final = 1.0


@implementer(IBoxSender)
class Link(Protocol):
    """The common part: boxes in and out. This end trusts the other: it handles boxes as they come."""

    def __init__(self, clock: IReactorTime, locator: IResponderLocator, lost: Callable[[Link, str], None]) -> None:
        self._clock = clock
        self._lost = lost
        self._boxes = BoxReader()
        self._dispatcher = BoxDispatcher(locator)
        self._closing: IDelayedCall | None = None
        self._why = ""
        self.open = False

    def connectionMade(self) -> None:
        """The link is there."""
        self.open = True
        self._dispatcher.startReceivingBoxes(self)

    def dataReceived(self, data: bytes) -> None:
        """The next bytes."""
        self._boxes.feed(data)
        while self.open and self._next():
            pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The link is gone; calls without an answer fail."""
        self.open = False
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._dispatcher.stopReceivingBoxes(reason)
        self._lost(self, self._why or reason.getErrorMessage())

    def _next(self) -> bool:
        """Handles the next box; False where there is none."""
        try:
            box = self._boxes.next()
            if box is None:
                return False
            self._dispatcher.ampBoxReceived(box)
        except BoxError as error:
            self.drop(f"it sent {error}")
            return False
        except Exception:  # noqa: BLE001 (answers to nothing, boxes without a meaning: AMP raises what comes to pass)
            self.drop("it sent what is neither a command nor an answer")
            return False
        return True

    def call(self, command: type[Command], **arguments: Any) -> Deferred[dict[str, Any]]:
        """Asks the other end; its answer, or one of the command's errors."""
        result: Deferred[dict[str, Any]] = self._dispatcher.callRemote(command, **arguments)
        return result

    def sendBox(self, box: AmpBox) -> None:  # noqa: N802 (Twisted's name)
        """See `IBoxSender`; what comes too late goes nowhere."""
        if self.open:
            self.transport.write(box.serialize())  # type: ignore[union-attr]

    def unhandledError(self, failure: Failure) -> None:  # noqa: N802 (Twisted's name)
        """See `IBoxSender`; a link that is lost fails its calls, which is told to whom has called."""
        if self.open:
            _log.failure("a mistake in the administrative interface", failure=failure)
            self.drop("of a mistake here")

    def close(self) -> None:
        """Ends the link once what was written has gone, within a second."""
        if self.open and self._closing is None:
            transport: Any = self.transport
            self._closing = self._clock.callLater(_LINGER, transport.abortConnection)
            transport.loseConnection()

    def drop(self, why: str) -> None:
        """Ends the link at once."""
        if self.open:
            self.open = False
            self._why = why
            self.transport.abortConnection()  # type: ignore[union-attr]


@implementer(IPushProducer)
class ServerLink(Link):
    """The server's end. It reads only what it can answer, and does its part when it has its turn."""

    def __init__(
        self, clock: IReactorTime, locator: IResponderLocator, lost: Callable[[Link, str], None], turns: Turns
    ) -> None:
        super().__init__(clock, locator, lost)
        #: the id of the user at the other end; None where the system does not say it
        self.user: int | None = None
        self._turns = turns
        self._commands = 0
        self._reading = True
        self._blocked = False
        self._amid = False
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._deadlines = Deadlines(clock)

    def connectionMade(self) -> None:
        """The link is there."""
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The link is gone."""
        self._turns.forget(self)
        self._deadlines.clear_all()
        self._unread.clear()
        super().connectionLost(reason)

    def close(self) -> None:
        """Ends the link once what was written has gone, within a second."""
        if self.open and self._closing is None:
            self.transport.unregisterProducer()  # type: ignore[union-attr]  # Twisted closes after its producer only
            super().close()

    # -- in ------------------------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """The next bytes wait for the link's turn; no more are read until then."""
        if self.open and self._closing is None:
            self._boxes.feed(data)
            self._read(False)
            self._turns.ask(self)

    def work(self) -> bool:
        """See `txdicom.admin.turns.Worker`."""
        if not self.open or self._blocked or self._commands >= MAX_COMMANDS or self._closing is not None:
            return False  # asks again when that is over
        if self._next():
            self._deadlines.clear("box")
            self._amid = False
            return self.open
        if self.open:
            if self._boxes.amid and not self._amid:
                self._amid = True
                self._deadlines.set("box", BOX_TIMEOUT, lambda: self.drop("it did not end what it began"))
            self._read(True)
        return False

    def begun(self) -> None:
        """A command is being answered."""
        self._commands += 1

    def done(self) -> None:
        """A command is answered."""
        self._commands -= 1
        if self.open:
            self._turns.ask(self)

    def _read(self, wanted: bool) -> None:
        if wanted is not self._reading:
            self._reading = wanted
            transport: Any = self.transport
            if wanted:
                transport.resumeProducing()
            else:
                transport.pauseProducing()

    # -- out -----------------------------------------------------------------------------------------------------------

    def send_event(self, data: bytes) -> None:
        """A serialized box that nobody answers. It waits while the other end does not read; too many end the link."""
        if not self.open or self._closing is not None:
            return
        if not self._blocked:
            self.transport.write(data)  # type: ignore[union-attr]
            return
        self._unread.append(data)
        self._unread_bytes += len(data)
        if self._unread_bytes > MAX_UNREAD:
            self.drop(f"it left {MAX_UNREAD} bytes of events unread")

    def pauseProducing(self) -> None:
        """The other end does not read: nothing is read of it either."""
        self._blocked = True
        if self.open:
            self._deadlines.set("read", READ_TIMEOUT, lambda: self.drop("it did not read its answers"))

    def resumeProducing(self) -> None:
        """The other end has read what was written."""
        self._blocked = False
        self._deadlines.clear("read")
        while self._unread and not self._blocked and self.open:
            data = self._unread.popleft()
            self._unread_bytes -= len(data)
            self.transport.write(data)  # type: ignore[union-attr]
        if self.open and not self._blocked:
            self._turns.ask(self)

    def stopProducing(self) -> None:
        """The link is going; `connectionLost` follows."""


def event_bytes(command: type[Command], data: Any) -> bytes:
    """An event as it is sent, to all that want it."""
    box = command.makeArguments({"data": data}, None)
    box[COMMAND] = command.commandName
    return bytes(box.serialize())
