"""txdicom.services.find: matches of every form go out one by one, and stop when nobody wants them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import Dataset
from twisted.internet.defer import CancelledError, Deferred, succeed

from tests.net.wire import Peer, message_bytes, pdata
from tests.services.querying import ECHO_ID, FIND_ID, Querying, cancel_bytes, find_bytes, read, study
from txdicom.dimse import requests
from txdicom.dimse.status import Status
from txdicom.errors import StatusError
from txdicom.interfaces import Match
from txdicom.net.sending import CROWD
from txdicom.pdu.encode import encode
from txdicom.pdu.types import ReleaseRP, ReleaseRQ
from txdicom.services import in_memory
from txdicom.services import querying as module
from txdicom.uids import STUDY_ROOT_FIND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

    from twisted.logger import LogEvent

pytestmark = pytest.mark.usefixtures("unhurried")

PENDING, CANCEL, UNABLE = 0xFF00, 0xFE00, 0xC000


def asked(handler: Any, **settings: Any) -> tuple[Querying, Peer]:
    serving = Querying(handler, **settings)
    return serving, serving.peer()


def gone(serving: Querying, peer: Peer) -> None:
    """The association lives on; nothing is left of it when it ends."""
    assert peer.association.established
    assert not peer.association.busy
    peer.lose()
    assert serving.clean()


# -- forms of an answer ------------------------------------------------------------------------------------------------


def generator(request: Any) -> Iterator[Dataset]:
    yield study(1)
    yield study(2)


def as_list(request: Any) -> list[Dataset]:
    return [study(1), study(2)]


async def async_generator(request: Any) -> AsyncIterator[Dataset]:
    yield study(1)
    await succeed(None)
    yield study(2)


async def coroutine(request: Any) -> Iterator[Dataset]:
    await succeed(None)
    return generator(request)


async def coroutine_of_async(request: Any) -> AsyncIterator[Dataset]:
    return async_generator(request)


def deferred(request: Any) -> Deferred[Any]:
    return succeed([study(1), study(2)])


class Cursor:
    """An async iterator that is no generator, and has no end to be told of."""

    def __init__(self, request: Any) -> None:
        self.left = [study(1), study(2)]

    def __aiter__(self) -> Cursor:
        return self

    async def __anext__(self) -> Dataset:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


@pytest.mark.parametrize(
    "handler", [generator, as_list, async_generator, coroutine, coroutine_of_async, deferred, Cursor]
)
def test_matches_of_every_form(handler: Any) -> None:
    serving, peer = asked(handler)
    peer.send(find_bytes(7))
    *pending, final = peer.messages()
    assert [message.command.status for message in pending] == [PENDING] * 2
    assert [read(message.data).StudyInstanceUID for message in pending] == ["1.2.3.1", "1.2.3.2"]
    assert {message.command.message_id_responded_to for message in (*pending, final)} == {7}
    assert {message.context_id for message in pending} == {FIND_ID}
    assert (final.command.status, final.data) == (0, b"")
    gone(serving, peer)


def test_no_match() -> None:
    _, peer = asked(lambda request: [])
    peer.send(find_bytes())
    assert peer.statuses() == [0]


def test_optional_keys_that_are_not_supported() -> None:
    """PS3.4 Table C.4-1: FF01."""
    _, peer = asked(lambda request: [Match(study()), Match(study(), unsupported_keys=True), study()])
    peer.send(find_bytes())
    assert peer.statuses() == [PENDING, 0xFF01, PENDING, 0]


def test_the_identifier_is_read_when_asked_for() -> None:
    def handler(request: Any) -> list[Dataset]:
        assert request.identifier is request.dataset
        assert request.identifier.StudyInstanceUID == "1.2.3.1"
        assert (request.sop_class, request.priority, request.cancelled) == (STUDY_ROOT_FIND, 0, "")
        return [request.identifier]

    _, peer = asked(handler)
    peer.send(find_bytes())
    assert peer.statuses() == [PENDING, 0]


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xB001, 0xC123, 0x0122])
def test_another_final_status(status: int, logged: list[LogEvent]) -> None:
    def handler(request: Any) -> Iterator[Dataset]:
        yield study()
        raise StatusError(Status(status, "so it is"))

    serving, peer = asked(handler)
    peer.send(find_bytes())
    first, last = peer.messages()
    assert (first.command.status, last.command.status, last.command.error_comment) == (PENDING, status, "so it is")
    assert logged == []
    gone(serving, peer)


# -- mistakes ----------------------------------------------------------------------------------------------------------


def not_encodable() -> Dataset:
    dataset = Dataset()
    dataset.Rows = 1
    dataset["Rows"]._value = "rows"
    return dataset


@pytest.mark.parametrize(
    "answer",
    [None, 0, 0xFF00, "1.2.3", ["1.2.3"], [None], study(), [0], [not_encodable()], [Match(None)], object()],  # type: ignore[arg-type]
    ids=lambda answer: type(answer).__name__,
)
def test_what_is_no_match(answer: Any, logged: list[LogEvent]) -> None:
    closed = []

    def handler(request: Any) -> Any:
        return answer

    def generated(request: Any) -> Iterator[Any]:
        try:
            yield study()
            yield from answer
        finally:
            closed.append(True)

    for form, statuses in ((handler, [UNABLE]), (generated, [PENDING, UNABLE])):
        serving, peer = asked(form)
        peer.send(find_bytes() + message_bytes(ECHO_ID, requests.c_echo_rq(2)))
        assert peer.statuses() == [*statuses, 0]
        (event,) = logged
        assert "Traceback" in event["log_failure"].getTraceback()
        logged.clear()
        gone(serving, peer)
    assert closed == [True]


@pytest.mark.parametrize("handler", [lambda request: 1 / 0, async_generator])
def test_an_add_in_that_raises(handler: Any, logged: list[LogEvent]) -> None:
    async def raises(request: Any) -> AsyncIterator[Dataset]:
        async for one in handler(request):
            yield one
            raise KeyError(1)

    serving, peer = asked(raises)
    peer.send(find_bytes())
    assert peer.statuses()[-1] == UNABLE
    assert len(logged) == 1
    gone(serving, peer)


def test_an_identifier_that_cannot_be_read(logged: list[LogEvent]) -> None:
    def handler(request: Any) -> list[Dataset]:
        return [request.identifier]

    serving, peer = asked(handler)
    peer.send(find_bytes(identifier=b"\x08\x00\x52\x00\x99\x99\xff\xff" * 3))
    (message,) = peer.messages()
    assert message.command.status == UNABLE
    assert "Identifier" in message.command.error_comment
    assert logged == []  # it is the peer's mistake
    gone(serving, peer)


SAID = "ISO_IR 192"


def value(data: bytes) -> bytes:
    data += b" " * (len(data) % 2)
    return len(data).to_bytes(2, "little") + data


def element(number: int, vr: bytes, data: bytes) -> bytes:
    """One of group 0008 in Explicit VR Little Endian."""
    return b"\x08\0" + number.to_bytes(2, "little") + vr + value(data)


@pytest.mark.parametrize(
    ("told", "said", "encoding", "name"),
    [
        ("ISO_IR 144", "", "iso8859_5", "Щукин^Жора"),
        ("\\ISO 2022 IR 87", "", "iso2022_jp", "Yamada^Tarou=山田^太郎"),
        ("ISO_IR 144", SAID, "utf_8", "Щукин^Жора"),
        ("", "", "latin_1", "Müller"),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_an_identifier_that_says_no_character_set(told: str, said: str, encoding: str, name: str, later: bool) -> None:
    asked_of: list[str] = []
    waiting: Deferred[str] = Deferred()

    def character_set_of(association: Any) -> Any:
        asked_of.append(association.calling_ae)
        return waiting if later else told

    read_names: list[str] = []

    def handler(request: Any) -> list[Dataset]:
        read_names.append(str(request.identifier.PatientName))
        return []

    data = element(0x0005, b"CS", SAID.encode()) if said else b""
    data += element(0x0052, b"CS", b"STUDY ") + b"\x10\0\x10\0PN" + value(name.encode(encoding))
    serving, peer = asked(handler, character_set_of=character_set_of)
    peer.send(find_bytes(identifier=data))
    if later:
        assert peer.statuses() == []
        waiting.callback(told)
    assert peer.statuses() == [0]
    assert read_names == [name]
    assert asked_of == [peer.association.calling_ae]
    gone(serving, peer)


def test_an_identifier_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "MAX_DATA_SET", 1000)
    serving, peer = asked(as_list)
    peer.send(pdata(FIND_ID, 3, _command()) + pdata(FIND_ID, 0, bytes(600)) * 10 + pdata(FIND_ID, 2, b""))
    assert peer.statuses() == [0xA700]
    assert serving.addin.requests == []
    gone(serving, peer)


def _command() -> bytes:
    from txdicom.dimse.command import encode as encode_command

    return encode_command(requests.c_find_rq(1, STUDY_ROOT_FIND))


def test_a_class_that_is_not_the_contexts() -> None:
    serving, peer = asked(as_list)
    peer.send(message_bytes(FIND_ID, requests.c_find_rq(1, "1.2.840.10008.5.1.4.31"), b"data"))
    assert peer.statuses() == [0x0122]
    assert serving.addin.requests == []


# -- an end before the end ---------------------------------------------------------------------------------------------


class Endless:
    """An endless answer that waits for the test after each match, and keeps in mind how it ended."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.waits_for: Deferred[None] = Deferred()
        self.ended: list[Any] = []
        self.stubborn = stubborn

    async def handler(self, request: Any) -> AsyncIterator[Dataset]:
        try:
            while True:
                yield study()
                self.waits_for = Deferred()
                try:
                    await self.waits_for
                except CancelledError:
                    if not self.stubborn:
                        raise
        finally:
            self.ended.append(request.cancelled)


