"""`encode` writes what the standard allows and nothing else."""

from __future__ import annotations

import dataclasses

import pytest

from txdicom.errors import LocalProtocolError
from txdicom.pdu import (
    PDV,
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    AsyncOperationsWindow,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    PDataTF,
    PresentationContextAC,
    PresentationContextRQ,
    RoleSelection,
    UnknownItem,
    UserIdentityAC,
    UserIdentityRQ,
    UserInformation,
    decode,
    encode,
)
from txdicom.uids import ANY_STORAGE

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT = "1.2.840.10008.1.2"
USER = UserInformation(16_384, "1.2.3")
RQ = AssociateRQ("CALLED", "CALLING", (PresentationContextRQ(1, CT, (IMPLICIT,)),), USER)
AC = AssociateAC("CALLED", "CALLING", (PresentationContextAC(1, 0, IMPLICIT),), USER)


def rq(**changes):
    return dataclasses.replace(RQ, **changes)


def ac(**changes):
    return dataclasses.replace(AC, **changes)


def rq_user(**changes):
    return rq(user=dataclasses.replace(USER, **changes))


def ac_user(**changes):
    return ac(user=dataclasses.replace(USER, **changes))


def context(context_id=1, abstract=CT, transfer=(IMPLICIT,)):
    return rq(contexts=(PresentationContextRQ(context_id, abstract, transfer),))


@pytest.mark.parametrize(
    ("pdu", "words"),
    [
        pytest.param(rq(called_ae=""), "called AE title", id="an empty title"),
        pytest.param(rq(called_ae="   "), "called AE title", id="a title of spaces"),
        pytest.param(rq(calling_ae="A" * 17), "calling AE title", id="a title of 17 characters"),
        pytest.param(rq(calling_ae="M\xdcLLER"), "calling AE title", id="a title with an umlaut"),
        pytest.param(rq(calling_ae="A\tB"), "calling AE title", id="a title with a tabulator"),
        pytest.param(rq(contexts=()), "at least one presentation context", id="no contexts"),
        pytest.param(rq(application_context=""), "application context", id="no application context"),
        pytest.param(rq(protocol_version=65_536), "protocol version", id="a protocol version of three bytes"),
        pytest.param(rq(reserved=b""), "reserved field", id="no reserved field"),
        pytest.param(context(context_id=0), "identifier 0", id="identifier 0"),
        pytest.param(context(context_id=2), "identifier 2", id="an even identifier"),
        pytest.param(context(context_id=257), "identifier 257", id="an identifier over 255"),
        pytest.param(context(abstract=ANY_STORAGE), "abstract syntax", id="not a UID"),
        pytest.param(context(abstract="1." * 32 + "1"), "abstract syntax", id="a UID of 65 characters"),
        pytest.param(context(transfer=()), "no transfer syntax", id="no transfer syntax"),
        pytest.param(context(transfer=("",)), "transfer syntax", id="an empty transfer syntax"),
        pytest.param(rq(contexts=RQ.contexts * 2), "same identifier", id="an identifier twice"),
        pytest.param(rq(unknown=(UnknownItem(256, b""),)), "item type", id="an item type over 255"),
        pytest.param(rq(unknown=(UnknownItem(0x60, bytes(65_536)),)), "length of unknown item", id="an item too long"),
        pytest.param(rq_user(max_length=-1), "maximum length", id="a negative maximum length"),
        pytest.param(rq_user(max_length=1 << 32), "maximum length", id="a maximum length of five bytes"),
        pytest.param(
            rq_user(implementation_class_uid=""), "implementation class UID", id="no implementation class UID"
        ),
        pytest.param(rq_user(implementation_version_name="V" * 17), "version name", id="a version name of 17"),
        pytest.param(rq_user(async_window=AsyncOperationsWindow(65_536, 1)), "window", id="a window of three bytes"),
        pytest.param(rq_user(roles=(RoleSelection("x", True, True),)), "role selection", id="a role of no UID"),
        pytest.param(rq_user(extended=(ExtendedNegotiation("x", b""),)), "extended", id="extended with no UID"),
        pytest.param(
            rq_user(common_extended=(CommonExtendedNegotiation(CT, ""),)), "common extended", id="no service class"
        ),
        pytest.param(
            rq_user(user_identity=UserIdentityAC(b"")), "a requestor sends a UserIdentityRQ", id="an identity response"
        ),
        pytest.param(rq_user(user_identity=UserIdentityRQ(0, b"")), "unknown type 0", id="user identity type 0"),
        pytest.param(rq_user(user_identity=UserIdentityRQ(6, b"")), "unknown type 6", id="user identity type 6"),
        pytest.param(rq_user(user_identity=UserIdentityRQ(3, b"", b"x")), "passcode", id="a passcode with Kerberos"),
        pytest.param(rq_user(user_identity=UserIdentityRQ(5, bytes(65_536))), "user identity", id="a token too long"),
        pytest.param(ac(called_ae="A" * 17), "17 characters", id="an echoed title too long"),
        pytest.param(ac(calling_ae="\u0410"), "calling AE title", id="a title no peer can have sent"),
        pytest.param(ac(title_fields=b"A" * 31), "32 bytes, not 31", id="title fields too short"),
        pytest.param(ac(reserved=bytes(33)), "reserved field", id="a reserved field too long"),
        pytest.param(ac(contexts=AC.contexts * 2), "same identifier", id="an identifier twice in the answer"),
        pytest.param(ac(contexts=(PresentationContextAC(1, 5, ""),)), "unknown result 5", id="result 5"),
        pytest.param(ac(contexts=(PresentationContextAC(1, -1, ""),)), "unknown result -1", id="a negative result"),
        pytest.param(
            ac(contexts=(PresentationContextAC(1, 0, ""),)), "transfer syntax", id="accepted without transfer syntax"
        ),
        pytest.param(
            ac_user(user_identity=UserIdentityRQ(1, b"")), "an acceptor a UserIdentityAC", id="an acceptor's identity"
        ),
        pytest.param(
            ac_user(common_extended=(CommonExtendedNegotiation(CT, CT),)), "an acceptor sends no", id="57H in an answer"
        ),
        pytest.param(AssociateRJ(0, 1, 1), "result 0", id="rejection result 0"),
        pytest.param(AssociateRJ(1, 4, 1), "source 4", id="rejection source 4"),
        pytest.param(AssociateRJ(1, 1, 256), "reason", id="rejection reason 256"),
        pytest.param(PDataTF(()), "at least one", id="no PDVs"),
        pytest.param(PDataTF((PDV(2, 0, b""),)), "identifier 2", id="a PDV of an even identifier"),
        pytest.param(PDataTF((PDV(1, 4, b""),)), "message control header 4", id="control bit 2"),
        pytest.param(Abort(1, 0), "source 1", id="abort source 1"),
        pytest.param(Abort(0, 2), "gives no reason", id="a user's abort with a reason"),
        pytest.param(Abort(2, -1), "reason", id="a negative reason"),
        pytest.param("PDU", "str is not a PDU", id="something else"),
    ],
)
def test_what_the_standard_does_not_allow(pdu, words):
    with pytest.raises(LocalProtocolError, match=words):
        encode(pdu)


