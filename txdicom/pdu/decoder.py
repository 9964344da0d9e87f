"""The stream decoder (PS3.8 §9.3): bytes as they come from the transport in, PDUs and slices of PDVs out.

P-DATA-TF is never collected: each slice of a PDV is handed on as a memoryview of the bytes that were fed, cut where
the stream was cut. Only headers that straddle two reads, and the association PDUs, are put together. Every length is
checked before anything is kept for it.
"""

from __future__ import annotations

from struct import Struct
from typing import Protocol

from txdicom.errors import RemoteProtocolError
from txdicom.pdu.decode import decode
from txdicom.pdu.limits import DEFAULT, Limits
from txdicom.pdu.types import PDU, PDUType

_PDU_HEADER = Struct(">BxI")
_PDV_HEADER = Struct(">IBB")
_HEADER = 6  # bytes of a PDU's header, and of a PDV's with its context ID and message control header

_ASSOCIATE = (PDUType.ASSOCIATE_RQ, PDUType.ASSOCIATE_AC)
_FIXED = (PDUType.ASSOCIATE_RJ, PDUType.RELEASE_RQ, PDUType.RELEASE_RP, PDUType.ABORT)
_FIXED_LENGTH = 4

UNRECOGNIZED_PDU = 1
INVALID_PARAMETER = 6


class Receiver(Protocol):
    """What a decoder calls, in the order of the stream."""

    def pdata(self, length: int) -> None:
        """A P-DATA-TF PDU of `length` bytes begins."""

    def pdv(self, context_id: int, control: int, data: memoryview, end: bool) -> None:
        """A slice of a PDV; `end` on its last one. `control` is the message control header (PS3.8 Annex E.2)."""

    def pdu(self, pdu: PDU) -> None:
        """A whole PDU of another type."""

    def deviation(self, sentence: str) -> None:
        """The peer broke a rule harmlessly; what it sent was read all the same."""


class Decoder:
    """Cuts one direction of a connection into PDUs.

    `feed` raises `RemoteProtocolError` at the first thing that cannot be read; what comes after it has no meaning, so
    the decoder takes no more.
    """

    __slots__ = (
        "_associate",
        "_context_id",
        "_control",
        "_head",
        "_kind",
        "_limits",
        "_pdu_left",
        "_pdv_left",
        "_receiver",
        "_stopped",
    )

    def __init__(self, receiver: Receiver, limits: Limits = DEFAULT) -> None:
        self._receiver = receiver
        self._limits = limits
        self._head = b""  # the part of a header that the last read ended in
        self._pdu_left = 0  # bytes of the P-DATA-TF PDU that are still to come
        self._pdv_left = -1  # bytes of the PDV that are still to come; -1: between PDVs
        self._context_id = 0
        self._control = 0
        self._kind = 0
        self._associate: bytearray | None = None  # the body of any PDU but P-DATA, while it comes
        self._stopped = False

    @property
    def idle(self) -> bool:
        """Whether the stream stands between two PDUs."""
        return not (self._head or self._pdu_left or self._associate is not None)

    def stop(self) -> None:
        """Takes no more: what follows is dropped."""
        self._stopped = True

    def feed(self, data: bytes) -> None:
        """Decodes `data`, the next bytes of the stream, calling the receiver for what is in them."""
        pos = 0
        try:
            if self._head and not self._stopped:
                pos = self._straddling(data)
            self._walk(data, pos)
        except RemoteProtocolError:
            self._stopped = True
            raise

    def _walk(self, data: bytes, pos: int) -> None:
        end = len(data)
        receiver = self._receiver
        view = memoryview(data)
        while pos < end and not self._stopped:
            left = self._pdv_left
            if left >= 0:
                take = end - pos
                if take < left:
                    self._pdv_left = left - take
                    receiver.pdv(self._context_id, self._control, view[pos:end], False)
                    return
                self._pdv_left = -1
                receiver.pdv(self._context_id, self._control, view[pos : pos + left], True)
                pos += left
                continue
            if self._associate is not None:
                pos = self._collect(view, pos)
                continue
            if end - pos < _HEADER:
                self._head = data[pos:]
                return
            self._header(data, pos)
            pos += _HEADER

    def _header(self, data: bytes, pos: int) -> None:
        """A PDV's header inside a P-DATA-TF, else a PDU's."""
        if self._pdu_left:
            length, self._context_id, self._control = _PDV_HEADER.unpack_from(data, pos)
            if length < 2 or length + 4 > self._pdu_left:
                raise RemoteProtocolError(
                    f"a PDV of {length} bytes does not fit its P-DATA-TF", reason=INVALID_PARAMETER
                )
            self._pdu_left -= length + 4
            if 0 < self._pdu_left < _HEADER:
                raise RemoteProtocolError("bytes after the last PDV of a P-DATA-TF", reason=INVALID_PARAMETER)
            if length == 2:
                self._receiver.pdv(self._context_id, self._control, memoryview(b""), True)
            else:
                self._pdv_left = length - 2
            return
        kind, length = _PDU_HEADER.unpack_from(data, pos)
        if kind == PDUType.P_DATA_TF:
            if not _HEADER <= length <= self._limits.max_pdata:
                raise RemoteProtocolError(
                    f"a P-DATA-TF of {length} bytes; at most {self._limits.max_pdata} were announced",
                    reason=INVALID_PARAMETER,
                )
            self._pdu_left = length
            self._receiver.pdata(length)
        else:
            self._other(kind, length, data[pos : pos + _HEADER])

    def _other(self, kind: int, length: int, head: bytes) -> None:
        if kind in _ASSOCIATE:
            if length > self._limits.max_associate:
                raise RemoteProtocolError(
                    f"an A-ASSOCIATE PDU of {length} bytes; the limit is {self._limits.max_associate}",
                    reason=INVALID_PARAMETER,
                )
        elif kind not in _FIXED:
            raise RemoteProtocolError(_unrecognized(kind, head), reason=UNRECOGNIZED_PDU)
        elif length != _FIXED_LENGTH:
            raise RemoteProtocolError(f"a PDU of type {kind:02X}H has {length} bytes, not 4", reason=INVALID_PARAMETER)
        self._kind = kind
        self._pdv_left = -1
        self._associate = bytearray()
        self._pdu_left = length
        if not length:
            self._collect(memoryview(b""), 0)

    def _collect(self, view: memoryview, pos: int) -> int:
        """Adds to the body of an association PDU; hands the PDU on once it is whole."""
        body = self._associate
        assert body is not None
        part = view[pos : pos + self._pdu_left]
        body += part
        self._pdu_left -= len(part)
        if not self._pdu_left:
            self._associate = None
            deviations: list[str] = []
            pdu = decode(self._kind, bytes(body), self._limits, deviations)
            for sentence in deviations:
                self._receiver.deviation(sentence)
            self._receiver.pdu(pdu)
        return pos + len(part)

    def _straddling(self, data: bytes) -> int:
        """Completes a header that began in an earlier read; how many bytes of `data` that took."""
        missing = _HEADER - len(self._head)
        head = self._head + data[:missing]
        if len(head) < _HEADER:
            self._head = head
            return len(data)
        self._head = b""
        self._header(head, 0)
        return missing


def _unrecognized(kind: int, head: bytes) -> str:
    """A sentence on a PDU of no known type that names the usual strays."""
    if head[:2] == b"\x16\x03":
        return "a TLS handshake on a port without TLS"
    if head[:4] in (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"PRI "):
        return "an HTTP request, not DICOM"
    return f"a PDU of the unrecognized type {kind:02X}H"
