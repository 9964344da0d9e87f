"""All deadlines of one connection behind a single timer of the reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadlines:
    """Named points in time with what to do then.

    Setting and clearing one is a dictionary's work; the reactor's timer moves only to an earlier time. A deadline that
    was cleared costs at most one empty wake-up.
    """

    __slots__ = ("_at", "_clock", "_due", "_timer")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._due: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._timer: IDelayedCall | None = None
        self._at = 0.0

    def set(self, key: Hashable, seconds: float, expire: Callable[[], None]) -> None:
        """`expire` is called in `seconds`, unless `key` is set again or cleared before; 0 seconds: never."""
        if not seconds:
            self._due.pop(key, None)
            return
        at = self._clock.seconds() + seconds
        self._due[key] = (at, expire)
        if self._timer is None:
            self._at = at
            self._timer = self._clock.callLater(seconds, self._fire)
        elif at < self._at:
            self._at = at
            self._timer.reset(seconds)

    def clear(self, key: Hashable) -> None:
        """Forgets the deadline, if there is one."""
        self._due.pop(key, None)

    def clear_all(self) -> None:
        """Forgets every deadline and stops the timer."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        try:
            for key, (at, expire) in list(self._due.items()):
                # an earlier one's `expire` may have cleared or moved it
                if at <= now and self._due.get(key) == (at, expire):
                    del self._due[key]
                    expire()
        finally:  # one that raises must not take the others' timer along
            if self._due and self._timer is None:
                self._at = min(at for at, _ in self._due.values())
                self._timer = self._clock.callLater(max(0.0, self._at - now), self._fire)
