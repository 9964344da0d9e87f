"""What may be told of an exception: its type, where it was raised, and its message where that quotes nobody.

An add-in's exception may have a value of the data set in its message, and nobody can tell it from other text. So the
message is shown of our own errors, of those of the system by its number, and of all others only if patient data are
wanted.
"""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING, Any

from txdicom.errors import DicomError
from txdicom.interfaces import REDACTED

if TYPE_CHECKING:
    from twisted.python.failure import Failure


def message_of(error: BaseException, *, patient_data: bool = False) -> str:
    """The message of an exception, or what stands for it; "" where it has none. It raises nothing."""
    try:
        if patient_data:
            return str(error)
        if isinstance(error, DicomError) and type(error).__module__.startswith("txdicom."):
            return str(error)
        if isinstance(error, OSError) and type(error).__module__ == "builtins" and isinstance(error.errno, int):
            # what it adds may be the name of an add-in's file, in which a patient's may be
            return f"[Errno {error.errno}] {os.strerror(error.errno)}"
        return REDACTED if str(error) else ""
    except Exception:  # noqa: BLE001 (an add-in's exception may raise when it is asked)
        return REDACTED


def summary_of(failure: Failure) -> str:
    """A line on a failure: `KeyError (worklist.py:12)`, with the message where it may be told."""
    error: Any = failure.value
    message = message_of(error)
    name = type(error).__name__
    what = name if message in ("", REDACTED) else f"{name}: {message}"
    tb = failure.getTracebackObject()
    frames = traceback.extract_tb(tb) if tb is not None else []
    return f"{what} ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else what
