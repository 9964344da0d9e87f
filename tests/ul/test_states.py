"""What the table gives the machine; its content is checked in tests/conformance/test_table_9_10.py."""

from __future__ import annotations

import pytest

from txdicom.ul.states import LOOKUP, NEXT_STATE, TABLE, Action, Event, State

PDUS = (Event.EVT3, Event.EVT4, Event.EVT6, Event.EVT10, Event.EVT12, Event.EVT13, Event.EVT16, Event.EVT19)


@pytest.mark.parametrize("numbered", [State, Event, Action])
def test_numbers_are_found_by_value_and_have_a_text_of_their_own(numbered: type) -> None:
    for number, member in enumerate(numbered, 1):
        assert member == number
        assert numbered(number) is member
    assert len({member.text for member in numbered}) == len(numbered)
    assert all(member.text for member in numbered)


def test_data_transfer_stays_in_sta6() -> None:
    assert TABLE[Event.EVT9, State.STA6] == (Action.DT_1, State.STA6)
    assert LOOKUP[Event.EVT10][State.STA6] == (Action.DT_2, State.STA6)


def test_of_two_outcomes_the_lookup_has_the_first() -> None:
    assert TABLE[Event.EVT6, State.STA2] == (Action.AE_6, (State.STA3, State.STA13))
    assert LOOKUP[Event.EVT6][State.STA2] == (Action.AE_6, State.STA3)
    assert TABLE[Event.EVT12, State.STA7] == (Action.AR_8, (State.STA9, State.STA10))
    assert LOOKUP[Event.EVT12][State.STA7] == (Action.AR_8, State.STA9)
    assert {action for action, outcome in NEXT_STATE.items() if not isinstance(outcome, State)} == {
        Action.AE_6,
        Action.AR_8,
    }


def test_row_and_column_0_are_empty() -> None:
    assert not any(LOOKUP[0])
    assert not any(row[0] for row in LOOKUP)


def test_the_next_state_goes_with_the_action() -> None:
    assert set(NEXT_STATE) == set(Action)
    assert all(outcome == NEXT_STATE[action] for action, outcome in TABLE.values())


def test_every_pdu_has_an_answer_in_every_state_that_has_a_connection() -> None:
    connected = set(State) - {State.STA1, State.STA4}
    for event in PDUS:
        assert {state for state in State if (event, state) in TABLE} == connected


def test_the_loss_of_the_connection_ends_every_state() -> None:
    for state in set(State) - {State.STA1}:
        assert TABLE[Event.EVT17, state][1] == State.STA1


def test_every_state_is_reached_and_left() -> None:
    reached = {State.STA1}
    for _ in State:
        for (_event, state), (_action, outcome) in TABLE.items():
            if state in reached:
                reached |= {outcome} if isinstance(outcome, State) else set(outcome)
    assert reached == set(State)
    assert {state for _, state in TABLE} == set(State)
