"""A server and peers that break every rule: it frees what they took, in time, and serves the others."""

from __future__ import annotations

import random
import ssl
import struct

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from tests.faults.link import Raw, Server, expire, pause, server, until
from tests.net.wire import MPPS, MPPS_ID, associate_bytes, data_set, echo_bytes, message_bytes, pdata, store_bytes
from tests.services.serving import EchoAddin, NormalizedAddin, StoreAddin
from txdicom.dimse import requests
from txdicom.net.sending import CROWD
from txdicom.pdu.encode import encode
from txdicom.pdu.types import Abort, AssociateAC, AssociateRJ, ReleaseRP, ReleaseRQ

STORE = store_bytes(1, data_set(pixels=100_000))
LARGE = store_bytes(1, data_set(pixels=3_000_000), max_length=131_072)
#: what a peer sends before it misbehaves; "outstanding" leaves a request unanswered
PHASES = {
    "connected": b"",
    "half a request": associate_bytes()[:100],
    "rejected": associate_bytes(called="OTHER"),
    "established": associate_bytes(),
    "half a header": associate_bytes() + STORE[:4],
    "half a PDU": associate_bytes() + STORE[:2_000],
    "half a message": associate_bytes() + STORE[:-10],
    "half a large message": associate_bytes() + LARGE[:-10],
    "outstanding": associate_bytes() + echo_bytes(),
    "outstanding and more": associate_bytes() + echo_bytes(1) + echo_bytes(2) + STORE + STORE[:-10],
    "aborted": associate_bytes() + b"\xff" * 20,
    "released": associate_bytes() + encode(ReleaseRQ()),
}


def patient() -> tuple[EchoAddin, StoreAddin]:
    """Add-ins of which C-ECHO is never answered."""
    return EchoAddin(lambda request: Deferred()), StoreAddin()


async def in_phase(made: Server, phase: str) -> Raw:
    raw = await made.peer()
    raw.send(PHASES[phase])
    (association,) = made.acceptor.associations.values() or [None]
    while association is None:
        await pause()
        (association,) = made.acceptor.associations.values() or [None]
    protocol = association.protocol
    await until(lambda: protocol.bytes_received == len(PHASES[phase]) or protocol._pauses or association.lost)
    return raw


async def serves(made: Server) -> None:
    """Another peer is served meanwhile."""
    other = await made.peer()
    assert isinstance(await other.associate(calling="OTHER PEER"), AssociateAC)
    other.send(store_bytes(9))
    assert await other.answers(1) == [0]
    other.send(encode(ReleaseRQ()))
    await until(lambda: any(isinstance(pdu, ReleaseRP) for pdu in other.pdus()))
    other.close()
    await other.closed()


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("how", ["reset", "half_close", "close"])
@pytest_twisted.ensureDeferred
async def test_the_peer_goes(phase: str, how: str) -> None:
    # one that sent more than its window allows is not read from, so its end is seen only when a handler has ended
    async with server(*patient(), addin_timeout=0.2 if phase == "outstanding and more" else 300.0) as made:
        raw = await in_phase(made, phase)
        getattr(raw, how)()
        await made.empty()
        await raw.closed()


@pytest.mark.parametrize("phase", PHASES)
@pytest_twisted.ensureDeferred
async def test_the_peer_stalls(phase: str) -> None:
    """ARTIM before and after an association, client_timeout in it, addin_timeout while an add-in works."""
    clock = Clock()
    async with server(*patient(), clock=clock) as made:
        raw = await in_phase(made, phase)
        await serves(made)
        assert raw.lost is None
        await expire(clock, lambda: raw.lost)
        await made.empty()
    assert clock.seconds() < 1_000


@pytest_twisted.ensureDeferred
async def test_bytes_that_trickle_do_not_prolong_artim() -> None:
    clock = Clock()
    async with server(clock=clock) as made:
        raw = await made.peer()
        for byte in associate_bytes()[:40]:
            if raw.lost:
                break
            raw.send(bytes([byte]))
            clock.advance(1)
            await pause()
        assert await raw.closed() == b""


@pytest_twisted.ensureDeferred
async def test_a_whole_conversation_in_single_bytes() -> None:
    async with server() as made:
        raw = await made.peer()
        raw.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        stream = associate_bytes() + echo_bytes(1) + store_bytes(2, max_length=20) + encode(ReleaseRQ())
        await raw.send_slowly(stream)
        assert await raw.answers(2) == [0, 0]
        await until(lambda: len(raw.pdus()) == 2)
        assert [type(pdu) for pdu in raw.pdus()] == [AssociateAC, ReleaseRP]
        raw.close()


