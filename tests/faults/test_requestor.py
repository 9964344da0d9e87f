"""The requesting side against peers that break every rule: each call ends, in time, by the right error."""

from __future__ import annotations

import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, clientFromString
from twisted.internet.task import Clock

from tests.faults.link import Raw, Rogue, descriptors, expire, failure_of, pause, server, until
from tests.net.wire import CONTEXTS, CT, CT_ID, ECHO_ID, AcceptAll, message_bytes, pdata
from txdicom.dimse import messages, requests
from txdicom.dimse.command import Command
from txdicom.dimse.elements import COMMAND_DATA_SET_TYPE
from txdicom.errors import (
    AssociationAborted,
    AssociationRejected,
    ConnectionFailed,
    DimseTimeout,
)
from txdicom.net.config import NetConfig
from txdicom.net.requestor import Requestor
from txdicom.net.sending import FileSource
from txdicom.pdu.encode import encode
from txdicom.pdu.types import Abort, AssociateRJ, ReleaseRP, ReleaseRQ
from txdicom.services.storage import store
from txdicom.services.verification import echo
from txdicom.ul import negotiation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from txdicom.net.association import Association


def request(port: int, endpoint: Any = None, *, clock: Any = reactor, **settings: Any) -> Deferred[Association]:
    endpoint = endpoint or TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    made = Requestor(endpoint, NetConfig(**settings), clock, peer_name="PEER")
    return made.request("CLIENT", "SERVER", CONTEXTS)


async def accept(raw: Raw, **changes: Any) -> None:
    """The rogue behaves, for now."""
    rq = await raw.pdu()
    policy = AcceptAll()
    for name, value in changes.items():
        setattr(policy, name, value)
    raw.send(encode(negotiation.accept(rq, policy)[0]))


@asynccontextmanager
async def established(**settings: Any) -> AsyncGenerator[tuple[Association, Raw]]:
    """An association with a rogue, which leaves nothing behind."""
    before = descriptors()
    async with Rogue() as rogue:
        asking = request(rogue.port, **settings)
        raw = await rogue.connection()
        await accept(raw)
        association = await asking
        yield association, raw
        if not association.lost:
            association.give_up("the test ends")
        await association.when_lost()
    await until(lambda: descriptors() <= before + 1, "descriptors are left open")


@pytest_twisted.ensureDeferred
async def test_with_a_server_of_ours() -> None:
    async with server() as made:
        association = await request(made.port)
        assert (await echo(association)).is_success
        command, _ = await store(association, CT_ID, CT, "1.2.3", b"")
        assert command.status == 0
        await association.release()
        assert association.outcome == "released"


@pytest_twisted.ensureDeferred
async def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    error = await failure_of(request(port))
    assert isinstance(error, ConnectionFailed)
    assert "refused" in str(error)


@pytest.mark.parametrize("host", ["no such host.invalid", "", "x" * 300])
@pytest_twisted.ensureDeferred
async def test_no_such_host(host: str) -> None:
    error = await failure_of(request(0, HostnameEndpoint(reactor, host, 104), reconnect_timeout=5.0))  # type: ignore[arg-type]
    assert isinstance(error, ConnectionFailed)


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    error = await failure_of(request(0, clientFromString(reactor, f"unix:{tmp_path}/nobody")))
    assert isinstance(error, ConnectionFailed)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("silence", AssociationAborted),
        ("close", AssociationAborted),
        ("reset", AssociationAborted),
        ("half an answer", AssociationAborted),
        ("garbage", AssociationAborted),
        ("abort", AssociationAborted),
        ("reject", AssociationRejected),
        ("reject and stay", AssociationRejected),
    ],
)
@pytest_twisted.ensureDeferred
async def test_no_association(answer: str, expected: type[Exception]) -> None:
    async with Rogue() as rogue:
        clock = Clock()
        asking = request(rogue.port, clock=clock)
        raw = await rogue.connection()
        rq = await raw.pdu()
        if answer == "close":
            raw.close()
        elif answer == "reset":
            raw.reset()
        elif answer == "half an answer":
            raw.send(encode(negotiation.accept(rq, AcceptAll())[0])[:50])
        elif answer == "garbage":
            raw.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif answer == "abort":
            raw.send(encode(Abort(2, 1)))
        elif answer.startswith("reject"):
            raw.send(encode(AssociateRJ(2, 3, 2)))
            if answer == "reject":
                raw.close()
        ended = failure_later(asking)
        await expire(clock, lambda: ended)
        assert isinstance(ended[0].value, expected)
        await expire(clock, lambda: raw.lost)
        assert not clock.getDelayedCalls()


def failure_later(deferred: Deferred[Any]) -> list[Any]:
    """Will hold the failure that `deferred` ends in."""
    ended: list[Any] = []
    deferred.addBoth(ended.append)
    return ended


@pytest.mark.parametrize("phase", ["connecting", "asked"])
@pytest_twisted.ensureDeferred
async def test_cancelling(phase: str) -> None:
    async with Rogue() as rogue:
        asking = request(rogue.port)
        if phase == "asked":
            await (await rogue.connection()).pdu()
        asking.cancel()
        assert isinstance(await failure_of(asking), CancelledError)
        await pause(0.05)
        for raw in rogue.connections:
            await raw.closed()


