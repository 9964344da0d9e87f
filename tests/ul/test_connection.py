"""The upper layer where Table 9-10 ends: what happens amid a PDU, what callbacks may do, what cannot be sent.

The table itself, cell by cell, is in tests/conformance/test_upper_layer_actions.py.
"""

from __future__ import annotations

from dataclasses import replace
from struct import pack
from typing import TYPE_CHECKING, Any

import pytest

from txdicom.errors import LocalProtocolError, RemoteProtocolError
from txdicom.pdu import (
    PDV,
    Abort,
    AssociateRJ,
    AssociateRQ,
    Limits,
    PDataTF,
    PresentationContextAC,
    ReleaseRP,
    ReleaseRQ,
    encode,
)
from txdicom.testing import Core, CorePair
from txdicom.testing.cores import REQUEST, acceptance
from txdicom.ul.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = PDV(1, 2, b"abcdefgh")
P_DATA_TF = encode(PDataTF((DATA,)))
TWO = encode(PDataTF((DATA, DATA)))
ABORT = bytes.fromhex("07 00 00000004 0000 00 00")
START = ("start ARTIM",)


def established(core_class: type[Core] = Core) -> Core:
    core = core_class(requestor=False)
    core.upper_layer.connected()
    core.upper_layer.received(encode(REQUEST))
    core.upper_layer.accept(acceptance(REQUEST))
    core.effects.clear()
    core.primitives.clear()
    return core


class Acting(Core):
    """Does `act` at each slice of a PDV."""

    act: Callable[[Core], None]

    @property
    def pdv(self) -> Any:
        return self.slice

    def slice(self, context_id: int, control: int, data: memoryview, end: bool) -> None:
        self._pdv(context_id, control, data, end)
        self.act()  # type: ignore[call-arg]


def acting(act: Callable[[Core], None]) -> Core:
    core = established(type("Acting", (Acting,), {"act": act}))
    assert isinstance(core, Acting)
    return core


# -- what cannot be sent -----------------------------------------------------------------------------------------------


def test_a_request_that_cannot_be_encoded_changes_nothing() -> None:
    core = Core(requestor=True)
    with pytest.raises(LocalProtocolError, match="called AE title"):
        core.upper_layer.associate(replace(REQUEST, called_ae="A" * 17))
    assert (core.upper_layer.state, core.effects) == (State.STA1, [])
    core.upper_layer.associate(REQUEST)
    core.upper_layer.connected()
    assert core.effects == [("connect",), ("send", encode(REQUEST))]


def test_an_answer_that_cannot_be_encoded_leaves_the_choice() -> None:
    core = Core(requestor=False)
    core.upper_layer.connected()
    core.upper_layer.received(encode(REQUEST))
    core.effects.clear()
    bad = replace(acceptance(REQUEST), contexts=(PresentationContextAC(2, 0, "1.2"),))
    with pytest.raises(LocalProtocolError):
        core.upper_layer.accept(bad)
    with pytest.raises(LocalProtocolError):
        core.upper_layer.reject(AssociateRJ(0, 0, 0))
    assert (core.upper_layer.state, core.effects) == (State.STA3, [])
    core.upper_layer.reject(AssociateRJ(1, 1, 3))
    assert core.upper_layer.state == State.STA13


def test_an_acceptor_does_not_ask() -> None:
    core = Core(requestor=False)
    with pytest.raises(LocalProtocolError, match="acceptor"):
        core.upper_layer.associate(REQUEST)
    assert (core.upper_layer.state, core.effects) == (State.STA1, [])


def test_data_goes_out_as_it_is() -> None:
    core = established()
    core.upper_layer.check_may_send()
    core.upper_layer.send_data(P_DATA_TF)
    assert core.effects == [("send", P_DATA_TF)]


@pytest.mark.parametrize("call", ["check", "send"])
def test_where_data_may_go_out(call: str) -> None:
    """Sta6 and Sta8: after the peer's A-RELEASE-RQ what was begun is still answered, after ours nothing goes out."""
    core = established()

    def may() -> bool:
        try:
            core.upper_layer.check_may_send() if call == "check" else core.upper_layer.send_data(P_DATA_TF)
        except LocalProtocolError:
            return False
        return True

    assert may()
    core.upper_layer.received(encode(ReleaseRQ()))
    assert core.upper_layer.state == State.STA8
    assert may()
    core.upper_layer.respond_release()
    assert not may()
    core.upper_layer.closed()
    assert not may()

    core = established()
    core.upper_layer.release()
    assert not may()


