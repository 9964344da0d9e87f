"""txdicom.net.acceptor: limits, decisions, the drain."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from tests.net.wire import (
    ADDRESS,
    CONTEXTS,
    AcceptAll,
    Peer,
    Recorder,
    acceptor,
    associate_bytes,
    echo_bytes,
    store_bytes,
)
from txdicom.net.association import Association
from txdicom.pdu.encode import encode
from txdicom.pdu.types import Abort, AssociateAC, AssociateRJ, ReleaseRP, ReleaseRQ
from txdicom.ul import rejections


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logged() -> Any:
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


class Policy(AcceptAll):
    """Decides what it is told to."""

    def __init__(self, decision: Any) -> None:
        self.decision = decision

    def decide(self, association: Any, rq: Any) -> Any:
        if isinstance(self.decision, Exception):
            raise self.decision
        return self.decision if self.decision is not None else super().decide(association, rq)


# -- limits ------------------------------------------------------------------------------------------------------------


def test_half_open_pool_full() -> None:
    """The newcomer is closed without a PDU: in Sta2 none may be sent."""
    made = acceptor(max_half_open=2)
    first, _ = Peer(made), Peer(made)
    assert made.buildProtocol(ADDRESS) is None
    first.associate()
    Peer(made)
    assert made.buildProtocol(ADDRESS) is None


def test_a_flood_of_connections_does_not_fill_the_log_too() -> None:
    events: list[dict[str, Any]] = []
    globalLogPublisher.addObserver(events.append)
    try:
        made = acceptor(max_half_open=1)
        first = Peer(made)
        for _ in range(100):
            assert made.buildProtocol(ADDRESS) is None
        first.associate()
        Peer(made)
    finally:
        globalLogPublisher.removeObserver(events.append)
    warnings = [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]
    assert len(warnings) == 2
    assert "1 connections without an association already (max_half_open)" in warnings[0]
    assert warnings[1].startswith("100 connections were closed for max_half_open")


def test_a_connection_that_never_came_about_is_not_counted() -> None:
    """Where TLS cannot begin (a certificate that is broken), nobody tells of the end either."""
    made = acceptor(max_half_open=1)
    for _ in range(3):
        assert made.buildProtocol(ADDRESS) is not None
    assert (made.slots.half_open, made.associations) == (0, {})
    assert fired(made.drain()) == [None]


@pytest.mark.parametrize(
    "end", ["nothing", "half a request", "rejected", "accepted", "aborted", "released", "garbage", "cut off", "busy"]
)
def test_slots_are_free_again_on_every_path(clock: Clock, end: str) -> None:
    made = acceptor(Recorder(), clock=clock, max_clients=1, max_half_open=1)
    for _ in range(3):
        peer = Peer(made)
        assert made.buildProtocol(ADDRESS) is None
        if end == "half a request":
            peer.send(associate_bytes()[:50])
        elif end == "rejected":
            made.paused = True
            assert isinstance(peer.associate(), AssociateRJ)
            made.paused = False
        elif end == "garbage":
            peer.send(b"\xff" * 100)
        elif end != "nothing":
            assert isinstance(peer.associate(), AssociateAC)
            assert (made.slots.half_open, made.slots.clients) == (0, 1)
            if end == "aborted":
                peer.send(encode(Abort(0, 0)))
            elif end == "released":
                peer.send(encode(ReleaseRQ()))
            elif end == "cut off":
                peer.association.give_up("why")
            elif end == "busy":
                peer.send(store_bytes(1) + store_bytes(2)[:300])
        peer.lose()
        assert (made.slots.half_open, made.slots.clients, made.associations) == (0, 0, {})
        assert clock.getDelayedCalls() == []


def test_max_clients() -> None:
    made = acceptor(max_clients=2)
    peers = [Peer(made) for _ in range(3)]
    answers = [peer.associate() for peer in peers]
    assert [type(answer) for answer in answers] == [AssociateAC, AssociateAC, AssociateRJ]
    assert (answers[2].result, answers[2].source, answers[2].reason) == rejections.LOCAL_LIMIT
    peers[0].lose()
    assert isinstance(Peer(made).associate(), AssociateAC)


def test_max_clients_per_ae() -> None:
    made = acceptor(max_clients_per_ae=1)
    assert isinstance(Peer(made).associate(calling="A"), AssociateAC)
    assert isinstance(Peer(made).associate(calling="B"), AssociateAC)
    assert isinstance(Peer(made).associate(calling="A"), AssociateRJ)


def test_those_who_are_rejected_take_no_clients_slot() -> None:
    """Else callers with a wrong title who do not hang up would lock everybody out until ARTIM ends."""
    policy = Policy(rejections.CALLED_AE)
    made = acceptor(policy=policy, max_clients=1)
    for _ in range(5):
        assert isinstance(Peer(made).associate(), AssociateRJ)
    policy.decision = None
    assert isinstance(Peer(made).associate(), AssociateAC)


# -- decisions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [False, True])
def test_a_rejection(later: bool) -> None:
    made = acceptor(policy=Policy(succeed(rejections.CALLING_AE) if later else rejections.CALLING_AE))
    peer = Peer(made)
    answer = peer.associate()
    assert (answer.result, answer.source, answer.reason) == rejections.CALLING_AE
    assert "calling AE title" in peer.association.outcome
    assert made.total == 0


def test_a_decision_that_comes_later(clock: Clock) -> None:
    decision: Deferred[Any] = Deferred()
    made = acceptor(policy=Policy(decision), clock=clock)
    peer = Peer(made)
    peer.send(associate_bytes())
    assert peer.pdus() == []
    assert peer.association.request is not None
    decision.callback(AcceptAll().decide(peer.association, peer.association.request))
    assert isinstance(peer.pdus()[0], AssociateAC)
    peer.lose()
    assert clock.getDelayedCalls() == []


def test_a_decision_for_a_peer_that_is_gone(clock: Clock) -> None:
    decision: Deferred[Any] = Deferred()
    made = acceptor(policy=Policy(decision), clock=clock)
    peer = Peer(made)
    peer.send(associate_bytes())
    peer.lose()
    assert peer.association.request is not None
    decision.callback(AcceptAll().decide(peer.association, peer.association.request))
    assert made.slots.clients == 0
    assert clock.getDelayedCalls() == []


def test_a_decision_that_never_comes(clock: Clock) -> None:
    made = acceptor(policy=Policy(Deferred()), clock=clock, addin_timeout=300.0)
    peer = Peer(made)
    peer.send(associate_bytes())
    clock.advance(300)
    answer = peer.pdus()[0]
    assert (answer.result, answer.source, answer.reason) == rejections.NO_REASON


@pytest.mark.parametrize("later", [False, True])
def test_a_decision_that_fails(logged: list[LogEvent], later: bool) -> None:
    failure: Any = RuntimeError("a mistake")
    if later:
        decision: Deferred[Any] = Deferred()
        decision.errback(failure)
        failure = decision
    peer = Peer(acceptor(policy=Policy(failure)))
    answer = peer.associate()
    assert (answer.result, answer.source, answer.reason) == rejections.NO_REASON
    assert any("log_failure" in event for event in logged)


def test_a_pdu_while_the_decision_is_awaited(clock: Clock) -> None:
    """Sta3: what comes now aborts."""
    peer = Peer(acceptor(policy=Policy(Deferred()), clock=clock))
    peer.send(associate_bytes() + echo_bytes())
    assert isinstance(peer.pdus()[0], Abort)


@pytest.mark.parametrize("context_id", [0, 2, 3])
def test_a_request_that_breaks_the_rules_is_aborted(context_id: int) -> None:
    """A context id that is even, or that of another."""
    stream = associate_bytes(*CONTEXTS[:2])
    item = stream.index(b"\x20\x00", 74)
    peer = Peer(acceptor())
    peer.send(stream[: item + 4] + bytes([context_id]) + stream[item + 5 :])
    assert isinstance(peer.pdus()[0], Abort)


def test_titles_and_syntaxes_of_any_bytes_are_answered() -> None:
    """What is echoed in the answer came from the network."""
    stream = associate_bytes(called="CALLED", calling="CALLING")
    stream = stream.replace(b"CALLED ", b"\xff\x00\x1b\n\\\xe9 ", 1)
    uid = b"1.2.840.10008.1.2"
    stream = stream.replace(uid, b"\xff.\x80 \x00\x01\n".ljust(len(uid), b"\xff"))
    peer = Peer(acceptor())
    peer.send(stream)
    assert isinstance(peer.pdus()[0], AssociateAC)
    assert "\n" not in repr(peer.association)


def test_an_associate_request_in_single_bytes() -> None:
    peer = Peer(acceptor())
    for byte in associate_bytes():
        peer.send(bytes([byte]))
    assert isinstance(peer.pdus()[0], AssociateAC)


def lines(logged: list[LogEvent]) -> list[str]:
    return [formatEvent(event) for event in logged if event["log_namespace"] == "txdicom.net.acceptor"]


def test_a_rejected_one_is_told_with_whom_it_wanted(logged: list[LogEvent]) -> None:
    peer = Peer(acceptor(policy=Policy(rejections.CALLED_AE)))
    peer.associate(calling="MODALITY", called="WRONG")
    peer.lose()
    [line] = lines(logged)
    assert re.fullmatch(
        r"association \d+ of MODALITY at 192\.0\.2\.7:50000 to WRONG rejected permanently by the service user: "
        "called AE title not recognized",
        line,
    )
    assert logged[-1]["audit"] == "association-rejected"
    assert (logged[-1]["calling_ae"], logged[-1]["called_ae"]) == ("MODALITY", "WRONG")


def test_one_that_leaves_before_it_is_answered_was_not_rejected(clock: Clock, logged: list[LogEvent]) -> None:
    peer = Peer(acceptor(policy=Policy(Deferred()), clock=clock))
    peer.send(associate_bytes())
    peer.lose()
    assert "ended: " in lines(logged)[-1]
    assert logged[-1]["audit"] == "association-ended"


# -- limits that another process keeps ---------------------------------------------------------------------------------


class Elsewhere:
    """Slots that answer when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str]] = []
        self.answers: list[Deferred[Any]] = []
        self.here: set[int] = set()
        self.clients = 0

    def room_for(self, peer: Any) -> bool:
        return True

    def enter(self, number: int) -> None:
        self.here.add(number)

    def admit(self, number: int, calling_ae: str) -> Deferred[Any]:
        self.asked.append((number, calling_ae))
        self.answers.append(Deferred())
        return self.answers[-1]

    def leave(self, number: int) -> None:
        self.here.discard(number)


