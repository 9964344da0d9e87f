"""How the handlers of a server's add-ins are called: in the reactor, watched, or in a thread; and how they fare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from txdicom.interfaces import is_blocking
from txdicom.interfaces.addin import name_of
from txdicom.services.blocking import AddinThreads, BlockingPool
from txdicom.services.health import Health
from txdicom.services.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from txdicom.services.request import Request


#: seconds that blocking handlers have to end at a stop, however long the associations took for theirs
_LAST: Final = 1.0


class AddinCalls:
    """What the handlers of one server share; `reactor` provides IReactorFDSet and IReactorTime.

    `threads` and `timeout` are those of `BlockingPool`; times are in seconds; `watch_reactor` 0: not watched.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        threads: int = 8,
        timeout: float = 300.0,
        drain_timeout: float = 30.0,
        watch_reactor: float = 0.0,
    ) -> None:
        self.pool = BlockingPool(reactor, threads, timeout)
        self.health = Health(self.pool)
        self.watchdog = Watchdog(watch_reactor)
        self._drain_timeout = drain_timeout
        self._until: float | None = None

    def configure(self, *, timeout: float, drain_timeout: float) -> None:
        """Has other times hold for calls to come."""
        self.pool.timeout = timeout
        self._drain_timeout = drain_timeout

    def handler(self, addin: object, name: str) -> Handler:
        """The method `name` of `addin`, as requests call it."""
        return Handler(self, addin, name)

    def start(self) -> None:
        """Begins to watch; called in the reactor."""
        self.watchdog.start()

    def drain(self) -> None:
        """The server begins to stop: `drain_timeout` runs for blocking handlers from now on, not from `stop` on."""
        if self._until is None:
            self._until = self.pool.reactor.seconds() + self._drain_timeout

    def stop(self) -> Deferred[None]:
        """Takes no more calls; fires when the blocking handlers have ended, or their time is over."""
        self.drain()
        assert self._until is not None
        self.watchdog.stop()
        return self.pool.stop(max(_LAST, self._until - self.pool.reactor.seconds()))


class Handler:
    """One `on_…` method of an add-in: called with a request it gives the answer, or a Deferred or coroutine of it.

    `addin` and `name` are those of the add-in and of the method; `threads` is where it runs if it is blocking, else
    None.
    """

    __slots__ = ("_call", "_method", "addin", "health", "name", "threads", "watchdog")

    def __init__(self, calls: AddinCalls, addin: object, name: str) -> None:
        self.addin = name_of(addin)
        self.name = name
        self.health = calls.health
        self.watchdog = calls.watchdog
        self._method: Callable[[Any], Any] = getattr(addin, name)
        self.threads: AddinThreads | None = calls.pool.of(self.addin) if is_blocking(self._method) else None
        self._call = self._in_thread if self.threads is not None else self._method

    def __call__(self, request: Request) -> Any:
        """Calls it, watched; what it raises is its own message's affair."""
        watchdog = self.watchdog
        watchdog.call = [self]
        try:
            return self._call(request)
        finally:
            watchdog.call = None

    def _in_thread(self, request: Request) -> Deferred[Any]:
        assert self.threads is not None
        request.hold()
        return self.threads.run_blocking(self._method, request, ended=request.unhold)
