"""Finds a few elements near the start of a data set without decoding the rest (PS3.5 §7.1, §7.5, Annex A).

Only the data set's own elements are looked at, never those inside sequences. Tags out of order and unknown VRs do not
matter; a structure that cannot be walked is `BadDataSet`. The work is bounded by what is read: every byte is looked
at once, sequences nest at most `MAX_DEPTH` deep, and `gather` reads at most `MAX_HEADER` bytes.
"""

from __future__ import annotations

import copy
import struct
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from txdicom.errors import DicomError
from txdicom.uids import DEFLATED, EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    #: (offset, count) -> up to `count` bytes of the data set from there, and whether it ends with them
    Reader = Callable[[int, int], tuple[bytes | memoryview, bool]]

#: how deep sequences of undefined length may nest
MAX_DEPTH: Final = 64
#: how much of a data set is read and inflated in search of the wanted elements, bytes
MAX_HEADER: Final = 16 << 20
#: how much of a data set is read at first, bytes
FIRST_READ: Final = 16 << 10

#: how many different element headers are remembered of what one search has walked over
_STEPS: Final = 4096
UNDEFINED: Final = 0xFFFFFFFF
_DELIMITERS: Final = 0xFFFE
ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD

#: PS3.5 §7.1.2: the VRs with a 16-bit length, and those with a 32-bit one
_SHORT_VRS: Final = (
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO",
    "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US",
)  # fmt: skip
_LONG_VRS: Final = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")

_ENDS_INSIDE: Final = "the data set ends inside an element"
_TOO_LONG: Final = f"more than {MAX_HEADER >> 20} MiB before the wanted elements"


class BadDataSet(DicomError):
    """The data set cannot be walked; the message says why, without anything from the data set but tags."""


class NeedMore(Exception):
    """The prefix ends before the wanted elements.

    `at_least` is how many bytes from the start of the prefix are needed to go on, if the data set has that many.
    `resume` is where the walk can be taken up again: the start of an element of the data set itself.
    """

    def __init__(self, at_least: int, resume: int = 0) -> None:
        super().__init__(f"{at_least} bytes of the data set are wanted")
        self.at_least = at_least
        self.resume = resume


class Coding:
    """How elements are laid out in one of the four encodings.

    A walk looks at a data set only by `header`, `item` and `length`: see `traced`.
    """

    __slots__ = ("explicit", "header", "implicit", "inside_un", "item", "length", "long", "short", "un")

    def __init__(self, order: str, implicit: Coding | None, inside_un: Coding | None = None) -> None:
        def codes(*vrs: str) -> frozenset[int]:
            return frozenset(struct.unpack(order + "H", vr.encode())[0] for vr in vrs)

        self.explicit = implicit is not None
        #: the same byte order without VRs
        self.implicit = implicit or self
        #: UN of undefined length holds Implicit VR Little Endian, whatever is around it (PS3.5 §6.2.2)
        self.inside_un = inside_un or self
        #: group, element, VR, 16-bit length
        self.header = struct.Struct(order + "HHHH").unpack_from
        #: group, element, 32-bit length
        self.item = struct.Struct(order + "HHI").unpack_from
        self.length = struct.Struct(order + "I").unpack_from
        self.short = codes(*_SHORT_VRS) if implicit else frozenset()
        self.long = codes(*_LONG_VRS) if implicit else frozenset()
        (self.un,) = codes("UN")

    def traced(self, reads: list[tuple[int, int]]) -> Coding:
        """The same, noting in `reads` the offset and size of all that is read by it."""

        def noting(unpack: Callable[..., Any], size: int) -> Callable[..., Any]:
            def noted(data: bytes, position: int) -> Any:
                reads.append((position, size))
                return unpack(data, position)

            return noted

        traced = copy.copy(self)
        traced.header, traced.item, traced.length = noting(self.header, 8), noting(self.item, 8), noting(self.length, 4)
        traced.implicit = self.implicit.traced(reads) if self.explicit else traced
        traced.inside_un = self.inside_un.traced(reads) if self.explicit else traced
        return traced


_IMPLICIT_LITTLE: Final = Coding("<", None)
_EXPLICIT_LITTLE: Final = Coding("<", _IMPLICIT_LITTLE, _IMPLICIT_LITTLE)
_EXPLICIT_BIG: Final = Coding(">", Coding(">", None), _IMPLICIT_LITTLE)


class _Search:
    """What is looked for in one encoding, and what is known of the elements on the way to it."""

    __slots__ = ("coding", "last", "remembers", "steps", "wanted")

    def __init__(self, coding: Coding, wanted: frozenset[int], remembers: bool = True) -> None:
        self.coding = coding
        self.wanted = wanted
        self.last = max(wanted)
        self.remembers = remembers
        #: the first eight bytes of elements to be passed over whose length they tell -> how far the next one is
        self.steps: dict[bytes, int] = {}


_search: Final = lru_cache(maxsize=64)(_Search)