# -- P-DATA ------------------------------------------------------------------------------------------------------------


def test_data_is_delivered_after_our_release_request() -> None:
    core = established()
    core.upper_layer.release()
    core.upper_layer.received(P_DATA_TF * 2 + encode(ReleaseRP()))
    assert core.received == [DATA, DATA]
    assert core.primitives[-1] == ("A-RELEASE confirmation",)
    assert core.upper_layer.state == State.STA1


def test_data_after_the_release_request_of_the_peer_is_unexpected() -> None:
    core = established()
    core.upper_layer.received(encode(ReleaseRQ()) + P_DATA_TF + P_DATA_TF)
    assert core.received == []
    assert core.effects == [("send", encode(Abort(2, 2))), START]  # one A-ABORT; the second P-DATA-TF is ignored
    assert core.primitives == [("A-RELEASE indication",), ("A-ABORT indication", 2, 2, "unexpected PDU: PDataTF")]


def test_data_after_the_end_is_dropped() -> None:
    core = established()
    core.upper_layer.release()
    core.upper_layer.received(encode(ReleaseRP()) + P_DATA_TF + b"\xff" * 20)
    core.upper_layer.received(P_DATA_TF)
    assert core.received == []
    assert core.effects == [("send", encode(ReleaseRQ())), ("close", False)]


def test_data_before_the_association_ends_in_an_abort_the_user_hears_of() -> None:
    core = Core(requestor=False)
    core.upper_layer.connected()
    core.upper_layer.received(P_DATA_TF + P_DATA_TF)
    assert core.effects == [START, ("send", ABORT), START]
    assert core.primitives == [("A-ABORT indication", 2, 2, "unexpected PDU: PDataTF")]
    assert core.received == []


@pytest.mark.parametrize("step", [1, 13, 16, 100])
def test_abort_amid_a_p_data_tf(step: int) -> None:
    """After the user's A-ABORT nothing of the PDU that was coming in is delivered, nor of the next."""
    aborted: list[int] = []

    def abort(core: Core) -> None:
        aborted.append(1)
        core.upper_layer.abort()

    core = acting(abort)
    stream = TWO + TWO
    for at in range(0, len(stream), step):
        core.upper_layer.received(stream[at : at + step])
    assert aborted == [1]
    assert len(core.received) <= 1
    assert core.effects == [("send", ABORT), START]
    assert core.upper_layer.state == State.STA13


def test_after_an_abort_amid_a_p_data_tf_the_answer_of_the_peer_is_heard() -> None:
    core = acting(lambda core: core.upper_layer.abort())
    core.upper_layer.received(TWO + encode(ReleaseRQ()) + encode(Abort(0, 0)) + P_DATA_TF)
    assert core.effects == [("send", ABORT), START, ("stop ARTIM",), ("close", False)]
    assert core.upper_layer.state == State.STA1
    assert len(core.received) == 1


def test_a_pdu_that_breaks_after_an_abort_is_answered_once_more() -> None:
    """AA-7: in Sta13 an invalid PDU is answered by an A-ABORT, and ARTIM goes on."""
    core = acting(lambda core: core.upper_layer.abort())
    core.upper_layer.received(TWO[:20] + pack(">I", 1000) + TWO[24:])
    assert core.effects == [("send", ABORT), START, ("send", encode(Abort(2, 6)))]
    assert core.artim


def test_release_amid_a_p_data_tf() -> None:
    core = acting(lambda core: core.upper_layer.release() if core.upper_layer.state == State.STA6 else None)
    core.upper_layer.received(TWO + P_DATA_TF)
    assert core.received == [DATA, DATA, DATA]
    assert core.upper_layer.state == State.STA7


def test_the_connection_ends_amid_a_p_data_tf() -> None:
    core = established()
    core.upper_layer.received(TWO[:15])
    core.upper_layer.closed("gone")
    core.upper_layer.received(TWO[15:])
    assert core.received == []
    assert core.primitives == [("A-ABORT indication", 2, 0, "gone")]


def test_the_driver_ends_the_connection_amid_a_slice() -> None:
    core = acting(lambda core: core.upper_layer.closed("gone"))
    core.upper_layer.received(TWO + TWO)
    assert core.received == [DATA]
    assert core.upper_layer.state == State.STA1


