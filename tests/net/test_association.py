"""txdicom.net.association and .exchange: messages, the operations window, and every way an association ends."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.net.wire import (
    CT,
    CT_ID,
    ECHO_ID,
    Peer,
    Performed,
    Recorder,
    acceptor,
    data_set,
    echo_bytes,
    message_bytes,
    pdata,
    store_bytes,
)
from txdicom.dimse import requests
from txdicom.dimse.command import Command
from txdicom.dimse.elements import COMMAND_DATA_SET_TYPE, COMMAND_FIELD, MESSAGE_ID
from txdicom.errors import AssociationAborted, LocalProtocolError
from txdicom.net.invocation import SingleResponse
from txdicom.pdu.encode import encode
from txdicom.pdu.types import Abort, AssociateAC, ReleaseRP, ReleaseRQ
from txdicom.ul.states import State

COMMAND = 1
LAST = 2


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def peer(clock: Clock, recorder: Recorder) -> Peer:
    return connected(clock, recorder)


def connected(clock: Clock, performer: Any, *, window: tuple[int, int] | None = None, **settings: Any) -> Peer:
    peer = Peer(acceptor(performer, clock=clock, **settings))
    assert isinstance(peer.associate(window=window), AssociateAC)
    return peer


def half_a_store(message_id: int = 1) -> bytes:
    return message_bytes(CT_ID, requests.c_store_rq(message_id, CT, "1.2.3")) + pdata(CT_ID, 0, bytes(3_000))


# -- messages ----------------------------------------------------------------------------------------------------------


def test_a_request_reaches_the_performer_whole(peer: Peer, recorder: Recorder) -> None:
    peer.send(store_bytes(7, data_set("1.2.9"), instance="1.2.9", max_length=100))
    (performed,) = recorder.started
    assert (performed.message_id, performed.data, performed.command.affected_sop_instance) == (
        7,
        data_set("1.2.9"),
        "1.2.9",
    )
    assert peer.association.busy
    performed.answer()
    assert peer.statuses() == [0]
    assert not peer.association.busy


def test_one_byte_at_a_time(peer: Peer, recorder: Recorder) -> None:
    for byte in store_bytes(1, data_set()) + echo_bytes(2):
        peer.send(bytes([byte]))
    assert [performed.message_id for performed in recorder.all] == [1, 2]
    assert recorder.started[0].data == data_set()


def test_the_answer_keeps_within_the_peers_maximum_length(clock: Clock) -> None:
    recorder = Recorder(at_once=True)
    peer = Peer(acceptor(recorder, clock=clock))
    peer.associate(max_length=50)
    peer.send(echo_bytes())
    stream = peer.wire.value()
    assert peer.statuses() == [0]
    while stream:
        length = int.from_bytes(stream[2:6])
        assert length <= 50
        stream = stream[6 + length :]


def test_without_a_window_requests_are_performed_one_after_the_other(peer: Peer, recorder: Recorder) -> None:
    peer.send(b"".join(echo_bytes(number) for number in (1, 2, 3)))
    assert [performed.message_id for performed in recorder.started] == [1]
    recorder.started[0].answer()
    assert [performed.message_id for performed in recorder.started] == [1, 2]


def test_with_a_window_as_many_at_once_as_agreed(clock: Clock, recorder: Recorder) -> None:
    peer = connected(clock, recorder, window=(3, 1))
    peer.send(b"".join(echo_bytes(number) for number in range(1, 6)))
    assert [performed.message_id for performed in recorder.started] == [1, 2, 3]
    recorder.started[1].answer()
    assert [performed.message_id for performed in recorder.started] == [1, 2, 3, 4]


def test_the_same_message_id_twice_is_performed_one_after_the_other(clock: Clock, recorder: Recorder) -> None:
    peer = connected(clock, recorder, window=(4, 1))
    peer.send(echo_bytes(1) + echo_bytes(1))
    assert len(recorder.started) == 1
    recorder.started[0].answer()
    assert len(recorder.started) == 2


def test_a_peer_beyond_the_window_has_to_wait(peer: Peer, recorder: Recorder) -> None:
    peer.send(echo_bytes(1))
    peer.send(echo_bytes(2))
    assert peer.wire.producerState == "producing"
    peer.send(echo_bytes(3))
    assert peer.wire.producerState == "paused"
    while recorder.started[-1].message_id < 3:
        recorder.started[-1].answer()
    assert peer.wire.producerState == "producing"


def test_thousands_that_wait_are_no_deep_recursion(peer: Peer, recorder: Recorder) -> None:
    """One read can hold thousands of small requests; the first is slow, the others are answered at once."""
    peer.send(b"".join(echo_bytes(number) for number in range(1, 5_001)))
    recorder.at_once = True
    recorder.started[0].answer()
    assert len(recorder.started) == 5_000
    assert peer.statuses() == [0] * 5_000
    assert not peer.association.busy


def test_c_cancel_of_what_cannot_be_cancelled_is_let_pass(peer: Peer, recorder: Recorder) -> None:
    recorder.cancellable = False
    peer.send(echo_bytes(1) + message_bytes(ECHO_ID, requests.c_cancel_rq(1)))
    assert recorder.all[0].cancelled == []
    recorder.started[0].answer()
    assert peer.statuses() == [0]


def test_c_cancel_reaches_the_operation_wherever_it_is(peer: Peer, recorder: Recorder) -> None:
    peer.send(echo_bytes(1) + echo_bytes(2))
    peer.send(message_bytes(ECHO_ID, requests.c_cancel_rq(2)))
    peer.send(message_bytes(ECHO_ID, requests.c_cancel_rq(1)))
    peer.send(message_bytes(ECHO_ID, requests.c_cancel_rq(99)))  # too late: no error (PS3.7 §9.3.2.3)
    assert [performed.cancelled for performed in recorder.all] == [["C-CANCEL"], ["C-CANCEL"]]
    assert peer.pdus() == []


def test_without_a_performer_requests_are_not_recognized(clock: Clock) -> None:
    peer = connected(clock, None)
    peer.send(echo_bytes() + store_bytes(2))
    assert peer.statuses() == [0x0211, 0x0211]


@pytest.mark.parametrize("performer", [None, Recorder()])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {COMMAND_FIELD: 0x0030},
        {MESSAGE_ID: 1},
        {MESSAGE_ID: 1, COMMAND_DATA_SET_TYPE: 0x0001},
        {COMMAND_DATA_SET_TYPE: 0x0101},
    ],
)
def test_what_cannot_be_answered_aborts(clock: Clock, performer: Any, values: dict[int, Any]) -> None:
    peer = connected(clock, performer)
    peer.send(message_bytes(ECHO_ID, Command(values)))
    assert isinstance(peer.pdus()[0], Abort)


def test_a_response_to_nothing_is_passed_over(peer: Peer) -> None:
    from txdicom.dimse import messages

    response = messages.response(requests.c_echo_rq(9), 0)
    peer.send(message_bytes(ECHO_ID, response))
    assert peer.pdus() == []
    assert peer.association.established


@pytest.mark.parametrize(
    "stream",
    [
        pdata(99, COMMAND | LAST, b""),  # a context that was not accepted
        pdata(CT_ID, LAST, b"data"),  # a data set without a command set
        half_a_store() + echo_bytes(),  # another message amid one
        pdata(CT_ID, COMMAND, bytes(10_000)) * 7,  # an endless command set
        pdata(ECHO_ID, COMMAND | LAST, b"\0\0\0\0\xff\xff\xff\xff"),  # a command set that runs past its end
        b"\x04\x00\x00\x00\x50\x00" + b"\x00" * 6,  # longer than announced
        b"\x04\x00\x00\x00\x00\x08\x00\x00\x00\x10\x01\x03",  # a PDV longer than its PDU
    ],
)
def test_what_breaks_the_protocol_aborts(peer: Peer, stream: bytes) -> None:
    peer.send(stream)
    assert len(peer.pdus()) == 1
    assert peer.association.outcome.startswith("aborted: ")
    peer.send(echo_bytes())
    assert peer.pdus() == []


# -- a message cut short -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["lost", "abort", "our abort", "garbage", "idle", "release"])
def test_a_half_received_request_is_let_go_of(clock: Clock, recorder: Recorder, end: str) -> None:
    """Else its memory, its file and its descriptor would never be freed."""
    peer = connected(clock, recorder, client_timeout=300.0)
    peer.send(half_a_store())
    assert peer.association.receiving
    if end == "lost":
        peer.lose()
    elif end == "abort":
        peer.send(encode(Abort(0, 0)))
    elif end == "our abort":
        peer.association.abort("enough")
    elif end == "garbage":
        peer.send(b"\xff" * 10)
    elif end == "idle":
        clock.advance(300)
    else:
        peer.send(encode(ReleaseRQ()))
        assert [type(pdu) for pdu in peer.pdus()] == [ReleaseRP]
    assert [performed.dropped for performed in recorder.all] == [1]
    if not peer.association.lost:
        peer.lose()
    assert [performed.dropped for performed in recorder.all] == [1]
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("end", ["lost", "abort"])
def test_one_that_is_whole_but_not_in_place_is_let_go_of(peer: Peer, recorder: Recorder, end: str) -> None:
    recorder.in_place = False
    peer.send(store_bytes())
    assert peer.association.busy
    if end == "lost":
        peer.lose()
    else:
        peer.send(encode(Abort(0, 0)))
    assert recorder.all[0].dropped == 1
    assert recorder.started == []


def test_a_release_waits_for_one_that_is_whole_but_not_in_place(peer: Peer, recorder: Recorder) -> None:
    recorder.in_place = False
    peer.send(store_bytes() + encode(ReleaseRQ()))
    assert peer.pdus() == []
    peer.association.arrived(recorder.all[0])
    recorder.all[0].answer()
    assert peer.statuses() == [0]
    assert [type(pdu) for pdu in peer.pdus()] == [ReleaseRP]


def test_one_that_is_in_place_after_the_end_is_let_go_of(peer: Peer, recorder: Recorder) -> None:
    recorder.in_place = False
    peer.send(store_bytes())
    peer.association.abort("enough")
    peer.association.arrived(recorder.all[0])
    assert recorder.started == []
    assert recorder.all[0].dropped >= 1


# -- the end -----------------------------------------------------------------------------------------------------------


def test_release_is_answered_at_once_where_nothing_is_under_way(peer: Peer) -> None:
    peer.send(encode(ReleaseRQ()))
    assert [type(pdu) for pdu in peer.pdus()] == [ReleaseRP]
    assert peer.association.outcome == "released"
    assert peer.association.failure is None


def test_release_is_answered_after_what_was_asked_before(peer: Peer, recorder: Recorder) -> None:
    peer.send(echo_bytes(1) + echo_bytes(2) + encode(ReleaseRQ()))
    assert peer.pdus() == []
    recorder.started[0].answer()
    assert peer.pdus() == []
    recorder.started[1].answer()
    assert peer.statuses() == [0, 0]
    assert [type(pdu) for pdu in peer.pdus()] == [ReleaseRP]


def test_our_release(clock: Clock, peer: Peer) -> None:
    gone: list[Any] = []
    peer.association.release().addCallback(gone.append)
    assert [type(pdu) for pdu in peer.pdus()] == [ReleaseRQ]
    assert not peer.association.established
    peer.send(encode(ReleaseRP()))
    assert peer.wire.closed == "lose"
    peer.lose()
    assert gone == [None]
    assert clock.getDelayedCalls() == []


def test_our_release_that_is_not_answered(clock: Clock) -> None:
    peer = connected(clock, None, artim_timeout=30.0)
    peer.association.release()
    clock.advance(30)
    assert peer.wire.closed == "abort"
    assert "no answer to A-RELEASE-RQ" in peer.association.outcome


def test_release_collision(peer: Peer) -> None:
    """PS3.8 §7.2.2.7: the acceptor waits for the answer to its own before it gives one."""
    peer.association.release()
    peer.pdus()
    peer.send(encode(ReleaseRQ()))
    assert peer.pdus() == []
    assert peer.protocol.upper_layer.state == State.STA10
    peer.send(encode(ReleaseRP()))
    assert [type(pdu) for pdu in peer.pdus()] == [ReleaseRP]
    assert peer.protocol.upper_layer.state == State.STA13


def test_release_collision_that_goes_no_further(clock: Clock) -> None:
    """A peer that collides and then says nothing must not keep its slot for ever."""
    peer = connected(clock, None, artim_timeout=30.0, client_timeout=300.0, idle_action="release")
    clock.advance(300)
    assert [type(pdu) for pdu in peer.pdus()] == [ReleaseRQ]
    peer.send(encode(ReleaseRQ()))
    for _ in range(100):
        clock.advance(1)
    assert peer.wire.closed == "abort"


@pytest.mark.parametrize("how", ["lost", "abort", "our abort", "hang up", "give up", "garbage"])
def test_the_end_stops_everything_under_way(clock: Clock, recorder: Recorder, how: str) -> None:
    peer = connected(clock, recorder)
    association = peer.association
    peer.send(echo_bytes(1) + echo_bytes(2))
    failures: list[Any] = []
    invoked = [SingleResponse(association, ECHO_ID, requests.c_echo_rq) for _ in range(3)]
    for invocation in invoked:
        invocation.result.addErrback(failures.append)
    quiet: list[Any] = []
    association.when_quiet().addCallback(quiet.append)
    if how == "lost":
        peer.lose()
    elif how == "abort":
        peer.send(encode(Abort(0, 0)))
    elif how == "garbage":
        peer.send(b"\xff" * 10)
    else:
        {"our abort": association.abort, "hang up": association.hang_up, "give up": association.give_up}[how]("why")
    assert len(failures) == 3
    assert all(failure.check(AssociationAborted) for failure in failures)
    assert recorder.all[0].cancelled
    if not association.lost:
        peer.lose()
    first, second = recorder.all
    assert (first.dropped, second.dropped) == (1, 1)
    assert recorder.started == [first]
    assert quiet == [None]
    assert clock.getDelayedCalls() == []


def test_what_waits_is_not_begun_for_a_peer_that_is_gone(clock: Clock) -> None:
    """The first is told of the end and answers; the second must not be started by that."""

    class Answering(Recorder):
        def perform(self, association: Any, context: Any, command: Command) -> Performed:
            performed = super().perform(association, context, command)
            performed.cancel = lambda why: performed.answer(0xC000)  # type: ignore[method-assign]
            return performed

    recorder = Answering()
    peer = connected(clock, recorder)
    peer.send(b"".join(echo_bytes(number) for number in range(1, 2_001)))
    peer.lose()
    assert [performed.message_id for performed in recorder.started] == [1]
    assert all(performed.dropped == 1 for performed in recorder.all[1:])


def test_ends_are_told_once(clock: Clock) -> None:
    made = acceptor(clock=clock)
    ended: list[Any] = []
    original = made.ended
    made.ended = lambda association: (ended.append(association), original(association))[1]  # type: ignore[method-assign]
    peer = Peer(made)
    peer.associate()
    peer.association.hang_up("one")
    peer.association.abort("two")
    peer.association.give_up("three")
    peer.lose()
    peer.association.abort("four")
    peer.association.give_up("five")
    assert len(ended) == 1
    assert peer.association.outcome == "one"


def test_nothing_can_be_asked_after_the_end(peer: Peer) -> None:
    peer.association.abort("enough")
    invocation = SingleResponse(peer.association, ECHO_ID, requests.c_echo_rq)
    failure: list[Any] = []
    invocation.result.addErrback(failure.append)
    assert failure[0].check(AssociationAborted)


def test_nothing_can_be_asked_before_the_beginning(clock: Clock) -> None:
    peer = Peer(acceptor(clock=clock))
    failure: list[Any] = []
    SingleResponse(peer.association, ECHO_ID, requests.c_echo_rq).result.addErrback(failure.append)
    assert failure[0].check(LocalProtocolError)


def test_what_the_peer_says_is_told_as_such(peer: Peer) -> None:
    peer.send(encode(Abort(2, 6)))
    assert peer.association.outcome == "aborted by the service provider: invalid PDU parameter value"
    assert isinstance(peer.association.failure, AssociationAborted)
    assert (peer.association.failure.source, peer.association.failure.reason) == (2, 6)


@pytest.mark.parametrize("state", ["half open", "established", "ended"])
def test_when_lost(clock: Clock, state: str) -> None:
    peer = Peer(acceptor(clock=clock))
    if state != "half open":
        peer.associate()
    if state == "ended":
        peer.lose()
    gone: list[Any] = []
    peer.association.when_lost().addCallback(gone.append)
    if state != "ended":
        assert gone == []
        peer.lose()
    assert gone == [None]


# -- idle --------------------------------------------------------------------------------------------------------------


def test_an_idle_association_is_aborted(clock: Clock) -> None:
    peer = connected(clock, Recorder(at_once=True), client_timeout=300.0)
    clock.advance(299)
    peer.send(echo_bytes())
    clock.advance(299)
    assert peer.association.established
    clock.advance(1)
    assert peer.pdus() == [Abort(0, 0)]
    assert peer.association.outcome == "idle for 300 s"


def test_an_operation_that_takes_long_is_not_idle(clock: Clock, recorder: Recorder) -> None:
    peer = connected(clock, recorder, client_timeout=300.0)
    peer.send(echo_bytes())
    clock.pump(itertools.repeat(100, 20))
    assert peer.association.established
    recorder.started[0].answer()
    clock.pump([299, 1, 300])
    assert not peer.association.established


def test_a_message_that_stalls_is_idle(clock: Clock, recorder: Recorder) -> None:
    peer = connected(clock, recorder, client_timeout=300.0, idle_action="release")
    peer.send(half_a_store())
    clock.advance(300)
    assert peer.pdus() == [Abort(0, 0)]


def test_an_idle_association_is_released_where_asked(clock: Clock) -> None:
    peer = connected(clock, None, client_timeout=300.0, idle_action="release")
    clock.advance(300)
    assert [type(pdu) for pdu in peer.pdus()] == [ReleaseRQ]


def test_no_idle_time_out(clock: Clock) -> None:
    peer = connected(clock, None, client_timeout=0.0)
    clock.advance(1e6)
    assert peer.association.established
    peer.lose()
