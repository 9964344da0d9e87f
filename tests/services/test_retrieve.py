"""txdicom.services.retrieve: the sub-operations of C-GET and C-MOVE, what is counted, and what is answered."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import capturedLogs

from tests.net.wire import CT, Peer, data_set, message_bytes
from tests.services.querying import (
    CONTEXTS,
    CT_ID,
    ECHO_ID,
    GET_ID,
    MOVE_ID,
    Destination,
    Querying,
    cancel_bytes,
    counters,
    failed_uids,
    get_bytes,
    move_bytes,
    read,
)
from tests.services.serving import Serving, StoreAddin
from txdicom.dimse import messages, requests
from txdicom.dimse.command import CommandField
from txdicom.dimse.status import Status
from txdicom.errors import AssociationRejected, ConnectionFailed, NotFound, StatusError
from txdicom.interfaces import InstanceRef, Retrieval
from txdicom.pdu.encode import encode
from txdicom.pdu.types import Abort, PresentationContextRQ, ReleaseRP, ReleaseRQ
from txdicom.services import querying as module
from txdicom.services.suboperations import Tally
from txdicom.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.logger import LogEvent

    from tests.net.wire import Message

pytestmark = pytest.mark.usefixtures("unhurried")

MR = "1.2.840.10008.5.1.4.1.1.4"
JPEG = "1.2.840.10008.1.2.4.50"
PENDING, CANCEL = 0xFF00, 0xFE00


def instance(number: int, sop_class: str = CT, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN, **fields: Any) -> InstanceRef:
    uid = f"1.2.3.{number}"
    fields.setdefault("open", lambda: io.BytesIO(data_set(uid, sop_class=sop_class)))
    return InstanceRef(sop_class, uid, syntax, **fields)


def instances(count: int) -> list[InstanceRef]:
    return [instance(number) for number in range(1, count + 1)]


def of(found: Any) -> Callable[[Any], Any]:
    return lambda request: Retrieval(found)


class Getting:
    """A C-GET under way, seen from the peer, which answers the C-STOREs when the test says so."""

    def __init__(self, handler: Any, *, window: int = 1, **settings: Any) -> None:
        self.serving = Querying(handler, **settings)
        # the requestor says what it invokes and what it performs
        self.peer = self.serving.getting(window=(1, window) if window != 1 else None)
        self.peer.send(get_bytes(5))
        self.responses: list[Message] = []
        self.stores: list[Message] = []
        self.look()

    def look(self) -> None:
        for message in self.peer.messages():
            is_store = message.command.command_field == CommandField.C_STORE_RQ
            (self.stores if is_store else self.responses).append(message)

    def answer(self, status: int = 0) -> Message:
        """Answers the oldest C-STORE."""
        store = self.stores.pop(0)
        self.peer.send(message_bytes(store.context_id, messages.response(store.command, status)))
        self.look()
        return store

    def cancel(self) -> None:
        self.peer.send(cancel_bytes(5, GET_ID))
        self.look()

    @property
    def numbers(self) -> list[tuple[Any, ...]]:
        return [counters(message) for message in self.responses]

    def ended(self) -> None:
        """The association lives on; nothing is left of it when it ends."""
        assert self.peer.association.established
        assert not self.peer.association.busy
        self.peer.lose()
        assert self.serving.clean()


# -- C-GET -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [of, lambda found: lambda request: succeed(Retrieval(found)), "coroutine"],
    ids=["plain", "deferred", "async"],
)
def test_a_get(form: Any) -> None:
    async def coroutine(request: Any) -> Retrieval:
        await succeed(None)
        assert request.identifier.StudyInstanceUID == "1.2.3.1"
        return Retrieval(instances(3))

    getting = Getting(coroutine if form == "coroutine" else form(instances(3)))
    for number in (1, 2, 3):
        assert len(getting.stores) == 1
        store = getting.answer()
        assert store.context_id == CT_ID
        assert (store.command.affected_sop_class, store.command.affected_sop_instance) == (CT, f"1.2.3.{number}")
        assert store.command.priority == 1
        assert store.command.move_originator_ae is None
        assert store.data == data_set(f"1.2.3.{number}")
    assert getting.numbers == [
        (PENDING, 2, 1, 0, 0), (PENDING, 1, 2, 0, 0), (PENDING, 0, 3, 0, 0), (0, None, 3, 0, 0),
    ]  # fmt: skip
    assert not any(message.data for message in getting.responses)
    assert {message.command.message_id_responded_to for message in getting.responses} == {5}
    getting.ended()


def test_nothing_to_get() -> None:
    getting = Getting(of([]))
    assert getting.numbers == [(0, None, 0, 0, 0)]
    getting.ended()


@pytest.mark.parametrize(("window", "at_once"), [(1, 1), (3, 3), (0, 4)])  # the acceptor's policy allows 4
def test_as_many_at_once_as_the_window_allows(window: int, at_once: int) -> None:
    getting = Getting(of(instances(6)), window=window)
    assert len(getting.stores) == at_once
    getting.answer()
    assert len(getting.stores) == at_once
    while getting.stores:
        getting.answer()
    assert getting.numbers[-1] == (0, None, 6, 0, 0)
    getting.ended()


@pytest.mark.parametrize(
    ("statuses", "final", "failed"),
    [
        ([0, 0, 0], (0, None, 3, 0, 0), []),
        ([0, 0xA700, 0], (0xB000, None, 2, 1, 0), [2]),
        ([0, 0xB006, 0], (0xB000, None, 2, 0, 1), []),
        ([0xB000] * 3, (0xB000, None, 0, 0, 3), []),
        ([0xC000, 0xB000, 0xA900], (0xB000, None, 0, 2, 1), [1, 3]),
        ([0xC000, 0x0122, 0xA900], (0xA702, None, 0, 3, 0), [1, 2, 3]),
    ],
)
def test_the_final_status(statuses: list[int], final: tuple[Any, ...], failed: list[int]) -> None:
    """PS3.4 C.4.3.3.1."""
    getting = Getting(of(instances(3)))
    for status in statuses:
        getting.answer(status)
    assert getting.numbers[-1] == final
    assert failed_uids(getting.responses[-1]) == [f"1.2.3.{one}" for one in failed]
    if failed:
        assert list(read(getting.responses[-1].data).keys()) == [0x00080058]
    assert [one[0] for one in getting.numbers[:-1]] == [PENDING] * 3
    getting.ended()


def test_what_has_no_presentation_context_fails() -> None:
    """PS3.4 C.4.3.3.1; JPEG and implicit VR cannot go where explicit VR was agreed on."""
    found = [instance(1, MR), instance(2), instance(3, syntax=JPEG), instance(4, syntax=IMPLICIT_VR_LITTLE_ENDIAN)]
    getting = Getting(of(found))
    getting.answer()
    assert getting.numbers == [(PENDING, 2, 1, 1, 0), (0xB000, None, 1, 3, 0)]
    assert failed_uids(getting.responses[-1]) == ["1.2.3.1", "1.2.3.3", "1.2.3.4"]
    getting.ended()


def test_the_requestor_has_to_be_the_scp() -> None:
    serving = Querying(of(instances(2)))
    peer = serving.peer()  # without role selection
    peer.send(get_bytes())
    (message,) = peer.messages()
    assert counters(message) == (0xA702, None, 0, 2, 0)


def raises() -> Any:
    raise FileNotFoundError("gone")


async def later() -> bytes:
    await succeed(None)
    return data_set("1.2.3.2")


@pytest.mark.parametrize("broken", [raises, lambda: None, lambda: fail(OSError("disk"))])
def test_an_instance_that_cannot_be_opened(broken: Any, logged: list[LogEvent]) -> None:
    getting = Getting(of([instance(1, open=broken), instance(2, open=later)]))
    assert getting.answer().data == data_set("1.2.3.2")
    assert getting.numbers[-1] == (0xB000, None, 1, 1, 0)
    assert failed_uids(getting.responses[-1]) == ["1.2.3.1"]
    assert len(logged) == 1
    getting.ended()


def test_a_source_that_fails_before_its_first_byte() -> None:
    class Broken:
        size = 100_000
        closed = 0

        def read_into(self, holes: list[memoryview]) -> int:
            raise ValueError("no image of DOE^JOHN")

        def close(self) -> None:
            self.closed += 1

    broken = Broken()
    with capturedLogs() as events:
        getting = Getting(of([instance(1, open=lambda: broken), instance(2)]))
        getting.answer()
    assert getting.numbers[-1] == (0xB000, None, 1, 1, 0)
    assert broken.closed
    assert [event["why"] for event in events if "why" in event] == ["the data set could not be read: ValueError"]
    getting.ended()


@pytest.mark.parametrize("answer", [None, 0, [], instances(1), "1.2.3"], ids=lambda answer: type(answer).__name__)
def test_what_is_no_retrieval(answer: Any, logged: list[LogEvent]) -> None:
    getting = Getting(lambda request: answer)
    assert getting.numbers == [(0xC000, None, None, None, None)]
    assert len(logged) == 1
    getting.ended()


def test_another_status(logged: list[LogEvent]) -> None:
    def handler(request: Any) -> Any:
        raise StatusError(Status(0xA900, "no level"))

    getting = Getting(handler)
    assert getting.numbers == [(0xA900, None, None, None, None)]
    assert logged == []
    getting.ended()


def test_more_than_the_counters_hold() -> None:
    """US: 65,535 at most; the list of what failed is whole, as UN where a length of 16 bits is not enough."""
    getting = Getting(of([instance(number, MR) for number in range(70_000)]))
    assert getting.numbers == [(0xA702, None, 0, 65_535, 0)]
    data = getting.responses[0].data
    assert data[:6] == b"\x08\x00\x58\x00UN"
    assert data[12:].rstrip(b"\0").split(b"\\") == [b"1.2.3.%d" % number for number in range(70_000)]


@pytest.mark.parametrize("syntax", [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN])
@pytest.mark.parametrize("count", [1, 3, 20_000])
def test_the_list_of_what_failed(syntax: str, count: int) -> None:
    from pydicom.filereader import read_dataset

    tally = Tally(count)
    for number in range(count):
        tally.fail(f"1.2.{number}")
    dataset = read_dataset(
        io.BytesIO(tally.identifier(syntax)), syntax == IMPLICIT_VR_LITTLE_ENDIAN, syntax != EXPLICIT_VR_BIG_ENDIAN
    )
    element = dataset[0x00080058]
    if element.VR == "UN":
        assert element.value.rstrip(b"\0").split(b"\\") == [b"1.2.%d" % number for number in range(count)]
    else:
        assert failed_list(element.value) == [f"1.2.{number}" for number in range(count)]


def failed_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def test_a_pause_among_those_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN", 0.0)
    getting = Getting(of([instance(number, MR) for number in range(20)]))
    assert getting.responses == []
    getting.serving.run()
    getting.look()
    assert getting.numbers == [(0xA702, None, 0, 20, 0)]
    getting.ended()


# -- the end before the end --------------------------------------------------------------------------------------------


def test_a_cancel_waits_for_what_is_under_way() -> None:
    """PS3.4 C.4.3.3.1: what remains is what was not initiated."""
    getting = Getting(of(instances(9)), window=3)
    getting.answer()
    getting.cancel()
    assert len(getting.stores) == 3
    assert getting.numbers == [(PENDING, 8, 1, 0, 0)]
    getting.answer(0xA700)
    getting.answer()
    getting.answer()
    assert getting.numbers[1:] == [(CANCEL, 5, 3, 1, 0)]
    assert failed_uids(getting.responses[-1]) == ["1.2.3.2"]
    getting.ended()


def test_a_cancel_when_nothing_remains_to_be_sent() -> None:
    getting = Getting(of(instances(1)))
    getting.cancel()
    getting.answer()
    assert getting.numbers == [(0, None, 1, 0, 0)]
    getting.ended()


def test_a_cancel_before_the_add_in_has_answered() -> None:
    getting = Getting(lambda request: Deferred())
    getting.cancel()
    assert getting.numbers == [(CANCEL, None, None, None, None)]
    getting.ended()


@pytest.mark.parametrize("under_way", [0, 1])
def test_a_cancel_while_an_instance_is_opened(under_way: int, logged: list[LogEvent]) -> None:
    found = [*instances(under_way), instance(7, open=Deferred), instance(8)]
    getting = Getting(of(found), window=3)
    getting.cancel()
    if under_way:
        assert getting.numbers == []
        getting.answer()
    assert getting.numbers == [(CANCEL, 2, under_way, 0, 0)]
    assert logged == []
    getting.ended()


def test_an_instance_that_is_never_opened() -> None:
    getting = Getting(of([instance(1), instance(2, open=Deferred), instance(3)]), addin_timeout=10.0)
    getting.serving.clock.advance(9.0)  # the peer's time
    getting.answer()
    getting.serving.clock.advance(9.0)
    getting.look()
    assert len(getting.responses) == 1
    getting.serving.clock.advance(1.0)
    getting.look()
    assert getting.numbers[-1] == (0xC000, None, 1, 0, 0)
    getting.ended()


@pytest.mark.parametrize("how", ["lost", "aborted", "stopped"])
def test_the_end_of_the_association(how: str, logged: list[LogEvent]) -> None:
    opened: list[int] = []

    def opener() -> bytes:
        opened.append(1)
        return data_set()

    getting = Getting(of([instance(number, open=opener) for number in range(9)]), window=2, drain_timeout=5.0)
    assert len(opened) == 2
    if how == "lost":
        getting.peer.lose()
    elif how == "aborted":
        getting.peer.send(encode(Abort(0, 0)))
        getting.peer.lose()
    else:
        getting.serving.acceptor.drain()
        getting.serving.clock.advance(6.0)
        getting.peer.lose()
    assert len(opened) == 2
    assert logged == []
    assert getting.serving.clean()


# -- C-MOVE ------------------------------------------------------------------------------------------------------------


class Moving:
    """A C-MOVE under way, with a destination in memory that answers C-STORE by `stored(request)`."""

    def __init__(
        self, handler: Any, stored: Any = None, *, window: int = 4, destination: str = "DEST", **settings: Any
    ) -> None:
        self.store = StoreAddin(stored)
        self.far = Serving(self.store)
        self.requests: list[Any] = []
        self.serving = Querying(handler, destinations=self, **settings)
        self.to = Destination(self.far.acceptor, self.serving.clock, window=window)
        self.peer = self.serving.peer()
        self.responses: list[Message] = []
        self.peer.send(move_bytes(5, destination))
        self.pump()

    def resolve(self, ae_title: str, association: Any) -> Any:
        self.requests.append((ae_title, association))
        if ae_title != "DEST":
            raise NotFound(f"{ae_title} is unknown")
        return self.to

    def pump(self) -> None:
        self.to.link.pump()
        self.responses += self.peer.messages()

    def cancel(self) -> None:
        self.peer.send(cancel_bytes(5, MOVE_ID))
        self.pump()

    @property
    def numbers(self) -> list[tuple[Any, ...]]:
        return [counters(message) for message in self.responses]

    @property
    def far_end(self) -> Any:
        (association,) = self.far.acceptor.associations.values()
        return association

    def ended(self) -> None:
        assert self.peer.association.established
        assert not self.peer.association.busy
        self.peer.lose()
        self.pump()
        assert self.far.acceptor.associations == {}
        assert self.serving.clean()
        assert self.far.clean()


def test_a_move() -> None:
    moving = Moving(of(instances(3)))
    ((title, association),) = moving.requests
    assert (title, association) == ("DEST", moving.peer.association)
    assert moving.numbers == [
        (PENDING, 2, 1, 0, 0), (PENDING, 1, 2, 0, 0), (PENDING, 0, 3, 0, 0), (0, None, 3, 0, 0),
    ]  # fmt: skip
    stores = moving.store.requests
    assert [request.sop_instance for request in stores] == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
    assert [request.transfer_syntax for request in stores] == [EXPLICIT_VR_LITTLE_ENDIAN] * 3
    for request in stores:
        assert (request.association.calling_ae, request.association.called_ae) == ("SERVER", "DEST")
        command = request.command
        assert (command.move_originator_ae, command.move_originator_message_id) == ("CLIENT", 5)
        assert command.priority == 2
    assert moving.serving.addin.requests[0].destination == "DEST"
    moving.ended()


def test_an_unknown_destination() -> None:
    """PS3.4 Table C.4-2: A801; the add-in is not asked."""
    moving = Moving(of(instances(3)), destination="OTHER")
    assert moving.numbers == [(0xA801, None, None, None, None)]
    assert moving.responses[0].command.error_comment == "OTHER is unknown"
    assert moving.serving.addin.requests == []
    moving.ended()


def test_no_destination_is_known() -> None:
    serving = Querying(of(instances(1)))
    peer = serving.peer()
    peer.send(move_bytes())
    assert peer.statuses() == [0xA801]


def test_nothing_to_move() -> None:
    moving = Moving(of([]))
    assert moving.numbers == [(0, None, 0, 0, 0)]
    assert moving.to.opened == []
    moving.ended()


@pytest.mark.parametrize(
    "error",
    [ConnectionFailed("cannot connect"), AssociationRejected("no", result=1, source=1, reason=7)],
    ids=lambda error: type(error).__name__,
)
def test_a_destination_that_cannot_be_reached(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Destination, "open", lambda self, found: fail(error))
    moving = Moving(of(instances(3)))
    assert moving.numbers == [(0xA702, None, 0, 3, 0)]
    assert failed_uids(moving.responses[0]) == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
    moving.ended()


def test_partial_failure_goes_on() -> None:
    moving = Moving(
        of([*instances(2), instance(3, syntax=JPEG), instance(4)]),
        lambda request: 0xA700 * (request.sop_instance[-1] == "2"),
    )
    assert moving.numbers[-1] == (0xB000, None, 2, 2, 0)
    assert sorted(failed_uids(moving.responses[-1])) == ["1.2.3.2", "1.2.3.3"]
    moving.ended()


def test_several_associations_one_after_the_other() -> None:
    """More presentation contexts than one association has room for."""
    moving = Moving(of([]))
    found = [instance(1), instance(2, MR), instance(3), instance(4, MR)]
    moving.serving.addin.handler = of(found)
    opened = moving.to.open

    def of_the_first_class(left: Any) -> Any:
        moving.to.classes = (left[0].sop_class,)
        return opened(left)

    moving.to.open = of_the_first_class  # type: ignore[method-assign]
    moving.peer.send(move_bytes(6))
    moving.pump()
    assert moving.numbers[-1] == (0, None, 4, 0, 0)
    assert [[one.sop_instance for one in left] for left in moving.to.opened] == [
        ["1.2.3.1", "1.2.3.2", "1.2.3.3", "1.2.3.4"], ["1.2.3.2", "1.2.3.4"],
    ]  # fmt: skip
    moving.ended()


def test_a_destination_that_proposes_nothing_of_use() -> None:
    moving = Moving(of([instance(1, MR), instance(2, MR)]))
    assert moving.numbers[-1] == (0xA702, None, 0, 2, 0)
    assert len(moving.to.opened) == 1
    moving.ended()


@pytest.mark.parametrize("window", [1, 2, 0])
def test_the_window_of_the_sub_association(window: int) -> None:
    waiting: list[Deferred[int]] = []

    def stored(request: Any) -> Deferred[int]:
        waiting.append(Deferred())
        return waiting[-1]

    moving = Moving(of(instances(30)), stored, window=window)
    assert len(waiting) == (window or 16)
    while waiting:
        waiting.pop().callback(0)
        moving.pump()
    assert moving.numbers[-1] == (0, None, 30, 0, 0)
    assert len(moving.numbers) == 31
    moving.ended()


def never(request: Any) -> Deferred[int]:
    return Deferred()


@pytest.mark.parametrize("how", ["lost", "aborted", "stopped"])
def test_the_end_of_the_association_ends_that_to_the_destination(how: str, logged: list[LogEvent]) -> None:
    moving = Moving(of(instances(9)), never, window=2, drain_timeout=5.0)
    far_end = moving.far_end
    assert len(moving.store.requests) == 2
    if how == "aborted":
        moving.peer.send(encode(Abort(0, 0)))
    elif how == "stopped":
        moving.serving.acceptor.drain()
        moving.serving.clock.advance(6.0)
    moving.peer.lose()
    moving.pump()
    assert far_end.outcome.startswith("aborted by ")
    assert len(moving.store.requests) == 2
    assert moving.far.acceptor.associations == {}
    assert moving.serving.clean()
    assert logged == []


def test_a_cancel_of_a_move() -> None:
    waiting: list[Deferred[int]] = []

    def stored(request: Any) -> Deferred[int]:
        waiting.append(Deferred())
        return waiting[-1]

    moving = Moving(of(instances(9)), stored, window=2)
    far_end = moving.far_end
    moving.cancel()
    assert moving.numbers == []
    for one in waiting:
        one.callback(0)
        moving.pump()
    assert moving.numbers == [(CANCEL, 7, 2, 0, 0)]
    assert far_end.outcome == "released"
    moving.ended()


def test_a_peer_that_goes_after_its_cancel() -> None:
    moving = Moving(of(instances(9)), never, window=2)
    far_end = moving.far_end
    moving.cancel()
    assert far_end.established
    moving.peer.lose()
    moving.pump()
    assert far_end.outcome.startswith("aborted by ")
    assert moving.far.acceptor.associations == {}
    assert moving.serving.clean()


def test_a_release_amid_a_get() -> None:
    getting = Getting(of(instances(3)))
    getting.peer.send(encode(ReleaseRQ()))
    getting.look()
    assert getting.numbers[-1] == (0xA702, None, 0, 3, 0)
    assert isinstance(getting.peer.pdus()[0], ReleaseRP)
    getting.peer.lose()
    assert getting.serving.clean()


def test_a_cancel_while_the_association_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[Any] = []
    monkeypatch.setattr(Destination, "open", lambda self, found: Deferred(cancelled.append))
    moving = Moving(of(instances(3)))
    moving.cancel()
    assert moving.numbers == [(CANCEL, 3, 0, 0, 0)]
    assert len(cancelled) == 1
    moving.ended()


def test_the_destination_goes_away() -> None:
    moving = Moving(of(instances(9)), never, window=2)
    moving.to.link.close()
    moving.pump()
    assert moving.numbers[-1] == (0xA702, None, 0, 9, 0)
    moving.ended()


def test_a_destination_that_does_not_answer() -> None:
    moving = Moving(of(instances(9)), never, window=2)
    moving.serving.clock.advance(31.0)  # dimse_timeout
    moving.pump()
    assert moving.numbers[-1] == (0xA702, None, 0, 9, 0)
    moving.ended()


def test_no_numbers_are_piled_up_for_a_peer_that_does_not_read() -> None:
    waiting: list[Deferred[int]] = []

    def stored(request: Any) -> Deferred[int]:
        waiting.append(Deferred())
        return waiting[-1]

    moving = Moving(of(instances(9)), stored, window=1)
    outbox = moving.peer.association.protocol._outbox
    assert outbox is not None
    outbox.pauseProducing()
    while waiting:
        waiting.pop().callback(0)
        moving.pump()
    outbox.resumeProducing()
    moving.pump()
    assert moving.numbers == [(0, None, 9, 0, 0)]
    moving.ended()


def test_a_get_and_an_echo_of_one_association_do_not_wait_for_each_other() -> None:
    serving = Querying(of(instances(1)))
    peer: Peer = serving.getting(*CONTEXTS, window=(4, 4))
    peer.send(get_bytes(1) + message_bytes(ECHO_ID, requests.c_echo_rq(2)))
    fields = [message.command.command_field for message in peer.messages()]
    assert fields == [CommandField.C_STORE_RQ, CommandField.C_ECHO_RSP]


def test_a_second_context_of_the_class_in_another_syntax() -> None:
    contexts = (*CONTEXTS, PresentationContextRQ(11, CT, (IMPLICIT_VR_LITTLE_ENDIAN,)))
    serving = Querying(of([instance(1, syntax=IMPLICIT_VR_LITTLE_ENDIAN)]))
    peer = serving.getting(*contexts)
    peer.send(get_bytes())
    (store,) = peer.messages()
    assert store.context_id == 11