def with_slots_elsewhere(clock: Clock, **settings: Any) -> tuple[Any, Elsewhere]:
    made, slots = acceptor(Recorder(), clock=clock, **settings), Elsewhere()
    made.slots, made.number = slots, 77
    return made, slots


def test_numbers_are_given_or_follow_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Association, "numbers", count(1000))
    made = acceptor()
    assert [Peer(made).association.number for _ in range(2)] == [1000, 1001]
    made.number = 5
    assert Peer(made).association.number == 5


def test_a_slot_that_is_granted_later(clock: Clock) -> None:
    made, slots = with_slots_elsewhere(clock)
    peer = Peer(made)
    peer.send(associate_bytes(calling="A"))
    assert peer.association.number == 77
    assert (slots.asked, slots.here, peer.pdus()) == ([(77, "A")], {77}, [])
    slots.answers[0].callback(None)
    assert isinstance(peer.pdus()[0], AssociateAC)
    assert made.total == 1
    peer.lose()
    assert slots.here == set()
    assert clock.getDelayedCalls() == []


def test_a_slot_that_is_refused_later(clock: Clock) -> None:
    made, slots = with_slots_elsewhere(clock)
    peer = Peer(made)
    peer.send(associate_bytes())
    slots.answers[0].callback(rejections.LOCAL_LIMIT)
    answer = peer.pdus()[0]
    assert (answer.result, answer.source, answer.reason) == rejections.LOCAL_LIMIT
    assert made.total == 0


