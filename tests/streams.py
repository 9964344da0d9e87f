"""Byte streams for the decoder and what comes out of it, written down so that two ways of cutting can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.strategies import pdus
from txdicom.errors import RemoteProtocolError
from txdicom.pdu import PDU, Decoder, Limits, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from txdicom.pdu.decoder import Deliver


class Record:
    """A receiver that writes down what it is told; the slices of a PDV are joined."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.slices: list[tuple[int, int, bytes, bool]] = []
        self._open: bytearray | None = None

    def pdata(self, length: int) -> Deliver:
        self.log.append(("P-DATA-TF", length))
        self._open = None  # the PDV before was skipped amid its slices
        return self.pdv

    def pdv(self, context_id: int, control: int, data: memoryview, end: bool) -> None:
        self.slices.append((context_id, control, bytes(data), end))
        if self._open is None:
            self._open = bytearray()
            self.log.append(("PDV", context_id, control, self._open))
        else:
            assert self.log[-1][:3] == ("PDV", context_id, control)
        self._open += data
        if end:
            self.log[-1] += ("end",)
            self._open = None

    def pdu(self, pdu: PDU) -> None:
        self.log.append(("PDU", pdu))

    def deviation(self, sentence: str) -> None:
        self.log.append(("deviation", sentence))


def decoded(parts: Sequence[bytes], limits: Limits | None = None) -> tuple[list[tuple[Any, ...]], bool]:
    """What comes of feeding `parts` one by one, an error last, and whether the stream ended between two PDUs."""
    record = Record()
    decoder = Decoder(record, limits or Limits())
    try:
        for part in parts:
            decoder.feed(part)
    except RemoteProtocolError as error:
        record.log.append(("error", str(error), error.source, error.reason))
        return record.log, False
    return record.log, decoder.idle


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """`data` in pieces, cut at `places`: equal places give empty pieces."""
    ends = sorted(min(place, len(data)) for place in places)
    return [data[start:stop] for start, stop in zip([0, *ends], [*ends, len(data)], strict=True)]


def places() -> st.SearchStrategy[list[int]]:
    """Where a stream is cut: mostly near its beginning, where the headers are."""
    return st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2000)), max_size=12)


def streams() -> st.SearchStrategy[bytes]:
    """Valid streams: PDUs of all types one after the other, the last one perhaps not whole."""
    whole = st.lists(pdus().map(encode), max_size=5).map(b"".join)
    return st.one_of(whole, st.builds(lambda data, count: data[: len(data) - count], whole, st.integers(1, 40)))


@st.composite
def mutated_streams(draw: st.DrawFn) -> bytes:
    """Streams with a few bytes changed, left out or put in; or of any bytes at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    data = bytearray(draw(streams()))
    for _ in range(draw(st.integers(1, 4))):
        # the changes that matter are those of the headers
        at = min(draw(st.one_of(st.integers(0, 11), st.integers(0, 400))), len(data))
        new = draw(st.binary(max_size=3))
        data[at : at + draw(st.integers(0, 3))] = new
    return bytes(data)
