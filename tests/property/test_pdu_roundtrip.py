"""What `encode` writes `decode` reads back; what it did not write never does more harm than a RemoteProtocolError."""

from __future__ import annotations

from struct import unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import (
    aborts,
    associate_acs,
    associate_rjs,
    associate_rqs,
    pdata,
    pdus,
)
from txdicom.errors import RemoteProtocolError
from txdicom.pdu import (
    PDU,
    AbortReason,
    AssociateAC,
    AssociateRQ,
    Limits,
    PDUType,
    ReleaseRP,
    ReleaseRQ,
    UserInformation,
    decode,
    encode,
)

KINDS = st.integers(0, 255)
ASSOCIATE = st.sampled_from((PDUType.ASSOCIATE_RQ, PDUType.ASSOCIATE_AC))
TIGHT = Limits(
    max_associate=600,
    max_pdata=100,
    max_items=4,
    max_contexts=2,
    max_transfer_syntaxes=2,
    max_sub_items=4,
    max_related=1,
    max_deviations=3,
)


def round_trip(pdu: PDU) -> None:
    data = encode(pdu)
    kind, reserved, length = unpack(">BBI", data[:6])
    assert reserved == 0
    assert length == len(data) - 6
    again = decode(kind, data[6:])
    assert again == pdu
    assert encode(again) == data


def harmless(kind: int, body: bytes, limits: Limits) -> None:
    """Reads `body`: a PDU comes out, or a RemoteProtocolError with a reason of Table 9-26."""
    deviations: list[str] = []
    try:
        result: PDU | RemoteProtocolError = decode(kind, body, limits, deviations)
    except RemoteProtocolError as error:
        result = error
    if isinstance(result, RemoteProtocolError):
        assert result.source == 2
        assert result.reason in set(AbortReason)
        assert str(result).isascii()
        assert str(result).isprintable()
    else:
        assert hash(result) is not None
        assert repr(result).isprintable()
    assert len(deviations) <= limits.max_deviations
    assert all(sentence.isascii() and sentence.isprintable() for sentence in deviations)


@given(associate_rqs())
def test_associate_rq(pdu):
    round_trip(pdu)


@given(associate_acs())
def test_associate_ac(pdu):
    round_trip(pdu)


@given(associate_rjs())
def test_associate_rj(pdu):
    round_trip(pdu)


@given(pdata())
def test_pdata(pdu):
    round_trip(pdu)


@given(aborts())
def test_abort(pdu):
    round_trip(pdu)


@pytest.mark.parametrize("pdu", [ReleaseRQ(), ReleaseRP()])
def test_release(pdu):
    round_trip(pdu)


@given(pdus())
def test_what_keeps_the_rules_has_no_deviation_but_unknown_items(pdu):
    data = encode(pdu)
    deviations: list[str] = []
    decode(data[0], memoryview(data)[6:], deviations=deviations)
    assert [each for each in deviations if not allowed(each, pdu)] == []


def allowed(deviation: str, pdu: PDU) -> bool:
    """Unknown items are drawn, at any place; so are answers without contexts."""
    if "unknown type" in deviation or " after one of type " in deviation:
        return True
    return isinstance(pdu, AssociateAC) and not pdu.contexts and deviation == "no presentation contexts"


@given(associate_rqs(), st.binary(min_size=32, max_size=32))
def test_an_answer_repeats_the_fields_of_the_request(rq, titles):
    body = encode(rq)[6:]
    asked = decode(PDUType.ASSOCIATE_RQ, body[:4] + titles + body[36:])
    assert isinstance(asked, AssociateRQ)
    answer = AssociateAC(
        asked.called_ae, asked.calling_ae, (), rq_user(asked), reserved=asked.reserved, title_fields=asked.title_fields
    )
    assert encode(answer)[10:74] == titles + asked.reserved
    without = AssociateAC(asked.called_ae, asked.calling_ae, (), rq_user(asked))
    assert len(encode(without)) == len(encode(answer))


def rq_user(rq: AssociateRQ) -> UserInformation:
    return UserInformation(rq.user.max_length, rq.user.implementation_class_uid)


@given(KINDS, st.binary(max_size=300), st.sampled_from((Limits(), TIGHT)))
def test_random_bodies(kind, body, limits):
    harmless(kind, body, limits)


@given(ASSOCIATE, st.binary(min_size=68, max_size=400), st.sampled_from((Limits(), TIGHT)))
def test_random_associate_bodies(kind, body, limits):
    harmless(kind, body, limits)


@st.composite
def item_rows(draw: st.DrawFn) -> bytes:
    """Rows of items that are whole outside and anything inside, nested to the depth the standard has."""
    kinds = st.one_of(st.sampled_from((0x10, 0x20, 0x21, 0x50)), KINDS)
    sub_kinds = st.one_of(st.sampled_from((0x30, 0x40, *range(0x51, 0x5A))), KINDS)
    parts = []
    for kind in draw(st.lists(kinds, max_size=5)):
        subs = b"".join(
            bytes((sub, draw(st.integers(0, 1)))) + len(data).to_bytes(2, "big") + data
            for sub, data in draw(st.lists(st.tuples(sub_kinds, st.binary(max_size=24)), max_size=5))
        )
        head = bytes((draw(KINDS), 0, draw(st.integers(0, 5)), 0)) if kind in {0x20, 0x21} else b""
        content = head + subs
        parts.append(bytes((kind, 0)) + len(content).to_bytes(2, "big") + content)
    return b"".join(parts)


@given(ASSOCIATE, item_rows(), st.sampled_from((Limits(), TIGHT)))
def test_whole_items_of_any_content(kind, rows, limits):
    harmless(kind, b"\0\1" + bytes(66) + rows, limits)


@given(pdus(), st.data())
def test_truncated_bodies(pdu, data):
    sent = encode(pdu)
    harmless(sent[0], sent[6 : data.draw(st.integers(6, len(sent)))], Limits())


@given(pdus(), st.data(), st.sampled_from((Limits(), TIGHT)))
def test_mutated_bodies(pdu, data, limits):
    sent = encode(pdu)
    body = bytearray(sent[6:])
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(body) - 1), KINDS), min_size=1, max_size=6)):
        body[at] = value
    harmless(sent[0], bytes(body), limits)


@given(associate_rqs(), associate_acs())
def test_a_body_of_the_other_kind(rq, ac):
    for pdu, kind in ((rq, PDUType.ASSOCIATE_AC), (ac, PDUType.ASSOCIATE_RQ)):
        body = encode(pdu)[6:]
        if pdu.contexts:
            with pytest.raises(RemoteProtocolError) as caught:
                decode(kind, body)
            assert caught.value.reason in {AbortReason.UNEXPECTED_PARAMETER, AbortReason.INVALID_PARAMETER_VALUE}
        else:
            harmless(kind, body, Limits())
