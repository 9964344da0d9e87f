"""The one thread that writes received data to the disk (the reactor never waits for a disk)."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from txdicom.errors import RAISED
from txdicom.interfaces import IWriter
from txdicom.services.handback import Handback

if TYPE_CHECKING:
    from collections.abc import Callable

_log = Logger()

Handler: TypeAlias = "Callable[[list[Any]], None]"
Done: TypeAlias = "Callable[[Any], None]"


@implementer(IWriter)
class WriterThread:
    """Takes all that waits, hands it in groups to the handlers, and calls back into the reactor once for all.

    While a group is written the next one gathers: the busier the server, the more instances share a flush.
    """

    def __init__(self, reactor: Any, name: str = "txdicom-writer") -> None:
        self._back = Handback(reactor)
        self._queue: SimpleQueue[tuple[Handler, Any, Done] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._stopped = False
        self._waiters: list[Deferred[None]] = []

    def start(self) -> None:
        """Starts the thread."""
        self._back.open()
        self._thread.start()

    def stop(self) -> Deferred[None]:
        """Finishes what waits, then ends the thread; fires when that is done. The reactor goes on meanwhile."""
        done: Deferred[None] = Deferred()
        if not self._thread.is_alive():
            done.callback(None)
        else:
            self._waiters.append(done)
            if not self._stopped:
                self._queue.put(None)
        self._stopped = True
        return done

    def submit(self, handler: Handler, item: Any, done: Done) -> None:
        """See `IWriter`. After `stop` it is done at once: what is left then is to clean up."""
        if self._stopped:
            self._handle(handler, [item])
            done(item)
        else:
            self._queue.put((handler, item, done))

    def _run(self) -> None:
        get, empty = self._queue.get, self._queue.empty
        going = True
        while going:
            jobs = [get()]
            while not empty():
                jobs.append(get())
            groups: dict[Handler, list[Any]] = {}
            finished: list[tuple[Done, Any]] = []
            for job in jobs:
                if job is None:
                    going = False
                else:
                    handler, item, done = job
                    groups.setdefault(handler, []).append(item)
                    finished.append((done, item))
            for handler, items in groups.items():
                self._handle(handler, items)
            if finished:
                self._back.call(finished)
        self._back.call([(self._ended, None)])

    def _ended(self, _: None) -> None:
        self._thread.join()  # it has nothing left to do
        self._back.close()
        waiters, self._waiters = self._waiters, []
        for done in waiters:
            done.callback(None)

    @staticmethod
    def _handle(handler: Handler, items: list[Any]) -> None:
        try:
            handler(items)
        except RAISED:  # the thread outlives a handler's mistake; its items tell of it
            _log.failure("a handler of the writer thread failed")
