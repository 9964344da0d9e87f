"""Every error that txdicom raises on purpose.

All derive from `DicomError`. Errors of the protocol say who broke the rules: `LocalProtocolError` is a mistake of
our caller, `RemoteProtocolError` one of the peer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from txdicom.dimse.status import Status


#: what is caught of code that is not ours, an add-in's above all, so that it harms nobody but its own message;
#: SystemExit comes from libraries that were written for commands
RAISED: Final = (Exception, SystemExit)


class DicomError(Exception):
    """Base of all errors of txdicom."""


class LocalProtocolError(DicomError):
    """Our caller asked for something that the protocol does not allow now."""


class RemoteProtocolError(DicomError):
    """The peer broke the protocol.

    `source` and `reason` are those of the A-ABORT that answers it (PS3.8 Table 9-26); reason 0 is "not specified",
    1 "unrecognized PDU", 2 "unexpected PDU", 4 "unrecognized PDU parameter", 5 "unexpected PDU parameter",
    6 "invalid PDU parameter value".
    """

    def __init__(self, message: str, *, source: int = 2, reason: int = 0) -> None:
        super().__init__(message)
        self.source = source
        self.reason = reason


class AssociationRejected(DicomError):
    """The peer answered A-ASSOCIATE-RJ; `result`, `source` and `reason` are those of PS3.8 Table 9-21."""

    def __init__(self, message: str, *, result: int, source: int, reason: int) -> None:
        super().__init__(message)
        self.result = result
        self.source = source
        self.reason = reason


class AssociationAborted(DicomError):
    """The association ended without a release; `source` and `reason` are those of PS3.8 Table 9-26.

    `source` is 0 for an abort of a service user and 2 for one of an upper layer, on either side; None where the
    connection was lost.
    """

    def __init__(self, message: str, *, source: int | None = None, reason: int = 0) -> None:
        super().__init__(message)
        self.source = source
        self.reason = reason


class ConnectionFailed(DicomError):
    """No connection to the peer: name resolution, TCP or TLS failed or took too long."""


class DimseTimeout(DicomError):
    """No DIMSE response came in time; the association was aborted."""


class StatusError(DicomError):
    """A DIMSE service ended with this status: raised by a handler to answer it, by a caller on receiving it."""

    def __init__(self, status: Status | int, message: str = "") -> None:
        super().__init__(message or str(status))
        self.status = status


class NotConfigured(DicomError):
    """Raised by an add-in's `load` to opt out; the reason is logged."""


class AddinError(DicomError):
    """An add-in that could not be loaded; the message names it."""


class LicenseError(DicomError):
    """Raised by a licence's `check`: the server may not run; the message says why and what helps."""


class SettingsError(DicomError):
    """Settings that cannot be used; `problems` has a sentence for every mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class NotFound(DicomError):
    """What was asked for by its name is not there."""


class Conflict(DicomError):
    """What was to be made is there already, or is in use."""


class BadArgument(DicomError):
    """An argument that cannot be; `problems` has a sentence for every mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class TooLarge(DicomError):
    """More than fits: a value, or a page of a list."""


class InternalError(DicomError):
    """A mistake of the server, whose log says more."""
