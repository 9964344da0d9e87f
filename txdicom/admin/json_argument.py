"""The argument type of values that are more than a word: JSON, in as many parts as it takes.

A value of AMP ends at 65,535 bytes: the text of the argument `entry` goes on in `entry.1`, `entry.2` and so on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from twisted.protocols.amp import Argument

from txdicom.admin.boxes import MAX_BOX, MAX_VALUE
from txdicom.errors import BadArgument, TooLarge

if TYPE_CHECKING:
    from collections.abc import MutableMapping

#: bytes of JSON in a box; the rest is for the other keys and for the lengths
MAX_JSON: Final = MAX_BOX - 65_536


class Json(Argument):
    """A value that JSON has, of at most `limit` bytes; with `optional`, None is not sent."""

    def __init__(self, *, optional: bool = False, limit: int = MAX_JSON) -> None:
        super().__init__(optional)  # type: ignore[no-untyped-call]
        self._limit = limit

    def fromBox(  # noqa: N802 (Twisted's name)
        self, name: bytes, strings: MutableMapping[bytes, bytes], objects: dict[str, Any], proto: Any
    ) -> None:
        """Takes its parts out of `strings`.

        BadArgument where they are not JSON, TooLarge where they are too long for it, KeyError where there are none.
        """
        if self.optional and name not in strings:
            objects[name.decode("ascii")] = None
            return
        parts = [strings.pop(name)]
        while (following := b"%s.%d" % (name, len(parts))) in strings:
            parts.append(strings.pop(following))
        text = b"".join(parts)
        self._check(name, text)
        objects[name.decode("ascii")] = decode(text, name.decode("ascii"))

    def toBox(  # noqa: N802 (Twisted's name)
        self, name: bytes, strings: MutableMapping[bytes, bytes], objects: dict[str, Any], proto: Any
    ) -> None:
        """Puts its parts into `strings`.

        TooLarge where it does not fit into a box, TypeError and ValueError where it is no JSON.
        """
        value = objects.pop(name.decode("ascii"), None)
        if self.optional and value is None:
            return
        text = encode(value)
        self._check(name, text)
        for index, start in enumerate(range(0, len(text), MAX_VALUE)):
            strings[b"%s.%d" % (name, index) if index else name] = text[start : start + MAX_VALUE]

    def _check(self, name: bytes, text: bytes) -> None:
        if len(text) > self._limit:
            raise TooLarge(f"{name.decode('ascii')} has {len(text)} bytes, and may have {self._limit}")


def encode(value: Any) -> bytes:
    """JSON as bytes of ASCII; TypeError and ValueError where `value` is none."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


def decode(text: bytes, name: str) -> Any:
    """The value of a JSON text; BadArgument, which calls it `name`, where it is none."""
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_no_number)
        if b"\\u" in text:
            # half a surrogate pair is text that cannot be written anywhere
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise BadArgument([f"{name}: it is not JSON ({error})"]) from None
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")
