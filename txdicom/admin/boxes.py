"""AMP boxes out of a stream of bytes, with limits that hold before anything is kept.

A box is a row of keys and values, each behind its length in two bytes, and ends with an empty key.
"""

from __future__ import annotations

from typing import Final

from twisted.protocols.amp import AmpBox

#: bytes of a box, its lengths included
MAX_BOX: Final = 4 << 20
#: keys of a box; the longest value takes 65
MAX_KEYS: Final = 128
#: what a length of a key and of a value can say
MAX_KEY: Final = 255
MAX_VALUE: Final = 65_535


class BoxError(Exception):
    """The bytes are no box, or one that is too large. Nothing after it can be read."""


class BoxReader:
    """Takes bytes as they come, gives boxes one at a time."""

    def __init__(self, *, max_box: int = MAX_BOX, max_keys: int = MAX_KEYS) -> None:
        self._max_box = max_box
        self._max_keys = max_keys
        self._buffer = bytearray()
        self._here = 0
        self._box = AmpBox()
        self._key: bytes | None = None
        self._keys = 0
        self._size = 0

    @property
    def amid(self) -> bool:
        """Whether a box has begun and not ended."""
        return self._here < len(self._buffer) or self._size > 0

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        del self._buffer[: self._here]
        self._here = 0
        self._buffer += data

    def next(self) -> AmpBox | None:
        """The next box; None where it has not come yet. Raises BoxError."""
        while True:
            start = self._here + 2
            if len(self._buffer) < start:
                return None
            length = int.from_bytes(self._buffer[self._here : start], "big")
            self._check(length)
            end = start + length
            if len(self._buffer) < end:
                return None
            part = bytes(self._buffer[start:end])
            self._here = end
            self._size += length + 2
            if self._key is not None:
                self._box[self._key] = part
                self._key = None
            elif part:
                self._key = part
                self._keys += 1
            else:
                box, self._box = self._box, AmpBox()
                self._keys = self._size = 0
                return box

    def _check(self, length: int) -> None:
        if self._key is None:
            if length > MAX_KEY:
                raise BoxError("this is not AMP")
            if length and self._keys == self._max_keys:
                raise BoxError(f"a box of more than {self._max_keys} keys")
        if self._size + length + 2 > self._max_box:
            raise BoxError(f"a box of more than {self._max_box} bytes")
