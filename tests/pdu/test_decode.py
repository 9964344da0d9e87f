"""`decode` reads what peers really send: liberal where it harms nothing, and never anything but RemoteProtocolError."""

from __future__ import annotations

import pytest

from tests.pdu.bodies import (
    ABSTRACT,
    APPLICATION,
    CONTEXT_AC,
    CONTEXT_AC_VALUE,
    CONTEXT_RQ,
    CONTEXT_RQ_VALUE,
    INVALID,
    MAX_LENGTH,
    TITLES,
    TRANSFER,
    UNEXPECTED,
    USER,
    ac,
    body,
    item,
    read,
    refused,
    rq,
    rq_context,
    rq_user,
)
from txdicom.pdu import (
    PDV,
    Abort,
    AbortReason,
    AssociateRJ,
    Limits,
    PDataTF,
    PDUType,
    UnknownItem,
    decode,
    decode_pdata,
)

# --- the PDU as a whole -----------------------------------------------------------------------------------------------


def test_a_request_without_deviations():
    pdu, deviations = rq(APPLICATION, CONTEXT_RQ, USER)
    assert deviations == []
    assert (pdu.called_ae, pdu.calling_ae) == ("CALLED", "CALLING")
    assert pdu.contexts == (CONTEXT_RQ_VALUE,)
    assert pdu.title_fields == TITLES


def test_deviations_need_not_be_wanted():
    assert decode(PDUType.ASSOCIATE_RQ, body()).contexts == ()


def test_a_view_will_do():
    assert decode(PDUType.ABORT, memoryview(b"\0\0\2\1")) == Abort(2, 1)


@pytest.mark.parametrize("kind", [0, 8, 0x16, 255])
def test_unrecognized_types(kind):
    refused(AbortReason.UNRECOGNIZED_PDU, "unrecognized PDU type", decode, kind, b"")


@pytest.mark.parametrize(
    "kind", [PDUType.ASSOCIATE_RJ, PDUType.RELEASE_RQ, PDUType.RELEASE_RP, PDUType.ABORT], ids=lambda kind: kind.name
)
@pytest.mark.parametrize("length", [0, 3, 5])
def test_pdus_of_four_bytes_have_no_other_length(kind, length):
    refused(INVALID, f"{length} bytes, not 4", decode, kind, bytes(length))


@pytest.mark.parametrize("kind", [PDUType.RELEASE_RQ, PDUType.RELEASE_RP])
def test_reserved_bytes_are_not_tested(kind):
    assert decode(kind, b"\1\2\3\4") == decode(kind, bytes(4))


@pytest.mark.parametrize("kind", [PDUType.ASSOCIATE_RQ, PDUType.ASSOCIATE_AC])
@pytest.mark.parametrize("length", [0, 1, 3, 4, 35, 67])
def test_association_pdus_without_their_fixed_fields(kind, length):
    refused(INVALID, "bytes early", decode, kind, bytes(length))


def test_a_rejection_outside_the_table():
    assert read(PDUType.ASSOCIATE_RJ, b"\0\3\1\1") == (
        AssociateRJ(3, 1, 1),
        ["A-ASSOCIATE-RJ: result 3, source 1 are not of the table"],
    )
    assert read(PDUType.ASSOCIATE_RJ, b"\0\1\0\1")[1] == ["A-ASSOCIATE-RJ: result 1, source 0 are not of the table"]


def test_an_abort_of_an_unknown_source():
    assert read(PDUType.ABORT, b"\0\0\1\0") == (Abort(1, 0), ["A-ABORT: the unknown source 1"])


def test_a_reason_of_the_service_user_is_not_tested():
    assert read(PDUType.ABORT, b"\0\0\0\7") == (Abort(0, 7), [])


def test_other_protocol_versions_are_the_acceptors_affair():
    assert decode(PDUType.ASSOCIATE_RQ, b"\xff\xfe" + body()[2:]).protocol_version == 0xFFFE


# --- AE titles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "title", "deviation"),
    [
        (b"CALLED".ljust(16), "CALLED", None),
        (b"  CALLED".ljust(16), "CALLED", None),
        (b"0123456789ABCDEF", "0123456789ABCDEF", None),
        (b"CALLED".ljust(16, b"\0"), "CALLED", "NULs in it"),
        (b"CALLED \0        ", "CALLED", "NULs in it"),
        (b"CALLED\0GARBAGE!!", "CALLED\0GARBAGE!!", "NULs in it"),
        (b" " * 16, "", "empty"),
        (b"M\xdcLLER".ljust(16), "M\xdcLLER", r"'M\xdcLLER' has characters that are not printable ASCII"),
        (b"A\nB".ljust(16), "A\nB", r"'A\nB' has characters that are not printable ASCII"),
    ],
)
def test_titles(field, title, deviation):
    pdu, deviations = rq(APPLICATION, CONTEXT_RQ, USER, titles=field + b"CALLING".ljust(16))
    assert pdu.called_ae == title
    assert pdu.title_fields[:16] == field
    assert deviations == ([f"called AE title: {deviation}"] if deviation else [])


