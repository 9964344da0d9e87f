"""User information sub-items as peers really send them (PS3.8 Annex D.1, PS3.7 D.3.3)."""

from __future__ import annotations

import pytest

from tests.pdu.bodies import (
    APPLICATION,
    CLASS_UID,
    CONTEXT_RQ,
    INVALID,
    MAX_LENGTH,
    USER,
    ac_user,
    counted,
    item,
    refused,
    rq,
    rq_user,
)
from txdicom.errors import RemoteProtocolError
from txdicom.pdu import (
    AsyncOperationsWindow,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    Limits,
    RoleSelection,
    UnknownItem,
    UserIdentityAC,
    UserIdentityRQ,
)


def test_sub_items_in_any_order():
    pdu, deviations = rq(APPLICATION, CONTEXT_RQ, item(0x50, CLASS_UID, MAX_LENGTH))
    assert (pdu, deviations) == rq(APPLICATION, CONTEXT_RQ, USER)


def test_unknown_sub_items_are_kept_and_skipped():
    user, deviations = rq_user(item(0x5A, b"new"), item(0x00))
    assert user.unknown == (UnknownItem(0x5A, b"new"), UnknownItem(0x00, b""))
    assert deviations == [
        "user information: sub-item of the unknown type 5AH skipped",
        "user information: sub-item of the unknown type 00H skipped",
    ]


@pytest.mark.parametrize(
    ("sub_item", "field", "value"),
    [
        (item(0x53, b"\0\0\0\0"), "async_window", AsyncOperationsWindow(0, 0)),
        (item(0x53, b"\0\1\xff\xff"), "async_window", AsyncOperationsWindow(1, 65_535)),
        (item(0x54, counted(b"1.2"), b"\1\1"), "roles", (RoleSelection("1.2", True, True),)),
        (item(0x54, counted(b"1.2"), b"\0\0"), "roles", (RoleSelection("1.2", False, False),)),
        (item(0x55, b"V"), "implementation_version_name", "V"),
        (item(0x55, b"a b; 'c' \\ 1.0-x"), "implementation_version_name", "a b; 'c' \\ 1.0-x"),
        (item(0x56, counted(b"1.2")), "extended", (ExtendedNegotiation("1.2", b""),)),
        (item(0x56, counted(b"1.2"), b"\1\0\1"), "extended", (ExtendedNegotiation("1.2", b"\1\0\1"),)),
        (
            item(0x57, counted(b"1.2"), counted(b"1.3"), counted(b"")),
            "common_extended",
            (CommonExtendedNegotiation("1.2", "1.3"),),
        ),
        (
            item(0x57, counted(b"1.2"), counted(b"1.3"), counted(counted(b"1.4") + counted(b"1.50"))),
            "common_extended",
            (CommonExtendedNegotiation("1.2", "1.3", ("1.4", "1.50")),),
        ),
        (
            item(0x57, counted(b"1.2"), counted(b"1.3"), counted(b""), b"of version 1", second=1),
            "common_extended",
            (CommonExtendedNegotiation("1.2", "1.3"),),
        ),
        (item(0x58, b"\1\0", counted(b"\xc3\xa9"), counted(b"")), "user_identity", UserIdentityRQ(1, b"\xc3\xa9")),
        (
            item(0x58, b"\2\1", counted(b"u"), counted(b"p")),
            "user_identity",
            UserIdentityRQ(2, b"u", b"p", response_requested=True),
        ),
    ],
)
def test_sub_items(sub_item, field, value):
    user, deviations = rq_user(sub_item)
    assert getattr(user, field) == value
    assert deviations == []