@pytest.mark.parametrize("how", ["silence", "close", "reset", "abort", "garbage", "half an answer", "release"])
@pytest_twisted.ensureDeferred
async def test_no_response(how: str) -> None:
    clock = Clock()
    async with established(clock=clock) as (association, raw):
        asking = Deferred.fromCoroutine(echo(association))
        await until(raw.messages)
        (asked,) = raw.messages()
        if how in {"close", "reset"}:
            getattr(raw, how)()
        elif how == "abort":
            raw.send(encode(Abort(0, 0)))
        elif how == "garbage":
            raw.send(b"\xff" * 20)
        elif how == "release":
            raw.send(encode(ReleaseRQ()))
        elif how == "half an answer":
            raw.send(message_bytes(ECHO_ID, messages.response(asked.command))[:-1])
        ended = failure_later(asking)
        late = how in {"silence", "half an answer"}
        await (expire(clock, lambda: ended) if late else until(lambda: ended))
        assert isinstance(ended[0].value, DimseTimeout if late else AssociationAborted)
        await expire(clock, lambda: association.lost)


@pytest_twisted.ensureDeferred
async def test_a_release_that_is_not_answered() -> None:
    clock = Clock()
    async with established(clock=clock) as (association, raw):
        association.release()
        await expire(clock, lambda: association.lost)
        assert "no answer to A-RELEASE-RQ" in association.outcome
        await raw.closed()


@pytest.mark.parametrize("how", ["close", "reset", "answered", "abort"])
@pytest_twisted.ensureDeferred
async def test_a_release_that_is_answered_somehow(how: str) -> None:
    async with established() as (association, raw):
        releasing = association.release()
        await until(lambda: len(raw.pdus()) == 2)
        if how == "answered":
            raw.send(encode(ReleaseRP()))
        elif how == "abort":
            raw.send(encode(Abort(0, 0)))
        else:
            getattr(raw, how)()
        await releasing
        assert association.lost


@pytest_twisted.ensureDeferred
async def test_both_release_at_once() -> None:
    """PS3.8 §7.2.2.7: the requestor answers first."""
    async with established() as (association, raw):
        releasing = association.release()
        raw.send(encode(ReleaseRQ()))
        await until(lambda: len(raw.pdus()) == 3)
        assert [type(pdu) for pdu in raw.pdus()[1:]] == [ReleaseRQ, ReleaseRP]
        raw.send(encode(ReleaseRP()))
        await releasing
        assert association.outcome == "released"


@pytest.mark.parametrize("how", ["stalls", "reset", "abort", "our abort", "cancelled"])
@pytest_twisted.ensureDeferred
async def test_amid_sending_a_large_file(tmp_path: Path, how: str) -> None:
    """The descriptor is closed on every path, and memory does not grow with the file."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    clock = Clock()
    async with established(clock=clock, send_buffer=4_096) as (association, raw):
        raw.transport.pauseProducing()  # type: ignore[union-attr]
        fd = os.open(path, os.O_RDONLY)
        asking = store(association, CT_ID, CT, "1.2.3", FileSource(fd, 0, 200_000_000))
        await until(lambda: clock.advance(0) or association.protocol.deadlines._due.get("write"))
        assert association.protocol.bytes_sent < 50_000_000
        if how == "reset":
            raw.reset()
        elif how == "abort":
            raw.send(encode(Abort(0, 0)))
        elif how == "our abort":
            association.give_up("enough")
        elif how == "cancelled":
            asking.cancel()
        ended = failure_later(asking)
        await (expire(clock, lambda: ended) if how == "stalls" else until(lambda: ended))
        assert isinstance(ended[0].value, CancelledError if how == "cancelled" else AssociationAborted)
        if how == "stalls":
            assert "took no bytes" in ended[0].getErrorMessage()
        if how == "cancelled":
            association.give_up("enough")
        await expire(clock, lambda: association.lost)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
        raw.transport.resumeProducing()  # type: ignore[union-attr]


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_shorter_than_it_was(tmp_path: Path) -> None:
    """It was cut after it was opened: nothing wrong is sent as right."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1_000_000))
    clock = Clock()
    async with established(clock=clock) as (association, raw):
        fd = os.open(path, os.O_RDONLY)
        ended = failure_later(store(association, CT_ID, CT, "1.2.3", FileSource(fd, 0, 2_000_000)))
        await until(lambda: clock.advance(0) or ended)
        assert "ended before the data set did" in ended[0].getErrorMessage()
        await until(lambda: len(raw.pdus()) == 2)
        await expire(clock, lambda: association.lost)
        assert [type(pdu) for pdu in raw.pdus()][-1] is Abort
        assert raw.messages() == []


@pytest_twisted.ensureDeferred
async def test_a_peer_with_the_least_maximum_length(tmp_path: Path) -> None:
    async with Rogue() as rogue:
        asking = request(rogue.port)
        raw = await rogue.connection()
        await accept(raw, max_length=8)
        association = await asking
        asking_echo = Deferred.fromCoroutine(echo(association))
        await until(raw.messages)
        raw.send(message_bytes(ECHO_ID, messages.response(raw.messages()[0].command)))
        assert (await asking_echo).is_success
        association.give_up("the test ends")
        await association.when_lost()


@pytest_twisted.ensureDeferred
async def test_requests_of_a_peer_that_has_no_business_to_ask() -> None:
    async with established() as (association, raw):
        raw.send(message_bytes(ECHO_ID, requests.c_echo_rq(1)))
        assert await raw.answers(1) == [0x0211]
        assert association.established


@pytest_twisted.ensureDeferred
async def test_a_response_without_end() -> None:
    clock = Clock()
    async with established(clock=clock) as (association, raw):
        asking = Deferred.fromCoroutine(echo(association))
        await until(raw.messages)
        response = Command(messages.response(raw.messages()[0].command).values | {COMMAND_DATA_SET_TYPE: 1})
        raw.send(message_bytes(ECHO_ID, response) + pdata(ECHO_ID, 0, bytes(100_000)) * 200)
        assert isinstance(await failure_of(asking), AssociationAborted)
        assert "over 16777216 bytes" in association.outcome
        await expire(clock, lambda: association.lost)
