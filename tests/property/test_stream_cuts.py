"""A stream means the same however it is cut; and what a header announces costs nothing until it comes."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from struct import pack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dimse_strategies import commands
from tests.streams import Record, cut, decoded, mutated_streams, places, streams
from txdicom.dimse.assembler import COMMAND, LAST, Assembler
from txdicom.dimse.command import NO_DATA_SET, Command, encode
from txdicom.dimse.elements import COMMAND_DATA_SET_TYPE
from txdicom.errors import RemoteProtocolError
from txdicom.pdu import PDV, Decoder, Limits, PDataTF, PDUType, ReleaseRQ
from txdicom.pdu import encode as encode_pdu
from txdicom.testing import CorePair

if TYPE_CHECKING:
    from collections.abc import Callable

TIGHT = Limits(max_associate=300, max_pdata=150)


def same_however_cut(data: bytes, where: list[int], limits: Limits | None = None) -> None:
    whole = decoded([data], limits)
    assert decoded(cut(data, where), limits) == whole
    assert decoded([data[at : at + 1] for at in range(len(data))], limits) == whole
    assert decoded([data[at : at + 7] for at in range(0, len(data), 7)], limits) == whole


@given(streams(), places())
def test_valid_streams(data: bytes, where: list[int]) -> None:
    same_however_cut(data, where)


@given(mutated_streams(), places())
def test_mutated_streams(data: bytes, where: list[int]) -> None:
    same_however_cut(data, where)


@given(st.one_of(streams(), mutated_streams()), places())
def test_streams_past_the_limits(data: bytes, where: list[int]) -> None:
    same_however_cut(data, where, TIGHT)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 16), st.binary(max_size=12)), max_size=6), places())
def test_p_data_with_any_lengths(shape: list[tuple[int, int, bytes]], where: list[int]) -> None:
    """PDUs and PDVs whose lengths are right by chance only."""
    data = b"".join(
        pack(">BxIIBB", PDUType.P_DATA_TF, length + len(content), pdv_length, 1, 3) + content
        for length, pdv_length, content in shape
    )
    same_however_cut(data, where)


@given(st.one_of(streams(), mutated_streams()), places())
def test_the_upper_layer_does_the_same(data: bytes, where: list[int]) -> None:
    """An established association: the same PDUs sent, timers started and primitives issued."""

    def outcome(parts: list[bytes]) -> tuple[Any, ...]:
        pair = CorePair()
        pair.establish()
        core = pair.acceptor
        for part in parts:
            core.upper_layer.received(part)
        return core.upper_layer.state, core.effects, core.primitives, core.deviations

    assert outcome(cut(data, where)) == outcome([data])


# -- messages ----------------------------------------------------------------------------------------------------------


class Inbox:
    """Takes messages: (context id, command, data set or None), finished or not."""

    def __init__(self) -> None:
        self.log: list[list[Any]] = []

    def message(self, context_id: int, command: Command) -> Inbox | None:
        self.log.append([context_id, command, None, False])
        if not command.has_data_set:
            return None
        self.log[-1][2] = b""
        return self

    def write(self, data: memoryview) -> None:
        self.log[-1][2] += bytes(data)

    def finish(self) -> None:
        self.log[-1][3] = True


@st.composite
def messages(draw: st.DrawFn) -> tuple[int, Command, bytes | None]:
    """A message on one of two contexts."""
    command = draw(commands())
    data = None if command.values[COMMAND_DATA_SET_TYPE] == NO_DATA_SET else draw(st.binary(max_size=60))
    return draw(st.sampled_from((1, 3))), command, data


@st.composite
def fragmented(draw: st.DrawFn, data: bytes, context_id: int, control: int) -> list[PDV]:
    """`data` in any number of PDVs, some of them empty."""
    ends = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    bounds = list(pairwise([0, *ends, len(data)]))
    return [
        PDV(context_id, control | (LAST if number == len(bounds) else 0), data[start:stop])
        for number, (start, stop) in enumerate(bounds, 1)
    ]


@given(st.data(), st.lists(messages(), max_size=4), places())
def test_messages_in_any_fragments(
    data: st.DataObject, sent: list[tuple[int, Command, bytes | None]], where: list[int]
) -> None:
    pdvs: list[PDV] = []
    for context_id, command, data_set in sent:
        pdvs += data.draw(fragmented(encode(command), context_id, COMMAND))
        if data_set is not None:
            pdvs += data.draw(fragmented(data_set, context_id, 0))
    stream = b""
    while pdvs:
        count = data.draw(st.integers(1, 4))
        stream += encode_pdu(PDataTF(tuple(pdvs[:count])))
        del pdvs[:count]

    inbox = Inbox()
    assembler = Assembler(inbox, {1, 3})

    class Receiver(Record):
        def pdata(self, length: int) -> Callable[[int, int, memoryview, bool], None]:
            return assembler.pdv

    decoder = Decoder(Receiver())
    for part in cut(stream, where):
        decoder.feed(part)
    assert inbox.log == [[*message, message[2] is not None] for message in sent]
    assert assembler.idle
    assert decoder.idle


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 255), st.binary(max_size=30)), max_size=8), places())
def test_fragments_that_make_no_message(pdvs: list[tuple[int, int, bytes]], where: list[int]) -> None:
    """Whatever the fragments are: the same messages, and the same RemoteProtocolError if there is one."""
    stream = b"".join(encode_any(*pdv) for pdv in pdvs)

    def outcome(parts: list[bytes]) -> tuple[Any, ...]:
        inbox = Inbox()
        assembler = Assembler(inbox, {1, 3})

        class Receiver(Record):
            def pdata(self, length: int) -> Callable[[int, int, memoryview, bool], None]:
                return assembler.pdv

        decoder = Decoder(Receiver())
        try:
            for part in parts:
                decoder.feed(part)
        except RemoteProtocolError as error:
            return inbox.log, str(error), error.source, error.reason
        return inbox.log, assembler.idle

    assert outcome(cut(stream, where)) == outcome([stream])


def encode_any(context_id: int, control: int, data: bytes) -> bytes:
    """A P-DATA-TF of one PDV with any context and any message control header."""
    return pack(">BxIIBB", PDUType.P_DATA_TF, len(data) + 6, len(data) + 2, context_id, control) + data


# -- memory ------------------------------------------------------------------------------------------------------------


def peak_of(action: Callable[[], object]) -> int:
    """The most bytes that were allocated at once meanwhile."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", range(9))