# -- strays ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stray",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00" * 1_000,
        b"\xff" * 1_000,
        b"\x01\x00\xff\xff\xff\xff" + bytes(1_000),
        b"\x01\x00\x00\x10\x00\x01",
        b"\x02\x00\x00\x00\x00\x04" + bytes(4),
        b"\x04\x00\xff\xff\xff\xff",
        b"\x07\x00\x00\x00\x00\x04" + bytes(4),
        random.Random(1).randbytes(100_000),
    ],
    ids=["http", "tls", "ssh", "zeros", "ones", "4 GB", "1 MB + 1", "answer", "data", "abort", "random"],
)
@pytest_twisted.ensureDeferred
async def test_a_stray_is_ended_by_an_abort_and_artim(stray: bytes) -> None:
    clock = Clock()
    async with server(clock=clock) as made:
        raw = await made.peer()
        raw.send(stray)
        await serves(made)
        await expire(clock, lambda: raw.lost)
        assert raw.data in {b"", encode(Abort(0, 0))}
        await made.empty()


@pytest_twisted.ensureDeferred
async def test_a_tls_client_on_a_plain_port_is_told_at_once() -> None:
    import socket

    def handshake(port: int) -> str:
        context = ssl.create_default_context()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            try:
                context.wrap_socket(plain, server_hostname="localhost")
            except ssl.SSLError as error:
                return error.reason or str(error)
        return "no error"

    async with server() as made:
        assert "WRONG_VERSION" in await deferToThread(handshake, made.port)


@pytest_twisted.ensureDeferred
async def test_no_memory_for_a_length_that_is_only_claimed() -> None:
    import tracemalloc

    async with server(max_associate_length=1_048_576) as made:
        tracemalloc.start()
        for header in (b"\x01\x00\x00\x0f\xff\xff", b"\x01\x00\xff\xff\xff\xff", b"\x04\x00\x7f\xff\xff\xff"):
            raw = await made.peer()
            raw.send(header + bytes(10))
            await pause(0.02)
            raw.close()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2_000_000


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_half_open_pool_full() -> None:
    async with server(max_half_open=3) as made:
        waiting = [await made.peer() for _ in range(3)]
        await until(lambda: made.acceptor.slots.half_open == 3)
        refused = await made.peer()
        refused.send(associate_bytes())
        assert await refused.closed() == b""
        waiting[0].close()
        await until(lambda: made.acceptor.slots.half_open == 2)
        await serves(made)
        for raw in waiting:
            raw.close()


@pytest_twisted.ensureDeferred
async def test_max_clients() -> None:
    async with server(max_clients=2) as made:
        peers = [await made.peer() for _ in range(3)]
        answers = [await peer.associate() for peer in peers]
        assert sorted(type(answer).__name__ for answer in answers) == ["AssociateAC", "AssociateAC", "AssociateRJ"]
        (rejected,) = [answer for answer in answers if isinstance(answer, AssociateRJ)]
        assert (rejected.result, rejected.source, rejected.reason) == (2, 3, 2)
        peers[0].reset()
        await until(lambda: made.acceptor.slots.clients == 1)
        await serves(made)
        for peer in peers:
            peer.close()


@pytest_twisted.ensureDeferred
async def test_those_who_are_rejected_and_stay_do_not_lock_others_out() -> None:
    async with server(max_clients=2) as made:
        for _ in range(5):
            raw = await made.peer()
            assert isinstance(await raw.associate(called="OTHER"), AssociateRJ)
        await serves(made)


# -- flow --------------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_peer_that_asks_and_never_reads() -> None:
    """Answers pile up to a limit, then it is read no further, then cut."""
    from pydicom import Dataset

    answer = Dataset()
    answer.PixelData = bytes(50_000)
    answer["PixelData"].VR = "OW"
    addin = NormalizedAddin(lambda request: (0, answer))
    clock = Clock()
    async with server(addin, StoreAddin(), clock=clock, send_buffer=4_096) as made:
        raw = await made.peer(SO_RCVBUF=4_096)
        assert isinstance(await raw.associate(), AssociateAC)
        raw.transport.pauseProducing()  # type: ignore[union-attr]
        stream = b"".join(
            message_bytes(MPPS_ID, requests.n_get_rq(number, MPPS, "1.2.3")) for number in range(1, 2_001)
        )
        raw.send(stream)
        (association,) = made.acceptor.associations.values()
        await until(lambda: association.protocol._pauses)
        await serves(made)
        asked = len(addin.requests)
        assert asked < 2_000
        await expire(clock, lambda: association.lost, "it was not cut")
        assert "took no bytes" in association.outcome
        assert len(addin.requests) == asked
        raw.transport.resumeProducing()  # type: ignore[union-attr]


