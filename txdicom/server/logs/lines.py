"""A log event as text for people: time, level, sentence.

What a peer sent cannot begin a line of its own: control characters are written as escapes.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import LogLevel, formatEvent

from txdicom.interfaces import REDACTED, Private
from txdicom.server.logs.failures import failure_in, traceback_of

if TYPE_CHECKING:
    from twisted.logger import LogEvent

#: what a level is called, in the log and in the settings
LEVEL_NAMES: Final = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warning",
    LogLevel.error: "error",
    LogLevel.critical: "error",
}
#: fields that begin so are patient data
PATIENT: Final = "patient_"
#: characters of a sentence and of a traceback; a peer or an add-in could fill the disk by one event
LONGEST: Final = 16_384

#: how Twisted shows an event that it cannot format, with all that is in it
_UNFORMATTED: Final = ("Unable to format event", "MESSAGE LOST")

#: the format of an event of Twisted's old log, whose text has the failure in it
_OLD_LOG: Final = "{log_text}"

_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def format_line(event: LogEvent, *, patient_data: bool = False) -> str:
    """One event as text: a line, and below it, indented, the traceback of its failure."""
    level = event.get("log_level", LogLevel.info)
    text = sentence(event, patient_data=patient_data).translate(_ESCAPES)
    failure = failure_in(event)
    if failure is not None:
        if not text:
            text = "an exception that nothing handled"
        lines = clipped(traceback_of(failure, patient_data=patient_data), tail=True).splitlines()
        text += "".join(f"\n    {line.translate(_ESCAPES)}" for line in lines)
    return f"{_stamp(int(event.get('log_time', 0.0)))} {LEVEL_NAMES.get(level, level.name):7} {text}\n"


@lru_cache(maxsize=2)
def _stamp(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


def sentence(event: LogEvent, *, patient_data: bool = False) -> str:
    """What the event says, its patient data redacted or not.

    Twisted's own formatter takes ten times as long, and has its turn only where it is needed. For an event that it
    cannot format it would show all fields, whatever is in them.
    """
    template = event.get("log_format")
    if template == _OLD_LOG and failure_in(event) is not None:
        return clipped(str(event.get("why") or ""))
    if patient_data:
        event = revealed(event)
    elif not isinstance(template, str) or PATIENT in template:
        event = redacted(event)
    if isinstance(template, str) and "()" not in template:
        try:
            return clipped(template.format_map(event))
        except Exception:  # noqa: BLE001, S110 (a field may raise anything; the other formatter says what went wrong)
            pass
    text = formatEvent(event)
    if text.startswith(_UNFORMATTED):
        return clipped(f"an event that cannot be formatted: {template!r}")
    return clipped(text)


def clipped(text: str, *, tail: bool = False) -> str:
    """`text`, of a longer one than a line may have its beginning, or its end."""
    if len(text) <= LONGEST:
        return text
    return f"[…] {text[-LONGEST:]}" if tail else f"{text[:LONGEST]} […]"


class _Redacted(str):
    """Stands for patient data in a format, whatever that asks of it: `{patient_name.family_name[0]}`."""

    __slots__ = ()

    def __getattr__(self, name: str) -> _Redacted:
        return self

    def __getitem__(self, key: Any) -> _Redacted:
        return self

    def __call__(self) -> _Redacted:
        return self

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __repr__(self) -> str:
        return REDACTED


_HIDDEN: Final = _Redacted(REDACTED)


def redacted(event: LogEvent) -> LogEvent:
    """The event without its patient data."""
    return {
        name: _HIDDEN if name.startswith(PATIENT) or isinstance(value, Private) else value
        for name, value in event.items()
    }


def revealed(event: LogEvent) -> LogEvent:
    """The event with its patient data as they are, under names that nobody redacts any more."""
    return {name: value.value if isinstance(value, Private) else value for name, value in event.items()}
