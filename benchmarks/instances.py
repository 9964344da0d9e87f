"""The instances that are sent: a header as a CT scanner writes it, and smooth pixels with some noise.

Explicit VR little endian. UIDs have a fixed length, so that the next instance is the same bytes with eight digits
patched.
"""

from __future__ import annotations

import os
import random
import secrets
import struct

from benchmarks import wire

LONG_VRS = {"OB", "OW", "SQ", "UN", "UT"}
UID_LENGTH = 44
COUNTER_DIGITS = 8

Element = tuple[int, str, str | bytes]

HEADER: tuple[Element, ...] = (
    (0x00080005, "CS", "ISO_IR 100"),
    (0x00080008, "CS", "ORIGINAL\\PRIMARY\\AXIAL"),
    *((tag, "DA", "20240115") for tag in (0x00080020, 0x00080021, 0x00080022, 0x00080023)),
    *((tag, "TM", "101530.123456") for tag in (0x00080030, 0x00080031, 0x00080032, 0x00080033)),
    (0x00080050, "SH", "A0001"),
    (0x00080060, "CS", "CT"),
    (0x00080070, "LO", "BENCH WORKS"),
    (0x00080080, "LO", "General Hospital of Loopback"),
    (0x00080090, "PN", "REFER^RING"),
    (0x00081010, "SH", "CT01"),
    (0x00081030, "LO", "CT ABDOMEN/PELVIS W CONTRAST"),
    (0x0008103E, "LO", "AXIAL 1.25MM"),
    (0x00081070, "PN", "OPER^ATOR"),
    (0x00081090, "LO", "MODEL 64"),
    (0x00100010, "PN", "BENCH^PATIENT"),
    (0x00100020, "LO", "BENCH001"),
    (0x00100030, "DA", "19600101"),
    (0x00100040, "CS", "O"),
    (0x00101010, "AS", "064Y"),
    (0x00101030, "DS", "80.5"),
    (0x00180010, "LO", "AGENT 350"),
    (0x00180015, "CS", "ABDOMEN"),
    (0x00180022, "CS", "HELICAL MODE"),
    (0x00180050, "DS", "1.250000"),
    (0x00180060, "DS", "120"),
    (0x00180090, "DS", "500.000000"),
    (0x00181020, "LO", "v12.34"),
    (0x00181030, "LO", "5.1 ABDOMEN"),
    (0x00181100, "DS", "360.000000"),
    (0x00181110, "DS", "949.147000"),
    (0x00181111, "DS", "541.000000"),
    (0x00181120, "DS", "0.000000"),
    (0x00181130, "DS", "135.500000"),
    (0x00181140, "CS", "CW"),
    (0x00181150, "IS", "500"),
    (0x00181151, "IS", "380"),
    (0x00181152, "IS", "190"),
    (0x00181160, "SH", "BODY FILTER"),
    (0x00181210, "SH", "STANDARD"),
    (0x00185100, "CS", "FFS"),
    (0x00189305, "FD", struct.pack("<d", 0.5)),
    (0x00200010, "SH", "1"),
    (0x00200011, "IS", "2"),
    (0x00200012, "IS", "1"),
    (0x00200013, "IS", "1"),
    (0x00200032, "DS", "-180.000000\\-170.000000\\-123.750000"),
    (0x00200037, "DS", "1.000000\\0.000000\\0.000000\\0.000000\\1.000000\\0.000000"),
    (0x00201040, "LO", "SN"),
    (0x00201041, "DS", "-123.750000"),
    (0x00280002, "US", struct.pack("<H", 1)),
    (0x00280004, "CS", "MONOCHROME2"),
    (0x00280030, "DS", "0.703125\\0.703125"),
    (0x00280100, "US", struct.pack("<H", 16)),
    (0x00280101, "US", struct.pack("<H", 16)),
    (0x00280102, "US", struct.pack("<H", 15)),
    (0x00280103, "US", struct.pack("<H", 1)),
    (0x00281050, "DS", "40"),
    (0x00281051, "DS", "400"),
    (0x00281052, "DS", "-1024"),
    (0x00281053, "DS", "1"),
    (0x00281054, "LO", "HU"),
    (0x00400244, "DA", "20240115"),
    (0x00400245, "TM", "101500"),
    (0x00400253, "SH", "PPS1"),
    (0x00430010, "LO", "BENCH_PRIVATE_01"),
    *((0x00431010 + number, "DS", f"{number}.000000") for number in range(12)),
    (0x00431040, "OB", bytes(512)),
)


