"""The log of a server: the observer that takes its events, and where they go."""

from __future__ import annotations

import io
import os
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import ILogObserver, Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from txdicom.errors import RAISED, SettingsError
from txdicom.interfaces import IServiceLog, IWriter
from txdicom.server.logs.audit import InstanceAudit, format_audit
from txdicom.server.logs.datasets import DatasetLog
from txdicom.server.logs.files import LogFile, LogStream
from txdicom.server.logs.json_lines import format_json
from txdicom.server.logs.lines import format_line, redacted, revealed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.logger import LogEvent

    from txdicom.scp import ApplicationEntity
    from txdicom.server.settings.log import LogSettings

_log = Logger()

_LEVELS: Final = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warning": LogLevel.warn,
    "error": LogLevel.error,
}
#: in their order, the severest first, which are the fewest
_ALL: Final = (LogLevel.critical, LogLevel.error, LogLevel.warn, LogLevel.info, LogLevel.debug)
_LOUD: Final = _ALL[:3]
#: what the framework below tells of itself, of no use to an operator
_NOISE: Final = ("twisted.", "log_legacy")

JSON_LOG: Final = "server.jsonl"
AUDIT_LOG: Final = "audit.jsonl"


class Form:
    """How a log writes an event: by `write`, with patient data or without, which may change."""

    def __init__(self, write: Callable[..., str], settings: LogSettings) -> None:
        self._write = write
        self.patient_data = settings.patient_data

    def __call__(self, event: LogEvent) -> str:
        """The line or lines of one event."""
        return self._write(event, patient_data=self.patient_data)


@implementer(IServiceLog)
class ServiceLog:
    """The default service log: files, and in the foreground the standard output."""

    def __init__(self, logs: Sequence[LogFile | LogStream]) -> None:
        self.logs = tuple(logs)

    def event(self, event: LogEvent) -> None:
        """See `IServiceLog`."""
        for log in self.logs:
            try:
                log.event(event)
            except Exception as error:  # noqa: BLE001 (a field may raise anything when it is looked at)
                log.event(_undescribed(event, error))


@implementer(IServiceLog)
class Replacement:
    """A service log that an add-in provides, kept from harm: where it fails, `own` has the event."""

    def __init__(self, service: Any, own: ServiceLog, *, patient_data: bool) -> None:
        self._take = service.event
        self._own = own
        self.show(patient_data=patient_data)
        self._inside = threading.local()
        self._told = False

    def show(self, *, patient_data: bool) -> None:
        """Whether the add-in is given patient data, from now on."""
        self._prepared = revealed if patient_data else redacted

    def event(self, event: LogEvent) -> None:
        """See `IServiceLog`. What the add-in logs meanwhile would come back to it for ever."""
        if getattr(self._inside, "now", False):
            self._own.event(event)
            return
        self._inside.now = True
        try:
            self._take(self._prepared(event))
        except RAISED:
            self._own.event(event)
            if not self._told:
                self._told = True
                _log.failure("the service log of an add-in failed; what it fails at is here", Failure())
        finally:
            self._inside.now = False