def scan(data: bytes | memoryview, transfer_syntax: str, wanted: frozenset[int], *, complete: bool) -> dict[int, bytes]:
    """The values of the `wanted` tags (group << 16 | element) among the first bytes of a data set.

    `complete` says that `data` is the whole of it. The walk ends at the first tag past the last wanted one; a tag
    that is not there is not in the result. Raises `NeedMore` and `BadDataSet`.
    """
    if transfer_syntax in DEFLATED:
        prefix = sized(lambda offset, count: data[offset : offset + count], len(data))
        return gather(Inflated(prefix, complete).read, "", wanted)
    data = bytes(data)
    places: dict[int, tuple[int, int]] = {}
    _walk(data, _search(settled(data, coding_of(transfer_syntax)), wanted), places, complete)
    return {tag: data[start:end] for tag, (start, end) in places.items()}


def trace(
    data: bytes, transfer_syntax: str, wanted: frozenset[int]
) -> tuple[dict[int, tuple[int, int]], list[tuple[int, int]]] | None:
    """Where `scan` of a data set that is not deflated finds the values, (start, end), and what else it looks at,
    (offset, size).

    Whatever has the same bytes there has its values in the same places. The last of them is the tag past the last
    wanted one. None where `data` does not go as far as that.
    """
    reads: list[tuple[int, int]] = []
    places: dict[int, tuple[int, int]] = {}
    coding = settled(data, coding_of(transfer_syntax)).traced(reads)
    try:
        _walk(data, _Search(coding, wanted, remembers=False), places, complete=False)
    except (NeedMore, BadDataSet):
        return None
    # of the element past the last wanted one only the tag mattered
    reads[-1] = (reads[-1][0], 4)
    return places, reads


def gather(read: Reader, transfer_syntax: str, wanted: frozenset[int]) -> dict[int, bytes]:
    """`scan` of a data set that is not in memory: reads only as much of it as is needed, and skips large values.

    `transfer_syntax` is that of what `read` returns: a deflated data set is read through `Inflated`, with "".
    Raises `BadDataSet`, and what `read` raises.
    """
    found: dict[int, bytes] = {}
    search: _Search | None = None
    offset, size, spent = 0, FIRST_READ, 0
    while True:
        chunk, ended = read(offset, size)
        data = bytes(chunk)
        search = search or _search(settled(data, coding_of(transfer_syntax)), wanted)
        places: dict[int, tuple[int, int]] = {}
        try:
            _walk(data, search, places, ended)
        except NeedMore as need:
            spent += len(data)
            size = max(FIRST_READ if need.resume else 2 * size, need.at_least - need.resume)
            if spent + size > MAX_HEADER:
                raise BadDataSet(_TOO_LONG) from None
            offset += need.resume
        else:
            return found
        finally:
            found.update((tag, data[start:end]) for tag, (start, end) in places.items())


def sized(read: Callable[[int, int], bytes | memoryview], size: int) -> Reader:
    """A `Reader` of the `size` bytes that `read` gives; going past their end is a `BadDataSet`."""

    def bounded(offset: int, count: int) -> tuple[bytes | memoryview, bool]:
        if offset > size:
            raise BadDataSet(_ENDS_INSIDE)
        return read(offset, min(count, size - offset)), offset + count >= size

    return bounded


class Inflated:
    """Reads what is inside a deflated data set (PS3.5 A.5): forward only, and never more than `MAX_HEADER` bytes.

    `complete` says whether the data set ends where `read` does; if not, `NeedMore` counts deflated bytes.
    """

    def __init__(self, read: Reader, complete: bool = True) -> None:
        self._read = read
        self._complete = complete
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        #: deflated bytes taken from `read`, and whether it has no more
        self._taken = 0
        self._exhausted = False
        #: what is inflated from `_start` on
        self._buffer = b""
        self._start = 0

    def read(self, offset: int, count: int) -> tuple[bytes, bool]:
        """As `Reader`, with an `offset` not before that of the last call."""
        if offset + count > MAX_HEADER:
            raise BadDataSet(_TOO_LONG)
        if self._exhausted and not self._inflater.unconsumed_tail and not self._inflater.eof:
            # the last call gave all there is, and it was not enough
            raise self._ends_early()
        parts, missing = [self._buffer], offset + count - self._start - len(self._buffer)
        while missing > 0 and not self._inflater.eof and (self._inflater.unconsumed_tail or not self._exhausted):
            part = self._inflate(missing)
            parts.append(part)
            missing -= len(part)
        buffer = b"".join(parts)
        if len(buffer) < offset - self._start:
            raise self._ends_early()
        self._buffer = buffer[offset - self._start :]
        self._start = offset
        return self._buffer[:count], self._inflater.eof and len(self._buffer) <= count

    def _ends_early(self) -> BadDataSet | NeedMore:
        if self._inflater.eof or self._complete:
            return BadDataSet(_ENDS_INSIDE)
        return NeedMore(self._taken + 1)

    def _inflate(self, count: int) -> bytes:
        source: bytes | memoryview = self._inflater.unconsumed_tail
        if not source:
            source, self._exhausted = self._read(self._taken, FIRST_READ)
            self._taken += len(source)
        try:
            return self._inflater.decompress(source, count)
        except zlib.error:
            raise BadDataSet("the deflated data set is damaged") from None


