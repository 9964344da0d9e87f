"""Command sets that come again: which are remembered, and which have to be walked."""

from __future__ import annotations

from struct import pack

import pytest

from tests.dimse_strategies import command_set, element
from txdicom.dimse import shapes
from txdicom.dimse.command import decode
from txdicom.dimse.shapes import MOST, learn, recall


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    shapes._shapes.clear()


def echo(message_id: int, sop_class: bytes = b"1.2.840.10008.1.1\0") -> bytes:
    return command_set(
        element(0x0002, sop_class),
        element(0x0100, b"\x30\x00"),
        element(0x0110, pack("<H", message_id)),
        element(0x0800, b"\x01\x01"),
    )


def test_the_next_of_its_shape_is_not_walked() -> None:
    assert recall(echo(1)) is None
    decode(echo(1))
    assert recall(echo(2)) == {0x0002: "1.2.840.10008.1.1", 0x0100: 0x0030, 0x0110: 2, 0x0800: 0x0101}
    assert decode(echo(2)).values == recall(echo(2))


def test_padding_is_taken_off_as_its_vr_has_it() -> None:
    learn(command_set(element(0x0002, b" 1.2 "), element(0x0600, b" A B \0")))
    assert recall(command_set(element(0x0002, b" 1.3\0"), element(0x0600, b"  C D "))) == {
        0x0002: " 1.3",
        0x0600: "C D",
    }


@pytest.mark.parametrize(
    "other",
    [
        echo(1, b"\0" * 18),  # no value
        echo(1)[:8] + pack("<L", 0) + echo(1)[12:],  # the group length is wrong
        echo(1).replace(pack("<HHL", 0, 0x0110, 2), pack("<HHL", 0, 0x0120, 2)),  # another element
        echo(1).replace(pack("<HHL", 0, 0x0110, 2), pack("<HHL", 8, 0x0110, 2)),  # another group
        echo(1) + b"\0\0",
    ],
)
def test_what_differs_is_walked(other: bytes) -> None:
    learn(echo(1))
    assert recall(other) is None


@pytest.mark.parametrize("odd", [element(0x0901, b"\x08\x00\x18\x00"), element(0x0002, b"")])
def test_what_one_look_cannot_read_is_not_remembered(odd: bytes) -> None:
    decode(command_set(odd))
    assert not shapes._shapes


def test_what_is_irregular_is_not_remembered() -> None:
    decode(command_set(element(0x0110, b"\1\0"), element(0x0100, b"\x30\0")))
    assert not shapes._shapes


def test_the_memory_is_bounded() -> None:
    for size in range(2, 2 * MOST + 10, 2):
        decode(echo(1, b"1" * size))
    assert len(shapes._shapes) <= MOST
