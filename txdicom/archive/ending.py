"""Whether a data set in a file ends where it says: found by its elements' lengths, without reading their values.

Who sends files asks (`txdicom.scu`): a peer would store what is cut short as if it were whole. A server's own store
does not: what is in it came whole.

It costs little and knows less than a parser: what would take long is let pass, and so is what it cannot make sense of.
A data set is called cut short only where all before the cut is well-formed.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Final

from txdicom.archive.walker import (
    FIRST_READ,
    ITEM,
    SEQUENCE_END,
    UNDEFINED,
    BadDataSet,
    Coding,
    NeedMore,
    coding_of,
    read_element,
    settled,
    skip_sequence,
)
from txdicom.uids import DEFLATED, UNCOMPRESSED

#: how much of sequences of undefined length is walked at least, and otherwise which part of the data set, in bytes
_SEQUENCES: Final = 64 << 10
_SHARE: Final = 32
#: how far a sequence is followed whose values are large, in bytes
_JUMPED: Final = 4 << 20
#: how many fragments of pixel data are walked that have no end
_FRAGMENTS: Final = 4096
#: how many different element headers are remembered
_STEPS: Final = 4096
#: data sets begin before this tag; one that does not is something else, or in another encoding
_FIRST_TAGS: Final = 0x00200000
#: the group of pixel data (PS3.5 §8.2)
_PIXELS: Final = 0x7FE0
#: where pixel data are not encapsulated (PS3.5 A.1 to A.3); elsewhere they end so, and with them nearly every data set
_NATIVE: Final = frozenset(UNCOMPRESSED)
_SEQUENCE_ENDS: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"


class _Unclear(Exception):
    """It cannot be said, or not cheaply."""


class _Cut(Exception):
    """The data set ends inside this element; `there` bytes of its value are there, of `length`."""

    def __init__(self, tag: int, there: int, length: int) -> None:
        super().__init__(tag)
        self.tag = tag
        self.there = there
        self.length = length

    def __str__(self) -> str:
        tag = f"({self.tag >> 16:04X},{self.tag & 0xFFFF:04X})"
        if self.length == UNDEFINED:
            return f"the data set ends amid element {tag}, whose end is missing"
        return f"the data set ends amid element {tag}: {self.there:,} of {self.length:,} bytes are there"


def cut_short(fd: int, offset: int, size: int, transfer_syntax: str, head: bytes = b"") -> str:
    """Where the data set of `size` bytes at `offset` of an open file is cut short, in words; "" where it is whole.

    `head` is what has been read of the data set already. A deflated one is not looked into. Raises OSError.
    """
    if transfer_syntax in DEFLATED or size < 8:
        return ""
    head = head or os.pread(fd, FIRST_READ, offset)
    coding = settled(head, coding_of(transfer_syntax))
    if transfer_syntax not in _NATIVE and os.pread(fd, 8, offset + size - 8) == _SEQUENCE_ENDS:
        return ""
    # the images of a series mostly have the same pixel data at the same place before their end
    header, distance = _pixel_data.get(coding, (b"", 0))
    if header and distance <= size and os.pread(fd, len(header), offset + size - distance) == header:
        return ""
    try:
        try:
            _Walk(fd, offset, size, head, coding).to_the_end(_known(coding))
        except _Cut:
            _Walk(fd, offset, size, head, coding).to_the_end(None)
    except _Cut as cut:
        return str(cut)
    except (_Unclear, BadDataSet):
        pass
    return ""


#: the header of the pixel data that were met last, and how far before the end of the data set it stood
_pixel_data: Final[dict[Coding, tuple[bytes, int]]] = {}


@lru_cache(maxsize=8)
def _known(coding: Coding) -> dict[bytes, int]:
    """The first eight bytes of elements whose length they tell -> how far the next one is."""
    return {}


class _Walk:
    """A walk over the elements of one data set, of which a part is in memory: `data`, from `start` on."""

    def __init__(self, fd: int, offset: int, size: int, head: bytes, coding: Coding) -> None:
        self._fd = fd
        self._offset = offset
        self._size = size
        self._start = 0
        self._data = head
        self._coding = coding
        self._last = -1  # the tag before
        self._pixels = (b"", 0)
        self._left = max(_SEQUENCES, size // _SHARE)

    def to_the_end(self, known: dict[bytes, int] | None) -> None:
        """Raises `_Cut` and `_Unclear`.

        With `known`, elements that have been seen before, in this data set or another, are just passed over; without,
        each is looked at, and a cut is only one where all that is before it makes sense.
        """
        position, size = 0, self._size
        next_one = known.get if known is not None else lambda _: None
        while True:
            data = self._data
            while step := next_one(data[position : position + 8]):
                position += step
            at = self._start + position
            if at > size:
                raise _Cut(0, 0, 0)
            if size - at < 8:  # fewer are no element: padding is let pass
                _pixel_data[self._coding] = self._pixels
                return
            if position > len(data) - 12 and self._start + len(data) < size:
                self._read(at, FIRST_READ)
                position = 0
            else:
                position = self._pass_over(position, known)

    def _read(self, start: int, count: int) -> None:
        """Has the bytes from `start` on in memory, `count` of them or up to the end."""
        count = min(count, self._size - start)
        self._data = os.pread(self._fd, count, self._offset + start)
        self._start = start
        if len(self._data) < count:
            raise _Unclear  # it was changed meanwhile

    def _pass_over(self, position: int, known: dict[bytes, int] | None) -> int:
        """Where the next element is."""
        data = self._data
        try:
            tag, value, length, inner = read_element(data, position, self._coding)
        except NeedMore:
            group, element, _length = self._coding.item(data, position)
            raise _Cut(group << 16 | element, 0, UNDEFINED) from None
        if known is None:
            self._check(tag)
        if length == UNDEFINED:
            return self._pass_over_items(tag, position, value, inner)
        end = value + length
        if self._start + end > self._size:
            raise _Cut(tag, self._size - self._start - value, length)
        if tag >> 16 == _PIXELS:
            self._pixels = data[position:value], self._size - self._start - position
        if known is not None and value == position + 8:
            if len(known) >= _STEPS:
                known.clear()
            known[data[position:value]] = end - position
        return end

    def _check(self, tag: int) -> None:
        """Raises `_Unclear` for tags that are not in order (PS3.5 §7.1), which are none perhaps."""
        if tag <= self._last or (self._last < 0 and tag >= _FIRST_TAGS):
            raise _Unclear
        self._last = tag

    def _pass_over_items(self, tag: int, position: int, value: int, inner: Coding) -> int:
        """The end of a value of undefined length, as far as it is cheap to find."""
        if tag >> 16 == _PIXELS:  # its items are fragments (PS3.5 A.4)
            return self._pass_over_fragments(tag, value)
        jumped = 0  # bytes of large values, which are passed over at once
        while True:
            try:
                return skip_sequence(self._data, value, inner, 1)
            except NeedMore as need:
                have, at_least = len(self._data) - position, need.at_least - position
                if self._start + len(self._data) >= self._size:
                    raise _Cut(tag, 0, UNDEFINED) from None
                jumped += max(0, at_least - have)
                walked = max(_SEQUENCES, have - jumped)
                self._left -= walked
                if self._left < 0 or at_least > _JUMPED:
                    raise _Unclear from None
                self._read(self._start + position, max(have, at_least) + walked)
                value -= position
                position = 0

    def _pass_over_fragments(self, tag: int, value: int) -> int:
        """The same of encapsulated pixel data (PS3.5 A.4): only the headers of the fragments are read."""
        item = self._coding.item
        at = self._start + value
        for _ in range(_FRAGMENTS):
            if at + 8 > self._size:
                raise _Cut(tag, 0, UNDEFINED)
            group, element, length = item(os.pread(self._fd, 8, self._offset + at), 0)
            at += 8
            if group << 16 | element == SEQUENCE_END:
                return at - self._start
            if group << 16 | element != ITEM or length == UNDEFINED:
                raise _Unclear
            at += length
        raise _Unclear
