"""The peers of a server as its administrators see them: who is there, what it does, and what happens to it."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from txdicom.interfaces.control import ConnectedClient, ControlEvent
from txdicom.net.addresses import address_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall

    from txdicom.dimse.command import Command
    from txdicom.net.acceptor import Acceptor
    from txdicom.net.association import Association

_log = Logger()

#: seconds between two `ClientAction` of one client
_EVERY: Final = 1.0


class _Record:
    """What an association does not know of itself."""

    __slots__ = ("action", "connected")

    def __init__(self) -> None:
        self.connected = time.time()
        self.action: Command | None = None


class Listeners:
    """Who hears of events. `on_first` is called before the first comes, `on_last` after the last has gone."""

    def __init__(self, *, on_first: Callable[[], object], on_last: Callable[[], object]) -> None:
        self._on_first = on_first
        self._on_last = on_last
        self._all: list[Callable[[ControlEvent], object]] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    def subscribe(self, listener: Callable[[ControlEvent], object]) -> Callable[[], None]:
        """See `IServerControl`."""
        if not self._all:
            self._on_first()
        self._all.append(listener)

        def end() -> None:
            if listener in self._all:
                self._all.remove(listener)
                if not self._all:
                    self._on_last()

        return end

    def tell(self, event: ControlEvent) -> None:
        """Tells an event to all that listen."""
        for listener in [*self._all]:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 (who listens must not harm what it listens to)
                _log.failure("who listens to {name} has failed", name=event.name)


class Clients:
    """Follows the associations of an acceptor; see `txdicom.net.acceptor.Listener`.

    While nobody listens to events, following costs two assignments a message.
    """

    def __init__(self, clock: Any, acceptor: Acceptor) -> None:
        self._clock = clock
        self._acceptor = acceptor
        self._records: dict[int, _Record] = {}
        self._listeners = Listeners(on_first=lambda: None, on_last=self._quiet)
        self._active: set[int] = set()
        self._call: IDelayedCall | None = None
        acceptor.listener = self

    def subscribe(self, listener: Callable[[ControlEvent], object]) -> Callable[[], None]:
        """See `IServerControl`."""
        return self._listeners.subscribe(listener)

    def tell(self, name: str, **data: Any) -> None:
        """Tells an event to all that listen."""
        self._listeners.tell(ControlEvent(name=name, data=data))

    def all(self) -> list[ConnectedClient]:
        """Every connection, in the order of their coming."""
        return [self.client(one) for one in self._acceptor.associations.values()]

    def client(self, association: Association) -> ConnectedClient:
        """One of them."""
        record = self._records.get(association.number) or _Record()
        protocol = association.protocol
        return ConnectedClient(
            id=association.number,
            ae_title=association.calling_ae,
            address=address_text(association.peer),
            connected=record.connected,
            last_action=record.action.name if record.action is not None else "",
            last_active=time.time() - (self._clock.seconds() - protocol.last_activity),
            messages=association.messages_received,
            bytes_received=protocol.bytes_received,
            bytes_sent=protocol.bytes_sent,
        )

    # -- from the acceptor ---------------------------------------------------------------------------------------------

    def connected(self, association: Association) -> None:
        """A peer has connected."""
        self._records[association.number] = _Record()
        if self._listeners:
            self._tell_of("ClientConnected", association)

    def associated(self, association: Association) -> None:
        """Its association was accepted."""
        if self._listeners:
            self._tell_of("ClientAssociated", association)

    def asked(self, association: Association, command: Command) -> None:
        """It has sent a request."""
        self._records[association.number].action = command
        if self._listeners:
            self._active.add(association.number)
            if self._call is None:
                self._call = self._clock.callLater(_EVERY, self._tell_actions)

    def ended(self, association: Association) -> None:
        """The connection is gone."""
        if self._listeners:
            self._active.discard(association.number)
            self._tell_of("ClientDisconnected", association, outcome=association.outcome)
        self._records.pop(association.number, None)

    def _tell_of(self, name: str, association: Association, **more: Any) -> None:
        self.tell(name, **asdict(self.client(association)), **more)

    def _tell_actions(self) -> None:
        self._call = None
        active, self._active = self._active, set()
        for number in sorted(active):
            association = self._acceptor.associations.get(number)
            if association is not None:
                self._tell_of("ClientAction", association)

    def _quiet(self) -> None:
        self._active.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None