def test_a_title_of_nothing_but_nuls():
    pdu, deviations = rq(APPLICATION, CONTEXT_RQ, USER, titles=b"CALLED".ljust(16) + bytes(16))
    assert pdu.calling_ae == ""
    assert deviations == ["calling AE title: NULs in it", "calling AE title: empty"]


def test_titles_of_an_answer_are_not_tested():
    pdu, deviations = ac(APPLICATION, CONTEXT_AC, USER, titles=b"\xff\n".ljust(32, b"\0"))
    assert (pdu.called_ae, pdu.calling_ae) == ("\xff\n", "")
    assert deviations == []


# --- variable items ---------------------------------------------------------------------------------------------------


def test_nothing_but_the_fixed_fields():
    pdu, deviations = rq()
    assert pdu.contexts == ()
    assert pdu.application_context == ""
    assert (pdu.user.max_length, pdu.user.implementation_class_uid) == (0, "")
    assert deviations == [
        "no presentation contexts",
        "A-ASSOCIATE-RQ: no user information item",
        "user information: no maximum length; taken for unlimited",
        "user information: no implementation class UID",
        "A-ASSOCIATE-RQ: no application context",
    ]


def test_items_in_any_order():
    pdu, deviations = rq(USER, APPLICATION, CONTEXT_RQ)
    assert (pdu, []) == rq(APPLICATION, CONTEXT_RQ, USER)
    assert deviations == ["A-ASSOCIATE-RQ: an item of type 10H after one of type 50H"]


def test_the_first_of_items_that_come_once_counts():
    pdu, deviations = rq(APPLICATION, item(0x10, b"1.2"), CONTEXT_RQ, USER, item(0x50, item(0x52, b"9.9")))
    assert pdu.application_context == "1.2.840.10008.3.1.1.1"
    assert pdu.user.implementation_class_uid == "1.2.3"
    assert deviations == [
        "A-ASSOCIATE-RQ: more than one item of type 10H; the first counts",
        "A-ASSOCIATE-RQ: more than one item of type 50H; the first counts",
    ]


def test_unknown_items_are_kept_and_skipped():
    pdu, deviations = ac(item(0x05, b"early"), APPLICATION, CONTEXT_AC, USER, item(0x99), item(0x99, b"late"))
    assert pdu.unknown == (UnknownItem(0x05, b"early"), UnknownItem(0x99, b""), UnknownItem(0x99, b"late"))
    assert pdu.contexts == (CONTEXT_AC_VALUE,)
    assert deviations[0] == "A-ASSOCIATE-AC: item of the unknown type 05H skipped"


def test_items_of_the_other_pdu():
    refused(UNEXPECTED, "type 21H", rq, APPLICATION, CONTEXT_AC, USER)
    refused(UNEXPECTED, "type 20H", ac, APPLICATION, CONTEXT_RQ, USER)


def test_reserved_bytes_of_items_are_not_tested():
    odd = item(0x20, b"\x01\xff\xff\xff", item(0x30, b"1.2.840.10008.1.1", second=9), TRANSFER, second=255)
    assert rq(APPLICATION, odd, USER) == rq(APPLICATION, CONTEXT_RQ, USER)


def test_an_item_that_ends_after_the_pdu():
    refused(INVALID, "item of type 50H ends 1 bytes after", rq, APPLICATION, CONTEXT_RQ, USER[:-1])
    refused(INVALID, "item of type 10H ends 65535 bytes after", rq, b"\x10\0\xff\xff")


@pytest.mark.parametrize("padding", [b"\0", b"\0\0", b"\0\0\0"])
def test_zeros_after_the_last_item(padding):
    pdu, deviations = rq(APPLICATION, CONTEXT_RQ, USER, padding)
    assert pdu.contexts == (CONTEXT_RQ_VALUE,)
    assert deviations == ["A-ASSOCIATE-RQ: zeros after the last item"]


def test_other_bytes_after_the_last_item():
    refused(INVALID, "3 bytes after the last item", rq, APPLICATION, CONTEXT_RQ, USER, b"\0\0\1")


