"""Whole connections with mistakes in them: whatever comes, no exception escapes and nothing is left behind.

The mutations come from fixed seeds, so that what fails, fails again; the long form takes other seeds each time.
"""

from __future__ import annotations

import itertools
import os
import random
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, succeed

from tests.faults.link import server
from tests.net.wire import (
    CT,
    CT_ID,
    ECHO_ID,
    MPPS,
    MPPS_ID,
    Peer,
    acceptor,
    associate_bytes,
    data_set,
    echo_bytes,
    message_bytes,
    store_bytes,
)
from tests.services.serving import EchoAddin, NormalizedAddin, Serving, StoreAddin
from txdicom.dimse import messages, requests
from txdicom.net.invocation import Responses, SingleResponse
from txdicom.pdu.encode import encode
from txdicom.pdu.types import Abort, ReleaseRP, ReleaseRQ

if TYPE_CHECKING:
    from pathlib import Path

#: a conversation, part by part
PARTS = (
    associate_bytes(window=(4, 4)),
    echo_bytes(1),
    store_bytes(2),
    store_bytes(3, data_set(pixels=3_000), max_length=500),
    message_bytes(MPPS_ID, requests.n_set_rq(4, MPPS, "1.2.3"), data_set()),
    message_bytes(MPPS_ID, requests.n_get_rq(5, MPPS, "1.2.3")),
    message_bytes(CT_ID, requests.c_find_rq(6, CT), data_set()),
    message_bytes(ECHO_ID, requests.c_cancel_rq(2)),
    message_bytes(ECHO_ID, messages.response(requests.c_echo_rq(1))),
    encode(ReleaseRQ()),
    encode(ReleaseRP()),
    encode(Abort(0, 0)),
)
INTERESTING = (0, 1, 2, 3, 4, 5, 7, 0x10, 0x20, 0x21, 0x50, 0x7F, 0x80, 0xFE, 0xFF)


def mutated(rng: random.Random) -> bytes:
    """A conversation with a few mistakes."""
    parts = [PARTS[0], *rng.choices(PARTS, k=rng.randrange(6))]
    if rng.random() < 0.1:
        parts.pop(0)
    stream = bytearray(b"".join(parts))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 5, 20))):
        if not stream:
            break
        at = rng.randrange(len(stream))
        kind = rng.randrange(7)
        if kind == 0:
            stream[at] = rng.choice(INTERESTING)
        elif kind == 1:
            stream[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del stream[at : at + rng.randrange(1, 20)]
        elif kind == 3:
            stream[at:at] = rng.randbytes(rng.randrange(1, 20))
        elif kind == 4:
            stream[at : at + 4] = struct.pack(">I", rng.choice((0, 1, 5, 6, 7, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)))
        elif kind == 5:
            stream[at : at + 2] = struct.pack("<H", rng.choice((0, 1, 0x0101, 0x8001, 0x0FFF, 0xFFFF)))
        else:
            piece = stream[at : at + rng.randrange(1, 200)]
            stream[at:at] = piece
    return bytes(stream)


def pieces(rng: random.Random, stream: bytes) -> list[bytes]:
    """The stream as the network may cut it."""
    if rng.random() < 0.3:
        return [stream]
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randrange(1, 12)))
    return [stream[start:end] for start, end in itertools.pairwise([0, *cuts, len(stream)])]


def handlers(rng: random.Random, waiting: list[Deferred[Any]]) -> Any:
    """An add-in's method that does all kinds of things."""

    def handler(request: Any) -> Any:
        kind = rng.randrange(6)
        if kind == 0:
            raise ValueError
        if kind == 1:
            waiting.append(Deferred())
            return waiting[-1]
        return (0, succeed(0), None, (0, request.dataset))[kind - 2]

    return handler


