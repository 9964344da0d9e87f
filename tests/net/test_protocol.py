"""txdicom.net.protocol: timers, flow in both directions, sockets, the end of a connection."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from tests.net.wire import (
    ADDRESS,
    Peer,
    Recorder,
    Wire,
    acceptor,
    associate_bytes,
    echo_bytes,
    pdata,
    store_bytes,
)
from txdicom.net.protocol import BULK_READ
from txdicom.net.sending import CROWD
from txdicom.pdu.encode import encode
from txdicom.pdu.types import Abort, AssociateAC, ReleaseRP, ReleaseRQ
from txdicom.ul.states import State


@pytest.fixture
def clock() -> Clock:
    return Clock()


def timers(peer: Peer, clock: Clock) -> set[object]:
    return set(peer.protocol.deadlines._due)


# -- ARTIM (PS3.8 §9.1.5) ----------------------------------------------------------------------------------------------


def test_artim_runs_from_the_connection_to_the_request(clock: Clock) -> None:
    peer = Peer(acceptor(clock=clock, artim_timeout=30.0))
    clock.advance(29)
    assert peer.wire.closed == ""
    clock.advance(1)
    assert peer.wire.closed == "abort"
    assert peer.wire.value() == b""  # in Sta2 nothing is sent


def test_bytes_that_make_no_pdu_do_not_prolong_artim(clock: Clock) -> None:
    peer = Peer(acceptor(clock=clock, artim_timeout=30.0))
    for byte in associate_bytes()[:30]:
        peer.send(bytes([byte]))
        clock.advance(1)
    assert peer.wire.closed == "abort"


def test_artim_is_stopped_by_the_request(clock: Clock) -> None:
    peer = Peer(acceptor(clock=clock))
    assert isinstance(peer.associate(), AssociateAC)
    assert timers(peer, clock) == {"idle"}


def test_artim_waits_for_the_peer_to_close_after_a_release(clock: Clock) -> None:
    peer = Peer(acceptor(clock=clock, artim_timeout=30.0))
    peer.associate()
    peer.send(encode(ReleaseRQ()))
    assert [type(pdu) for pdu in peer.pdus()] == [ReleaseRP]
    assert timers(peer, clock) == {"artim"}
    clock.advance(30)
    assert peer.wire.closed == "abort"


@pytest.mark.parametrize(
    ("garbage", "named"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "unrecognized type 53H"),
        (bytes(64), "unrecognized type 00H"),
        (b"\x01\x00\xff\xff\xff\xff", "A-ASSOCIATE PDU of 4294967295 bytes"),
        (b"\x04\x00\x00\x00\x00\x00", "P-DATA-TF of 0 bytes"),
        (b"\x05\x00\x00\x00\x00\x08", "8 bytes"),
    ],
)
def test_what_is_no_dicom_is_answered_by_an_abort_and_named(clock: Clock, garbage: bytes, named: str) -> None:
    """PS3.8 Table 9-10: Evt19 in Sta2 is AA-1."""
    peer = Peer(acceptor(clock=clock))
    peer.send(garbage)
    assert peer.pdus() == [Abort(0, 0)]
    assert named in peer.association.outcome
    assert "peer" not in peer.association.outcome  # it was this side that aborted
    peer.send(garbage)
    assert peer.pdus() == []
    assert timers(peer, clock) == {"artim"}
    clock.advance(30)
    assert peer.wire.closed == "abort"


# -- flow --------------------------------------------------------------------------------------------------------------


def test_pauses_add_up(clock: Clock) -> None:
    peer = Peer(acceptor(clock=clock))
    protocol = peer.protocol
    protocol.pause_reading("a")
    protocol.pause_reading("b")
    protocol.resume_reading("a")
    protocol.resume_reading("never paused")
    assert peer.wire.producerState == "paused"
    protocol.resume_reading("b")
    assert peer.wire.producerState == "producing"


def test_a_lost_connection_is_not_resumed(clock: Clock) -> None:
    peer = Peer(acceptor(clock=clock))
    peer.protocol.pause_reading("a")
    peer.lose()
    peer.protocol.resume_reading("a")
    assert peer.wire.producerState == "paused"


def test_reads_again_where_only_the_peers_closing_is_awaited(clock: Clock) -> None:
    """One that is not read from is never seen to close."""
    recorder = Recorder()
    peer = Peer(acceptor(recorder, clock=clock))
    peer.associate()
    for number in (1, 2, 3):
        peer.send(echo_bytes(number))
    assert peer.wire.producerState == "paused"
    peer.association.abort("enough")
    assert peer.pdus() == [Abort(0, 0)]
    assert peer.wire.producerState == "producing"


class SlowWire(Wire):
    """A transport that blocks its producer after each write."""

    held = 0

    def write(self, data: bytes) -> None:
        super().write(data)
        self.held += len(data)
        if self.producer is not None:
            self.producer.pauseProducing()

    @property
    def dataBuffer(self) -> bytes:
        return bytes(self.held)

    def take(self, count: int | None = None) -> None:
        self.held -= self.held if count is None else count
        if not self.held and self.producer is not None:
            self.producer.resumeProducing()


def slow(clock: Clock, performer: Any, **settings: Any) -> tuple[Peer, SlowWire]:
    made = acceptor(performer, clock=clock, **settings)
    peer = Peer(made)
    peer.lose()
    peer.protocol = made.buildProtocol(ADDRESS)  # type: ignore[assignment]
    peer.association = peer.protocol.association
    peer.wire = SlowWire()
    peer.protocol.makeConnection(peer.wire)
    peer.send(associate_bytes())
    peer.wire.take()
    peer.pdus()
    return peer, peer.wire


def test_write_timeout_without_progress(clock: Clock) -> None:
    peer, wire = slow(clock, Recorder(at_once=True), write_timeout=60.0, client_timeout=0.0)
    peer.send(echo_bytes())
    assert "write" in timers(peer, clock)
    clock.advance(59)
    assert wire.closed == ""
    clock.advance(1)
    assert wire.closed == "abort"
    assert "took no bytes for 60 s" in peer.association.outcome


def test_a_slow_peer_that_takes_a_little_is_left_alone(clock: Clock) -> None:
    peer, wire = slow(clock, Recorder(at_once=True), write_timeout=60.0, client_timeout=0.0)
    peer.send(echo_bytes())
    for _ in range(20):
        clock.advance(30)
        wire.take(1)
    assert wire.closed == ""
    wire.take()
    assert "write" not in timers(peer, clock)


def test_a_peer_that_asks_and_never_reads_is_read_no_further_then_cut(clock: Clock) -> None:
    recorder = Recorder(at_once=True)
    peer, wire = slow(clock, recorder, write_timeout=60.0)
    sent = 0
    while wire.producerState != "paused":
        sent += 1
        peer.send(echo_bytes(sent))
        assert sent < 2 * CROWD
    assert sent == CROWD + 1
    clock.advance(60)
    assert wire.closed == "abort"
    peer.lose()
    assert clock.getDelayedCalls() == []


def test_that_peer_goes_on_once_it_reads(clock: Clock) -> None:
    recorder = Recorder(at_once=True)
    peer, wire = slow(clock, recorder)
    for number in range(1, CROWD + 2):
        peer.send(echo_bytes(number))
    assert wire.producerState == "paused"
    while wire.held:
        wire.take()
    assert wire.producerState == "producing"
    assert len(peer.messages()) == CROWD + 1


def test_a_release_is_answered_behind_what_waits(clock: Clock) -> None:
    peer, wire = slow(clock, Recorder(at_once=True))
    peer.send(echo_bytes(1) + echo_bytes(2) + encode(ReleaseRQ()))
    assert peer.pdus() == []
    while wire.held:
        wire.take()
    assert peer.statuses() == [0, 0]
    assert [type(pdu) for pdu in peer.pdus()] == [ReleaseRP]


def test_larger_reads_once_a_read_filled_the_buffer(clock: Clock) -> None:
    peer = Peer(acceptor(Recorder(), clock=clock))
    peer.wire.bufferSize = 65_536  # type: ignore[attr-defined]
    peer.protocol._read_size = 65_536
    peer.associate()
    stream = store_bytes(data=bytes(200_000))
    peer.send(stream[:1_000])
    assert peer.wire.bufferSize == 65_536  # type: ignore[attr-defined]
    peer.send(stream[1_000 : 1_000 + 65_536])
    assert peer.wire.bufferSize == BULK_READ  # type: ignore[attr-defined]
    peer.send(stream[1_000 + 65_536 :])
    assert peer.association.messages_received == 1


# -- the socket --------------------------------------------------------------------------------------------------------


class Socket:
    def __init__(self, family: int, error: OSError | None = None) -> None:
        self.family = family
        self.error = error
        self.options: dict[tuple[int, int], int] = {}

    def setsockopt(self, level: int, option: int, value: int) -> None:
        if self.error:
            raise self.error
        self.options[level, option] = value


def tuned(handle: Socket, **settings: Any) -> dict[tuple[int, int], int]:
    protocol = acceptor(**settings).buildProtocol(ADDRESS)
    assert protocol is not None
    wire = Wire()
    wire.socket = handle  # type: ignore[attr-defined]
    protocol.makeConnection(wire)
    assert protocol.upper_layer.state == State.STA2
    return handle.options


def test_options_of_a_tcp_socket() -> None:
    options = tuned(Socket(socket.AF_INET6), receive_buffer=100_000, send_buffer=200_000)
    assert options[socket.IPPROTO_TCP, socket.TCP_NODELAY] == 1
    assert options[socket.SOL_SOCKET, socket.SO_KEEPALIVE] == 1
    assert options[socket.SOL_SOCKET, socket.SO_RCVBUF] == 100_000
    assert options[socket.SOL_SOCKET, socket.SO_SNDBUF] == 200_000


def test_options_are_left_alone_where_asked() -> None:
    options = tuned(Socket(socket.AF_INET), no_delay=False)
    assert (socket.IPPROTO_TCP, socket.TCP_NODELAY) not in options
    assert (socket.SOL_SOCKET, socket.SO_RCVBUF) not in options


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="this system has no TCP_QUICKACK")
@pytest.mark.parametrize(("quick_ack", "times"), [(True, 2), (False, 0)])
def test_what_comes_in_parts_is_acknowledged_at_once(quick_ack: bool, times: int) -> None:
    """The system goes back to delayed acknowledgements by itself, so that each read sets the option anew."""
    handle = Socket(socket.AF_INET)
    protocol = acceptor(quick_ack=quick_ack).buildProtocol(ADDRESS)
    assert protocol is not None
    wire = Wire()
    wire.socket = handle  # type: ignore[attr-defined]
    protocol.makeConnection(wire)
    quick = (socket.IPPROTO_TCP, getattr(socket, "TCP_QUICKACK", None))
    request, found = associate_bytes(), 0
    for part in (request[:6], request[6:20], request[20:]):
        protocol.dataReceived(part)
        found += handle.options.pop(quick, 0)  # type: ignore[call-overload]
    assert found == times


def test_a_unix_socket_has_no_tcp_options() -> None:
    assert tuned(Socket(socket.AF_UNIX)) == {}


def test_a_socket_without_options_works_all_the_same() -> None:
    """Else the connection would be there, without any timer."""
    assert tuned(Socket(socket.AF_INET, OSError(22, "Invalid argument"))) == {}


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", associate_bytes()[:20], associate_bytes(), associate_bytes() + store_bytes()])
def test_nothing_runs_on_after_the_connection(clock: Clock, sent: bytes) -> None:
    peer = Peer(acceptor(Recorder(), clock=clock))
    peer.send(sent)
    peer.lose(ConnectionLost())
    assert clock.getDelayedCalls() == []
    assert peer.association.lost


def test_closing_in_order_sends_what_is_left_for_a_limited_time(clock: Clock) -> None:
    peer = Peer(acceptor(clock=clock))
    peer.associate()
    peer.association.hang_up("enough")
    assert peer.wire.closed == "lose"
    clock.advance(10)
    assert peer.wire.closed == "abort"


def test_an_accepted_tls_connection_has_artim_during_the_handshake(clock: Clock) -> None:
    protocol = acceptor(clock=clock).buildProtocol(ADDRESS)
    assert protocol is not None
    wire = Wire()
    directlyProvides(wire, ISSLTransport)
    protocol.makeConnection(wire)
    clock.advance(30)
    assert wire.closed == "abort"
    protocol.connectionLost(Failure(ConnectionLost()))


def test_pdata_before_an_association(clock: Clock) -> None:
    peer = Peer(acceptor(Recorder(), clock=clock))
    peer.send(pdata(1, 3, b"early"))
    assert peer.pdus() == [Abort(0, 0)]