@pytest.mark.parametrize("end", ["lose", "cut"])
def test_who_leaves_while_the_slot_is_asked_for(clock: Clock, end: str) -> None:
    made, slots = with_slots_elsewhere(clock)
    peer = Peer(made)
    peer.send(associate_bytes())
    if end == "cut":
        peer.association.give_up("why")
    peer.lose()
    slots.answers[0].callback(None)
    assert (made.total, slots.here) == (0, set())
    assert clock.getDelayedCalls() == []


def test_a_slot_that_is_never_answered(clock: Clock) -> None:
    made, _ = with_slots_elsewhere(clock, addin_timeout=300.0)
    peer = Peer(made)
    peer.send(associate_bytes())
    clock.advance(300)
    answer = peer.pdus()[0]
    assert (answer.result, answer.source, answer.reason) == rejections.NO_REASON


@pytest.mark.parametrize("closing", ["paused", "draining"])
def test_a_slot_that_is_granted_when_it_is_too_late(clock: Clock, closing: str) -> None:
    """What began before must not be accepted during the drain, which would wait for it."""
    made, slots = with_slots_elsewhere(clock)
    peer = Peer(made)
    peer.send(associate_bytes())
    if closing == "paused":
        made.paused = True
    else:
        made.drain()
    slots.answers[0].callback(None)
    answer = peer.pdus()[0]
    assert (answer.result, answer.source, answer.reason) == rejections.TEMPORARY_CONGESTION
    peer.lose()


