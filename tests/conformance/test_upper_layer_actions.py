"""Every cell of Table 9-10 on a real upper layer, in both roles: the effects of its action and the next state.

The cells are those of test_table_9_10; what the actions do was written down from PS3.8 Tables 9-6 to 9-9. An upper
layer is driven into each state that its role has, and each event that can happen there is applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.test_table_9_10 import CELLS
from txdicom.errors import LocalProtocolError
from txdicom.pdu import PDV, Abort, AssociateRJ, AssociateRQ, PDataTF, ReleaseRP, ReleaseRQ, encode
from txdicom.testing import Core
from txdicom.testing.cores import REQUEST, acceptance
from txdicom.ul.rejections import PROTOCOL_VERSION
from txdicom.ul.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

AC = acceptance(REQUEST)
RJ = AssociateRJ(1, 1, 7)
DATA = PDV(1, 2, b"data")
P_DATA_TF = encode(PDataTF((DATA,)))
UNRECOGNIZED = b"\x09\0\0\0\0\4\0\0\0\0"
INVALID = b"\x05\0\0\0\0\5\0\0\0\0\0"
WORDS = "the cable was pulled"

#: how to do each event
EVENTS: dict[int, Callable[[Core], None]] = {
    1: lambda core: core.upper_layer.associate(REQUEST),
    2: lambda core: core.upper_layer.connected(),
    3: lambda core: core.upper_layer.received(encode(AC)),
    4: lambda core: core.upper_layer.received(encode(RJ)),
    5: lambda core: core.upper_layer.connected(),
    6: lambda core: core.upper_layer.received(encode(REQUEST)),
    7: lambda core: core.upper_layer.accept(AC),
    8: lambda core: core.upper_layer.reject(RJ),
    9: lambda core: core.upper_layer.send_data(P_DATA_TF),
    10: lambda core: core.upper_layer.received(P_DATA_TF),
    11: lambda core: core.upper_layer.release(),
    12: lambda core: core.upper_layer.received(encode(ReleaseRQ())),
    13: lambda core: core.upper_layer.received(encode(ReleaseRP())),
    14: lambda core: core.upper_layer.respond_release(),
    15: lambda core: core.upper_layer.abort(),
    16: lambda core: core.upper_layer.received(encode(Abort(0, 0))),
    17: lambda core: core.upper_layer.closed(WORDS),
    18: lambda core: core.upper_layer.artim_expired(),
    19: lambda core: core.upper_layer.received(UNRECOGNIZED),
}
#: those of the other role: how a connection begins
FOREIGN = {"requestor": {5}, "acceptor": {1, 2}}
PDU_EVENTS = {3, 4, 6, 10, 12, 13, 16, 19}

#: the events that lead each role from Sta1 to each of its states
PATHS: dict[str, dict[int, tuple[int, ...]]] = {
    "requestor": {
        1: (),
        4: (1,),
        5: (1, 2),
        6: (1, 2, 3),
        7: (1, 2, 3, 11),
        8: (1, 2, 3, 12),
        9: (1, 2, 3, 11, 12),
        11: (1, 2, 3, 11, 12, 14),
        13: (1, 2, 3, 15),
    },
    "acceptor": {
        1: (),
        2: (5,),
        3: (5, 6),
        6: (5, 6, 7),
        7: (5, 6, 7, 11),
        8: (5, 6, 7, 12),
        10: (5, 6, 7, 11, 12),
        12: (5, 6, 7, 11, 12, 13),
        13: (5, 6, 8),
    },
}

CASES = [
    pytest.param(role, event, state, text, id=f"{role}-Evt{event}-Sta{state}-{text.split()[0]}")
    for role, paths in PATHS.items()
    for event, state, text in CELLS
    if state in paths and event not in FOREIGN[role]
]


def in_state(role: str, state: int) -> Core:
    core = Core(requestor=role == "requestor")
    for event in PATHS[role][state]:
        EVENTS[event](core)
    assert core.upper_layer.state == state
    core.effects.clear()
    core.primitives.clear()
    return core


def sent(pdu: Any) -> tuple[str, bytes]:
    return "send", encode(pdu)


START, STOP = ("start ARTIM",), ("stop ARTIM",)
CLOSE, CUT = ("close", False), ("close", True)

NAMES = {
    3: "unexpected PDU: AssociateAC",
    4: "unexpected PDU: AssociateRJ",
    6: "unexpected PDU: AssociateRQ",
    10: "unexpected PDU: PDataTF",
    12: "unexpected PDU: ReleaseRQ",
    13: "unexpected PDU: ReleaseRP",
    19: "a PDU of the unrecognized type 09H",
}


def expected(action: str, event: int) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The effects and the primitives of `action` on `event`."""
    reason = 1 if event == 19 else 2  # Table 9-26: unrecognized PDU, unexpected PDU
    told = [("A-ABORT indication", 2, reason, NAMES.get(event))]
    match action:
        case "AE-1":
            return [("connect",)], []
        case "AE-2":
            return [sent(REQUEST)], []
        case "AE-3":
            return [], [("A-ASSOCIATE confirmation", AC)]
        case "AE-4":
            return [CLOSE], [("A-ASSOCIATE confirmation", RJ)]
        case "AE-5":
            return [START], []
        case "AE-6":
            return [STOP], [("A-ASSOCIATE indication", REQUEST)]
        case "AE-7":
            return [sent(AC)], []
        case "AE-8":
            return [sent(RJ), START], []
        case "DT-1" | "AR-7":
            return [("send", P_DATA_TF)], []
        case "DT-2" | "AR-6":
            return [], [("P-DATA indication", DATA)]
        case "AR-1":
            return [sent(ReleaseRQ())], []
        case "AR-2" | "AR-8":
            return [], [("A-RELEASE indication",)]
        case "AR-3":
            return [CLOSE], [("A-RELEASE confirmation",)]
        case "AR-4":
            return [sent(ReleaseRP()), START], []
        case "AR-5" | "AA-5":
            return [STOP], []
        case "AR-9":
            return [sent(ReleaseRP())], []
        case "AR-10":
            return [], [("A-RELEASE confirmation",)]
        case "AA-1":
            # an A-ABORT of the service user, who is told where it was not its own wish
            return [sent(Abort(0, 0)), START], [] if event == 15 else told
        case "AA-2":
            # bytes that the peer will not take any more are dropped, an A-ABORT of the peer ends in order
            return [STOP, CLOSE if event == 16 else CUT], []
        case "AA-3":
            return [CLOSE], [("A-ABORT indication", 0, 0, "aborted by the service user")]
        case "AA-4":
            return [], [("A-ABORT indication", 2, 0, WORDS)]
        case "AA-6":
            return [], []
        case "AA-7":
            return [sent(Abort(2, reason))], []
        case "AA-8":
            return [sent(Abort(2, reason)), START], told
    raise AssertionError(action)