@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, 1 << 20, 131_072])
def test_an_announced_length_costs_nothing(kind: int, length: int) -> None:
    data = pack(">BxIIBB", kind, length, length - 4, 1, 3)

    def feed() -> None:
        for part in (data, b"\0" * 10), (data[:6], data[6:]), (data[:3], data[3:9], data[9:]):
            decoder = Decoder(Record())
            try:
                for piece in part:
                    decoder.feed(piece)
            except RemoteProtocolError:
                pass

    feed()  # what is imported and cached the first time
    assert peak_of(feed) < 16_384


def test_an_http_request_costs_nothing() -> None:
    """Its first bytes, read as a header, announce half a gigabyte (pynetdicom#629, fo-dicom#1678)."""

    def feed() -> None:
        with pytest.raises(RemoteProtocolError, match="HTTP"):
            Decoder(Record()).feed(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")

    feed()
    assert peak_of(feed) < 16_384


@pytest.mark.parametrize("size", [65_536, 4096, 1000])
def test_bulk_is_not_collected(size: int) -> None:
    """8 MiB in P-DATA-TF PDUs of 128 KiB, in reads of `size` bytes."""
    pdu = pack(">BxIIBB", PDUType.P_DATA_TF, 131_072, 131_068, 1, 0) + bytes(131_066)
    taken = 0

    class Counting(Record):
        def pdv(self, context_id: int, control: int, data: memoryview, end: bool) -> None:
            nonlocal taken
            taken += len(data)

    decoder = Decoder(Counting(), Limits())

    def feed() -> None:
        for _ in range(64):
            for at in range(0, len(pdu), size):
                decoder.feed(pdu[at : at + size])

    assert peak_of(feed) < 2 * size + 16_384
    assert taken == 64 * 131_066
    assert decoder.idle


def test_empty_command_fragments_do_not_pile_up() -> None:
    assembler = Assembler(Inbox(), {1})
    nothing = memoryview(b"")

    def feed() -> None:
        for _ in range(100_000):
            assembler.pdv(1, COMMAND, nothing, True)

    assert peak_of(feed) < 16_384


def test_a_command_set_is_bounded_however_it_comes() -> None:
    """Fragments of one byte: what is kept is no more than the bytes."""
    assembler = Assembler(Inbox(), {1})
    one = memoryview(b"a")

    def feed() -> None:
        for _ in range(65_536):
            assembler.pdv(1, COMMAND, one, True)

    assert peak_of(feed) < 300_000
    with pytest.raises(RemoteProtocolError, match="a command set of over 65536 bytes"):
        assembler.pdv(1, COMMAND, one, True)


def test_associations_that_stay_half_open_are_small() -> None:
    """A header that announces 1 MiB, on a thousand connections."""

    def feed() -> list[Decoder]:
        decoders = [Decoder(Record()) for _ in range(1000)]
        for decoder in decoders:
            decoder.feed(pack(">BxI", PDUType.ASSOCIATE_RQ, 1 << 20) + bytes(100))
        return decoders

    assert peak_of(feed) < 1000 * 2048


def test_a_stopped_decoder_keeps_nothing() -> None:
    decoder = Decoder(Record())
    decoder.stop()
    assert peak_of(lambda: decoder.feed(encode_pdu(ReleaseRQ()) * 10_000)) < 200_000
