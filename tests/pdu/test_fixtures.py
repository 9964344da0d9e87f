"""PDUs written out by hand from the tables of PS3.8 §9.3 and PS3.7 Annex D, read and written byte by byte."""

from __future__ import annotations

import pytest

from txdicom.pdu import (
    PDU,
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
    ReleaseRP,
    ReleaseRQ,
    RoleSelection,
    UnknownItem,
    UserIdentityAC,
    UserIdentityRQ,
    UserInformation,
    decode,
    encode,
)

RQ_SMALL = (
    b"\x01\x00\x00\x00\x00\xae"  # Table 9-11: PDU type, reserved, PDU length 174
    b"\x00\x01\x00\x00"  # protocol version 1, reserved
    b"ANY-SCP         "  # called AE title, 16 characters
    b"ECHOSCU         "  # calling AE title
    + bytes(32)  # reserved
    + b"\x10\x00\x00\x15"  # Table 9-12: application context item, 21 bytes
    b"1.2.840.10008.3.1.1.1"
    b"\x20\x00\x00\x2e"  # Table 9-13: presentation context item, 46 bytes
    b"\x01\x00\x00\x00"  # identifier 1, three reserved bytes
    b"\x30\x00\x00\x11"  # Table 9-14: abstract syntax sub-item, 17 bytes
    b"1.2.840.10008.1.1"
    b"\x40\x00\x00\x11"  # Table 9-15: transfer syntax sub-item, 17 bytes
    b"1.2.840.10008.1.2"
    b"\x50\x00\x00\x1b"  # Table 9-16: user information item, 27 bytes
    b"\x51\x00\x00\x04\x00\x00\x40\x00"  # PS3.8 Table D.1-1: maximum length 16,384
    b"\x52\x00\x00\x0f"  # PS3.7 Table D.3-1: implementation class UID, 15 bytes
    b"1.2.826.0.1.3.6"
)

RQ_SMALL_VALUE = AssociateRQ(
    "ANY-SCP",
    "ECHOSCU",
    (PresentationContextRQ(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),),
    UserInformation(16_384, "1.2.826.0.1.3.6"),
)

RQ_LARGE = (
    b"\x01\x00\x00\x00\x01\xab"  # Table 9-11: PDU length 427
    b"\x00\x03\x00\x00"  # protocol versions 1 and 2, reserved
    b"0123456789ABCDEF"  # called AE title, all 16
    b"A B             "  # calling AE title, a space inside
    + bytes(range(32))  # reserved, not tested
    + b"\x10\x00\x00\x15"  # Table 9-12
    b"1.2.840.10008.3.1.1.1"
    b"\x20\x00\x00\x50"  # Table 9-13: 80 bytes
    b"\x03\x00\x00\x00"
    b"\x30\x00\x00\x19"  # Table 9-14: 25 bytes
    b"1.2.840.10008.5.1.4.1.1.2"
    b"\x40\x00\x00\x11"  # Table 9-15: 17 bytes
    b"1.2.840.10008.1.2"
    b"\x40\x00\x00\x16"  # Table 9-15: 22 bytes
    b"1.2.840.10008.1.2.4.50"
    b"\x20\x00\x00\x0e"  # Table 9-13: 14 bytes
    b"\xff\x00\x00\x00"  # identifier 255
    b"\x30\x00\x00\x01"  # Table 9-14
    b"1"
    b"\x40\x00\x00\x01"  # Table 9-15
    b"2"
    b"\x50\x00\x00\xdd"  # Table 9-16: 221 bytes
    b"\x51\x00\x00\x04\x00\x00\x00\x00"  # PS3.8 Table D.1-1: no maximum
    b"\x52\x00\x00\x03"  # PS3.7 Table D.3-1
    b"1.2"
    b"\x53\x00\x00\x04\x00\x00\x00\x10"  # Table D.3-7: invokes without limit, performs 16
    b"\x54\x00\x00\x1d"  # Table D.3-9: role selection, 29 bytes
    b"\x00\x19"  # UID length 25
    b"1.2.840.10008.5.1.4.1.1.2"
    b"\x00\x01"  # no SCU role, SCP role
    b"\x55\x00\x00\x0b"  # Table D.3-3: implementation version name, 11 characters
    b"TXDICOM_1.0"
    b"\x56\x00\x00\x21"  # Table D.3-11: SOP class extended negotiation, 33 bytes
    b"\x00\x1b"  # UID length 27
    b"1.2.840.10008.5.1.4.1.2.2.1"
    b"\x01\x01\x00\x01"  # service class application information
    b"\x57\x00\x00\x53"  # Table D.3-12: SOP class common extended negotiation, version 0, 83 bytes
    b"\x00\x1d"  # SOP class UID, 29 bytes
    b"1.2.840.10008.5.1.4.1.1.88.40"
    b"\x00\x11"  # service class UID, 17 bytes
    b"1.2.840.10008.4.2"
    b"\x00\x1f"  # related general SOP class identification, 31 bytes
    b"\x00\x1d"  # Table D.3-13: 29 bytes
    b"1.2.840.10008.5.1.4.1.1.88.22"
    b"\x58\x00\x00\x10"  # Table D.3-14: user identity, 16 bytes
    b"\x02\x01"  # user name and passcode, positive response requested
    b"\x00\x04user"
    b"\x00\x06secret"
    b"\x5a\x00\x00\x02??"  # a sub-item of no known type
    b"\x60\x00\x00\x03???"  # an item of no known type
)
RQ_LARGE_VALUE = AssociateRQ(
    "0123456789ABCDEF",
    "A B",
    (
        PresentationContextRQ(3, "1.2.840.10008.5.1.4.1.1.2", ("1.2.840.10008.1.2", "1.2.840.10008.1.2.4.50")),
        PresentationContextRQ(255, "1", ("2",)),
    ),
    UserInformation(
        max_length=0,
        implementation_class_uid="1.2",
        implementation_version_name="TXDICOM_1.0",
        async_window=AsyncOperationsWindow(invoked=0, performed=16),
        roles=(RoleSelection("1.2.840.10008.5.1.4.1.1.2", scu=False, scp=True),),
        extended=(ExtendedNegotiation("1.2.840.10008.5.1.4.1.2.2.1", b"\x01\x01\x00\x01"),),
        common_extended=(
            CommonExtendedNegotiation(
                "1.2.840.10008.5.1.4.1.1.88.40", "1.2.840.10008.4.2", ("1.2.840.10008.5.1.4.1.1.88.22",)
            ),
        ),
        user_identity=UserIdentityRQ(2, b"user", b"secret", response_requested=True),
        unknown=(UnknownItem(0x5A, b"??"),),
    ),
    protocol_version=3,
    reserved=bytes(range(32)),
    unknown=(UnknownItem(0x60, b"???"),),
)