def next_state(text: str, role: str) -> int:
    """The state a cell leads to: of two, AE-6 takes the first here, AR-8 the one of the role."""
    action, _, following = text.partition(" Sta")
    first, _, second = following.partition("/")
    return int(second) if action == "AR-8" and role == "acceptor" else int(first)


@pytest.mark.parametrize(("role", "event", "state", "text"), CASES)
def test_cell(role: str, event: int, state: int, text: str) -> None:
    core = in_state(role, state)
    if text == ".":
        nothing_happens(core, event, state)
        return
    EVENTS[event](core)
    assert core.upper_layer.state == next_state(text, role)
    assert (core.effects, core.primitives) == expected(text.partition(" ")[0], event)
    # ARTIM runs where something is awaited of the peer without an association, and nowhere else (§9.1.5)
    assert core.artim == (core.upper_layer.state in (State.STA2, State.STA13))


def nothing_happens(core: Core, event: int, state: int) -> None:
    """An empty cell: our caller asks for what may not be asked for then, or the driver reports what cannot be."""
    artim = core.artim
    if state == 1 and event in (17, 19):
        EVENTS[event](core)  # the driver may tell of the end of a connection that has ended, and of its last bytes
    else:
        with pytest.raises(LocalProtocolError, match=rf"EVT{event} \(.+\) is not valid in STA{state} \(.+\)"):
            EVENTS[event](core)
    assert core.upper_layer.state == state
    assert (core.effects, core.primitives, core.artim) == ([], [], artim)


def test_every_cell_is_reached_in_some_role() -> None:
    reached = {(case.values[1], case.values[2]) for case in CASES if case.values[3] != "."}
    assert reached == {(event, state) for event, state, text in CELLS if text != "."}


def test_the_states_of_a_role() -> None:
    """Sta2, 3, 10 and 12 are the acceptor's, Sta4, 5, 9 and 11 the requestor's."""
    assert set(range(1, 14)) - set(PATHS["requestor"]) == {2, 3, 10, 12}
    assert set(range(1, 14)) - set(PATHS["acceptor"]) == {4, 5, 9, 11}


