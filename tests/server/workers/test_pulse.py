"""Whether a worker answers."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from txdicom.server.workers.pulse import Pulse


class Stage:
    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[Deferred[Any]] = []
        self.told: list[Any] = []
        self.pulse = Pulse(self.clock, self.ask, self.change, self.give_up)
        self.pulse.begin()

    def ask(self) -> Deferred[Any]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def change(self) -> None:
        self.told.append(self.pulse.silent)

    def give_up(self) -> None:
        self.told.append("given up")


def test_one_that_answers_is_asked_each_five_seconds() -> None:
    stage = Stage()
    for count in range(1, 20):
        stage.clock.advance(1)
        stage.asked[-1].callback({})
        stage.clock.advance(4.9)
        assert len(stage.asked) == count
        stage.clock.advance(0.1)
    assert stage.told == []
    stage.pulse.end()
    assert stage.clock.getDelayedCalls() == []


def test_one_that_hangs_is_asked_once_and_given_up() -> None:
    stage = Stage()
    stage.clock.advance(10)
    assert stage.told == [True]
    stage.clock.advance(49)
    assert stage.told == [True]
    stage.clock.advance(1)
    assert (stage.told, len(stage.asked)) == ([True, "given up"], 1)
    stage.asked[0].callback({})  # too late
    assert stage.clock.getDelayedCalls() == []


def test_one_that_answers_late() -> None:
    stage = Stage()
    stage.clock.advance(10)
    stage.clock.advance(40)
    stage.asked[0].callback({})
    assert stage.told == [True, False]
    stage.clock.advance(5)
    assert len(stage.asked) == 2
    stage.clock.advance(10)
    assert stage.told == [True, False, True]
    stage.pulse.end()


def test_a_process_that_was_stopped_itself_gives_nobody_up() -> None:
    stage = Stage()
    stage.clock.advance(3600)
    stage.asked[0].callback({})
    assert stage.told == [True, False]
    stage.pulse.end()


def test_one_whose_link_is_gone_is_not_asked_again() -> None:
    stage = Stage()
    stage.asked[0].errback(ConnectionError())
    stage.clock.advance(100)
    assert (stage.told, len(stage.asked)) == ([], 1)
    assert stage.clock.getDelayedCalls() == []
    stage.pulse.end()
