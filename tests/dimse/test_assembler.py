"""Fragments to messages: every combination of the message control header, slices, contexts, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from txdicom.dimse import requests
from txdicom.dimse.assembler import COMMAND, DISCARD, LAST, MAX_COMMAND, Assembler
from txdicom.dimse.command import Command, encode
from txdicom.errors import RemoteProtocolError
from txdicom.uids import VERIFICATION

CT = "1.2.840.10008.5.1.4.1.1.2"
ECHO = requests.c_echo_rq(1, VERIFICATION)
STORE = requests.c_store_rq(2, CT, "1.2.3")
ECHO_BYTES, STORE_BYTES = encode(ECHO), encode(STORE)


class Inbox:
    """Notes messages and what their sink is given; answers `sink` where there is one."""

    def __init__(self, *, wanted: bool = True) -> None:
        self.log: list[Any] = []
        self._wanted = wanted

    def message(self, context_id: int, command: Command) -> Inbox | None:
        self.log.append((context_id, command))
        return self if self._wanted else None

    def write(self, data: memoryview) -> None:
        self.log.append(bytes(data))

    def finish(self) -> None:
        self.log.append("finished")


def fed(*slices: tuple[int, int, bytes] | tuple[int, int, bytes, bool], wanted: bool = True) -> list[Any]:
    """The log of an inbox after these slices, which are whole PDVs unless a fourth value says otherwise."""
    inbox = Inbox(wanted=wanted)
    assembler = Assembler(inbox, {1, 3})
    for context_id, control, data, *end in slices:
        assembler.pdv(context_id, control, memoryview(data), *(end or [True]))
    return inbox.log


def refused(words: str, *slices: tuple[int, int, bytes]) -> None:
    inbox = Inbox()
    assembler = Assembler(inbox, {1, 3})
    for context_id, control, data in slices[:-1]:
        assembler.pdv(context_id, control, memoryview(data), True)
    context_id, control, data = slices[-1]
    before = len(inbox.log)
    with pytest.raises(RemoteProtocolError, match=words) as caught:
        assembler.pdv(context_id, control, memoryview(data), True)
    assert (caught.value.source, caught.value.reason) == (2, 6)
    assert len(inbox.log) == before


# -- messages ----------------------------------------------------------------------------------------------------------


def test_a_command_without_a_data_set() -> None:
    assert fed((1, 3, ECHO_BYTES)) == [(1, ECHO)]


def test_a_command_with_a_data_set() -> None:
    assert fed((3, 3, STORE_BYTES), (3, 2, b"data")) == [(3, STORE), b"data", "finished"]


def test_messages_follow_one_another_on_any_context() -> None:
    log = fed(
        (1, 3, ECHO_BYTES), (3, 3, STORE_BYTES), (3, 2, b"data"), (1, 3, STORE_BYTES), (1, 2, b""), (1, 3, ECHO_BYTES)
    )
    assert log == [(1, ECHO), (3, STORE), b"data", "finished", (1, STORE), b"", "finished", (1, ECHO)]


@pytest.mark.parametrize("step", [1, 7, 12, 50])
@pytest.mark.parametrize("end", [True, False])
def test_a_command_in_pieces(step: int, end: bool) -> None:
    """`end`: in fragments of its own; else in slices of one fragment."""
    pieces = [ECHO_BYTES[at : at + step] for at in range(0, len(ECHO_BYTES), step)]
    *first, last = pieces
    slices = [(1, COMMAND if end else COMMAND | LAST, piece, end) for piece in first]
    assert fed(*slices, (1, COMMAND | LAST, last)) == [(1, ECHO)]


def test_nothing_of_a_command_is_left_for_the_next() -> None:
    half = len(STORE_BYTES) // 2
    store = (1, COMMAND, STORE_BYTES[:half]), (1, COMMAND | LAST, STORE_BYTES[half:]), (1, LAST, b"data")
    assert fed(*store, *store, (1, 3, ECHO_BYTES)) == [(1, STORE), b"data", "finished"] * 2 + [(1, ECHO)]


def test_an_empty_last_fragment_ends_a_command() -> None:
    assert fed((1, COMMAND, b""), (1, COMMAND, ECHO_BYTES), (1, COMMAND | LAST, b"")) == [(1, ECHO)]


def test_a_data_set_in_pieces_is_never_joined() -> None:
    log = fed(
        (1, 3, STORE_BYTES),
        (1, 0, b"ab"),
        (1, 0, b""),
        (1, 0, b"cd", False),
        (1, 0, b"ef", True),
        (1, 2, b"gh", False),  # the last fragment, but not its last slice
        (1, 2, b"ij", True),
    )
    assert log == [(1, STORE), b"ab", b"", b"cd", b"ef", b"gh", b"ij", "finished"]


def test_slices_are_passed_on_uncopied() -> None:
    taken: list[memoryview] = []

    class Keeping(Inbox):
        def write(self, data: memoryview) -> None:
            taken.append(data)

    assembler = Assembler(Keeping(), {1})
    assembler.pdv(1, 3, memoryview(STORE_BYTES), True)
    data = memoryview(b"data")
    assembler.pdv(1, 2, data, True)
    assert taken[0] is data


@pytest.mark.parametrize("high", [0x04, 0x80, 0xFC])
def test_bits_2_to_7_of_the_header_are_not_tested(high: int) -> None:  # PS3.8 E.2
    assert fed((1, high | 3, STORE_BYTES), (1, high, b"ab"), (1, high | 2, b"cd")) == [
        (1, STORE),
        b"ab",
        b"cd",
        "finished",
    ]


def test_a_data_set_nobody_wants_is_dropped() -> None:
    assert fed((1, 3, STORE_BYTES), (1, 0, b"ab"), (1, 2, b"cd"), (1, 3, ECHO_BYTES), wanted=False) == [
        (1, STORE),
        (1, ECHO),
    ]
    DISCARD.write(memoryview(b"anything"))
    DISCARD.finish()


def test_a_sink_that_is_false_is_a_sink() -> None:
    class Empty(Inbox):
        def __len__(self) -> int:
            return 0

    inbox = Empty()
    assembler = Assembler(inbox, {1})
    assembler.pdv(1, 3, memoryview(STORE_BYTES), True)
    assembler.pdv(1, 2, memoryview(b"data"), True)
    assert inbox.log == [(1, STORE), b"data", "finished"]


def test_idle_is_between_two_messages() -> None:
    seen: list[bool] = []

    class Looking(Inbox):
        def message(self, context_id: int, command: Command) -> Inbox | None:
            seen.append(assembler.idle)
            return super().message(context_id, command)

        def finish(self) -> None:
            seen.append(assembler.idle)

    assembler = Assembler(Looking(), {1})
    assert assembler.idle
    assembler.pdv(1, COMMAND, memoryview(ECHO_BYTES[:20]), True)
    assert not assembler.idle
    assembler.pdv(1, 3, memoryview(ECHO_BYTES[20:]), True)
    assert assembler.idle
    assembler.pdv(1, 3, memoryview(STORE_BYTES), True)
    assert not assembler.idle
    assembler.pdv(1, 2, memoryview(b"ab"), False)
    assert not assembler.idle
    assembler.pdv(1, 2, memoryview(b"cd"), True)
    assert assembler.idle
    assert seen == [True, False, True]


def test_finish_may_start_the_next_message() -> None:
    """The message is over before its sink hears of it."""

    class Chained(Inbox):
        def finish(self) -> None:
            super().finish()
            if len(self.log) < 4:
                assembler.pdv(3, 3, memoryview(ECHO_BYTES), True)

    inbox = Chained()
    assembler = Assembler(inbox, {1, 3})
    assembler.pdv(1, 3, memoryview(STORE_BYTES), True)
    assembler.pdv(1, 2, memoryview(b"data"), True)
    assert inbox.log == [(1, STORE), b"data", "finished", (3, ECHO)]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context_id", [0, 2, 5, 255])
@pytest.mark.parametrize("control", range(4))
def test_a_context_that_was_not_accepted(context_id: int, control: int) -> None:
    """0, which is no identifier, among them: it must not pass for "none yet"."""
    words = f"presentation context {context_id} was not accepted"
    refused(words, (context_id, control, ECHO_BYTES))
    refused(words, (1, 3, ECHO_BYTES), (context_id, control, ECHO_BYTES))
    refused(words, (1, 3, STORE_BYTES), (1, 2, b"data"), (context_id, control, ECHO_BYTES))


@pytest.mark.parametrize("context_id", [0, 3, 5])
@pytest.mark.parametrize("control", range(4))
def test_fragments_of_two_messages_do_not_mix(context_id: int, control: int) -> None:
    words = f"on presentation context {context_id} amid a message on 1"
    refused(words, (1, COMMAND, STORE_BYTES[:20]), (context_id, control, STORE_BYTES))
    refused(words, (1, 3, STORE_BYTES), (context_id, control, b"data"))
    refused(words, (1, 3, STORE_BYTES), (1, 0, b"data"), (context_id, control, b"data"))


@pytest.mark.parametrize("control", [0, 2])
def test_a_data_set_without_a_command_set(control: int) -> None:
    words = "a data set without a command set"
    refused(words, (1, control, b"data"))
    refused(words, (1, 3, ECHO_BYTES), (1, control, b"data"))  # a command that announces none
    refused(words, (1, COMMAND, ECHO_BYTES[:20]), (1, control, b"data"))  # amid a command set


@pytest.mark.parametrize("control", [1, 3])
def test_a_command_set_where_a_data_set_was_expected(control: int) -> None:
    words = "a command set where a data set was expected"
    refused(words, (1, 3, STORE_BYTES), (1, control, ECHO_BYTES))
    refused(words, (1, 3, STORE_BYTES), (1, 0, b"ab"), (1, control, ECHO_BYTES))


def test_a_command_set_has_a_limit() -> None:
    words = f"a command set of over {MAX_COMMAND} bytes"
    refused(words, (1, 3, bytes(MAX_COMMAND + 1)))
    refused(words, (1, COMMAND, bytes(MAX_COMMAND)), (1, COMMAND, b"a"))
    refused(words, (1, COMMAND, bytes(MAX_COMMAND)), (1, COMMAND | LAST, b"a"))


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_command_set_that_cannot_be_read_is_an_abort_of_the_service_user(pieces: int) -> None:
    inbox = Inbox()
    assembler = Assembler(inbox, {1})
    data = ECHO_BYTES[:-3]
    if pieces == 2:
        assembler.pdv(1, COMMAND, memoryview(data[:20]), True)
        data = data[20:]
    with pytest.raises(RemoteProtocolError) as caught:
        assembler.pdv(1, 3, memoryview(data), True)
    assert caught.value.source == 0
    assert inbox.log == []