def coding_of(transfer_syntax: str) -> Coding:
    """PS3.5 Annex A: all others, encapsulated and private ones too, are Explicit VR Little Endian."""
    if transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN:
        return _IMPLICIT_LITTLE
    return _EXPLICIT_BIG if transfer_syntax == EXPLICIT_VR_BIG_ENDIAN else _EXPLICIT_LITTLE


def settled(data: bytes, coding: Coding) -> Coding:
    """Some peers agree on Implicit VR and send Explicit VR: seen by a VR where the first element has its length."""
    if not coding.explicit and len(data) >= 8:
        vr = _EXPLICIT_LITTLE.header(data, 0)[2]
        if vr in _EXPLICIT_LITTLE.short or vr in _EXPLICIT_LITTLE.long:
            return _EXPLICIT_LITTLE
    return coding


def _walk(data: bytes, search: _Search, places: dict[int, tuple[int, int]], complete: bool) -> None:
    """Walk `data` from an element's start to the tag past the last wanted one, noting where the wanted values are."""
    known = search.steps.get
    position, limit = 0, len(data) - 8
    try:
        while True:
            # nearly all elements have been seen before, in this data set or another, and are just passed over
            while step := known(data[position : position + 8]):
                position += step
            if position > limit:
                break
            step = _step(data, position, search, places)
            if not step:
                return
            position += step
        # fewer than eight bytes left over are no element: trailing padding is let pass
        if not complete or position > len(data):
            raise NeedMore(position + 8, position)
    except NeedMore:
        if complete:
            raise BadDataSet(_ENDS_INSIDE) from None
        raise


def _step(data: bytes, position: int, search: _Search, places: dict[int, tuple[int, int]]) -> int:
    """How far the next element is; 0 where the last wanted tag is passed."""
    coding = search.coding
    group, element, vr, length = coding.header(data, position)
    tag = group << 16 | element
    if tag > search.last:
        return 0
    start = position + 8
    if vr not in coding.short:
        try:
            _tag, start, length, inner = read_element(data, position, coding)
            if length == UNDEFINED:
                return skip_sequence(data, start, inner, 1) - position
        except NeedMore as need:
            raise NeedMore(need.at_least, position) from None
    end: int = start + length
    if tag in search.wanted:
        if end > len(data):
            raise NeedMore(end, position)
        places[tag] = start, end
    elif start == position + 8 and search.remembers:
        if len(search.steps) >= _STEPS:
            search.steps.clear()
        search.steps[data[position:start]] = end - position
    return end - position


def read_element(data: bytes, position: int, coding: Coding) -> tuple[int, int, int, Coding]:
    """An element's tag, where its value begins, its length, and how items inside it are encoded."""
    if len(data) < position + 8:
        raise NeedMore(position + 8)
    if not coding.explicit:
        group, element, length = coding.item(data, position)
        return group << 16 | element, position + 8, length, coding
    group, element, vr, length = coding.header(data, position)
    tag = group << 16 | element
    if vr in coding.short:
        return tag, position + 8, length, coding
    if not (0x41 <= vr & 0xFF <= 0x5A and 0x41 <= vr >> 8 <= 0x5A):
        # a delimiter, or one of those elements that some writers leave without a VR
        (length,) = coding.length(data, position + 4)
        return tag, position + 8, length, coding.implicit
    if vr not in coding.long and length:
        # an unknown VR: new ones have the long form, with two reserved bytes of zero where this has a length
        return tag, position + 8, length, coding
    if len(data) < position + 12:
        raise NeedMore(position + 12)
    (length,) = coding.length(data, position + 8)
    return tag, position + 12, length, coding.inside_un if vr == coding.un else coding


def skip_sequence(data: bytes, position: int, coding: Coding, depth: int) -> int:
    """The end of a value of undefined length: items (or fragments, PS3.5 A.4) up to the sequence delimiter (§7.5.2)."""
    if depth > MAX_DEPTH:
        raise BadDataSet(f"sequences nested more than {MAX_DEPTH} deep")
    while True:
        if len(data) < position + 8:
            raise NeedMore(position + 8)
        group, element, length = coding.item(data, position)
        tag = group << 16 | element
        position += 8
        if tag == SEQUENCE_END:
            return position
        if tag != ITEM:
            raise BadDataSet(f"({group:04X},{element:04X}) instead of an item")
        position = _skip_item(data, position, coding, depth) if length == UNDEFINED else position + length


def _skip_item(data: bytes, position: int, coding: Coding, depth: int) -> int:
    """The end of an item of undefined length: elements up to the item delimiter (PS3.5 §7.5.1)."""
    while True:
        tag, start, length, inner = read_element(data, position, coding)
        if tag == _ITEM_END:
            return start
        if tag >> 16 == _DELIMITERS:
            raise BadDataSet(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) inside an item")
        position = skip_sequence(data, start, inner, depth + 1) if length == UNDEFINED else start + length
