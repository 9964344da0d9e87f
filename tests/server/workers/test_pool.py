"""The workers as one, with workers that do as they are told."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher

from txdicom.errors import BadArgument, ConnectionFailed, InternalError
from txdicom.net.config import NetConfig
from txdicom.server.workers import commands, pool
from txdicom.server.workers.channel import ChannelClosed, ChannelFull
from txdicom.server.workers.pool import Workers
from txdicom.server.workers.process import WorkerFailed


class FakeWorker:
    """`refuses` is what `hand_over` raises."""

    def __init__(self, reactor: Any, owner: Workers, index: int, lines: Any) -> None:
        self.owner, self.index = owner, index
        self.state, self.process = "starting", 1000 + index
        self.administrator: Any = None
        self.numbers: set[int] = set()
        self.half_open: set[int] = set()
        self.silent = self.rests = False
        self.born = reactor.seconds()
        self.changes = 0
        self.started: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self.calls: list[Any] = []
        self.got: list[Any] = []
        self.refuses: type[Exception] | None = None
        self.began: Any = None
        self.seconds = 0.0
        self.answers: Any = lambda command: succeed({})
        lines(b"")

    @property
    def connections(self) -> int:
        return len(self.numbers)

    @property
    def takes_connections(self) -> bool:
        return self.state in {"ready", "draining"}

    def spawn(self, start: Any) -> None:
        self.began = start

    def hand_over(self, number: int, secure: bool, connection: Any) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.numbers.add(number)
        self.half_open.add(number)
        self.got.append((number, secure))

    async def ask(self, command: Any, seconds: float, **arguments: Any) -> dict[str, Any]:
        self.calls.append((command, arguments))
        self.seconds = seconds
        return await self.answers(command)

    def drain(self) -> None:
        if self.state != "ended":
            self.state = "draining"

    def abort_all(self) -> None:
        self.calls.append("abort all")

    def kill(self) -> None:
        self.end("signal 9 (SIGKILL)")

    def free_slot(self, number: int) -> None:
        self.numbers.discard(number)
        self.owner.free_slot(self, number)  # type: ignore[arg-type]

    # -- what the test has it do

    def ready(self) -> FakeWorker:
        self.administrator = object()
        Deferred.fromCoroutine(self.owner.ready(self))  # type: ignore[arg-type]
        self.state = "ready"
        self.started.callback(None)
        return self

    def end(self, why: str = "status 0") -> None:
        self.state, self.administrator = "ended", None
        self.owner.exited(self, why)  # type: ignore[arg-type]
        if not self.started.called:
            self.started.errback(WorkerFailed(f"worker {self.index} has no licence"))
        self.gone.callback(None)


class Connection:
    closed = False

    def close(self) -> None:
        self.closed = True


class Values:
    def __init__(self, *values: int) -> None:
        self._values = values

    def values(self) -> Any:
        return self._values


class Stage:
    def __init__(self, **settings: Any) -> None:
        self.reactor = MemoryReactorClock()
        self.pool = Workers(
            self.reactor,
            "HERE",
            NetConfig(**settings),
            2,
            start_of=lambda index, first: Values(index, first),  # type: ignore[arg-type, return-value]
            lines_of=lambda index: lambda data: None,
            ae_file="aetitles.toml",
            addins=2,
        )
        self.done: list[Any] = []
        self.log: list[str] = []

    def begin(self) -> Stage:
        starting = Deferred.fromCoroutine(self.pool.start())
        starting.addBoth(self.done.append)
        return self

    def run(self) -> Stage:
        self.begin()
        for worker in self.workers:
            worker.ready()
        assert self.done == [None]
        return self

    @property
    def workers(self) -> list[FakeWorker]:
        return self.pool.workers  # type: ignore[return-value]

    @property
    def accepting(self) -> bool:
        return self.pool.ports.accepting

    def connect(self, *, secure: bool = False) -> Connection:
        connection = Connection()
        self.pool._came(connection, None, secure)  # type: ignore[arg-type]
        return connection

    def stop(self) -> list[Any]:
        stopped: list[Any] = []
        Deferred.fromCoroutine(self.pool.stop()).addBoth(stopped.append)
        return stopped


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(pool, "Worker", FakeWorker)
    made: list[Stage] = []

    def make(**settings: Any) -> Stage:
        made.append(Stage(**settings))
        return made[0]

    def observe(event: Any) -> None:
        if made and event["log_namespace"] in ("txdicom.server.workers.pool", "txdicom.server.workers.restarts"):
            made[0].log.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield make
    globalLogPublisher.removeObserver(observe)


def test_it_accepts_when_all_are_ready(stage: Any) -> None:
    made = stage().begin()
    one, other = made.workers
    assert (one.began, other.began) == ((1, 1_000_000_000), (2, 2_000_000_000))
    one.ready()
    assert (made.done, made.accepting) == ([], False)
    other.ready()
    assert (made.done, made.accepting) == ([None], True)


def test_one_that_cannot_start_ends_the_start(stage: Any) -> None:
    made = stage().begin()
    one, other = made.workers
    one.ready()
    other.end("status 1")
    [failure] = made.done
    assert failure.check(WorkerFailed)
    assert str(failure.value) == "worker 2 has no licence"
    assert (one.state, made.accepting) == ("draining", False)
    stopped = made.stop()
    assert stopped == []
    one.end()
    assert stopped == [None]
    assert made.reactor.getDelayedCalls() == []


def test_one_that_dies_while_the_other_starts_is_started_again(stage: Any) -> None:
    made = stage().begin()
    one, other = made.workers
    one.ready().end("signal 6 (SIGABRT)")
    other.ready()
    assert made.done == [None]
    made.reactor.advance(1)
    assert made.workers[0] is not one


def test_the_one_with_the_fewest_gets_the_next(stage: Any) -> None:
    made = stage().run()
    one, other = made.workers
    connections = [made.connect() for _ in range(3)]
    assert all(connection.closed for connection in connections)
    assert (one.got, other.got) == ([(1, False), (3, False)], [(2, False)])
    one.free_slot(1)
    one.free_slot(3)
    made.connect(secure=True)
    assert one.got[-1] == (4, True)
    assert (made.pool.worker_of(4), made.pool.worker_of(1)) == (one, None)


@pytest.mark.parametrize("refusal", [ChannelFull, ChannelClosed])
def test_one_that_takes_none_at_the_moment(stage: Any, refusal: type[Exception]) -> None:
    made = stage().run()
    made.workers[0].refuses = refusal
    assert [made.connect().closed for _ in range(2)] == [True, True]
    assert len(made.workers[1].got) == 2
    assert made.accepting


def test_where_all_are_full_the_next_waits(stage: Any) -> None:
    made = stage().run()
    for worker in made.workers:
        worker.refuses = ChannelFull
    waiting = made.connect()
    assert (waiting.closed, made.accepting, made.pool.slots.half_open) == (False, False, 0)
    made.reactor.advance(0.01)
    assert not made.accepting
    made.workers[1].refuses = None
    made.reactor.advance(0.01)
    assert (waiting.closed, made.accepting, made.pool.slots.half_open) == (True, True, 1)
    assert made.reactor.getDelayedCalls() == []


def test_the_one_that_waits_ends_with_the_server(stage: Any) -> None:
    made = stage().run()
    for worker in made.workers:
        worker.refuses = ChannelFull
    waiting = made.connect()
    made.stop()
    for worker in made.workers:
        worker.end()
    assert waiting.closed
    assert made.reactor.getDelayedCalls() == []


def test_the_limits_are_the_parents(stage: Any) -> None:
    made = stage(max_clients=1, max_half_open=2).run()
    one, other = made.workers
    made.connect()
    made.connect()
    assert made.connect().closed
    assert (len(one.got), len(other.got)) == (1, 1)
    assert made.pool.take_slot(one, 1, "A")
    assert not made.pool.take_slot(other, 2, "B")
    assert (made.pool.associations, made.pool.total) == (1, 1)
    one.end("signal 9 (SIGKILL)")
    assert (made.pool.associations, made.pool.worker_of(1)) == (0, None)
    assert made.pool.take_slot(other, 2, "B")
    assert made.pool.total == 2


def test_without_any_it_does_not_accept(stage: Any) -> None:
    made = stage().run()
    one, other = made.workers
    one.end("signal 9 (SIGKILL)")
    assert made.accepting
    other.end("signal 9 (SIGKILL)")
    assert not made.accepting
    made.reactor.advance(1)
    assert not made.accepting
    made.workers[1].ready()
    assert made.accepting


def test_one_that_dies_again_and_again_is_started_later_and_later(stage: Any) -> None:
    made = stage().run()
    delays = []
    for _ in range(9):
        made.workers[0].end("status 3")
        [restart] = made.reactor.getDelayedCalls()
        delays.append(restart.getTime() - made.reactor.seconds())
        made.reactor.advance(delays[-1])
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    made.workers[0].ready()
    made.reactor.advance(10)
    made.workers[0].end("signal 11 (SIGSEGV)")
    assert made.log[-1].startswith("worker 1 (process 1001) has ended: signal 11 (SIGSEGV); its 0 connections")
    assert made.log[-1].endswith("it is started again at once")
    made.reactor.advance(0)
    assert made.workers[0].state == "starting"
    assert "worker 1 could not start: worker 1 has no licence" in made.log


def test_one_that_served_is_started_again_soon_however_often_it_dies(stage: Any) -> None:
    made = stage().run()
    for _ in range(5):
        made.workers[0].end("signal 11 (SIGSEGV)")
        made.reactor.advance(1)
        made.workers[0].ready()
    assert [line for line in made.log if "again in" in line and not line.endswith("again in 1 s")] == []


def test_where_none_is_left_one_is_started_at_once(stage: Any) -> None:
    made = stage().run()
    for _ in range(4):  # its turn comes later and later
        made.workers[0].end("status 3")
        made.reactor.advance(8)
    made.workers[0].end("status 3")
    made.workers[1].end("signal 11 (SIGSEGV)")
    made.reactor.advance(0)
    assert [worker.state for worker in made.workers] == ["ended", "starting"]
    made.workers[1].end("status 3")
    made.reactor.advance(0.9)
    assert made.workers[1].state == "ended"
    made.reactor.advance(0.1)
    assert made.workers[1].state == "starting"


def test_one_that_cannot_even_be_spawned_is_tried_again(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stage().run()

    def fail(self: FakeWorker, start: Any) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(FakeWorker, "spawn", fail)
        made.workers[0].end("status 3")
        made.reactor.advance(1)
        expected = "worker 1 cannot be started: Resource temporarily unavailable; it is tried again in 2 s"
        assert made.log[-1] == expected
        made.workers[1].end("status 3")
        made.reactor.pump([1] * 20)  # with none left, each second
    made.reactor.advance(1)
    assert "starting" in [worker.state for worker in made.workers]


def test_one_that_dies_before_it_is_there_ends_the_start(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twisted may reap it in the call that starts it."""

    def die(self: FakeWorker, start: Any) -> None:
        if self.index == 1:
            self.state = "ended"
            self.owner.exited(self, "signal 9 (SIGKILL)")  # type: ignore[arg-type]

    monkeypatch.setattr(FakeWorker, "spawn", die)
    made = stage().begin()
    one, other = made.workers
    other.ready()
    one.started.errback(WorkerFailed("worker 1 has ended before it was ready"))
    [failure] = made.done
    assert failure.check(WorkerFailed)
    assert not made.accepting
    assert made.reactor.getDelayedCalls() == []


