"""Why associations are rejected and aborted: the numbers of PS3.8 Tables 9-21 and 9-26, their names and their texts."""

from __future__ import annotations

from typing import Final, NamedTuple


class Rejection(NamedTuple):
    """The three numbers of an A-ASSOCIATE-RJ (PS3.8 Table 9-21): `AssociateRJ(*CALLED_AE)`.

    `result` is 1 rejected permanently, 2 transiently; `source` 1 the service user, 2 the service provider (ACSE),
    3 the service provider (presentation); what `reason` means depends on the source.
    """

    result: int
    source: int
    reason: int

    def __str__(self) -> str:
        return describe(self.result, self.source, self.reason)


#: the service user does not say why
NO_REASON: Final = Rejection(1, 1, 1)
#: only the DICOM application context is known (PS3.7 A.2.1)
APPLICATION_CONTEXT: Final = Rejection(1, 1, 2)
#: this caller is not let in
CALLING_AE: Final = Rejection(1, 1, 3)
#: there is no such application entity here
CALLED_AE: Final = Rejection(1, 1, 7)
#: bit 0 of the protocol version is not set (PS3.8 Table 9-11)
PROTOCOL_VERSION: Final = Rejection(1, 2, 2)
#: The user identity is not authorized. PS3.7 D.3.3.7.3 names result and source; of the two reasons that source 2 has,
#: "no reason given" is the one that is true.
USER_IDENTITY: Final = Rejection(1, 2, 1)
#: too busy just now: the caller may try again soon
TEMPORARY_CONGESTION: Final = Rejection(2, 3, 1)
#: as many associations as are allowed: the caller may try again when others have ended
LOCAL_LIMIT: Final = Rejection(2, 3, 2)

_RESULTS: Final = {1: "rejected permanently", 2: "rejected for now"}
_SOURCES: Final = {
    1: "the service user",
    2: "the service provider (ACSE)",
    3: "the service provider (presentation)",
}
_REASONS: Final = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
_ABORT_REASONS: Final = {
    0: "reason not specified",
    1: "unrecognized PDU",
    2: "unexpected PDU",
    4: "unrecognized PDU parameter",
    5: "unexpected PDU parameter",
    6: "invalid PDU parameter value",
}


def describe(result: int, source: int, reason: int) -> str:
    """What an A-ASSOCIATE-RJ says, in words, whatever its numbers are (PS3.8 Table 9-21)."""
    what = _RESULTS.get(result, f"rejected with the unknown result {result}")
    who = _SOURCES.get(source, f"the unknown source {source}")
    why = _REASONS.get((source, reason), f"reserved reason {reason}")
    return f"{what} by {who}: {why}"


def describe_abort(source: int, reason: int) -> str:
    """What an A-ABORT says, in words, whatever its numbers are (PS3.8 Table 9-26).

    The reason of an abort by the service user means nothing and is left out.
    """
    if source == 0:
        return "aborted by the service user"
    who = "the service provider" if source == 2 else f"the reserved source {source}"
    return f"aborted by {who}: {_ABORT_REASONS.get(reason, f'reserved reason {reason}')}"
