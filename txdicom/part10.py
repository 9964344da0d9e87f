"""DICOM files (PS3.10 §7): the File Meta Information, written for a received data set and read from any file.

A file is 128 bytes of preamble, ``DICM``, the elements of group 0002 in Explicit VR Little Endian, and the data set
in the transfer syntax that (0002,0010) names.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from txdicom.uids import DEFLATED, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

PREFIX: Final = b"DICM"
PREAMBLE_LENGTH: Final = 128
#: the most that is read in search of the end of the File Meta Information, bytes
MAX_META: Final = 1 << 20

_FIRST_ELEMENT: Final = PREAMBLE_LENGTH + len(PREFIX)
#: preamble, prefix and the header of (0002,0000) up to its value
_HEAD: Final = bytes(PREAMBLE_LENGTH) + PREFIX + b"\x02\x00\x00\x00UL\x04\x00"
_SHORT: Final = struct.Struct("<HH2sH")
_LENGTH: Final = struct.Struct("<I")
#: the VRs with a 32-bit length (PS3.5 §7.1.2)
_LONG_VRS: Final = frozenset({
    b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV",
})  # fmt: skip
_GROUP: Final = 0x0002


class NeedMoreBytes(Exception):
    """The head of the file is too short; `count` is how many bytes of it are wanted at least, from its start."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} bytes of the file are wanted")
        self.count = count


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What a file says of its data set; "" where it says nothing. `data_offset` is where the data set begins."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data_offset: int


def _element(number: int, vr: bytes, value: bytes, pad: bytes = b"\0") -> bytes:
    if len(value) % 2:
        value += pad
    return _SHORT.pack(_GROUP, number, vr, len(value)) + value


def _title(ae: str) -> bytes:
    """`ae` as a value of AE (PS3.5 §6.2), empty where it cannot be one: a peer's title may hold anything."""
    ae = ae.strip(" \0")
    return ae.encode() if len(ae) <= 16 and ae.isascii() and ae.isprintable() and "\\" not in ae else b""


@lru_cache(maxsize=256)
def _frame(sop_class: str, transfer_syntax: str, source_ae: str) -> tuple[bytes, bytes, int]:
    """All but the group length and the SOP Instance UID: what stands before that, what after, the length of both."""
    before = b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01" + _element(0x0002, b"UI", sop_class.encode("ascii"))
    after = (
        _element(0x0010, b"UI", transfer_syntax.encode("ascii"))
        + _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode())
        + _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode(), b" ")
    )
    if title := _title(source_ae):
        after += _element(0x0016, b"AE", title, b" ")
    return before, after, len(before) + len(after)


def file_meta(sop_class: str, sop_instance: str, transfer_syntax: str, *, source_ae: str = "") -> bytes:
    """Everything that stands before the data set in a file (PS3.10 Table 7.1-1).

    `source_ae` becomes (0002,0016) where it is a possible AE title. Raises ValueError for a UID that is not ASCII;
    whether it is a UID is the caller's to check.
    """
    before, after, length = _frame(sop_class, transfer_syntax, source_ae)
    instance = sop_instance.encode("ascii")
    if len(instance) & 1:
        instance += b"\0"
    size = len(instance)
    return b"".join((
        _HEAD, _LENGTH.pack(length + 8 + size), before, _SHORT.pack(_GROUP, 0x0003, b"UI", size), instance, after,
    ))  # fmt: skip


def read_meta(head: bytes, *, complete: bool = False) -> FileMeta | None:
    """Read the File Meta Information from the first bytes of a file; None where it has no ``DICM`` (PS3.10 §7.1).

    `complete` says that the file ends with `head`. Files are read liberally: a group length that is wrong or missing
    does not matter, since the elements are walked, and one written without VRs is understood. Raises
    `NeedMoreBytes` where `head` ends too early, ValueError where the elements cannot be walked.
    """
    if len(head) < _FIRST_ELEMENT:
        if complete or not b"DICM".startswith(head[PREAMBLE_LENGTH:]):
            return None
        raise NeedMoreBytes(_FIRST_ELEMENT)
    if head[PREAMBLE_LENGTH:_FIRST_ELEMENT] != PREFIX:
        return None
    values: dict[int, bytes] = {}
    declared_end = -1
    position = _FIRST_ELEMENT
    try:
        while True:
            if len(head) < position + 2 and complete and len(head) >= position:
                break
            _want(head, position + 2)
            if head[position : position + 2] != b"\x02\x00":
                break
            # a deflated data set may begin with any bytes: there the group length is believed
            if position == declared_end and _uid(values, 0x0010) in DEFLATED:
                break
            number, start, end = _read_header(head, position)
            _want(head, end)
            values[number] = bytes(head[start:end])
            if number == 0x0000 and end - start == 4:
                declared_end = end + _LENGTH.unpack(values[number])[0]
            position = end
    except NeedMoreBytes as need:
        if complete or need.count > MAX_META:
            raise ValueError("the File Meta Information ends inside an element or is too long") from None
        raise
    return FileMeta(_uid(values, 0x0002), _uid(values, 0x0003), _uid(values, 0x0010), position)


def read_meta_from(fd: int) -> FileMeta | None:
    """`read_meta` of the open file `fd`, whose position stays where it is. Raises OSError and ValueError."""
    size = 1024
    while True:
        head = os.pread(fd, size, 0)
        try:
            return read_meta(head, complete=len(head) < size)
        except NeedMoreBytes as need:
            size = max(2 * size, need.count)


def _want(head: bytes, count: int) -> None:
    if len(head) < count:
        raise NeedMoreBytes(count)


def _read_header(head: bytes, position: int) -> tuple[int, int, int]:
    """The element number at `position`, and where its value begins and ends."""
    _want(head, position + 8)
    _group, number, vr, length = _SHORT.unpack_from(head, position)
    start = position + 8
    if vr in _LONG_VRS:
        start = position + 12
        _want(head, start)
        (length,) = _LENGTH.unpack_from(head, position + 8)
    elif not (vr.isalpha() and vr.isupper()):
        (length,) = _LENGTH.unpack_from(head, position + 4)
    return number, start, start + length


def _uid(values: dict[int, bytes], number: int) -> str:
    return values.get(number, b"").strip(b"\0 ").decode("latin-1")
