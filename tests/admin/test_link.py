"""Links whose other end floods, stalls, or sends rubbish; in memory and on a clock."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.protocols.amp import AmpBox

from tests.admin.serving import Stage
from txdicom.admin import link

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.admin.serving import End

VERSION = AmpBox({b"_command": b"Version", b"_ask": b"1"}).serialize()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.end()


def answers(end: End) -> int:
    return end.written().count(b"_answer")


def turn(stage: Stage) -> None:
    stage.clock.advance(0)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        AmpBox({b"nothing": b""}).serialize(),
        b"\x00\x00",
        AmpBox({b"_answer": b"1"}).serialize(),
        AmpBox({b"_error": b"1", b"_error_code": b"x", b"_error_description": b"y"}).serialize(),
    ],
)
def test_rubbish_ends_the_link(stage: Stage, data: bytes) -> None:
    end = stage.raw()
    end.protocol.dataReceived(VERSION)
    end.protocol.dataReceived(data + VERSION)
    for _ in range(5):
        turn(stage)
    assert end.wire.closed == "abort"
    assert answers(end) == 1


def test_an_oversized_box_ends_the_link_before_it_is_kept(stage: Stage) -> None:
    end = stage.raw()
    part = struct.pack(">H", 65_535) + bytes(65_535)
    sent = 0
    while not end.wire.closed:
        end.protocol.dataReceived(b"\x00\x03%03d" % (sent % 1000) + part)
        sent += 1
        turn(stage)
        assert sent < 70
    assert sent * 65_540 > link.BoxReader()._max_box


def test_a_box_that_does_not_end(stage: Stage) -> None:
    end = stage.raw()
    end.protocol.dataReceived(VERSION + b"\x00\x01a\xff\xff")
    turn(stage)
    for _ in range(29):  # a byte now and then does not prolong it
        stage.clock.advance(1)
        end.protocol.dataReceived(b"b")
        turn(stage)
    assert not end.wire.closed
    stage.clock.advance(1.1)
    assert end.wire.closed == "abort"


def test_a_box_that_ends_in_time_starts_the_time_anew(stage: Stage) -> None:
    end = stage.raw()
    for _ in range(4):
        end.protocol.dataReceived(VERSION[:10])
        turn(stage)
        stage.clock.advance(20)
        end.protocol.dataReceived(VERSION[10:])
        turn(stage)
    stage.clock.advance(100)
    assert not end.wire.closed
    assert answers(end) == 4


def test_a_flood_is_answered_a_little_a_turn(stage: Stage) -> None:
    end = stage.raw()
    end.protocol.dataReceived(VERSION * 100)
    assert end.wire.producerState == "paused"
    turn(stage)
    assert answers(end) == 8
    rest = 0
    while end.wire.producerState == "paused":
        turn(stage)
        rest += answers(end)
    assert rest == 92


def test_others_are_served_between_the_boxes_of_a_flood(stage: Stage) -> None:
    flooder, other = stage.raw(), stage.raw()
    flooder.protocol.dataReceived(VERSION * 100)
    other.protocol.dataReceived(VERSION)
    turn(stage)
    assert answers(other) == 1


def test_administrators_leave_most_of_the_time_to_others(stage: Stage) -> None:
    end = stage.raw()
    usual = stage.control.version

    def slow() -> Any:
        stage.clock.rightNow += 0.01  # the time that this takes
        return usual()

    stage.control.version = slow  # type: ignore[method-assign]
    end.protocol.dataReceived(VERSION * 100)
    turn(stage)
    assert answers(end) == 1  # one is too much already
    stage.clock.advance(0.029)
    assert answers(end) == 0
    stage.clock.advance(0.002)
    assert answers(end) == 1


def test_nothing_more_is_answered_while_the_answers_are_not_read(stage: Stage) -> None:
    end = stage.raw()
    end.protocol.pauseProducing()
    end.protocol.dataReceived(VERSION * 3)
    turn(stage)
    assert answers(end) == 0
    assert end.wire.producerState == "paused"
    end.protocol.resumeProducing()
    turn(stage)
    assert answers(end) == 3


def test_one_that_never_reads_is_dropped(stage: Stage) -> None:
    end = stage.raw()
    end.protocol.pauseProducing()
    stage.clock.advance(link.READ_TIMEOUT - 1)
    end.protocol.resumeProducing()
    end.protocol.pauseProducing()
    stage.clock.advance(link.READ_TIMEOUT - 1)
    assert not end.wire.closed
    stage.clock.advance(2)
    assert end.wire.closed == "abort"


def test_so_many_commands_at_once(stage: Stage) -> None:
    end, other = stage.raw(), stage.raw()
    stage.control.results["version"] = waiting = Deferred()
    end.protocol.dataReceived(VERSION * 20)
    for _ in range(5):
        turn(stage)
    assert stage.control.asked == [("version",)] * link.MAX_COMMANDS
    other.protocol.dataReceived(AmpBox({b"_command": b"Pause", b"_ask": b"1"}).serialize())
    turn(stage)
    assert answers(other) == 1
    stage.control.results.clear()
    waiting.callback({})
    for _ in range(5):
        turn(stage)
    assert len(stage.control.asked) == 21


def test_a_subscriber_that_does_not_read_is_dropped_and_the_others_go_on(stage: Stage) -> None:
    lazy, keen = stage.raw(), stage.raw()
    for end in (lazy, keen):
        end.protocol.dataReceived(AmpBox({b"_command": b"Subscribe", b"_ask": b"1"}).serialize())
    turn(stage)
    lazy.protocol.pauseProducing()
    told = 0
    while not lazy.wire.closed:
        stage.control.happen("ClientAction", text="x" * 10_000)
        told += 1
        assert told < 110
    assert told * 10_100 > link.MAX_UNREAD
    assert lazy.wire.closed == "abort"
    lazy.lose()
    stage.control.happen("ClientAction", text="after")
    assert keen.written().count(b"ClientAction") == told + 1
    assert not keen.wire.closed


def test_what_waited_for_a_subscriber_comes_in_order(stage: Stage) -> None:
    end = stage.raw()
    end.protocol.dataReceived(AmpBox({b"_command": b"Subscribe", b"_ask": b"1"}).serialize())
    turn(stage)
    end.protocol.pauseProducing()
    for number in range(5):
        stage.control.happen("ClientAction", number=number)
    assert b"ClientAction" not in end.written()
    end.protocol.resumeProducing()
    data = end.written()
    places = [data.index(b'"number":%d' % number) for number in range(5)]
    assert places == sorted(places)


@pytest.mark.parametrize(("user", "admitted"), [(None, True), (0, True), (4711, False)])
def test_whose_process_may_come(stage: Stage, user: int | None, admitted: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    stage.users = [user]
    end = stage.raw()
    end.protocol.dataReceived(VERSION)
    turn(stage)
    assert (answers(end) == 1) is admitted
    assert (end.wire.closed == "abort") is not admitted


def test_one_of_another_user_is_not_even_told_that_there_are_too_many() -> None:
    stage = Stage(connections=0)
    stage.users = [4711]
    end = stage.raw()
    assert end.wire.closed == "abort"
    assert end.written() == b""
    stage.end()


def test_stopping_ends_every_link(stage: Stage) -> None:
    ends = [stage.raw() for _ in range(3)]
    done: list[Any] = []
    Deferred.fromCoroutine(stage.server.stop()).addBoth(done.append)
    assert [end.wire.closed for end in ends] == ["lose"] * 3
    for end in ends[:2]:
        end.lose()
    assert done == []
    stage.clock.advance(1.1)
    assert ends[2].wire.closed == "abort"
    ends[2].lose()
    assert done == [None]
