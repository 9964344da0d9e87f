"""The parent's part of a server with workers, made of what one process would serve with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from txdicom.addins.storage import StorageAddin
from txdicom.archive.store import Store
from txdicom.server.settings.live import LiveSettings
from txdicom.server.workers.inside import Start
from txdicom.server.workers.logs import LogLines
from txdicom.server.workers.pool import Workers
from txdicom.server.workers.target import PoolTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from txdicom.scp import ApplicationEntity
    from txdicom.server.compose import Prepared
    from txdicom.server.logs.log import ServerLog


def make_workers(
    reactor: Any, prepared: Prepared, entity: ApplicationEntity, log: ServerLog
) -> tuple[Workers, LiveSettings]:
    """The workers of a server, and its settings. `entity` is never started: it has shown that workers can have one."""
    settings, folder = prepared.settings, prepared.folder

    def start_of(index: int, first_number: int) -> Start:
        return Start.of(folder.path, live.text, live.overrides, index, first_number)

    def lines_of(index: int) -> Callable[[bytes], None]:
        return LogLines(log, settings.log, f"worker {index}").feed

    store = None
    if any(isinstance(addin, StorageAddin) for addin in entity.addins):
        archive = settings.archive
        store = Store(archive.store, staging=settings.server.temporary_directory, flush=archive.flush)
    workers = Workers(
        reactor,
        entity.ae_title,
        entity.config,
        settings.server.workers,
        start_of=start_of,
        lines_of=lines_of,
        store=store,
        addins=len(entity.addin_settings),
        ae_file=folder.ae_table_file,
    )
    live = LiveSettings(folder, settings, prepared.text, prepared.overrides, PoolTarget(workers, entity, log))
    return workers, live
