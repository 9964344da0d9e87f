"""The stream decoder (PS3.8 §9.3): bytes as they come from the transport in, PDUs and slices of PDVs out.

P-DATA-TF is never collected: each slice of a PDV is handed on as a memoryview of the bytes that were fed, cut where
the stream was cut. Only headers that straddle two reads, and the association PDUs, are put together. Every length is
checked before anything is kept for it.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol

from txdicom.errors import RemoteProtocolError
from txdicom.pdu.decode import decode
from txdicom.pdu.limits import DEFAULT, Limits
from txdicom.pdu.types import PDU, AbortReason, PDUType

if TYPE_CHECKING:
    from collections.abc import Callable

    #: takes a slice of a PDV: context id, message control header (PS3.8 Annex E.2), bytes, whether it is the last
    Deliver = Callable[[int, int, memoryview, bool], None]

_PDU_HEADER: Final = Struct(">BxI")
_PDV_HEADER: Final = Struct(">IBB")
_BOTH_HEADERS: Final = Struct(">BxIIBB")
_HEADER: Final = 6  # bytes of a PDU's header, and of a PDV's with its context ID and message control header
_P_DATA_TF: Final = int(PDUType.P_DATA_TF)
_ASSOCIATE: Final = (PDUType.ASSOCIATE_RQ, PDUType.ASSOCIATE_AC)
_FIXED: Final = (PDUType.ASSOCIATE_RJ, PDUType.RELEASE_RQ, PDUType.RELEASE_RP, PDUType.ABORT)
_FIXED_LENGTH: Final = 4
_NOTHING: Final = memoryview(b"")


class Receiver(Protocol):
    """What a decoder calls, in the order of the stream."""

    def pdata(self, length: int) -> Deliver:
        """A P-DATA-TF PDU of `length` bytes begins; the answer takes the slices of its PDVs."""

    def pdu(self, pdu: PDU) -> None:
        """A whole PDU of another type."""

    def deviation(self, sentence: str) -> None:
        """The peer broke a rule harmlessly; what it sent was read all the same."""


class Decoder:
    """Cuts one direction of a connection into PDUs.

    `feed` raises `RemoteProtocolError` at the first thing that cannot be read, and what the receiver raises. What comes
    after an error has no meaning, so the decoder takes no more.
    """

    __slots__ = (
        "_body",
        "_context_id",
        "_control",
        "_deliver",
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
        self._pdu_left = 0  # bytes of the PDU that are still to come, without those of the PDV under way
        self._pdv_left = 0  # bytes of the PDV that are still to come
        self._context_id = 0
        self._control = 0
        self._deliver: Deliver = _drop
        self._kind = 0
        self._body: bytearray | None = None  # of any PDU but P-DATA-TF, while it comes
        self._stopped = False

    @property
    def idle(self) -> bool:
        """Whether the stream stands between two PDUs."""
        return not (self._head or self._pdu_left or self._pdv_left or self._body is not None)

    def skip(self) -> None:
        """Drops the rest of the P-DATA-TF that is coming in."""
        self._deliver = _drop

    def stop(self) -> None:
        """Takes no more: what follows is dropped."""
        self._deliver = _drop
        self._stopped = True

    def feed(self, data: bytes) -> None:
        """Decodes `data`, the next bytes of the stream, calling the receiver for what is in them."""
        if self._stopped:
            return
        try:
            self._walk(data, self._straddling(data) if self._head else 0)
        except BaseException:
            self.stop()
            raise

    def _walk(self, data: bytes, pos: int) -> None:
        end = len(data)
        view = memoryview(data)
        while pos < end and not self._stopped:
            if self._pdv_left:
                stop = pos + self._pdv_left
                if stop > end:
                    self._pdv_left = stop - end
                    self._deliver(self._context_id, self._control, view[pos:], False)
                    return
                self._pdv_left = 0
                self._deliver(self._context_id, self._control, view[pos:stop], True)
                pos = stop
            elif self._body is not None:
                pos = self._collect(view, pos)
            elif not self._pdu_left and data[pos] == _P_DATA_TF and end - pos >= 2 * _HEADER:
                pos = self._pdata(data, view, pos, end)
            elif end - pos < _HEADER:
                self._head = data[pos:]
                return
            else:
                self._header(data, pos)
                pos += _HEADER

    def _pdata(self, data: bytes, view: memoryview, pos: int, end: int) -> int:
        """P-DATA-TF PDUs for as long as they come with one PDV each, which bulk does: few steps for each of them."""
        unpack, pdata, longest = _BOTH_HEADERS.unpack_from, self._receiver.pdata, self._limits.max_pdata
        last = end - 2 * _HEADER
        while pos <= last and not self._stopped:
            kind, length, pdv_length, context_id, control = unpack(data, pos)
            if kind != _P_DATA_TF:
                break
            start = pos + 2 * _HEADER
            if length != pdv_length + 4 or not _HEADER < length <= longest:
                self._begin_pdata(length)
                self._begin_pdv(pdv_length, context_id, control)
                return start
            deliver = pdata(length)
            pos += _HEADER + length
            if pos > end:
                self._deliver = deliver
                self._context_id = context_id
                self._control = control
                self._pdv_left = pos - end
                if end > start:
                    deliver(context_id, control, view[start:], False)
                return end
            deliver(context_id, control, view[start:pos], True)
        return pos

    def _header(self, data: bytes, pos: int) -> None:
        """A PDV's header inside a P-DATA-TF, else a PDU's."""
        if self._pdu_left:
            self._begin_pdv(*_PDV_HEADER.unpack_from(data, pos))
            return
        kind, length = _PDU_HEADER.unpack_from(data, pos)
        if kind == _P_DATA_TF:
            self._begin_pdata(length)
        else:
            self._begin_other(kind, length, data[pos : pos + _HEADER])

    def _begin_pdata(self, length: int) -> None:
        if not _HEADER <= length <= self._limits.max_pdata:
            limit = self._limits.max_pdata
            raise _invalid(f"a P-DATA-TF of {length} bytes; it holds 6 at least, and at most {limit} were announced")
        self._pdu_left = length
        self._deliver = self._receiver.pdata(length)

    def _begin_pdv(self, length: int, context_id: int, control: int) -> None:
        left = self._pdu_left - length - 4
        if length < 2 or left < 0:
            raise _invalid(f"a PDV of {length} bytes does not fit its P-DATA-TF")
        if 0 < left < _HEADER:
            raise _invalid("bytes after the last PDV of a P-DATA-TF")
        self._pdu_left = left
        self._context_id = context_id
        self._control = control
        self._pdv_left = length - 2
        if length == 2:
            self._deliver(context_id, control, _NOTHING, True)

    def _begin_other(self, kind: int, length: int, head: bytes) -> None:
        if kind in _ASSOCIATE:
            limit = self._limits.max_associate
            if length > limit:
                raise _invalid(f"an A-ASSOCIATE PDU of {length} bytes; the limit is {limit}")
        elif kind not in _FIXED:
            raise RemoteProtocolError(_unrecognized(kind, head), reason=AbortReason.UNRECOGNIZED_PDU)
        elif length != _FIXED_LENGTH:
            raise _invalid(f"a PDU of type {kind:02X}H has {length} bytes, not {_FIXED_LENGTH}")
        self._kind = kind
        self._body = bytearray()
        self._pdu_left = length
        if not length:
            self._collect(_NOTHING, 0)

    def _collect(self, view: memoryview, pos: int) -> int:
        """Adds to the body of a PDU; hands the PDU on once it is whole."""
        body = self._body
        assert body is not None
        part = view[pos : pos + self._pdu_left]
        body += part
        self._pdu_left -= len(part)
        if not self._pdu_left:
            self._body = None
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


def _drop(context_id: int, control: int, data: memoryview, end: bool) -> None:
    pass


def _invalid(sentence: str) -> RemoteProtocolError:
    return RemoteProtocolError(sentence, reason=AbortReason.INVALID_PARAMETER_VALUE)


def _unrecognized(kind: int, head: bytes) -> str:
    """A sentence on a PDU of no known type that names the usual strays."""
    if head[:2] == b"\x16\x03":
        return "a TLS handshake on a port without TLS"
    if head[:4] in (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"PRI "):
        return "an HTTP request, not DICOM"
    return f"a PDU of the unrecognized type {kind:02X}H"
