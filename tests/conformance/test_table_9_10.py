"""Table 9-10 of PS3.8, held a second time as the standard prints it, and compared with `states.TABLE` cell by cell.

The grid was written down from the published table and the next states of Tables 9-6 to 9-9; nothing in it comes from
`states`. "AE-6 Sta3/13" and "AR-8 Sta9/10" are the two cells with two outcomes, "." is an empty cell.
"""

from __future__ import annotations

import re

import pytest

from txdicom.ul.states import LOOKUP, TABLE, Action, Event, State

GRID = """
       | Sta1      | Sta2         | Sta3       | Sta4      | Sta5       | Sta6       | Sta7         | Sta8       | Sta9       | Sta10       | Sta11      | Sta12      | Sta13
Evt1   | AE-1 Sta4 | .            | .          | .         | .          | .          | .            | .          | .          | .           | .          | .          | .
Evt2   | .         | .            | .          | AE-2 Sta5 | .          | .          | .            | .          | .          | .           | .          | .          | .
Evt3   | .         | AA-1 Sta13   | AA-8 Sta13 | .         | AE-3 Sta6  | AA-8 Sta13 | AA-8 Sta13   | AA-8 Sta13 | AA-8 Sta13 | AA-8 Sta13  | AA-8 Sta13 | AA-8 Sta13 | AA-6 Sta13
Evt4   | .         | AA-1 Sta13   | AA-8 Sta13 | .         | AE-4 Sta1  | AA-8 Sta13 | AA-8 Sta13   | AA-8 Sta13 | AA-8 Sta13 | AA-8 Sta13  | AA-8 Sta13 | AA-8 Sta13 | AA-6 Sta13
Evt5   | AE-5 Sta2 | .            | .          | .         | .          | .          | .            | .          | .          | .           | .          | .          | .
Evt6   | .         | AE-6 Sta3/13 | AA-8 Sta13 | .         | AA-8 Sta13 | AA-8 Sta13 | AA-8 Sta13   | AA-8 Sta13 | AA-8 Sta13 | AA-8 Sta13  | AA-8 Sta13 | AA-8 Sta13 | AA-7 Sta13
Evt7   | .         | .            | AE-7 Sta6  | .         | .          | .          | .            | .          | .          | .           | .          | .          | .
Evt8   | .         | .            | AE-8 Sta13 | .         | .          | .          | .            | .          | .          | .           | .          | .          | .
Evt9   | .         | .            | .          | .         | .          | DT-1 Sta6  | .            | AR-7 Sta8  | .          | .           | .          | .          | .
Evt10  | .         | AA-1 Sta13   | AA-8 Sta13 | .         | AA-8 Sta13 | DT-2 Sta6  | AR-6 Sta7    | AA-8 Sta13 | AA-8 Sta13 | AA-8 Sta13  | AA-8 Sta13 | AA-8 Sta13 | AA-6 Sta13
Evt11  | .         | .            | .          | .         | .          | AR-1 Sta7  | .            | .          | .          | .           | .          | .          | .
Evt12  | .         | AA-1 Sta13   | AA-8 Sta13 | .         | AA-8 Sta13 | AR-2 Sta8  | AR-8 Sta9/10 | AA-8 Sta13 | AA-8 Sta13 | AA-8 Sta13  | AA-8 Sta13 | AA-8 Sta13 | AA-6 Sta13
Evt13  | .         | AA-1 Sta13   | AA-8 Sta13 | .         | AA-8 Sta13 | AA-8 Sta13 | AR-3 Sta1    | AA-8 Sta13 | AA-8 Sta13 | AR-10 Sta12 | AR-3 Sta1  | AA-8 Sta13 | AA-6 Sta13
Evt14  | .         | .            | .          | .         | .          | .          | .            | AR-4 Sta13 | AR-9 Sta11 | .           | .          | AR-4 Sta13 | .
Evt15  | .         | .            | AA-1 Sta13 | AA-2 Sta1 | AA-1 Sta13 | AA-1 Sta13 | AA-1 Sta13   | AA-1 Sta13 | AA-1 Sta13 | AA-1 Sta13  | AA-1 Sta13 | AA-1 Sta13 | .
Evt16  | .         | AA-2 Sta1    | AA-3 Sta1  | .         | AA-3 Sta1  | AA-3 Sta1  | AA-3 Sta1    | AA-3 Sta1  | AA-3 Sta1  | AA-3 Sta1   | AA-3 Sta1  | AA-3 Sta1  | AA-2 Sta1
Evt17  | .         | AA-5 Sta1    | AA-4 Sta1  | AA-4 Sta1 | AA-4 Sta1  | AA-4 Sta1  | AA-4 Sta1    | AA-4 Sta1  | AA-4 Sta1  | AA-4 Sta1   | AA-4 Sta1  | AA-4 Sta1  | AR-5 Sta1
Evt18  | .         | AA-2 Sta1    | .          | .         | .          | .          | .            | .          | .          | .           | .          | .          | AA-2 Sta1
Evt19  | .         | AA-1 Sta13   | AA-8 Sta13 | .         | AA-8 Sta13 | AA-8 Sta13 | AA-8 Sta13   | AA-8 Sta13 | AA-8 Sta13 | AA-8 Sta13  | AA-8 Sta13 | AA-8 Sta13 | AA-7 Sta13
"""  # noqa: E501  (a line is a row of the standard's table)


