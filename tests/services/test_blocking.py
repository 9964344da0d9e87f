"""txdicom.services.blocking: bounded, fair between add-ins, and never waited for by the reactor."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogPublisher

from tests.services.threads import Gate, Reactor
from txdicom.services.blocking import END, BlockingPool, Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from twisted.logger import LogEvent


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def pool_of(reactor: Reactor, gate: Gate) -> Generator[Callable[..., BlockingPool]]:
    """Makes pools; at the end nothing of them is left."""
    pools: list[BlockingPool] = []

    def make(size: int = 8, timeout: float = 300.0) -> BlockingPool:
        pools.append(BlockingPool(reactor, size, timeout))
        return pools[-1]

    yield make
    gate.open()
    for pool in pools:
        done = pool.stop(10)
        reactor.until(lambda done=done: done.called)
    assert not reactor.readers
    assert not reactor.getDelayedCalls()


@pytest.fixture
def logged() -> Generator[list[str]]:
    """What the pool logged, as format strings."""
    events: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"] == "txdicom.services.blocking":
            events.append(event["log_format"].format_map(event))

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


def gathered(deferreds: list[Deferred[Any]]) -> list[Any]:
    results: list[Any] = []
    for one in deferreds:
        one.addBoth(results.append)
    return results


def threads() -> int:
    return sum(thread.name.startswith("txdicom-addin") for thread in threading.enumerate())


# -- calls -------------------------------------------------------------------------------------------------------------


def test_a_result_comes_back_to_the_reactor(pool_of: Any, reactor: Reactor) -> None:
    addin = pool_of().of("one")
    where: list[str] = []

    def work(a: int, b: int) -> int:
        where.append(threading.current_thread().name)
        return a * b

    results = gathered([addin.run_blocking(work, 6, 7)])
    assert results == []  # never before the reactor turns
    reactor.until(lambda: results)
    assert results == [42]
    assert where == ["txdicom-addin-1"]


@pytest.mark.parametrize("error", [KeyError("a"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_is_raised_comes_back_too(pool_of: Any, reactor: Reactor, error: BaseException) -> None:
    addin = pool_of(1).of("one")

    def raising() -> None:
        raise error

    results = gathered([addin.run_blocking(raising), addin.run_blocking(lambda: "next")])
    reactor.until(lambda: len(results) == 2)
    assert results[0].value is error
    assert results[1] == "next"


async def _coroutine() -> int:
    return 0


@pytest.mark.parametrize("result", [Deferred, _coroutine])
def test_what_waits_by_itself_is_no_result(pool_of: Any, reactor: Reactor, result: Any) -> None:
    results = gathered([pool_of().of("one").run_blocking(result)])
    reactor.until(lambda: results)
    assert results[0].check(TypeError)


def test_threads_are_made_when_needed_and_used_again(pool_of: Any, reactor: Reactor) -> None:
    before = threads()
    pool = pool_of(4)
    addin = pool.of("one")
    assert threads() == before
    for _ in range(5):
        results = gathered([addin.run_blocking(int)])
        reactor.until(lambda results=results: results)
    assert threads() == before + 1


def test_no_more_than_there_may_be(pool_of: Any, reactor: Reactor, gate: Gate) -> None:
    addin = pool_of(3).of("one")
    results = gathered([addin.run_blocking(gate, number) for number in range(10)])
    reactor.until(lambda: gate.inside == 3)
    assert (len(addin.running), len(addin.waiting)) == (3, 7)
    gate.open()
    reactor.until(lambda: len(results) == 10)
    assert sorted(results) == list(range(10))


def test_a_thread_that_cannot_be_made(pool_of: Any, reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    addin = pool_of().of("one")
    ended: list[int] = []
    monkeypatch.setattr(threading.Thread, "start", start)
    results = gathered([addin.run_blocking(int, ended=lambda: ended.append(1))])
    assert results[0].check(RuntimeError)
    assert ended == [1]
    monkeypatch.undo()
    again = gathered([addin.run_blocking(int)])
    reactor.until(lambda: again)
    assert again == [0]


def test_a_thread_that_waits_keeps_nothing_of_its_last_call(pool_of: Any, reactor: Reactor) -> None:
    import gc
    import weakref

    class Large:
        pass

    large = Large()
    reference = weakref.ref(large)
    results = gathered([pool_of().of("one").run_blocking(lambda _: None, large)])
    del large
    reactor.until(lambda: results)
    gc.collect()
    assert reference() is None


# -- fairness ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "addins", "most", "least"), [(8, 1, 8, 4), (8, 2, 6, 2), (8, 4, 5, 1), (1, 1, 1, 1), (2, 5, 1, 1)]
)
def test_shares(pool_of: Any, size: int, addins: int, most: int, least: int) -> None:
    pool = pool_of(size)
    made = [pool.of(str(number)) for number in range(addins)]
    assert {one.most for one in made} == {most}
    assert pool.share == least
    assert most + least * (addins - 1) == max(size, addins)


def test_one_that_blocks_for_ever_leaves_the_others_theirs(pool_of: Any, reactor: Reactor, gate: Gate) -> None:
    pool = pool_of(4)
    bad, good, late = pool.of("bad"), pool.of("good"), pool.of("late")
    for _ in range(50):
        bad.run_blocking(gate).addErrback(lambda _: None)
    reactor.until(lambda: gate.inside == 2)
    results = gathered([one.run_blocking(int) for _ in range(20) for one in (good, late)])
    reactor.until(lambda: len(results) == 40)
    assert (len(bad.running), len(bad.waiting)) == (2, 48)
    assert results == [0] * 40


def test_the_one_with_fewer_under_way_is_next(pool_of: Any, reactor: Reactor, gate: Gate) -> None:
    """A long queue of one add-in does not keep another waiting for its end."""
    pool = pool_of(4)
    many, few = pool.of("many"), pool.of("few")
    first = Gate()
    calls = [many.run_blocking(gate), many.run_blocking(gate), many.run_blocking(first), few.run_blocking(gate)]
    reactor.until(lambda: gate.inside == 3 and first.inside)
    calls += [many.run_blocking(gate) for _ in range(20)] + [few.run_blocking(gate)]
    results = gathered(calls)
    first.open()
    reactor.until(lambda: results)
    assert (len(many.running), len(few.running)) == (2, 2)
    assert (len(many.waiting), len(few.waiting)) == (20, 0)


def test_those_with_as_many_under_way_take_turns(pool_of: Any, reactor: Reactor, gate: Gate) -> None:
    pool = pool_of(3)
    one, two = pool.of("one"), pool.of("two")
    order: list[str] = []
    first = Gate()
    calls = [one.run_blocking(gate), two.run_blocking(gate), one.run_blocking(first)]
    reactor.until(lambda: gate.inside == 2 and first.inside)
    for _ in range(5):
        calls += [addin.run_blocking(order.append, addin.name) for addin in (one, two)]
    results = gathered(calls)
    first.open()
    reactor.until(lambda: len(results) == 11)
    assert order == ["two", "one"] * 5


# -- cancelled ---------------------------------------------------------------------------------------------------------


def test_one_that_waits_is_not_made(pool_of: Any, reactor: Reactor, gate: Gate) -> None:
    addin = pool_of(1).of("one")
    ended: list[str] = []
    made: list[int] = []
    first = gathered([addin.run_blocking(gate)])
    waiting = addin.run_blocking(made.append, 1, ended=lambda: ended.append("second"))
    results = gathered([waiting])
    waiting.cancel()
    assert results[0].check(CancelledError)
    assert ended == ["second"]
    assert not addin.waiting
    gate.open()
    reactor.until(lambda: first)
    assert made == []


def test_one_that_runs_goes_on_and_is_not_heard(pool_of: Any, reactor: Reactor, gate: Gate) -> None:
    addin = pool_of(1).of("one")
    ended: list[int] = []
    running = addin.run_blocking(gate, "late", ended=lambda: ended.append(1))
    results = gathered([running])
    reactor.until(lambda: gate.inside)
    running.cancel()
    assert results.pop().check(CancelledError)
    assert (ended, len(addin.running)) == ([], 1)
    gate.open()
    reactor.until(lambda: ended)
    assert (ended, len(addin.running), results) == ([1], 0, [])


def test_stuck_from_its_time_out_until_it_ends(pool_of: Any, reactor: Reactor, gate: Gate, logged: list[str]) -> None:
    pool = pool_of(4, timeout=10.0)
    addin, _ = pool.of("slow"), pool.of("other")

    def query() -> Any:
        return gate()

    results = gathered([addin.run_blocking(query)])
    reactor.advance(1)
    results += gathered([addin.run_blocking(query)])
    reactor.until(lambda: gate.inside == 2)
    reactor.advance(8.5)
    assert (addin.stuck, logged) == ((), [])
    reactor.advance(2)
    assert addin.stuck == (11.5, 10.5)
    assert len(logged) == 2
    assert logged[0].startswith("add-in slow: query still runs after 10 s (addin_timeout)")
    reactor.advance(1000)
    assert len(logged) == 2
    gate.open()
    reactor.until(lambda: len(logged) == 4)
    assert addin.stuck == ()
    assert sorted(logged[2:]) == [
        f"add-in slow: query has ended after {n} s; its thread is free again" for n in (1010, 1012)
    ]


def test_without_a_time_limit_none_is_stuck(pool_of: Any, reactor: Reactor, gate: Gate) -> None:
    addin = pool_of(1, timeout=0.0).of("one")
    results = gathered([addin.run_blocking(gate)])
    reactor.advance(1e6)
    assert addin.stuck == ()
    gate.open()
    reactor.until(lambda: results)


# -- stopping ----------------------------------------------------------------------------------------------------------


def test_a_stop_waits_for_what_runs_and_takes_nothing_more(pool_of: Any, reactor: Reactor, gate: Gate) -> None:
    pool = pool_of(1)
    addin = pool.of("one")
    running, waiting = gathered([addin.run_blocking(gate, 5)]), gathered([addin.run_blocking(gate)])
    reactor.until(lambda: gate.inside)
    first, second = pool.stop(30), pool.stop(30)
    assert waiting[0].check(CancelledError)
    ended: list[int] = []
    late = gathered([addin.run_blocking(int, ended=lambda: ended.append(1))])
    assert late[0].check(CancelledError)
    assert ended == [1]
    assert not first.called
    gate.open()
    reactor.until(lambda: first.called and second.called)
    assert running == [5]
    assert pool.stop(30).called


def test_a_stop_does_not_wait_for_ever(pool_of: Any, reactor: Reactor, gate: Gate, logged: list[str]) -> None:
    pool = pool_of(2)
    addin = pool.of("slow")
    ended: list[int] = []

    def export() -> None:
        gate()

    results = gathered([addin.run_blocking(export, ended=lambda: ended.append(1))])
    reactor.until(lambda: gate.inside)
    done = pool.stop(30)
    reactor.advance(29)
    assert not done.called
    reactor.advance(1)
    assert done.called
    assert ended == [1]
    assert logged == ["add-in slow: 1 blocking calls have not ended in time for the stop: export"]
    assert not reactor.readers
    thread = next(one for one in threading.enumerate() if one.name.startswith("txdicom-addin"))
    assert thread.daemon  # the process can end
    gate.open()
    thread.join(10)
    assert not thread.is_alive()
    assert results == []


def test_stopping_one_that_was_never_used(pool_of: Any) -> None:
    pool = pool_of()
    assert pool.stop(30).called
    assert gathered([pool.of("one").run_blocking(int)])[0].check(CancelledError)


# -- generators --------------------------------------------------------------------------------------------------------


def test_a_generator_step_by_step(pool_of: Any, reactor: Reactor) -> None:
    names: set[str] = set()
    ended: list[int] = []

    def generator() -> Iterator[int]:
        for number in range(3):
            names.add(threading.current_thread().name)
            yield number

    steps = Steps(pool_of().of("one"), generator(), lambda: ended.append(1))
    seen: list[Any] = []
    while END not in seen:
        step = gathered([steps.next()])
        reactor.until(lambda step=step: step)
        seen += step
    assert seen == [0, 1, 2, END]
    assert names == {"txdicom-addin-1"}
    assert ended == []
    steps.close()
    steps.close()
    reactor.until(lambda: ended)
    assert ended == [1]


def test_closing_amid_a_step_waits_for_it(pool_of: Any, reactor: Reactor, gate: Gate) -> None:
    """A generator that runs cannot be closed, and its `finally` belongs into a thread as well."""
    log: list[str] = []

    def generator() -> Iterator[int]:
        try:
            yield gate(1)
        finally:
            log.append(threading.current_thread().name)

    steps = Steps(pool_of().of("one"), generator(), lambda: log.append("ended"))
    step = steps.next()
    results = gathered([step])
    reactor.until(lambda: gate.inside)
    step.cancel()
    steps.close()
    assert log == []
    gate.open()
    reactor.until(lambda: "ended" in log)
    assert log == ["txdicom-addin-1", "ended"]
    assert results[0].check(CancelledError)


def test_a_generator_that_fails(pool_of: Any, reactor: Reactor, logged: list[str]) -> None:
    def generator() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise KeyError("patient")

    ended: list[int] = []
    steps = Steps(pool_of().of("one"), generator(), lambda: ended.append(1))
    step = gathered([steps.next()])
    reactor.until(lambda: step)
    steps.close()
    reactor.until(lambda: ended and logged)
    assert logged == ["add-in one: the end of an iterator failed"]


def test_an_iterator_that_cannot_be_closed(pool_of: Any, reactor: Reactor) -> None:
    ended: list[int] = []
    steps = Steps(pool_of().of("one"), iter([1]), lambda: ended.append(1))
    steps.close()
    reactor.until(lambda: ended)


def test_closing_after_the_stop(pool_of: Any) -> None:
    ended: list[int] = []
    pool = pool_of()
    pool.stop(1)
    Steps(pool.of("one"), iter([1]), lambda: ended.append(1)).close()
    assert ended == [1]


# -- with Twisted's own reactor ----------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_hundreds_of_calls_on_the_reactor() -> None:
    from twisted.internet import reactor
    from twisted.internet.defer import gatherResults

    pool = BlockingPool(reactor, 8, 300.0)
    addins = [pool.of(str(number)) for number in range(4)]
    calls = [addin.run_blocking(abs, -number) for number in range(200) for addin in addins]
    assert await gatherResults(calls) == [number for number in range(200) for _ in addins]
    await pool.stop(10)


def test_a_process_ends_although_a_thread_does_not() -> None:
    program = """
import threading
from twisted.internet import reactor
from txdicom.services.blocking import BlockingPool
pool = BlockingPool(reactor, 2, 0.1)
pool.of("slow").run_blocking(threading.Event().wait).addErrback(lambda _: None)
def end():
    assert pool.of("slow").stuck
    pool.stop(0.1).addCallback(lambda _: reactor.stop())
reactor.callLater(0.3, end)
reactor.run()
print("ended")
"""
    command = [sys.executable, "-W", "error", "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert (run.returncode, run.stdout) == (0, "ended\n"), run.stderr
