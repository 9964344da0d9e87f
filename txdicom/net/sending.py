"""The way out of a connection: whole messages in order, small ones at once, large ones as the peer takes them.

On plain TCP and Unix sockets bytes go straight to the socket for as long as the transport holds nothing back; what the
socket does not take goes to the transport, which says when it is rid of it. Over TLS, and on transports without a
socket (those of tests), everything goes through the transport. PDVs of two messages never mix, so a message waits for
the one before it.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.interfaces import IPushProducer, ISSLTransport
from zope.interface import implementer

from txdicom.errors import RAISED

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from txdicom.dimse.fragmenter import Block

#: blocks of one message that are sent before others get their turn at the reactor
BLOCKS_A_TURN: Final = 16
#: messages that wait for a peer that reads nothing before we stop reading from it
CROWD: Final = 64


class DataSource(Protocol):
    """A data set to be sent that is not in memory."""

    size: int

    def read_into(self, holes: list[memoryview]) -> int:
        """Fills the holes, in order, with the next bytes; how many that were."""

    def close(self) -> None:
        """No more is wanted."""


class NothingSent(Exception):
    """The source failed before the first byte of the message was out: the association is unharmed."""


class _CutShort(EOFError):
    """The source has given less than its size."""


class MemorySource:
    """A data set in memory as a data source: it goes out as the peer takes it, without another copy of the whole."""

    __slots__ = ("_data", "size")

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self.size = len(data)

    @property
    def data(self) -> bytes:
        """What is left of it."""
        return bytes(self._data)

    def read_into(self, holes: list[memoryview]) -> int:
        """See `DataSource`."""
        filled = 0
        for hole in holes:
            part = self._data[filled : filled + len(hole)]
            hole[: len(part)] = part
            filled += len(part)
        self._data = self._data[filled:]
        return filled

    def close(self) -> None:
        """Lets the data go."""
        self._data = memoryview(b"")


class FileSource:
    """Part of a file as a data source: `size` bytes from `offset` of the open descriptor `fd`, which it owns."""

    __slots__ = ("_at", "_fd", "size")

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd = fd
        self._at = offset
        self.size = size

    def read_into(self, holes: list[memoryview]) -> int:
        """One `preadv`: the kernel writes straight between the headers of the PDUs."""
        count = os.preadv(self._fd, holes, self._at)
        self._at += count
        return count

    def close(self) -> None:
        """Closes the descriptor; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class PaddedFileSource(FileSource):
    """The same, and a zero byte after it."""

    __slots__ = ("_end",)

    def __init__(self, fd: int, offset: int, size: int) -> None:
        super().__init__(fd, offset, size + 1)
        self._end = offset + size

    def read_into(self, holes: list[memoryview]) -> int:
        """See `DataSource`; nothing of what the file holds behind the part is read."""
        left = self._end - self._at
        if left > 0:
            return super().read_into(_first(holes, left))
        holes[0][0] = 0
        return 1


class Outgoing:
    """A message on its way out: `head` (PDUs that are ready) and, for a large data set, its source and block."""

    __slots__ = ("block", "done", "head", "left", "source")

    def __init__(self, head: bytes, source: DataSource, block: Block, done: Callable[[Exception | None], None]) -> None:
        self.head = head
        self.source = source
        self.block = block
        self.left = source.size
        self.done = done


