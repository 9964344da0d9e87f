"""An acceptor in memory with add-ins behind it, and a writer thread that works when the test says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.task import Clock
from zope.interface import implementer

from tests.net.wire import CT, MPPS, Peer
from txdicom.interfaces import (
    ANY_STORAGE,
    IDicomAddin,
    IProcessCEcho,
    IProcessCStore,
    IProcessNAction,
    IProcessNCreate,
    IProcessNDelete,
    IProcessNEventReport,
    IProcessNGet,
    IProcessNSet,
    presentation_context,
)
from txdicom.net.acceptor import Acceptor
from txdicom.scp.config import ScpConfig
from txdicom.scp.policy import AcceptancePolicy
from txdicom.services.dispatch import Dispatcher
from txdicom.services.spool import Spool
from txdicom.uids import VERIFICATION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class ManualWriter:
    """Stands for the writer thread; `work` does what waits."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Any, Any, Any]] = []

    def submit(self, handler: Callable[[list[Any]], None], item: Any, done: Callable[[Any], None]) -> None:
        self.jobs.append((handler, item, done))

    def work(self, count: int | None = None) -> None:
        """As much as was there when it was called, or `count` jobs of it."""
        jobs = self.jobs[:count]
        del self.jobs[:count]
        for handler, item, _ in jobs:
            handler([item])
        for _, item, done in jobs:
            done(item)

    def work_all(self) -> None:
        while self.jobs:
            self.work()


class Addin:
    """What every add-in is; the tests' ones say the rest."""

    name = "tested"
    version = "1"
    description = "for tests"
    author = "tests"

    def load(self, server: Any) -> None:
        pass

    def unload(self) -> None:
        pass


@implementer(IDicomAddin, IProcessCEcho)
class EchoAddin(Addin):
    """Answers C-ECHO with what `handler` returns."""

    name = "echo"

    def __init__(self, handler: Callable[[Any], Any] | None = None) -> None:
        self.handler = handler or (lambda request: 0)
        self.requests: list[Any] = []

    @presentation_context(VERIFICATION)
    def on_c_echo(self, request: Any) -> Any:
        self.requests.append(request)
        return self.handler(request)


@implementer(IDicomAddin, IProcessCStore)
class StoreAddin(Addin):
    """Answers C-STORE of any storage class with what `handler` returns."""

    name = "store"

    def __init__(self, handler: Callable[[Any], Any] | None = None) -> None:
        self.handler = handler or (lambda request: 0)
        self.requests: list[Any] = []

    @presentation_context(ANY_STORAGE)
    def on_c_store(self, request: Any) -> Any:
        self.requests.append(request)
        return self.handler(request)


@implementer(
    IDicomAddin,
    IProcessNAction,
    IProcessNCreate,
    IProcessNDelete,
    IProcessNEventReport,
    IProcessNGet,
    IProcessNSet,
)
class NormalizedAddin(Addin):
    """Answers all of DIMSE-N on MPPS."""

    name = "mpps"

    def __init__(self, handler: Callable[[Any], Any] | None = None) -> None:
        self.handler = handler or (lambda request: 0)
        self.requests: list[Any] = []

    @presentation_context(MPPS)
    def on_n_action(self, request: Any) -> Any:
        self.requests.append(request)
        return self.handler(request)

    on_n_create = on_n_delete = on_n_event_report = on_n_get = on_n_set = on_n_action


class Serving:
    """A server of these add-ins, without a socket."""

    def __init__(self, *addins: Any, folder: Path | None = None, **settings: Any) -> None:
        self.clock = Clock()
        self.writer = ManualWriter()
        self.spool = Spool(self.writer, lambda: str(folder))  # type: ignore[arg-type]
        config = ScpConfig(check_called_ae=False, **settings)
        dispatcher = Dispatcher(addins, self.spool, unknown_sop_classes=config.unknown_sop_classes)
        self.acceptor = Acceptor(config, AcceptancePolicy("SERVER", config, dispatcher), dispatcher, self.clock)

    def peer(self, *contexts: Any, **fields: Any) -> Peer:
        peer = Peer(self.acceptor)
        peer.associate(*contexts, **fields)
        return peer

    def clean(self) -> bool:
        """Nothing is left of what came and went."""
        return not (self.clock.getDelayedCalls() or self.acceptor.associations or self.spool.in_memory)


__all__ = ["CT", "MPPS", "Addin", "EchoAddin", "ManualWriter", "NormalizedAddin", "Serving", "StoreAddin"]
