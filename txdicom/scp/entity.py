"""A listening application entity in memory: its add-ins, its ports, its life. It needs no folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger
from zope.interface import implementer
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from txdicom.errors import AddinError, DicomError, NotConfigured, SettingsError
from txdicom.interfaces import IDicomAddin, IServer, IStaging, IWriter
from txdicom.net.acceptor import Acceptor
from txdicom.scp.config import ScpConfig, validated
from txdicom.scp.policy import AcceptancePolicy
from txdicom.services.dispatch import METHODS, Dispatcher
from txdicom.services.spool import Spool
from txdicom.services.writer import WriterThread

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from twisted.internet.interfaces import IAddress, IReactorCore
    from zope.interface import Interface

_log = Logger()


@implementer(IServer)
class ApplicationEntity:
    """A DICOM application entity that accepts associations and has its add-ins answer.

    `bind` opens the ports without accepting, `start` loads the add-ins and accepts, `stop` drains and unloads.
    """

    def __init__(
        self,
        reactor: Any,
        ae_title: str,
        addins: Sequence[object],
        config: ScpConfig | None = None,
        *,
        known_callers: Container[str] = (),
    ) -> None:
        self.ae_title = ae_title
        self.config = config or ScpConfig()
        self.addins: tuple[Any, ...] = tuple(addins)
        self.ports: list[Any] = []  # of Twisted's reactors: they can be paused
        self._reactor = reactor
        self._known_callers = known_callers
        self._loaded: list[Any] = []
        self._temporary = ""
        self._services: dict[type[Interface], Any] = {}
        self._writer = WriterThread(reactor)
        self._services[IWriter] = self._writer
        self._spool = Spool(self._writer, self._staging)
        self._services[IStaging] = self._spool
        _verify(self.addins)
        policy, dispatcher = self._answering(self.addins)
        self.acceptor = Acceptor(self.config, policy, dispatcher, reactor)

    def _answering(self, addins: Sequence[object]) -> tuple[AcceptancePolicy, Dispatcher]:
        dispatcher = Dispatcher(addins, self._spool, unknown_sop_classes=self.config.unknown_sop_classes)
        return AcceptancePolicy(self.ae_title, self.config, dispatcher, self._known_callers), dispatcher

    def service(self, interface: type[Interface]) -> Any:
        """See `IServer`."""
        try:
            return self._services[interface]
        except KeyError:
            raise LookupError(f"there is no base service {interface.__name__}") from None

    # -- life ----------------------------------------------------------------------------------------------------------

    async def bind(self, *endpoints: str) -> list[IAddress]:
        """Opens the ports; nothing is accepted yet. One that cannot be opened closes the others of this call again."""
        opened: list[Any] = []
        try:
            for endpoint in endpoints:
                port = await serverFromString(self._reactor, endpoint).listen(self.acceptor)
                opened.append(port)
                port.pauseProducing()
        except BaseException:
            await _close(opened)
            raise
        self.ports += opened
        return [port.getHost() for port in self.ports]

    async def start(self) -> None:
        """Starts the writer, loads the add-ins in order, then accepts."""
        self._writer.start()
        try:
            for addin in self.addins:
                await self._load(addin)
        except BaseException:
            await self._unload()
            await self._close_ports()
            await self._writer.stop()
            raise
        if len(self._loaded) < len(self.addins):
            self.acceptor.policy, self.acceptor.performer = self._answering(self._loaded)
        for port in self.ports:
            port.resumeProducing()

    async def _load(self, addin: Any) -> None:
        name = _name(addin)
        try:
            await maybeDeferred(addin.load, self)
        except NotConfigured as why:
            _log.info("add-in {name} is not configured: {why}", name=name, why=str(why))
            return
        except CancelledError:
            raise
        except Exception as error:
            if not isinstance(error, (DicomError, OSError)):
                _log.failure("add-in {name} failed to load", name=name)
            raise AddinError(f"add-in {name} cannot be loaded: {error}") from error
        self._loaded.append(addin)
        _log.info("add-in {name} {version} loaded", name=name, version=getattr(addin, "version", ""))

    async def stop(self) -> None:
        """Answers newcomers by A-ASSOCIATE-RJ (2,3,1) while operations finish, aborts the rest, unloads, closes."""
        await self.acceptor.drain()
        await self._writer.stop()
        await self._unload()
        await self._close_ports()
        await self.acceptor.close()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = ""

    async def _unload(self) -> None:
        while self._loaded:
            addin = self._loaded.pop()
            try:
                await maybeDeferred(addin.unload)
            except Exception:  # noqa: BLE001 (one add-in's mistake must not keep the others loaded)
                _log.failure("add-in {name} failed to unload", name=_name(addin))

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


def _verify(addins: Sequence[object]) -> None:
    """Checks every add-in against the interfaces it says it provides; SettingsError names all that fail."""
    problems = []
    for addin in addins:
        interfaces = [interface for interface, _ in METHODS.values() if interface.providedBy(addin)]
        for interface in (IDicomAddin, *interfaces):
            try:
                verifyObject(interface, addin)
            except Invalid as error:
                what, why = getattr(interface, "__name__", interface), " ".join(str(error).split())
                problems.append(f"add-in {_name(addin)} does not fulfil {what}: {why}")
    if problems:
        raise SettingsError(problems)


def _name(addin: object) -> str:
    return str(getattr(addin, "name", type(addin).__name__))


def listen(
    reactor: IReactorCore,
    endpoints: str | Sequence[str],
    *,
    ae_title: str,
    addins: Sequence[object],
    known_callers: Container[str] = (),
    **settings: Any,
) -> Deferred[ApplicationEntity]:
    """A server in one script: binds, loads the add-ins, accepts; fires with the running `ApplicationEntity`.

    `endpoints` are Twisted's endpoint strings ("tcp:11112:interface=127.0.0.1"), `settings` fields of `ScpConfig`.
    Errors: SettingsError with every mistake, `twisted.internet.error.CannotListenError`, what a `load` raises.
    """

    async def run() -> ApplicationEntity:
        entity = ApplicationEntity(
            reactor, ae_title, addins, validated(ScpConfig, settings), known_callers=known_callers
        )
        await entity.bind(*([endpoints] if isinstance(endpoints, str) else endpoints))
        await entity.start()
        return entity

    return Deferred.fromCoroutine(run())