@pytest_twisted.ensureDeferred
async def test_a_slow_reader_gets_everything() -> None:
    async with server(EchoAddin(), send_buffer=4_096) as made:
        raw = await made.peer(SO_RCVBUF=4_096)
        await raw.associate(window=(0, 0))
        count = 5 * CROWD
        raw.transport.pauseProducing()  # type: ignore[union-attr]
        raw.send(b"".join(echo_bytes(number) for number in range(1, count + 1)))
        await pause(0.1)
        raw.transport.resumeProducing()  # type: ignore[union-attr]
        assert await raw.answers(count) == [0] * count
        raw.close()


@pytest_twisted.ensureDeferred
async def test_a_sender_far_beyond_its_window() -> None:
    """What waits is bounded: reading stops."""
    first: Deferred[int] = Deferred()
    addin = EchoAddin(lambda request: 0 if first.called else first)
    async with server(addin, StoreAddin()) as made:
        raw = await made.peer()
        await raw.associate()
        raw.send(b"".join(echo_bytes(number % 60_000) for number in range(100_000)))
        (association,) = made.acceptor.associations.values()
        await until(lambda: association.protocol._pauses)
        received = association.protocol.bytes_received
        await pause(0.1)
        assert association.protocol.bytes_received == received < 1_000_000
        assert len(addin.requests) == 1
        raw.reset()
        # nothing is read from it, so its end is seen when the handler has answered
        first.callback(0)
        await until(lambda: association.lost)


@pytest_twisted.ensureDeferred
async def test_zero_length_fragments_without_end() -> None:
    """They cost the peer 12 bytes each; here they must cost less."""
    clock = Clock()
    async with server(clock=clock) as made:
        raw = await made.peer()
        await raw.associate()
        raw.send(message_bytes(MPPS_ID, requests.n_set_rq(1, MPPS, "1.2.3")) + pdata(MPPS_ID, 0, b"") * 100_000)
        await serves(made)
        await expire(clock, lambda: raw.lost)


@pytest_twisted.ensureDeferred
async def test_a_large_instance_while_another_stalls() -> None:
    async with server() as made:
        stalled = await in_phase(made, "half a large message")
        raw = await made.peer()
        await raw.associate()
        raw.send(LARGE)
        assert await raw.answers(1) == [0]
        stalled.reset()
        raw.close()
        await made.empty()


# -- stopping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
@pytest_twisted.ensureDeferred
async def test_stopping_in_every_phase(phase: str) -> None:
    async with server(*patient(), drain_timeout=0.2) as made:
        raw = await in_phase(made, phase)
    data = await raw.closed()
    if phase in {"connected", "half a request"}:
        assert data == b""
    elif phase == "established":
        assert data.endswith(encode(Abort(0, 0)))


@pytest_twisted.ensureDeferred
async def test_stopping_with_a_peer_that_does_not_read() -> None:
    async with server(EchoAddin(), send_buffer=4_096, drain_timeout=0.2) as made:
        raw = await made.peer(SO_RCVBUF=4_096)
        await raw.associate(window=(0, 0))
        raw.transport.pauseProducing()  # type: ignore[union-attr]
        raw.send(echo_bytes() * 20_000)
        await pause(0.2)
        (association,) = made.acceptor.associations.values()
        association.when_lost().addCallback(lambda _: raw.transport.resumeProducing())  # type: ignore[union-attr]
    await raw.closed()


@pytest_twisted.ensureDeferred
async def test_lengths_are_checked_before_anything_is_kept() -> None:
    """A P-DATA-TF that is longer than announced (PS3.8 D.1) aborts at its header."""
    async with server(max_pdu_length=4_096, pdu_tolerance=100) as made:
        for length, aborted in ((4_196, False), (4_197, True)):
            raw = await made.peer()
            await raw.associate()
            (association,) = made.acceptor.associations.values()
            before = association.protocol.bytes_received
            raw.send(struct.pack(">BxIIBB", 4, length, length - 4, 3, 1))
            await until(lambda one=association, count=before: one.protocol.bytes_received > count)
            assert bool(association.outcome) is aborted
            raw.reset()
            await made.empty()
