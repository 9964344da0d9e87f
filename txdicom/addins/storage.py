"""The Storage service class as an add-in (PS3.4 Annex B): keeps every instance as a file of the archive's store."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from twisted.internet.defer import Deferred
from zope.interface import implementer

from txdicom import __version__
from txdicom.archive.arrival import Arrival, StagedFile
from txdicom.archive.store import Store
from txdicom.dimse.status import Status
from txdicom.interfaces import ANY_STORAGE, IDicomAddin, IProcessCStore, IStaging, IWriter, presentation_context


@implementer(IDicomAddin, IProcessCStore)
class StorageAddin:
    """Answers C-STORE once the instance is safe in `store`."""

    name = "storage"
    version = __version__
    description = "Storage: keeps received instances as files, byte for byte"
    author = "txdicom contributors"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._commit = store.commit
        self._writer: Any = None

    def load(self, server: Any) -> None:
        """Opens the store, which sweeps what a crash left in the staging folder."""
        self._writer = server.service(IWriter)
        self._store.open()
        server.service(IStaging).use(self._store.staging_folder)

    def unload(self) -> None:
        """Closes the store."""
        self._store.close()

    def configure(self, *, flush: bool, duplicates: Literal["keep", "replace", "refuse"]) -> Deferred[None]:
        """Has the store keep to other settings; fires when it does."""
        done: Deferred[None] = Deferred()
        configure = partial(self._store.configure, flush=flush, duplicates=duplicates)
        self._writer.submit(lambda items: configure(), None, done.callback)
        return done

    @presentation_context(ANY_STORAGE)
    def on_c_store(self, request: Any) -> Deferred[Status]:
        """See `IProcessCStore`: the writer thread commits it together with all that wait."""
        received = request.received
        staged = None
        if received.buffers is None:
            offset = received.data_offset
            fd, path = received.detach()
            staged = StagedFile(path, fd, offset)
        arrival = Arrival(
            received.sop_class,
            received.sop_instance,
            received.transfer_syntax,
            received.calling_ae,
            received.size,
            buffers=received.buffers or (),
            staged=staged,
        )
        done: Deferred[Status] = Deferred()
        self._writer.submit(self._commit, arrival, lambda arrival: done.callback(arrival.status))
        return done