def test_the_driver_ends_the_connection_on_an_unexpected_p_data_tf() -> None:
    class HangingUp(Core):
        def abort_indication(self, source: int, reason: int, message: str) -> None:
            super().abort_indication(source, reason, message)
            self.upper_layer.closed()

    core = established(HangingUp)
    core.upper_layer.received(encode(ReleaseRQ()))
    core.upper_layer.received(TWO + P_DATA_TF)
    assert core.upper_layer.state == State.STA1
    assert core.received == []
    assert len(core.primitives) == 2


# -- errors of the service user ----------------------------------------------------------------------------------------


def raising(source: int, reason: int = 0) -> Callable[[Core], None]:
    def act(core: Core) -> None:
        raise RemoteProtocolError("cannot be read", source=source, reason=reason)

    return act


@pytest.mark.parametrize("releasing", [False, True])
def test_what_the_service_user_cannot_read_is_its_abort(releasing: bool) -> None:
    """Evt15 in Sta6 and Sta7: source 0 on the wire."""
    core = acting(raising(0))
    if releasing:
        core.upper_layer.release()
        core.effects.clear()
    core.upper_layer.received(TWO + P_DATA_TF)
    assert core.effects == [("send", ABORT), START]
    assert core.primitives[-1] == ("A-ABORT indication", 2, 0, "cannot be read")
    assert core.received == [DATA]


@pytest.mark.parametrize("releasing", [False, True])
def test_fragments_that_make_no_message_are_an_invalid_pdu(releasing: bool) -> None:
    """Evt19 with the reason of the error."""
    core = acting(raising(2, 6))
    if releasing:
        core.upper_layer.release()
        core.effects.clear()
    core.upper_layer.received(TWO + P_DATA_TF)
    assert core.effects == [("send", encode(Abort(2, 6))), START]
    assert core.primitives[-1] == ("A-ABORT indication", 2, 6, "cannot be read")


@pytest.mark.parametrize("source", [0, 2])
def test_an_error_when_the_connection_has_ended_meanwhile(source: int) -> None:
    def act(core: Core) -> None:
        core.upper_layer.closed("gone")
        raising(source)(core)

    core = acting(act)
    core.upper_layer.received(P_DATA_TF)
    assert core.effects == []
    assert core.upper_layer.state == State.STA1


def test_a_confirmation_that_the_service_user_refuses() -> None:
    """An A-ASSOCIATE-AC that breaks the rules of negotiation: AA-8 from Sta6."""

    class Refusing(Core):
        def associate_confirmation(self, answer: object) -> None:
            raise RemoteProtocolError("never proposed", reason=6)

    core = Refusing(requestor=True)
    core.upper_layer.associate(REQUEST)
    core.upper_layer.connected()
    core.effects.clear()
    core.upper_layer.received(encode(acceptance(REQUEST)) + P_DATA_TF)
    assert core.effects == [("send", encode(Abort(2, 6))), START]
    assert core.upper_layer.state == State.STA13
    assert core.received == []


def test_other_errors_of_the_service_user_are_not_hidden() -> None:
    def act(core: Core) -> None:
        raise ZeroDivisionError

    core = acting(act)
    with pytest.raises(ZeroDivisionError):
        core.upper_layer.received(TWO)
    core.upper_layer.received(TWO)  # what follows has no meaning
    assert core.received == [DATA]


# -- callbacks that act ------------------------------------------------------------------------------------------------


class Prompt(Core):
    """Answers every indication at once."""

    def associate_indication(self, rq: AssociateRQ) -> None:
        super().associate_indication(rq)
        self.upper_layer.accept(acceptance(rq))

    def release_indication(self) -> None:
        super().release_indication()
        if self.upper_layer.state in (State.STA8, State.STA9, State.STA12):
            self.upper_layer.respond_release()

    def release_confirmation(self) -> None:
        super().release_confirmation()
        if self.upper_layer.state == State.STA12:
            self.upper_layer.respond_release()


def test_a_whole_conversation_in_one_read() -> None:
    core = Prompt(requestor=False)
    core.upper_layer.connected()
    core.upper_layer.received(encode(REQUEST) + P_DATA_TF + TWO + encode(ReleaseRQ()))
    assert core.received == [DATA] * 3
    assert core.effects == [
        START,
        ("stop ARTIM",),
        ("send", encode(acceptance(REQUEST))),
        ("send", encode(ReleaseRP())),
        START,
    ]
    core.upper_layer.closed()
    assert core.effects[-1] == ("stop ARTIM",)
    assert core.upper_layer.state == State.STA1


