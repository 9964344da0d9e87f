"""Command sets, byte for byte: what is written, what is read, and what of odd input is let pass."""

from __future__ import annotations

from struct import pack

import pytest

from tests.dimse_strategies import command_set, element
from txdicom.dimse.command import Command, CommandField, Priority, decode, encode
from txdicom.dimse.messages import check
from txdicom.errors import LocalProtocolError, RemoteProtocolError

#: a C-STORE-RQ by PS3.7 Table 9.3-1, laid out by hand as PS3.5 §7.1.3 has it
C_STORE_RQ = (
    b"\x00\x00\x00\x00\x04\x00\x00\x00\x60\x00\x00\x00"
    b"\x00\x00\x02\x00\x1a\x00\x00\x001.2.840.10008.5.1.4.1.1.2\x00"
    b"\x00\x00\x00\x01\x02\x00\x00\x00\x01\x00"
    b"\x00\x00\x10\x01\x02\x00\x00\x00\x34\x12"
    b"\x00\x00\x00\x07\x02\x00\x00\x00\x02\x00"
    b"\x00\x00\x00\x08\x02\x00\x00\x00\x01\x00"
    b"\x00\x00\x00\x10\x0e\x00\x00\x001.2.826.0.1.99"
)
VALUES = {
    0x0002: "1.2.840.10008.5.1.4.1.1.2",
    0x0100: 0x0001,
    0x0110: 0x1234,
    0x0700: 0x0002,
    0x0800: 0x0001,
    0x1000: "1.2.826.0.1.99",
}
#: the elements every set below needs to be a sound C-ECHO-RQ
ECHO = (
    element(0x0002, b"1.2.840.10008.1.1\0"),
    element(0x0100, b"\x30\x00"),
    element(0x0110, b"\x07\x00"),
    element(0x0800, b"\x01\x01"),
)


def test_a_c_store_rq_from_bytes() -> None:
    command = decode(C_STORE_RQ)
    assert command.values == VALUES
    assert (command.unknown, command.broken, command.deviations) == ({}, {}, ())
    assert command.affected_sop_class == "1.2.840.10008.5.1.4.1.1.2"
    assert command.affected_sop_instance == "1.2.826.0.1.99"
    assert command.command_field == CommandField.C_STORE_RQ
    assert command.message_id == 0x1234
    assert command.priority == Priority.LOW
    assert command.has_data_set
    assert command.is_request
    assert not command.is_response
    assert not command.is_cancel
    assert command.status is None


def test_a_c_store_rq_to_bytes() -> None:
    assert encode(Command(dict(reversed(VALUES.items())))) == C_STORE_RQ


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_read(kind: type) -> None:
    assert decode(kind(C_STORE_RQ)).values == VALUES


def test_every_vr_is_padded_as_ps3_5_says() -> None:
    values = {0x0002: "1.2.3", 0x0600: "AET", 0x0901: (0x00080018, 0x7FE00010), 0x0902: "odd"}
    assert encode(Command(values))[12:] == (
        b"\x00\x00\x02\x00\x06\x00\x00\x001.2.3\x00"
        b"\x00\x00\x00\x06\x04\x00\x00\x00AET "
        b"\x00\x00\x01\x09\x08\x00\x00\x00\x08\x00\x18\x00\xe0\x7f\x10\x00"
        b"\x00\x00\x02\x09\x04\x00\x00\x00odd "
    )


def test_padding_is_no_part_of_a_value() -> None:
    data = command_set(
        element(0x0002, b"1.2.3 \0\0"), element(0x0600, b"  MOVE TO \0"), element(0x0902, b" what it is  ")
    )
    assert decode(data).values == {0x0002: "1.2.3", 0x0600: "MOVE TO", 0x0902: "what it is"}


def test_bytes_beyond_ascii_come_back_as_they_were() -> None:
    data = command_set(element(0x0600, b"M\xdcNCHEN "), element(0x1000, b"1.2.\xe9\xff\0\0"))
    command = decode(data)
    assert command.values == {0x0600: "M\xdcNCHEN", 0x1000: "1.2.\xe9\xff"}
    assert encode(command) == command_set(element(0x0600, b"M\xdcNCHEN "), element(0x1000, b"1.2.\xe9\xff"))


