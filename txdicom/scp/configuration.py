"""The configuration phase of a server, before any port and other add-in: configuration add-ins, then the licence."""

from __future__ import annotations

import os
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.internet.defer import CancelledError, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from txdicom.errors import RAISED, AddinError, DicomError, LicenseError, NotConfigured
from txdicom.interfaces import ILicense, IServerConfiguration
from txdicom.interfaces.addin import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zope.interface import Interface

    from txdicom.scp.config import ScpConfig
    from txdicom.scp.services import Services

_log = Logger()
_Config = TypeVar("_Config", bound="ScpConfig")

#: what a licence may limit; 0 means "no limit" in these settings
_LIMITED: Final = ("max_clients", "max_clients_per_ae")


@implementer(ILicense)
class Unlimited:
    """The licence of a server to which no add-in gives another: always valid."""

    limits: Mapping[str, int] = {}

    def check(self) -> None:
        """See `ILicense`."""


@implementer(IServerConfiguration)
class Configuration:
    """The server as a configuration add-in sees it."""

    addins = ()

    def __init__(self, ae_title: str, services: Services, owner: str, folder: str | None) -> None:
        self.ae_title = ae_title
        self.folder = folder
        self._services = services
        self._owner = owner

    def service(self, interface: type[Interface]) -> Any:
        """See `IServer`."""
        return self._services.get(interface)

    def provide(self, interface: type[Interface], provider: Any) -> None:
        """See `IServerConfiguration`."""
        self._services.provide(interface, provider, self._owner)


async def configure(
    ae_title: str, addins: Iterable[Any], services: Services, config: ScpConfig, folder: str | None = None
) -> ScpConfig:
    """Runs the configuration add-ins in order, then asks the licence; `config` as far as the licence allows it.

    Errors: LicenseError where the licence refuses, AddinError where an add-in or the licence fails.
    """
    for addin in addins:
        name = name_of(addin)
        owner = f"configuration add-in {name}"
        try:
            await maybeDeferred(addin.configure_server, Configuration(ae_title, services, owner, folder))
        except NotConfigured as why:
            services.withdraw(owner)
            _log.info("configuration add-in {name} is not configured: {why}", name=name, why=str(why))
        except CancelledError:
            raise
        except RAISED as error:
            raise AddinError(f"{owner} has failed: {_reason(error)}") from error
        else:
            _log.info("configuration add-in {name} has run", name=name)
    services.default(ILicense, Unlimited)
    services.fill()
    return await _licensed(services.get(ILicense), config)


async def _licensed(license_: Any, config: ScpConfig) -> ScpConfig:
    try:
        await maybeDeferred(license_.check)
    except LicenseError as error:
        raise LicenseError(f"its licence does not allow it: {error}") from error
    except CancelledError:
        raise
    except RAISED as error:
        raise AddinError(f"its licence cannot be checked: {_reason(error)}") from error
    if not isinstance(license_, Unlimited):
        _log.info("the licence is valid")
    return limited(license_, config)


def limited(license_: Any, config: _Config) -> _Config:
    """`config` as far as the licence allows it; AddinError where it cannot say what it allows."""
    try:
        limits = dict(license_.limits)
    except RAISED as error:
        raise AddinError(f"its licence cannot be checked: {_reason(error)}") from error
    for name, limit in limits.items():
        if name not in _LIMITED or not isinstance(limit, int) or limit < 1:
            raise AddinError(f"its licence limits {name} to {limit!r}: it may limit {' and '.join(_LIMITED)}, from 1")
        value = getattr(config, name)
        if not value or value > limit:
            _log.info("the licence limits {name} to {limit}", name=name, limit=limit)
            config = replace(config, **{name: limit})  # type: ignore[arg-type]
    return config


def _reason(error: BaseException) -> str:
    """What happened; of a mistake in the program also where."""
    text = str(error) or type(error).__name__
    if isinstance(error, DicomError | OSError):
        return text
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({os.path.basename(frame.filename)}:{frame.lineno})"
