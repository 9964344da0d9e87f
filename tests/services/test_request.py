"""txdicom.services.request: a handler may be of any kind and do anything; its message is answered once."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, inlineCallbacks, succeed

from tests.net.wire import CT_ID, ECHO_ID, MPPS, MPPS_ID, Peer, echo_bytes, message_bytes, store_bytes
from tests.services.serving import EchoAddin, NormalizedAddin, Serving, StoreAddin
from txdicom.dimse import requests
from txdicom.dimse.status import Status
from txdicom.errors import StatusError
from txdicom.pdu.encode import encode
from txdicom.pdu.types import ReleaseRP, ReleaseRQ

if TYPE_CHECKING:
    from twisted.logger import LogEvent

UNABLE = 0x0110


def asked(handler: Any, **settings: Any) -> tuple[Serving, Peer]:
    serving = Serving(EchoAddin(handler), StoreAddin(handler), NormalizedAddin(handler), **settings)
    return serving, serving.peer()


def comment(peer: Peer) -> tuple[int | None, str | None]:
    (message,) = peer.messages()
    return message.command.status, message.command.error_comment


# -- what a handler may be ---------------------------------------------------------------------------------------------


async def coroutine(request: Any) -> int:
    return 0x0117


async def waiting(request: Any) -> int:
    await succeed(None)
    return 0x0117


@inlineCallbacks
def generator(request: Any) -> Any:
    yield succeed(None)
    return 0x0117


@pytest.mark.parametrize(
    "handler",
    [
        lambda request: 0x0117,
        lambda request: "0x0117",
        lambda request: "invalid-sop-instance",
        lambda request: Status(0x0117),
        lambda request: succeed(0x0117),
        coroutine,
        waiting,
        generator,
        lambda request: fail(StatusError(0x0117)),
    ],
)
def test_a_status_in_any_form(handler: Any, logged: list[LogEvent]) -> None:
    serving, peer = asked(handler)
    peer.send(echo_bytes())
    assert peer.statuses() == [0x0117]
    assert not logged
    peer.lose()
    assert serving.clean()


def test_raising_a_status() -> None:
    def handler(request: Any) -> None:
        raise StatusError(Status(0x0112, "no such instance", (0x00080018,)))

    _, peer = asked(handler)
    peer.send(echo_bytes())
    assert comment(peer) == (0x0112, "no such instance")


def test_a_coroutine_that_waits_and_waits() -> None:
    waits = [Deferred() for _ in range(3)]

    async def handler(request: Any) -> int:
        return sum([await one for one in waits])

    serving, peer = asked(handler)
    peer.send(echo_bytes())
    for one in waits:
        assert peer.statuses() == []
        assert peer.association.busy
        one.callback(1)
    assert peer.statuses() == [3]
    peer.lose()
    assert serving.clean()


def test_a_coroutine_that_awaits_thousands_that_are_there_is_no_deep_recursion() -> None:
    async def handler(request: Any) -> int:
        for _ in range(5_000):
            await succeed(None)
        return 0

    _, peer = asked(handler)
    peer.send(echo_bytes())
    assert peer.statuses() == [0]


def test_what_a_handler_awaits_may_fail() -> None:
    async def handler(request: Any) -> str:
        try:
            await fail(ValueError("not now"))
        except ValueError:
            return "Success"
        return "Failure"

    _, peer = asked(handler)
    peer.send(echo_bytes())
    assert peer.statuses() == [0]


def test_what_a_handler_reads() -> None:
    seen: list[Any] = []

    def handler(request: Any) -> int:
        seen.append(
            (
                request.message_id,
                request.priority,
                request.sop_class,
                request.sop_instance,
                request.abstract_syntax,
                request.association.calling_ae,
                request.dataset,
                request.cancelled,
            )
        )
        return 0

    _, peer = asked(handler)
    peer.send(message_bytes(MPPS_ID, requests.n_get_rq(5, MPPS, "1.2.3")))
    assert seen == [(5, None, MPPS, "1.2.3", MPPS, "CLIENT", None, "")]


# -- what it may do wrong ----------------------------------------------------------------------------------------------


def raising(request: Any) -> None:
    raise KeyError("patient name")


async def raising_later(request: Any) -> None:
    await succeed(None)
    raise KeyError("patient name")


async def asynchronous(function: Any) -> None:
    function()


async def awaiting_rubbish(request: Any) -> None:
    class Rubbish:
        def __await__(self) -> Any:
            yield "rubbish"

    await Rubbish()


@pytest.mark.parametrize(
    "handler",
    [
        raising,
        raising_later,
        awaiting_rubbish,
        lambda request: None,
        lambda request: "abc",
        lambda request: "",
        lambda request: True,
        lambda request: 3.5,
        lambda request: b"\0\0",
        lambda request: object(),
        lambda request: [0],
        lambda request: (0, None, None),
        lambda request: (0, "no data set"),
        lambda request: -1,
        lambda request: 0x10000,
        lambda request: 0xFF00,  # pending is no final status
        lambda request: 0xFF01,
        lambda request: "Pending",
        lambda request: 0xFE00,  # nothing was cancelled, and this service knows no C-CANCEL
        lambda request: succeed(None),
        lambda request: succeed("abc"),
        lambda request: succeed(0xFE00),
        lambda request: fail(RuntimeError()),
        lambda request: fail(StatusError(0xFF00)),
        lambda request: fail(StatusError("abc")),  # type: ignore[arg-type]
        lambda request: fail(StatusError(0xFE00)),
        lambda request: (yield),
        lambda request: 1 / 0,
        lambda request: sys.exit(1),
        lambda request: asynchronous(sys.exit),
    ],
)
@pytest.mark.parametrize("service", ["echo", "store", "mpps"])
def test_rubbish_is_logged_and_answered_and_the_association_lives_on(
    handler: Any, service: str, logged: list[LogEvent]
) -> None:
    serving, peer = asked(handler)
    stream, unable = {
        "echo": (echo_bytes(1), UNABLE),
        "store": (store_bytes(1), 0xC000),
        "mpps": (message_bytes(MPPS_ID, requests.n_get_rq(1, MPPS, "1.2.3")), UNABLE),
    }[service]
    peer.send(stream)
    assert comment(peer) == (unable, "the handler failed")
    assert len(logged) == 1
    assert peer.association.established
    assert not peer.association.busy
    peer.send(stream)
    assert peer.statuses() == [unable]
    peer.lose()
    assert serving.clean()


def test_error_comments_tell_nothing_of_the_failure() -> None:
    """It could speak of a patient."""
    _, peer = asked(raising)
    peer.send(echo_bytes())
    assert "patient" not in (comment(peer)[1] or "")


# -- never answering ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["deferred", "coroutine"])
def test_one_that_never_answers(kind: str) -> None:
    waits: Deferred[Any] = Deferred()
    told: list[Any] = []
    waits.addErrback(lambda failure: told.append(failure.type))

    async def never(request: Any) -> Any:
        await waits

    serving, peer = asked(never if kind == "coroutine" else lambda request: waits, addin_timeout=300.0)
    peer.send(echo_bytes(1) + echo_bytes(2))
    serving.clock.advance(299)
    assert peer.statuses() == []
    serving.clock.advance(1)
    assert peer.messages()[0].command.error_comment == "the handler took too long"
    assert told == [CancelledError]
    assert peer.association.established
    peer.lose()
    assert serving.clean()


def test_one_that_waits_again_and_again_has_no_more_time() -> None:
    async def endless(request: Any) -> Any:
        while True:
            waits: Deferred[None] = Deferred()
            serving.clock.callLater(10, lambda waits=waits: None if waits.called else waits.callback(None))
            await waits

    serving, peer = asked(endless, addin_timeout=300.0, client_timeout=0.0)
    peer.send(echo_bytes())
    serving.clock.pump(itertools.repeat(10, 31))
    assert peer.statuses() == [UNABLE]


def test_one_that_will_not_be_cancelled_is_answered_for_all_the_same() -> None:
    waits: list[Deferred[None]] = []

    async def stubborn(request: Any) -> int:
        while len(waits) < 3:
            waits.append(Deferred())
            try:
                await waits[-1]
            except CancelledError:
                continue
        return 0

    serving, peer = asked(stubborn, addin_timeout=300.0)
    peer.send(echo_bytes())
    serving.clock.advance(300)
    assert peer.statuses() == [UNABLE]
    peer.lose()
    assert serving.clean()
    for one in waits:
        if not one.called:
            one.callback(None)


def test_one_that_answers_too_late_is_not_heard() -> None:
    waits: Deferred[int] = Deferred(lambda _: None)
    answer: Deferred[int] = Deferred()
    waits.addErrback(lambda _: answer)
    serving, peer = asked(lambda request: waits, addin_timeout=1.0)
    peer.send(echo_bytes())
    serving.clock.advance(1)
    assert peer.statuses() == [UNABLE]
    answer.callback(0)
    assert peer.statuses() == []


def test_no_time_limit() -> None:
    waits: Deferred[int] = Deferred()
    serving, peer = asked(lambda request: waits, addin_timeout=0.0)
    peer.send(echo_bytes())
    serving.clock.pump(itertools.repeat(1_000, 10))
    assert peer.association.established
    waits.callback(0)
    assert peer.statuses() == [0]


# -- cancelled ---------------------------------------------------------------------------------------------------------


def test_c_cancel_is_not_for_every_service() -> None:
    """PS3.7 has one for C-FIND, C-GET and C-MOVE; a C-STORE may be on the disk already."""
    waits: Deferred[int] = Deferred()
    seen: list[Any] = []

    def handler(request: Any) -> Any:
        seen.append(request)
        return waits

    _, peer = asked(handler)
    peer.send(echo_bytes(4))
    peer.send(message_bytes(ECHO_ID, requests.c_cancel_rq(4)))
    assert seen[0].cancelled == ""
    waits.callback(0)
    assert peer.statuses() == [0]


@pytest.mark.parametrize("end", ["lost", "abort", "stop"])
@pytest.mark.parametrize("heeds", [True, False])
def test_a_peer_that_is_gone(end: str, heeds: bool) -> None:
    told: list[Any] = []
    waits: Deferred[int] = Deferred()
    waits.addErrback(lambda failure: told.append(failure.type) or (failure if heeds else Deferred()))
    seen: list[Any] = []

    def handler(request: Any) -> Any:
        seen.append(request)
        return waits

    serving, peer = asked(handler)
    peer.send(store_bytes(1) + echo_bytes(2))
    if end == "abort":
        peer.association.abort("enough")
    elif end == "stop":
        peer.association.hang_up("the server stops")
    peer.lose()
    assert told == [CancelledError]
    assert seen[0].cancelled
    assert len(seen) == 1
    assert serving.clean()


def test_a_handler_that_goes_on_after_its_peer_is_gone_leaves_no_timer() -> None:
    again: Deferred[None] = Deferred()

    async def handler(request: Any) -> int:
        try:
            await Deferred()
        except CancelledError:
            await again
        return 0

    serving, peer = asked(handler)
    peer.send(echo_bytes())
    peer.lose()
    assert serving.clean()
    again.callback(None)


def test_a_release_waits_for_the_handler() -> None:
    waits: Deferred[int] = Deferred()
    _, peer = asked(lambda request: waits)
    peer.send(echo_bytes() + encode(ReleaseRQ()))
    assert peer.pdus() == []
    waits.callback(0)
    assert peer.statuses() == [0]
    assert [type(pdu) for pdu in peer.pdus()] == [ReleaseRP]


def test_a_handler_that_ends_its_association_itself() -> None:
    def handler(request: Any) -> int:
        request.association.hang_up("the add-in says so")
        return 0

    serving, peer = asked(handler)
    peer.send(echo_bytes(1) + echo_bytes(2))
    assert peer.statuses() == []
    assert peer.association.outcome == "the add-in says so"
    peer.lose()
    assert serving.clean()


class Stubborn(Deferred[int]):
    """An add-in's own, whose cancellation fails."""

    def cancel(self) -> None:
        raise RuntimeError("not me")


