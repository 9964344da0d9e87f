"""txdicom.archive.ending: which data sets are cut short, and that nothing else is called so."""

from __future__ import annotations

import os

import pytest

from tests.archive.builders import data_set, explicit, implicit, uid
from tests.archive.conftest import Bundled
from txdicom.archive import ending
from txdicom.archive.ending import cut_short
from txdicom.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

JPEG = "1.2.840.10008.1.2.4.50"
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
IDENTITY = explicit(0x00080018, b"UI", uid("1.2"))
#: the files that are cut short on purpose
BROKEN = {"rtplan_truncated.dcm", "MR_truncated.dcm"}


@pytest.fixture(autouse=True)
def nothing_is_known() -> None:
    """What was met in another test must not decide."""
    ending._pixel_data.clear()
    ending._known.cache_clear()


def found(data: bytes, transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN, *, before: bytes = b"", head: int = 0) -> str:
    """What is said of these bytes, behind `before` in a file, with the first `head` of them read already."""
    fd = os.memfd_create("data set")
    try:
        os.write(fd, before + data)
        return cut_short(fd, len(before), len(data), transfer_syntax, data[:head])
    finally:
        os.close(fd)


@pytest.mark.parametrize("head", [0, 40])
def test_pixel_data_that_are_not_all_there(head: int) -> None:
    data = data_set("1.2.3", pixels=bytes(524_288))
    assert found(data, before=b"x" * 333, head=head) == ""
    why = "the data set ends amid element (7FE0,0010): 3,000 of 524,288 bytes are there"
    assert found(data[: 3000 - 524_288], before=b"x" * 333, head=head) == why


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_cut_within_an_element_is_found(order: str) -> None:
    parts = [
        explicit(0x00080018, b"UI", uid("1.2"), order=order),
        explicit(0x00100010, b"PN", b"A" * 20, order=order),
        explicit(0x00280010, b"US", b"\x02\x00", order=order),
        explicit(0x7FE00010, b"OW", bytes(30), order=order),
    ]
    data, ends = b"".join(parts), {0}
    for part in parts:
        ends.add(max(ends) + len(part))
    syntax = EXPLICIT_VR_LITTLE_ENDIAN if order == "<" else EXPLICIT_VR_BIG_ENDIAN
    for size in range(len(data) + 1):
        # up to seven bytes after an element are padding
        whole = any(end <= size < end + 8 for end in ends)
        assert bool(found(data[:size], syntax)) is not whole, size


def test_without_vrs() -> None:
    data = implicit(0x00080018, uid("1.2")) + implicit(0x7FE00010, bytes(100))
    assert found(data, IMPLICIT_VR_LITTLE_ENDIAN) == ""
    assert "100 bytes" in found(data[:-1], IMPLICIT_VR_LITTLE_ENDIAN)


def nested(*, end: bool = True, filler: int = 0) -> bytes:
    inner = implicit(ITEM, explicit(0x00081140, b"SQ", b"", UNDEFINED), UNDEFINED)
    inner += implicit(ITEM, b"") + implicit(SEQUENCE_END, b"") + b"".join(
        explicit(0x00181000 + number, b"UT", b"x" * 1000) for number in range(filler)
    ) + implicit(ITEM_END, b"")  # fmt: skip
    return explicit(0x00082112, b"SQ", b"", UNDEFINED) + inner + (implicit(SEQUENCE_END, b"") if end else b"")


def test_a_sequence_whose_end_is_missing() -> None:
    assert found(IDENTITY + nested() + explicit(0x7FE00010, b"OW", bytes(10))) == ""
    assert found(IDENTITY + nested(end=False)) == "the data set ends amid element (0008,2112), whose end is missing"


@pytest.mark.parametrize("filler", [20, 70])
def test_a_longer_sequence_is_read_on(filler: int) -> None:
    whole = IDENTITY + nested(filler=filler)
    assert found(whole) == ""
    assert "(0008,2112)" in found(whole[:-500])


