"""What happens in several servers at once: a link to each that runs, for as long as it does."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from txdicom.errors import DicomError
from txdicom.interfaces.control import ControlEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from txdicom.admin import Administrator

_log = Logger()

#: seconds between two looks for servers that have come
INTERVAL: Final = 1.0


class Watch:
    """Calls `listener(ae_title, event)` with the events of these servers, those that start later included.

    The events are those of `txdicom.interfaces.control.EVENTS` (`events` of them, or all) and two of its own:
    ServerFound, a server answers, with the values of its `ServerStatus`; ServerLost, it no longer does, with nothing.
    What the listener raises is logged. `begun` fires when the servers that run have been found; it fails where there
    is no looking for them. `close` ends the watch, and fires `ended`, which fails where there is no looking any more.
    """

    def __init__(
        self,
        reactor: Any,
        titles: Callable[[], Iterable[str]],
        connect: Callable[[str], Deferred[Administrator]],
        listener: Callable[[str, ControlEvent], object],
        events: Collection[str] | None = None,
    ) -> None:
        self._titles = titles
        self._connect = connect
        self._listener = listener
        self._events = events
        self._links: dict[str, Administrator] = {}
        self._closed = False
        self._looking: Deferred[None] | None = None
        self.begun: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor
        self._loop.start(INTERVAL).addErrback(self._failed)

    async def close(self) -> None:
        """Ends the links; no event comes any more."""
        self._closed = True
        if self._loop.running:
            self._loop.stop()
        if self._looking is not None:
            self._looking.cancel()
        links, self._links = self._links, {}
        for link in links.values():
            await link.close()
        if not self.ended.called:
            self.ended.callback(None)

    def _look(self) -> Deferred[None]:
        self._looking = Deferred.fromCoroutine(self._find())
        return self._looking

    async def _find(self) -> None:
        missing = [title for title in self._titles() if title not in self._links]
        await gatherResults([Deferred.fromCoroutine(self._link(title)) for title in missing], consumeErrors=True)
        if not self.begun.called:
            self.begun.callback(None)

    def _failed(self, failure: Any) -> None:
        if self._closed:
            return
        (self.ended if self.begun.called else self.begun).errback(failure)

    async def _link(self, title: str) -> None:
        try:
            link = await self._connect(title)
        except (DicomError, TimeoutError):
            return  # it does not run, or not yet
        try:
            status = await link.status()
            self._links[title] = link
            self._tell(title, ControlEvent(name="ServerFound", data=asdict(status)))
            await link.subscribe(lambda event: self._tell(title, event), self._events)
        except (DicomError, TimeoutError):
            self._lost(title, link)
            await link.close()
        except BaseException:
            await link.close()
            raise
        else:
            link.when_lost().addCallback(lambda _: self._lost(title, link))

    def _lost(self, title: str, link: Administrator) -> None:
        if self._links.get(title) is link:
            del self._links[title]
            self._tell(title, ControlEvent(name="ServerLost", data={}))

    def _tell(self, title: str, event: ControlEvent) -> None:
        if self._closed:
            return
        try:
            self._listener(title, event)
        except Exception:  # noqa: BLE001 (a mistake of who listens must not end the watch)
            _log.failure("what was to be called at {name} of {title} has failed", name=event.name, title=title)
