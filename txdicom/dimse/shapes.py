"""Command sets that come again with other values.

The messages of a peer mostly have the same elements of the same lengths, one after the other. Once such a command set
was walked, its shape is remembered: the next one is taken apart by a single `unpack`, and where every tag and length
in it is the remembered one, the walk would find just the same.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from txdicom.dimse.elements import COMMAND_GROUP_LENGTH, ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable

#: shapes that are remembered, one for each size of a command set; all are forgotten when there are more
MOST: Final = 64
_PADDING: Final = b"\0 "
_TAG_LENGTH: Final = struct.Struct("<HHL")


class _Shape(NamedTuple):
    unpack: Callable[[bytes], tuple[Any, ...]]
    #: tag and length of each element as one number, those of the group length first
    headers: tuple[int, ...]
    #: of the group length and the others
    numbers: tuple[int, ...]
    #: which values are text, and how they lose their padding
    texts: tuple[tuple[int, Callable[[bytes, bytes], bytes]], ...]


_shapes: Final[dict[int, _Shape]] = {}


def recall(data: bytes) -> dict[int, Any] | None:
    """The values of a command set whose shape is known, by element number; None where it has to be walked."""
    shape = _shapes.get(len(data))
    if shape is None:
        return None
    unpack, headers, numbers, texts = shape
    fields = unpack(data)
    if fields[::2] != headers or fields[1] != len(data) - 12:
        return None
    values = dict(zip(numbers, fields[1::2], strict=True))
    del values[COMMAND_GROUP_LENGTH]
    for number, strip in texts:
        text = strip(values[number], _PADDING)
        if not text:
            return None  # a text without a value is left out of the command
        values[number] = text.decode("latin-1")
    return values


def learn(data: bytes) -> None:
    """Remembers the shape of a command set in which a walk found nothing irregular, for `recall`."""
    formats, numbers, texts, offset = ["<"], [], [], 0
    while offset < len(data):
        _group, number, length = _TAG_LENGTH.unpack_from(data, offset)
        vr = ELEMENTS[number].vr
        if vr == "AT" or not length:
            return
        numbers.append(number)
        formats.append({"US": "QH", "UL": "QL"}.get(vr, f"Q{length}s"))
        if vr not in ("US", "UL"):
            texts.append((number, bytes.rstrip if vr == "UI" else bytes.strip))
        offset += 8 + length
    unpack = struct.Struct("".join(formats)).unpack
    if len(_shapes) >= MOST:
        _shapes.clear()
    _shapes[len(data)] = _Shape(unpack, unpack(data)[::2], tuple(numbers), tuple(texts))
