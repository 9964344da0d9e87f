"""txdicom.net.sending: whole messages in order, straight to the socket or through the transport."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from zope.interface import directlyProvides

from tests.net.wire import Wire, pdata, split
from txdicom.dimse.fragmenter import Block
from txdicom.net.sending import (
    BLOCKS_A_TURN,
    CROWD,
    FileSource,
    MemorySource,
    NothingSent,
    Outbox,
    Outgoing,
    PaddedFileSource,
)

if TYPE_CHECKING:
    from pathlib import Path

LAST = 2


class Kernel:
    """A socket that takes `room` bytes; with `broken` it fails."""

    def __init__(self) -> None:
        self.taken = b""
        self.room = 1 << 30
        self.broken: OSError | None = None

    def send(self, data: Any) -> int:
        return self.sendmsg([data])

    def sendmsg(self, parts: list[Any]) -> int:
        if self.broken:
            raise self.broken
        if not self.room:
            raise BlockingIOError(errno.EAGAIN, "would block")
        data = b"".join(parts)[: self.room]
        self.room -= len(data)
        self.taken += data
        return len(data)


class Tcp:
    """What the outbox uses of Twisted's TCP transport."""

    bufferSize = 65_536  # noqa: N815 (Twisted's name)

    def __init__(self) -> None:
        self.socket = Kernel()
        self.dataBuffer = b""
        self._tempDataBuffer: list[bytes] = []
        self.producerPaused = False
        self.connected = True
        self.disconnecting = False
        self.producer: Any = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def write(self, data: bytes) -> None:
        assert type(data) is bytes
        self._tempDataBuffer.append(data)
        if sum(map(len, self._tempDataBuffer)) > self.bufferSize:
            self.producerPaused = True
            self.producer.pauseProducing()

    @property
    def held(self) -> int:
        return len(self.dataBuffer) + sum(map(len, self._tempDataBuffer))

    def drain(self) -> None:
        """The peer reads: what is held goes out, as `doWrite` would do."""
        self.socket.room = 1 << 30
        self.dataBuffer += b"".join(self._tempDataBuffer)
        self._tempDataBuffer.clear()
        self.socket.send(self.dataBuffer)
        self.dataBuffer = b""
        if self.producerPaused:
            self.producerPaused = False
            self.producer.resumeProducing()


class Made:
    """An outbox on a TCP transport, with what it told."""

    def __init__(self, transport: Any = None) -> None:
        self.clock = Clock()
        self.tcp = transport or Tcp()
        self.blocked: list[bool] = []
        self.crowded: list[bool] = []
        self.done: list[Exception | None] = []
        self.outbox = Outbox(self.tcp, self.clock, self.blocked.append, self.crowded.append)

    def outgoing(self, data: bytes, *, head: bytes = b"HEAD", max_length: int = 1_024, source: Any = None) -> Outgoing:
        return Outgoing(head, source or MemorySource(data), Block(3, max_length), self.done.append)


@pytest.fixture
def made() -> Made:
    return Made()


def data_of(stream: bytes) -> bytes:
    """The data set in a stream of P-DATA-TFs, checked for one last fragment at its end."""
    pdvs = [pdv for pdu in split(stream) for pdv in pdu.pdvs]
    assert [pdv.control for pdv in pdvs] == [0] * (len(pdvs) - 1) + [LAST]
    return b"".join(bytes(pdv.data) for pdv in pdvs)


def test_straight_to_the_socket_while_it_takes_all(made: Made) -> None:
    made.outbox.send(b"one")
    made.outbox.send(b"two")
    assert made.tcp.socket.taken == b"onetwo"
    assert made.tcp.held == 0
    assert (made.blocked, made.outbox.idle, made.outbox.bytes_sent) == ([], True, 6)


def test_the_rest_goes_to_the_transport_and_what_follows_waits(made: Made) -> None:
    made.tcp.socket.room = 2
    made.outbox.send(b"first")
    made.outbox.send(b"second")
    assert (made.tcp.socket.taken, made.tcp.held, made.blocked) == (b"fi", 3, [True])
    assert not made.outbox.idle
    made.tcp.drain()
    assert made.tcp.socket.taken == b"firstsecond"
    assert (made.blocked, made.outbox.idle) == ([True, False], True)


@pytest.mark.parametrize(
    "broken", [BlockingIOError(errno.EAGAIN, ""), BrokenPipeError(), ConnectionResetError(), OSError(errno.EINVAL, "")]
)
def test_a_socket_that_fails_is_left_to_the_transport(made: Made, broken: OSError) -> None:
    made.tcp.socket.broken = broken
    made.outbox.send(b"all of it")
    assert (made.tcp.held, made.blocked) == (9, [True])


