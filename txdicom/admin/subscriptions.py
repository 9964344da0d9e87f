"""Who wants to hear of what; an event is written out once, for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from txdicom.admin.commands import EVENT_COMMANDS
from txdicom.admin.link import event_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from txdicom.admin.link import ServerLink
    from txdicom.interfaces.control import ControlEvent

_log = Logger()


class Subscriptions:
    """The subscribers of one server. While there are none, the server is not asked to tell anything."""

    def __init__(self, control: Any) -> None:
        self._control = control
        self._wanted: dict[ServerLink, frozenset[str]] = {}
        self._end: Callable[[], None] | None = None

    def add(self, link: ServerLink, events: frozenset[str]) -> None:
        """`link` hears of these events too."""
        self._set(link, self._wanted.get(link, frozenset()) | events)

    def remove(self, link: ServerLink, events: frozenset[str]) -> None:
        """`link` does not hear of these events any more."""
        self._set(link, self._wanted.get(link, frozenset()) - events)

    def forget(self, link: ServerLink) -> None:
        """`link` is gone."""
        self._set(link, frozenset())

    def _set(self, link: ServerLink, events: frozenset[str]) -> None:
        if events:
            self._wanted[link] = events
        else:
            self._wanted.pop(link, None)
        if self._wanted and self._end is None:
            self._end = self._control.subscribe(self._tell)
        elif not self._wanted and self._end is not None:
            self._end()
            self._end = None

    def _tell(self, event: ControlEvent) -> None:
        links = [link for link, events in self._wanted.items() if event.name in events]
        if not links:
            return
        try:
            data = event_bytes(EVENT_COMMANDS[event.name], event.data)
        except Exception:  # noqa: BLE001 (an event that cannot be written must not reach back to what has caused it)
            _log.failure("the event {name} cannot be told", name=event.name)
            return
        for link in links:
            link.send_event(data)
