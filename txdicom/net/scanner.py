"""The PDUs in a stream of bytes, for those who only look on: beside the decoder that acts on them."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from txdicom.errors import RemoteProtocolError
from txdicom.pdu.decode import decode
from txdicom.pdu.types import PDUType

if TYPE_CHECKING:
    from collections.abc import Callable

    from txdicom.pdu.limits import Limits
    from txdicom.pdu.types import PDU

_HEADER: Final = Struct(">BxI")
#: the longest body of each type; those of the A-ASSOCIATE PDUs are a setting
_LONGEST: Final[dict[int, int]] = {
    PDUType.ASSOCIATE_RJ: 4,
    PDUType.RELEASE_RQ: 4,
    PDUType.RELEASE_RP: 4,
    PDUType.ABORT: 4,
}
_ASSOCIATE: Final = (PDUType.ASSOCIATE_RQ, PDUType.ASSOCIATE_AC)


class Scanner:
    """Calls `tell(type, length, pdu)` for each PDU of one direction; `pdu` is None for P-DATA-TF and the unreadable.

    Of P-DATA-TF only the header is looked at. Behind what cannot be a PDU, which ends the association, nothing is told.
    """

    __slots__ = ("_body", "_head", "_kind", "_left", "_length", "_limits", "_stopped", "_tell")

    def __init__(self, limits: Limits, tell: Callable[[int, int, PDU | None], None]) -> None:
        self._limits = limits
        self._tell = tell
        self._head = b""
        self._kind = 0
        self._length = 0
        self._left = 0  # bytes of the PDU that are still to come
        self._body: bytearray | None = None  # of any PDU but P-DATA-TF
        self._stopped = False

    def feed(self, data: bytes | memoryview) -> None:
        """The next bytes of the stream."""
        pos, end = 0, len(data)
        while pos < end and not self._stopped:
            if self._left:
                part = data[pos : pos + self._left]
                pos += len(part)
                self._left -= len(part)
                if self._body is not None:
                    self._body += part
                    if not self._left:
                        self._whole()
                continue
            part = data[pos : pos + _HEADER.size - len(self._head)]
            pos += len(part)
            self._head += bytes(part)
            if len(self._head) == _HEADER.size:
                self._begin(*_HEADER.unpack(self._head))
                self._head = b""

    def _begin(self, kind: int, length: int) -> None:
        self._kind, self._length, self._left, self._body = kind, length, length, None
        if kind == PDUType.P_DATA_TF:
            self._tell(kind, length, None)
        elif 0 < length <= (self._limits.max_associate if kind in _ASSOCIATE else _LONGEST.get(kind, 0)):
            self._body = bytearray()
        else:
            self._stopped = True

    def _whole(self) -> None:
        body, self._body = bytes(self._body or b""), None
        try:
            pdu = decode(self._kind, body, self._limits)
        except RemoteProtocolError:
            pdu = None
        self._tell(self._kind, self._length, pdu)
