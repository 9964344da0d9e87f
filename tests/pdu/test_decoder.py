"""The stream decoder: what comes out of whole streams, what it refuses, and when."""

from __future__ import annotations

from struct import pack

import pytest

from tests.streams import Record, decoded
from txdicom.errors import RemoteProtocolError
from txdicom.pdu import (
    PDV,
    Abort,
    AbortReason,
    AssociateRJ,
    AssociateRQ,
    Decoder,
    Limits,
    PDataTF,
    PDUType,
    PresentationContextRQ,
    ReleaseRP,
    ReleaseRQ,
    UserInformation,
    encode,
)

RQ = AssociateRQ(
    "CALLED",
    "CALLING",
    (PresentationContextRQ(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),),
    UserInformation(0, "1.2"),
)
SHORT = (AssociateRJ(1, 1, 7), ReleaseRQ(), ReleaseRP(), Abort(2, 6))


def header(kind: int, length: int) -> bytes:
    return pack(">BxI", kind, length)


def pdata(*items: bytes) -> bytes:
    body = b"".join(items)
    return header(4, len(body)) + body


def item(data: bytes, context_id: int = 1, control: int = 0, length: int | None = None) -> bytes:
    """A PDV, its length perhaps wrong."""
    return pack(">IBB", len(data) + 2 if length is None else length, context_id, control) + data


def refused(reason: int, words: str, *parts: bytes, limits: Limits | None = None) -> list[tuple]:
    """What came before the error that the last of `parts` causes."""
    record = Record()
    decoder = Decoder(record, limits or Limits())
    for part in parts[:-1]:
        decoder.feed(part)
    with pytest.raises(RemoteProtocolError, match=words) as caught:
        decoder.feed(parts[-1])
    assert (caught.value.source, caught.value.reason) == (2, reason)
    seen = len(record.log)
    decoder.feed(encode(ReleaseRQ()))  # dropped: what follows an error has no meaning
    assert len(record.log) == seen
    return record.log


# -- whole streams -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pdu", [RQ, *SHORT], ids=lambda pdu: type(pdu).__name__)
def test_a_pdu(pdu) -> None:
    assert decoded([encode(pdu)]) == ([("PDU", pdu)], True)


def test_pdus_follow_one_another() -> None:
    pdus = [RQ, *SHORT, *SHORT]
    assert decoded([b"".join(map(encode, pdus))]) == ([("PDU", pdu) for pdu in pdus], True)


def test_a_pdv_that_comes_whole_is_one_slice() -> None:
    record = Record()
    Decoder(record).feed(pdata(item(b"abcd", 3, 2)))
    assert record.slices == [(3, 2, b"abcd", True)]


def test_slices_are_views_of_what_was_fed() -> None:
    data = pdata(item(b"abcd")) + header(4, 12) + item(b"efgh", length=8)[:-1]
    views: list[memoryview] = []

    class Views(Record):
        def pdv(self, context_id: int, control: int, data: memoryview, end: bool) -> None:
            views.append(data)

    Decoder(Views()).feed(data)
    assert views == [b"abcd", b"efg"]
    assert all(view.obj is data for view in views)


def test_bulk_in_one_read() -> None:
    data = b"".join(pdata(item(bytes([number]) * 10, 1, 2 * (number == 99))) for number in range(100))
    log, idle = decoded([data + encode(ReleaseRQ())])
    assert idle
    assert log[:2] == [("P-DATA-TF", 16), ("PDV", 1, 0, bytes(10), "end")]
    assert log[-2:] == [("PDV", 1, 2, b"c" * 10, "end"), ("PDU", ReleaseRQ())]
    assert len(log) == 201


def test_several_pdvs_in_one_pdu() -> None:
    items = item(b"ab", 1, 3), item(b"", 1, 0), item(b"c", 5, 2), item(b"", 7, 1)
    assert decoded([pdata(*items)]) == (
        [
            ("P-DATA-TF", 27),
            ("PDV", 1, 3, b"ab", "end"),
            ("PDV", 1, 0, b"", "end"),
            ("PDV", 5, 2, b"c", "end"),
            ("PDV", 7, 1, b"", "end"),
        ],
        True,
    )


def test_what_decode_makes_of_it_is_what_was_encoded() -> None:
    pdvs = PDV(1, 3, b"command"), PDV(1, 0, b""), PDV(255, 2, b"data")
    log, _ = decoded([encode(PDataTF(pdvs))])
    assert [PDV(*entry[1:4]) for entry in log[1:]] == list(pdvs)


