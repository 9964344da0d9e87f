"""A server on a free port, and peers on real sockets that do what they should not."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.net.wire import Message, Reader, associate_bytes
from tests.services.serving import EchoAddin, NormalizedAddin, StoreAddin
from txdicom.scp import ApplicationEntity, listen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

_warm: list[bool] = []
#: seconds that anything here may take; far more than it does
PATIENCE = 60.0


async def pause(seconds: float = 0.0) -> None:
    await task.deferLater(reactor, seconds, lambda: None)  # type: ignore[arg-type]


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Waits for `condition` with the reactor running."""
    end = reactor.seconds() + PATIENCE  # type: ignore[attr-defined]
    while not condition():
        assert reactor.seconds() < end, what or "it never came true"  # type: ignore[attr-defined]
        await pause(0.002)


async def expire(clock: Clock, condition: Callable[[], Any], what: str = "") -> None:
    """Lets the time of `clock` pass, second by second, until `condition` holds: time-outs without waiting for them."""

    def passed() -> Any:
        clock.advance(1)
        return condition()

    await until(passed, what)


class Raw(Protocol):
    """The other end of a connection, as bytes."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008 (Twisted's signature)
        self.lost = reason

    def send(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]

    async def send_slowly(self, data: bytes, step: int = 1) -> None:
        for start in range(0, len(data), step):
            self.send(data[start : start + step])
            await pause()

    def reset(self) -> None:
        """Ends the connection by RST."""
        handle = self.transport.getHandle()  # type: ignore[union-attr]
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abortConnection()  # type: ignore[union-attr]

    def half_close(self) -> None:
        """Says that nothing more will come, and goes on reading."""
        self.transport.getHandle().shutdown(socket.SHUT_WR)  # type: ignore[union-attr]

    def close(self) -> None:
        self.transport.loseConnection()  # type: ignore[union-attr]

    async def closed(self) -> bytes:
        """All that came until the connection ended."""
        await until(lambda: self.lost, "the connection was not closed")
        return self.data

    def pdus(self) -> list[Any]:
        """The whole PDUs but P-DATA-TF that came so far."""
        return self._read().pdus

    def messages(self) -> list[Message]:
        return self._read().messages

    def _read(self) -> Reader:
        end = 0
        while len(self.data) >= end + 6 and len(self.data) >= (
            following := end + 6 + int.from_bytes(self.data[end + 2 : end + 6])
        ):
            end = following
        reader = Reader()
        reader.feed(self.data[:end])
        return reader

    async def pdu(self) -> Any:
        """The first PDU but P-DATA-TF."""
        await until(self.pdus, "no PDU came")
        return self.pdus()[0]

    async def associate(self, **fields: Any) -> Any:
        self.send(associate_bytes(**fields))
        return await self.pdu()

    async def answers(self, count: int) -> list[int | None]:
        """The statuses of the first `count` messages."""
        await until(lambda: len(self.messages()) >= count, f"{count} answers never came")
        return [message.command.status for message in self.messages()]


class Server:
    """A running server."""

    def __init__(self, entity: ApplicationEntity) -> None:
        self.entity = entity
        self.acceptor = entity.acceptor
        self.port: int = entity.ports[0].getHost().port

    async def peer(self, **options: Any) -> Raw:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)
        raw: Raw = await connectProtocol(endpoint, Raw())
        for option, value in options.items():
            raw.transport.getHandle().setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)  # type: ignore[union-attr]
        return raw

    async def empty(self) -> None:
        """Every connection is gone, and with it all that was counted."""
        await until(lambda: not self.acceptor.associations, f"{self.acceptor.associations} are left")
        assert self.acceptor.slots.half_open == self.acceptor.slots.clients == 0
        assert not self.acceptor.slots._per_ae
        await until(lambda: not self.entity._spool.in_memory, "memory is still accounted for")


@asynccontextmanager
async def server(*addins: Any, clock: Clock | None = None, **settings: Any) -> AsyncGenerator[Server]:
    """A server with these add-ins, or with all of the tests' ones; afterwards nothing of it may be left.

    With `clock` its time-outs are those of that clock.
    """
    if not _warm:
        # the first accepted connection makes Twisted open a descriptor that it keeps for when there are no more
        _warm.append(True)
        async with server(EchoAddin()) as made:
            (await made.peer()).close()
            await pause(0.05)
    before = descriptors() + (not _warm[1:])
    _warm.append(True)
    addins = addins or (EchoAddin(), StoreAddin(), NormalizedAddin())
    entity = await listen(
        reactor,  # type: ignore[arg-type]
        "tcp:0:interface=127.0.0.1",
        ae_title="SERVER",
        addins=addins,
        **{"drain_timeout": 0.1, **settings},
    )
    async with running(entity, clock) as made:
        yield made
    await until(lambda: descriptors() <= before, "descriptors are left open")


@asynccontextmanager
async def running(entity: ApplicationEntity, clock: Clock | None) -> AsyncGenerator[Server]:
    """A server that has been started; with `clock` its time-outs are those of that clock."""
    made = Server(entity)
    if clock is not None:
        entity.acceptor._clock = clock
    try:
        yield made
    finally:
        await stopped(entity, clock)
    await made.empty()


async def stopped(entity: ApplicationEntity, clock: Clock | None) -> None:
    stopping = Deferred.fromCoroutine(entity.stop())
    if clock is not None:
        await expire(clock, lambda: stopping.called)
    await stopping


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Rogue:
    """A listening peer that does what the test says with each connection."""

    def __init__(self) -> None:
        self.connections: list[Raw] = []
        self.port = 0
        self._listening: Any = None

    async def __aenter__(self) -> Rogue:
        factory = Factory.forProtocol(Raw)
        factory.noisy = False
        build = factory.buildProtocol

        def remember(addr: Any) -> Any:
            self.connections.append(build(addr))  # type: ignore[arg-type]
            return self.connections[-1]

        factory.buildProtocol = remember  # type: ignore[method-assign]
        self._listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.port = self._listening.getHost().port
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listening.stopListening()
        for connection in self.connections:
            if connection.lost is None:
                connection.transport.abortConnection()  # type: ignore[union-attr]
        await until(lambda: all(connection.lost for connection in self.connections))

    async def connection(self) -> Raw:
        await until(lambda: self.connections, "nobody connected")
        return self.connections[0]


async def failure_of(deferred: Deferred[Any]) -> BaseException:
    """The error that a Deferred ends in."""
    try:
        result = await deferred
    except Exception as error:
        return error
    raise AssertionError(f"no error, but {result!r}")
