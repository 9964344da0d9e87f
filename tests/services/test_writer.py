"""txdicom.services.writer: one thread, in groups, one call back for all."""

from __future__ import annotations

import select
import threading
from typing import TYPE_CHECKING, Any

import pytest
from twisted.logger import globalLogPublisher

from txdicom.services.writer import WriterThread

if TYPE_CHECKING:
    from collections.abc import Generator

    from twisted.logger import LogEvent


class Calls:
    """Stands for the reactor: what the thread has finished waits until `run`."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def wait(self) -> bool:
        """Whether something is finished, within 10 s."""
        return bool(select.select(self.readers, [], [], 10)[0])

    def run(self) -> int:
        ready = select.select(self.readers, [], [], 0)[0]
        for reader in ready:
            reader.doRead()
        return len(ready)


@pytest.fixture
def calls() -> Calls:
    return Calls()


def stop(writer: WriterThread, calls: Calls) -> None:
    """Stops the thread and runs what it asked the reactor to call."""
    done = writer.stop()
    while writer._thread.is_alive():
        writer._thread.join(10)
    calls.run()
    assert done.called


@pytest.fixture
def writer(calls: Calls) -> Generator[WriterThread]:
    thread = WriterThread(calls)
    yield thread
    stop(thread, calls)


@pytest.fixture
def logged() -> Generator[list[LogEvent]]:
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def test_what_waits_is_handed_over_in_groups_by_handler(writer: WriterThread, calls: Calls) -> None:
    groups: list[tuple[str, list[int]]] = []
    done: list[int] = []
    names: set[str] = set()

    def one(items: list[int]) -> None:
        names.add(threading.current_thread().name)
        groups.append(("one", list(items)))

    def two(items: list[int]) -> None:
        groups.append(("two", list(items)))

    for number in range(6):
        writer.submit(two if number in {1, 4} else one, number, done.append)
    writer.start()
    assert calls.wait()
    assert groups == [("one", [0, 2, 3, 5]), ("two", [1, 4])]
    assert done == []
    assert calls.run() == 1
    assert done == list(range(6))
    assert names == {"txdicom-writer"}


def test_the_next_group_gathers_while_one_is_written(writer: WriterThread, calls: Calls) -> None:
    sizes: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def handler(items: list[int]) -> None:
        sizes.append(len(items))
        begun.set()
        go_on.wait(10)

    writer.start()
    writer.submit(handler, 0, lambda _: None)
    assert begun.wait(10)
    for number in range(1, 50):
        writer.submit(handler, number, lambda _: None)
    go_on.set()
    stop(writer, calls)
    assert sizes == [1, 49]


def test_a_handler_that_fails_is_logged_and_its_items_hear_of_the_end(
    writer: WriterThread, calls: Calls, logged: list[LogEvent]
) -> None:
    done: list[Any] = []

    def broken(items: list[Any]) -> None:
        raise RuntimeError("a mistake")

    writer.submit(broken, "item", done.append)
    writer.start()
    assert calls.wait()
    calls.run()
    assert done == ["item"]
    assert any("log_failure" in event for event in logged)
    writer.submit(lambda items: None, "next", done.append)
    assert calls.wait()
    calls.run()
    assert done == ["item", "next"]


def test_a_call_back_that_fails_does_not_keep_it_from_the_others(
    writer: WriterThread, calls: Calls, logged: list[LogEvent]
) -> None:
    done: list[Any] = []

    def broken(item: Any) -> None:
        raise RuntimeError("a mistake")

    writer.submit(lambda items: None, 1, broken)
    writer.submit(lambda items: None, 2, done.append)
    writer.start()
    stop(writer, calls)
    assert done == [2]
    assert any("log_failure" in event for event in logged)


def test_stopping_finishes_what_waits(writer: WriterThread, calls: Calls) -> None:
    written: list[int] = []
    writer.start()
    for number in range(1_000):
        writer.submit(written.extend, number, lambda _: None)
    stop(writer, calls)
    assert written == list(range(1_000))
    stop(writer, calls)


def test_stopping_twice(writer: WriterThread, calls: Calls) -> None:
    go_on = threading.Event()
    writer.start()
    writer.submit(lambda items: go_on.wait(10), 1, lambda _: None)
    first, second = writer.stop(), writer.stop()
    assert not first.called
    go_on.set()
    stop(writer, calls)
    assert first.called
    assert second.called


def test_stopping_one_that_was_never_started(calls: Calls) -> None:
    stop(WriterThread(calls), calls)


def test_what_is_cleaned_up_after_the_stop_is_done_at_once(
    writer: WriterThread, calls: Calls, logged: list[LogEvent]
) -> None:
    """Else a staged file would stay, and its descriptor."""
    writer.start()
    stop(writer, calls)
    done: list[Any] = []
    written: list[int] = []
    writer.submit(written.extend, 1, done.append)
    assert (written, done) == ([1], [1])

    def broken(items: list[Any]) -> None:
        raise RuntimeError("a mistake")

    writer.submit(broken, 2, done.append)
    assert done == [1, 2]
    assert any("log_failure" in event for event in logged)