@pytest.mark.parametrize("state", ["holding", "disconnecting", "disconnected"])
def test_never_past_the_transport(made: Made, state: str) -> None:
    if state == "holding":
        made.tcp.write(b"before")
    elif state == "disconnecting":
        made.tcp.disconnecting = True
    else:
        made.tcp.connected = False
    made.outbox.send(b"after")
    assert made.tcp.socket.taken == b""
    assert made.tcp._tempDataBuffer[-1] == b"after"


def test_never_to_the_socket_below_tls() -> None:
    tcp = Tcp()
    directlyProvides(tcp, ISSLTransport)
    made = Made(tcp)
    made.outbox.send(b"secret")
    assert tcp.socket.taken == b""
    assert tcp._tempDataBuffer == [b"secret"]


@pytest.mark.parametrize("size", [0, 1, 1_018, 1_019, 64_000, 200_001])
@pytest.mark.parametrize("room", [1 << 30, 7])
def test_a_message_from_a_source_arrives_whole(made: Made, size: int, room: int) -> None:
    data = os.urandom(size)
    made.tcp.socket.room = room
    made.outbox.send_from(made.outgoing(data, head=pdata(3, 3, b"command")))
    for _ in range(100):
        made.clock.advance(0)
        made.tcp.drain()
    stream = made.tcp.socket.taken
    head = len(pdata(3, 3, b"command"))
    assert stream[:head] == pdata(3, 3, b"command")
    assert data_of(stream[head:]) == data
    assert made.done == [None]
    assert made.outbox.idle
    assert made.clock.getDelayedCalls() == []


def test_messages_never_mix_and_keep_their_order(made: Made) -> None:
    made.tcp.socket.room = 100
    made.outbox.send_from(made.outgoing(b"a" * 5_000, head=b""))
    made.outbox.send(pdata(3, 3, b"b"))
    made.outbox.send_from(made.outgoing(b"c" * 5_000, head=b""))
    made.outbox.send(pdata(3, 3, b"d"))
    for _ in range(10):
        made.tcp.drain()
    order = b"".join(bytes(pdv.data) for pdu in split(made.tcp.socket.taken) for pdv in pdu.pdvs)
    assert order == b"a" * 5_000 + b"b" + b"c" * 5_000 + b"d"


def test_a_long_message_lets_others_have_their_turn(made: Made) -> None:
    made.outbox.send_from(made.outgoing(bytes(3 * BLOCKS_A_TURN * 65_536), max_length=65_536))
    calls = made.clock.getDelayedCalls()
    assert len(calls) == 1
    assert calls[0].getTime() == 0
    assert made.done == []
    for _ in range(4):
        made.clock.advance(0)
    assert made.done == [None]


def test_a_slow_reader_is_not_sent_more_than_a_block_ahead(made: Made) -> None:
    made.tcp.socket.room = 0
    made.outbox.send_from(made.outgoing(bytes(100_000_000), max_length=65_536))
    for _ in range(50):
        made.clock.advance(0)
    assert made.tcp.held < 200_000


def test_a_reader_that_takes_nothing_is_told_of_once_it_is_a_crowd(made: Made) -> None:
    made.tcp.socket.room = 0
    made.outbox.send(b"x")
    for _ in range(CROWD - 1):
        made.outbox.send(b"x")
    assert made.crowded == []
    for _ in range(10):
        made.outbox.send(b"x")
    assert made.crowded == [True]
    made.tcp.drain()
    assert made.crowded == [True, False]


def test_a_crowd_behind_a_long_message_is_let_go_though_nothing_was_blocked(made: Made) -> None:
    """Else reading from the peer would pause for ever."""
    made.outbox.send_from(made.outgoing(bytes(2 * BLOCKS_A_TURN * 65_536), max_length=65_536))
    for _ in range(CROWD):
        made.outbox.send(b"x")
    assert made.crowded == [True]
    for _ in range(5):
        made.clock.advance(0)
    assert made.blocked == []
    assert made.crowded == [True, False]


class Broken:
    """A source that gives `good` bytes, then fails."""

    def __init__(self, size: int, good: int, error: Exception | None) -> None:
        self.size = size
        self.left = good
        self.error = error
        self.closed = 0

    def read_into(self, holes: list[memoryview]) -> int:
        if not self.left:
            if self.error is None:
                return 0
            raise self.error
        count = min(self.left, 1_000, sum(map(len, holes)))
        self.left -= count
        return count

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), ValueError("a mistake in the source"), None])
def test_a_source_that_fails_before_anything_is_out_harms_only_its_message(made: Made, error: Exception | None) -> None:
    source = Broken(10_000, 0, error)
    made.outbox.send_from(made.outgoing(b"", source=source))
    made.outbox.send(b"the next")
    assert isinstance(made.done[0], NothingSent)
    assert source.closed == 1
    assert made.tcp.socket.taken == b"the next"


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), ValueError("a mistake in the source"), None])
def test_a_source_that_fails_amid_its_message_says_so(made: Made, error: Exception | None) -> None:
    source = Broken(1_000_000, 500_000, error)
    made.outbox.send_from(made.outgoing(b"", source=source))
    assert len(made.done) == 1
    assert isinstance(made.done[0], OSError)
    assert not isinstance(made.done[0], ConnectionError)
    assert source.closed == 1
    assert made.outbox.idle


