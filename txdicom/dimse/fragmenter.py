"""Messages to P-DATA-TF PDUs (PS3.8 §9.3.5, Annex E) within the peer's maximum length.

The command set and a data set that is at hand go out as one buffer; a large data set is read straight into a laid-out
`Block` that already holds the headers of its PDUs, so that no byte of it is copied again.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from txdicom.dimse.assembler import LAST
from txdicom.errors import LocalProtocolError

_HEADER = Struct(">BBIIBB")  # PDU type, reserved, PDU length, PDV length, context ID, message control header
#: bytes before the fragment in a P-DATA-TF with one PDV
OVERHEAD: Final = _HEADER.size
_IN_LENGTH: Final = 6  # those of them that the PDU length counts
_P_DATA_TF: Final = 4

#: what a block holds, unless one PDU is longer; measured: smaller ones cost calls, larger ones cache misses
BLOCK: Final = 65_536
#: the longest P-DATA-TF we send to a peer that sets no limit, or a very high one
LONGEST: Final = 1_048_576
#: holes of a block: the usual limit of the buffers of one `preadv` (IOV_MAX)
MAX_HOLES: Final = 1024


def fragment_size(max_length: int) -> int:
    """How many bytes of a message fit one P-DATA-TF to a peer of this maximum length (PS3.8 D.1; 0: no limit)."""
    if max_length and max_length <= _IN_LENGTH:
        raise LocalProtocolError(f"the peer's maximum length of {max_length} bytes leaves no room for a fragment")
    size = min(max_length or LONGEST, LONGEST) - _IN_LENGTH
    return size - size % 2 if size > 1 else size


def fragments(context_id: int, control: int, data: bytes, max_length: int) -> bytes:
    """`data`, a command set (control COMMAND) or a data set (0), as P-DATA-TF PDUs of one PDV each."""
    size = len(data)
    if size + _IN_LENGTH <= (max_length or LONGEST) and size + _IN_LENGTH <= LONGEST:
        return _HEADER.pack(_P_DATA_TF, 0, size + _IN_LENGTH, size + 2, context_id, control | LAST) + data
    step = fragment_size(max_length)
    parts = []
    for start in range(0, size, step):
        part = data[start : start + step]
        last = LAST if start + step >= size else 0
        parts.append(_HEADER.pack(_P_DATA_TF, 0, len(part) + _IN_LENGTH, len(part) + 2, context_id, control | last))
        parts.append(part)
    return b"".join(parts)


class Block:
    """A buffer laid out as P-DATA-TF PDUs of one data set, to be filled from a source and sent again and again.

    `holes` are views of the places for the data set's bytes, in order: what a `preadv` fills. A block is laid out for
    full PDUs; `cut` lays the last one out for what is left, `renew` makes the block ready for another data set.
    """

    __slots__ = ("_at", "_context_id", "_step", "_view", "capacity", "holes")

    def __init__(self, context_id: int, max_length: int) -> None:
        self._context_id = context_id
        self._step = step = fragment_size(max_length)
        count = min(max(1, BLOCK // (step + OVERHEAD)), MAX_HOLES)
        self._view = view = memoryview(bytearray(count * (step + OVERHEAD)))
        self.holes: list[memoryview] = []
        self.capacity = count * step
        self._at = -1  # where the header stands that `cut` changed
        for at in range(0, len(view), step + OVERHEAD):
            self._header(at, step, 0)
            self.holes.append(view[at + OVERHEAD : at + OVERHEAD + step])

    def renew(self) -> None:
        """Lays the block out for full PDUs again."""
        if self._at >= 0:
            self._header(self._at, self._step, 0)
            self._at = -1

    def whole(self) -> memoryview:
        """The block as it goes out when every hole was filled and more is to follow."""
        return self._view

    def cut(self, count: int) -> memoryview:
        """The block as it goes out when `count` bytes, at most its capacity, were filled and they are the last."""
        full, rest = divmod(count, self._step)
        if full and not rest:
            full, rest = full - 1, self._step
        self._at = at = full * (self._step + OVERHEAD)
        self._header(at, rest, LAST)
        return self._view[: at + OVERHEAD + rest]

    def _header(self, at: int, size: int, control: int) -> None:
        _HEADER.pack_into(self._view, at, _P_DATA_TF, 0, size + _IN_LENGTH, size + 2, self._context_id, control)
