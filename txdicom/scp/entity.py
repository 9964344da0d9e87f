"""A listening application entity in memory: its add-ins, its ports, its life. It needs no folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any, NoReturn

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from txdicom.errors import SettingsError
from txdicom.interfaces import (
    IAETitle,
    IDicomAddin,
    IDicomRequest,
    IDicomSecurity,
    IServer,
    IServerConfig,
    IServiceLog,
    IStaging,
    IWriter,
)
from txdicom.net.acceptor import Acceptor
from txdicom.net.limits import Slots
from txdicom.net.listening import listen as net_listen
from txdicom.net.tls import SecureFactory
from txdicom.scp.addins import Addins
from txdicom.scp.ae_titles import AETitles, character_set_of
from txdicom.scp.config import ScpConfig, validated
from txdicom.scp.configuration import configure
from txdicom.scp.destinations import TableDestinations
from txdicom.scp.hooks import Hooks
from txdicom.scp.policy import AcceptancePolicy
from txdicom.scp.requesting import DicomRequest
from txdicom.scp.security import FileSecurity, SecureOptions
from txdicom.scp.service_log import TwistedLog
from txdicom.scp.services import Services
from txdicom.services.calls import AddinCalls
from txdicom.services.dispatch import Dispatcher
from txdicom.services.observed import observers_of
from txdicom.services.spool import Spool
from txdicom.services.writer import WriterThread

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from twisted.internet.interfaces import IAddress, IReactorCore
    from zope.interface import Interface

    from txdicom.dimse.status import Status
    from txdicom.interfaces import AEEntry
    from txdicom.net.association import Association
    from txdicom.net.observing import Observers
    from txdicom.net.tls import TLS, ClientCertificate
    from txdicom.services.health import Health
    from txdicom.services.storage import ObservedStoreRequest

_log = Logger()


@implementer(IServer)
class ApplicationEntity:
    """A DICOM application entity that accepts associations and has its add-ins answer.

    `bind` opens the ports without accepting, `start` loads the add-ins and accepts, `stop` drains and unloads.
    `services` is what the configuration phase has left (`txdicom.scp.configuration`); for `required` and
    `addin_settings` see `txdicom.scp.addins.Addins`. `parts` are what the add-ins work with, such as the writer thread:
    objects with `start` and `stop`, either of which may return a Deferred. They are started in order before the add-ins
    are registered, and stopped in reverse after the drain, before the add-ins are unloaded; `stop` also comes without a
    start, and twice. SettingsError lists all that is wrong with the add-ins.
    """

    def __init__(
        self,
        reactor: Any,
        ae_title: str,
        addins: Sequence[object],
        config: ScpConfig | None = None,
        *,
        folder: str | None = None,
        services: Services | None = None,
        required: Collection[str] | None = None,
        addin_settings: Mapping[str, Any] | None = None,
        known_callers: Iterable[AEEntry | str] = (),
    ) -> None:
        self.ae_title = ae_title
        self.folder = folder
        self.config = config or ScpConfig()
        self.services = services or Services()
        self.ports: list[Any] = []  # of Twisted's reactors: they can be paused
        self._plain = self._secure = False  # whether there are such ports
        self._reactor = reactor
        self._temporary = ""
        self._starting: Deferred[None] | None = None
        self._addins = Addins(addins, required=required, settings=addin_settings)
        writer = WriterThread(reactor)
        requests = DicomRequest(reactor, self)
        self._calls = AddinCalls(
            reactor,
            threads=self.config.addin_threads,
            timeout=self.config.addin_timeout,
            drain_timeout=self.config.drain_timeout,
            watch_reactor=self.config.watch_reactor,
        )
        self.parts: list[Any] = [writer, requests, self._calls]
        self._spool = Spool(writer, self._staging)
        self.services.provide(IWriter, writer)
        self.services.provide(IStaging, self._spool)
        self.services.default(IDicomRequest, lambda: requests)
        self.services.default(IAETitle, lambda: AETitles(reactor, known_callers))
        self.services.default(IServiceLog, TwistedLog)
        policy, dispatcher, observers = self._answering(self.addins)
        self.acceptor = Acceptor(self.config, policy, dispatcher, reactor)
        self.acceptor.observers = observers

    def _answering(self, addins: Sequence[object]) -> tuple[AcceptancePolicy, Dispatcher, Observers | None]:
        config = self.config
        anonymous_port = config.anonymous_move_port if config.allow_anonymous_move else 0
        dispatcher = Dispatcher(
            addins,
            self._spool,
            unknown_sop_classes=config.unknown_sop_classes,
            destinations=TableDestinations(self._reactor, self, anonymous_port=anonymous_port),
            calls=self._calls,
            character_set_of=self._character_set_of,
        )
        policy = AcceptancePolicy(self.ae_title, config, dispatcher, self._validate, Hooks.of(addins))
        return policy, dispatcher, observers_of(addins, pixel_data=config.copy_pixel_data_to_observers)

    def _validate(self, association: Association) -> Any:
        return self.service(IAETitle).validate(association)

    def _character_set_of(self, association: Association) -> Any:
        return character_set_of(self.service(IAETitle), association)

    @property
    def addins(self) -> tuple[Any, ...]:
        """The add-ins that take part, in the order they are loaded."""
        return self._addins.active

    @property
    def addin_settings(self) -> Mapping[str, Any]:
        """The settings of the add-ins that have any, by name."""
        return self._addins.settings

    @property
    def health(self) -> Health:
        """How the add-ins fare."""
        return self._calls.health

    @property
    def observers(self) -> Observers | None:
        """The add-ins that look on at its associations, in either role."""
        return self.acceptor.observers

    @property
    def only_secure(self) -> bool:
        """Whether it listens with TLS alone: by its settings where these say so, for others may hold its ports."""
        plain, secure = getattr(self.config, "listen", self._plain), getattr(self.config, "secure_listen", self._secure)
        return bool(secure) and not plain

    def service(self, interface: type[Interface]) -> Any:
        """See `IServer`."""
        return self.services.get(interface)

    def watch_stores(self, observer: Callable[[ObservedStoreRequest, Status | None], None]) -> Callable[[], None]:
        """Has `observer` called with each C-STORE and its final status, None where the association was gone before.

        Returns a function that ends it.
        """
        self._spool.observers = (*self._spool.observers, observer)

        def end() -> None:
            self._spool.observers = tuple(one for one in self._spool.observers if one is not observer)

        return end

    def reconfigure(self, config: ScpConfig, addin_settings: Mapping[str, Any]) -> None:
        """Has other settings hold: limits at once, the rest for associations to come.

        `addin_threads`, `temporary_directory` and `watch_reactor` are to be the same; the add-ins have taken
        `addin_settings`, those of them that change.
        """
        self.config = self.acceptor.config = config
        if isinstance(self.acceptor.slots, Slots):
            self.acceptor.slots.config = config
        self._calls.configure(timeout=config.addin_timeout, drain_timeout=config.drain_timeout)
        self._addins.settings.update(addin_settings)
        self.acceptor.policy, self.acceptor.performer, self.acceptor.observers = self._answering(self.addins)

    # -- life ----------------------------------------------------------------------------------------------------------

    async def bind(self, *endpoints: str, secure: bool = False) -> list[IAddress]:
        """Opens the ports; nothing is accepted yet. One that cannot be opened closes the others of this call again.

        Secure ones do TLS by the base service `IDicomSecurity`; the endpoints are plain ones all the same.
        """
        factory: Any = self.acceptor
        if secure:
            factory = SecureFactory(SecureOptions(lambda: self.service(IDicomSecurity)), self.acceptor, self._reactor)
        opened: list[Any] = []
        try:
            for endpoint in endpoints:
                opened.append(await net_listen(self._reactor, endpoint, factory))  # noqa: PERF401 (what is open is closed)
        except BaseException:
            await _close(opened)
            raise
        self.ports += opened
        if opened:
            self._plain, self._secure = self._plain or not secure, self._secure or secure
        return [port.getHost() for port in self.ports]

    async def start(self) -> None:
        """Starts the parts, has base services registered, loads the add-ins in order, then accepts.

        AddinError where a required add-in fails. Cancelled, or stopped meanwhile, it unloads what is loaded.
        """
        starting = self._starting = Deferred()
        try:
            await self._start()
        finally:
            starting.callback(None)

    async def _start(self) -> None:
        before = self.addins
        try:
            for part in self.parts:
                await maybeDeferred(part.start)
            await self._addins.register(self.services)
            self.services.fill()
            _log.info("base services: {count} by add-ins, the others by default", count=self.services.of_addins)
            await self._addins.load(self, self.services, self._reactor)
        except BaseException:
            await self._addins.unload()
            await self._close_ports()
            await self._stop_parts()
            raise
        if len(self.addins) < len(before):
            self.acceptor.policy, self.acceptor.performer, self.acceptor.observers = self._answering(self.addins)
        for port in self.ports:
            port.resumeProducing()

    async def stop(self) -> None:
        """Answers newcomers by A-ASSOCIATE-RJ (2,3,1) while operations finish, aborts the rest, unloads, closes."""
        self._addins.halt()
        if self._starting is not None:
            await self._starting
        self._calls.drain()
        await self.acceptor.drain()
        await self._stop_parts()
        await self._addins.unload()
        await self._close_ports()
        await self.acceptor.close()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = ""

    async def _stop_parts(self) -> None:
        for part in reversed(self.parts):
            await maybeDeferred(part.stop)

    async def _close_ports(self) -> None:
        ports, self.ports = self.ports, []
        await _close(ports)

    def _staging(self) -> str:
        """The folder for large data sets: the configured one, else one of our own until `stop`."""
        if self.config.temporary_directory:
            os.makedirs(self.config.temporary_directory, 0o700, exist_ok=True)
            return self.config.temporary_directory
        if not self._temporary:
            self._temporary = tempfile.mkdtemp(prefix="txdicom-")
        return self._temporary


async def _close(ports: Sequence[Any]) -> None:
    await gatherResults([maybeDeferred(port.stopListening) for port in ports])


def _listed(endpoints: str | Sequence[str]) -> Sequence[str]:
    return [endpoints] if isinstance(endpoints, str) else endpoints


def _no_security() -> NoReturn:
    how = "give tls=TLS(certificate=…, key=…, ca=…), or an add-in that provides IDicomSecurity"
    raise SettingsError([f"secure: there is nothing to do TLS with: {how}"])


def listen(
    reactor: IReactorCore,
    endpoints: str | Sequence[str] = (),
    *,
    ae_title: str,
    addins: Sequence[object],
    addin_settings: Mapping[str, Any] | None = None,
    known_callers: Iterable[AEEntry | str] = (),
    secure: str | Sequence[str] = (),
    tls: TLS | None = None,
    client_certificate: ClientCertificate = "require",
    **settings: Any,
) -> Deferred[ApplicationEntity]:
    """A server in one script: binds, loads the add-ins, accepts; fires with the running `ApplicationEntity`.

        async def main(reactor):
            server = await listen(
                reactor,
                "tcp:11112:interface=127.0.0.1",
                secure="tcp:2762",
                tls=TLS(certificate="server.pem", key="server.key", ca="ca.pem"),
                ae_title="DCM_SERVER",
                addins=[MyAddin()],
            )

    `endpoints` are Twisted's endpoint strings ("tcp:11112:interface=127.0.0.1"), `settings` fields of `ScpConfig`.
    Those of `secure` are for TLS: by `tls`, with `client_certificate` (require, request or none) asked of the callers,
    unless an add-in provides `IDicomSecurity`. `tls` also serves the calls to peers.

    `addins` are all required; those that provide `IServerConfig` configure the server first. `addin_settings` are
    objects of an add-in's `settings_model` by its name; without, its defaults hold. `known_callers` are AE titles, or
    entries of which one that sets `verify` holds for its caller in any case; with `allow_anonymous=False` only they
    are let in.
    Errors: SettingsError with every mistake, `twisted.internet.error.CannotListenError`, LicenseError, AddinError.
    """

    async def run() -> ApplicationEntity:
        config = validated(ScpConfig, settings)
        security = None if tls is None else FileSecurity(tls, client_certificate if secure else None)
        for sentence in security.warnings if security is not None else ():
            _log.warn("{sentence}", sentence=sentence)
        services = Services()
        first = [addin for addin in addins if IServerConfig.providedBy(addin)]
        ordinary = [addin for addin in addins if addin not in first or IDicomAddin.providedBy(addin)]
        entity = ApplicationEntity(
            reactor,
            ae_title,
            ordinary,
            await configure(ae_title, first, services, config),
            services=services,
            addin_settings=addin_settings,
            known_callers=known_callers,
        )
        if security is not None or secure:
            services.default(IDicomSecurity, lambda: security or _no_security())
        try:
            await entity.bind(*_listed(endpoints))
            await entity.bind(*_listed(secure), secure=True)
        except BaseException:
            await entity.stop()
            raise
        await entity.start()
        return entity

    return Deferred.fromCoroutine(run())
