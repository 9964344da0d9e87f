"""How many connections and associations there may be, counted in one place."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from txdicom.ul import rejections

if TYPE_CHECKING:
    from collections.abc import Hashable

    from txdicom.net.config import NetConfig
    from txdicom.ul.rejections import Rejection


class Slots:
    """Counts connections in two pools: half-open ones, and those with an association.

    A connection takes a half-open slot when it comes, changes it for a client's when its A-ASSOCIATE-RQ is admitted,
    and gives back what it has when it goes: `leave` is the only way out.
    """

    def __init__(self, config: NetConfig) -> None:
        self._config = config
        self._half_open: set[Hashable] = set()
        self._clients: dict[Hashable, str] = {}
        self._per_ae: Counter[str] = Counter()

    @property
    def half_open(self) -> int:
        """Connections without an association."""
        return len(self._half_open)

    @property
    def clients(self) -> int:
        """Connections with an association."""
        return len(self._clients)

    def room(self) -> bool:
        """Whether a further connection may come."""
        limit = self._config.max_half_open
        return not limit or len(self._half_open) < limit

    def enter(self, who: Hashable) -> None:
        """A connection has come."""
        self._half_open.add(who)

    def admit(self, who: Hashable, calling_ae: str) -> Rejection | None:
        """Its association begins; else the rejection that answers it."""
        config = self._config
        if config.max_clients and len(self._clients) >= config.max_clients:
            return rejections.LOCAL_LIMIT
        per_ae = config.max_clients_per_ae if config.allow_multiple_connections else 1
        if per_ae and self._per_ae[calling_ae] >= per_ae:
            return rejections.LOCAL_LIMIT
        self._half_open.discard(who)
        self._clients[who] = calling_ae
        self._per_ae[calling_ae] += 1
        return None

    def leave(self, who: Hashable) -> None:
        """The connection is gone."""
        self._half_open.discard(who)
        calling_ae = self._clients.pop(who, None)
        if calling_ae is not None:
            self._per_ae[calling_ae] -= 1
            if not self._per_ae[calling_ae]:
                del self._per_ae[calling_ae]
