"""The server's log as lines of text: time, level, sentence.

What a peer sent cannot begin a line of its own: control characters are written as escapes.
"""

from __future__ import annotations

import io
import os
import sys
import time
from typing import IO, TYPE_CHECKING, Any, Final

from twisted.logger import ILogObserver, LogLevel, formatEvent
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.logger import LogEvent

_NAMES: Final = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warning",
    LogLevel.error: "error",
    LogLevel.critical: "error",
}
_LOUD: Final = (LogLevel.warn, LogLevel.error, LogLevel.critical)
#: what the framework below tells of itself, of no use to an operator
_NOISE: Final = ("twisted.", "log_legacy")
_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def format_line(event: LogEvent) -> str:
    """One event as text: a line, and below it, indented, the traceback of its failure."""
    level = event.get("log_level", LogLevel.info)
    seconds = event.get("log_time", 0.0)
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    text = _sentence(event).translate(_ESCAPES)
    failure = event.get("log_failure")
    if failure is not None:
        if not text:
            text = "an exception that nothing handled"
        text += "".join(f"\n    {line.translate(_ESCAPES)}" for line in failure.getTraceback().splitlines())
    return f"{stamp} {_NAMES.get(level, level.name):7} {text}\n"


def _sentence(event: LogEvent) -> str:
    """What the event says; Twisted's own formatter, which takes ten times as long, only where it is needed."""
    template = event.get("log_format")
    if isinstance(template, str) and "()" not in template:
        try:
            return template.format_map(event)
        except Exception:  # noqa: BLE001, S110 (a field may raise anything; the other formatter says what went wrong)
            pass
    return formatEvent(event)


def is_wanted(event: LogEvent) -> bool:
    """Whether the event goes into the log: from `info` upwards, of Twisted itself from `warn` upwards."""
    level = event.get("log_level", LogLevel.info)
    if level in _LOUD or event.get("log_failure") is not None:
        return True
    return level is not LogLevel.debug and not str(event.get("log_namespace", "")).startswith(_NOISE)


@implementer(ILogObserver)
class TextLog:
    """A log observer that writes lines to a stream, each at once."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __call__(self, event: LogEvent) -> None:
        """See `ILogObserver`."""
        if is_wanted(event):
            self._stream.write(format_line(event))
            self._stream.flush()


def open_log(path: str) -> TextLog:
    """A log in a private file, behind what is there."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return TextLog(open(file, "a", encoding="utf-8", errors="backslashreplace"))


def choose_log(twistd: Any, log_file: str) -> tuple[Callable[[LogEvent], None] | None, str]:
    """The log of a process that `twistd` runs with these options, and where it is; None for one that twistd makes.

    In the foreground it is the standard output, in the background `log_file`, unless --logfile says otherwise.
    """
    foreground, named = twistd.get("nodaemon"), twistd.get("logfile")
    if twistd.get("syslog"):
        return None, "the system's log"
    if twistd.get("logger") or (named == "-" and not foreground):
        return None, "twistd's"
    if not foreground or (named and named != "-"):
        path = os.path.abspath(named) if named else log_file
        return open_log(path), path
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a name that the terminal cannot show must not cost the line
        sys.stdout.reconfigure(errors="backslashreplace")
    return TextLog(sys.stdout), "the standard output"