@implementer(ILogObserver)
class ServerLog:
    """Takes every log event of the process; those that are wanted go to the service log, audited ones to the audit log.

    `own` has no logs where twistd has its own log, which gets the events without our help. `open_audit` opens the audit
    log when it is wanted first. What the logs write is described by a `Form`, their `describe`.
    """

    def __init__(
        self,
        settings: LogSettings,
        own: ServiceLog,
        audit: LogFile | None = None,
        open_audit: Callable[[LogSettings], LogFile] | None = None,
    ) -> None:
        self.own = own
        self.audit = audit
        self._open_audit = open_audit
        self._attached = False
        self._entity: ApplicationEntity | None = None
        self._datasets = ""
        self._watching: list[Callable[[], None]] = []
        self._take: Callable[[LogEvent], None] = own.event
        self._replacement: Replacement | None = None
        self._set(settings)

    def _set(self, settings: LogSettings) -> None:
        self._settings = settings
        self._wanted = _ALL[: _ALL.index(_LEVELS[settings.level]) + 1]

    def __call__(self, event: LogEvent) -> None:
        """See `ILogObserver`. It raises nothing: who logs has other things to do."""
        try:
            if self.audit is not None and isinstance(event.get("audit"), str) and self._settings.audit:
                self.audit.event(event)
            if self._is_wanted(event):
                self._take(event)
        except Exception:  # noqa: BLE001, S110 (there is nowhere left to tell of it)
            pass

    def _is_wanted(self, event: LogEvent) -> bool:
        """Whether the event is of the level that is set; of Twisted itself it has to be a warning at least."""
        level = event.get("log_level", LogLevel.info)
        if event.get("log_failure") is not None:
            return True
        if level not in self._wanted:
            return False
        return level in _LOUD or not str(event.get("log_namespace", "")).startswith(_NOISE)

    def configure(self, settings: LogSettings) -> None:
        """Has other settings hold from now on, all but `format`.

        SettingsError where the audit log cannot be opened; then those of before hold.
        """
        if settings.audit and self.audit is None and self._open_audit is not None:
            audit = self._open_audit(settings)
            if not audit.is_open:
                raise SettingsError([f"{audit.path} cannot be written: {audit.why}"])
            self.audit = audit
            self._observe()
        self._set(settings)
        for log in self._files():
            if isinstance(log.describe, Form):
                log.describe.patient_data = settings.patient_data
            if isinstance(log, LogFile) and log.rotate_size is not None:
                log.rotate_size, log.rotate_count = settings.rotate_size, settings.rotate_count
        if self._replacement is not None:
            self._replacement.show(patient_data=settings.patient_data)
        self._watch()

    def serve(self, entity: ApplicationEntity, folder: str) -> None:
        """Is the service log of a server that has no other, and hears of the instances that it stores.

        Copies of them go to `folder`, where the settings ask for any.
        """
        self._entity, self._datasets = entity, folder
        entity.services.default(IServiceLog, lambda: self.own)
        self._watch()

    def _watch(self) -> None:
        """Hears of the instances that are stored as the settings ask for it; of none it costs nothing."""
        entity, settings = self._entity, self._settings
        if entity is None:
            return
        for end in self._watching:
            end()
        self._watching = []
        if self.audit is not None and settings.audit and settings.audit_instances:
            self._watching.append(entity.watch_stores(InstanceAudit(self.audit)))
        if settings.datasets != "none":
            copies = DatasetLog(self._datasets, entity.service(IWriter), settings.datasets, settings.dataset_count)
            self._watching.append(entity.watch_stores(copies))

    def use(self, service: Any) -> None:
        """Gives the events to another service log from now on."""
        if service is not self.own:
            self._replacement = Replacement(service, self.own, patient_data=self._settings.patient_data)
            self._take = self._replacement.event

    def attach(self, application: Any) -> None:
        """Has twistd log here. Where its own log is wanted, this one listens beside it."""
        self._attached = True
        if self.own.logs:
            application.setComponent(ILogObserver, self)
        self._observe()

    def _observe(self) -> None:
        """Listens where twistd's own log is wanted, and there is an audit log."""
        if self._attached and not self.own.logs and self.audit is not None:
            globalLogPublisher.addObserver(self)

    def reopen(self) -> None:
        """Opens the log files anew, after another program has moved them away."""
        for log in self._files():
            log.reopen()

    def close(self) -> None:
        """Lets go of the log files."""
        globalLogPublisher.removeObserver(self)
        for log in self._files():
            log.close()

    def _files(self) -> list[LogFile | LogStream]:
        return [*self.own.logs, self.audit] if self.audit is not None else [*self.own.logs]


def choose_log(twistd: Any, log_file: str, settings: LogSettings) -> tuple[ServerLog, str]:
    """The log of a process that `twistd` runs with these options, and where it is.

    In the foreground it is the standard output, in the background `log_file`, unless --logfile says otherwise: that
    file is written, and rotated by whoever has named it. SettingsError where a file cannot be written.
    """
    place, logs = _choose(twistd, log_file, settings)
    folder = os.path.dirname(log_file)
    if logs and settings.format == "both":
        logs.append(_rotated(os.path.join(folder, JSON_LOG), format_json, settings))
    open_audit = partial(_rotated, os.path.join(folder, AUDIT_LOG), format_audit)
    audit = open_audit(settings) if settings.audit else None
    log = ServerLog(settings, ServiceLog(logs), audit, open_audit)
    problems = [
        f"{one.path} cannot be written: {one.why}"
        for one in (*logs, audit)
        if isinstance(one, LogFile) and not one.is_open
    ]
    if problems:
        log.close()
        raise SettingsError(problems)
    return log, place


def _choose(twistd: Any, log_file: str, settings: LogSettings) -> tuple[str, list[LogFile | LogStream]]:
    """Where the log is, in words, and what writes it; nothing where twistd does."""
    foreground, named = twistd.get("nodaemon"), twistd.get("logfile")
    write = format_json if settings.format == "json" else format_line
    if twistd.get("syslog"):
        return "the system's log", []
    if twistd.get("logger") or (named == "-" and not foreground):
        return "twistd's", []
    if named and named != "-":
        path = os.path.abspath(named)
        return path, [LogFile(path, Form(write, settings))]
    if not foreground:
        path = os.path.join(os.path.dirname(log_file), JSON_LOG) if settings.format == "json" else log_file
        return path, [_rotated(path, write, settings)]
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a name that the terminal cannot show must not cost the line
        sys.stdout.reconfigure(errors="backslashreplace")
    return "the standard output", [LogStream(sys.stdout, Form(write, settings))]


def _rotated(path: str, write: Callable[..., str], settings: LogSettings) -> LogFile:
    """A log file of ours, rotated as the settings say."""
    rotation = {"rotate_size": settings.rotate_size, "rotate_count": settings.rotate_count}
    return LogFile(path, Form(write, settings), **rotation)


def _undescribed(event: LogEvent, error: Exception) -> LogEvent:
    kept: LogEvent = {name: event[name] for name in ("log_level", "log_time", "log_namespace") if name in event}
    return kept | {"log_format": "an event that cannot be described, for {kind}", "kind": type(error).__name__}