def test_a_pdv_of_nothing_is_told_as_soon_as_its_header_is_there() -> None:
    record = Record()
    decoder = Decoder(record)
    decoder.feed(pdata(item(b"", 9, 3)))
    assert record.slices == [(9, 3, b"", True)]
    assert decoder.idle


def test_no_empty_slice_comes_of_a_cut_behind_a_header() -> None:
    record = Record()
    decoder = Decoder(record)
    data = pdata(item(b"abc"))
    decoder.feed(data[:12])
    assert record.slices == []
    decoder.feed(data[12:])
    assert record.slices == [(1, 0, b"abc", True)]


def test_deviations_come_before_their_pdu() -> None:
    log, _ = decoded([encode(AssociateRJ(1, 1, 7))[:7] + b"\x09\x01\x07"])
    assert [entry[0] for entry in log] == ["deviation", "PDU"]


def test_the_reserved_byte_of_the_header_is_not_tested() -> None:  # PS3.8 §9.3.1
    for pdu in (RQ, *SHORT):
        data = encode(pdu)
        assert decoded([data[:1] + b"\xff" + data[2:]]) == ([("PDU", pdu)], True)
    data = pdata(item(b"abcd"))
    assert decoded([data[:1] + b"\xff" + data[2:]]) == decoded([data])


def test_idle_is_between_two_pdus_only() -> None:
    data = encode(RQ) + pdata(item(b"ab"), item(b"")) + pdata(item(b"abc")) + encode(ReleaseRQ())
    decoder = Decoder(Record())
    ends = set()
    assert decoder.idle
    for at in range(len(data)):
        decoder.feed(data[at : at + 1])
        if decoder.idle:
            ends.add(at + 1)
    rq = len(encode(RQ))
    assert ends == {rq, rq + 20, rq + 35, rq + 45}


def test_nothing_is_fed() -> None:
    assert decoded([b"", b""]) == ([], True)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(set(range(256)) - set(PDUType)))
def test_unrecognized_types(kind: int) -> None:
    assert refused(AbortReason.UNRECOGNIZED_PDU, f"unrecognized type {kind:02X}H", header(kind, 4)) == []