@pytest.mark.parametrize(
    ("sub_item", "field", "value", "deviation"),
    [
        (
            item(0x53, b"\0\1\0\2\0"),
            "async_window",
            AsyncOperationsWindow(1, 2),
            "asynchronous operations window: 1 bytes after its last field",
        ),
        (
            item(0x54, counted(b"1.2\0"), b"\1\0"),
            "roles",
            (RoleSelection("1.2", True, False),),
            "role selection, SOP class: padded with NULs",
        ),
        (
            item(0x54, counted(b"1.2"), b"\2\1"),
            "roles",
            (RoleSelection("1.2", False, True),),
            "role selection, SCU role: 2 is neither 0 nor 1",
        ),
        (
            item(0x54, counted(b"1.2"), b"\1\xff\0"),
            "roles",
            (RoleSelection("1.2", True, False),),
            "role selection, SCP role: 255 is neither 0 nor 1|role selection: 1 bytes after its last field",
        ),
        (
            item(0x55, b"VERSION \0"),
            "implementation_version_name",
            "VERSION",
            "implementation version name: padded with NULs",
        ),
        (
            item(0x55, b"V" * 17),
            "implementation_version_name",
            "V" * 17,
            "implementation version name: 'VVVVVVVVVVVVVVVVV' has 17 characters, not 1 to 16",
        ),
        (
            item(0x55),
            "implementation_version_name",
            "",
            "implementation version name: '' has 0 characters, not 1 to 16",
        ),
        (
            item(0x57, counted(b"1.2"), counted(b"1.3")),
            "common_extended",
            (CommonExtendedNegotiation("1.2", "1.3"),),
            "SOP class common extended negotiation: no related general SOP class identification",
        ),
        (
            item(0x57, counted(b"1.2"), counted(b"1.3"), counted(b""), b"?"),
            "common_extended",
            (CommonExtendedNegotiation("1.2", "1.3"),),
            "SOP class common extended negotiation: 1 bytes after its last field",
        ),
        (
            item(0x58, b"\1\0", counted(b"user")),
            "user_identity",
            UserIdentityRQ(1, b"user"),
            "user identity: no length of the secondary field",
        ),
        (
            item(0x58, b"\6\0", counted(b"user"), counted(b"")),
            "user_identity",
            UserIdentityRQ(6, b"user"),
            "user identity: the unknown type 6",
        ),
        (
            item(0x58, b"\0\0", counted(b"user"), counted(b""), b"more"),
            "user_identity",
            UserIdentityRQ(0, b"user"),
            "user identity: the unknown type 0|user identity: 4 bytes after its last field",
        ),
        (
            item(0x58, b"\3\2", counted(b"ticket"), counted(b"p")),
            "user_identity",
            UserIdentityRQ(3, b"ticket", b"p"),
            (
                "user identity, positive response requested: 2 is neither 0 nor 1|"
                "user identity: a secondary field with type 3"
            ),
        ),
        (
            item(0x59, counted(b"response")),
            "unknown",
            (UnknownItem(0x59, counted(b"response")),),
            "user information: a sub-item of type 59H belongs to the other side; skipped",
        ),
    ],
)
def test_sub_items_with_deviations(sub_item, field, value, deviation):
    user, deviations = rq_user(sub_item)
    assert getattr(user, field) == value
    assert deviations == deviation.split("|")


def test_a_maximum_length_with_bytes_after_it():
    pdu, deviations = rq(APPLICATION, CONTEXT_RQ, item(0x50, item(0x51, b"\0\0\x40\0\0"), CLASS_UID))
    assert pdu.user.max_length == 16_384
    assert deviations == ["maximum length: 1 bytes after its last field"]


def test_an_acceptors_sub_items():
    user, deviations = ac_user(
        item(0x53, b"\0\0\0\1"), item(0x54, counted(b"1.2"), b"\0\1"), item(0x59, counted(b"ticket"))
    )
    assert user.async_window == AsyncOperationsWindow(0, 1)
    assert user.roles == (RoleSelection("1.2", False, True),)
    assert user.user_identity == UserIdentityAC(b"ticket")
    assert deviations == []


