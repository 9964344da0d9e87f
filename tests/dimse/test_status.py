"""Status codes: their classes, names and spellings."""

from __future__ import annotations

import pynetdicom.status as peers
import pytest

from txdicom.dimse import status as module
from txdicom.dimse.command import CommandField
from txdicom.dimse.status import (
    DATA_SET_MISMATCH,
    OUT_OF_RESOURCES,
    PENDING,
    SUCCESS,
    TABLE,
    Category,
    Status,
    category_of,
    name_of,
)
from txdicom.errors import StatusError

CONSTANTS = {name: value for name, value in vars(module).items() if isinstance(value, Status)}


@pytest.mark.parametrize(
    ("codes", "category"),
    [
        ((0x0000,), Category.SUCCESS),
        ((0xFF00, 0xFF01), Category.PENDING),
        ((0xFE00,), Category.CANCEL),
        ((0x0001, 0x0107, 0x0116, 0xB000, 0xB006, 0xB605, 0xBFFF), Category.WARNING),
        ((0x0105, 0x0110, 0x0122, 0x0213, 0xA000, 0xA700, 0xA9FF, 0xAFFF, 0xC000, 0xCFFF), Category.FAILURE),
        ((0x0002, 0x0300, 0x9FFF, 0xD000, 0xFDFF, 0xFE01, 0xFF02, 0xFFFF), Category.FAILURE),
    ],
)
def test_status_classes_of_ps3_7_annex_c(codes: tuple[int, ...], category: Category) -> None:
    for code in codes:
        status = Status(code)
        assert category_of(code) is category
        assert status.category is category
        kinds = [status.is_success, status.is_pending, status.is_cancel, status.is_warning, status.is_failure]
        assert kinds.index(True) == list(Category).index(category)
        assert sum(kinds) == 1


def test_the_classes_are_those_of_a_peer_where_it_knows_the_code() -> None:
    for code in range(0x10000):
        theirs = peers.code_to_category(code)
        assert theirs in {category_of(code).value, "Unknown"}


@pytest.mark.parametrize(
    ("code", "service", "name"),
    [
        (0x0000, None, "Success"),
        (0x0122, CommandField.C_STORE_RQ, "Refused: SOP Class Not Supported"),
        (0xA700, None, "Refused: Out of Resources"),
        (0xA7AB, None, "Refused: Out of Resources"),
        (0xA701, CommandField.C_STORE_RSP, "Refused: Out of Resources"),
        (0xA701, CommandField.C_MOVE_RSP, "Refused: Out of Resources, Unable to Calculate Number of Matches"),
        (0xA702, CommandField.C_GET_RQ, "Refused: Out of Resources, Unable to Perform Sub-operations"),
        (0xA900, None, "Error: Does Not Match SOP Class"),
        (0xA900, CommandField.C_STORE_RQ, "Error: Data Set Does Not Match SOP Class"),
        (0xA9FF, CommandField.C_STORE_RQ, "Error: Data Set Does Not Match SOP Class"),
        (0xA900, CommandField.C_FIND_RQ, "Error: Identifier Does Not Match SOP Class"),
        (0xA900, CommandField.C_MOVE_RQ, "Error: Identifier Does Not Match SOP Class"),
        (0xA801, CommandField.C_MOVE_RSP, "Refused: Move Destination Unknown"),
        (0xB000, CommandField.C_STORE_RSP, "Coercion of Data Elements"),
        (0xB000, CommandField.C_GET_RSP, "Sub-operations Complete, One or More Failures or Warnings"),
        (0xC000, CommandField.C_STORE_RSP, "Error: Cannot Understand"),
        (0xC123, CommandField.C_FIND_RSP, "Failed: Unable to Process"),
        (0xC100, CommandField.C_FIND_RSP, "More Than One Match Found"),
        (0xC100, CommandField.C_STORE_RSP, "Error: Cannot Understand"),
        (0xFF00, CommandField.C_FIND_RSP, "Matches Are Continuing"),
        (0xFF00, CommandField.C_MOVE_RSP, "Sub-operations Are Continuing"),
        (0xFF00, None, "Pending"),
        (0x0001, CommandField.N_CREATE_RSP, "Requested Optional Attributes Not Supported"),
        (0xB600, None, "Memory Allocation Not Supported"),
        (0xC616, CommandField.N_ACTION_RSP, "The Previous Film Box Has Not Been Printed"),
        (0xC616, 0x8130, "The Previous Film Box Has Not Been Printed"),
        (0xC307, CommandField.N_GET_RQ, "No Such UPS Instance"),
        (0xB777, None, "Warning"),
        (0xA111, CommandField.C_ECHO_RQ, "Failure"),
    ],
)
def test_names(code: int, service: CommandField | int | None, name: str) -> None:
    assert name_of(code, service) == name


