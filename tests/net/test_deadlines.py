"""txdicom.net.deadlines: many deadlines, one timer."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from txdicom.net.deadlines import Deadlines


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_expires_once_and_leaves_no_timer(clock: Clock) -> None:
    fired: list[str] = []
    deadlines = Deadlines(clock)
    deadlines.set("a", 5, lambda: fired.append("a"))
    clock.advance(4.9)
    assert fired == []
    clock.advance(0.1)
    assert fired == ["a"]
    assert clock.getDelayedCalls() == []


def test_one_timer_for_many_that_moves_only_earlier(clock: Clock) -> None:
    fired: list[str] = []
    deadlines = Deadlines(clock)
    deadlines.set("late", 10, lambda: fired.append("late"))
    deadlines.set("early", 3, lambda: fired.append("early"))
    deadlines.set("middle", 5, lambda: fired.append("middle"))
    assert len(clock.getDelayedCalls()) == 1
    for _ in range(10):
        clock.advance(1)
        assert len(clock.getDelayedCalls()) <= 1
    assert fired == ["early", "middle", "late"]


def test_setting_again_replaces(clock: Clock) -> None:
    fired: list[str] = []
    deadlines = Deadlines(clock)
    deadlines.set("a", 5, lambda: fired.append("old"))
    clock.advance(4)
    deadlines.set("a", 5, lambda: fired.append("new"))
    clock.advance(4)
    assert fired == []
    clock.advance(1)
    assert fired == ["new"]


def test_cleared_is_not_called(clock: Clock) -> None:
    fired: list[str] = []
    deadlines = Deadlines(clock)
    deadlines.set("a", 5, lambda: fired.append("a"))
    deadlines.set("b", 6, lambda: fired.append("b"))
    deadlines.clear("a")
    deadlines.clear("never set")
    clock.pump([5, 1])
    assert fired == ["b"]


def test_zero_seconds_is_never_and_takes_back_what_was_set(clock: Clock) -> None:
    deadlines = Deadlines(clock)
    deadlines.set("a", 0, pytest.fail)
    assert clock.getDelayedCalls() == []
    deadlines.set("a", 5, pytest.fail)
    deadlines.set("a", 0, pytest.fail)
    clock.advance(10)


def test_clear_all_stops_the_timer(clock: Clock) -> None:
    deadlines = Deadlines(clock)
    deadlines.set("a", 5, pytest.fail)
    deadlines.clear_all()
    assert clock.getDelayedCalls() == []
    deadlines.clear_all()


def test_one_that_expires_may_clear_set_and_move_others(clock: Clock) -> None:
    fired: list[str] = []
    deadlines = Deadlines(clock)

    def first() -> None:
        fired.append("first")
        deadlines.clear("cleared")
        deadlines.set("moved", 2, lambda: fired.append("moved"))
        deadlines.set("first", 3, lambda: fired.append("again"))

    deadlines.set("first", 5, first)
    deadlines.set("cleared", 5, pytest.fail)
    deadlines.set("moved", 5, pytest.fail)
    clock.advance(5)
    assert fired == ["first"]
    clock.pump([2, 1])
    assert fired == ["first", "moved", "again"]
    assert clock.getDelayedCalls() == []


def test_clear_all_from_within(clock: Clock) -> None:
    deadlines = Deadlines(clock)
    deadlines.set("a", 5, deadlines.clear_all)
    deadlines.set("b", 5, pytest.fail)
    deadlines.set("c", 9, pytest.fail)
    clock.pump([5, 10])
    assert clock.getDelayedCalls() == []


def test_one_that_raises_does_not_take_the_others_along(clock: Clock) -> None:
    fired: list[str] = []
    deadlines = Deadlines(clock)

    def broken() -> None:
        raise RuntimeError("broken")

    deadlines.set("broken", 1, broken)
    deadlines.set("other", 1, lambda: fired.append("other"))
    with pytest.raises(RuntimeError):
        clock.advance(1)
    clock.advance(0)
    assert fired == ["other"]