# --- UIDs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "uid", "deviation"),
    [
        (b"1.2.840", "1.2.840", None),
        (b"1.2.8400", "1.2.8400", None),
        (b"1.2.840\0", "1.2.840", "padded with NULs"),
        (b"1.2.840 ", "1.2.840", "padded with spaces"),
        (b"  1.2.840\0 \0", "1.2.840", "padded with NULs"),
        (b"1.2.0840", "1.2.0840", "'1.2.0840' is not a UID"),
        (b"1..2", "1..2", "'1..2' is not a UID"),
        (b"\xe9\n", "\xe9\n", r"'\xe9\n' is not a UID"),
        (b"", "", "'' is not a UID"),
    ],
)
def test_uids(sent, uid, deviation):
    pdu, deviations = rq(item(0x10, sent), CONTEXT_RQ, USER)
    assert pdu.application_context == uid
    assert deviations == ([f"application context: {deviation}"] if deviation else [])


def test_64_characters_are_a_uid_and_65_are_not():
    longest = b"1." * 31 + b"12"
    assert rq(item(0x10, longest, b"\0\0"), CONTEXT_RQ, USER)[0].application_context == longest.decode()
    refused(INVALID, "application context: 65 characters in a UID", rq, item(0x10, longest, b"3"), CONTEXT_RQ, USER)


def test_an_implementation_class_uid_of_any_length():
    pdu, deviations = rq(APPLICATION, CONTEXT_RQ, item(0x50, MAX_LENGTH, item(0x52, b"1." * 100)))
    assert pdu.user.implementation_class_uid == "1." * 100
    assert deviations == [f"implementation class UID: '{'1.' * 40}...' is not a UID"]


# --- limits -----------------------------------------------------------------------------------------------------------


def test_the_length_of_a_pdu():
    data = body(APPLICATION, CONTEXT_RQ, USER)
    limits = Limits(max_associate=len(data))
    assert read(PDUType.ASSOCIATE_RQ, data, limits)[1] == []
    refused(INVALID, "the limit is", read, PDUType.ASSOCIATE_RQ, data, Limits(max_associate=len(data) - 1))


def test_the_number_of_items():
    limits = Limits(max_items=3)
    assert rq(APPLICATION, CONTEXT_RQ, USER, limits=limits)[1] == []
    refused(INVALID, "more than 3 items", rq, APPLICATION, CONTEXT_RQ, USER, item(0x60), limits=limits)


def test_the_number_of_contexts():
    refused(INVALID, "more than 1 presentation contexts", rq, CONTEXT_RQ, CONTEXT_RQ, limits=Limits(max_contexts=1))
    refused(INVALID, "more than 128 presentation contexts", rq, *[CONTEXT_RQ] * 129)


def test_the_number_of_sub_items():
    limits = Limits(max_sub_items=2)
    assert rq(APPLICATION, CONTEXT_RQ, USER, limits=limits)[1] == []
    refused(INVALID, "user information: more than 2 items", rq_user, item(0x5A), limits=limits)
    refused(
        INVALID, "context 1: more than 2 items", rq_context, b"\x01\0\0\0", ABSTRACT, TRANSFER, TRANSFER, limits=limits
    )


def test_the_number_of_deviations():
    unknown = [item(0x60)] * 100
    assert len(rq(APPLICATION, CONTEXT_RQ, USER, *unknown)[1]) == 64
    assert len(rq(APPLICATION, CONTEXT_RQ, USER, *unknown, limits=Limits(max_deviations=1))[1]) == 1


def test_the_largest_request_of_nothing_but_headers():
    """A peer's cheapest way to make us work: it ends at the limit of items, long before the PDU does."""
    data = body(item(0x60) * 262_000)
    refused(INVALID, "more than 512 items", read, PDUType.ASSOCIATE_RQ, data)


# --- P-DATA-TF --------------------------------------------------------------------------------------------------------


def pdv(*parts):
    data = b"".join(parts)
    return len(data).to_bytes(4, "big") + data


def test_pdata():
    data = pdv(b"\x01\x03", b"command") + pdv(b"\x01\x02", b"")
    expected = PDataTF((PDV(1, 3, b"command"), PDV(1, 2, b"")))
    assert decode(PDUType.P_DATA_TF, data) == expected
    assert decode_pdata(memoryview(data)) == expected


def test_unused_control_bits():
    assert read(PDUType.P_DATA_TF, pdv(b"\x01\x83", b"x")) == (
        PDataTF((PDV(1, 0x83, b"x"),)),
        ["P-DATA-TF: message control header 83H has bits set that are not used"],
    )


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\0\0\1\1", pdv(b"\1") + b"\0", pdv(b"") + b"\0\0", pdv(b"\1\2\3")[:-1], pdv(b"\1\2\3") + b"\0\0\0"],
)
def test_broken_pdata(data):
    refused(INVALID, "bytes", decode_pdata, data)


def test_the_length_of_pdata():
    data = pdv(b"\1\2", b"1234")
    assert decode_pdata(data, Limits(max_pdata=10)).pdvs
    refused(INVALID, "10 bytes; at most 9", decode_pdata, data, Limits(max_pdata=9))
