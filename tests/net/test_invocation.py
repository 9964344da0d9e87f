"""txdicom.net.invocation: requests of this side, one response or many."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from tests.net.wire import CT, CT_ID, ECHO_ID, Message, Peer, acceptor, message_bytes
from txdicom.dimse import messages, requests
from txdicom.dimse.command import NO_DATA_SET, Command, CommandField
from txdicom.dimse.elements import COMMAND_DATA_SET_TYPE, COMMAND_FIELD, STATUS
from txdicom.errors import AssociationAborted, DicomError, DimseTimeout
from txdicom.net.invocation import MAX_RESPONSE, Responses, SingleResponse
from txdicom.pdu.encode import encode
from txdicom.pdu.types import Abort, ReleaseRP, ReleaseRQ

if TYPE_CHECKING:
    from collections.abc import Callable


class Made:
    """An association in memory whose other end answers by hand."""

    def __init__(self, *, window: tuple[int, int] | None = None, **settings: Any) -> None:
        self.clock = Clock()
        self.peer = Peer(acceptor(clock=self.clock, **settings))
        self.peer.associate(window=window)
        self.association = self.peer.association

    def echo(self, **arguments: Any) -> tuple[SingleResponse, list[Any]]:
        invocation = SingleResponse(self.association, ECHO_ID, requests.c_echo_rq, **arguments)
        return invocation, results(invocation.result)

    def find(self, **arguments: Any) -> Responses:
        return Responses(
            self.association, CT_ID, lambda number: requests.c_find_rq(number, CT), b"identifier", **arguments
        )

    def asked(self) -> list[Message]:
        return self.peer.messages()

    def answer(self, request: Command, status: int = 0, data: bytes | None = None, context_id: int = ECHO_ID) -> None:
        self.peer.send(message_bytes(context_id, messages.response(request, status, data_set=data is not None), data))


def results(deferred: Deferred[Any]) -> list[Any]:
    got: list[Any] = []
    deferred.addBoth(got.append)
    return got


def run(coroutine: Any) -> list[Any]:
    return results(Deferred.fromCoroutine(coroutine))


@pytest.fixture
def made() -> Made:
    return Made()


# -- one response ------------------------------------------------------------------------------------------------------


def test_one_response(made: Made) -> None:
    _, got = made.echo()
    (request,) = made.asked()
    assert got == []
    assert made.association.busy
    made.answer(request.command)
    ((command, data),) = got
    assert (command.command_field, command.status, data) == (CommandField.C_ECHO_RSP, 0, b"")
    assert not made.association.busy
    assert set(made.association.protocol.deadlines._due) == {"idle"}


def test_a_response_with_a_data_set(made: Made) -> None:
    got = results(SingleResponse(made.association, CT_ID, lambda number: requests.n_get_rq(number, CT, "1.2.3")).result)
    (request,) = made.asked()
    made.answer(request.command, 0, b"attributes", CT_ID)
    assert got[0][1] == b"attributes"


def test_message_ids_differ_and_begin_at_one() -> None:
    made = Made(window=(1, 3))
    for _ in range(3):
        made.echo()
    assert [request.command.message_id for request in made.asked()] == [1, 2, 3]


def test_what_the_window_does_not_allow_waits_its_turn(made: Made) -> None:
    got = [made.echo()[1] for _ in range(3)]
    for number in range(3):
        (request,) = made.asked()
        made.answer(request.command)
        assert [bool(one) for one in got] == [True] * (number + 1) + [False] * (2 - number)
    assert made.asked() == []


def test_thousands_that_wait_and_fail_at_once_are_no_deep_recursion(made: Made) -> None:
    def broken(number: int) -> Command:
        raise ValueError("a mistake of the caller")

    _, first = made.echo()
    got = [results(SingleResponse(made.association, ECHO_ID, broken).result) for _ in range(3_000)]
    _, last = made.echo()
    made.answer(made.asked()[0].command)
    assert first
    assert all(one[0].check(ValueError) for one in got)
    made.answer(made.asked()[0].command)
    assert last[0][0].status == 0


def test_a_request_that_cannot_be_built_harms_only_itself(made: Made) -> None:
    source = Source(10)
    invocation = SingleResponse(
        made.association, CT_ID, lambda number: requests.c_store_rq(number, CT, "no uid"), source
    )
    (failure,) = results(invocation.result)
    assert failure.check(DicomError)
    assert source.closed == 1
    _, got = made.echo()
    made.answer(made.asked()[0].command)
    assert got[0][0].status == 0


def test_no_response_in_time() -> None:
    made = Made(dimse_timeout=30.0)
    _, got = made.echo()
    waits = made.echo()[1]
    made.clock.advance(30)
    assert got[0].check(DimseTimeout)
    assert waits[0].check(AssociationAborted)
    assert made.peer.pdus() == [Abort(0, 0)]
    made.peer.lose()
    assert made.clock.getDelayedCalls() == []


def test_a_time_out_of_its_own(made: Made) -> None:
    _, got = made.echo(timeout=2.0)
    made.clock.advance(2)
    assert got[0].check(DimseTimeout)


def test_no_time_out(made: Made) -> None:
    _, got = made.echo(timeout=0)
    made.clock.pump(itertools.repeat(100, 20))
    assert got == []
    made.answer(made.asked()[0].command)
    assert got[0][0].status == 0


def test_the_response_that_beats_its_timer_leaves_none(made: Made) -> None:
    _, got = made.echo(timeout=30.0)
    made.clock.advance(29.999)
    made.answer(made.asked()[0].command)
    made.clock.advance(1)
    assert got[0][0].status == 0
    assert made.association.established


def test_the_time_begins_when_the_request_is_sent(made: Made) -> None:
    """One that waits for the window is not late yet."""
    made.echo(timeout=0)
    _, second = made.echo(timeout=10.0)
    made.clock.advance(100)
    (request,) = made.asked()
    made.answer(request.command)
    made.clock.advance(9)
    (request,) = made.asked()
    made.answer(request.command)
    assert second[0][0].status == 0


def test_cancelling_one_that_waits_withdraws_it(made: Made) -> None:
    made.echo()
    second, got = made.echo()
    second.result.cancel()
    assert got[0].check(CancelledError)
    (request,) = made.asked()
    made.answer(request.command)
    assert made.asked() == []


def test_cancelling_one_that_is_sent_does_not_harm_the_next(made: Made) -> None:
    first, got = made.echo()
    first.result.cancel()
    assert got[0].check(CancelledError)
    _, second = made.echo()
    (request,) = made.asked()
    made.answer(request.command)
    (request,) = made.asked()
    assert request.command.command_field == CommandField.C_ECHO_RQ
    made.answer(request.command)
    assert second[0][0].status == 0


def test_a_response_without_a_status_is_told_by_status_of(made: Made) -> None:
    _, got = made.echo()
    (request,) = made.asked()
    response = messages.response(request.command, 0)
    del response.values[STATUS]
    made.peer.send(message_bytes(ECHO_ID, response))
    with pytest.raises(DicomError, match="without Status"):
        messages.status_of(got[0][0])


@pytest.mark.parametrize("message_id", [None, 999])
def test_a_response_with_a_wrong_message_id_is_that_of_the_only_request(made: Made, message_id: int | None) -> None:
    from txdicom.dimse.elements import MESSAGE_ID_BEING_RESPONDED_TO

    _, got = made.echo()
    response = messages.response(made.asked()[0].command, 0)
    del response.values[MESSAGE_ID_BEING_RESPONDED_TO]
    if message_id is not None:
        response.values[MESSAGE_ID_BEING_RESPONDED_TO] = message_id
    made.peer.send(message_bytes(ECHO_ID, response))
    assert got[0][0].status == 0


def test_a_pending_response_where_none_can_be_is_passed_over(made: Made) -> None:
    _, got = made.echo()
    (request,) = made.asked()
    response = messages.response(request.command, 0)
    response.values[STATUS] = 0xFF00
    made.peer.send(message_bytes(ECHO_ID, response))
    assert got == []
    made.answer(request.command)
    assert got[0][0].status == 0


def test_an_endless_data_set_of_a_response_aborts(made: Made) -> None:
    _, got = made.echo()
    (request,) = made.asked()
    response = Command(messages.response(request.command, 0).values | {COMMAND_DATA_SET_TYPE: 1})
    stream = message_bytes(ECHO_ID, response, bytes(MAX_RESPONSE + 1))
    made.peer.send(stream)
    assert isinstance(made.peer.pdus()[0], Abort)
    assert got[0].check(AssociationAborted)


def test_a_data_set_in_single_bytes_costs_no_more(made: Made) -> None:
    from tests.net.wire import pdata

    _, got = made.echo()
    (request,) = made.asked()
    response = Command(messages.response(request.command, 0).values | {COMMAND_DATA_SET_TYPE: 1})
    made.peer.send(message_bytes(ECHO_ID, response) + pdata(ECHO_ID, 0, b"x") * 1_000 + pdata(ECHO_ID, 0, b"") * 1_000)
    made.peer.send(pdata(ECHO_ID, 2, b""))
    assert got[0][1] == b"x" * 1_000


def test_the_peer_releases_before_it_answers(made: Made) -> None:
    _, got = made.echo()
    made.peer.send(encode(ReleaseRQ()))
    assert got[0].check(AssociationAborted)
    assert "released" in got[0].getErrorMessage()
    assert [type(pdu) for pdu in made.peer.pdus()] == [ReleaseRP]


# -- data sets from a source -------------------------------------------------------------------------------------------


class Source:
    """Gives `size` bytes, or fails after `good` of them."""

    def __init__(self, size: int, good: int | None = None) -> None:
        self.size = size
        self.left = size if good is None else good
        self.closed = 0

    def read_into(self, holes: list[memoryview]) -> int:
        if not self.left:
            raise OSError(5, "Input/output error")
        count = min(self.left, sum(map(len, holes)))
        self.left -= count
        return count

    def close(self) -> None:
        self.closed += 1


def store(made: Made, source: Any, **arguments: Any) -> list[Any]:
    build: Callable[[int], Command] = lambda number: requests.c_store_rq(number, CT, "1.2.3")  # noqa: E731
    return results(SingleResponse(made.association, CT_ID, build, source, **arguments).result)


def test_a_source_is_sent_and_closed(made: Made) -> None:
    source = Source(100_000)
    got = store(made, source)
    (request,) = made.asked()
    assert len(request.data) == 100_000
    assert source.closed == 1
    made.answer(request.command, 0, None, CT_ID)
    assert got[0][0].status == 0


def test_a_source_that_cannot_be_read_harms_only_its_request(made: Made) -> None:
    source = Source(100_000, 0)
    got = store(made, source)
    assert got[0].check(DicomError)
    assert "could not be read" in got[0].getErrorMessage()
    assert source.closed == 1
    assert made.asked() == []
    _, echoed = made.echo()
    made.answer(made.asked()[0].command)
    assert echoed[0][0].status == 0


def test_a_source_that_breaks_off_aborts(made: Made) -> None:
    """Half a message is out: nothing sensible can follow it."""
    got = store(made, Source(1_000_000, 200_000))
    assert "could not be read to its end" in got[0].getErrorMessage()
    assert not made.association.established
    data = made.peer.wire.value()
    assert data.endswith(encode(Abort(0, 0)))


@pytest.mark.parametrize("how", ["abort", "give up", "lost", "peer aborts", "dimse time-out", "peer releases"])
def test_the_end_amid_a_long_data_set(made: Made, how: str) -> None:
    """Every end closes the source and is told by its own name."""
    source = Source(500_000_000)
    got = store(made, source)
    behind = Source(10)
    second = store(made, behind)
    association = made.association
    assert made.clock.getDelayedCalls()
    if how == "abort":
        association.abort("enough")
    elif how == "give up":
        association.give_up("enough")
        assert made.peer.wire.closed == "abort"
    elif how == "peer aborts":
        made.peer.send(encode(Abort(0, 0)))
    elif how == "peer releases":
        made.peer.send(encode(ReleaseRQ()))
    elif how == "dimse time-out":
        made.peer.wire.producer.pauseProducing()
        made.clock.pump(itertools.repeat(10, 20))  # the write time-out does it
        assert made.peer.wire.closed == "abort"
    if not association.lost:
        made.peer.lose()
    assert got[0].check(AssociationAborted), got[0]
    assert second[0].check(AssociationAborted)
    assert (source.closed, behind.closed) == (1, 1)
    assert made.clock.getDelayedCalls() == []


# -- many responses ----------------------------------------------------------------------------------------------------


def test_all_responses_in_order_the_final_one_included(made: Made) -> None:
    responses = made.find()

    async def read() -> list[Any]:
        return [(command.status, data) async for command, data in responses]

    got = run(read())
    (request,) = made.asked()
    assert request.data == b"identifier"
    made.answer(request.command, 0xFF00, b"one", CT_ID)
    made.answer(request.command, 0xFF01, b"two", CT_ID)
    made.answer(request.command, 0, None, CT_ID)
    assert got == [[(0xFF00, b"one"), (0xFF01, b"two"), (0, b"")]]
    assert not made.association.busy


def test_each_response_gives_the_peer_the_time_again() -> None:
    made = Made(dimse_timeout=30.0)
    responses = made.find()
    (request,) = made.asked()
    for _ in range(5):
        made.clock.advance(29)
        made.answer(request.command, 0xFF00, b"one", CT_ID)
    made.clock.advance(30)

    async def read() -> list[Any]:
        return [command.status async for command, _ in responses]

    got = run(read())
    assert got[0].check(DimseTimeout)  # after the five that had come


def test_what_had_come_is_read_before_the_error(made: Made) -> None:
    responses = made.find()
    (request,) = made.asked()
    made.answer(request.command, 0xFF00, b"one", CT_ID)
    made.peer.lose()
    seen = []

    async def read() -> None:
        async for _, data in responses:
            seen.append(data)

    got = run(read())
    assert seen == [b"one"]
    assert got[0].check(AssociationAborted)
    assert run(read()) == [None]  # told once


def test_leaving_early_cancels_and_waits_for_the_end(made: Made) -> None:
    responses = made.find()
    (request,) = made.asked()
    made.answer(request.command, 0xFF00, b"one", CT_ID)

    async def read() -> None:
        async for _ in responses:
            break
        await responses.aclose()

    got = run(read())
    (cancel,) = made.asked()
    assert cancel.command.command_field == CommandField.C_CANCEL_RQ
    assert cancel.command.message_id_responded_to == request.command.message_id
    made.answer(request.command, 0xFF00, b"late", CT_ID)
    assert got == []
    made.answer(request.command, 0xFE00, None, CT_ID)
    assert got == [None]
    assert run(responses.aclose()) == [None]
    assert made.association.established
    assert set(made.association.protocol.deadlines._due) == {"idle"}


def test_a_cancel_that_is_not_heeded_ends_by_the_time_out() -> None:
    made = Made(dimse_timeout=30.0)
    responses = made.find()
    got = run(responses.aclose())
    made.clock.advance(30)
    assert got == [None]
    assert not made.association.established


def test_closing_one_that_still_waits_for_the_window(made: Made) -> None:
    made.echo()
    responses = made.find()
    assert run(responses.aclose()) == [None]
    made.answer(made.asked()[0].command)
    assert made.asked() == []


def test_a_reader_that_is_behind_pauses_the_peer(made: Made) -> None:
    responses = made.find(timeout=30.0)
    (request,) = made.asked()
    sent = 0
    while made.peer.wire.producerState == "producing":
        made.answer(request.command, 0xFF00, b"x", CT_ID)
        sent += 1
        assert sent < 10_000
    made.clock.advance(100)  # the wait is for the reader now
    assert made.association.established

    async def read() -> int:
        count = 0
        async for _ in responses:
            count += 1
        return count

    got = run(read())
    assert made.peer.wire.producerState == "producing"
    made.answer(request.command, 0, None, CT_ID)
    assert got == [sent + 1]


def test_a_response_after_the_final_one_is_passed_over(made: Made) -> None:
    responses = made.find()
    (request,) = made.asked()
    made.answer(request.command, 0, None, CT_ID)
    made.answer(request.command, 0, None, CT_ID)
    made.peer.send(
        message_bytes(ECHO_ID, Command({COMMAND_FIELD: 0x8020, COMMAND_DATA_SET_TYPE: NO_DATA_SET, STATUS: 0}))
    )

    async def read() -> int:
        return len([one async for one in responses])

    assert run(read()) == [1]
    assert made.association.established


def test_when_quiet(made: Made) -> None:
    assert results(made.association.when_quiet()) == [None]
    made.echo()
    made.echo()
    quiet = results(made.association.when_quiet())
    made.answer(made.asked()[0].command)
    assert quiet == []
    made.answer(made.asked()[0].command)
    assert quiet == [None]