AC = (
    b"\x02\x00\x00\x00\x01\x1d"  # Table 9-17: PDU type, reserved, PDU length 285
    b"\x00\x01\x00\x00"  # protocol version 1, reserved
    b"0123456789ABCDEF"  # the called AE title of the request
    b"A B             "  # its calling AE title
    + bytes(range(32))  # its reserved field
    + b"\x10\x00\x00\x15"  # Table 9-12
    b"1.2.840.10008.3.1.1.1"
    b"\x21\x00\x00\x19"  # Table 9-18: presentation context item, 25 bytes
    b"\x01\x00\x00\x00"  # identifier 1, reserved, result 0: acceptance, reserved
    b"\x40\x00\x00\x11"  # Table 9-19: transfer syntax sub-item, 17 bytes
    b"1.2.840.10008.1.2"
    b"\x21\x00\x00\x19"
    b"\x03\x00\x03\x00"  # identifier 3, result 3: abstract syntax not supported
    b"\x40\x00\x00\x11"
    b"1.2.840.10008.1.2"
    b"\x21\x00\x00\x08"
    b"\x05\x00\x04\x00"  # identifier 5, result 4: transfer syntaxes not supported
    b"\x40\x00\x00\x00"  # there, but without a value
    b"\x50\x00\x00\x76"  # Table 9-20: user information item, 118 bytes
    b"\x51\x00\x00\x04\x00\x02\x00\x00"  # PS3.8 Table D.1-2: maximum length 131,072
    b"\x52\x00\x00\x03"  # PS3.7 Table D.3-2
    b"1.2"
    b"\x53\x00\x00\x04\x00\x08\x00\x01"  # Table D.3-8: 8 invoked, 1 performed
    b"\x54\x00\x00\x1d"  # Table D.3-10: role selection
    b"\x00\x19"
    b"1.2.840.10008.5.1.4.1.1.2"
    b"\x01\x00"  # SCU accepted, SCP rejected
    b"\x55\x00\x00\x0b"  # Table D.3-4
    b"TXDICOM_1.0"
    b"\x56\x00\x00\x21"  # Table D.3-11
    b"\x00\x1b"
    b"1.2.840.10008.5.1.4.1.2.2.1"
    b"\x01\x00\x00\x01"
    b"\x59\x00\x00\x06"  # Table D.3-15: user identity response, 6 bytes
    b"\x00\x04\x00\xff\x00\xff"
)
AC_VALUE = AssociateAC(
    "0123456789ABCDEF",
    "A B",
    (
        PresentationContextAC(1, 0, "1.2.840.10008.1.2"),
        PresentationContextAC(3, 3, "1.2.840.10008.1.2"),
        PresentationContextAC(5, 4, ""),
    ),
    UserInformation(
        max_length=131_072,
        implementation_class_uid="1.2",
        implementation_version_name="TXDICOM_1.0",
        async_window=AsyncOperationsWindow(8, 1),
        roles=(RoleSelection("1.2.840.10008.5.1.4.1.1.2", scu=True, scp=False),),
        extended=(ExtendedNegotiation("1.2.840.10008.5.1.4.1.2.2.1", b"\x01\x00\x00\x01"),),
        user_identity=UserIdentityAC(b"\x00\xff\x00\xff"),
    ),
    reserved=bytes(range(32)),
)