@pytest.mark.parametrize(
    ("stray", "words"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
        (b"\x16\x03\x03\x00\x7a\x01", "TLS"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
        (b"POST / HTTP/1.1\r\n", "HTTP"),
        (b"HEAD / HTTP/1.0\r\n", "HTTP"),
        (b"PUT /x HTTP/1.1\r\n", "HTTP"),
        (b"OPTIONS * HTTP/1.1\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "unrecognized type 53H"),
    ],
)
def test_strays_are_named(stray: bytes, words: str) -> None:
    assert refused(AbortReason.UNRECOGNIZED_PDU, words, stray) == []
    assert refused(AbortReason.UNRECOGNIZED_PDU, words, stray[:2], stray[2:5], stray[5:]) == []


@pytest.mark.parametrize("pdu", SHORT, ids=lambda pdu: type(pdu).__name__)
@pytest.mark.parametrize("length", [0, 3, 5, 0xFFFFFFFF])
def test_a_pdu_of_fixed_length_with_another(pdu, length: int) -> None:
    words = f"{length} bytes, not 4"
    assert refused(AbortReason.INVALID_PARAMETER_VALUE, words, encode(pdu)[:2] + pack(">I", length)) == []


@pytest.mark.parametrize("kind", [PDUType.ASSOCIATE_RQ, PDUType.ASSOCIATE_AC])
def test_the_limit_of_the_association_pdus(kind: PDUType) -> None:
    limits = Limits(max_associate=100)
    assert (
        refused(AbortReason.INVALID_PARAMETER_VALUE, "101 bytes; the limit is 100", header(kind, 101), limits=limits)
        == []
    )
    decoder = Decoder(Record(), limits)
    decoder.feed(header(kind, 100))
    assert not decoder.idle


@pytest.mark.parametrize("kind", [PDUType.ASSOCIATE_RQ, PDUType.ASSOCIATE_AC])
def test_an_association_pdu_of_nothing(kind: PDUType) -> None:
    assert refused(AbortReason.INVALID_PARAMETER_VALUE, "bytes early", header(kind, 0)) == []


def test_an_association_pdu_that_cannot_be_read() -> None:
    data = encode(RQ)
    broken = data[:6] + data[6:].replace(b"\x10\x00\x00\x15", b"\x10\x00\xff\x15")
    assert refused(AbortReason.INVALID_PARAMETER_VALUE, "bytes after what holds it", broken[:-1], broken[-1:]) == []


@pytest.mark.parametrize("length", [0, 5, 101, 0xFFFFFFFF])
def test_a_p_data_tf_of_impossible_length(length: int) -> None:
    limits = Limits(max_pdata=100)
    words = f"{length} bytes; .* at most 100"
    # both ways: with the header of the first PDV, and without it
    for data in (header(4, length), header(4, length) + item(bytes(95))):
        assert refused(AbortReason.INVALID_PARAMETER_VALUE, words, data, limits=limits) == []


def test_the_limit_itself_is_allowed() -> None:
    data = pdata(item(bytes(94)))
    assert decoded([data], Limits(max_pdata=100)) == ([("P-DATA-TF", 100), ("PDV", 1, 0, bytes(94), "end")], True)


@pytest.mark.parametrize("length", [0, 1, 7, 0xFFFFFFFF])
def test_a_pdv_that_does_not_fit(length: int) -> None:
    data = pdata(item(b"abcd", length=length))
    words = f"a PDV of {length} bytes"
    assert refused(AbortReason.INVALID_PARAMETER_VALUE, words, data) == [("P-DATA-TF", 10)]
    assert refused(AbortReason.INVALID_PARAMETER_VALUE, words, data[:8], data[8:]) == [("P-DATA-TF", 10)]


def test_the_second_pdv_does_not_fit() -> None:
    log = refused(AbortReason.INVALID_PARAMETER_VALUE, "a PDV of 9 bytes", pdata(item(b"ab"), item(b"abcd", length=9)))
    assert log == [("P-DATA-TF", 18), ("PDV", 1, 0, b"ab", "end")]


@pytest.mark.parametrize("count", [1, 5])
def test_bytes_after_the_last_pdv(count: int) -> None:
    data = pdata(item(b"abcd"), bytes(count))
    assert refused(AbortReason.INVALID_PARAMETER_VALUE, "after the last PDV", data) == [("P-DATA-TF", 10 + count)]


# -- stopping ----------------------------------------------------------------------------------------------------------


class Interfering(Record):
    """Calls `act` on the decoder at the first slice."""

    def __init__(self, act: str) -> None:
        super().__init__()
        self.decoder = Decoder(self)
        self._act = act

    def pdv(self, context_id: int, control: int, data: memoryview, end: bool) -> None:
        super().pdv(context_id, control, data, end)
        getattr(self.decoder, self._act)()


STREAM = pdata(item(b"abcd"), item(b"efgh")) + encode(ReleaseRQ())


@pytest.mark.parametrize("step", [1, 14, 15, 1000])
def test_skip_drops_the_rest_of_the_p_data_tf(step: int) -> None:
    record = Interfering("skip")
    for at in range(0, len(STREAM), step):
        record.decoder.feed(STREAM[at : at + step])
    assert len(record.slices) == 1
    assert record.log[0] == ("P-DATA-TF", 20)
    assert record.log[-1] == ("PDU", ReleaseRQ())


@pytest.mark.parametrize("step", [1, 14, 15, 1000])
def test_stop_drops_everything(step: int) -> None:
    record = Interfering("stop")
    for at in range(0, len(STREAM), step):
        record.decoder.feed(STREAM[at : at + step])
    assert len(record.slices) == 1
    assert len(record.log) == 2


def test_stop_amid_bulk() -> None:
    record = Interfering("stop")
    record.decoder.feed(pdata(item(b"abcd")) * 3)
    assert len(record.slices) == 1


def test_skip_amid_a_pdu_of_one_pdv() -> None:
    record = Interfering("skip")
    data = pdata(item(b"abcd"))
    record.decoder.feed(data[:14])
    record.decoder.feed(data[14:] + data)
    assert record.slices == [(1, 0, b"ab", False), (1, 0, b"abcd", True)]


def test_whatever_the_receiver_raises_stops_the_decoder() -> None:
    class Failing(Record):
        def pdv(self, context_id: int, control: int, data: memoryview, end: bool) -> None:
            super().pdv(context_id, control, data, end)
            raise ZeroDivisionError

    record = Failing()
    decoder = Decoder(record)
    with pytest.raises(ZeroDivisionError):
        decoder.feed(STREAM)
    decoder.feed(STREAM)  # it would begin in the middle of a PDU
    assert len(record.log) == 2
