"""txdicom.net.waiting: those who wait are all woken, and a timer that is not needed any more ends."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from txdicom.net.waiting import Waiters, cancel_after


def test_all_who_wait_are_woken_once() -> None:
    waiters = Waiters()
    woken: list[int] = []
    for number in range(3):
        waiters.wait().addCallback(lambda _, number=number: woken.append(number))
    waiters.wake()
    waiters.wake()
    assert woken == [0, 1, 2]


def test_one_who_waits_again_waits_for_the_next_time() -> None:
    waiters = Waiters()
    again: list[Deferred[None]] = []
    waiters.wait().addCallback(lambda _: again.append(waiters.wait()))
    waiters.wake()
    assert not again[0].called
    waiters.wake()
    assert again[0].called


def test_one_who_has_left_is_in_nobodys_way() -> None:
    waiters = Waiters()
    left, stays = waiters.wait(), waiters.wait()
    left.addErrback(lambda failure: failure.trap(CancelledError))
    left.cancel()
    waiters.wake()
    assert stays.called


def test_a_timer_ends_with_what_it_was_for() -> None:
    clock = Clock()
    ticks: list[int] = []
    done: Deferred[str] = Deferred()
    cancel_after(done, clock.callLater(5, ticks.append, 1))
    got: list[str] = []
    done.addCallback(got.append)
    done.callback("result")
    assert (clock.getDelayedCalls(), got) == ([], ["result"])
    late: Deferred[str] = Deferred()
    cancel_after(late, clock.callLater(5, ticks.append, 2))
    clock.advance(5)
    late.callback("late")
    assert ticks == [2]
