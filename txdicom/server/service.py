"""A running server as a Twisted service: its start, its signals, its stop."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.components import Componentized

from txdicom.admin.listen import AdminServer
from txdicom.errors import DicomError, SettingsError
from txdicom.interfaces import IServiceLog
from txdicom.server import launch
from txdicom.server.control import ServerControl
from txdicom.server.endpoints import why_not

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from types import FrameType

    from txdicom.scp import ApplicationEntity
    from txdicom.server.folder import ServerFolder
    from txdicom.server.log import ServerLog
    from txdicom.server.settings import Settings

_log = Logger()

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StartError(Exception):
    """The server cannot start; the text is for the operator."""


class DicomServer(Service):
    """One server: an application entity whose ports are open, in a folder that is held.

    `late` are endpoints to open after a daemon has left its launcher. Where the start fails later than that, the
    process ends with status 1. With `settings` it can be administered, at a socket in the folder; SettingsError where
    that cannot be.
    """

    def __init__(
        self,
        reactor: Any,
        entity: ApplicationEntity,
        folder: ServerFolder,
        *,
        late: Sequence[str] = (),
        log: ServerLog | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.entity = entity
        self._reactor = reactor
        self._folder = folder
        self._late = tuple(late)
        self._log = log
        self._stopping = False
        self._starting: Deferred[None] | None = None
        self._control: ServerControl | None = None
        self._admin: AdminServer | None = None
        if settings is not None:
            self._control = ServerControl(reactor, entity, settings, self._asked_by_administrator)
            path = os.path.join(folder.path, settings.server.admin_socket or f"{entity.ae_title}.sock")
            self._admin = AdminServer(reactor, self._control, path, settings.server.admin_connections)

    def setServiceParent(self, parent: Any) -> None:  # noqa: N802 (Twisted's name)
        """Brings its log along: twistd asks the application for it."""
        if self._log is not None and isinstance(parent, Componentized):
            self._log.attach(parent)
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def privilegedStartService(self) -> None:
        """Opens the ports that had to wait for the process in which they stay."""
        for endpoint in self._late:
            try:
                at_once(self.entity.bind(endpoint))
            except SettingsError:
                raise
            except Exception as error:
                raise StartError(why_not(endpoint, error)) from error

    def startService(self) -> None:
        """Has the add-ins loaded, and associations accepted, once the reactor runs."""
        super().startService()  # type: ignore[no-untyped-call]
        self._folder.note_process()
        self._reactor.callWhenRunning(self._run)

    def _run(self) -> None:
        self._watch_signals()
        self._starting = Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            await self.entity.start()
            if self._admin is not None:
                self._admin.start()  # the ports are open, but the reactor has not turned: no association has come yet
        except CancelledError:
            _log.info("stopped before it was ready")
        except Exception as error:  # noqa: BLE001 (an add-in's load raises what it likes)
            if not isinstance(error, DicomError | OSError):
                _log.failure("the start failed")
            self._fail(f"the server {self.entity.ae_title} cannot start: {_reason(error)}")
        else:
            launch.settle()
            if self._log is not None:
                self._log.use(self.entity.service(IServiceLog))
            _log.info("ready: {ae_title} accepts associations", audit="server-started", ae_title=self.entity.ae_title)

    def _fail(self, sentence: str) -> None:
        _log.critical("{sentence}", audit="server-not-started", sentence=sentence)
        # twistd ends with status 0 whenever its reactor was stopped in order
        atexit.register(_exit_with_failure)
        self._stop_reactor()

    def _stop_reactor(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._reactor.stop()

    # -- stopping ------------------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """Drains, unloads, closes the ports; fires when all is done."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._stopping = True
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        starting = self._starting
        if starting is not None and not starting.called:
            starting.cancel()
        count = len(self.entity.acceptor.associations)
        if count:
            _log.info(
                "draining: {count} connections, running operations have {seconds:g} s",
                count=count,
                seconds=self.entity.config.drain_timeout,
            )
        if self._control is not None and self._admin is not None and self._admin.listening:
            self._control.shutting_down()
        try:
            await self.entity.stop()
        finally:
            if self._control is not None:
                self._control.ended()
            if self._admin is not None:
                await self._admin.stop()
            self._folder.release()
            _log.info("stopped", audit="server-stopped")

    def _watch_signals(self) -> None:
        # Twisted's own handlers end the process by the signal, so that its status is not 0, and know no second Ctrl-C
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._signalled)

    def _asked_by_administrator(self, force: bool) -> None:
        _log.info("an administrator stops the server")
        self._stop_reactor()
        if force:
            self._abort_all()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            # and one more ends the process whatever it waits for
            signal.signal(number, signal.SIG_DFL)
        self._reactor.callFromThread(self._asked_to_stop, signal.Signals(number).name)

    def _asked_to_stop(self, name: str) -> None:
        if not self._stopping:
            _log.info("{name}: stopping; once more aborts what is running", name=name)
            self._stop_reactor()
            return
        _log.warn("{name} again: what is running is aborted", name=name)
        self._abort_all()

    def _abort_all(self) -> None:
        for association in list(self.entity.acceptor.associations.values()):
            association.hang_up("the server was stopped at once")


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that waits for nothing."""
    results: list[Any] = []
    failures: list[Any] = []
    Deferred.fromCoroutine(coroutine).addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    if not results:
        raise OSError("it is not open at once")
    return results[0]


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _exit_with_failure() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