def test_a_wait_that_cannot_be_cancelled_harms_nobody_else(logged: list[LogEvent]) -> None:
    """Else the association's end would stop half way, and its slot would never be free again."""
    serving, peer = asked(lambda request: Stubborn(), addin_timeout=30.0)
    other = serving.peer()
    for one in (peer, other):
        one.send(echo_bytes(1))
    serving.clock.advance(30)
    assert (peer.statuses(), other.statuses()) == ([UNABLE], [UNABLE])
    peer.send(echo_bytes(2))
    peer.lose()
    other.lose()
    assert [event["log_failure"].type for event in logged] == [RuntimeError] * 3
    assert serving.clean()


@pytest.mark.parametrize("kind", ["deferred", "coroutine"])
def test_one_that_begins_to_wait_when_nobody_waits_for_it(kind: str) -> None:
    """It hears of the end although the end came before; then it may wait for its own cleaning up."""
    told: list[str] = []

    def lose(request: Any) -> None:
        request.association.hang_up("the add-in says so")
        peer.lose()

    def plain(request: Any) -> Any:
        lose(request)
        waits: Deferred[int] = Deferred()
        return waits.addErrback(lambda failure: told.append(failure.type.__name__) or 0)

    cleaning: Deferred[None] = Deferred()

    async def coroutine(request: Any) -> int:
        await succeed(None)
        lose(request)
        try:
            await Deferred()
        except CancelledError:
            await cleaning
            told.append("CancelledError")
        return 0

    serving, peer = asked(coroutine if kind == "coroutine" else plain)
    peer.send(echo_bytes())
    cleaning.callback(None)
    assert told == ["CancelledError"]
    assert serving.clean()


