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
from txdicom.server import launch
from txdicom.server.endpoints import why_not
from txdicom.server.folder import socket_in
from txdicom.server.notify import notify
from txdicom.server.serving import reason_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from types import FrameType

    from txdicom.server.folder import ServerFolder
    from txdicom.server.logs.log import ServerLog
    from txdicom.server.serving import Served
    from txdicom.server.settings.live import LiveSettings

_log = Logger()

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StartError(Exception):
    """The server cannot start; the text is for the operator."""


class DicomServer(Service):
    """One server: what answers associations, its ports open, in a folder that is held.

    `late` are endpoints to open after a daemon has left its launcher. Where the start fails later than that, the
    process ends with status 1. With `live` its settings can be read again (SIGHUP), and it can be administered, at a
    socket in the folder; SettingsError where that cannot be.
    """

    def __init__(
        self,
        reactor: Any,
        served: Served,
        folder: ServerFolder,
        *,
        late: Sequence[str] = (),
        log: ServerLog | None = None,
        live: LiveSettings | None = None,
    ) -> None:
        self.served = served
        self._reactor = reactor
        self._folder = folder
        self._late = tuple(late)
        self._log = log
        self._live = live
        self._ready = False
        self._stopping = False
        self._starting: Deferred[None] | None = None
        self._reading: Deferred[None] | None = None
        self._once_more = False
        self._admin: AdminServer | None = None
        if live is not None:
            settings = live.settings.server
            control = served.administered(reactor, live, self._asked_by_administrator)
            path = socket_in(folder.path, settings.admin_socket)
            self._admin = AdminServer(reactor, control, path, settings.admin_connections)

    def setServiceParent(self, parent: Any) -> None:  # noqa: N802 (Twisted's name)
        """Brings its log along: twistd asks the application for it."""
        if self._log is not None and isinstance(parent, Componentized):
            self._log.attach(parent)
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def privilegedStartService(self) -> None:
        """Opens the ports that had to wait for the process in which they stay."""
        for endpoint in self._late:
            try:
                at_once(self.served.bind(endpoint))
            except SettingsError as error:
                notify(STATUS=f"cannot start: {error}")
                raise
            except Exception as error:
                sentence = why_not(endpoint, error)
                notify(STATUS=f"cannot start: {sentence}")
                raise StartError(sentence) from error

    def startService(self) -> None:
        """Has the add-ins loaded, and associations accepted, once the reactor runs."""
        super().startService()  # type: ignore[no-untyped-call]
        self._folder.note_process()
        self._reactor.callWhenRunning(self._run)

    def _run(self) -> None:
        self._watch_signals()
        self._starting = Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        title = self.served.ae_title
        try:
            await self.served.start()
            if self._admin is not None:
                self._admin.start()  # the ports are open, but the reactor has not turned: no association has come yet
        except CancelledError:
            _log.info("stopped before it was ready")
        except Exception as error:  # noqa: BLE001 (an add-in's load raises what it likes)
            if not isinstance(error, DicomError | OSError):
                _log.failure("the start failed")
            self._fail(reason_of(error))
        else:
            launch.settle()
            self._ready = True
            _log.info("ready: {ae_title} accepts associations", audit="server-started", ae_title=title)
            notify(READY=1, STATUS=f"{title} accepts associations", MAINPID=os.getpid())

    def _fail(self, reason: str) -> None:
        _log.critical(
            "the server {ae_title} cannot start: {reason}",
            audit="server-not-started",
            ae_title=self.served.ae_title,
            reason=reason,
        )
        notify(STATUS=f"cannot start: {reason}")
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
        for under_way in (self._starting, self._reading):
            if under_way is not None and not under_way.called:
                under_way.cancel()
        notify(STOPPING=1)
        try:
            await self.served.stop()
        finally:
            if self._admin is not None:
                await self._admin.stop()
            self._folder.release()
            _log.info("stopped", audit="server-stopped")

    # -- signals -------------------------------------------------------------------------------------------------------

    def _watch_signals(self) -> None:
        # Twisted's own handlers end the process by the signal, so that its status is not 0, and know no second Ctrl-C
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._signalled)

    def _asked_by_administrator(self, force: bool) -> None:
        _log.info("an administrator stops the server")
        self._stop_reactor()
        if force:
            self.served.abort_all()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._stopping:
            # and one more ends the process whatever it waits for
            signal.signal(number, signal.SIG_DFL)
        elif number == signal.SIGHUP and self._live is not None and not on_terminal():
            self._reactor.callFromThread(self._read_again, name)
            return
        self._reactor.callFromThread(self._asked_to_stop, name)

    def _asked_to_stop(self, name: str) -> None:
        if not self._stopping:
            _log.info("{name}: stopping; once more aborts what is running", name=name)
            self._stop_reactor()
            return
        _log.warn("{name} again: what is running is aborted", name=name)
        self.served.abort_all()

    def _read_again(self, name: str) -> None:
        if not self._ready or self._stopping:
            _log.info("{name}: nothing is read again now", name=name)
            return
        if self._reading is not None:
            self._once_more = True  # what is being read may have changed since
            return
        _log.info("{name}: settings and files are read again", name=name)
        notify(RELOADING=1)
        self._reading = Deferred.fromCoroutine(self._reload())
        self._reading.addErrback(lambda failure: _log.failure("reading the files again failed", failure))
        self._reading.addBoth(lambda _: self._read(name))

    async def _reload(self) -> None:
        assert self._live is not None
        try:
            applied = await self._live.reload()
        except (DicomError, CancelledError):  # its mistakes are in the log
            return
        _log.info(
            "settings and files were read again; changed: {changed}",
            audit="settings-read",
            changed=", ".join(applied.changed) or "nothing",
        )
        if applied.restart:
            _log.warn("these need a restart: {names}", names=", ".join(applied.restart))

    def _read(self, name: str) -> None:
        self._reading, again, self._once_more = None, self._once_more, False
        if self._stopping:
            return
        notify(READY=1)
        if again:
            self._read_again(name)


def on_terminal() -> bool:
    """Whether this process has a controlling terminal, whose end is a SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


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


def _exit_with_failure() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
