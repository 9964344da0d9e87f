"""The threads in which handlers marked `@blocking` run: a bounded pool that the add-ins of one server share.

Half of the threads are set aside in equal parts, at least one for each add-in that blocks; the other half goes to
whoever needs it. So calls that never come back take at most what is not set aside for the other add-ins. Of those that
wait, the add-in with the fewest calls under way is served first.

Who runs and who waits is decided in the reactor alone; a thread takes a call, performs it and hands it back.
"""

from __future__ import annotations

from collections import OrderedDict
from queue import SimpleQueue
from threading import Lock, Thread
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdicom.services.handback import Handback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.internet.interfaces import IDelayedCall

_log = Logger()

#: what `Steps.next` gives after the last item
END: Final = object()


def _nothing() -> None:
    pass


class BlockingPool:
    """The threads of one server, made when they are first needed.

    `size` is how many at most, but each add-in can have one; `timeout` the seconds after which a call that still runs
    counts as stuck, 0: never. `reactor` provides IReactorFDSet and IReactorTime.
    """

    def __init__(self, reactor: Any, size: int, timeout: float) -> None:
        self.reactor = reactor
        self.timeout = timeout
        self.addins: dict[str, AddinThreads] = {}
        self._size = size
        self._jobs: SimpleQueue[_Call | None] = SimpleQueue()
        self._back = Handback(reactor)
        self._lock = Lock()  # a thread must not write to the pipe once it is closed: its number may be another file's
        self._closed = False
        self._threads = 0
        self._running = 0
        self._turns = 0
        self._stopping: IDelayedCall | None = None
        self._waiters: list[Deferred[None]] = []

    @property
    def size(self) -> int:
        """How many threads there may be."""
        return max(self._size, len(self.addins))

    @property
    def share(self) -> int:
        """How many of them are set aside for each add-in."""
        return max(1, self.size // (2 * max(1, len(self.addins))))

    @property
    def stopping(self) -> bool:
        """Whether no more calls are taken."""
        return self._closed or self._stopping is not None

    def of(self, addin: str) -> AddinThreads:
        """The pool as `addin` has it; from now on some threads are set aside for it."""
        if addin not in self.addins:
            self.addins[addin] = AddinThreads(self, addin)
        return self.addins[addin]

    def stop(self, seconds: float) -> Deferred[None]:
        """Cancels what waits and gives what runs so many seconds; fires then, whether or not all has ended.

        A thread that has not is left alone: it does not keep the process from ending.
        """
        done: Deferred[None] = Deferred()
        if self._closed or not self._threads:
            self._closed = True
            done.callback(None)
            return done
        self._waiters.append(done)
        if self._stopping is None:
            self._stopping = self.reactor.callLater(seconds, self._close)
            for addin in self.addins.values():
                addin.cancel_waiting()
            self._end()
        return done

    # -- in the reactor ------------------------------------------------------------------------------------------------

    def fill(self) -> None:
        """Has those run that wait, as far as there are threads for them."""
        while (addin := self._next()) is not None:
            self._turns += 1
            addin.turn = self._turns
            self._begin(addin.take())

    def _next(self) -> AddinThreads | None:
        """Whose call is next: of the add-ins that may have a thread the one with the fewest calls under way."""
        waiting = [addin for addin in self.addins.values() if addin.waiting]
        if not waiting:
            return None
        size, share = self.size, self.share
        taken = sum(max(len(addin.running), share) for addin in self.addins.values())
        may = [one for one in waiting if taken - max(len(one.running), share) + len(one.running) < size]
        return min(may, key=lambda addin: (len(addin.running), addin.turn), default=None)

    def _begin(self, call: _Call) -> None:
        if self._running == self._threads:
            try:
                Thread(target=self._run, name=f"txdicom-addin-{self._threads + 1}", daemon=True).start()
            except RuntimeError:  # the system has no more of them
                call.finish(Failure())
                return
            if not self._threads:
                self._back.open()
            self._threads += 1
        self._running += 1
        call.addin.running[call] = None
        self._jobs.put(call)

    def _ended(self, call: _Call) -> None:
        self._running -= 1
        del call.addin.running[call]
        self.fill()  # first: else the add-in's next request would overtake those that wait
        call.finish(call.result)
        self._end()

    def _end(self) -> None:
        """At a stop: when nothing runs any more."""
        if self._stopping is not None and not self._running:
            self._close()

    def _close(self) -> None:
        if self._stopping is not None and self._stopping.active():
            self._stopping.cancel()
        with self._lock:
            self._closed = True
            self._back.close()
        self._stopping = None
        for _ in range(self._threads):
            self._jobs.put(None)
        for addin in self.addins.values():
            addin.abandon()
        waiters, self._waiters = self._waiters, []
        for done in waiters:
            done.callback(None)

    # -- in a thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._perform(self._jobs.get()):  # a thread that waits for the next call keeps nothing of the last
            pass

    def _perform(self, call: _Call | None) -> bool:
        if call is None:
            return False
        try:
            call.result = call.function(*call.args)
        except BaseException:  # noqa: BLE001 (whatever it raises harms only its own message, SystemExit too)
            call.result = Failure()
        with self._lock:
            if not self._closed:
                self._back.call([(self._ended, call)])
        return True


class AddinThreads:
    """The pool as one add-in has it: its calls under way and those that wait for a thread."""

    def __init__(self, pool: BlockingPool, name: str) -> None:
        self.name = name
        self.running: dict[_Call, None] = {}
        self.waiting: OrderedDict[_Call, None] = OrderedDict()
        self.turn = 0  # when it was given a thread the last time, counted in threads given
        self.pool = pool

    def run_blocking(
        self, function: Callable[..., Any], *args: Any, ended: Callable[[], None] = _nothing
    ) -> Deferred[Any]:
        """Fires with what `function(*args)` returns in a thread, or fails with what it raises.

        Cancelled, a call that waits for a thread is not made; one that runs goes on, and its result is dropped.
        `ended` is called, in the reactor, when the function has really ended or will not be called any more.
        """
        call = _Call(self, function, args, ended)
        deferred = call.deferred
        if self.pool.stopping:
            call.finish(Failure(CancelledError("the server stops")))
        else:
            call.watch()
            self.waiting[call] = None
            self.pool.fill()
        return deferred

    @property
    def stuck(self) -> tuple[float, ...]:
        """How long each call has lasted, in seconds, that still runs after its time: the longest first."""
        now = self.pool.reactor.seconds()
        return tuple(sorted((now - call.since for call in self.running if call.stuck), reverse=True))

    @property
    def most(self) -> int:
        """How many threads it can have at once."""
        return self.pool.size - self.pool.share * (len(self.pool.addins) - 1)

    def take(self) -> _Call:
        """The call that has waited longest."""
        return self.waiting.popitem(last=False)[0]

    def cancel_waiting(self) -> None:
        """None of those that wait is made."""
        for call in list(self.waiting):
            call.deferred.cancel()

    def abandon(self) -> None:
        """Nobody hears of what still runs."""
        if self.running:
            _log.warn(
                "add-in {addin}: {count} blocking calls have not ended in time for the stop: {what}",
                addin=self.name,
                count=len(self.running),
                what=", ".join(sorted({call.name for call in self.running})),
            )
        for call in list(self.running):
            call.let_go()


class _Call:
    """One call of a function in a thread."""

    __slots__ = ("_ended", "_timer", "addin", "args", "deferred", "function", "result", "since", "stuck")

    def __init__(
        self, addin: AddinThreads, function: Callable[..., Any], args: tuple[Any, ...], ended: Callable[[], None]
    ) -> None:
        self.addin = addin
        self.function = function
        self.args = args
        self.result: Any = None
        self.deferred: Deferred[Any] = Deferred(self._cancelled)
        self.since: float = addin.pool.reactor.seconds()
        self.stuck = False
        self._ended = ended
        self._timer: IDelayedCall | None = None

    @property
    def name(self) -> str:
        """What the log calls it."""
        return str(getattr(self.function, "__name__", "a function"))

    def watch(self) -> None:
        """From the time-out on it is stuck, if it still runs."""
        if self.addin.pool.timeout:
            self._timer = self.addin.pool.reactor.callLater(self.addin.pool.timeout, self._overdue)

    def finish(self, result: Any) -> None:
        """It has ended, or cannot be made; whoever waits for it is told."""
        if self.stuck:
            _log.info(
                "add-in {addin}: {name} has ended after {seconds:.0f} s; its thread is free again",
                addin=self.addin.name,
                name=self.name,
                seconds=self.addin.pool.reactor.seconds() - self.since,
            )
        self.result = None
        self.let_go()
        if isinstance(result, CoroutineType):
            result.close()
        if self.deferred.called:  # cancelled: it comes too late
            return
        if isinstance(result, Deferred | CoroutineType):
            error = TypeError(f"a @blocking handler must return its answer, not a {type(result).__name__}")
            self.deferred.errback(Failure(error))
        else:
            self.deferred.callback(result)

    def let_go(self) -> None:
        """The function's arguments are not needed any more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.args = ()
        ended, self._ended = self._ended, _nothing
        ended()

    def _cancelled(self, _: Deferred[Any]) -> None:
        if self.addin.waiting.pop(self, self) is None:  # else it runs, and a thread cannot be stopped
            self.let_go()

    def _overdue(self) -> None:
        addin = self.addin
        if self not in addin.running:
            return
        self.stuck = True
        _log.warn(
            "add-in {addin}: {name} still runs after {seconds:g} s (addin_timeout) and keeps its thread;"
            " so do {count} of the {most} calls that this add-in can have at once",
            addin=addin.name,
            name=self.name,
            seconds=addin.pool.timeout,
            count=len(addin.stuck),
            most=addin.most,
        )


class Steps:
    """A blocking iterator, a generator above all, advanced in the threads of its add-in one step at a time.

    `close` has to be called at the end in any case; `ended` is called when nothing of the iterator runs any more.
    """

    def __init__(self, addin: AddinThreads, iterator: Iterator[Any], ended: Callable[[], None] = _nothing) -> None:
        self._addin = addin
        self._iterator = iterator
        self._ended = ended
        self._running = False
        self._closing = False

    def next(self) -> Deferred[Any]:
        """Fires with the next item, or `END`; fails with what the iterator raises. Not before the last has fired."""
        self._running = True
        return self._addin.run_blocking(next, self._iterator, END, ended=self._stepped)

    def close(self) -> None:
        """Has a generator's `finally` run, in a thread too: at once, or after the step that is under way."""
        if not self._closing:
            self._closing = True
            if not self._running:
                self._close()

    def _stepped(self) -> None:
        self._running = False
        if self._closing:
            self._close()

    def _close(self) -> None:
        close = getattr(self._iterator, "close", _nothing)
        self._addin.run_blocking(close, ended=self._ended).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            _log.failure("add-in {addin}: the end of an iterator failed", failure, addin=self._addin.name)
