"""What may be told of an exception, to whom it may not tell of a patient."""

from __future__ import annotations

import re

import pytest
from twisted.python.failure import Failure

from txdicom.dimse.status import PROCESSING_FAILURE
from txdicom.errors import ConnectionFailed, DicomError, StatusError
from txdicom.services.failures import message_of, summary_of


class TheirError(DicomError):
    """One of an add-in, derived from ours."""


class TheirOSError(OSError):
    """The same."""


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("DOE")


class Silent(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("DOE^JOHN"), "[redacted]"),
        (KeyError("DOE^JOHN"), "[redacted]"),
        (TheirError("DOE^JOHN"), "[redacted]"),
        (TheirOSError(2, "DOE^JOHN"), "[redacted]"),
        (OSError("DOE^JOHN"), "[redacted]"),
        (Rude(), "[redacted]"),
        (Silent(), ""),
        (FileNotFoundError(2, "DOE^JOHN", "/var/DOE^JOHN.dcm"), "[Errno 2] No such file or directory"),
        (ConnectionFailed("nothing listens there"), "nothing listens there"),
        (StatusError(PROCESSING_FAILURE), str(PROCESSING_FAILURE)),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else "",
)
def test_whose_message_is_shown(error: Exception, message: str) -> None:
    assert message_of(error) == message


def test_with_patient_data_every_message_is_shown() -> None:
    assert message_of(ValueError("DOE^JOHN"), patient_data=True) == "DOE^JOHN"
    assert message_of(Rude(), patient_data=True) == "[redacted]"


@pytest.mark.parametrize(
    ("error", "pattern"),
    [
        (KeyError("DOE^JOHN"), r"KeyError \(test_failures\.py:\d+\)"),
        (TheirError("DOE^JOHN"), r"TheirError \(test_failures\.py:\d+\)"),
        (Rude(), r"Rude \(test_failures\.py:\d+\)"),
        (Silent(), r"Silent \(test_failures\.py:\d+\)"),
        (ConnectionFailed("nothing listens"), r"ConnectionFailed: nothing listens \(test_failures\.py:\d+\)"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else "",
)
def test_a_line(error: Exception, pattern: str) -> None:
    assert summary_of(Failure(error)) == re.sub(r" \\\(.*", "", pattern)  # never raised: there is no place
    try:
        raise error
    except Exception:
        failure = Failure()
    assert re.fullmatch(pattern, summary_of(failure))
    failure.cleanFailure()
    assert re.fullmatch(pattern, summary_of(failure))
