"""The four UIDs that say what an instance is and where it belongs, read from its data set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from txdicom.archive.walker import Inflated, NeedMore, gather, scan, sized
from txdicom.uids import DEFLATED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from txdicom.archive.walker import Reader

_SOP_CLASS: Final = 0x00080016
_SOP_INSTANCE: Final = 0x00080018
_STUDY: Final = 0x0020000D
_SERIES: Final = 0x0020000E
_ORDER: Final = (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES)
_WANTED: Final = frozenset(_ORDER)


class Identity(NamedTuple):
    """UIDs as the data set has them, without padding; "" where it has none. They are not checked to be UIDs."""

    sop_class: str
    sop_instance: str
    study: str
    series: str


def identify(chunks: Sequence[bytes | memoryview], size: int, transfer_syntax: str) -> Identity:
    """The identity of the data set of `size` bytes in memory; joins only as much of its head as it needs.

    Raises `BadDataSet`.
    """
    if transfer_syntax not in DEFLATED and chunks:
        first = chunks[0]
        try:
            return _identity(scan(first, transfer_syntax, _WANTED, complete=len(first) == size))
        except NeedMore:
            pass

    return _gathered(sized(lambda offset, count: _joined(chunks, offset, count), size), transfer_syntax)


def identify_file(fd: int, offset: int, size: int, transfer_syntax: str) -> Identity:
    """The identity of the data set of `size` bytes at `offset` of an open file. Raises `BadDataSet` and OSError."""
    return _gathered(sized(lambda start, count: os.pread(fd, count, offset + start), size), transfer_syntax)


def _joined(chunks: Sequence[bytes | memoryview], offset: int, count: int) -> bytes:
    """`count` bytes from `offset` of what the chunks hold together."""
    parts = []
    for chunk in chunks:
        if offset < len(chunk):
            part = chunk[offset : offset + count]
            parts.append(part)
            count -= len(part)
            if not count:
                break
        offset = max(0, offset - len(chunk))
    return b"".join(parts)


def _gathered(read: Reader, transfer_syntax: str) -> Identity:
    if transfer_syntax in DEFLATED:
        return _identity(gather(Inflated(read).read, "", _WANTED))
    return _identity(gather(read, transfer_syntax, _WANTED))


def _identity(found: dict[int, bytes]) -> Identity:
    return Identity(*[found[tag].strip(b"\0 ").decode("latin-1") if tag in found else "" for tag in _ORDER])
