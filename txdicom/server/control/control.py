"""A running server as its administrators see it: `IServerControl` over its application entity and its settings."""

from __future__ import annotations

import gc
import os
import platform
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.logger import Logger
from zope.interface import implementer

from txdicom import __version__
from txdicom.errors import RAISED, BadArgument, DicomError, NotFound
from txdicom.interfaces import IAddinOptions, IAETitle
from txdicom.interfaces.ae_titles import VALUES, entry_of
from txdicom.interfaces.control import (
    AddinInfo,
    AddinOptions,
    AddinReport,
    Applied,
    ConnectedClient,
    ControlEvent,
    IProcessServiceMessage,
    IServerControl,
    ServerStatus,
    ServiceAnswer,
    ServiceMessage,
)
from txdicom.net.addresses import address_text
from txdicom.server.ae.file import AETitleFile
from txdicom.server.control.association_text import association_text
from txdicom.server.control.clients import Clients
from txdicom.server.endpoints import describe, is_secure
from txdicom.server.settings.addins import no_options
from txdicom.server.settings.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from txdicom.interfaces import AEEntry
    from txdicom.net.association import Association
    from txdicom.scp import ApplicationEntity
    from txdicom.server.settings.live import LiveSettings
    from txdicom.server.settings.tables import Settings

_log = Logger()