def test_a_second_that_cannot_be_spawned_ends_the_start(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: FakeWorker, start: Any) -> None:
        if self.index == 2:
            raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(FakeWorker, "spawn", refuse)
    made = stage().begin()
    [failure] = made.done
    assert failure.check(OSError)
    [one] = made.workers
    one.end()
    assert made.stop() == [None]


def test_one_started_again_amid_the_start_is_so_however_it_ends(stage: Any) -> None:
    """What was ready once does not end the start; nor is it forgotten."""
    made = stage().begin()
    made.workers[0].ready().end("signal 6 (SIGABRT)")
    for _ in range(2):
        made.reactor.advance(2)
        assert made.workers[0].state == "starting"
        made.workers[0].end("status 3")
    made.workers[1].ready()
    assert made.done == [None]


def test_who_is_ready_is_told(stage: Any) -> None:
    made = stage().run()
    made.workers[1].end("status 3")
    made.reactor.advance(1)
    made.workers[1].ready()
    ready = [line for line in made.log if line.endswith("is ready")]
    assert ready == ["worker 1 is ready", "worker 2 is ready", "worker 2 is ready"]


def test_one_that_hangs_is_left_out_and_does_not_fill_the_door(stage: Any) -> None:
    made = stage(max_half_open=3).run()
    one, other = made.workers
    for _ in range(3):
        made.connect()
    assert made.pool.take_slot(one, 1, "A")
    one.half_open.discard(1)
    assert (one.half_open, made.pool.slots.half_open) == ({3}, 2)
    one.silent = True
    made.pool.silence_changed(one)
    assert (made.pool.slots.half_open, made.pool.slots.clients) == (1, 1)
    one.free_slot(1)
    made.connect()
    made.connect()
    assert [len(worker.got) for worker in (one, other)] == [2, 3]
    one.silent = False
    made.pool.silence_changed(one)
    assert made.pool.slots.half_open == 4
    one.end("signal 9 (SIGKILL)")
    assert made.pool.slots.half_open == 3


