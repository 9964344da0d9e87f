"""txdicom.net.observing: those who look on see everything, may change what is sent, and harm nobody."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import Dataset
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.net.wire import (
    ADDRESS,
    CONTEXTS,
    CT_ID,
    ECHO_ID,
    Peer,
    Wire,
    acceptor,
    associate_bytes,
    data_set,
    echo_bytes,
    message_bytes,
    pdata,
    store_bytes,
)
from tests.scp.hooked import Hooked
from tests.services.serving import Addin, EchoAddin, NormalizedAddin, StoreAddin
from txdicom.dimse import messages, requests
from txdicom.dimse.command import Command, CommandField
from txdicom.errors import AssociationAborted
from txdicom.interfaces import (
    Change,
    IDicomAddin,
    INotifyReceiveMessage,
    INotifySendMessage,
    MessageEvent,
    PDUEvent,
    Veto,
)
from txdicom.net.config import NetConfig
from txdicom.net.invocation import Responses, SingleResponse
from txdicom.net.observing import Observers
from txdicom.net.requestor import Requestor
from txdicom.net.sending import MemorySource
from txdicom.pdu.encode import encode
from txdicom.pdu.types import Abort, AssociateAC, AssociateRQ, ReleaseRP, ReleaseRQ
from txdicom.services.observed import ObservedDataSets

ERROR_COMMENT = 0x0902
STATUS = 0x0900


@implementer(IDicomAddin, INotifyReceiveMessage, INotifySendMessage)
class Onlooker(Addin):
    """Keeps every event; `before` answers `before_send`, `error` is raised by all of them."""

    name = "onlooker"

    def __init__(self, before: Any = None, error: BaseException | None = None) -> None:
        self.before, self.error = before, error
        self.events: list[Any] = []
        self.asked: list[Any] = []

    def message_received(self, event: Any) -> None:
        self.events.append(event)
        if self.error:
            raise self.error

    def before_send(self, event: Any) -> Any:
        self.asked.append(event)
        if self.error:
            raise self.error
        return self.before(event) if self.before else None

    def message_sent(self, event: Any) -> None:
        self.events.append(event)
        if self.error:
            raise self.error

    def seen(self) -> list[str]:
        """The events since the last call, in words."""
        events, self.events = self.events, []
        return [
            f"{event.direction} PDU {event.type}"
            if isinstance(event, PDUEvent)
            else f"{event.direction} {event.command.name} {event.size}"
            for event in events
        ]

    def messages(self) -> list[MessageEvent]:
        return [event for event in self.events if isinstance(event, MessageEvent)]


@pytest.fixture
def failures() -> Any:
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [event["log_failure"].value for event in events if event.get("log_failure")]
    globalLogPublisher.removeObserver(events.append)


def associated(*addins: Any, **settings: Any) -> Peer:
    peer = Hooked(*addins, **settings).peer()
    assert isinstance(peer.pdus()[0], AssociateAC)
    return peer


def raising(error: Exception) -> Any:
    def raise_it(event: Any) -> Any:
        raise error

    return raise_it


# what is seen


def test_every_pdu_and_message_of_an_association() -> None:
    onlooker = Onlooker()
    peer = associated(EchoAddin(), onlooker)
    assert onlooker.seen() == ["received PDU 1", "sent PDU 2"]
    peer.send(echo_bytes())
    assert onlooker.seen() == ["received PDU 4", "received C-ECHO-RQ None", "sent PDU 4", "sent C-ECHO-RSP None"]
    peer.send(encode(ReleaseRQ()))
    assert onlooker.seen() == ["received PDU 5", "sent PDU 6"]


def test_what_a_pdu_event_holds() -> None:
    onlooker = Onlooker()
    peer = Hooked(EchoAddin(), onlooker).peer()
    rq, ac = onlooker.events
    assert isinstance(rq.pdu, AssociateRQ)
    assert isinstance(ac.pdu, AssociateAC)
    assert rq.length == len(associate_bytes()) - 6
    assert rq.association is peer.association
    peer.send(pdata(ECHO_ID, 3, b""))
    assert (onlooker.events[2].type, onlooker.events[2].length, onlooker.events[2].pdu) == (4, 6, None)


def test_refused_and_aborted_ones_are_seen_too() -> None:
    onlooker = Onlooker()
    made = Hooked(EchoAddin(), onlooker)
    made.acceptor.paused = True
    made.peer()
    assert onlooker.seen() == ["received PDU 1", "sent PDU 3"]
    Peer(made.acceptor).send(encode(Abort(0, 0)))
    assert onlooker.seen() == ["received PDU 7"]
    Peer(made.acceptor).send(b"\1\0\0\0\0\2ab")
    assert onlooker.seen() == ["received PDU 1", "sent PDU 7"]
    Peer(made.acceptor).send(b"GET / HTTP/1.1")
    assert onlooker.seen() == ["sent PDU 7"]


def test_a_data_set_is_shown_without_its_pixels() -> None:
    onlooker = Onlooker()
    peer = associated(StoreAddin(), onlooker)
    data = data_set(pixels=50_000)
    peer.send(store_bytes(data=data))
    event, answer = onlooker.messages()
    assert (answer.direction, answer.size, answer.command.status) == ("sent", None, 0)
    assert (event.direction, event.size, event.context.context_id) == ("received", len(data), CT_ID)
    shown = event.dataset()
    assert shown.SOPInstanceUID == "1.2.3"
    assert "PixelData" not in shown
    assert event.command.affected_sop_instance == "1.2.3"


def test_with_its_pixels_where_the_operator_wants_it() -> None:
    onlooker = Onlooker()
    associated(StoreAddin(), onlooker, copy_pixel_data_to_observers=True).send(store_bytes(data=data_set(pixels=5000)))
    assert len(onlooker.messages()[0].dataset().PixelData) == 5000


def test_of_a_large_data_set_no_more_than_the_limit_is_kept() -> None:
    onlooker = Onlooker()
    peer = associated(StoreAddin(), onlooker)
    data = data_set(pixels=3_000_000)
    peer.send(message_bytes(CT_ID, requests.c_store_rq(1, "1.2", "1.2.3"), data))  # refused, and seen all the same
    event = onlooker.messages()[0]
    assert event.size == len(data)
    assert event.dataset().StudyInstanceUID == "1.2.3.4.5"


def test_a_message_without_a_data_set_has_none_to_show() -> None:
    onlooker = Onlooker()
    associated(EchoAddin(), onlooker).send(echo_bytes())
    assert [event.dataset() for event in onlooker.messages()] == [None, None]


def test_half_a_message_is_none() -> None:
    onlooker = Onlooker()
    peer = associated(StoreAddin(), onlooker)
    peer.send(store_bytes()[:-10])
    peer.lose()
    assert onlooker.messages() == []


def test_the_repr_of_an_event_has_no_data() -> None:
    onlooker = Onlooker()
    peer = associated(NormalizedAddin(), onlooker)
    dataset = Dataset()
    dataset.PatientName = "Doe^Jane"
    data = ObservedDataSets(pixel_data=False).write(dataset, CONTEXTS[2].transfer_syntaxes[0])
    peer.send(message_bytes(5, requests.n_create_rq(1, CONTEXTS[2].abstract_syntax, "1.2.3", data_set=True), data))
    assert onlooker.messages()[0].dataset().PatientName == "Doe^Jane"
    assert "Doe" not in repr(onlooker.events)


def test_nothing_is_put_between_where_nobody_looks_on() -> None:
    peer = associated(EchoAddin())
    names = ("message", "send_response", "send_request", "dataReceived")
    assert not {*names} & {*vars(peer.association), *vars(peer.protocol)}
    assert "_write" not in vars(peer.protocol._outbox)


def test_only_what_is_looked_at_is_led_past() -> None:
    @implementer(IDicomAddin, INotifyReceiveMessage)
    class Receiver(Addin):
        def message_received(self, event: Any) -> None:
            pass

    peer = associated(EchoAddin(), Receiver())
    assert "message" in vars(peer.association)
    assert "send_response" not in vars(peer.association)


# what an observer may do


def test_before_send_changes_a_response() -> None:
    onlooker = Onlooker(lambda event: Change({STATUS: 0x0122, ERROR_COMMENT: "changed"}))
    peer = associated(EchoAddin(), onlooker)
    peer.send(echo_bytes())
    ((_, command, _),) = peer.messages()
    assert (command.status, command.error_comment) == (0x0122, "changed")
    assert onlooker.messages()[-1].command == command


def test_an_element_can_be_left_out() -> None:
    peer = associated(EchoAddin(), Onlooker(lambda event: Change({0x0002: None})))
    peer.send(echo_bytes())
    assert peer.messages()[0].command.affected_sop_class is None


def test_each_is_shown_what_the_one_before_it_made() -> None:
    first, second = Onlooker(lambda event: Change({ERROR_COMMENT: "one"})), Onlooker()
    peer = associated(EchoAddin(), first, second)
    peer.send(echo_bytes())
    assert first.asked[0].command.error_comment is None
    assert second.asked[0].command.error_comment == "one"


@pytest.mark.parametrize("as_bytes", [True, False])
def test_before_send_changes_a_data_set(as_bytes: bool) -> None:
    dataset = Dataset()
    dataset.PatientID = "9"
    syntax = CONTEXTS[2].transfer_syntaxes[0]
    data = ObservedDataSets(pixel_data=False).write(dataset, syntax)

    def answer(request: Any) -> Any:
        mine = Dataset()
        mine.PatientID = "1"
        return 0, mine

    shown = []

    def before(event: MessageEvent) -> Change:
        shown.append(event.dataset().PatientID)
        return Change(dataset=data if as_bytes else dataset)

    peer = associated(NormalizedAddin(answer), Onlooker(before))
    peer.send(message_bytes(5, requests.n_get_rq(1, CONTEXTS[2].abstract_syntax, "1.2.3")))
    assert peer.messages()[0].data == data
    assert shown == ["1"]


WRONG = {
    "rubbish": 5,
    "message id": Change({0x0120: 9}),
    "command field": Change({0x0100: 0x8001}),
    "data set type": Change({0x0800: 1}),
    "no such element": Change({0x9999: 1}),
    "wrong type": Change({ERROR_COMMENT: 5}),
    "pending": Change({STATUS: 0xFF00}),
    "data set where there is none": Change(dataset=b"ab"),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_what_cannot_be_changed_goes_out_as_it_is(change: Any, failures: Any) -> None:
    peer = associated(EchoAddin(), Onlooker(lambda event: change))
    peer.send(echo_bytes())
    ((_, command, _),) = peer.messages()
    assert command == messages.response(requests.c_echo_rq(1), 0)
    assert len(failures()) == 1


@pytest.mark.parametrize("data", [b"", b"abc", 5])
def test_a_data_set_that_is_none(data: Any, failures: Any) -> None:
    dataset = Dataset()
    dataset.PatientID = "1"
    peer = associated(NormalizedAddin(lambda request: (0, dataset)), Onlooker(lambda event: Change(dataset=data)))
    peer.send(message_bytes(5, requests.n_get_rq(1, CONTEXTS[2].abstract_syntax, "1.2.3")))
    assert peer.messages()[0].data.endswith(b"1 ")
    assert len(failures()) == 1


def test_a_vetoed_response_becomes_a_failure() -> None:
    onlooker = Onlooker(raising(Veto("no")))
    peer = associated(EchoAddin(), StoreAddin(), NormalizedAddin(), onlooker)
    peer.send(echo_bytes(1))
    peer.send(store_bytes(2))
    peer.send(message_bytes(5, requests.n_create_rq(3, CONTEXTS[2].abstract_syntax, "1.2.3")))
    answers = peer.messages()
    assert answers[0].command.status == 0x0110
    assert answers[0].command.message_id_responded_to == 1
    assert answers[0].command.error_comment == "vetoed by an add-in"
    assert answers[-1].command.status == 0x0110
    assert answers[-1].command.affected_sop_instance == "1.2.3"


def test_an_observer_that_exits_harms_nobody(failures: Any) -> None:
    peer = associated(EchoAddin(), Onlooker(error=SystemExit("from a library that was written for commands")))
    peer.send(echo_bytes())
    assert peer.statuses() == [0]
    assert [type(one) for one in failures()] == [SystemExit]


def test_which_failure_a_veto_makes_of_a_c_store() -> None:
    made = acceptor()
    peer = Peer(made)
    peer.associate()
    observers = Observers((), (Onlooker(raising(Veto("no"))),), ObservedDataSets(pixel_data=False))
    observers.watch(peer.association)
    request = requests.c_store_rq(7, CONTEXTS[1].abstract_syntax, "1.2.3")
    peer.association.send_response(CT_ID, messages.response(request, 0))
    ((_, command, _),) = peer.messages()
    assert command.status == 0xC000
    find = requests.c_find_rq(8, CONTEXTS[1].abstract_syntax)
    pending = messages.response(find, 0xFF00, data_set=True)
    peer.association.send_response(CT_ID, pending, b"\x10\0\x20\0LO\2\x001 ")
    peer.association.send_cancel(CT_ID, requests.c_cancel_rq(1))
    assert peer.messages() == []


def test_nothing_is_asked_about_what_cannot_be_sent_any_more() -> None:
    onlooker = Onlooker()
    peer = associated(EchoAddin(lambda request: wait), onlooker)
    wait: Deferred[int] = Deferred()
    peer.send(echo_bytes())
    peer.send(encode(Abort(0, 0)))
    peer.association.send_response(ECHO_ID, messages.response(requests.c_echo_rq(1), 0))
    assert onlooker.asked == []
    assert not any(event.direction == "sent" for event in onlooker.messages())
    wait.cancel()
    wait.addErrback(lambda _: None)


# failures


@pytest.mark.parametrize("error", [ValueError("mine"), RuntimeError("other")], ids=repr)
def test_one_that_raises_harms_nobody_and_is_logged_once(error: Exception, failures: Any) -> None:
    bad, good = Onlooker(error=error), Onlooker()
    made = Hooked(EchoAddin(), bad, good)
    for _ in range(2):
        peer = made.peer()
        peer.send(echo_bytes())
        peer.send(encode(ReleaseRQ()))
        assert [type(pdu) for pdu in peer.pdus()] == [AssociateAC, ReleaseRP]
        assert peer.statuses() == [0]
    assert failures() == [error]
    assert [event.command.name for event in good.messages()] == ["C-ECHO-RQ", "C-ECHO-RSP"] * 2
    bad.error = OSError("another kind")
    made.peer()
    assert failures() == [error, bad.error]


def test_a_coroutine_is_not_run(failures: Any) -> None:
    class Coroutines(Onlooker):
        async def message_received(self, event: Any) -> None:  # type: ignore[override]
            raise AssertionError

        async def before_send(self, event: Any) -> None:
            raise AssertionError

        message_sent = before_send  # type: ignore[assignment]

    peer = associated(EchoAddin(), Coroutines())
    peer.send(echo_bytes())
    assert peer.statuses() == [0]
    assert [type(one) for one in failures()] == [TypeError]


def test_a_veto_where_there_is_nothing_to_veto(failures: Any) -> None:
    onlooker = Onlooker()
    onlooker.message_received = onlooker.message_sent = raising(Veto("late"))  # type: ignore[method-assign]
    peer = associated(EchoAddin(), onlooker)
    peer.send(echo_bytes())
    assert peer.statuses() == [0]
    assert [type(one) for one in failures()] == [Veto]


# the requestor's side


class Endpoint:
    """Connects to a `Wire`."""

    def __init__(self) -> None:
        self.wire = Wire()

    def connect(self, factory: Any) -> Deferred[Any]:
        self.protocol = factory.buildProtocol(ADDRESS)
        self.protocol.makeConnection(self.wire)
        done: Deferred[Any] = Deferred()
        done.callback(self.protocol)
        return done


class Requesting:
    """An established association of ours to a peer made of bytes, that `onlooker` looks at."""

    def __init__(self, onlooker: Any) -> None:
        from twisted.internet.task import Clock

        self.endpoint = Endpoint()
        observers = Observers((onlooker,), (onlooker,), ObservedDataSets(pixel_data=False))
        endpoint: Any = self.endpoint
        requestor = Requestor(endpoint, NetConfig(), Clock(), peer_name="peer", observers=observers)
        results: list[Any] = []
        requestor.request("ME", "PEER", CONTEXTS).addBoth(results.append)
        self.other = Peer(acceptor(policy=None))
        self.exchange()
        (self.association,) = results

    def exchange(self) -> None:
        """What was written goes to the other side, and its answers back."""
        data = self.endpoint.wire.value()
        self.endpoint.wire.clear()
        self.other.send(data)
        answer = self.other.wire.value()
        self.other.wire.clear()
        self.endpoint.protocol.dataReceived(answer)

    def sent(self) -> bytes:
        data = self.endpoint.wire.value()
        self.endpoint.wire.clear()
        return data

    def end(self) -> None:
        self.endpoint.protocol.connectionLost(Failure(ConnectionError()))
        self.other.lose()


def test_the_requesting_side_is_seen_from_its_first_pdu() -> None:
    onlooker = Onlooker()
    made = Requesting(onlooker)
    assert onlooker.seen() == ["sent PDU 1", "received PDU 2"]
    result = SingleResponse(made.association, ECHO_ID, requests.c_echo_rq).result
    assert onlooker.seen() == ["sent PDU 4", "sent C-ECHO-RQ None"]
    assert len(made.sent()) > 6
    answer = messages.response(requests.c_echo_rq(1), 0)
    made.endpoint.protocol.dataReceived(message_bytes(ECHO_ID, answer))
    assert onlooker.seen() == ["received PDU 4", "received C-ECHO-RSP None"]
    assert result.result == (answer, b"")  # type: ignore[attr-defined]
    made.end()


def test_a_request_is_changed() -> None:
    made = Requesting(Onlooker(lambda event: Change({0x0700: 1}, dataset=b"\x10\0\x20\0LO\2\x009 ")))

    def build(message_id: int) -> Command:
        return requests.c_store_rq(message_id, CONTEXTS[1].abstract_syntax, "1.2.3")

    invocation = SingleResponse(made.association, CT_ID, build, data_set())
    invocation.result.addErrback(lambda _: None)
    peer = Peer(acceptor())
    peer.associate()
    peer._reader.feed(made.sent())
    ((_, command, data),) = peer._reader.messages
    assert (command.priority, data) == (1, b"\x10\0\x20\0LO\2\x009 ")
    made.end()


def test_a_vetoed_request_fails_and_the_association_lives_on() -> None:
    onlooker = Onlooker(raising(Veto("not this one")))
    made = Requesting(onlooker)
    failed: list[Any] = []
    SingleResponse(made.association, ECHO_ID, requests.c_echo_rq).result.addErrback(failed.append)
    assert failed[0].check(Veto)
    assert made.sent() == b""
    assert made.association.established
    assert not made.association.busy
    onlooker.before = None
    SingleResponse(made.association, ECHO_ID, requests.c_echo_rq).result.addErrback(failed.append)
    assert made.sent()
    made.end()
    assert failed[1].check(AssociationAborted)


def test_a_vetoed_request_closes_its_source() -> None:
    closed = []

    class Source(MemorySource):
        def close(self) -> None:
            closed.append(True)

    made = Requesting(Onlooker(raising(Veto("no"))))
    result = SingleResponse(made.association, CT_ID, _store, Source(data_set())).result
    result.addErrback(lambda failure: failure.trap(Veto) and None)
    assert closed == [True]
    made.end()


def _store(message_id: int) -> Command:
    return requests.c_store_rq(message_id, CONTEXTS[1].abstract_syntax, "1.2.3")


class Streamed(MemorySource):
    """One that cannot be told to be in memory."""


def test_a_data_set_in_memory_is_changed_though_it_waits_for_the_peer() -> None:
    made = Requesting(Onlooker(lambda event: Change(dataset=b"ab")))
    received = Peer(acceptor())
    received.associate()
    SingleResponse(made.association, CT_ID, _store, MemorySource(data_set())).result.addErrback(lambda _: None)
    received._reader.feed(made.sent())
    assert received._reader.messages.pop().data == b"ab"
    made.end()


def test_a_pending_response_that_waits_for_the_peer_can_be_vetoed() -> None:
    made = Requesting(Onlooker(raising(Veto("not this one"))))
    asked = requests.c_find_rq(1, CONTEXTS[1].abstract_syntax)
    response = messages.response(asked, 0xFF00, data_set=True)
    ended: list[Any] = []
    made.association.send_request(CT_ID, response, MemorySource(data_set()), ended.append)
    assert ended == [None]
    assert made.sent() == b""
    made.end()


def test_of_a_streamed_data_set_only_the_command_can_change(failures: Any) -> None:
    changes = [Change({0x0700: 2}), Change({0x0700: 1}, dataset=b"ab")]
    onlooker = Onlooker(lambda event: changes.pop(0))
    made = Requesting(onlooker)
    data = data_set(pixels=100_000)
    received = Peer(acceptor())
    received.associate()
    for priority in (2, 0):
        result = SingleResponse(made.association, CT_ID, _store, Streamed(data)).result
        result.addErrback(lambda _: None)
        received._reader.feed(made.sent())
        message = received._reader.messages.pop()
        assert (message.command.priority, message.data) == (priority, data)
        answer = messages.response(_store(message.command.message_id), 0)  # type: ignore[arg-type]
        made.endpoint.protocol.dataReceived(message_bytes(CT_ID, answer))
    assert len(failures()) == 1
    event = onlooker.messages()[0]
    assert (event.direction, event.size, event.dataset()) == ("sent", len(data), None)
    pdus = [one for one in onlooker.events if isinstance(one, PDUEvent) and one.type == 4 and one.direction == "sent"]
    assert sum(one.length for one in pdus) > 2 * len(data)
    made.end()


def test_a_message_that_could_not_be_sent_is_not_told_as_sent() -> None:
    class Broken(MemorySource):
        def read_into(self, holes: Any) -> int:
            raise OSError("gone")

    onlooker = Onlooker()
    made = Requesting(onlooker)
    result = SingleResponse(made.association, CT_ID, _store, Broken(data_set())).result
    failed: list[Any] = []
    result.addErrback(failed.append)
    assert len(failed) == 1
    assert onlooker.messages() == []
    made.end()


def test_a_cancel_can_be_vetoed() -> None:
    def before(event: MessageEvent) -> None:
        if event.command.command_field == CommandField.C_CANCEL_RQ:
            raise Veto("go on")

    made = Requesting(Onlooker(before))
    responses = Responses(
        made.association, CT_ID, lambda number: requests.c_find_rq(number, CONTEXTS[1].abstract_syntax)
    )
    made.sent()
    responses.abandon()
    assert made.sent() == b""
    made.end()
