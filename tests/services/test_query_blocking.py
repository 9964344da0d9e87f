"""Queries and retrievals answered by `@blocking` add-ins: every step of theirs is done in a thread."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from twisted.logger import formatEvent, globalLogPublisher
from zope.interface import implementer

from tests.net.wire import CT, AcceptAll, Peer, associate_rq, data_set, message_bytes
from tests.services.querying import CONTEXTS, QueryAddin, cancel_bytes, counters, find_bytes, get_bytes, study
from tests.services.serving import Addin
from tests.services.threads import Gate, Reactor
from txdicom.dimse import messages
from txdicom.interfaces import (
    IDicomAddin,
    InstanceRef,
    IProcessCFind,
    IProcessCGet,
    Retrieval,
    blocking,
    presentation_context,
)
from txdicom.net.acceptor import Acceptor
from txdicom.net.config import NetConfig
from txdicom.pdu.encode import encode
from txdicom.pdu.types import RoleSelection
from txdicom.services import querying as module
from txdicom.services.calls import AddinCalls
from txdicom.services.dispatch import Dispatcher
from txdicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, STUDY_ROOT_FIND, STUDY_ROOT_GET

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from pydicom import Dataset

PENDING, CANCEL, UNABLE = 0xFF00, 0xFE00, 0xC000


@implementer(IDicomAddin, IProcessCFind, IProcessCGet)
class BlockingQuery(Addin):
    """Answers in threads with what `handler` returns."""

    name = "query"

    def __init__(self, handler: Callable[[Any], Any]) -> None:
        self.handler = handler

    @blocking
    @presentation_context(STUDY_ROOT_FIND)
    def on_c_find(self, request: Any) -> Any:
        return self.handler(request)

    @blocking
    @presentation_context(STUDY_ROOT_GET)
    def on_c_get(self, request: Any) -> Any:
        return self.handler(request)


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may be slow, and time stands still here."""
    monkeypatch.setattr(module, "_TURN", 60.0)


class Made:
    """A server of such an add-in, and a peer of it."""

    def __init__(self, handler: Any) -> None:
        self.reactor = Reactor()
        self.calls = AddinCalls(self.reactor, threads=2, timeout=10.0)
        dispatcher = Dispatcher([BlockingQuery(handler)], None, calls=self.calls)  # type: ignore[arg-type]
        config = NetConfig(addin_timeout=10.0)
        self.acceptor = Acceptor(config, AcceptAll(), dispatcher, self.reactor)
        self.peer = Peer(self.acceptor)
        rq = associate_rq(*CONTEXTS)
        self.peer.send(encode(replace(rq, user=replace(rq.user, roles=(RoleSelection(CT, scu=False, scp=True),)))))
        self.peer.pdus()
        self.messages: list[Any] = []

    @property
    def statuses(self) -> list[Any]:
        self.messages += self.peer.messages()
        return [message.command.status for message in self.messages]

    def until(self, count: int) -> list[Any]:
        """The statuses of the first messages; so many have to come."""
        self.reactor.until(lambda: len(self.statuses) >= count)
        return self.statuses

    def stop(self) -> None:
        self.peer.lose()
        stopped = self.calls.stop()
        self.reactor.until(lambda: stopped.called)


@pytest.fixture
def made() -> Generator[Callable[[Any], Made]]:
    all_made: list[Made] = []

    def make(handler: Any) -> Made:
        all_made.append(Made(handler))
        return all_made[-1]

    yield make
    for one in all_made:
        one.stop()


def test_each_step_of_a_generator(made: Callable[[Any], Made]) -> None:
    threads = []

    def handler(request: Any) -> Iterator[Dataset]:
        for number in range(3):
            threads.append(threading.current_thread())
            assert request.identifier.StudyInstanceUID == "1.2.3.1"
            yield study(number)

    serving = made(handler)
    serving.peer.send(find_bytes())
    assert serving.until(4) == [PENDING] * 3 + [0]
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("answer", [[], [study()] * 3])
def test_a_list(made: Callable[[Any], Made], answer: list[Dataset]) -> None:
    serving = made(lambda request: answer)
    serving.peer.send(find_bytes())
    assert serving.until(len(answer) + 1) == [PENDING] * len(answer) + [0]


