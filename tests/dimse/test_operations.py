"""The account of operations in both roles: windows of one, of several and of any number, and Message IDs."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txdicom.dimse.operations import Invoked, Performed
from txdicom.errors import LocalProtocolError

# -- invoked -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 2, 16])
def test_the_window_of_the_invoker(window: int) -> None:
    invoked: Invoked[str] = Invoked(window)
    identifiers = []
    for number in range(window):
        assert not invoked.full
        identifiers.append(invoked.add(f"operation {number}"))
        assert len(invoked) == number + 1
    assert invoked.full
    with pytest.raises(LocalProtocolError, match=f"window of {window} is full"):
        invoked.add("one more")
    invoked.remove(identifiers[0])
    assert not invoked.full
    assert invoked.add("one more") not in identifiers


def test_a_window_of_any_number_ends_with_the_message_ids() -> None:
    invoked: Invoked[int] = Invoked(0)
    identifiers = {invoked.add(number) for number in range(65_535)}
    assert identifiers == set(range(1, 65_536))
    assert invoked.full
    with pytest.raises(LocalProtocolError):
        invoked.add(0)
    invoked.remove(777)
    assert invoked.add(1) == 777  # the only one that is free, found after a whole round


def test_message_ids_begin_at_1_and_do_not_come_again_soon() -> None:
    invoked: Invoked[None] = Invoked(1)
    for expected in (1, 2, 3):
        assert invoked.add(None) == expected
        invoked.remove(expected)


def test_message_ids_wrap_and_skip_those_pending() -> None:
    invoked: Invoked[str] = Invoked(2)
    assert invoked.add("a long one") == 1
    for expected in range(2, 65_536):
        assert invoked.add("") == expected
        invoked.remove(expected)
    assert invoked.add("") == 2
    assert invoked.of_response(1) == "a long one"


def test_responses_find_their_operation() -> None:
    invoked: Invoked[str] = Invoked(0)
    one, two = invoked.add("one"), invoked.add("two")
    assert invoked.of_response(two) == "two"
    assert invoked.of_response(one) == "one"
    assert invoked.of_response(two) == "two"  # pending responses before the final one


@pytest.mark.parametrize("message_id", [None, 0, 9, 65_535])
def test_a_response_without_an_id_of_ours_means_the_only_operation(message_id: int | None) -> None:
    invoked: Invoked[str] = Invoked(0)
    assert invoked.of_response(message_id) is None
    one = invoked.add("one")
    assert invoked.of_response(message_id) == "one"
    invoked.add("two")
    assert invoked.of_response(message_id) is None
    invoked.remove(one)
    assert invoked.of_response(message_id) == "two"


def test_a_second_final_response_does_not_pass_for_the_next_operations() -> None:
    """Else an instance would count as stored because the one before it was answered twice."""
    invoked: Invoked[str] = Invoked(1)
    one = invoked.add("one")
    invoked.remove(one)
    two = invoked.add("two")
    assert invoked.of_response(one) is None
    assert invoked.of_response(two) == "two"


def test_after_the_ids_began_again_every_id_is_one_of_ours() -> None:
    invoked: Invoked[str] = Invoked(1)
    for expected in [*range(1, 65_536), 1]:
        assert invoked.add("") == expected
        invoked.remove(expected)
    assert invoked.add("the only one") == 2
    assert invoked.of_response(40_000) is None
    assert invoked.of_response(None) == "the only one"


def test_removing_twice_is_harmless() -> None:
    invoked: Invoked[str] = Invoked(1)
    one = invoked.add("one")
    invoked.remove(one)
    invoked.remove(one)
    assert len(invoked) == 0


def test_all_invoked_are_dropped_in_order() -> None:
    invoked: Invoked[str] = Invoked(0)
    for name in ("one", "two", "three"):
        invoked.add(name)
    assert invoked.drop_all() == ["one", "two", "three"]
    assert len(invoked) == 0
    assert invoked.drop_all() == []


# -- performed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 2, 5])
def test_the_window_of_the_performer(window: int) -> None:
    performed: Performed[int] = Performed(window)
    assert [performed.arrived(number, number) for number in range(1, window + 4)] == [True] * window + [False] * 3
    assert len(performed) == window + 3
    assert performed.waiting == 3
    assert performed.running() == list(range(1, window + 1))
    assert performed.finished(1) == window + 1
    assert performed.finished(window + 1) == window + 2
    assert performed.waiting == 1


def test_a_window_of_any_number_lets_none_wait() -> None:
    performed: Performed[int] = Performed(0)
    assert all(performed.arrived(number, number) for number in range(1000))
    assert performed.waiting == 0
    assert performed.finished(5) is None


def test_the_last_to_finish_leaves_nothing() -> None:
    performed: Performed[str] = Performed(1)
    assert performed.arrived(1, "one")
    assert performed.finished(1) is None
    assert len(performed) == 0
    assert performed.finished(1) is None
    assert performed.arrived(1, "one again")


def test_a_message_id_that_is_being_performed_waits() -> None:
    performed: Performed[str] = Performed(3)
    assert performed.arrived(7, "first")
    assert not performed.arrived(7, "second")
    assert not performed.arrived(8, "behind it")  # in the order of arrival
    assert performed.find(7) == "first"
    assert performed.finished(9) is None  # of another operation: 7 is still under way
    assert performed.finished(7) == "second"
    assert performed.find(7) == "second"
    assert performed.finished(7) == "behind it"


def test_none_starts_while_the_window_is_full() -> None:
    performed: Performed[str] = Performed(1)
    performed.arrived(1, "one")
    performed.arrived(2, "two")
    assert performed.finished(99) is None  # nothing of that ID runs, so nothing has ended
    assert performed.running() == ["one"]


def test_what_a_cancel_means() -> None:
    performed: Performed[str] = Performed(1)
    performed.arrived(1, "one")
    performed.arrived(2, "two")
    performed.arrived(3, "three")
    assert performed.find(1) == "one"
    assert performed.find(3) == "three"
    assert performed.find(4) is None


def test_all_performed_are_dropped_in_order() -> None:
    performed: Performed[str] = Performed(2)
    for number, name in enumerate(("one", "two", "three", "four")):
        performed.arrived(number, name)
    assert performed.drop_all() == ["one", "two", "three", "four"]
    assert len(performed) == 0
    assert performed.waiting == 0
    assert performed.arrived(0, "of no association")


@given(st.integers(0, 4), st.lists(st.integers(1, 6), max_size=40), st.integers(0, 2**32))
def test_every_operation_has_its_turn(window: int, message_ids: list[int], seed: int) -> None:
    """Any IDs, any order of finishing: a window of them at most, never one ID twice, all in order of arrival."""
    random = Random(seed)
    performed: Performed[tuple[int, int]] = Performed(window)
    running: list[tuple[int, int]] = []
    started: list[tuple[int, int]] = []

    def start(operation: tuple[int, int]) -> None:
        running.append(operation)
        started.append(operation)
        assert not window or len(running) <= window
        assert len({message_id for message_id, _ in running}) == len(running)
        assert performed.running() == running

    arrivals = [(message_id, number) for number, message_id in enumerate(message_ids)]
    left = list(arrivals)
    while left or running:
        if left and (not running or random.random() < 0.6):
            operation = left.pop(0)
            if performed.arrived(operation[0], operation):
                start(operation)
        else:
            operation = running.pop(random.randrange(len(running)))
            following = performed.finished(operation[0])
            if following is not None:
                start(following)
    assert started == arrivals
    assert len(performed) == 0