def test_titles_are_padded_and_their_outer_spaces_do_not_count():
    assert encode(rq(called_ae=" CALLED "))[10:42] == b"CALLED          CALLING         "


def test_an_answer_repeats_titles_of_any_characters():
    answer = ac(called_ae="", calling_ae="M\xdcLL\0ER")
    assert encode(answer)[10:42] == b" " * 16 + b"M\xdcLL\0ER         "


def test_an_answer_repeats_the_title_fields_byte_by_byte():
    fields = b"  CALLED\0\0\0\0\0\0\0\0CALLING\0garbage!"
    assert encode(ac(title_fields=fields))[10:42] == fields


def test_a_request_is_written_from_its_titles():
    """They may have been changed since it was received."""
    assert encode(rq(title_fields=bytes(32))) == encode(RQ)


def test_an_answer_repeats_odd_names_of_the_request():
    answer = ac(
        application_context="not a UID",
        contexts=(PresentationContextAC(1, 4, "odd syntax"),),
        user=dataclasses.replace(
            USER, roles=(RoleSelection("odd class", False, False),), extended=(ExtendedNegotiation("odd", b"\1"),)
        ),
    )
    assert decode(2, encode(answer)[6:]) == answer


def test_a_rejected_context_has_a_transfer_syntax_sub_item_all_the_same():
    assert b"\x21\x00\x00\x08\x07\x00\x03\x00\x40\x00\x00\x00" in encode(
        ac(contexts=(PresentationContextAC(7, 3, ""),))
    )


def test_128_presentation_contexts():
    contexts = tuple(PresentationContextRQ(context_id, CT, (IMPLICIT,)) for context_id in range(1, 256, 2))
    assert decode(1, encode(rq(contexts=contexts))[6:]) == rq(contexts=contexts)


def test_a_private_uid_with_a_leading_zero_may_be_proposed():
    odd = context(abstract="1.2.03")
    assert decode(1, encode(odd)[6:]) == odd


def test_sub_items_ascend():
    user = UserInformation(
        16_384,
        "1.2",
        "V",
        AsyncOperationsWindow(0, 0),
        (RoleSelection(CT, True, True),),
        (ExtendedNegotiation(CT, b""),),
        (CommonExtendedNegotiation(CT, CT),),
        UserIdentityRQ(1, b"u"),
    )
    data = encode(rq(user=user))
    at = data.index(b"\x51\x00\x00\x04")
    kinds = []
    while at < len(data):
        kinds.append(data[at])
        at += 4 + int.from_bytes(data[at + 2 : at + 4], "big")
    assert kinds == [*range(0x51, 0x59)]
