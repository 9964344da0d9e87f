"""What a log says of an exception: its type, where it was raised, and its message as `services.failures` has it."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

from twisted.python.failure import Failure

from txdicom.services.failures import message_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from twisted.logger import LogEvent

#: exceptions of a chain that are shown, and frames of each, from either end
_CHAIN: Final = 10
_FRAMES: Final = 50

_CAUSE: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"


def failure_in(event: LogEvent) -> Failure | None:
    """The failure that an event tells of; one of Twisted's old log has it under another name."""
    failure = event.get("log_failure") or event.get("failure")
    return failure if isinstance(failure, Failure) else None


def type_of(error: BaseException) -> str:
    """The name of an exception's class, with its module."""
    return f"{type(error).__module__}.{type(error).__qualname__}"


def traceback_of(failure: Failure, *, patient_data: bool = False) -> str:
    """The frames, oldest first, and the exception; before it those that it was caused by. No values of variables."""
    parts: list[str] = []
    for error, frames, follows in _chain(failure):
        message = message_of(error, patient_data=patient_data)
        last = f"{type_of(error)}: {message}" if message else type_of(error)
        parts.append(f"Traceback (most recent call last):\n{_shown(frames)}{last}\n{follows}")
    return "".join(reversed(parts))


def _chain(failure: Failure) -> Iterator[tuple[BaseException, TracebackType | None, str]]:
    """The exception, then what it was caused by, each with its frames and the words between it and the next one."""
    error: BaseException | None = failure.value
    frames: TracebackType | None = failure.getTracebackObject()
    follows = ""
    seen: set[int] = set()
    while error is not None and id(error) not in seen and len(seen) < _CHAIN:
        seen.add(id(error))
        yield error, frames, follows
        if error.__cause__ is not None:
            error, follows = error.__cause__, _CAUSE
        elif not error.__suppress_context__:
            error, follows = error.__context__, _CONTEXT
        else:
            return
        frames = error.__traceback__ if error is not None else None


def _shown(frames: TracebackType | None) -> str:
    found = traceback.extract_tb(frames) if frames is not None else []
    if len(found) > 2 * _FRAMES:
        head, tail = found[:_FRAMES], found[-_FRAMES:]
        left_out = f"  […] {len(found) - 2 * _FRAMES} frames\n"
        return "".join([*traceback.format_list(head), left_out, *traceback.format_list(tail)])
    return "".join(traceback.format_list(found))
