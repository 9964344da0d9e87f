"""Waiting for something that happens: small tools around Deferreds."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

T = TypeVar("T")


class Waiters:
    """Those who wait for something to change; once woken, each looks for itself whether it is what it waited for."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    def wait(self) -> Deferred[None]:
        """Fires at the next `wake`; it may be cancelled."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def wake(self) -> None:
        """Something has changed."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:
                one.callback(None)


def cancel_after(deferred: Deferred[T], call: IDelayedCall) -> None:
    """Once `deferred` has fired, `call` is not needed any more."""

    def fired(result: T) -> T:
        if call.active():
            call.cancel()
        return result

    deferred.addBoth(fired)