def test_an_acceptor_that_sends_what_a_requestor_sends():
    identity = item(0x58, b"\1\0", counted(b"user"), counted(b""))
    common = item(0x57, counted(b"1.2"), counted(b"1.3"), counted(b""))
    user, deviations = ac_user(common, identity, item(0x59, counted(b""), b"more"))
    assert user.common_extended == (CommonExtendedNegotiation("1.2", "1.3"),)
    assert user.user_identity == UserIdentityAC(b"")
    assert user.unknown == (UnknownItem(0x58, identity[4:]),)
    assert deviations == [
        "SOP class common extended negotiation: sent by an acceptor",
        "user information: a sub-item of type 58H belongs to the other side; skipped",
        "user identity response: 4 bytes after its last field",
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b"", item(0x51, b"\0\0\0\1")),
        (b"", item(0x52, b"9.9")),
        (item(0x53, b"\0\1\0\2"), item(0x53, b"\0\0\0\0")),
        (item(0x54, counted(b"1.2"), b"\1\0"), item(0x54, counted(b"1.2"), b"\1\1")),
        (item(0x55, b"FIRST"), item(0x55, b"SECOND")),
        (item(0x56, counted(b"1.2"), b"\1"), item(0x56, counted(b"1.2"), b"\2")),
        (
            item(0x57, counted(b"1.2"), counted(b"1.3"), counted(b"")),
            item(0x57, counted(b"1.2"), counted(b"1.4"), counted(b"")),
        ),
        (item(0x58, b"\1\0", counted(b"a"), counted(b"")), item(0x58, b"\1\0", counted(b"b"), counted(b""))),
    ],
)
def test_the_first_of_sub_items_that_come_once_counts(first, second):
    user, deviations = rq_user(first, second)
    assert user == rq_user(first)[0]
    assert len(deviations) == 1
    assert deviations[0].endswith(": sent more than once; the first counts")


def test_the_first_identity_response_counts():
    user, deviations = ac_user(item(0x59, counted(b"a")), item(0x59, counted(b"b")))
    assert user.user_identity == UserIdentityAC(b"a")
    assert deviations == ["user identity response: sent more than once; the first counts"]


def test_one_role_selection_for_each_sop_class():
    user, deviations = rq_user(item(0x54, counted(b"1.2"), b"\1\0"), item(0x54, counted(b"1.3"), b"\0\1"))
    assert user.roles == (RoleSelection("1.2", True, False), RoleSelection("1.3", False, True))
    assert deviations == []


@pytest.mark.parametrize(
    "sub_item",
    [
        item(0x51, b"\0\0\0"),
        item(0x51),
        item(0x53, b"\0\1\0"),
        item(0x54, b"\0"),
        item(0x54, b"\0\x04", b"1.2"),
        item(0x54, counted(b"1.2")),
        item(0x54, counted(b"1.2"), b"\1"),
        item(0x54, counted(b"1" * 65), b"\1\1"),
        item(0x56),
        item(0x56, b"\xff\xff1.2"),
        item(0x57, counted(b"1.2")),
        item(0x57, counted(b"1.2"), b"\0\4", b"1.3"),
        item(0x57, counted(b"1.2"), counted(b"1.3"), b"\0"),
        item(0x57, counted(b"1.2"), counted(b"1.3"), b"\0\1"),
        item(0x57, counted(b"1.2"), counted(b"1.3"), counted(b"\0")),
        item(0x57, counted(b"1.2"), counted(b"1.3"), counted(b"\0\2" + b"1")),
        item(0x58),
        item(0x58, b"\1"),
        item(0x58, b"\1\0\0"),
        item(0x58, b"\1\0\0\5user"),
        item(0x58, b"\2\0", counted(b"user"), b"\0"),
        item(0x58, b"\2\0", counted(b"user"), b"\0\5code"),
    ],
)
def test_sub_items_that_end_early(sub_item):
    refused(INVALID, "bytes early|65 characters", rq_user, sub_item)


@pytest.mark.parametrize("sub_item", [item(0x59), item(0x59, b"\0\1"), item(0x59, b"\xff\xff" + b"x")])
def test_identity_responses_that_end_early(sub_item):
    refused(INVALID, "user identity response ends", ac_user, sub_item)


def test_an_error_quotes_no_secret():
    with pytest.raises(RemoteProtocolError) as caught:
        rq_user(item(0x58, b"\2\0", counted(b"secret-name"), b"\0\xffsecret-code"))
    assert "secret" not in str(caught.value)


def test_the_number_of_related_classes():
    def common(*related):
        return item(0x57, counted(b"1.2"), counted(b"1.3"), counted(b"".join(map(counted, related))))

    limits = Limits(max_related=2)
    assert rq_user(common(b"1", b"2"), limits=limits)[0].common_extended[0].related == ("1", "2")
    refused(INVALID, "more than 2 related", rq_user, common(b"1", b"2", b"3"), limits=limits)
