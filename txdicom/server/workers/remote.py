"""What a worker asks its parent about its connections; it counts nothing that holds for all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.error import ConnectionClosed

from txdicom.server.workers import commands
from txdicom.ul import rejections

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from txdicom.admin.link import Link
    from txdicom.ul.rejections import Rejection

#: what a parent that is gone means for those who come
_GONE: Final = rejections.TEMPORARY_CONGESTION


class RemoteSlots:
    """See `txdicom.net.limits.Limits`: the parent has the slots, and lets in only what it has room for."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._clients: set[int] = set()
        self._here: set[int] = set()

    @property
    def clients(self) -> int:
        """See `Limits`."""
        return len(self._clients)

    def room_for(self, peer: IAddress | None) -> bool:
        """See `Limits`."""
        return True

    def enter(self, number: int) -> None:
        """See `Limits`."""
        self._here.add(number)

    def admit(self, number: int, calling_ae: str) -> Rejection | Deferred[Rejection | None]:
        """See `Limits`."""
        if not self._link.open:
            return _GONE
        asked: Deferred[Any] = self._link.call(commands.TakeSlot, number=number, calling_ae=calling_ae)
        return asked.addCallbacks(self._answered, _unanswered, callbackArgs=(number,))

    def _answered(self, answer: dict[str, Any], number: int) -> Rejection | None:
        if not answer["granted"]:
            return rejections.LOCAL_LIMIT
        if number in self._here:
            self._clients.add(number)
        return None

    def leave(self, number: int) -> None:
        """See `Limits`."""
        self._here.discard(number)
        self._clients.discard(number)
        if self._link.open:
            self._link.call(commands.FreeSlot, number=number)


def _unanswered(failure: Failure) -> Rejection:
    failure.trap(ConnectionClosed)
    return _GONE