def test_a_large_value_in_a_sequence_is_no_reason_to_give_up() -> None:
    item = explicit(0x54001010, b"OW", bytes(2_000_000))
    waves = explicit(0x54000100, b"SQ", b"", UNDEFINED) + implicit(ITEM, item, UNDEFINED)
    waves += implicit(ITEM_END, b"") + implicit(SEQUENCE_END, b"")
    assert found(IDENTITY + waves) == ""
    assert "(5400,0100)" in found(IDENTITY + waves[:-500])
    after = explicit(0x70010010, b"LO", b"abcdef")
    assert "2 of 6" in found(IDENTITY + waves + after[:-4])


def test_what_would_take_long_is_let_pass() -> None:
    assert found(IDENTITY + nested(filler=1000)[:-500]) == ""


def encapsulated(*fragments: bytes, end: bool = True) -> bytes:
    items = b"".join(implicit(ITEM, one) for one in fragments)
    return explicit(0x7FE00010, b"OB", items + (implicit(SEQUENCE_END, b"") if end else b""), UNDEFINED)


def test_encapsulated_pixel_data() -> None:
    whole = IDENTITY + encapsulated(b"", b"x" * 5000, b"y" * 7000)
    padding = explicit(0xFFFCFFFC, b"OB", bytes(100))
    assert found(whole, JPEG) == ""
    assert found(whole + padding, JPEG) == ""
    assert found(whole + padding[:-1], JPEG) == "the data set ends amid element (FFFC,FFFC): 99 of 100 bytes are there"
    missing = "the data set ends amid element (7FE0,0010), whose end is missing"
    for size in (-1, -8, -9, -7000, -7010, -12_020):
        assert found(whole[:size], JPEG) == missing, size


def test_more_fragments_than_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_FRAGMENTS", 10)
    assert found(IDENTITY + encapsulated(*[b"xx"] * 20, end=False), JPEG) == ""
    assert found(IDENTITY + encapsulated(*[b"xx"] * 5, end=False), JPEG) != ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\0\x18",
        bytes(64),
        # out of order, not at the beginning of a data set, an item that is none: it is for the receiver to judge
        explicit(0x00080018, b"UI", b"1.2\0") + explicit(0x00080016, b"UI", b"1.2\0", 100),
        explicit(0x00280010, b"US", b"\x02\x00", 8),
        IDENTITY + explicit(0x00081140, b"SQ", explicit(0x00080018, b"UI", b"1.2\0"), UNDEFINED),
        IDENTITY + explicit(0x7FE00010, b"OB", implicit(ITEM, b"", UNDEFINED) + bytes(8), UNDEFINED),
    ],
    ids=["nothing", "padding", "zeros", "order", "no beginning", "no item", "no fragment"],
)
def test_what_makes_no_sense_is_let_pass(data: bytes) -> None:
    assert found(data) == ""


def test_one_in_another_encoding_than_is_said_is_let_pass() -> None:
    data = b"".join(explicit(tag, b"UI", uid("1.2.3"), order=">") for tag in (0x00080016, 0x00080018, 0x0020000D))
    assert found(data) == ""


def test_a_deflated_one_is_let_pass() -> None:
    assert found(data_set("1.2")[:-5], DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN) == ""


def test_the_next_of_a_series_is_known_by_its_end_and_one_cut_short_is_not() -> None:
    first, second = (data_set(name, pixels=bytes(5000)) for name in ("1.2.3", "1.2.345678"))
    assert found(first) == ""
    assert ending._pixel_data
    assert found(second) == ""
    for size in (1, 2, 4999, 5000, 5004):
        assert found(second[:-size]) != "", size
    assert found(data_set("1.2.3", pixels=bytes(6000))) == ""


def test_a_file_that_shrinks_meanwhile_is_let_pass() -> None:
    fd = os.memfd_create("data set")
    try:
        os.write(fd, data_set("1.2.3", pixels=bytes(100)) + explicit(0xFFFCFFFC, b"OB", bytes(8)))
        assert cut_short(fd, 0, 100_000, EXPLICIT_VR_LITTLE_ENDIAN) == ""
    finally:
        os.close(fd)


def test_the_bundled_files(bundled: list[Bundled]) -> None:
    short = {one.name for one in bundled if found(one.data, one.transfer_syntax)}
    assert {name.rpartition("/")[2] for name in short} == BROKEN