# -- several at once ---------------------------------------------------------------------------------------------------


def test_with_a_window_handlers_run_at_once_and_answer_in_any_order() -> None:
    waits: list[Deferred[int]] = []

    def handler(request: Any) -> Deferred[int]:
        waits.append(Deferred())
        return waits[-1]

    serving = Serving(EchoAddin(handler))
    peer = serving.peer(window=(4, 1))
    peer.send(b"".join(echo_bytes(number) for number in (1, 2, 3)))
    assert len(waits) == 3
    for one in reversed(waits):
        one.callback(0)
    assert [message.command.message_id_responded_to for message in peer.messages()] == [3, 2, 1]


def test_thousands_behind_a_slow_one() -> None:
    first: Deferred[int] = Deferred()

    def handler(request: Any) -> Any:
        return first if request.message_id == 1 else 0

    serving, peer = asked(handler)
    peer.send(store_bytes(1) + b"".join(echo_bytes(number) for number in range(2, 3_001)))
    first.callback(0)
    assert peer.statuses() == [0] * 3_000
    peer.lose()
    assert serving.clean()


def test_context_ids_of_the_answers() -> None:
    _, peer = asked(lambda request: 0)
    peer.send(echo_bytes(1) + store_bytes(2))
    assert [message.context_id for message in peer.messages()] == [ECHO_ID, CT_ID]