@pytest.mark.parametrize("version", [0, 2, 0xFFFE])
def test_ae_6_rejects_a_protocol_version_without_bit_0(version: int) -> None:
    core = in_state("acceptor", 2)
    core.upper_layer.received(encode(AssociateRQ("A", "B", REQUEST.contexts, REQUEST.user, protocol_version=version)))
    assert core.upper_layer.state == State.STA13
    assert core.effects == [STOP, sent(AssociateRJ(*PROTOCOL_VERSION)), START]
    assert core.effects[1][1] == bytes.fromhex("03 00 00000004 00 01 02 02")
    assert core.primitives == [("A-ABORT indication", 2, 0, f"rejected: protocol version {version:04X}H")]


@pytest.mark.parametrize("version", [1, 3, 0xFFFF])
def test_ae_6_tests_bit_0_only(version: int) -> None:  # Table 9-11
    core = in_state("acceptor", 2)
    core.upper_layer.received(encode(AssociateRQ("A", "B", REQUEST.contexts, REQUEST.user, protocol_version=version)))
    assert core.upper_layer.state == State.STA3
    assert core.primitives[0][0] == "A-ASSOCIATE indication"


@pytest.mark.parametrize(
    ("role", "state"), [(role, state) for role, paths in PATHS.items() for state in paths if state not in (1, 4)]
)
def test_evt_19_of_an_invalid_value_has_its_reason_on_the_wire(role: str, state: int) -> None:
    """Reason 6, invalid PDU parameter value, wherever the source is the provider (Table 9-26)."""
    core = in_state(role, state)
    core.upper_layer.received(INVALID)
    abort = bytes.fromhex("07 00 00000004 0000 00 00") if state == 2 else bytes.fromhex("07 00 00000004 0000 02 06")
    assert [effect for effect in core.effects if effect[0] == "send"] == [("send", abort)]
    assert core.upper_layer.state == State.STA13
    told = [("A-ABORT indication", 2, 6, "a PDU of type 05H has 5 bytes, not 4")]
    assert core.primitives == ([] if state == 13 else told)


@pytest.mark.parametrize(("source", "reason"), [(0, 0), (2, 0), (2, 1), (2, 2), (2, 4), (2, 5), (2, 6), (1, 3), (9, 9)])
@pytest.mark.parametrize(
    ("role", "state"), [(role, state) for role, paths in PATHS.items() for state in paths if state not in (1, 2, 4, 13)]
)
def test_aa_3_tells_who_aborted_and_why(role: str, state: int, source: int, reason: int) -> None:
    core = in_state(role, state)
    core.upper_layer.received(bytes((7, 0, 0, 0, 0, 4, 0, 0, source, reason)))
    ((what, *numbers, _),) = core.primitives
    assert (what, numbers) == ("A-ABORT indication", [source, reason])
    assert core.effects == [CLOSE]
    assert core.upper_layer.state == State.STA1


@pytest.mark.parametrize("role", PATHS)
def test_every_way_into_sta13_starts_artim(role: str) -> None:
    for state in PATHS[role]:
        for event in sorted(set(EVENTS) - FOREIGN[role]):
            core = in_state(role, state)
            try:
                EVENTS[event](core)
            except LocalProtocolError:
                continue
            if core.upper_layer.state == State.STA13 != state:
                assert core.effects[-1] == START
                core.expire_artim()
                assert core.upper_layer.state == State.STA1
                assert core.effects[-2:] == [STOP, CUT]


@pytest.mark.parametrize("role", PATHS)
def test_a_connection_is_closed_once(role: str) -> None:
    """Whatever comes after the end, in any order: no second close, no primitive, no state but Sta1."""
    for state in PATHS[role]:
        for event in sorted(set(EVENTS) - FOREIGN[role]):
            core = in_state(role, state)
            try:
                EVENTS[event](core)
            except LocalProtocolError:
                continue
            if core.upper_layer.state != State.STA1 or state == 1:
                continue
            effects, primitives = list(core.effects), list(core.primitives)
            for late in sorted(PDU_EVENTS):
                EVENTS[late](core)
            core.upper_layer.closed()
            core.upper_layer.closed()
            assert (core.effects, core.primitives) == (effects, primitives)
            assert core.upper_layer.state == State.STA1
