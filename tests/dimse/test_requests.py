"""Every request that is built carries what its table asks for, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from txdicom.dimse import requests
from txdicom.dimse.command import Command, CommandField, Priority, decode, encode
from txdicom.dimse.elements import COMMAND_DATA_SET_TYPE, COMMAND_FIELD
from txdicom.dimse.messages import MESSAGES, check
from txdicom.dimse.requests import (
    c_cancel_rq,
    c_echo_rq,
    c_find_rq,
    c_get_rq,
    c_move_rq,
    c_store_rq,
    n_action_rq,
    n_create_rq,
    n_delete_rq,
    n_event_report_rq,
    n_get_rq,
    n_set_rq,
)
from txdicom.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = [
    (c_echo_rq(1), CommandField.C_ECHO_RQ, {0x0002: "1.2.840.10008.1.1", 0x0110: 1}, False),
    (c_echo_rq(1, "1.2"), CommandField.C_ECHO_RQ, {0x0002: "1.2", 0x0110: 1}, False),
    (
        c_store_rq(2, "1.2", "1.3"),
        CommandField.C_STORE_RQ,
        {0x0002: "1.2", 0x0110: 2, 0x0700: 0, 0x1000: "1.3"},
        True,
    ),
    (
        c_store_rq(
            2, "1.2", "1.3", priority=Priority.HIGH, move_originator_ae="M\xdcNCHEN", move_originator_message_id=0
        ),
        CommandField.C_STORE_RQ,
        {0x0002: "1.2", 0x0110: 2, 0x0700: 1, 0x1000: "1.3", 0x1030: "M\xdcNCHEN", 0x1031: 0},
        True,
    ),
    (c_find_rq(3, "1.2"), CommandField.C_FIND_RQ, {0x0002: "1.2", 0x0110: 3, 0x0700: 0}, True),
    (c_get_rq(4, "1.2", priority=2), CommandField.C_GET_RQ, {0x0002: "1.2", 0x0110: 4, 0x0700: 2}, True),
    (
        c_move_rq(5, "1.2", " DESTINATION "),
        CommandField.C_MOVE_RQ,
        {0x0002: "1.2", 0x0110: 5, 0x0600: "DESTINATION", 0x0700: 0},
        True,
    ),
    (c_cancel_rq(6), CommandField.C_CANCEL_RQ, {0x0120: 6}, False),
    (
        n_event_report_rq(7, "1.2", "1.3", 2, data_set=True),
        CommandField.N_EVENT_REPORT_RQ,
        {0x0002: "1.2", 0x0110: 7, 0x1000: "1.3", 0x1002: 2},
        True,
    ),
    (n_get_rq(8, "1.2", "1.3"), CommandField.N_GET_RQ, {0x0003: "1.2", 0x0110: 8, 0x1001: "1.3"}, False),
    (
        n_get_rq(8, "1.2", "1.3", [0x00100010]),
        CommandField.N_GET_RQ,
        {0x0003: "1.2", 0x0110: 8, 0x1001: "1.3", 0x1005: (0x00100010,)},
        False,
    ),
    (n_set_rq(9, "1.2", "1.3"), CommandField.N_SET_RQ, {0x0003: "1.2", 0x0110: 9, 0x1001: "1.3"}, True),
    (
        n_action_rq(10, "1.2", "1.3", 1),
        CommandField.N_ACTION_RQ,
        {0x0003: "1.2", 0x0110: 10, 0x1001: "1.3", 0x1008: 1},
        False,
    ),
    (n_create_rq(11, "1.2"), CommandField.N_CREATE_RQ, {0x0002: "1.2", 0x0110: 11}, False),
    (
        n_create_rq(11, "1.2", "1.3", data_set=True),
        CommandField.N_CREATE_RQ,
        {0x0002: "1.2", 0x0110: 11, 0x1000: "1.3"},
        True,
    ),
    (n_delete_rq(12, "1.2", "1.3"), CommandField.N_DELETE_RQ, {0x0003: "1.2", 0x0110: 12, 0x1001: "1.3"}, False),
]


@pytest.mark.parametrize(("command", "field", "values", "data_set"), CASES)
def test_requests(command: Command, field: CommandField, values: dict[int, object], data_set: bool) -> None:
    assert command.values == {**values, COMMAND_FIELD: field, COMMAND_DATA_SET_TYPE: 0x0001 if data_set else 0x0101}
    assert command.values.keys() <= MESSAGES[field].mandatory | MESSAGES[field].optional
    assert check(command) == []
    assert command.has_data_set is data_set
    assert decode(encode(command)) == command


def test_every_request_is_tested() -> None:
    built = {name.upper() for name in vars(requests) if name.endswith("_rq")}
    assert built == {field.name for _, field, _, _ in CASES}
    assert built == {field.name for field in CommandField if field.name.endswith("_RQ")}


@pytest.mark.parametrize("uid", ["", "1..2", "1.2/../3", "1." * 32 + "1", "UID"])
@pytest.mark.parametrize(
    "build",
    [
        lambda uid: c_echo_rq(1, uid),
        lambda uid: c_store_rq(1, uid, "1.2"),
        lambda uid: c_store_rq(1, "1.2", uid),
        lambda uid: c_find_rq(1, uid),
        lambda uid: n_create_rq(1, "1.2", uid),
        lambda uid: n_get_rq(1, "1.2", uid),
    ],
)
def test_what_is_no_uid_is_not_sent(build: Callable[[str], Command], uid: str) -> None:
    with pytest.raises(LocalProtocolError, match="is no UID"):
        build(uid)


@pytest.mark.parametrize("title", ["", "  ", "SEVENTEEN LETTERS", "A\\B", "A\nB", "M\xdcNCHEN"])
def test_what_is_no_ae_title_is_no_destination(title: str) -> None:
    with pytest.raises(LocalProtocolError, match="is no AE title"):
        c_move_rq(1, "1.2", title)


def test_a_message_id_out_of_range_is_found_when_it_is_encoded() -> None:
    with pytest.raises(LocalProtocolError, match="Message ID"):
        encode(c_echo_rq(0x10000))