def cells() -> list[tuple[int, int, str]]:
    """(event, state, text) of all cells of the grid."""
    head, *rows = ([part.strip() for part in line.split("|")] for line in GRID.strip("\n").splitlines())
    return [
        (int(row[0].removeprefix("Evt")), int(column.removeprefix("Sta")), text)
        for row in rows
        for column, text in zip(head[1:], row[1:], strict=True)
    ]


CELLS = cells()


def printed(event: int, state: int) -> str:
    """The cell of `TABLE` as the standard would print it."""
    entry = TABLE.get((event, state))
    if entry is None:
        return "."
    action, outcome = entry
    states = (outcome,) if isinstance(outcome, State) else outcome
    return f"{action.name.replace('_', '-')} Sta{'/'.join(str(int(following)) for following in states)}"


def test_the_grid_is_whole() -> None:
    assert [(event, state) for event, state, _ in CELLS] == [(e, s) for e in range(1, 20) for s in range(1, 14)]
    assert sum(text != "." for *_, text in CELLS) == 123
    assert all(text == "." or re.fullmatch(r"(AE|DT|AR|AA)-\d+ Sta\d+(/\d+)?", text) for *_, text in CELLS)


@pytest.mark.parametrize(("event", "state", "text"), CELLS, ids=[f"Evt{e}-Sta{s}" for e, s, _ in CELLS])
def test_cell(event: int, state: int, text: str) -> None:
    assert printed(event, state) == text


def test_nothing_is_in_the_table_that_is_not_in_the_grid() -> None:
    assert set(TABLE) <= {(event, state) for event, state, text in CELLS if text != "."}


def test_every_event_state_and_action_of_the_standard_is_there_and_used() -> None:
    assert [state.name for state in State] == [f"STA{n}" for n in range(1, 14)]
    assert [event.name for event in Event] == [f"EVT{n}" for n in range(1, 20)]
    actions = [
        f"{family}_{n}" for family, last in (("AE", 8), ("DT", 2), ("AR", 10), ("AA", 8)) for n in range(1, last + 1)
    ]
    assert [action.name for action in Action] == actions
    assert {action for action, _ in TABLE.values()} == set(Action)
    assert {event for event, _ in TABLE} == set(Event)


@pytest.mark.parametrize(("event", "state", "text"), CELLS, ids=[f"Evt{e}-Sta{s}" for e, s, _ in CELLS])
def test_lookup_says_the_same(event: int, state: int, text: str) -> None:
    if text == ".":
        assert LOOKUP[event][state] is None
    else:
        action, _, following = text.partition(" Sta")
        assert LOOKUP[event][state] == (Action[action.replace("-", "_")], int(following.partition("/")[0]))
