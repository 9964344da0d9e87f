"""Headers that come again.

The instances of a series mostly have the same elements of the same lengths before their UIDs, so what a walk looked at
in one of them is the same bytes in the next. Those bytes are compared all at once, as one large number under a mask;
where they are equal the walk would find the values in the same places, and where anything differs it is walked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from txdicom.archive.walker import trace

if TYPE_CHECKING:
    from collections.abc import Sequence

#: how many layouts are remembered of a transfer syntax, and of how many transfer syntaxes
LAYOUTS: Final = 8
SYNTAXES: Final = 16
#: Learning costs several walks, so it is paid for: by the header that was known, and a little by each that was not.
#: Where every header is another one, few are learned and they cost hardly more than without.
_COST: Final = 128
_BY_HIT: Final = 4
_BY_MISS: Final = 1
_SAVINGS: Final = LAYOUTS * _COST


class _Layout(NamedTuple):
    """The beginning of a data set as far as a walk for the wanted values looks at it."""

    #: where the tag past the last wanted one begins and ends, and that tag; other layouts mostly end elsewhere
    last: int
    end: int
    tag: bytes
    #: the first `end` bytes as a number, least significant first: which bits of it matter, and what they are
    mask: int
    expected: int
    #: where the values are; nowhere for one that is absent
    places: tuple[slice, ...]


class _Known:
    """The layouts of one transfer syntax, the one met last first, and what is saved up for learning more."""

    __slots__ = ("layouts", "savings")

    def __init__(self) -> None:
        self.layouts: list[_Layout] = []
        self.savings = _SAVINGS


class KnownHeaders:
    """Remembers layouts of data sets, and by them gives the values of the `wanted` tags. For one thread."""

    def __init__(self, wanted: Sequence[int]) -> None:
        self._order = tuple(wanted)
        self._wanted = frozenset(wanted)
        self._known: dict[str, _Known] = {}

    def read(self, head: bytes, transfer_syntax: str) -> Sequence[bytes] | None:
        """The values in the order of `wanted`, b"" where absent, of a data set that begins with `head`.

        None: it has to be walked. `transfer_syntax` must not be a deflated one.
        """
        known = self._known.get(transfer_syntax)
        if known is None:
            if len(self._known) >= SYNTAXES:
                self._known.clear()
            known = self._known[transfer_syntax] = _Known()
        for layout in known.layouts:
            last, end, tag, mask, expected, places = layout
            if head[last:end] == tag and int.from_bytes(head[:end], "little") & mask == expected:
                if layout is not known.layouts[0]:
                    known.layouts.remove(layout)
                    known.layouts.insert(0, layout)
                if known.savings < _SAVINGS:
                    known.savings += _BY_HIT
                return [head[place] for place in places]
        known.savings += _BY_MISS
        if known.savings >= _COST:
            known.savings -= _COST
            self._learn(head, transfer_syntax, known)
        return None

    def _learn(self, head: bytes, transfer_syntax: str, known: _Known) -> None:
        traced = trace(head, transfer_syntax, self._wanted)
        if traced is None:
            return
        places, reads = traced
        last, size = reads[-1]
        end = last + size
        matters = bytearray(end)
        for offset, size in reads:
            matters[offset : offset + size] = b"\xff" * size
        mask = int.from_bytes(matters, "little")
        del known.layouts[LAYOUTS - 1 :]
        known.layouts.insert(0, _Layout(
            last, end, head[last:end], mask, int.from_bytes(head[:end], "little") & mask,
            tuple(slice(*places.get(tag, (0, 0))) for tag in self._order),
        ))  # fmt: skip
