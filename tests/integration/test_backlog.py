"""Connections that come in a burst while nobody accepts: they wait, and none is sent back to try again."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import Factory

from txdicom.net.listening import listen

pytestmark = pytest.mark.skipif(socket.SOMAXCONN < 200, reason="the system keeps fewer")


async def refused(endpoint: str, connections: int) -> int:
    """How many of these connections are not there within a moment, with a port that does not accept."""
    port = await listen(reactor, endpoint, Factory())
    missing = 0
    with ExitStack() as stack:
        for _ in range(connections):
            one = stack.enter_context(socket.socket())
            one.settimeout(0.3)  # the system's first retry comes after a second
            try:
                one.connect(("127.0.0.1", port.getHost().port))
            except TimeoutError:
                missing += 1
                if missing > 2:
                    break
    await maybeDeferred(port.stopListening)
    return missing


@pytest_twisted.ensureDeferred
async def test_a_burst_waits() -> None:
    assert await refused("tcp:0:interface=127.0.0.1", 150) == 0


@pytest_twisted.ensureDeferred
async def test_what_the_endpoint_says_holds() -> None:
    assert await refused("tcp:0:interface=127.0.0.1:backlog=5", 20) > 0
