"""Who is served when."""

from __future__ import annotations

from tests.admin.serving import TurnClock
from txdicom.admin.turns import Turns


class Worker:
    def __init__(self, name: str, log: list[str], *, times: int = 1) -> None:
        self.name, self.log, self.times = name, log, times

    def work(self) -> bool:
        self.log.append(self.name)
        self.times -= 1
        return self.times > 0


def test_one_after_the_other() -> None:
    clock, log = TurnClock(), list[str]()
    turns = Turns(clock)
    for name in "abc":
        turns.ask(Worker(name, log, times=4))
    assert log == []
    clock.advance(0)
    assert "".join(log) == "abcabcab"
    clock.advance(0)
    assert "".join(log) == "abcabcabcabc"
    assert clock.getDelayedCalls() == []


def test_asking_twice_is_asking_once() -> None:
    clock, log = TurnClock(), list[str]()
    turns, worker = Turns(clock), Worker("a", log)
    turns.ask(worker)
    turns.ask(worker)
    clock.advance(0)
    assert log == ["a"]


def test_who_is_gone_is_not_served() -> None:
    clock, log = TurnClock(), list[str]()
    turns, gone, there = Turns(clock), Worker("gone", log), Worker("there", log)
    turns.ask(gone)
    turns.ask(there)
    turns.forget(gone)
    clock.advance(0)
    assert log == ["there"]
    turns.ask(gone)
    turns.forget(gone)
    turns.forget(gone)
    assert clock.getDelayedCalls() == []


def test_a_clock_that_jumps_costs_a_short_rest_only() -> None:
    clock, log = TurnClock(), list[str]()
    turns = Turns(clock)

    class Jump(Worker):
        def work(self) -> bool:
            clock.rightNow += 3600
            return super().work()

    turns.ask(Jump("a", log, times=2))
    clock.advance(0)
    clock.advance(0.3)
    assert log == ["a", "a"]