@implementer(IServerControl)
class ServerControl:
    """See `IServerControl`. `stop` is what stops the server: called with whether operations are aborted."""

    def __init__(
        self, reactor: Any, entity: ApplicationEntity, live: LiveSettings, stop: Callable[[bool], None]
    ) -> None:
        self._reactor = reactor
        self._entity = entity
        self._live = live
        self._stop = stop
        self._started = time.time()
        self._stopping = False
        self._telling: list[Deferred[Any]] = []
        self._clients = Clients(reactor, entity.acceptor)
        live.watch(lambda applied: self._clients.tell("SettingsChanged", **asdict(applied)))

    # -- the server ----------------------------------------------------------------------------------------------------

    def version(self) -> dict[str, str]:
        """See `IServerControl`."""
        return versions()

    def status(self) -> ServerStatus:
        """See `IServerControl`."""
        acceptor = self._entity.acceptor
        state = "stopping" if self._stopping else "paused" if acceptor.paused else "running"
        return ServerStatus(
            ae_title=self._entity.ae_title,
            display_name=self._live.settings.server.display_name,
            state=state,
            process=os.getpid(),
            started=self._started,
            ports=[describe(port.getHost(), secure=is_secure(port)) for port in self._entity.ports],
            connections=len(acceptor.associations),
            associations=acceptor.slots.clients,
            total=acceptor.total,
        )

    def settings(self) -> dict[str, dict[str, Any]]:
        """See `IServerControl`."""
        return settings_values(self._live.settings)

    def set_settings(self, values: Mapping[str, Mapping[str, Any]]) -> Awaitable[Applied]:
        """See `IServerControl`."""
        return self._live.set(values)

    def pause(self) -> None:
        """See `IServerControl`."""
        self._entity.acceptor.paused = True

    def resume(self) -> None:
        """See `IServerControl`."""
        self._entity.acceptor.paused = False

    def stop(self, force: bool) -> None:
        """See `IServerControl`; the answer goes out before the stop begins."""
        self._reactor.callLater(0, self._stop, force)

    def collect_garbage(self) -> int:
        """See `IServerControl`."""
        return gc.collect()

    def subscribe(self, listener: Callable[[ControlEvent], object]) -> Callable[[], None]:
        """See `IServerControl`."""
        return self._clients.subscribe(listener)

    def started(self) -> None:
        """The base services are there."""
        titles = self._entity.service(IAETitle)
        if isinstance(titles, AETitleFile):  # it tells of edits by hand, too
            titles.on_change = self._ae_titles_changed

    def _ae_titles_changed(self, ae_titles: list[str]) -> None:
        self._clients.tell("AeTitlesChanged", ae_titles=ae_titles)

    def shutting_down(self) -> None:
        """The server begins to stop: administrators and add-ins are told."""
        self._stopping = True
        self._clients.tell("ServiceShuttingDown")
        message = ServiceMessage(name="ServiceShuttingDown")
        for addin in self._entity.addins:
            if _takes(addin, message.name):
                self._telling.append(Deferred.fromCoroutine(self._process(addin, message)))

    def ended(self) -> None:
        """The add-ins are unloaded: what they still do about a message is not waited for."""
        for telling in self._telling:
            telling.cancel()

    # -- AE titles -----------------------------------------------------------------------------------------------------

    async def add_ae_title(self, values: Mapping[str, Any]) -> None:
        """See `IServerControl`."""
        entry = entry_of(values)
        await self._titles("add", entry)
        self._changed(entry.ae_title)

    async def update_ae_title(self, ae_title: str, values: Mapping[str, Any]) -> None:
        """See `IServerControl`."""
        old: AEEntry = await self._titles("get", ae_title)
        known = {name: getattr(old, name) for name in ("ae_title", *VALUES)}
        entry = entry_of({**known, **values})
        await self._titles("update", ae_title, entry)
        self._changed(old.ae_title, entry.ae_title)

    async def remove_ae_title(self, ae_title: str) -> None:
        """See `IServerControl`."""
        await self._titles("remove", ae_title)
        self._changed(ae_title)

    def ae_titles(self) -> Awaitable[Sequence[AEEntry]]:
        """See `IServerControl`."""
        return self._titles("get_all")

    def _changed(self, *ae_titles: str) -> None:
        if not isinstance(self._entity.service(IAETitle), AETitleFile):  # which tells of it by itself
            self._ae_titles_changed(list(dict.fromkeys(ae_titles)))

    def _titles(self, method: str, *arguments: Any) -> Deferred[Any]:
        return maybeDeferred(getattr(self._entity.service(IAETitle), method), *arguments)

    # -- clients -------------------------------------------------------------------------------------------------------

    def clients(self) -> list[ConnectedClient]:
        """See `IServerControl`."""
        return self._clients.all()

    def client_association(self, number: int) -> str:
        """See `IServerControl`."""
        association = self._association(number)
        return association_text(association, address_text(association.peer))

    def disconnect_client(self, number: int) -> None:
        """See `IServerControl`."""
        self._association(number).hang_up("disconnected by an administrator")

    def _association(self, number: int) -> Association:
        try:
            return self._entity.acceptor.associations[number]
        except KeyError:
            raise NotFound(f"there is no client {number}") from None

    # -- add-ins -------------------------------------------------------------------------------------------------------

    def addins(self) -> list[AddinInfo]:
        """See `IServerControl`."""
        return [
            AddinInfo(
                name=addin.name,
                version=str(addin.version),
                description=str(addin.description),
                author=str(addin.author),
                has_options=IAddinOptions.providedBy(addin),
            )
            for addin in self._entity.addins
        ]

    def addin_options(self, name: str) -> AddinOptions:
        """See `IServerControl`."""
        self._addin(name)
        settings = self._entity.addin_settings.get(name)
        if settings is None:
            raise no_options(name)
        return AddinOptions(
            values=settings.model_dump(mode="json"), json_schema=type(settings).model_json_schema(mode="validation")
        )

    def set_addin_options(self, name: str, values: Mapping[str, Any]) -> Awaitable[Applied]:
        """See `IServerControl`."""
        return self._live.set_addin_options(name, values)

    async def addin_health(self, name: str) -> AddinReport:
        """See `IServerControl`."""
        addin = self._addin(name)
        health = self._entity.health.of(name)
        said: list[Any] = []
        message = ServiceMessage(name="IsAddinHealthy")
        if _takes(addin, message.name):
            answer = await self._process(addin, message)
            data = answer.data if answer.success else answer.error
            said = [] if data is None else data if isinstance(data, list) else [data]
        return AddinReport(healthy=health.healthy and not said, sentences=[*health.sentences, *map(str, said)])

    async def service_message(self, message: ServiceMessage) -> ServiceAnswer:
        """See `IServerControl`."""
        if message.name in {"ServiceShuttingDown", "IsAddinHealthy"}:
            raise BadArgument([f"name: {message.name} is a message of the server itself"])
        for addin in self._entity.addins:
            if _takes(addin, message.name):
                return await self._process(addin, message)
        raise NotFound(f"no add-in takes the message {message.name!r}")

    def _addin(self, name: str) -> Any:
        for addin in self._entity.addins:
            if addin.name == name:
                return addin
        raise NotFound(f"there is no add-in {name}")

    async def _process(self, addin: Any, message: ServiceMessage) -> ServiceAnswer:
        """What an add-in says to a message. Its mistakes stay its own."""
        seconds = self._entity.config.addin_timeout
        answer = maybeDeferred(addin.process, message)
        try:
            data = await (answer.addTimeout(seconds, self._reactor) if seconds else answer)
        except TooLate:
            return ServiceAnswer(success=False, error=f"add-in {addin.name} has not answered within {seconds:g} s")
        except CancelledError:
            return ServiceAnswer(success=False, error="the server has stopped")
        except DicomError as error:
            return ServiceAnswer(success=False, error=str(error))
        except RAISED as error:
            _log.failure("add-in {name} failed at the message {message}", name=addin.name, message=message.name)
            what = type(error).__name__
            return ServiceAnswer(success=False, error=f"add-in {addin.name} has failed ({what}); the log says why")
        return ServiceAnswer(success=True, data=data)


def _takes(addin: Any, name: str) -> bool:
    processor: Any = addin
    try:
        return IProcessServiceMessage.providedBy(addin) and bool(processor.can_process(name))
    except RAISED:
        _log.failure("add-in {name} cannot say whether it takes a message", name=addin.name)
        return False


def versions() -> dict[str, str]:
    """See `IServerControl.version`."""
    import pydicom

    import twisted

    return {
        "txdicom": __version__,
        "python": platform.python_version(),
        "twisted": twisted.__version__,
        "pydicom": pydicom.__version__,
        "system": platform.platform(),
    }


def settings_values(settings: Settings) -> dict[str, dict[str, Any]]:
    """See `IServerControl.settings`."""
    return {name: _values(getattr(settings, name)) for name in TABLES}


def _values(table: Any) -> dict[str, Any]:
    """The values of a table of settings, as JSON has them."""
    return dict(table.model_dump(mode="json")) if hasattr(table, "model_dump") else asdict(table)