@implementer(IPushProducer)
class Outbox:
    """Sends messages over one transport.

    `blocked(True)` is called when the peer does not take what was sent, `blocked(False)` when it has; `crowded(True)`
    when many messages wait, `crowded(False)` when none does any more.
    """

    def __init__(
        self, transport: Any, clock: IReactorTime, blocked: Callable[[bool], None], crowded: Callable[[bool], None]
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._tell = blocked
        self._crowded = crowded
        self._crowd = False
        self._aborting = False
        self._queue: deque[bytes | Outgoing] = deque()
        self._blocked = False
        self._turn: Any = None  # the next turn of a long message
        self._closed = False
        self.bytes_sent = 0
        self._socket = _direct_socket(transport)
        transport.registerProducer(self, True)

    @property
    def idle(self) -> bool:
        """Whether no message waits or is half sent (the transport may still hold bytes)."""
        return not self._queue and not self._blocked

    def drop(self) -> None:
        """Drops all messages that wait, and the rest of one that is half sent: an A-ABORT follows.

        What was handed to the transport still goes out, and it ends with a whole PDU.
        """
        self._drop_queue()
        self._aborting = True

    def send(self, data: bytes) -> None:
        """Sends a message that is whole and in memory."""
        if self._closed:
            return
        if (self._queue or self._blocked) and not self._aborting:
            self._queue.append(data)
            if len(self._queue) >= CROWD and not self._crowd:
                self._crowd = True
                self._crowded(True)
        else:
            self._write(data)

    def send_from(self, message: Outgoing) -> None:
        """Sends a message from its source; `message.done` is called once it is written, or has failed."""
        if self._closed:
            message.source.close()
            message.done(ConnectionError("the connection is closed"))
            return
        self._queue.append(message)
        if len(self._queue) == 1 and not self._blocked and self._turn is None:
            self._pump()

    def close(self) -> None:
        """The connection is gone: nothing is sent any more."""
        self._closed = True
        self._drop_queue()

    # -- IPushProducer: what the transport tells us --------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The transport holds more than it likes to."""
        self._block()

    def resumeProducing(self) -> None:
        """The transport has sent all it held."""
        if self._blocked:
            self._blocked = False
            self._tell(False)
        self._pump()

    def stopProducing(self) -> None:
        """The transport is closing."""
        self.close()

    # ------------------------------------------------------------------------------------------------------------------

    def _block(self) -> None:
        if not self._blocked:
            self._blocked = True
            self._tell(True)

    def _write(self, *parts: bytes | memoryview) -> None:
        """Straight to the socket what it takes, to the transport the rest."""
        size = sum(map(len, parts))
        self.bytes_sent += size
        transport = self._transport
        sent = 0
        if (
            self._socket is not None
            and not transport.dataBuffer
            and not transport._tempDataBuffer
            and transport.connected
            and not transport.disconnecting
        ):
            try:
                sent = self._socket.send(parts[0]) if len(parts) == 1 else self._socket.sendmsg(parts)
            except OSError:
                sent = 0  # would block, or broken: the transport finds out and acts on it
            if sent == size:
                return
        for part in parts:
            if sent >= len(part):
                sent -= len(part)
            else:
                transport.write(bytes(part[sent:]))
                sent = 0
        if self._socket is not None:
            transport.producerPaused = True  # so that it tells us when it is rid of them
            self._block()

    def _pump(self) -> None:
        """Sends what waits, until the transport has enough or a turn's share is used up."""
        blocks = 0
        while self._queue and not self._blocked and not self._closed:
            message = self._queue[0]
            if isinstance(message, bytes):
                self._queue.popleft()
                self._write(message)
                continue
            if blocks >= BLOCKS_A_TURN:
                if self._turn is None:
                    self._turn = self._clock.callLater(0, self._next_turn)
                return
            blocks += 1
            try:
                data = self._next_block(message)
            except RAISED as error:  # its message ends here
                self._finish((NothingSent if message.head else OSError)(_told(error)))
                continue
            head, message.head = message.head, b""
            if head:
                self._write(head, data)
            else:
                self._write(data)
            if not message.left:
                self._finish(None)
        if self._crowd and not self._queue:
            self._crowd = False
            self._crowded(False)

    def _next_turn(self) -> None:
        self._turn = None
        self._pump()

    def _next_block(self, message: Outgoing) -> memoryview:
        """The next PDUs of a message, filled from its source."""
        block = message.block
        wanted = min(message.left, block.capacity)
        holes = block.holes if wanted == block.capacity else _first(block.holes, wanted)
        got = message.source.read_into(holes) if wanted else 0
        if got != wanted:
            got += self._rest(message.source, holes, got, wanted)
        message.left -= got
        return block.whole() if message.left else block.cut(got)

    def _rest(self, source: DataSource, holes: list[memoryview], got: int, wanted: int) -> int:
        """A source may give less than asked for; only at its end it gives nothing, and that is too early here."""
        more = 0
        while got + more < wanted:
            count = source.read_into(_after(holes, got + more))
            if not count:
                raise _CutShort("the file ended before the data set did")
            more += count
        return more

    def _finish(self, error: Exception | None) -> None:
        message = self._queue.popleft()
        assert isinstance(message, Outgoing)
        message.block.renew()
        message.source.close()
        message.done(error)

    def _drop_queue(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        queue, self._queue = self._queue, deque()
        for message in queue:
            if isinstance(message, Outgoing):
                message.source.close()
                message.done(ConnectionError("the connection ended before the message was sent"))
        if self._crowd:
            self._crowd = False
            self._crowded(False)


def _first(holes: list[memoryview], count: int) -> list[memoryview]:
    """The places for the first `count` bytes."""
    chosen = []
    for hole in holes:
        if count <= 0:
            break
        chosen.append(hole[:count])
        count -= len(hole)
    return chosen


def _after(holes: list[memoryview], count: int) -> list[memoryview]:
    """The places behind the first `count` bytes."""
    left = []
    for hole in holes:
        if count < len(hole):
            left.append(hole[count:])
        count = max(0, count - len(hole))
    return left


def _direct_socket(transport: Any) -> Any:
    """The socket of a plain TCP or Unix transport, None where bytes have to go through the transport.

    A TLS transport shows its socket too; bytes sent there would go out unencrypted.
    """
    if ISSLTransport.providedBy(transport):
        return None
    if not all(
        hasattr(transport, name)
        for name in ("dataBuffer", "_tempDataBuffer", "producerPaused", "connected", "disconnecting")
    ):
        return None
    return getattr(transport, "socket", None)


def _told(error: BaseException) -> str:
    """What may be said of a source that has failed: its message may quote a patient's data, or the name of a file."""
    if isinstance(error, _CutShort):
        return str(error)
    if isinstance(error, OSError) and isinstance(error.errno, int) and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    return type(error).__name__