def test_a_decision_that_comes_during_the_drain(clock: Clock) -> None:
    decision: Deferred[Any] = Deferred()
    made = acceptor(policy=Policy(decision), clock=clock)
    peer = Peer(made)
    peer.send(associate_bytes())
    made.drain()
    assert peer.association.request is not None
    decision.callback(AcceptAll().decide(peer.association, peer.association.request))
    answer = peer.pdus()[0]
    assert (answer.result, answer.source, answer.reason) == rejections.TEMPORARY_CONGESTION
    assert made.slots.clients == 0
    peer.lose()


def test_what_ended_how_is_logged(logged: list[LogEvent]) -> None:
    made = acceptor()
    peer = Peer(made)
    peer.associate(calling="MODALITY")
    peer.send(encode(ReleaseRQ()))
    peer.lose()
    Peer(made).lose()
    texts = [
        event["log_format"].format(**event) for event in logged if event["log_namespace"] == "txdicom.net.acceptor"
    ]
    assert any("MODALITY at 192.0.2.7:50000" in text and "released" in text for text in texts)
    assert any("ended without an association" in text for text in texts)


# -- stopping ----------------------------------------------------------------------------------------------------------


def fired(deferred: Deferred[Any]) -> list[Any]:
    results: list[Any] = []
    deferred.addCallback(results.append)
    return results


def test_draining_nothing() -> None:
    assert fired(acceptor().drain()) == [None]


def test_newcomers_are_told_to_come_again(clock: Clock) -> None:
    made = acceptor(Recorder(), clock=clock)
    busy = Peer(made)
    busy.associate()
    busy.send(echo_bytes())
    done = fired(made.drain())
    newcomer = Peer(made)
    answer = newcomer.associate()
    assert (answer.result, answer.source, answer.reason) == rejections.TEMPORARY_CONGESTION
    assert done == []


