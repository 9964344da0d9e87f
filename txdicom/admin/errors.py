"""Errors on their way over the link: each has a code, which is its name, and a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.protocols.amp import RemoteAmpError

from txdicom.errors import BadArgument, Conflict, DicomError, InternalError, NotFound, TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

#: characters of a text, in a value of 65,535 bytes
_LONGEST: Final = 16_000


class RemoteBadArgument(BadArgument):
    """A `BadArgument` of the other side: its sentences come as one text."""

    def __init__(self, text: str) -> None:
        super().__init__(text.split("\n"))


#: what a command may fail with: the class it is for the asking side, and its code
ERRORS: Final[Mapping[type[Exception], bytes]] = {
    RemoteBadArgument: b"BadArgument",
    NotFound: b"NotFound",
    Conflict: b"Conflict",
    TooLarge: b"TooLarge",
    InternalError: b"InternalError",
}


def to_wire(error: Exception) -> RemoteAmpError | None:
    """`error` as AMP sends it, keeping the link; None for one that is none of ours."""
    for kind in (BadArgument, NotFound, Conflict, TooLarge, InternalError):
        if isinstance(error, kind):
            return RemoteAmpError(kind.__name__.encode("ascii"), str(error)[:_LONGEST])
    if isinstance(error, DicomError):  # its text is for people: a file that cannot be written, a line that is wrong
        return RemoteAmpError(b"InternalError", str(error)[:_LONGEST])
    return None
