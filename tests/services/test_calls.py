"""txdicom.services.calls: handlers that block run in threads and harm nobody; how add-ins fare is known."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.net.wire import MPPS, MPPS_ID, Peer, data_set, echo_bytes, message_bytes, store_bytes
from tests.services.serving import Addin, EchoAddin, ManualWriter
from tests.services.threads import Gate, ThreadedServing
from txdicom.dimse import requests
from txdicom.errors import SettingsError, StatusError
from txdicom.interfaces import (
    ANY_STORAGE,
    IDicomAddin,
    IProcessCEcho,
    IProcessCStore,
    IProcessNSet,
    blocking,
    presentation_context,
)
from txdicom.pdu.encode import encode
from txdicom.pdu.types import ReleaseRP, ReleaseRQ
from txdicom.services.dispatch import Dispatcher
from txdicom.services.spool import Spool
from txdicom.uids import VERIFICATION

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from twisted.logger import LogEvent


@implementer(IDicomAddin, IProcessCEcho)
class BlockingEcho(Addin):
    """Answers C-ECHO in a thread."""

    name = "echo"

    def __init__(self, handler: Callable[[Any], Any]) -> None:
        self.handler = handler

    @blocking
    @presentation_context(VERIFICATION)
    def on_c_echo(self, request: Any) -> Any:
        return self.handler(request)


@implementer(IDicomAddin, IProcessCStore, IProcessNSet)
class BlockingStore(Addin):
    """Answers C-STORE and N-SET in a thread; the decorators the other way round."""

    name = "store"

    def __init__(self, handler: Callable[[Any], Any]) -> None:
        self.handler = handler

    @presentation_context(ANY_STORAGE)
    @blocking
    def on_c_store(self, request: Any) -> Any:
        return self.handler(request)

    @presentation_context(MPPS)
    @blocking
    def on_n_set(self, request: Any) -> Any:
        return self.handler(request)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def serve(gate: Gate) -> Generator[Callable[..., ThreadedServing]]:
    """Makes servers; at the end nothing of them is left."""
    made: list[ThreadedServing] = []

    def make(*addins: Any, **settings: Any) -> ThreadedServing:
        made.append(ThreadedServing(*addins, **settings))
        return made[-1]

    yield make
    gate.open()
    for serving in made:
        done = serving.calls.stop()
        serving.reactor.until(lambda done=done: done.called)
        for association in list(serving.acceptor.associations.values()):
            association.hang_up("the test ends")
            if not association.lost:
                association.protocol.connectionLost(Failure(ConnectionDone()))
        serving.writer.work_all()
        assert serving.clean()


@pytest.fixture
def failures() -> Generator[list[str]]:
    """The types of what was logged with a traceback."""
    found: list[str] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            found.append(event["log_failure"].type.__name__)

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


def answer(serving: ThreadedServing, peer: Peer) -> tuple[int | None, str | None]:
    """Status and Error Comment of the next response."""
    messages: list[Any] = []
    serving.reactor.until(lambda: messages.extend(peer.messages()) or messages)
    (message,) = messages
    return message.command.status, message.command.error_comment


# -- what they do ------------------------------------------------------------------------------------------------------


def test_in_a_thread_in_either_order_of_the_decorators(serve: Any) -> None:
    where: list[str] = []

    def handler(request: Any) -> int:
        where.append(threading.current_thread().name)
        return 0x0107

    serving = serve(BlockingEcho(handler), BlockingStore(lambda request: handler(request) - 0x0107))
    peer = serving.peer()
    for stream, status in ((echo_bytes(1), 0x0107), (store_bytes(2), 0)):
        peer.send(stream)
        assert peer.statuses() == []
        assert answer(serving, peer) == (status, None)
    assert all(name.startswith("txdicom-addin") for name in where)


def test_the_data_set_is_read_in_the_thread(serve: Any, tmp_path: Path) -> None:
    seen: list[Any] = []

    def handler(request: Any) -> int:
        received = getattr(request, "received", None)
        seen.append((request.dataset.SOPInstanceUID, received and sum(map(len, received.chunks()))))
        if received:
            received.save(tmp_path / "saved.dcm")
        return 0

    serving = serve(BlockingStore(handler), folder=tmp_path)
    peer = serving.peer()
    small, large = data_set("1.2.3"), data_set("1.2.4", pixels=3_000_000)
    for message_id, data, instance in ((1, small, "1.2.3"), (2, large, "1.2.4")):
        peer.send(store_bytes(message_id, data, instance=instance))
        serving.writer.work_all()
        assert answer(serving, peer)[0] == 0
        assert seen.pop() == (instance, len(data))
        assert (tmp_path / "saved.dcm").read_bytes().endswith(data)
    peer.send(message_bytes(MPPS_ID, requests.n_set_rq(3, MPPS, "1.2.5"), small))
    assert answer(serving, peer)[0] == 0
    assert seen == [("1.2.3", None)]


def test_others_are_answered_meanwhile(serve: Any, gate: Gate) -> None:
    serving = serve(BlockingStore(lambda request: gate()), EchoAddin())
    slow, quick = serving.peer(), serving.peer()
    slow.send(store_bytes(1))
    serving.reactor.until(lambda: gate.inside)
    quick.send(echo_bytes(1))
    assert quick.statuses() == [0]
    slow.send(echo_bytes(2))
    assert slow.statuses() == []  # one after the other on one association
    slow.send(encode(ReleaseRQ()))
    gate.open()
    serving.reactor.until(lambda: slow.wire.value())
    assert slow.statuses() == [0, 0]
    assert [type(pdu) for pdu in slow.pdus()] == [ReleaseRP]


def test_without_threads_it_is_a_mistake_of_the_start() -> None:
    with pytest.raises(SettingsError, match="add-in echo: on_c_echo is @blocking"):
        Dispatcher([BlockingEcho(int)], Spool(ManualWriter(), lambda: ""))  # type: ignore[arg-type]


# -- what they may do wrong --------------------------------------------------------------------------------------------


def raising(error: BaseException) -> Callable[[Any], Any]:
    def handler(request: Any) -> Any:
        raise error

    return handler


async def _coroutine() -> int:
    return 0


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (raising(KeyError("patient")), "KeyError"),
        (raising(SystemExit(1)), "SystemExit"),
        (raising(StopIteration()), "StopIteration"),
        (raising(StatusError(0xFF00)), "ValueError"),
        (lambda request: None, "TypeError"),
        (lambda request: [0], "TypeError"),
        (lambda request: _coroutine(), "TypeError"),
        (lambda request: (number for number in range(3)), "TypeError"),
        (lambda request: 0xFF00, "ValueError"),
    ],
)
@pytest.mark.parametrize("service", ["echo", "store"])
def test_rubbish_harms_its_own_message(serve: Any, handler: Any, error: str, service: str, failures: list[str]) -> None:
    serving = serve(BlockingEcho(handler), BlockingStore(handler))
    peer, other = serving.peer(), serving.peer()
    stream, unable = {"echo": (echo_bytes(1), 0x0110), "store": (store_bytes(1), 0xC000)}[service]
    peer.send(stream)
    assert answer(serving, peer) == (unable, "the handler failed")
    assert failures == [error]
    assert peer.association.established
    assert other.association.established
    health = serving.calls.health.of(service)
    assert (health.healthy, health.failures) == (True, 1)
    assert re.match(rf"{error}( \(\w+\.py:\d+\))?$", health.last_error), health.last_error
    assert serving.calls.health.of({"echo": "store", "store": "echo"}[service]).failures == 0
    assert not any("patient" in sentence for sentence in health.sentences)


def test_a_status_that_is_raised(serve: Any, failures: list[str]) -> None:
    serving = serve(BlockingEcho(raising(StatusError(0x0117))))
    peer = serving.peer()
    peer.send(echo_bytes())
    assert answer(serving, peer)[0] == 0x0117
    assert failures == []
    assert serving.calls.health.of("echo").failures == 0


def test_one_that_blocks_for_ever(serve: Any, gate: Gate) -> None:
    serving = serve(BlockingEcho(lambda request: gate()), addin_timeout=30.0)
    health = serving.calls.health
    peer = serving.peer()
    peer.send(echo_bytes(1))
    serving.reactor.until(lambda: gate.inside)
    assert health.of("echo").healthy
    assert health.of("echo").running == 1
    serving.clock.advance(30)
    assert answer(serving, peer) == (0x0110, "the handler took too long")
    serving.clock.advance(12)
    sick = health.of("echo")
    assert (sick.healthy, sick.running, sick.stuck, sick.failures) == (False, 1, (42.0,), 1)
    assert sick.sentences[0] == "1 of the 8 blocking calls that it can have at once are stuck, the longest for 42 s"
    assert sick.last_error == "a time-out"
    gate.open()
    serving.reactor.until(lambda: not health.of("echo").running)
    assert health.of("echo").healthy
    assert peer.statuses() == []  # what it returned in the end is dropped
    peer.send(echo_bytes(2))
    assert answer(serving, peer) == (0, None)


def test_one_that_never_had_its_turn_is_answered_too(serve: Any, gate: Gate) -> None:
    """The time counts from the request's turn, not from the thread's."""
    serving = serve(BlockingEcho(lambda request: gate()), addin_timeout=30.0, addin_threads=1)
    first, second = serving.peer(), serving.peer()
    first.send(echo_bytes(1))
    serving.reactor.until(lambda: gate.inside)
    serving.clock.advance(10)
    second.send(echo_bytes(1))
    assert serving.calls.health.of("echo").waiting == 1
    serving.clock.advance(29.5)
    assert (first.statuses(), second.statuses()) == ([0x0110], [])
    serving.clock.advance(0.5)
    assert second.statuses() == [0x0110]
    health = serving.calls.health.of("echo")
    assert (health.waiting, health.running, health.stuck) == (0, 1, (40.0,))


def test_an_add_in_that_blocks_for_ever_does_not_starve_another(serve: Any, gate: Gate) -> None:
    serving = serve(
        BlockingStore(lambda request: gate()), BlockingEcho(lambda request: 0), addin_threads=4, client_timeout=0
    )
    bad = [serving.peer() for _ in range(10)]
    for peer in bad:
        peer.send(store_bytes(1))
    serving.reactor.until(lambda: gate.inside == 3)
    good = serving.peer()
    for message_id in range(1, 20):
        good.send(echo_bytes(message_id))
        assert answer(serving, good)[0] == 0
    serving.clock.advance(300)
    assert [peer.statuses() for peer in bad] == [[0xC000]] * 10
    good.send(echo_bytes(20))
    assert answer(serving, good)[0] == 0
    assert not serving.calls.health.of("store").healthy
    assert serving.calls.health.of("echo").healthy


# -- cancelled ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["lost", "time-out", "abort"])
def test_it_sees_that_it_is_cancelled_and_its_data_stays_until_it_ends(serve: Any, tmp_path: Path, end: str) -> None:
    seen: list[Any] = []
    requests_seen: list[Any] = []

    def handler(request: Any) -> int:
        requests_seen.append(request)
        while not request.cancelled:
            pass
        seen.append((request.cancelled, sum(map(len, request.received.chunks())), request.dataset.SOPInstanceUID))
        return 0

    serving = serve(BlockingStore(handler), folder=tmp_path, addin_timeout=30.0)
    peer = serving.peer()
    data = data_set("1.2.4", pixels=3_000_000)
    peer.send(store_bytes(1, data, instance="1.2.4"))
    serving.writer.work_all()
    serving.reactor.until(lambda: requests_seen)
    if end == "lost":
        peer.lose()
    elif end == "abort":
        peer.association.abort("enough")
    else:
        serving.clock.advance(30)
    assert len(list(tmp_path.iterdir())) == 1
    serving.reactor.until(lambda: not serving.calls.health.of("store").running)
    assert seen[0][1:] == (len(data), "1.2.4")
    assert seen[0][0] == {"lost": "the association was aborted", "abort": "enough", "time-out": "time-out"}[end]
    serving.writer.work_all()
    assert list(tmp_path.iterdir()) == []


def test_one_that_waits_for_a_thread_when_its_peer_goes(serve: Any, gate: Gate) -> None:
    called: list[Any] = []

    def handler(request: Any) -> int:
        called.append(request.message_id)
        return int(gate())

    serving = serve(BlockingEcho(handler), addin_threads=1)
    first, second = serving.peer(), serving.peer()
    first.send(echo_bytes(1))
    serving.reactor.until(lambda: gate.inside)
    second.send(echo_bytes(2))
    second.lose()
    assert serving.calls.health.of("echo").waiting == 0
    gate.open()
    assert answer(serving, first)[0] == 0
    assert called == [1]


# -- stopping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("aborted", "seconds"), [(False, 30), (True, 1)])
def test_a_stop_while_it_blocks(serve: Any, gate: Gate, tmp_path: Path, aborted: bool, seconds: float) -> None:
    """The time for it runs together with that of the associations."""
    serving = serve(BlockingStore(lambda request: gate()), folder=tmp_path, drain_timeout=30.0)
    peer = serving.peer()
    peer.send(store_bytes(1, data_set(pixels=3_000_000)))
    serving.writer.work_all()
    serving.reactor.until(lambda: gate.inside)
    serving.calls.drain()
    drained = serving.acceptor.drain()
    if aborted:
        serving.clock.advance(30)
    peer.lose()
    assert drained.called
    stopped = serving.calls.stop()
    serving.clock.advance(seconds - 0.5)
    assert not stopped.called
    serving.clock.advance(0.5)
    assert stopped.called
    serving.writer.work_all()
    assert list(tmp_path.iterdir()) == []
    assert serving.clean()


def test_no_thread_where_nothing_blocks(serve: Any) -> None:
    before = threading.active_count()
    serving = serve(EchoAddin())
    serving.calls.start()
    peer = serving.peer()
    peer.send(echo_bytes())
    assert peer.statuses() == [0]
    assert not serving.reactor.readers
    assert threading.active_count() == before + 1  # the watchdog's
    assert serving.calls.stop().called
    assert threading.active_count() == before


def test_an_add_in_that_nobody_knows(serve: Any) -> None:
    health = serve(EchoAddin()).calls.health.of("unknown")
    assert health.healthy
    assert (health.sentences, health.failures, health.last_failure) == ((), 0, None)