def test_release_collision_answered_at_once() -> None:
    pair = CorePair()
    pair.requestor, pair.acceptor = Prompt(requestor=True), Prompt(requestor=False)
    pair.requestor.upper_layer.associate(REQUEST)
    pair.connect()
    pair.pump()
    pair.requestor.upper_layer.release()
    pair.acceptor.upper_layer.release()
    pair.pump()
    for core in (pair.requestor, pair.acceptor):
        assert core.upper_layer.state == State.STA1
        assert core.primitives.count(("A-RELEASE confirmation",)) == 1
        assert core.primitives.count(("A-RELEASE indication",)) == 1
    assert ("close", False) in pair.requestor.effects
    assert not any(effect[0] == "close" for effect in pair.acceptor.effects)


def test_release_collision_step_by_step() -> None:
    """PS3.8 §7.2.2: the requestor's answer comes first."""
    pair = CorePair()
    pair.establish()
    requestor, acceptor = pair.requestor.upper_layer, pair.acceptor.upper_layer
    requestor.release()
    acceptor.release()
    pair.pump()
    assert (requestor.state, acceptor.state) == (State.STA9, State.STA10)
    with pytest.raises(LocalProtocolError):
        acceptor.respond_release()
    requestor.respond_release()
    assert requestor.state == State.STA11
    pair.pump()
    assert acceptor.state == State.STA12
    acceptor.respond_release()
    assert acceptor.state == State.STA13
    pair.pump()
    assert (requestor.state, acceptor.state) == (State.STA1, State.STA1)


def test_an_indication_answered_by_an_abort() -> None:
    class Aborting(Core):
        def associate_indication(self, rq: AssociateRQ) -> None:
            self.upper_layer.abort()

    core = Aborting(requestor=False)
    core.upper_layer.connected()
    core.upper_layer.received(encode(REQUEST) + P_DATA_TF)
    assert core.effects == [START, ("stop ARTIM",), ("send", ABORT), START]
    assert core.upper_layer.state == State.STA13


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_deviations_are_passed_on() -> None:
    core = Core(requestor=False)
    core.upper_layer.connected()
    core.upper_layer.received(encode(REQUEST).replace(b"ACCEPTOR        ", b"ACCEPTOR\0\0\0\0\0\0\0\0"))
    assert core.deviations == ["called AE title: NULs in it"]
    assert core.upper_layer.state == State.STA3


def test_limits_are_those_given() -> None:
    core = Core(requestor=False, limits=Limits(max_associate=100))
    core.upper_layer.connected()
    core.upper_layer.received(encode(REQUEST)[:6])
    assert core.primitives[0][3].startswith("an A-ASSOCIATE PDU of")


@pytest.mark.parametrize(
    ("stray", "words"), [(b"GET / HTTP/1.1\r\n\r\n", "HTTP"), (b"\x16\x03\x01\x02\x00\x01\x00", "TLS")]
)
def test_strays_get_an_abort_and_the_user_hears_what_they_are(stray: bytes, words: str) -> None:
    core = Core(requestor=False)
    core.upper_layer.connected()
    core.upper_layer.received(stray)
    core.upper_layer.received(stray)
    assert core.effects == [START, ("send", ABORT), START]
    assert core.primitives[0][:3] == ("A-ABORT indication", 2, 1)
    assert words in core.primitives[0][3]


def test_closed_says_why() -> None:
    core = established()
    core.upper_layer.closed()
    assert core.primitives == [("A-ABORT indication", 2, 0, "the connection was closed")]


def test_bytes_on_no_connection_are_a_mistake_of_the_driver() -> None:
    core = Core(requestor=True)
    core.upper_layer.associate(REQUEST)
    with pytest.raises(LocalProtocolError, match=r"EVT12 .* is not valid in STA4"):
        core.upper_layer.received(encode(ReleaseRQ()))
    core = Core(requestor=True)
    core.upper_layer.associate(REQUEST)
    with pytest.raises(LocalProtocolError, match=r"EVT19 .* is not valid in STA4"):
        core.upper_layer.received(b"\xff" * 6)


def test_artim_cannot_expire_where_it_does_not_run() -> None:
    core = established()
    with pytest.raises(LocalProtocolError):
        core.upper_layer.artim_expired()
    assert core.upper_layer.state == State.STA6