def test_a_cancel_amid_a_step(made: Callable[[Any], Made]) -> None:
    gate = Gate()
    ended = []

    def handler(request: Any) -> Iterator[Dataset]:
        try:
            yield study()
            gate()
            yield request.identifier
        finally:
            ended.append((request.cancelled, threading.current_thread()))

    serving = made(handler)
    serving.peer.send(find_bytes())
    serving.reactor.until(lambda: gate.inside)
    serving.peer.send(cancel_bytes())
    assert serving.statuses == [PENDING, CANCEL]
    assert ended == []
    gate.open()
    serving.reactor.until(lambda: ended)
    ((cancelled, thread),) = ended
    assert cancelled == "C-CANCEL"
    assert thread is not threading.main_thread()


def test_one_that_raises(made: Callable[[Any], Made]) -> None:
    def handler(request: Any) -> Iterator[Dataset]:
        yield study()
        raise KeyError(1)

    serving = made(handler)
    serving.peer.send(find_bytes())
    assert serving.until(2) == [PENDING, UNABLE]


class Opened:
    """Instances that say in which thread they were opened, and what became of what was opened."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.closed = 0
        self.gate: Gate | None = None

    def of(self, number: int) -> InstanceRef:
        return InstanceRef(CT, f"1.2.3.{number}", EXPLICIT_VR_LITTLE_ENDIAN, self._open)

    def _open(self) -> Any:
        opened = self

        class File(io.BytesIO):
            def close(self) -> None:
                opened.closed += 1
                super().close()

        self.threads.append(threading.current_thread())
        if self.gate is not None:
            self.gate()
        return File(data_set())


def test_instances_are_opened_in_a_thread_too(made: Callable[[Any], Made]) -> None:
    opened = Opened()
    serving = made(lambda request: Retrieval([opened.of(number) for number in range(2)]))
    serving.peer.send(get_bytes())
    for number in range(2):
        serving.until(2 * number + 1)
        store = serving.messages[-1]
        assert store.data == data_set()
        serving.peer.send(message_bytes(store.context_id, messages.response(store.command, 0)))
    assert serving.until(5)[-1] == 0
    assert threading.main_thread() not in opened.threads
    assert opened.closed == 2


def test_what_is_opened_too_late_is_closed(made: Callable[[Any], Made]) -> None:
    opened = Opened()
    opened.gate = Gate()
    serving = made(lambda request: Retrieval([opened.of(1)]))
    serving.peer.send(get_bytes())
    serving.reactor.until(lambda: opened.gate.inside)  # type: ignore[union-attr]
    serving.peer.send(cancel_bytes(1, 5))
    serving.until(1)
    assert counters(serving.messages[0]) == (CANCEL, 1, 0, 0, 0)
    opened.gate.open()
    serving.reactor.until(lambda: opened.closed)


@pytest.mark.parametrize("wrong", [5, b"ab", "text"])
def test_what_is_opened_too_late_may_be_anything(made: Callable[[Any], Made], wrong: Any, logged: list[Any]) -> None:
    gate = Gate()

    def open_wrong() -> Any:
        gate()
        return wrong

    one = InstanceRef(CT, "1.2.3.1", EXPLICIT_VR_LITTLE_ENDIAN, open_wrong)
    serving = made(lambda request: Retrieval([one]))
    serving.peer.send(get_bytes())
    serving.reactor.until(lambda: gate.inside)
    serving.peer.send(cancel_bytes(1, 5))
    serving.until(1)
    gate.open()
    (threads,) = serving.calls.pool.addins.values()
    serving.reactor.until(lambda: not threads.running)
    assert logged == []
    serving.peer.send(get_bytes(2))  # the pool goes on
    serving.until(2)


def test_a_plain_generator_that_holds_the_reactor_is_told_of() -> None:
    told: list[str] = []

    def observe(event: Any) -> None:
        if event["log_namespace"] == "txdicom.services.watchdog":
            told.append(formatEvent(event))

    def handler(request: Any) -> Iterator[Dataset]:
        yield study()
        end = time.monotonic() + 30.0
        while not told and time.monotonic() < end:
            time.sleep(0.01)

    calls = AddinCalls(Reactor(), watch_reactor=0.05)
    dispatcher = Dispatcher([QueryAddin(handler)], None, calls=calls)  # type: ignore[arg-type]
    peer = Peer(Acceptor(NetConfig(), AcceptAll(), dispatcher, calls.pool.reactor))
    peer.associate(*CONTEXTS)
    globalLogPublisher.addObserver(observe)
    calls.start()
    try:
        peer.send(find_bytes())
    finally:
        globalLogPublisher.removeObserver(observe)
        calls.watchdog.stop()
    assert peer.statuses() == [PENDING, 0]
    (text,) = told
    assert "add-in query: on_c_find has held the reactor" in text
    peer.lose()
