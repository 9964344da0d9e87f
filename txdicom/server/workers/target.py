"""What changed settings are applied to in the parent: its own counters and logs, and all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from txdicom.errors import DicomError, InternalError, SettingsError
from txdicom.interfaces import ILicense
from txdicom.scp.configuration import limited

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from txdicom.scp import ApplicationEntity
    from txdicom.server.logs.log import ServerLog
    from txdicom.server.settings.live import Change
    from txdicom.server.workers.pool import Workers


class PoolTarget:
    """See `txdicom.server.settings.live.Target`. `entity` is one like those of the workers, which is never started."""

    def __init__(self, workers: Workers, entity: ApplicationEntity, log: ServerLog) -> None:
        self._workers = workers
        self._entity = entity
        self._log = log

    @property
    def addins(self) -> Sequence[Any]:
        """See `Target`."""
        return self._entity.addins

    @property
    def addin_settings(self) -> Mapping[str, BaseModel]:
        """See `Target`."""
        return self._entity.addin_settings

    async def apply(self, change: Change) -> None:
        """See `Target`."""
        try:
            config = limited(self._entity.service(ILicense), change.new.server)
            self._log.configure(change.new.log)
            await self._workers.apply(change.text)
        except (SettingsError, InternalError):
            raise
        except DicomError as error:
            raise SettingsError([str(error)]) from error
        self._entity.reconfigure(config, change.addins)
        self._workers.slots.config = config

    def reopen_logs(self) -> None:
        """See `Target`."""
        self._log.reopen()

    async def reload_files(self) -> None:
        """See `Target`."""
        try:
            await self._workers.reload_files()
        except InternalError:
            raise
        except DicomError as error:
            raise SettingsError([str(error)]) from error
