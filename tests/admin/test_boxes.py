"""Boxes out of bytes, however they are cut, and what is no box."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.protocols.amp import AmpBox

from txdicom.admin.boxes import BoxError, BoxReader

BOX = AmpBox({b"_command": b"Version", b"_ask": b"1", b"long": bytes(65_535)})

keys = st.binary(min_size=1, max_size=255)
boxes = st.dictionaries(keys, st.binary(max_size=300), min_size=1, max_size=5).map(AmpBox)


def read(reader: BoxReader) -> list[AmpBox]:
    found = []
    while (box := reader.next()) is not None:
        found.append(box)
    return found


@given(sent=st.lists(boxes, max_size=4), size=st.integers(1, 400))
def test_boxes_come_out_as_they_went_in(sent: list[AmpBox], size: int) -> None:
    data = b"".join(box.serialize() for box in sent)
    reader, found = BoxReader(), []
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
        found += read(reader)
    assert found == sent
    assert not reader.amid


def test_a_half_box() -> None:
    reader = BoxReader()
    data = BOX.serialize()
    for cut in (1, 3, len(data) - 1):
        reader = BoxReader()
        reader.feed(data[:cut])
        assert reader.next() is None
        assert reader.amid


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff" + bytes(10), b"\x01\x00a"])
def test_a_key_that_is_too_long(data: bytes) -> None:
    reader = BoxReader()
    reader.feed(data)
    with pytest.raises(BoxError, match="not AMP"):
        reader.next()


def test_the_size_of_a_box_is_looked_at_before_its_value_comes() -> None:
    reader = BoxReader(max_box=1000)
    reader.feed(b"\x00\x01a" + struct.pack(">H", 996))
    with pytest.raises(BoxError, match="more than 1000 bytes"):
        reader.next()


def test_a_box_of_exactly_the_size() -> None:
    box = AmpBox({b"a": bytes(993)})
    data = box.serialize()
    reader = BoxReader(max_box=len(data))
    for _ in range(3):
        reader.feed(data)
        assert reader.next() == box
    reader = BoxReader(max_box=len(data) - 1)
    reader.feed(data)
    with pytest.raises(BoxError):
        reader.next()


def test_the_number_of_keys() -> None:
    box = AmpBox({b"%d" % number: b"" for number in range(10)})
    for limit, fits in ((10, True), (9, False)):
        reader = BoxReader(max_keys=limit)
        reader.feed(box.serialize())
        if fits:
            assert reader.next() == box
        else:
            with pytest.raises(BoxError, match="more than 9 keys"):
                reader.next()


def test_what_comes_while_a_box_is_large_is_not_kept_twice() -> None:
    reader = BoxReader()
    part = struct.pack(">H", 60_000) + bytes(60_000)
    for number in range(60):
        reader.feed(b"\x00\x02%02d" % number + part)
        assert reader.next() is None
        assert len(reader._buffer) < 70_000
