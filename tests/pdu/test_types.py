"""The values themselves: frozen, comparable, and silent about secrets."""

from __future__ import annotations

import dataclasses

import pytest

from txdicom.pdu import (
    PDV,
    AssociateAC,
    AssociateRQ,
    ItemType,
    Limits,
    PDUType,
    UnknownItem,
    UserIdentityAC,
    UserIdentityRQ,
    UserInformation,
)
from txdicom.pdu.limits import DEFAULT

USER = UserInformation(0, "1.2")


def test_pdu_types_are_those_of_the_standard():
    assert [kind.name for kind in sorted(PDUType)] == [
        "ASSOCIATE_RQ",
        "ASSOCIATE_AC",
        "ASSOCIATE_RJ",
        "P_DATA_TF",
        "RELEASE_RQ",
        "RELEASE_RP",
        "ABORT",
    ]


def test_every_item_type_is_there():
    assert {int(kind) for kind in ItemType} == {0x10, 0x20, 0x21, 0x30, 0x40, *range(0x50, 0x5A)}


@pytest.mark.parametrize("pdu", [AssociateRQ("A", "B", (), USER), AssociateAC("A", "B", (), USER)])
def test_association_pdus(pdu):
    assert pdu.application_context == "1.2.840.10008.3.1.1.1"
    assert pdu.protocol_version == 1
    assert pdu.reserved == bytes(32)
    with pytest.raises(dataclasses.FrozenInstanceError):
        pdu.called_ae = "C"
    assert not hasattr(pdu, "__dict__")


def test_title_fields_do_not_count():
    plain = AssociateRQ("A", "B", (), USER)
    received = dataclasses.replace(plain, title_fields=b"A".ljust(16, b"\0") + b"B".ljust(16))
    assert received == plain
    assert hash(received) == hash(plain)


@pytest.mark.parametrize(
    "value",
    [
        UserIdentityRQ(2, b"secret-name", b"secret-code"),
        UserIdentityAC(b"secret-ticket"),
        UnknownItem(0x5A, b"secret-data"),
        PDV(1, 2, b"secret-patient"),
        AssociateRQ("A", "B", (), UserInformation(0, "1.2", user_identity=UserIdentityRQ(2, b"secret", b"secret"))),
    ],
)
def test_no_secret_in_a_repr(value):
    assert "secret" not in repr(value)


def test_limits():
    assert Limits() == DEFAULT
    assert DEFAULT.max_associate == 1_048_576
    assert DEFAULT.max_pdata == 131_072
    assert DEFAULT.max_contexts == 128
