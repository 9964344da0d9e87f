"""txdicom.services.watchdog: a handler that holds the reactor is told of, with where it is, once."""

from __future__ import annotations

import threading
import time
import timeit
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.logger import globalLogPublisher

from tests.net.wire import Peer, echo_bytes
from tests.services.serving import EchoAddin
from tests.services.threads import ThreadedServing
from txdicom.services.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from twisted.logger import LogEvent

#: seconds that a handler may take here
LIMIT = 0.2


@pytest.fixture
def logged() -> Generator[list[str]]:
    events: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"] == "txdicom.services.watchdog":
            events.append(event["log_format"].format_map(event))

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def peer_of() -> Generator[Callable[..., Peer]]:
    """A peer of a server that is watched, whose add-in answers C-ECHO so."""
    servings: list[ThreadedServing] = []

    def make(handler: Any, limit: float = LIMIT) -> Peer:
        serving = ThreadedServing(EchoAddin(handler), watch_reactor=limit)
        servings.append(serving)
        serving.calls.start()
        return serving.peer()

    yield make
    for serving in servings:
        serving.calls.stop()


def hold(logged: list[str], seconds: float = 10.0) -> None:
    """Holds the reactor until it is told of."""
    end = time.monotonic() + seconds
    while not logged and time.monotonic() < end:
        time.sleep(0.005)


def test_it_is_named_with_its_stack_once(peer_of: Any, logged: list[str]) -> None:
    def handler(request: Any) -> int:
        hold(logged)
        time.sleep(3 * LIMIT)
        return 0

    peer = peer_of(handler)
    peer.send(echo_bytes(1))
    assert peer.statuses() == [0]
    (sentence,) = logged
    assert sentence.startswith("add-in echo: on_c_echo has held the reactor for 0.2 s")
    stack = sentence.split("it is at ")[1].split(" > ")
    assert stack[0].endswith("EchoAddin.on_c_echo")
    assert [frame.split(" ")[1].split(".")[-1] for frame in stack[1:]] == ["handler", "hold"]
    assert "test_watchdog.py:" in stack[-1]
    logged.clear()
    peer.send(echo_bytes(2))
    assert len(logged) == 1  # each time it happens


def test_a_step_of_a_coroutine(peer_of: Any, logged: list[str]) -> None:
    waits: Deferred[None] = Deferred()

    async def handler(request: Any) -> int:
        await waits
        hold(logged)
        return 0

    peer = peer_of(handler)
    peer.send(echo_bytes(1))
    time.sleep(2 * LIMIT)
    assert logged == []  # that it waits does no harm
    waits.callback(None)
    assert peer.statuses() == [0]
    assert "handler" in logged[0]


def test_many_short_ones_are_not_one_long(peer_of: Any, logged: list[str]) -> None:
    def work() -> int:
        time.sleep(LIMIT / 40)
        return 0

    async def handler(request: Any) -> int:
        await succeed(None)
        return work()

    peer = peer_of(handler)
    for message_id in range(1, 81):
        peer.send(echo_bytes(message_id))
    assert peer.statuses() == [0] * 80
    assert logged == []


@pytest.mark.parametrize("error", [KeyError, SystemExit])
def test_one_that_raises_is_over(peer_of: Any, logged: list[str], error: type[BaseException]) -> None:
    def handler(request: Any) -> int:
        raise error

    peer = peer_of(handler)
    peer.send(echo_bytes(1))
    assert peer.statuses() == [0x0110]
    time.sleep(3 * LIMIT)
    assert logged == []


def test_off(peer_of: Any, logged: list[str]) -> None:
    before = threading.active_count()
    peer = peer_of(lambda request: time.sleep(2 * LIMIT) or 0, limit=0.0)
    assert threading.active_count() == before
    peer.send(echo_bytes(1))
    assert peer.statuses() == [0]
    assert logged == []


def test_starting_and_stopping_again() -> None:
    before = threading.active_count()
    watchdog = Watchdog(5.0)
    for _ in range(2):
        watchdog.start()
        watchdog.start()
        assert threading.active_count() == before + 1
        watchdog.stop()
        watchdog.stop()
        assert threading.active_count() == before


def test_what_it_costs() -> None:
    """Two attributes a call: far below what a handler's own work takes."""
    from txdicom.services.calls import AddinCalls

    addin = EchoAddin()
    method, handler = addin.on_c_echo, AddinCalls(None, watch_reactor=1.0).handler(addin, "on_c_echo")

    def seconds(call: Any) -> float:
        return min(timeit.repeat(lambda: call(None), number=20_000, repeat=5)) / 20_000

    assert seconds(handler) - seconds(method) < 3e-6  # it takes a tenth of that; the rest is for a busy machine
