"""The four UIDs that say what an instance is and where it belongs, read from its data set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from txdicom.archive.headers import KnownHeaders
from txdicom.archive.walker import Inflated, NeedMore, gather, scan, sized
from txdicom.uids import DEFLATED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from txdicom.archive.walker import Reader

_SOP_CLASS: Final = 0x00080016
_SOP_INSTANCE: Final = 0x00080018
_STUDY: Final = 0x0020000D
_SERIES: Final = 0x0020000E
_ORDER: Final = (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES)
_WANTED: Final = frozenset(_ORDER)
#: in how much of a data set in memory its UIDs are looked for at first, bytes
_HEAD: Final = 4096


class Identity(NamedTuple):
    """UIDs as the data set has them, without padding; "" where it has none. They are not checked to be UIDs."""

    sop_class: str
    sop_instance: str
    study: str
    series: str


def known_headers() -> KnownHeaders:
    """A memory for the calls of `identify` in one thread, which makes them faster."""
    return KnownHeaders(_ORDER)


def identify(
    chunks: Sequence[bytes | memoryview], size: int, transfer_syntax: str, known: KnownHeaders | None = None
) -> Identity:
    """The identity of the data set of `size` bytes in memory; joins only as much of its head as it needs.

    Raises `BadDataSet`.
    """
    if transfer_syntax not in DEFLATED and chunks:
        head = bytes(chunks[0][:_HEAD])
        if len(head) < _HEAD and len(head) < size:
            head = _joined(chunks, 0, _HEAD)
        if known is not None:
            values = known.read(head, transfer_syntax)
            if values is not None:
                return _identity(values)
        try:
            found = scan(head, transfer_syntax, _WANTED, complete=len(head) == size)
        except NeedMore:
            pass
        else:
            return _identity([found.get(tag, b"") for tag in _ORDER])

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
        found = gather(Inflated(read).read, "", _WANTED)
    else:
        found = gather(read, transfer_syntax, _WANTED)
    return _identity([found.get(tag, b"") for tag in _ORDER])


def _identity(values: Iterable[bytes]) -> Identity:
    return Identity(*[value.strip(b"\0 ").decode("latin-1") for value in values])
