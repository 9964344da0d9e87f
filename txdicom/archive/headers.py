"""Headers that come again.

The instances of a series mostly have the same elements of the same lengths before their UIDs, so what a walk looked at
in one of them is the same bytes in the next. Those bytes are compared all at once, as one large number under a mask;
where they are equal, the walk would find the values in the same places, and where anything differs it is walked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from txdicom.archive.walker import trace

if TYPE_CHECKING:
    from collections.abc import Sequence

#: how many layouts are remembered for a transfer syntax, and for how many transfer syntaxes
_LAYOUTS: Final = 8
_SYNTAXES: Final = 16
#: the most misses in a row that are not learned from
_MAX_PAUSE: Final = 64


class _Layout(NamedTuple):
    """The beginning of a data set as far as a walk for the wanted values looks at it."""

    #: the tag past the last wanted one, and where it ends; nearly any other layout has something else there
    last: bytes
    end: int
    #: the first `end` bytes as a number, least significant first: which of them matter, and what they are
    mask: int
    expected: int
    #: where the values are; an empty slice for one that is not there
    places: tuple[slice, ...]

    def fits(self, head: bytes) -> bool:
        """Whether a data set that begins with `head` has this layout."""
        last, end, mask, expected, _places = self
        return head[end - 4 : end] == last and int.from_bytes(head[:end], "little") & mask == expected


class _Known:
    """The layouts of one transfer syntax."""

    __slots__ = ("candidate", "misses", "pause", "proven")

    def __init__(self) -> None:
        #: those that were met again, the most recent first; and the last one learned, which was not yet
        self.proven: list[_Layout] = []
        self.candidate: _Layout | None = None
        #: how many misses to let pass before the next is learned from, and how many there were since the last
        self.pause = 0
        self.misses = 0


class KnownHeaders:
    """Remembers layouts of data sets for one thread, and gives the values of the `wanted` tags in their order.

    Learning costs more than a walk. So the layout learned last is on probation, and as long as none is met again, one
    is learned ever more rarely: instances that all differ cost little more than without.
    """

    def __init__(self, wanted: Sequence[int]) -> None:
        self._order = tuple(wanted)
        self._wanted = frozenset(wanted)
        self._known: dict[str, _Known] = {}

    def read(self, head: bytes, transfer_syntax: str) -> Sequence[bytes] | None:
        """The values as they are in a data set that begins with `head`, b"" where absent; None: it has to be walked.

        `transfer_syntax` is not a deflated one.
        """
        known = self._known.get(transfer_syntax)
        if known is None:
            if len(self._known) >= _SYNTAXES:
                self._known.clear()
            known = self._known[transfer_syntax] = _Known()
        for layout in known.proven:
            if layout.fits(head):
                if layout is not known.proven[0]:
                    known.proven.remove(layout)
                    known.proven.insert(0, layout)
                return [head[place] for place in layout.places]
        return self._missed(known, head, transfer_syntax)

    def _missed(self, known: _Known, head: bytes, transfer_syntax: str) -> Sequence[bytes] | None:
        layout = known.candidate
        if layout is not None and layout.fits(head):
            known.proven.insert(0, layout)
            del known.proven[_LAYOUTS:]
            known.candidate = None
            known.pause = known.misses = 0
            return [head[place] for place in layout.places]
        if known.misses < known.pause:
            known.misses += 1
            return None
        known.pause = min(2 * known.pause + 1, _MAX_PAUSE)
        known.misses = 0
        layout = known.candidate = self._learned(head, transfer_syntax)
        return None if layout is None else [head[place] for place in layout.places]

    def _learned(self, head: bytes, transfer_syntax: str) -> _Layout | None:
        traced = trace(head, transfer_syntax, self._wanted)
        if traced is None:
            return None
        places, reads = traced
        offset, size = reads[-1]
        end = offset + size
        mask = bytearray(end)
        for offset, size in reads:
            mask[offset : offset + size] = b"\xff" * size
        number = int.from_bytes(mask, "little")
        return _Layout(
            last=head[end - 4 : end],
            end=end,
            mask=number,
            expected=int.from_bytes(head[:end], "little") & number,
            places=tuple(places.get(tag, slice(0, 0)) for tag in self._order),
        )