def test_an_empty_value_is_an_absent_one() -> None:
    numbers = (0x0002, 0x0110, 0x0600, 0x0901)
    command = decode(command_set(*(element(number, b"") for number in numbers), element(0x1000, b"\0\0")))
    assert command.values == {}
    assert command.broken == {}


def test_an_empty_command_set() -> None:
    command = decode(b"")
    assert command.values == {}
    assert command.deviations == ("Command Group Length (0000,0000) is missing",)
    assert encode(Command({})) == command_set()


@pytest.mark.parametrize(
    ("data", "deviation"),
    [
        (b"".join(ECHO), "Command Group Length (0000,0000) is missing"),
        (element(0, pack("<L", 2)) + b"".join(ECHO), "Command Group Length (0000,0000) is wrong"),
        (element(0, b"") + b"".join(ECHO), "Command Group Length (0000,0000) is wrong"),
        (element(0, b"\x02\x00") + b"".join(ECHO), "Command Group Length (0000,0000) is wrong"),
        (command_set(*reversed(ECHO)), "The elements are not in ascending order, or one is repeated"),
        (command_set(*ECHO, ECHO[-1]), "The elements are not in ascending order, or one is repeated"),
        (command_set(*ECHO, element(0x0110, b"")), "The elements are not in ascending order, or one is repeated"),
        (command_set(*ECHO, element(0x4321, b"what")), "There are elements unknown to PS3.7"),
        (
            command_set(element(0x0002, b"1.2.840.10008.1.1"), *ECHO[1:]),
            "Affected SOP Class UID (0000,0002) has an odd length",
        ),
        (
            command_set(*ECHO[:2], element(0x0110, b"\x07\x00\x08\x00"), ECHO[3]),
            "Message ID (0000,0110) has more than one value",
        ),
    ],
)
def test_what_does_no_harm_is_noted(data: bytes, deviation: str) -> None:
    command = decode(data)
    assert command.deviations == (deviation,)
    assert command == decode(command_set(*ECHO))
    assert check(command) == []


def test_a_group_length_alone() -> None:
    assert decode(element(0, b"")).deviations == ("Command Group Length (0000,0000) is wrong",)
    assert decode(command_set()).deviations == ()


def test_a_deviation_is_noted_once() -> None:
    data = b"".join(element(number, b"odd") for number in (0x9002, 0x0902, 0x9001, 0x0902) * 50)
    assert len(decode(data).deviations) == 4


def test_elements_that_are_not_ours_are_kept_apart() -> None:
    command = decode(command_set(element(0x0001, pack("<L", 8)), *ECHO, element(0x4321, b"x"), element(0x4321, b"y")))
    assert command.unknown == {0x0001: pack("<L", 8), 0x4321: b"x"}
    assert encode(command) == command_set(*ECHO)


def test_retired_elements_are_no_deviation() -> None:
    assert decode(command_set(element(0x0001, pack("<L", 8)), *ECHO)).deviations == ()