@pytest.mark.parametrize(
    ("table", "service"),
    [
        (peers.GENERAL_STATUS, None),
        (peers.STORAGE_SERVICE_CLASS_STATUS, CommandField.C_STORE_RQ),
        (peers.QR_FIND_SERVICE_CLASS_STATUS, CommandField.C_FIND_RQ),
        (peers.QR_MOVE_SERVICE_CLASS_STATUS, CommandField.C_MOVE_RQ),
        (peers.QR_GET_SERVICE_CLASS_STATUS, CommandField.C_GET_RQ),
        (peers.RELEVANT_PATIENT_SERVICE_CLASS_STATUS, CommandField.C_FIND_RQ),
        (peers.PROCEDURE_STEP_STATUS, CommandField.N_SET_RQ),
        (peers.PRINT_JOB_MANAGEMENT_SERVICE_CLASS_STATUS, None),
        (peers.APPLICATION_EVENT_LOGGING_SERVICE_CLASS_STATUS, CommandField.N_ACTION_RQ),
        (peers.MEDIA_CREATION_MANAGEMENT_SERVICE_CLASS_STATUS, None),
        (peers.UNIFIED_PROCEDURE_STEP_SERVICE_CLASS_STATUS, None),
        (peers.RT_MACHINE_VERIFICATION_SERVICE_CLASS_STATUS, CommandField.N_ACTION_RQ),
        (peers.STORAGE_MANAGEMENT_SERVICE_CLASS_STATUS, CommandField.N_ACTION_RQ),
    ],
)
def test_every_code_a_peer_names_has_a_name_here(table: dict[int, object], service: CommandField | None) -> None:
    unnamed = [
        f"{code:04X}" for code in table if name_of(code, service) in {one.value for one in Category} - {"Success"}
    ]
    assert set(unnamed) <= {"FE00", "FF00"}  # "Cancel", "Pending" are their names


def test_no_row_of_the_table_stands_in_the_shadow_of_another() -> None:
    rows = [(row.first, row.last, service) for row in TABLE for service in row.services or (None,)]
    assert len(rows) == len(set(rows))
    assert all(row.first <= row.last for row in TABLE)


def test_every_constant_has_a_name_of_its_own_right() -> None:
    for name, status in CONSTANTS.items():
        assert Status.of(name) == status
        assert str(status) != f"0x{status.code:04X} {status.category.value}" or name in {"SUCCESS", "PENDING", "CANCEL"}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, 0x0000),
        (0, 0x0000),
        (0xA700, 0xA700),
        (OUT_OF_RESOURCES, 0xA700),
        ("Success", 0x0000),
        ("PENDING_UNSUPPORTED_KEYS", 0xFF01),
        ("out-of-resources", 0xA700),
        ("Refused: Out of Resources", 0xA700),
        ("Processing failure", 0x0110),
        ("0xA701", 0xA701),
        ("a701H", 0xA701),
        (" 0122 ", 0x0122),
    ],
)
def test_of(value: Status | int | str | None, code: int) -> None:
    assert Status.of(value) == Status(code)


@pytest.mark.parametrize("value", ["", "no such thing", "0x1", "12345", "\uff10\uff11\uff12\uff13", -1, 0x10000])
def test_of_what_is_no_status(value: str | int) -> None:
    with pytest.raises(ValueError, match="status"):
        Status.of(value)


@pytest.mark.parametrize("value", [True, 1.5, b"Success", ()])
def test_of_what_cannot_be_one(value: object) -> None:
    with pytest.raises(TypeError, match="a status is a Status, a code or a name"):
        Status.of(value)  # type: ignore[arg-type]


def test_as_text_and_number() -> None:
    assert str(OUT_OF_RESOURCES) == "0xA700 Refused: Out of Resources"
    assert int(PENDING) == 0xFF00
    assert str(StatusError(DATA_SET_MISMATCH)) == "0xA900 Error: Does Not Match SOP Class"


def test_a_comment_shows_neither_in_str_nor_in_repr() -> None:
    status = OUT_OF_RESOURCES.with_comment("no room for Doe^Jane")
    assert "Doe" not in str(status) + repr(status)


def test_with_comment() -> None:
    status = DATA_SET_MISMATCH.with_comment("why", 0x00080016)
    assert status == Status(0xA900, "why", (0x00080016,))
    assert status.with_comment("because") == Status(0xA900, "because", (0x00080016,))


@pytest.mark.parametrize(
    ("comment", "sent"),
    [
        ("x" * 65, "x" * 64),
        ("x" * 63 + " y", "x" * 63),
        ("  one\r\n two\tthree ", "one two three"),
        (r"C:\store", "C:?store"),
        ("Köln", "K?ln"),
        ("\x1b[31m\x7f~", "?[31m?~"),
    ],
)
def test_an_error_comment_becomes_an_lo(comment: str, sent: str) -> None:
    assert Status(0xC000, comment).error_comment == sent


@pytest.mark.parametrize(
    "arguments", [(-1,), (0x10000,), (0, "", (), -1), (0, "", (), 0x10000), (0, "", (-1,)), (0, "", (1 << 32,))]
)
def test_numbers_out_of_range(arguments: tuple[int, str, tuple[int, ...], int]) -> None:
    with pytest.raises(ValueError, match=r"has (16|32) bits"):
        Status(*arguments)


def test_success_is_one_object() -> None:
    assert Status.of(None) is Status.of(0) is SUCCESS