def test_where_all_hang_one_of_them_gets_the_next(stage: Any) -> None:
    made = stage().run()
    for worker in made.workers:
        worker.silent = True
    assert made.connect().closed


def test_one_without_descriptors_gets_none(stage: Any) -> None:
    made = stage().run()
    one, other = made.workers
    one.rests = True
    for _ in range(2):
        made.connect()
    assert (len(one.got), len(other.got)) == (0, 2)
    other.rests = True
    waiting = made.connect()
    assert (waiting.closed, made.accepting) == (False, False)
    one.rests = False
    made.reactor.advance(0.01)
    assert (waiting.closed, made.accepting, len(one.got)) == (True, True, 1)


@pytest.mark.parametrize("before", [False, True])
def test_a_stop_by_force_kills_soon(stage: Any, before: bool) -> None:
    made = stage().run()
    if before:
        made.pool.abort_all()
    stopped = made.stop()
    made.reactor.advance(1)
    made.pool.abort_all()
    made.reactor.advance(3)
    assert stopped == []
    made.reactor.advance(2)
    assert stopped == [None]
    assert "worker 1 (process 1001) has not ended within 5 s: it is killed" in made.log
    assert made.reactor.getDelayedCalls() == []


def test_a_stop(stage: Any) -> None:
    """Those who come meanwhile are handed over: the worker rejects them."""
    made = stage().run()
    one, other = made.workers
    stopped = made.stop()
    assert (one.state, other.state, made.accepting) == ("draining", "draining", True)
    one.end()
    made.connect()
    assert len(other.got) == 1
    made.reactor.advance(34)
    assert other.state == "draining"
    made.reactor.advance(1)
    assert "worker 2 (process 1002) has not ended within 35 s: it is killed" in made.log
    assert (other.state, stopped, made.accepting) == ("ended", [None], False)
    assert made.reactor.getDelayedCalls() == []


