"""When a worker that has ended is started again: soon where it has served, later and later where it has not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall

_log = Logger()

#: one that was ready and lived for fewer seconds than this is started again after `_SHORT_DELAY`, else at once
_SHORT_LIFE: Final = 10.0
#: a peer whose instances end workers must not keep the machine busy, nor the others out
_SHORT_DELAY: Final = 1.0
#: what the growing delay of those that were not ready begins with, and where it ends
_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 60.0
#: seconds between the starts of workers where there is no other
_LAST_HOPE: Final = 1.0


class Restarts:
    """`spawn` starts the worker of an index (OSError where it cannot); `alive`: whether any is ready or starting."""

    def __init__(self, reactor: Any, spawn: Callable[[int], None], alive: Callable[[], bool]) -> None:
        self._reactor = reactor
        self._spawn = spawn
        self._alive = alive
        self._delays: dict[int, float] = {}
        self._planned: dict[int, IDelayedCall] = {}
        self._last = -math.inf

    def after(self, index: int, *, ready: bool, lived: float = 0.0) -> float:
        """One has ended that lived so many seconds and was `ready` or not; seconds until the next one."""
        if ready:
            delay = _SHORT_DELAY if lived < _SHORT_LIFE else 0.0
        else:
            delay = min(max(_FIRST_DELAY, 2 * self._delays.get(index, 0.0)), _LONGEST_DELAY)
        self._delays[index] = delay
        planned = self._planned[index] = self._reactor.callLater(delay, self._start, index)
        if not self._alive():
            self._hurry()
        seconds: float = planned.getTime() - self._reactor.seconds()
        return round(max(0.0, seconds), 1)

    def cancel(self) -> None:
        """None is started any more."""
        for planned in self._planned.values():
            planned.cancel()
        self._planned.clear()

    def _hurry(self) -> None:
        """Nobody serves: the next one is not waited for."""
        now = self._reactor.seconds()
        soon = max(now, self._last + _LAST_HOPE)
        first = min(self._planned.values(), key=lambda planned: planned.getTime())
        if first.getTime() > soon:
            first.reset(soon - now)

    def _start(self, index: int) -> None:
        del self._planned[index]
        self._last = self._reactor.seconds()
        try:
            self._spawn(index)
        except OSError as error:
            why, delay = error.strerror or str(error), self.after(index, ready=False)
            text = "worker {worker} cannot be started: {why}; it is tried again in {delay:g} s"
            _log.error(text, worker=index, why=why, delay=delay)