def test_operations_finish_then_their_association_ends(clock: Clock) -> None:
    recorder = Recorder()
    made = acceptor(recorder, clock=clock)
    busy, idle, half_open = Peer(made), Peer(made), Peer(made)
    busy.associate()
    idle.associate()
    busy.send(echo_bytes())
    done = fired(made.drain())
    assert [type(pdu) for pdu in idle.pdus()] == [Abort]
    assert idle.wire.closed == "lose"
    assert half_open.wire.closed == "abort"
    assert half_open.wire.value() == b""
    assert busy.wire.closed == ""
    recorder.started[0].answer()
    assert busy.statuses() == [0]
    assert [type(pdu) for pdu in busy.pdus()] == [Abort]
    for peer in (busy, idle, half_open):
        peer.lose()
    assert done == [None]
    assert clock.getDelayedCalls() == []


def test_a_message_that_is_whole_but_not_in_place_is_waited_for(clock: Clock) -> None:
    """Its data are on their way to the disk: that is no idle association."""
    recorder = Recorder()
    recorder.in_place = False
    made = acceptor(recorder, clock=clock)
    peer = Peer(made)
    peer.associate()
    peer.send(store_bytes())
    made.drain()
    assert peer.wire.closed == ""
    peer.association.arrived(recorder.all[0])
    recorder.all[0].answer()
    assert peer.statuses() == [0]
    assert peer.wire.closed == "lose"


def test_a_release_during_the_drain(clock: Clock) -> None:
    recorder = Recorder()
    made = acceptor(recorder, clock=clock)
    peer = Peer(made)
    peer.associate()
    peer.send(echo_bytes())
    made.drain()
    peer.send(encode(ReleaseRQ()))
    recorder.started[0].answer()
    assert [type(pdu) for pdu in peer.pdus()] == [ReleaseRP]


def test_after_drain_timeout_the_rest_is_aborted(clock: Clock) -> None:
    made = acceptor(Recorder(), clock=clock, drain_timeout=30.0)
    peer = Peer(made)
    peer.associate()
    peer.send(echo_bytes())
    done = fired(made.drain())
    clock.advance(30)
    assert [type(pdu) for pdu in peer.pdus()] == [Abort]
    assert peer.wire.closed == "lose"
    clock.advance(1)
    assert peer.wire.closed == "abort"
    peer.lose()
    assert done == [None]
    assert clock.getDelayedCalls() == []


def test_those_who_come_and_come_do_not_keep_a_stop_from_ending(clock: Clock) -> None:
    made = acceptor(Recorder(), clock=clock, drain_timeout=30.0)
    peers = [Peer(made)]
    peers[0].associate()
    peers[0].send(echo_bytes())
    done = fired(made.drain())
    for _ in range(29):
        clock.advance(1)
        peers.append(Peer(made))
        peers[-1].associate()
    clock.advance(1)
    assert made.buildProtocol(ADDRESS) is None
    for peer in peers:
        assert peer.wire.closed
        peer.lose()
    assert done == [None]


def test_draining_twice(clock: Clock) -> None:
    """The operator is impatient."""
    made = acceptor(Recorder(), clock=clock)
    peer = Peer(made)
    peer.associate()
    peer.send(echo_bytes())
    first, second = fired(made.drain()), fired(made.drain())
    peer.lose()
    assert (first, second) == ([None], [None])
    assert clock.getDelayedCalls() == []


def test_close_ends_whoever_is_left(clock: Clock) -> None:
    made = acceptor(clock=clock)
    done = fired(made.drain())
    assert done == [None]
    late = Peer(made)
    late.associate()
    closed = fired(made.close())
    assert late.wire.closed == "abort"
    late.lose()
    assert closed == [None]
    assert made.buildProtocol(ADDRESS) is None


def test_paused() -> None:
    made = acceptor()
    made.paused = True
    answer = Peer(made).associate()
    assert (answer.result, answer.source, answer.reason) == rejections.TEMPORARY_CONGESTION
    made.paused = False
    assert isinstance(Peer(made).associate(), AssociateAC)
