"""What settings are applied to where the application entity is in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

from txdicom.addins.storage import StorageAddin
from txdicom.errors import RAISED, DicomError, SettingsError
from txdicom.interfaces import IAETitle, IDicomSecurity, ILicense
from txdicom.scp.configuration import limited
from txdicom.server.ae.file import AETitleFile
from txdicom.server.settings.tls import make_security

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from txdicom.scp import ApplicationEntity
    from txdicom.scp.security import FileSecurity
    from txdicom.server.logs.log import ServerLog
    from txdicom.server.settings.live import Change

_log = Logger()


class EntityTarget:
    """See `txdicom.server.settings.live.Target`: a running application entity, the log of its process, and its TLS.

    `log` is None where somebody else keeps it.
    """

    def __init__(self, reactor: Any, entity: ApplicationEntity, log: ServerLog | None, security: FileSecurity) -> None:
        self._reactor = reactor
        self._entity = entity
        self._log = log
        self._security = security

    @property
    def addins(self) -> Sequence[Any]:
        """See `Target`."""
        return self._entity.addins

    @property
    def addin_settings(self) -> Mapping[str, BaseModel]:
        """See `Target`."""
        return self._entity.addin_settings

    async def apply(self, change: Change) -> None:
        """See `Target`. What may fail comes first."""
        entity, new = self._entity, change.new
        try:
            config = limited(entity.service(ILicense), new.server)
        except DicomError as error:
            raise SettingsError([str(error)]) from error
        security = None
        if new.tls != change.old.tls:
            assert entity.folder is not None
            security = make_security(new, entity.folder)
        if self._log is not None:
            self._log.configure(new.log)
        for addin in entity.addins:
            if addin.name in change.addins:
                await self._hand(addin, change.addins[addin.name])
        entity.reconfigure(config, change.addins)
        if security is not None:
            self._security.take(security)
        if new.archive != change.old.archive:
            for addin in entity.addins:
                if isinstance(addin, StorageAddin):
                    await addin.configure(flush=new.archive.flush, duplicates=new.archive.duplicates)

    async def _hand(self, addin: Any, settings: BaseModel) -> None:
        """Gives an add-in its settings; SettingsError says that it cannot take them."""
        seconds = self._entity.config.addin_timeout
        try:
            taking = maybeDeferred(addin.apply, settings)
            await (taking.addTimeout(seconds, self._reactor) if seconds else taking)
        except TooLate:
            why = f"it has not answered within {seconds:g} s"
        except DicomError as error:
            why = str(error)
        except RAISED as error:
            _log.failure("add-in {name} cannot take its settings", name=addin.name)
            why = f"it has failed ({type(error).__name__}); the log says why"
        else:
            return
        raise SettingsError([f"add-in {addin.name} cannot take its settings: {why}"])

    def reopen_logs(self) -> None:
        """See `Target`."""
        if self._log is not None:
            self._log.reopen()

    async def reload_files(self) -> None:
        """See `Target`."""
        titles = self._entity.service(IAETitle)
        if isinstance(titles, AETitleFile):
            await titles.reload()
        try:
            await maybeDeferred(self._entity.service(IDicomSecurity).reload)
        except SettingsError:
            raise
        except RAISED as error:
            _log.failure("the service of TLS cannot read its files again")
            raise SettingsError([f"TLS: the files cannot be read again: {type(error).__name__}"]) from error
