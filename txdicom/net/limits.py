"""How many connections and associations there may be, counted in one place."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from twisted.logger import Logger

from txdicom.net.addresses import address_text
from txdicom.ul import rejections

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress

    from txdicom.net.config import NetConfig
    from txdicom.ul.rejections import Rejection

_log = Logger()


class Limits(Protocol):
    """What an acceptor asks before it takes a connection or an association; each is known by its number."""

    @property
    def clients(self) -> int:
        """Connections with an association."""

    def room_for(self, peer: IAddress | None) -> bool:
        """Whether a connection from `peer` may come; one that may not is told of in the log."""

    def enter(self, number: int) -> None:
        """A connection has come."""

    def admit(self, number: int, calling_ae: str) -> Rejection | Deferred[Rejection | None] | None:
        """Its association begins; else the rejection that answers it. Where another process counts, later."""

    def leave(self, number: int) -> None:
        """The connection is gone, whatever it had."""


class Slots:
    """Counts connections in two pools: half-open ones, and those with an association. See `Limits`.

    A connection takes a half-open slot when it comes, changes it for a client's when its A-ASSOCIATE-RQ is admitted,
    and gives back what it has when it goes: `leave` is the only way out. `config` can be replaced at any time.
    """

    def __init__(self, config: NetConfig) -> None:
        self.config = config
        self._half_open: set[int] = set()
        self._clients: dict[int, str] = {}
        self._per_ae: Counter[str] = Counter()
        self._turned_away = 0

    @property
    def half_open(self) -> int:
        """Connections without an association."""
        return len(self._half_open)

    @property
    def clients(self) -> int:
        """Connections with an association."""
        return len(self._clients)

    def room_for(self, peer: IAddress | None) -> bool:
        """See `Limits`: a flood must not fill the log too."""
        limit = self.config.max_half_open
        if limit and self.half_open >= limit:
            self._turned_away += 1
            if self._turned_away == 1:
                _log.warn(
                    "connection from {peer} closed: {count} connections without an association already (max_half_open);"
                    " so are the next ones, until there is room",
                    peer=address_text(peer),
                    count=self.half_open,
                )
            return False
        if self._turned_away:
            _log.warn("{count} connections were closed for max_half_open; there is room again", count=self._turned_away)
            self._turned_away = 0
        return True

    def enter(self, number: int) -> None:
        """See `Limits`."""
        self._half_open.add(number)

    def admit(self, number: int, calling_ae: str) -> Rejection | None:
        """See `Limits`."""
        config = self.config
        if config.max_clients and len(self._clients) >= config.max_clients:
            return rejections.LOCAL_LIMIT
        per_ae = config.max_clients_per_ae if config.allow_multiple_connections else 1
        if per_ae and self._per_ae[calling_ae] >= per_ae:
            return rejections.LOCAL_LIMIT
        self._half_open.discard(number)
        self._clients[number] = calling_ae
        self._per_ae[calling_ae] += 1
        return None

    def leave(self, number: int) -> None:
        """See `Limits`."""
        self._half_open.discard(number)
        calling_ae = self._clients.pop(number, None)
        if calling_ae is not None:
            self._per_ae[calling_ae] -= 1
            if not self._per_ae[calling_ae]:
                del self._per_ae[calling_ae]
