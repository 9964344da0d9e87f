"""What `encode` writes `decode` reads back; what it did not write is at worst a RemoteProtocolError."""

from __future__ import annotations

import re
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.filereader import read_dataset

from tests.dimse_strategies import WALKABLE, command_set, commands
from txdicom.dimse import command as module
from txdicom.dimse.command import Command, CommandField, decode, encode
from txdicom.dimse.elements import ELEMENTS
from txdicom.dimse.messages import check, fault, response, status_of
from txdicom.errors import RemoteProtocolError

#: one message of each type, in place of a parametrized test: pytest-twisted wraps the inner function of those each time
ONE_OF_EACH = st.tuples(*(commands(st.just(field)) for field in CommandField))


@given(ONE_OF_EACH)
def test_every_message_comes_back(messages: tuple[Command, ...]) -> None:
    assert [command.command_field for command in messages] == list(CommandField)
    for command in messages:
        encoded = encode(command)
        decoded = decode(encoded)
        assert decoded == command
        assert (decoded.unknown, decoded.broken, decoded.deviations) == ({}, {}, ())
        assert len(encoded) % 2 == 0
        assert encoded[8:12] == (len(encoded) - 12).to_bytes(4, "little")
        assert encode(decoded) == encoded
        assert check(decoded) == []


@given(commands(), st.data())
def test_what_is_remembered_changes_no_reading(command: Command, data: st.DataObject) -> None:
    encoded = bytearray(encode(command))
    for _ in range(data.draw(st.integers(0, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    decode(encode(command))
    try:
        walked = module._walk(bytes(encoded))
    except RemoteProtocolError as error:
        with pytest.raises(RemoteProtocolError, match=re.escape(str(error))):
            decode(encoded)
        return
    for _ in range(2):
        again = decode(encoded)
        assert again == walked
        assert (again.unknown, again.broken) == (walked.unknown, walked.broken)
        assert again.deviations == walked.deviations


@given(commands())
def test_another_reader_finds_the_same(command: Command) -> None:
    found = read_dataset(BytesIO(encode(command)), is_implicit_VR=True, is_little_endian=True)
    values = {element.tag: element.value for element in found if element.tag}
    assert values.keys() == command.values.keys()
    for number, value in command.values.items():
        expected = list(value) if isinstance(value, tuple) else [value]
        assert (list(values[number]) if len(expected) > 1 else [values[number]]) == expected


@given(st.one_of(st.binary(max_size=200), WALKABLE, WALKABLE.map(lambda body: command_set(body))))
def test_bytes_of_any_kind(data: bytes) -> None:
    try:
        command = decode(data)
    except RemoteProtocolError:
        return
    assert not command.values.keys() & command.broken.keys()
    assert command.values.keys() | command.broken.keys() <= ELEMENTS.keys() - {0}
    again = decode(encode(command))
    assert again == command
    assert again.deviations == ()
    look_at(command)


@given(commands(), st.data())
def test_a_damaged_message(command: Command, data: st.DataObject) -> None:
    encoded = bytearray(encode(command))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        damaged = decode(encoded)
    except RemoteProtocolError:
        return
    look_at(damaged)


@given(commands(), st.data())
def test_a_message_cut_short(command: Command, data: st.DataObject) -> None:
    encoded = encode(command)
    try:
        look_at(decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))]))
    except RemoteProtocolError:
        return


def look_at(command: Command) -> None:
    """Do with a received message what a server does; what is wrong with it is answered, or cannot be."""
    repr(command)
    if command.is_response:
        if not check(command):
            status_of(command)
    elif check(command):
        status = fault(command)
        if status is not None:
            answer = decode(encode(response(command, status)))
            assert check(answer) == [] or answer.command_field not in set(CommandField)
            assert status_of(answer) == status
            assert answer.message_id_responded_to == command.message_id