def unwaiting(ended: list[str]) -> Callable[[Any], Iterator[Dataset]]:
    """An endless answer that never waits, and puts down how it ended."""

    def handler(request: Any) -> Iterator[Dataset]:
        try:
            while True:
                yield study()
        finally:
            ended.append(request.cancelled)

    return handler


def test_a_cancel(logged: list[LogEvent]) -> None:
    """PS3.4 C.4.1.3.1: the matching is interrupted, the status is Canceled."""
    endless = Endless()
    serving, peer = asked(endless.handler)
    peer.send(find_bytes(3))
    endless.waits_for.callback(None)
    peer.send(cancel_bytes(9))  # of another
    assert endless.ended == []
    peer.send(cancel_bytes(3))
    assert peer.statuses() == [PENDING, PENDING, CANCEL]
    assert endless.ended == ["C-CANCEL"]
    peer.send(cancel_bytes(3))  # too late
    assert peer.statuses() == []
    assert logged == []
    gone(serving, peer)


def test_a_cancel_that_the_add_in_does_not_heed() -> None:
    endless = Endless(stubborn=True)
    serving, peer = asked(endless.handler)
    peer.send(find_bytes() + cancel_bytes())
    assert peer.statuses() == [PENDING, CANCEL]
    assert endless.ended == ["C-CANCEL"]  # at the next match
    gone(serving, peer)


