"""A reactor that a test turns by hand, and servers on it whose handlers run in real threads."""

from __future__ import annotations

import select
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from twisted.internet.task import Clock

from tests.services.serving import ManualWriter, Serving
from txdicom.net.acceptor import Acceptor
from txdicom.scp.config import ScpConfig
from txdicom.scp.policy import AcceptancePolicy
from txdicom.services.calls import AddinCalls
from txdicom.services.dispatch import Dispatcher
from txdicom.services.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Reactor(Clock):
    """Time goes by `advance`; what threads hand back is called by `until`."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> None:
        """Turns until `condition` holds."""
        end = monotonic() + seconds
        while not condition():
            assert monotonic() < end, "it did not come about"
            for reader in select.select(self.readers, [], [], 0.01)[0]:
                reader.doRead()


class Gate:
    """A call that blocks until the test opens the gate; how many are in it."""

    def __init__(self) -> None:
        self.inside = 0
        self._open = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, result: Any = 0) -> Any:
        with self._lock:
            self.inside += 1
        self._open.wait(30)
        with self._lock:
            self.inside -= 1
        return result

    def open(self) -> None:
        self._open.set()


class ThreadedServing(Serving):
    """A server of these add-ins without a socket; their blocking handlers run in threads."""

    def __init__(self, *addins: Any, folder: Path | None = None, **settings: Any) -> None:
        self.clock = self.reactor = Reactor()
        self.writer = ManualWriter()
        self.spool = Spool(self.writer, lambda: str(folder))  # type: ignore[arg-type]
        config = ScpConfig(check_called_ae=False, **settings)
        self.calls = AddinCalls(
            self.reactor,
            threads=config.addin_threads,
            timeout=config.addin_timeout,
            drain_timeout=config.drain_timeout,
            watch_reactor=config.watch_reactor,
        )
        dispatcher = Dispatcher(addins, self.spool, calls=self.calls)
        self.acceptor = Acceptor(config, AcceptancePolicy("SERVER", config, dispatcher), dispatcher, self.clock)
