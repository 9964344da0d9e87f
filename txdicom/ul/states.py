"""The states, events and actions of the upper layer and Table 9-10, which says what follows on what (PS3.8 §9.2).

Everything that decides a transition is in this file; what an action does is in `connection`. A pair of event and state
that is not in `TABLE` is not valid: the service user asked for what it may not ask for then, or the driver reported
what cannot happen.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class _Numbered(IntEnum):
    """A number of the standard with a few words on what it stands for, in `text`."""

    text: str

    def __new__(cls, number: int, text: str) -> _Numbered:
        member = int.__new__(cls, number)
        member._value_ = number
        member.text = text
        return member


class State(_Numbered):
    """Where a connection is (PS3.8 §9.2.1, Tables 9-1 to 9-5)."""

    STA1 = 1, "idle"
    STA2 = 2, "transport connection open, awaiting an A-ASSOCIATE-RQ PDU"
    STA3 = 3, "awaiting the local user's A-ASSOCIATE response"
    STA4 = 4, "awaiting the opening of the transport connection"
    STA5 = 5, "awaiting an A-ASSOCIATE-AC or A-ASSOCIATE-RJ PDU"
    STA6 = 6, "association established, ready for data transfer"
    STA7 = 7, "awaiting an A-RELEASE-RP PDU"
    STA8 = 8, "awaiting the local user's A-RELEASE response"
    STA9 = 9, "release collision, requestor: awaiting the local user's A-RELEASE response"
    STA10 = 10, "release collision, acceptor: awaiting an A-RELEASE-RP PDU"
    STA11 = 11, "release collision, requestor: awaiting an A-RELEASE-RP PDU"
    STA12 = 12, "release collision, acceptor: awaiting the local user's A-RELEASE response"
    STA13 = 13, "association gone, awaiting the closing of the transport connection"


class Event(_Numbered):
    """What can happen to a connection: the rows of Table 9-10, in its order.

    1, 7, 8, 9, 11, 14 and 15 are primitives of the local user; 2, 5 and 17 come from the local transport service;
    3, 4, 6, 10, 12, 13, 16 and 19 are PDUs of the peer; 18 is the ARTIM timer.
    """

    EVT1 = 1, "A-ASSOCIATE request"
    EVT2 = 2, "transport connection confirmed"
    EVT3 = 3, "A-ASSOCIATE-AC PDU received"
    EVT4 = 4, "A-ASSOCIATE-RJ PDU received"
    EVT5 = 5, "transport connection indicated"
    EVT6 = 6, "A-ASSOCIATE-RQ PDU received"
    EVT7 = 7, "A-ASSOCIATE response, accepting"
    EVT8 = 8, "A-ASSOCIATE response, rejecting"
    EVT9 = 9, "P-DATA request"
    EVT10 = 10, "P-DATA-TF PDU received"
    EVT11 = 11, "A-RELEASE request"
    EVT12 = 12, "A-RELEASE-RQ PDU received"
    EVT13 = 13, "A-RELEASE-RP PDU received"
    EVT14 = 14, "A-RELEASE response"
    EVT15 = 15, "A-ABORT request"
    EVT16 = 16, "A-ABORT PDU received"
    EVT17 = 17, "transport connection closed"
    EVT18 = 18, "ARTIM timer expired"
    EVT19 = 19, "unrecognized or invalid PDU received"


class Action(_Numbered):
    """What is done on an event (PS3.8 §9.2.2, Tables 9-6 to 9-9)."""

    AE_1 = 1, "ask the transport service for a connection"
    AE_2 = 2, "send an A-ASSOCIATE-RQ PDU"
    AE_3 = 3, "issue the A-ASSOCIATE confirmation, accepted"
    AE_4 = 4, "issue the A-ASSOCIATE confirmation, rejected, and close the transport connection"
    AE_5 = 5, "answer the transport service and start the ARTIM timer"
    AE_6 = (
        6,
        "stop the ARTIM timer; issue the A-ASSOCIATE indication, or send an A-ASSOCIATE-RJ PDU and start it",
    )
    AE_7 = 7, "send an A-ASSOCIATE-AC PDU"
    AE_8 = 8, "send an A-ASSOCIATE-RJ PDU and start the ARTIM timer"
    DT_1 = 9, "send a P-DATA-TF PDU"
    DT_2 = 10, "issue the P-DATA indication"
    AR_1 = 11, "send an A-RELEASE-RQ PDU"
    AR_2 = 12, "issue the A-RELEASE indication"
    AR_3 = 13, "issue the A-RELEASE confirmation and close the transport connection"
    AR_4 = 14, "send an A-RELEASE-RP PDU and start the ARTIM timer"
    AR_5 = 15, "stop the ARTIM timer"
    AR_6 = 16, "issue the P-DATA indication while releasing"
    AR_7 = 17, "send a P-DATA-TF PDU while being released"
    AR_8 = 18, "issue the A-RELEASE indication of a release collision"
    AR_9 = 19, "send an A-RELEASE-RP PDU in a release collision"
    AR_10 = 20, "issue the A-RELEASE confirmation in a release collision"
    AA_1 = 21, "send an A-ABORT PDU from the service user and start or restart the ARTIM timer"
    AA_2 = 22, "stop the ARTIM timer and close the transport connection"
    AA_3 = 23, "issue the A-ABORT or A-P-ABORT indication that was received and close the transport connection"
    AA_4 = 24, "issue an A-P-ABORT indication"
    AA_5 = 25, "stop the ARTIM timer, no association was asked for"
    AA_6 = 26, "ignore the PDU"
    AA_7 = 27, "send an A-ABORT PDU"
    AA_8 = 28, "send an A-ABORT PDU from the service provider, issue an A-P-ABORT indication and start the ARTIM timer"


_S: Final = State
_A: Final = Action
_WITH_PEER: Final = (_S.STA3, _S.STA5, _S.STA6, _S.STA7, _S.STA8, _S.STA9, _S.STA10, _S.STA11, _S.STA12)

#: The state after each action (Tables 9-6 to 9-9). Two have a pair: AE-6 goes to Sta3 when the service provider can
#: accept the request and to Sta13 when it rejects it; AR-8 to Sta9 for the requestor and to Sta10 for the acceptor.
NEXT_STATE: Final[dict[Action, State | tuple[State, ...]]] = {
    _A.AE_1: _S.STA4,
    _A.AE_2: _S.STA5,
    _A.AE_3: _S.STA6,
    _A.AE_4: _S.STA1,
    _A.AE_5: _S.STA2,
    _A.AE_6: (_S.STA3, _S.STA13),
    _A.AE_7: _S.STA6,
    _A.AE_8: _S.STA13,
    _A.DT_1: _S.STA6,
    _A.DT_2: _S.STA6,
    _A.AR_1: _S.STA7,
    _A.AR_2: _S.STA8,
    _A.AR_3: _S.STA1,
    _A.AR_4: _S.STA13,
    _A.AR_5: _S.STA1,
    _A.AR_6: _S.STA7,
    _A.AR_7: _S.STA8,
    _A.AR_8: (_S.STA9, _S.STA10),
    _A.AR_9: _S.STA11,
    _A.AR_10: _S.STA12,
    _A.AA_1: _S.STA13,
    _A.AA_2: _S.STA1,
    _A.AA_3: _S.STA1,
    _A.AA_4: _S.STA1,
    _A.AA_5: _S.STA1,
    _A.AA_6: _S.STA13,
    _A.AA_7: _S.STA13,
    _A.AA_8: _S.STA13,
}


def _unexpected(in_sta13: Action, **expected: Action) -> dict[State, Action]:
    """The row of a PDU: what it does where it is expected, and the abort everywhere else that a peer can be heard."""
    row = dict.fromkeys(_WITH_PEER, _A.AA_8) | {_S.STA2: _A.AA_1, _S.STA13: in_sta13}
    return row | {_S[name]: action for name, action in expected.items()}


_ROWS: Final[dict[Event, dict[State, Action]]] = {
    Event.EVT1: {_S.STA1: _A.AE_1},
    Event.EVT2: {_S.STA4: _A.AE_2},
    Event.EVT3: _unexpected(_A.AA_6, STA5=_A.AE_3),
    Event.EVT4: _unexpected(_A.AA_6, STA5=_A.AE_4),
    Event.EVT5: {_S.STA1: _A.AE_5},
    Event.EVT6: _unexpected(_A.AA_7, STA2=_A.AE_6),
    Event.EVT7: {_S.STA3: _A.AE_7},
    Event.EVT8: {_S.STA3: _A.AE_8},
    Event.EVT9: {_S.STA6: _A.DT_1, _S.STA8: _A.AR_7},
    Event.EVT10: _unexpected(_A.AA_6, STA6=_A.DT_2, STA7=_A.AR_6),
    Event.EVT11: {_S.STA6: _A.AR_1},
    Event.EVT12: _unexpected(_A.AA_6, STA6=_A.AR_2, STA7=_A.AR_8),
    Event.EVT13: _unexpected(_A.AA_6, STA7=_A.AR_3, STA10=_A.AR_10, STA11=_A.AR_3),
    Event.EVT14: {_S.STA8: _A.AR_4, _S.STA9: _A.AR_9, _S.STA12: _A.AR_4},
    Event.EVT15: dict.fromkeys(_WITH_PEER, _A.AA_1) | {_S.STA4: _A.AA_2},
    Event.EVT16: dict.fromkeys(_WITH_PEER, _A.AA_3) | {_S.STA2: _A.AA_2, _S.STA13: _A.AA_2},
    Event.EVT17: dict.fromkeys((*_WITH_PEER, _S.STA4), _A.AA_4) | {_S.STA2: _A.AA_5, _S.STA13: _A.AR_5},
    Event.EVT18: {_S.STA2: _A.AA_2, _S.STA13: _A.AA_2},
    Event.EVT19: _unexpected(_A.AA_7),
}

#: Table 9-10: (event, state) -> (action, next state or the pair of them). What is not here is not valid.
TABLE: Final[dict[tuple[Event, State], tuple[Action, State | tuple[State, ...]]]] = {
    (event, state): (row[state], NEXT_STATE[row[state]]) for event, row in _ROWS.items() for state in sorted(row)
}


def _grid() -> tuple[tuple[tuple[Action, State] | None, ...], ...]:
    grid: list[list[tuple[Action, State] | None]] = [[None] * (len(State) + 1) for _ in range(len(Event) + 1)]
    for (event, state), (action, outcome) in TABLE.items():
        grid[event][state] = action, outcome if isinstance(outcome, State) else outcome[0]
    return tuple(tuple(row) for row in grid)


#: The same for the machine: `LOOKUP[event][state]` is (action, next state), or None where the pair is not valid. Of two
#: next states it has the first; the action sets the other. Row and column 0 are empty: the standard counts from 1.
LOOKUP: Final = _grid()