class Uids:
    """The UIDs of one association: a study, a series and as many instances as wanted.

    They are of the form 2.25.<39 digits> (PS3.5 §B.2), drawn anew for each measurement.
    """

    def __init__(self) -> None:
        self.prefix = f"2.25.1{secrets.randbelow(10**30):030d}"
        self.study = self._numbered(0)
        self.series = self._numbered(1)
        self.frame_of_reference = self._numbered(2)

    def instance(self, number: int) -> str:
        """The SOP Instance UID of instance `number`, counted from 0."""
        return self._numbered(10 + number)

    def _numbered(self, number: int) -> str:
        return f"{self.prefix}{number:0{COUNTER_DIGITS}d}"


def element(tag: int, vr: str, value: str | bytes) -> bytes:
    """One element in explicit VR little endian, padded to an even length."""
    encoded = value.encode() if isinstance(value, str) else value
    if len(encoded) & 1:
        encoded += b"\0" if vr in {"UI", "OB", "UN"} else b" "
    if vr in LONG_VRS:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(encoded)) + encoded
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(encoded)) + encoded


def header(sop_class: str, sop_instance: str, uids: Uids, side: int, frames: int = 0) -> bytes:
    """About 90 elements, everything before the pixel data; `side` is both rows and columns."""
    referenced = element(0x00081150, "UI", sop_class) + element(0x00081155, "UI", uids.study)
    elements: list[Element] = [
        *HEADER,
        (0x00080016, "UI", sop_class),
        (0x00080018, "UI", sop_instance),
        (0x00081140, "SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(referenced)) + referenced),
        (0x0020000D, "UI", uids.study),
        (0x0020000E, "UI", uids.series),
        (0x00200052, "UI", uids.frame_of_reference),
        (0x00280010, "US", struct.pack("<H", side)),
        (0x00280011, "US", struct.pack("<H", side)),
    ]
    if frames:
        elements.append((0x00280008, "IS", str(frames)))
    return b"".join(element(*entry) for entry in sorted(elements))


def pixels(size: int) -> bytes:
    """`size` bytes of 12 bit values in 16, the same for every instance on purpose: making them must cost nothing."""
    walk, value, row = random.Random(1), 1000, bytearray()
    for _ in range(4096):
        value = max(0, min(4095, value + walk.randint(-20, 20)))
        row += struct.pack("<H", value)
    return (bytes(row) * (size // len(row) + 1))[:size]


def image(sop_instance: str, uids: Uids, side: int) -> bytes:
    """A whole CT data set of `side` by `side` pixels."""
    pixel_data = element(0x7FE00010, "OW", pixels(side * side * 2))
    return header(wire.CT_IMAGE, sop_instance, uids, side) + pixel_data


def write_folder(folder: str, count: int, side: int) -> int:
    """Writes `count` CT images as files (PS3.10 §7.1); the bytes of one data set."""
    uids = Uids()
    first = uids.instance(0).encode()
    data_set = image(uids.instance(0), uids, side)
    for number in range(count):
        sop_instance = uids.instance(number)
        meta = b"".join(
            (
                element(0x00020001, "OB", b"\0\1"),
                element(0x00020002, "UI", wire.CT_IMAGE),
                element(0x00020003, "UI", sop_instance),
                element(0x00020010, "UI", wire.EXPLICIT_LITTLE_ENDIAN),
                element(0x00020012, "UI", wire.IMPLEMENTATION_CLASS),
            )
        )
        group_length = element(0x00020000, "UL", struct.pack("<I", len(meta)))
        with open(os.path.join(folder, f"{number:05d}.dcm"), "wb") as file:
            file.write(bytes(128) + b"DICM" + group_length + meta)
            file.write(data_set.replace(first, sop_instance.encode(), 1))
    return len(data_set)
