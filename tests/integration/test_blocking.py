"""Blocking handlers of a listening server, over sockets: many at once, and a stop that one of them does not hold up."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from zope.interface import implementer

from tests.services.serving import Addin
from tests.services.threads import Gate
from txdicom import scp
from txdicom.interfaces import IDicomAddin, IProcessCEcho, blocking, presentation_context
from txdicom.scu import Peer, connect
from txdicom.uids import VERIFICATION

WORK = 0.05


@implementer(IDicomAddin, IProcessCEcho)
class Working(Addin):
    """Takes its time in a thread, or as long as the gate is shut."""

    name = "working"

    def __init__(self, gate: Gate | None = None) -> None:
        self.gate = gate
        self.most = self.now = 0
        self.lock = threading.Lock()

    @blocking
    @presentation_context(VERIFICATION)
    def on_c_echo(self, request: Any) -> int:
        if self.gate is not None:
            return int(self.gate())
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(WORK)
        with self.lock:
            self.now -= 1
        return 0


async def listen(addin: Any, **settings: Any) -> tuple[scp.ApplicationEntity, Peer]:
    entity = await scp.listen(reactor, "tcp:0:interface=127.0.0.1", ae_title="OURS", addins=[addin], **settings)
    return entity, Peer("OURS", "127.0.0.1", entity.ports[0].getHost().port)


async def echoes(peer: Peer, count: int) -> list[int]:
    async with connect(reactor, peer) as association:
        return [(await association.echo()).code for _ in range(count)]


@pytest_twisted.ensureDeferred
async def test_as_many_at_once_as_there_are_threads() -> None:
    addin = Working()
    entity, peer = await listen(addin, addin_threads=16)
    began = time.monotonic()
    done = await gatherResults([Deferred.fromCoroutine(echoes(peer, 5)) for _ in range(24)])
    took = time.monotonic() - began
    assert done == [[0] * 5] * 24
    assert addin.most == 16
    assert took < 24 * 5 * WORK / 4  # one after the other it would be 6 s; 16 at once 0.4 s
    assert entity.health.of("working").running == 0
    await entity.stop()


@pytest_twisted.ensureDeferred
async def test_a_stop_goes_on_without_one_that_does_not_end() -> None:
    gate = Gate()
    entity, peer = await listen(Working(gate), drain_timeout=0.5)
    asked = Deferred.fromCoroutine(echoes(peer, 1))
    failures: list[Any] = []
    asked.addErrback(failures.append)
    while not gate.inside:
        waits: Deferred[None] = Deferred()
        reactor.callLater(0.01, waits.callback, None)  # type: ignore[attr-defined]
        await waits
    began = time.monotonic()
    await entity.stop()
    assert 0.4 < time.monotonic() - began < 10
    await asked
    assert len(failures) == 1  # aborted
    gate.open()