def test_a_cancel_before_there_is_an_answer() -> None:
    waits_for: Deferred[Any] = Deferred()
    serving, peer = asked(lambda request: waits_for)
    peer.send(find_bytes() + cancel_bytes())
    assert peer.statuses() == [CANCEL]
    gone(serving, peer)


def test_a_cancel_of_one_that_waits_its_turn() -> None:
    endless = Endless()
    serving, peer = asked(endless.handler)
    peer.send(find_bytes(1) + find_bytes(2) + cancel_bytes(2))
    assert peer.statuses() == [PENDING]
    peer.send(cancel_bytes(1))
    assert [(one.command.message_id_responded_to, one.command.status) for one in peer.messages()] == [
        (1, CANCEL), (2, CANCEL),
    ]  # fmt: skip
    assert len(serving.addin.requests) == 1
    gone(serving, peer)


def test_a_cancel_amid_a_plain_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN", 0.0)
    ended: list[str] = []
    serving, peer = asked(unwaiting(ended))
    peer.send(find_bytes())
    serving.clock.advance(0.01)
    peer.send(cancel_bytes())
    assert peer.statuses() == [PENDING, PENDING, CANCEL]
    assert ended == ["C-CANCEL"]
    gone(serving, peer)


@pytest.mark.parametrize("how", ["lost", "aborted", "stopped"])
def test_the_end_of_the_association(how: str, logged: list[LogEvent]) -> None:
    endless = Endless()
    serving, peer = asked(endless.handler, drain_timeout=5.0)
    peer.send(find_bytes())
    if how == "aborted":
        from txdicom.pdu.types import Abort

        peer.send(encode(Abort(0, 0)))
    elif how == "stopped":
        serving.acceptor.drain()
        assert endless.ended == []
        serving.clock.advance(6.0)
    else:
        peer.lose()
    assert len(endless.ended) == 1
    assert endless.ended[0]
    assert logged == []
    if how != "lost":
        peer.lose()
    assert serving.clean()


