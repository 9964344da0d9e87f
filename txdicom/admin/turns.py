"""Who is served when: administrators get a part of the reactor's time, however much they ask for."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: commands in one turn of the reactor, and the seconds after which no further one is begun
_COMMANDS: Final = 8
_SECONDS: Final = 0.002
#: after a turn, its time as often as this is left to others
_REST: Final = 3.0
#: a clock that jumps must not make it longer
_LONGEST_REST: Final = 0.25


class Worker(Protocol):
    """A link with something to do."""

    def work(self) -> bool:
        """Does one thing; whether there is more."""


class Turns:
    """The links of one server, served in turn, one command at a time."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._ready: deque[Worker] = deque()
        self._call: IDelayedCall | None = None
        self._not_before = 0.0
        self._amid = False

    def ask(self, worker: Worker) -> None:
        """`worker` has something to do."""
        if worker not in self._ready:
            self._ready.append(worker)
        self._plan()

    def forget(self, worker: Worker) -> None:
        """`worker` is gone."""
        if worker in self._ready:
            self._ready.remove(worker)
        if not self._ready and self._call is not None:
            self._call.cancel()
            self._call = None

    def _plan(self) -> None:
        if self._call is None and self._ready and not self._amid:
            rest = min(max(self._not_before - self._clock.seconds(), 0.0), _LONGEST_REST)
            self._call = self._clock.callLater(rest, self._turn)

    def _turn(self) -> None:
        self._call = None
        self._amid = True
        begin = now = self._clock.seconds()
        for _ in range(_COMMANDS):
            if not self._ready or now - begin > _SECONDS:
                break
            worker = self._ready.popleft()
            if worker.work() and worker not in self._ready:
                self._ready.append(worker)
            now = self._clock.seconds()
        self._amid = False
        self._not_before = now + _REST * (now - begin)
        self._plan()
