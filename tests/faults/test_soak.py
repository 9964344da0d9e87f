"""Associations by the thousand, half of them rejected or cut at any point: nothing is left of any."""

from __future__ import annotations

import gc
import random
from collections import Counter
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred, gatherResults

from tests.faults.link import Raw, Server, descriptors, pause, server, until
from tests.net.wire import associate_bytes, data_set, echo_bytes, store_bytes
from tests.services.serving import EchoAddin, NormalizedAddin, StoreAddin
from txdicom.dimse.assembler import Assembler
from txdicom.dimse.command import Command
from txdicom.net.association import Association
from txdicom.net.deadlines import Deadlines
from txdicom.net.protocol import DicomProtocol
from txdicom.net.sending import Outbox
from txdicom.pdu.encode import encode
from txdicom.pdu.types import ReleaseRQ
from txdicom.services.request import Request
from txdicom.services.spool import Received
from txdicom.ul.connection import UpperLayer

OURS = (Association, DicomProtocol, UpperLayer, Assembler, Deadlines, Outbox, Request, Received, Command)

CONVERSATION = (
    associate_bytes()
    + echo_bytes(1)
    + store_bytes(2)
    + store_bytes(3, data_set(pixels=100_000))
    + echo_bytes(4)
    + encode(ReleaseRQ())
)
LARGE = associate_bytes() + store_bytes(1, data_set(pixels=1_500_000), max_length=131_072)


def alive() -> Counter[str]:
    """How many of our objects there are."""
    gc.collect()
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, OURS))


def slow(request: Any) -> Any:
    """An add-in that waits a little, and does not mind being cancelled."""
    if request.message_id % 4:
        return 0
    return task.deferLater(reactor, 0.001, lambda: 0)  # type: ignore[arg-type]


async def in_order(raw: Raw) -> None:
    raw.send(CONVERSATION)
    await until(lambda: len(raw.pdus()) == 2)
    assert await raw.answers(4) == [0] * 4
    raw.close()


async def rejected(raw: Raw) -> None:
    await raw.associate(called="OTHER")
    raw.close()


async def cut(raw: Raw, rng: random.Random) -> None:
    stream = LARGE if rng.random() < 0.1 else CONVERSATION
    raw.send(stream[: rng.randrange(len(stream))])
    if rng.random() < 0.5:
        await pause(0.002 * rng.random())
    if rng.random() < 0.5:
        raw.reset()
    else:
        raw.close()


async def garbage(raw: Raw, rng: random.Random) -> None:
    raw.send(CONVERSATION[: rng.randrange(len(CONVERSATION))] + rng.randbytes(100))
    await pause(0.002)
    raw.reset()


async def one(made: Server, rng: random.Random) -> None:
    raw = await made.peer()
    kind = rng.random()
    if kind < 0.5:
        await in_order(raw)
    elif kind < 0.7:
        await rejected(raw)
    elif kind < 0.95:
        await cut(raw, rng)
    else:
        await garbage(raw, rng)
    await raw.closed()


async def many(made: Server, count: int, seed: int) -> None:
    """`count` associations, twenty at once."""
    left = [count]

    async def worker(number: int) -> None:
        rng = random.Random(seed + number)
        while left[0] > 0:
            left[0] -= 1
            await one(made, rng)

    await gatherResults([Deferred.fromCoroutine(worker(number)) for number in range(20)], consumeErrors=True)


async def soak(count: int, seed: int) -> None:
    async with server(EchoAddin(slow), StoreAddin(slow), NormalizedAddin()) as made:
        for addin in made.entity.addins:
            addin.requests = Discarded()
        await many(made, 40, seed)  # what is made once and kept is there now
        await made.empty()
        await pause(0.05)
        before, files, timers = alive(), descriptors(), len(reactor.getDelayedCalls())  # type: ignore[attr-defined]
        await many(made, count, seed + 1_000)
        await made.empty()
        await pause(0.05)
        assert alive() == before
        assert descriptors() == files
        assert len(reactor.getDelayedCalls()) == timers  # type: ignore[attr-defined]


class Discarded(list[Any]):
    """Keeps nothing."""

    def append(self, _: Any) -> None:
        pass


@pytest_twisted.ensureDeferred
async def test_two_thousand_associations() -> None:
    await soak(2_000, 1)


@pytest.mark.soak
@pytest_twisted.ensureDeferred
async def test_a_hundred_thousand_associations() -> None:
    await soak(100_000, 2)
