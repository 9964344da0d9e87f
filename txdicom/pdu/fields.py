"""The fields that PDUs, items and sub-items are made of: reading and writing them (PS3.8 §9.3.1, Annex F).

Everything is big endian. Reading slices memoryviews: a length of the peer is found to lie within what holds it before
anything is copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from txdicom.errors import LocalProtocolError, RemoteProtocolError
from txdicom.pdu.types import AbortReason, UnknownItem
from txdicom.uids import is_strict_uid, is_uid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from txdicom.pdu.limits import Limits

_UID_LENGTH = 64  # PS3.8 F.1
_SHOWN = 80  # characters of a peer's text that a report may have


def invalid(message: str) -> RemoteProtocolError:
    """The error for a field whose value cannot be used."""
    return RemoteProtocolError(message, reason=AbortReason.INVALID_PARAMETER_VALUE)


def unexpected(message: str) -> RemoteProtocolError:
    """The error for an item that is known but has no place here."""
    return RemoteProtocolError(message, reason=AbortReason.UNEXPECTED_PARAMETER)


def shown(text: str) -> str:
    """`text` of a peer as a report may quote it: short, and without control characters."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


class Cursor:
    """Walks the fixed and counted fields of one item, named `what` in errors."""

    __slots__ = ("_at", "_view", "_what")

    def __init__(self, view: memoryview, what: str) -> None:
        self._view = view
        self._what = what
        self._at = 0

    @property
    def left(self) -> int:
        """How many bytes were not taken yet."""
        return len(self._view) - self._at

    def take(self, count: int) -> memoryview:
        """The next `count` bytes."""
        if count > self.left:
            raise invalid(f"{self._what} ends {count - self.left} bytes early")
        self._at += count
        return self._view[self._at - count : self._at]

    def number(self, size: int) -> int:
        """The next `size` bytes as an unsigned number."""
        return int.from_bytes(self.take(size), "big")

    def rest(self) -> memoryview:
        """All that is left."""
        return self.take(self.left)


class Reading:
    """What goes with one PDU while it is read: the limits, and where its deviations are reported."""

    __slots__ = ("_deviations", "_room", "limits")

    def __init__(self, limits: Limits, deviations: list[str] | None) -> None:
        self.limits = limits
        self._deviations = deviations
        self._room = limits.max_deviations if deviations is not None else 0

    def note(self, sentence: str) -> None:
        """Reports that the peer broke a rule in a way that harms nothing."""
        if self._room and self._deviations is not None:
            self._room -= 1
            self._deviations.append(sentence)

    def items(self, view: memoryview, limit: int, what: str) -> Iterator[tuple[int, int, memoryview]]:
        """The items that `view` is a row of: type, second byte and content of each, `limit` of them at most."""
        at, end, count = 0, len(view), 0
        while at < end:
            if end - at < 4:
                if any(view[at:]):
                    raise invalid(f"{what}: {end - at} bytes after the last item")
                self.note(f"{what}: zeros after the last item")
                return
            length = int.from_bytes(view[at + 2 : at + 4], "big")
            start, stop = at + 4, at + 4 + length
            if stop > end:
                raise invalid(f"{what}: an item of type {view[at]:02X}H ends {stop - end} bytes after what holds it")
            count += 1
            if count > limit:
                raise invalid(f"{what}: more than {limit} items")
            yield view[at], view[at + 1], view[start:stop]
            at = stop

    def uid(self, field: memoryview, what: str, *, any_length: bool = False) -> str:
        """A UID; padding is dropped, odd characters are kept. More than 64 are an error, unless `any_length`."""
        text = self.text(field, what)
        if len(text) > _UID_LENGTH and not any_length:
            raise invalid(f"{what}: {len(text)} characters in a UID")
        if not is_strict_uid(text):
            self.note(f"{what}: {shown(text)} is not a UID")
        return text

    def text(self, field: memoryview, what: str) -> str:
        """Characters without the NULs and spaces around them."""
        sent = str(field, "latin-1")
        text = sent.strip(" \0")
        if text != sent:
            self.note(f"{what}: padded with {'NULs' if chr(0) in sent else 'spaces'}")
        return text

    def flag(self, value: int, what: str) -> bool:
        """A byte that is 0 or 1; anything else counts as 0, which grants nothing."""
        if value > 1:
            self.note(f"{what}: {value} is neither 0 nor 1")
        return value == 1

    def end(self, cursor: Cursor, what: str) -> None:
        """Reports what follows the last field of an item."""
        if cursor.left:
            self.note(f"{what}: {cursor.left} bytes after its last field")


def number(value: int, size: int, what: str) -> bytes:
    """`value` in `size` bytes."""
    if not 0 <= value < 1 << (8 * size):
        raise LocalProtocolError(f"{what}: {value} does not fit {size} bytes")
    return value.to_bytes(size, "big")


def counted(content: bytes, what: str) -> bytes:
    """`content` after its two-byte length."""
    return number(len(content), 2, f"length of {what}") + content


def item(kind: int, content: bytes, what: str) -> bytes:
    """An item or sub-item: type, a reserved byte, length and content."""
    return number(kind, 1, "item type") + b"\0" + counted(content, what)


def unknown_items(items: Iterable[UnknownItem]) -> bytes:
    """Items that were kept as sent, or that a caller adds of its own."""
    return b"".join(item(each.kind, each.data, "unknown item") for each in items)


def uid(text: str, what: str) -> bytes:
    """A UID as we send it: unpadded, with no leading zero held against a peer's or a user's own (PS3.8 F.1)."""
    if not is_uid(text):
        raise LocalProtocolError(f"{what}: {shown(text)} is not a UID")
    return text.encode("ascii")


def echo(text: str, what: str) -> bytes:
    """A peer's own text sent back to it, whatever it is."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise LocalProtocolError(f"{what}: {shown(text)} cannot be encoded") from None


def name(text: str, longest: int, what: str) -> bytes:
    """1 to `longest` characters of ISO 646:1990 basic G0, the printable ones of ASCII."""
    if not 1 <= len(text) <= longest or not text.isascii() or not text.isprintable():
        raise LocalProtocolError(f"{what}: {shown(text)} is not 1 to {longest} printable ASCII characters")
    return text.encode("ascii")