def test_a_stop_before_a_restart(stage: Any) -> None:
    made = stage().run()
    made.workers[0].end("status 3")
    stopped = made.stop()
    made.workers[1].end()
    assert stopped == [None]
    assert made.reactor.getDelayedCalls() == []


async def test_settings_reach_all_also_who_begins_meanwhile(stage: Any) -> None:
    made = stage().run()
    made.workers[1].end("status 3")
    made.reactor.advance(1)
    late = made.workers[1]
    await made.pool.apply("text")
    expected = [(commands.Apply, {"text": "text"})]
    assert made.workers[0].calls == expected
    assert late.calls == []
    late.ready()
    assert late.calls == expected
    await made.pool.reload_files()
    assert late.calls[-1] == (commands.ReloadFiles, {})
    made.pool.abort_all()
    assert [worker.calls[-1] for worker in made.workers] == ["abort all", "abort all"]


async def test_one_that_begins_amid_a_change_gets_it_too(stage: Any) -> None:
    """It begins with what was in force before, whenever it is ready."""
    made = stage().run()
    answer: Deferred[dict[str, Any]] = Deferred()
    made.workers[0].answers = lambda command: answer
    applied: list[Any] = []
    Deferred.fromCoroutine(made.pool.apply("text")).addBoth(applied.append)
    for end in (lambda: None, lambda: answer.callback({})):
        made.workers[1].end("status 3")
        made.reactor.advance(60)
        late = made.workers[1]
        end()
        late.ready()
        assert late.calls == [(commands.Apply, {"text": "text"})]
    assert applied == [None]
    late.end("status 3")
    made.reactor.advance(60)
    assert made.workers[1].ready().calls == []


async def test_how_long_a_worker_may_take_for_settings(stage: Any) -> None:
    made = stage(addin_timeout=300).run()
    await made.pool.apply("text")
    assert made.workers[0].seconds == 630  # there are two add-ins with settings
    made.pool.slots.config = NetConfig(addin_timeout=0)
    await made.pool.reload_files()
    assert made.workers[0].seconds == 0
    made.workers[1].end("status 3")
    made.reactor.advance(60)
    late = made.workers[1]
    await made.pool.apply("other")
    made.pool.slots.config = NetConfig(addin_timeout=10)
    assert late.ready().seconds == 50


async def test_a_worker_that_dies_amid_a_change_does_not_hinder_it(stage: Any) -> None:
    made = stage().run()
    made.workers[0].answers = lambda command: fail(ConnectionFailed("worker 1 has ended meanwhile"))
    await made.pool.apply("text")
    made.workers[0].end("signal 11 (SIGSEGV)")
    made.workers[1].answers = made.workers[0].answers
    made.reactor.advance(60)
    with pytest.raises(InternalError, match="all workers have ended at Apply"):
        await made.pool.apply("text")


@pytest.mark.parametrize("error", [InternalError("worker 1 has not answered"), BadArgument(["no"])])
async def test_a_worker_that_does_not_take_a_change(stage: Any, error: Exception) -> None:
    made = stage().run()
    made.workers[0].answers = lambda command: fail(error)
    made.workers[1].answers = lambda command: fail(ConnectionFailed("worker 2 has ended meanwhile"))
    with pytest.raises(type(error)):
        await made.pool.apply("text")