def accepting(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    waiting: list[Deferred[Any]] = []
    handler = handlers(rng, waiting)
    serving = Serving(EchoAddin(handler), StoreAddin(handler), NormalizedAddin(handler), folder=folder)
    peer = Peer(serving.acceptor)
    stream = mutated(rng)
    for piece in pieces(rng, stream):
        peer.send(piece)
        if rng.random() < 0.3:
            serving.writer.work()
        if rng.random() < 0.2:
            serving.clock.advance(rng.choice((0, 1, 31, 301)))
        if waiting and rng.random() < 0.5:
            one = waiting.pop(rng.randrange(len(waiting)))
            if not one.called:
                one.callback(rng.choice((0, "abc", 0xFF00)))
    if rng.random() < 0.5:
        serving.acceptor.drain()
        serving.clock.advance(31)
    peer.pdus()  # what was sent can be read
    peer.lose()
    serving.writer.work_all()
    assert serving.clean(), f"seed {seed}"
    assert serving.acceptor.slots.half_open == serving.acceptor.slots.clients == 0, f"seed {seed}"


def requesting(seed: int) -> None:
    """The same from the other side: what the peer answers is broken."""
    rng = random.Random(seed)
    made = acceptor()
    peer = Peer(made)
    peer.associate(window=(4, 4))
    ended: list[Any] = []
    for number in range(rng.randrange(1, 5)):
        if number % 2:
            responses = Responses(peer.association, CT_ID, lambda one: requests.c_find_rq(one, CT), b"identifier")
            Deferred.fromCoroutine(read(responses)).addBoth(ended.append)
        else:
            SingleResponse(peer.association, ECHO_ID, requests.c_echo_rq).result.addBoth(ended.append)
    answers = b""
    for asked in peer.messages():
        for _ in range(rng.randrange(3)):
            pending = asked.command.command_field == 0x0020 and rng.random() < 0.7
            response = messages.response(asked.command, 0xFF00 if pending else 0, data_set=pending)
            answers += message_bytes(asked.context_id, response, b"identifier" if pending else None)
    stream = bytearray(answers)
    for _ in range(rng.randrange(4)):
        if stream:
            stream[rng.randrange(len(stream))] = rng.choice(INTERESTING)
    for piece in pieces(rng, bytes(stream)):
        peer.send(piece)
    clock: Any = made._clock
    if rng.random() < 0.5:
        clock.advance(31)
    peer.lose()
    assert not clock.getDelayedCalls(), f"seed {seed}"
    assert len(ended) >= 1, f"seed {seed}"


async def read(responses: Responses) -> int:
    return len([one async for one in responses])


def test_acceptor(tmp_path: Path) -> None:
    for seed in range(3_000):
        accepting(seed, tmp_path)
    assert os.listdir(tmp_path) == []


def test_requestor() -> None:
    for seed in range(3_000):
        requesting(seed)


@pytest_twisted.ensureDeferred
async def test_on_sockets() -> None:
    async with server(artim_timeout=0.1, client_timeout=0.1) as made:
        rng = random.Random(7)
        peers = []
        for _ in range(150):
            raw = await made.peer()
            peers.append(raw)
            for piece in pieces(rng, mutated(rng)):
                raw.send(piece)
            if rng.random() < 0.3:
                raw.reset()
        await made.empty()
        for raw in peers:
            await raw.closed()


@pytest.mark.soak
def test_for_long(tmp_path: Path) -> None:
    """Ten minutes of seeds that were never tried."""
    seed = time.time_ns()
    end = time.monotonic() + 600
    while time.monotonic() < end:
        accepting(seed, tmp_path)
        requesting(seed)
        seed += 1


def test_the_harness_is_no_lamb() -> None:
    """Most mutations are noticed, some go through: else the fuzzing would fuzz nothing."""
    outcomes = set()
    for seed in range(300):
        rng = random.Random(seed)
        serving = Serving(EchoAddin(), StoreAddin(), NormalizedAddin())
        peer = Peer(serving.acceptor)
        for piece in pieces(rng, mutated(rng)):
            peer.send(piece)
        outcomes.add(peer.protocol.upper_layer.state.name)
        peer.lose()
    assert {"STA2", "STA6", "STA13"} <= outcomes
