"""Associations to one peer, kept for a moment for the next request."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred

from txdicom.errors import ConnectionFailed
from txdicom.net.waiting import cancel_after

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from txdicom.net.association import Association

#: associations to one peer at once, those that are being opened or released too
AT_ONCE: Final = 8
#: requests that may wait for one of them
WAITING: Final = 1000
#: seconds for which an association without a request is kept
IDLE: Final = 5.0
#: seconds for the peer to answer an A-RELEASE at a stop
_GRACE: Final = 2.0


class Pool:
    """Associations to one peer. Each serves one request at a time; `key` says what it is good for."""

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._name = name
        self._keys: dict[Association, Hashable] = {}
        self._idle: dict[Association, Any] = {}  # with the timer that ends it; the longest idle one first
        self._opening: set[Deferred[Association]] = set()
        self._waiting: deque[Deferred[None]] = deque()
        self._stopped = False

    async def take(self, key: Hashable, opened: Callable[[], Deferred[Association]]) -> Association:
        """An association for one request, to be given back; one that is idle, or what `opened` opens.

        Errors: those of `opened`, ConnectionFailed where too many wait already, or at a stop.
        """
        while True:
            if self._stopped:
                raise ConnectionFailed(f"{self._name}: the server stops")
            for association in self._idle:
                if self._keys[association] == key and association.established:
                    self._idle.pop(association).cancel()
                    return association
            if len(self._keys) + len(self._opening) < AT_ONCE:
                return await self._open(key, opened)
            if self._idle:  # for another purpose: it makes room
                self._release(next(iter(self._idle)))
            if len(self._waiting) >= WAITING:
                raise ConnectionFailed(f"{self._name}: {WAITING} requests wait for an association already")
            waits: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(waits)
            await waits

    def give_back(self, association: Association) -> None:
        """A request is done. An association on which something is under way still is of no use any more."""
        if association.lost:
            return
        if self._stopped or association.busy:
            association.hang_up("left")
        elif association.established:
            self._idle[association] = self._reactor.callLater(IDLE, self._release, association)
            self._next()

    def stop(self) -> Deferred[Any]:
        """Releases what is idle, aborts the rest; fires when all is gone."""
        self._stopped = True
        while self._waiting:
            self._next()
        for opening in list(self._opening):
            opening.cancel()
        gone = []
        for association in list(self._keys):
            lost = association.when_lost()
            if association in self._idle:
                self._release(association)
                cut = self._reactor.callLater(_GRACE, association.give_up, "the server stops")
                cancel_after(lost, cut)
            else:
                association.hang_up("the server stops")
            gone.append(lost)
        return DeferredList(gone)

    async def _open(self, key: Hashable, opened: Callable[[], Deferred[Association]]) -> Association:
        opening = maybeDeferred(opened)
        self._opening.add(opening)
        try:
            association = await opening
        except BaseException as error:
            self._opening.discard(opening)
            self._next()
            if self._stopped and isinstance(error, CancelledError):
                raise ConnectionFailed(f"{self._name}: the server stops") from error
            raise
        self._opening.discard(opening)
        self._keys[association] = key
        association.when_lost().addCallback(self._lost, association)
        return association

    def _release(self, association: Association) -> None:
        timer = self._idle.pop(association)
        if timer.active():
            timer.cancel()
        association.release()

    def _lost(self, _: object, association: Association) -> None:
        timer = self._idle.pop(association, None)
        if timer is not None:
            timer.cancel()
        del self._keys[association]
        self._next()

    def _next(self) -> None:
        """There may be something for the one that waits longest."""
        if self._waiting:
            self._waiting.popleft().callback(None)