def test_a_plain_generator_ends_with_the_association(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN", 0.0)
    ended: list[str] = []
    serving, peer = asked(unwaiting(ended))
    peer.send(find_bytes())
    peer.lose()
    assert len(ended) == 1
    assert serving.clean()


def test_an_association_that_the_add_in_itself_ends() -> None:
    ended = []

    def handler(request: Any) -> Iterator[Dataset]:
        try:
            yield study()
            request.association.abort("the add-in had enough")
            yield study()
        finally:
            ended.append(request.cancelled)

    serving, peer = asked(handler)
    peer.send(find_bytes())
    assert ended == ["the add-in had enough"]
    peer.lose()
    assert serving.clean()


def test_a_release_waits_for_the_answer() -> None:
    endless = Endless()
    _, peer = asked(endless.handler)
    peer.send(find_bytes() + encode(ReleaseRQ()))
    assert peer.pdus() == []
    peer.association.protocol.association._performed.find(1).cancel("enough")
    assert isinstance(peer.pdus()[0], ReleaseRP)


def test_what_cannot_be_closed_is_logged(logged: list[LogEvent]) -> None:
    def handler(request: Any) -> Iterator[Dataset]:
        try:
            while True:
                yield study()
                request.cancel("enough")
        finally:
            raise OSError("cannot close")

    async def asynchronous(request: Any) -> AsyncIterator[Dataset]:
        try:
            while True:
                yield study()
                request.cancel("enough")
        finally:
            raise OSError("cannot close")

    for form in (handler, asynchronous):
        serving, peer = asked(form)
        peer.send(find_bytes())
        assert peer.statuses() == [PENDING, CANCEL]
        assert [event["log_failure"].type for event in logged] == [OSError]
        logged.clear()
        gone(serving, peer)


def test_a_finally_that_waits() -> None:
    waits_for: Deferred[None] = Deferred()
    ended = []

    async def handler(request: Any) -> AsyncIterator[Dataset]:
        try:
            yield study()
            request.cancel("enough")
            yield study()
        finally:
            await waits_for
            ended.append(True)

    serving, peer = asked(handler)
    peer.send(find_bytes())
    assert peer.statuses() == [PENDING, CANCEL]
    gone(serving, peer)
    waits_for.callback(None)
    assert ended == [True]


def test_what_is_not_awaitable_under_twisted(logged: list[LogEvent]) -> None:
    class Foreign:
        def __await__(self) -> Generator[Any]:
            yield "a future of another loop"

    async def handler(request: Any) -> AsyncIterator[Dataset]:
        yield study()
        await Foreign()

    serving, peer = asked(handler)
    peer.send(find_bytes())
    assert peer.statuses() == [PENDING, UNABLE]
    assert any("can await a Deferred" in event["log_failure"].getTraceback() for event in logged)
    gone(serving, peer)


# -- time --------------------------------------------------------------------------------------------------------------


def test_the_time_out_runs_anew_from_each_match(logged: list[LogEvent]) -> None:
    endless = Endless()
    serving, peer = asked(endless.handler, addin_timeout=10.0)
    peer.send(find_bytes())
    for _ in range(5):
        serving.clock.advance(9.0)
        endless.waits_for.callback(None)
    assert peer.statuses() == [PENDING] * 6
    serving.clock.advance(10.0)
    (message,) = peer.messages()
    assert (message.command.status, message.command.error_comment) == (UNABLE, "the handler took too long")
    assert endless.ended == ["time-out"]
    assert logged == []
    gone(serving, peer)


def test_others_get_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN", 0.002)
    pulled = []

    def handler(request: Any) -> Iterator[Dataset]:
        for number in range(6):
            pulled.append(number)
            yield study()
            end = time.monotonic() + 0.001
            while time.monotonic() < end:
                pass

    serving = Querying(handler)
    peer = serving.peer(window=(4, 1))
    peer.send(find_bytes(1))
    assert 0 < len(pulled) < 6
    peer.send(message_bytes(ECHO_ID, requests.c_echo_rq(2)))
    serving.run()
    answered = [message.command.message_id_responded_to for message in peer.messages()]
    assert answered.count(1) == 7
    assert answered.index(2) < 6
    gone(serving, peer)


# -- a peer that does not read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
def test_no_match_is_asked_for_while_the_peer_does_not_read(asynchronous: bool) -> None:
    pulled = []

    def handler(request: Any) -> Iterator[Dataset]:
        for number in range(3 * CROWD):
            pulled.append(number)
            yield study(number)

    async def as_async(request: Any) -> AsyncIterator[Dataset]:
        for one in handler(request):
            yield one

    serving, peer = asked(as_async if asynchronous else handler, addin_timeout=10.0)
    outbox = peer.association.protocol._outbox
    assert outbox is not None
    outbox.pauseProducing()
    peer.send(find_bytes())
    assert len(pulled) == 1
    assert peer.messages() == []
    serving.clock.advance(30.0)  # the peer's time, not the add-in's
    outbox.resumeProducing()
    messages = peer.messages()
    assert [message.command.status for message in messages] == [PENDING] * (3 * CROWD) + [0]
    assert [read(message.data).StudyInstanceUID for message in messages[:-1]] == [f"1.2.3.{one}" for one in pulled]
    gone(serving, peer)


@pytest.mark.parametrize("how", ["cancel", "lost"])
def test_the_end_while_the_peer_does_not_read(how: str, logged: list[LogEvent]) -> None:
    ended: list[str] = []
    serving, peer = asked(unwaiting(ended))
    outbox = peer.association.protocol._outbox
    assert outbox is not None
    outbox.pauseProducing()
    peer.send(find_bytes())
    if how == "cancel":
        peer.send(cancel_bytes())
        outbox.resumeProducing()
        assert peer.statuses() == [PENDING, CANCEL]
        gone(serving, peer)
    else:
        peer.lose()
        assert serving.clean()
    assert len(ended) == 1
    assert logged == []