class TheirOSError(OSError):
    errno = "DOE^JOHN"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EIO, "DOE^JOHN", "/images/DOE^JOHN.dcm"), os.strerror(errno.EIO)),
        (OSError(10**30, "DOE^JOHN"), "OSError"),
        (OSError("DOE^JOHN"), "OSError"),
        (TheirOSError("DOE^JOHN"), "TheirOSError"),
        (ValueError("no image of DOE^JOHN"), "ValueError"),
        (EOFError("DOE^JOHN"), "EOFError"),
        (None, "the file ended before the data set did"),
    ],
)
@pytest.mark.parametrize("good", [0, 500_000])
def test_what_is_told_of_a_source_names_no_patient(made: Made, error: Exception | None, said: str, good: int) -> None:
    made.outbox.send_from(made.outgoing(b"", source=Broken(1_000_000, good, error)))
    assert str(made.done[0]) == said


def test_a_source_that_gives_little_at_a_time(made: Made) -> None:
    made.outbox.send_from(made.outgoing(b"", source=Broken(70_000, 70_000, None), head=b""))
    assert made.done == [None]
    assert len(data_of(made.tcp.socket.taken)) == 70_000


def test_dropping_lets_an_abort_pass_and_closes_what_waits(made: Made) -> None:
    made.tcp.socket.room = 10
    source = Broken(1_000_000, 1_000_000, None)
    made.outbox.send_from(made.outgoing(b"", source=source))
    made.outbox.send(b"waits")
    made.outbox.drop()
    made.outbox.send(b"ABORT")
    assert source.closed == 1
    assert isinstance(made.done[0], ConnectionError)
    assert made.tcp._tempDataBuffer[-1] == b"ABORT"
    assert b"waits" not in made.tcp._tempDataBuffer


@pytest.mark.parametrize("how", ["close", "stopProducing"])
def test_the_end_of_the_connection_closes_sources_and_stops_the_turns(made: Made, how: str) -> None:
    first, second = Broken(100_000_000, 100_000_000, None), Broken(10, 10, None)
    made.outbox.send_from(made.outgoing(b"", source=first, max_length=65_536))
    made.outbox.send_from(made.outgoing(b"", source=second))
    assert made.clock.getDelayedCalls()
    getattr(made.outbox, how)()
    assert (first.closed, second.closed) == (1, 1)
    assert made.clock.getDelayedCalls() == []
    sent = len(made.tcp.socket.taken)
    late = Broken(10, 10, None)
    made.outbox.send(b"too late")
    made.outbox.send_from(made.outgoing(b"", source=late))
    assert len(made.tcp.socket.taken) == sent
    assert late.closed == 1
    assert [type(error) for error in made.done] == [ConnectionError] * 3


def test_a_closed_outbox_keeps_nothing_though_it_was_blocked(made: Made) -> None:
    made.tcp.socket.room = 0
    made.outbox.send(b"x")
    made.outbox.close()
    for _ in range(2 * CROWD):
        made.outbox.send(b"x")
    assert not made.outbox._queue
    assert made.crowded == []


def test_a_transport_without_a_socket() -> None:
    made = Made(Wire())
    made.outbox.send(b"one")
    made.outbox.send_from(made.outgoing(b"data", head=b""))
    assert made.tcp.value()[:3] == b"one"
    assert data_of(made.tcp.value()[3:]) == b"data"


def test_file_source(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"meta" + bytes(range(256)) * 100)
    fd = os.open(path, os.O_RDONLY)
    made = Made()
    made.outbox.send_from(made.outgoing(b"", source=FileSource(fd, 4, 25_600), head=b""))
    assert data_of(made.tcp.socket.taken) == bytes(range(256)) * 100
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_file_source_closes_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    source = FileSource(os.open(path, os.O_RDONLY), 0, 1)
    source.close()
    other = os.open(path, os.O_RDONLY)  # very likely the same number
    source.close()
    os.fstat(other)
    os.close(other)


@pytest.mark.parametrize("step", [1, 3, 5, 6, 9])
def test_a_padded_part_of_a_file(tmp_path: Path, step: int) -> None:
    """One zero byte, whatever follows in the file."""
    path = tmp_path / "file"
    path.write_bytes(b"headABCDEtail")
    source = PaddedFileSource(os.open(path, os.O_RDONLY), 4, 5)
    assert source.size == 6
    read = b""
    while len(read) < source.size:
        buffer = bytearray(min(step, source.size - len(read)))
        half = len(buffer) // 2
        view = memoryview(buffer)
        count = source.read_into([one for one in (view[:half], view[half:]) if one])
        assert count
        read += buffer[:count]
    assert read == b"ABCDE\0"
    source.close()