RJ = (
    b"\x03\x00\x00\x00\x00\x04"  # Table 9-21: PDU type, reserved, PDU length 4
    b"\x00\x01\x01\x07"  # reserved, permanent, service user, called AE title not recognized
)
PDATA = (
    b"\x04\x00\x00\x00\x00\x12"  # Table 9-22: PDU type, reserved, PDU length 18
    b"\x00\x00\x00\x06"  # Table 9-23: item length 6
    b"\x01\x03"  # identifier 1; PS3.8 E.2: command, last fragment
    b"\x00\x00\x00\x00"
    b"\x00\x00\x00\x04"  # Table 9-23: item length 4
    b"\x01\x00"  # data set, more to come
    b"\x08\x00"
)
RELEASE_RQ = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"  # Table 9-24
RELEASE_RP = b"\x06\x00\x00\x00\x00\x04\x00\x00\x00\x00"  # Table 9-25
ABORT = (
    b"\x07\x00\x00\x00\x00\x04"  # Table 9-26: PDU type, reserved, PDU length 4
    b"\x00\x00\x02\x06"  # two reserved bytes, service provider, invalid PDU parameter value
)

FIXTURES: dict[str, tuple[bytes, PDU]] = {
    "A-ASSOCIATE-RQ": (RQ_SMALL, RQ_SMALL_VALUE),
    "A-ASSOCIATE-RQ with everything": (RQ_LARGE, RQ_LARGE_VALUE),
    "A-ASSOCIATE-AC": (AC, AC_VALUE),
    "A-ASSOCIATE-RJ": (RJ, AssociateRJ(1, 1, 7)),
    "P-DATA-TF": (PDATA, PDataTF((PDV(1, 3, bytes(4)), PDV(1, 0, b"\x08\x00")))),
    "A-RELEASE-RQ": (RELEASE_RQ, ReleaseRQ()),
    "A-RELEASE-RP": (RELEASE_RP, ReleaseRP()),
    "A-ABORT": (ABORT, Abort(2, 6)),
}

#: PS3.7 Table D.3-14, the sub-item alone: each type of user identity
IDENTITIES = {
    b"\x58\x00\x00\x0a\x01\x00\x00\x04user\x00\x00": UserIdentityRQ(1, b"user"),
    b"\x58\x00\x00\x0e\x02\x01\x00\x04user\x00\x04code": UserIdentityRQ(2, b"user", b"code", response_requested=True),
    b"\x58\x00\x00\x09\x03\x01\x00\x03\x60\x82\x05\x00\x00": UserIdentityRQ(
        3, b"\x60\x82\x05", response_requested=True
    ),
    b"\x58\x00\x00\x10\x04\x00\x00\x0a<saml:A/>\n\x00\x00": UserIdentityRQ(4, b"<saml:A/>\n"),
    b"\x58\x00\x00\x0c\x05\x00\x00\x06e30.e.\x00\x00": UserIdentityRQ(5, b"e30.e."),
}


@pytest.mark.parametrize("name", FIXTURES)
def test_reading(name):
    data, pdu = FIXTURES[name]
    deviations: list[str] = []
    assert decode(data[0], data[6:], deviations=deviations) == pdu
    assert [each for each in deviations if "unknown type" not in each] == []


@pytest.mark.parametrize("name", FIXTURES)
def test_writing(name):
    data, pdu = FIXTURES[name]
    assert encode(pdu) == data


@pytest.mark.parametrize("name", FIXTURES)
def test_the_length_is_that_of_the_body(name):
    data, _ = FIXTURES[name]
    assert int.from_bytes(data[2:6], "big") == len(data) - 6


@pytest.mark.parametrize(("data", "identity"), IDENTITIES.items(), ids=lambda value: getattr(value, "kind", ""))
def test_user_identities(data, identity):
    user = UserInformation(16_384, "1.2.826.0.1.3.6", user_identity=identity)
    pdu = AssociateRQ("ANY-SCP", "ECHOSCU", RQ_SMALL_VALUE.contexts, user)
    written = encode(pdu)
    assert written.endswith(data)
    deviations: list[str] = []
    assert decode(1, written[6:], deviations=deviations) == pdu
    assert deviations == []
