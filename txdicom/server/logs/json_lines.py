"""A log event as one JSON object on a line, for machines.

`time` (UTC), `level`, `namespace`, `text`, then the event's own fields as far as JSON has a value for them, then
`failure` with `type`, `message` and `traceback`. A line is ASCII, so that nothing in it begins another one.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import LogLevel

from txdicom.interfaces import REDACTED, Private
from txdicom.server.logs.failures import failure_in, traceback_of, type_of
from txdicom.server.logs.lines import LEVEL_NAMES, LONGEST, PATIENT, clipped, sentence
from txdicom.services.failures import message_of

if TYPE_CHECKING:
    from twisted.logger import LogEvent

#: bytes of a line; of an event that needs more, fields are left out
LONGEST_LINE: Final = 65_536

#: fields that Twisted's old log adds to every event
_LEGACY: Final = frozenset({"message", "time", "system", "isError", "format", "failure"})
_TAKEN: Final = frozenset({"level", "namespace", "text"})
_OMIT: Final = object()
_DEPTH: Final = 4
_ITEMS: Final = 200
#: what all numbers of all programs hold; the text of a longer one is written
_INTEGER: Final = 2**63

_encode = json.JSONEncoder(separators=(",", ":")).encode


def format_json(event: LogEvent, *, patient_data: bool = False) -> str:
    """One event as a line."""
    level = event.get("log_level", LogLevel.info)
    line: dict[str, Any] = {
        "time": timestamp(event.get("log_time", 0.0)),
        "level": LEVEL_NAMES.get(level, level.name),
        "namespace": str(event.get("log_namespace", "")),
        "text": sentence(event, patient_data=patient_data),
    }
    add_fields(line, event, patient_data=patient_data)
    failure = failure_in(event)
    if failure is not None:
        error: Any = failure.value
        line["failure"] = {
            "type": type_of(error),
            "message": clipped(message_of(error, patient_data=patient_data)),
            "traceback": clipped(traceback_of(failure, patient_data=patient_data), tail=True),
        }
    return encoded(line)


def timestamp(seconds: float) -> str:
    """A time as ISO 8601 in UTC, with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def add_fields(line: dict[str, Any], event: LogEvent, *, patient_data: bool = False) -> None:
    """Adds the event's own fields; what is no plain value, a data set above all, is left out."""
    for name, value in event.items():
        if name[:4] == "log_" or name in _LEGACY:
            continue
        kind = type(value)
        if name[:8] == PATIENT and not patient_data:
            plain = REDACTED
        elif (kind is int and -_INTEGER <= value < _INTEGER) or (kind is str and len(value) <= LONGEST):
            plain = value
        else:
            plain = _plain(value, _DEPTH, patient_data=patient_data)
            if plain is _OMIT:
                continue
        line[f"{name}_" if name in _TAKEN else name] = plain


def _plain(value: Any, depth: int, *, patient_data: bool) -> Any:
    """`value` as JSON has it; `_OMIT` for what it has not."""
    if isinstance(value, Private):
        return _plain(value.value, depth, patient_data=patient_data) if patient_data else REDACTED
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clipped(str(value))
    if isinstance(value, int):
        return int(value) if -_INTEGER <= value < _INTEGER else hex(value)[:100]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, BaseException):
        message = message_of(value, patient_data=patient_data)
        return clipped(f"{type(value).__name__}: {message}" if message else type(value).__name__)
    if depth and isinstance(value, dict):
        found = {
            clipped(str(key)): _plain(one, depth - 1, patient_data=patient_data)
            if patient_data or not str(key).startswith(PATIENT)
            else REDACTED
            for key, one in [*value.items()][:_ITEMS]
        }
        return {key: one for key, one in found.items() if one is not _OMIT}
    if depth and isinstance(value, list | tuple | set | frozenset):
        listed = [_plain(one, depth - 1, patient_data=patient_data) for one in [*value][:_ITEMS]]
        return [one for one in listed if one is not _OMIT]
    return _OMIT


def encoded(line: dict[str, Any]) -> str:
    """The object as text that ends with a line feed, bounded in size; the text and the failure are kept longest."""
    text = _encode(line)
    if "\\ud" in text:  # half a surrogate pair, of a name that was not in the system's encoding, is not JSON everywhere
        text = _encode(_without_surrogates(line))
    if len(text) >= LONGEST_LINE:
        text = _encode(_without_surrogates(_shortened(line)))
    return text + "\n"


def _shortened(line: dict[str, Any]) -> dict[str, Any]:
    """What of an object is kept that is too long: its head, short fields, the end of the traceback."""
    kept: dict[str, Any] = {name: line[name] for name in ("time", "audit", "level", "namespace") if name in line}
    kept |= {"text": str(line.get("text", ""))[:500], "clipped": True}
    for name, value in line.items():
        if name not in kept and len(name) <= 100 and len(_encode(value)) <= 500 and len(kept) < 20:
            kept[name] = value
    if "failure" in line:
        kept["failure"] = {name: value[-1000:] for name, value in line["failure"].items()}
    return kept


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(one) for one in value]
    return value
