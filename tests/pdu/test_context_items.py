"""Presentation contexts, proposed and answered, as peers really send them (PS3.8 §9.3.2.2, §9.3.3.2)."""

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
    TRANSFER,
    UNEXPECTED,
    USER,
    ac,
    ac_context,
    item,
    refused,
    rq,
    rq_context,
)
from txdicom.pdu import (
    Limits,
    PresentationContextAC,
    PresentationContextRQ,
)

# --- proposed ---------------------------------------------------------------------------------------------------------


def test_a_context_without_syntaxes():
    assert rq_context(b"\x03\0\0\0") == (
        (PresentationContextRQ(3, "", ()),),
        ["presentation context 3: no abstract syntax", "presentation context 3: no transfer syntax"],
    )


@pytest.mark.parametrize("context_id", [0, 2, 254])
def test_even_identifiers(context_id):
    refused(
        INVALID, f"identifier {context_id} is not odd", rq_context, bytes((context_id, 0, 0, 0)), ABSTRACT, TRANSFER
    )
    refused(INVALID, f"identifier {context_id} is not odd", ac_context, bytes((context_id, 0, 0, 0)), TRANSFER)


@pytest.mark.parametrize("content", [b"", b"\x01\0\0"])
def test_a_context_without_its_fixed_fields(content):
    refused(INVALID, "presentation context ends", rq_context, content)
    refused(INVALID, "presentation context ends", ac_context, content)


def test_a_context_repeated_word_for_word():
    pdu, deviations = rq(APPLICATION, CONTEXT_RQ, CONTEXT_RQ, USER)
    assert pdu.contexts == (CONTEXT_RQ_VALUE,)
    assert deviations == ["presentation context 1 is there twice"]


def test_one_identifier_for_two_contexts():
    other = item(0x20, b"\x01\0\0\0", item(0x30, b"1.2"), TRANSFER)
    refused(INVALID, "two presentation contexts with the identifier 1", rq, APPLICATION, CONTEXT_RQ, other, USER)


def test_two_abstract_syntaxes():
    assert rq_context(b"\x01\0\0\0", ABSTRACT, ABSTRACT, TRANSFER) == (
        (CONTEXT_RQ_VALUE,),
        ["presentation context 1: abstract syntax: there twice"],
    )
    refused(
        UNEXPECTED, "abstract syntax: more than one", rq_context, b"\x01\0\0\0", ABSTRACT, item(0x30, b"1.2"), TRANSFER
    )


def test_a_transfer_syntax_twice_and_an_unknown_sub_item():
    assert rq_context(b"\x01\0\0\0", ABSTRACT, TRANSFER, item(0x77, b"?"), TRANSFER) == (
        (CONTEXT_RQ_VALUE,),
        [
            "presentation context 1: sub-item of the unknown type 77H skipped",
            "presentation context 1: transfer syntax '1.2.840.10008.1.2' is there twice",
        ],
    )


def test_a_sub_item_that_ends_after_its_context():
    """The next item must not be taken for a part of it."""
    refused(
        INVALID, "presentation context 1: an item of type 40H ends", rq_context, b"\x01\0\0\0", ABSTRACT, TRANSFER[:-1]
    )


def test_the_number_of_transfer_syntaxes():
    limits = Limits(max_transfer_syntaxes=1)
    assert rq_context(b"\x01\0\0\0", ABSTRACT, TRANSFER, TRANSFER, limits=limits)[0] == (CONTEXT_RQ_VALUE,)
    other = item(0x40, b"1.2")
    refused(
        INVALID, "more than 1 transfer syntaxes", rq_context, b"\x01\0\0\0", ABSTRACT, TRANSFER, other, limits=limits
    )


# --- answered ---------------------------------------------------------------------------------------------------------


def test_a_rejected_context_without_a_transfer_syntax():
    assert ac_context(b"\x01\0\x03\0") == (
        (PresentationContextAC(1, 3, ""),),
        ["presentation context 1: rejected without a transfer syntax sub-item"],
    )


@pytest.mark.parametrize("rest", [b"\x40", b"\x40\0\0\x11", b"\x40\0\0\x41" + b"1" * 65], ids=["head", "short", "long"])
def test_what_a_rejected_context_has_there_is_not_tested(rest):
    assert ac_context(b"\x01\0\x04\0", rest) == (
        (PresentationContextAC(1, 4, ""),),
        ["presentation context 1: rejected with a broken transfer syntax sub-item"],
    )


def test_the_transfer_syntax_of_a_rejected_context():
    assert ac_context(b"\x01\0\x02\0", ABSTRACT, item(0x40, b"1.2\0"), item(0x40, b"9")) == (
        (PresentationContextAC(1, 2, "1.2"),),
        [],
    )


def test_an_unknown_result():
    assert ac_context(b"\x01\0\x05\0", TRANSFER) == (
        (PresentationContextAC(1, 5, "1.2.840.10008.1.2"),),
        ["presentation context 1: the unknown result 5"],
    )


@pytest.mark.parametrize("rest", [b"", item(0x40), item(0x40, b"\0"), ABSTRACT])
def test_accepted_without_a_transfer_syntax(rest):
    refused(INVALID, "accepted without a transfer syntax", ac_context, b"\x01\0\0\0", rest)


def test_accepted_with_more_than_a_transfer_syntax():
    assert ac_context(b"\x01\0\0\0", ABSTRACT, TRANSFER, TRANSFER) == (
        (CONTEXT_AC_VALUE,),
        [
            "presentation context 1: sub-item of type 30H skipped",
            "presentation context 1: transfer syntax: there twice",
        ],
    )
    refused(UNEXPECTED, "transfer syntax: more than one", ac_context, b"\x01\0\0\0", TRANSFER, item(0x40, b"1.2"))


def test_two_answers_for_one_context():
    rejected = item(0x21, b"\x01\0\x03\0", TRANSFER)
    refused(INVALID, "two presentation contexts with the identifier 1", ac, APPLICATION, CONTEXT_AC, rejected, USER)
