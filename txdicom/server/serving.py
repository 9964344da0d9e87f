"""What a `DicomServer` runs: an application entity in its own process, or workers (`txdicom.server.workers`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.logger import Logger

from txdicom.interfaces import IServiceLog
from txdicom.server.control.control import ServerControl
from txdicom.server.endpoints import is_secure

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress

    from txdicom.scp import ApplicationEntity
    from txdicom.server.logs.log import ServerLog
    from txdicom.server.settings.live import LiveSettings

_log = Logger()


class Served(Protocol):
    """Answers associations."""

    @property
    def ae_title(self) -> str:
        """The server's."""

    @property
    def addresses(self) -> list[tuple[IAddress, bool]]:
        """Where it listens, and whether for TLS."""

    async def bind(self, endpoint: str, *, secure: bool = False) -> Any:
        """Opens a port; nothing is accepted yet."""

    def administered(self, reactor: Any, live: LiveSettings, stop: Callable[[bool], None]) -> Any:
        """Its `IServerControl`; `stop` is what stops the server: called with whether operations are aborted."""

    async def start(self) -> None:
        """Has add-ins loaded, and accepts. Cancelled, or where it fails, nothing of it is left but the ports."""

    async def stop(self) -> None:
        """Drains, unloads, closes the ports; also comes without a start, and amid one that was cancelled."""

    def abort_all(self) -> None:
        """Ends at once what a stop waits for."""


class OneProcess:
    """An application entity that answers in this process. See `Served`.

    Its service log, which an add-in may have replaced, takes the events of `log` once it is started.
    """

    def __init__(self, entity: ApplicationEntity, log: ServerLog | None = None) -> None:
        self.entity = entity
        self._log = log
        self._control: ServerControl | None = None
        self._started = False

    @property
    def ae_title(self) -> str:
        """See `Served`."""
        return self.entity.ae_title

    @property
    def addresses(self) -> list[tuple[IAddress, bool]]:
        """See `Served`."""
        return [(port.getHost(), is_secure(port)) for port in self.entity.ports]

    async def bind(self, endpoint: str, *, secure: bool = False) -> None:
        """See `Served`."""
        await self.entity.bind(endpoint, secure=secure)

    def administered(self, reactor: Any, live: LiveSettings, stop: Callable[[bool], None]) -> ServerControl:
        """See `Served`."""
        self._control = ServerControl(reactor, self.entity, live, stop)
        return self._control

    async def start(self) -> None:
        """See `Served`."""
        await self.entity.start()
        self._started = True
        if self._control is not None:
            self._control.started()
        if self._log is not None:
            self._log.use(self.entity.service(IServiceLog))

    async def stop(self) -> None:
        """See `Served`."""
        log_drain(len(self.entity.acceptor.associations), self.entity.config.drain_timeout)
        if self._control is not None and self._started:
            self._control.shutting_down()
        try:
            await self.entity.stop()
        finally:
            if self._control is not None:
                self._control.ended()

    def abort_all(self) -> None:
        """See `Served`."""
        for association in list(self.entity.acceptor.associations.values()):
            association.hang_up("the server was stopped at once")


def log_drain(count: int, seconds: float) -> None:
    """Tells what a stop waits for."""
    if count:
        text = "draining: {count} connections, running operations have {seconds:g} s"
        _log.info(text, count=count, seconds=seconds)


def reason_of(error: Exception) -> str:
    """Why something failed, as a sentence for the operator."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