@pytest.mark.parametrize(
    ("odd", "problem"),
    [
        (element(0x1002, b"\x01"), "Event Type ID (0000,1002) has a length of 1 instead of 2"),
        (element(0x1002, b"\x01\x00\x00"), "Event Type ID (0000,1002) has a length of 3 instead of 2"),
        (element(0x1005, b"\x10\x00"), "Attribute Identifier List (0000,1005) has a length of 2, no multiple of 4"),
        (
            element(0x1005, b"\x10\x00\x20\x00\x10"),
            "Attribute Identifier List (0000,1005) has a length of 5, no multiple of 4",
        ),
        (
            element(0x1002, b"\x01\x00") + element(0x1002, b"\x02\x00") + element(0x1002, b"\x01\x00"),
            "Event Type ID (0000,1002) is repeated with another value",
        ),
        (
            element(0x1005, bytes(4)) + element(0x1005, bytes(2)),
            "Attribute Identifier List (0000,1005) has a length of 2",
        ),
    ],
)
def test_a_value_that_cannot_be_read_is_broken(odd: bytes, problem: str) -> None:
    command = decode(command_set(*ECHO, odd))
    assert command == decode(command_set(*ECHO))
    assert len(command.broken) == 1
    (found,) = check(command)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (command_set(element(0x0010, b"CODE", group=0x0008)), "element (0008,0010) in a command set"),
        (element(0x0000, b"\0\0\0\0", group=0x0002), "element (0002,0000) in a command set"),
        (C_STORE_RQ[:-1], "Affected SOP Instance UID (0000,1000) is longer than the command set"),
        (C_STORE_RQ[:20], "Affected SOP Class UID (0000,0002) is longer than the command set"),
        (C_STORE_RQ[:19], "the command set ends within the header of an element"),
        (b"\0", "the command set ends within the header of an element"),
        (command_set(pack("<HHL", 0, 0x0002, 0xFFFFFFFF)), "Affected SOP Class UID (0000,0002) is longer"),
        (command_set(pack("<HHL", 0, 0x0002, 4) + b"1.2"), "Affected SOP Class UID (0000,0002) is longer"),
        (command_set(*ECHO, b"\0\0\0"), "the command set ends within the header of an element"),
    ],
)
def test_what_cannot_be_walked_is_an_error_of_the_peer(data: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(data)
    assert str(caught.value).startswith(message)
    assert (caught.value.source, caught.value.reason) == (0, 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({0x0110: 0x10000}, "Message ID (0000,0110) cannot hold its value"),
        ({0x0110: -1}, "Message ID"),
        ({0x0110: "1"}, "Message ID"),
        ({0x0100: 1, 0x0002: 5}, "Affected SOP Class UID (0000,0002) cannot hold its value"),
        ({0x0902: "\u4e2d"}, "Error Comment"),
        ({0x0901: (1 << 32,)}, "Offending Element"),
        ({0x0901: 5}, "Offending Element"),
        ({0x0901: [5]}, "a value is of a type that no command element has"),
        ({0x0000: 5}, "there is no command element Command Group Length (0000,0000) to encode"),
        ({0x4321: "5"}, "there is no command element (0000,4321) to encode"),
    ],
)
def test_what_cannot_be_encoded_is_an_error_of_the_caller(values: dict[int, object], message: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode(Command(values))
    assert str(caught.value).startswith(message)


def test_a_command_without_a_data_set_type_has_no_data_set() -> None:
    assert not Command({}).has_data_set
    assert not Command({0x0800: 0x0101}).has_data_set
    assert Command({0x0800: 0x0000}).has_data_set
    assert Command({0x0800: 0xFEFE}).has_data_set


def test_kinds_of_messages() -> None:
    assert not Command({}).is_request
    assert not Command({}).is_response
    response = Command({0x0100: 0x8030})
    assert response.is_response
    assert not response.is_request
    cancel = Command({0x0100: 0x0FFF})
    assert cancel.is_cancel
    assert cancel.is_request


def test_commands_are_equal_when_their_values_are() -> None:
    assert Command({0x0110: 1}) == Command({0x0110: 1}, unknown={1: b""}, broken={2: ""}, deviations=("",))
    assert Command({0x0110: 1}) != Command({0x0110: 2})
    assert Command({}) != {}
    with pytest.raises(TypeError, match="unhashable"):
        hash(Command({}))


def test_repr_tells_no_instance_and_no_comment() -> None:
    request = Command({**VALUES, 0x1030: "AE"})
    assert repr(request) == "<Command C-STORE-RQ id=4660 class=1.2.840.10008.5.1.4.1.1.2>"
    response = Command({0x0003: "1.2", 0x0100: 0x8110, 0x0120: 5, 0x0900: 0xC001, 0x0902: "Doe^Jane", 0x1001: "1.3"})
    assert repr(response) == "<Command N-GET-RSP to=5 class=1.2 status=C001H>"
    assert repr(Command({})) == "<Command no Command Field>"
    assert repr(Command({0x0100: 0x0002})) == "<Command Command Field 0002H>"


def test_names_are_the_standard_s() -> None:
    assert Command({0x0100: 0x8100}).name == "N-EVENT-REPORT-RSP"
    assert {Command({0x0100: field}).name for field in CommandField} == {
        *(f"{name}-{end}" for name in ("C-STORE", "C-FIND", "C-GET", "C-MOVE", "C-ECHO") for end in ("RQ", "RSP")),
        *(
            f"N-{name}-{end}"
            for name in ("EVENT-REPORT", "GET", "SET", "ACTION", "CREATE", "DELETE")
            for end in ("RQ", "RSP")
        ),
        "C-CANCEL-RQ",
    }


def test_properties_can_be_asked_of_the_class() -> None:
    assert Command.message_id is Command.__dict__["message_id"]
