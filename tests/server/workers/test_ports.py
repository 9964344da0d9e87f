"""The parent's listening sockets."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import succeed
from twisted.internet.testing import MemoryReactorClock

from txdicom.server.workers.ports import Ports, _Listening


class Listener:
    """A listening socket; `coming` are what its `accept` gives or raises."""

    def __init__(self, family: int = socket.AF_INET) -> None:
        self.family = family
        self.coming: list[Any] = []

    def fileno(self) -> int:
        return 99

    def accept(self) -> Any:
        if not self.coming:
            raise BlockingIOError(errno.EAGAIN, "nobody")
        one = self.coming.pop(0)
        if isinstance(one, Exception):
            raise one
        return one


class Port:
    def __init__(self, listener: Listener) -> None:
        self.socket = listener
        self.stopped = 0

    def getHost(self) -> str:
        return "here"

    def stopListening(self) -> Any:
        self.stopped += 1
        return succeed(None)


class Stage:
    def __init__(self, family: int = socket.AF_INET, *, secure: bool = False) -> None:
        self.reactor = MemoryReactorClock()
        self.came: list[Any] = []
        self.ports = Ports(self.reactor, lambda *one: self.came.append(one))
        self.listener = Listener(family)
        self.listening = _Listening(self.ports, Port(self.listener), secure=secure)
        self.ports._listening.append(self.listening)


def test_nobody_is_accepted_before_it_is_wanted() -> None:
    stage = Stage()
    assert stage.reactor.getReaders() == []
    stage.ports.accept(True)
    assert stage.reactor.getReaders() == [stage.listening]
    stage.ports.accept(True)
    stage.ports.accept(False)
    assert stage.reactor.getReaders() == []


@pytest.mark.parametrize(
    ("family", "address", "peer"),
    [
        (socket.AF_INET, ("192.0.2.7", 5), IPv4Address("TCP", "192.0.2.7", 5)),
        (socket.AF_INET6, ("2001:db8::7", 5, 0, 0), IPv6Address("TCP", "2001:db8::7", 5, 0, 0)),
        (socket.AF_UNIX, "", None),
    ],
)
def test_who_comes_is_told_with_the_address(family: int, address: Any, peer: Any) -> None:
    stage = Stage(family, secure=True)
    stage.ports.accept(True)
    stage.listener.coming = [("one", address), ("two", address)]
    stage.listening.doRead()
    assert stage.came == [("one", peer, True), ("two", peer, True)]


def test_a_crowd_does_not_keep_the_reactor() -> None:
    stage = Stage()
    stage.ports.accept(True)
    stage.listener.coming = [(number, ("192.0.2.7", 5)) for number in range(200)]
    stage.listening.doRead()
    assert len(stage.came) == 64


def test_those_who_leave_at_once_do_not_keep_others_waiting() -> None:
    stage = Stage()
    stage.ports.accept(True)
    stage.listener.coming = [OSError(errno.ECONNABORTED, ""), OSError(errno.EPERM, ""), ("one", ("192.0.2.7", 5))]
    stage.listening.doRead()
    assert len(stage.came) == 1


def test_a_pause_amid_a_crowd() -> None:
    """No worker took the first one."""
    stage = Stage()
    stage.ports.came = lambda *one: stage.ports.accept(False)
    stage.ports.accept(True)
    stage.listener.coming = [(number, ("192.0.2.7", 5)) for number in range(3)]
    stage.listening.doRead()
    assert len(stage.listener.coming) == 2


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_descriptors_it_rests(number: int) -> None:
    """The sockets stay readable: to go on would be to ask for ever."""
    stage = Stage()
    stage.ports.accept(True)
    stage.listener.coming = [OSError(number, "too many"), ("one", ("192.0.2.7", 5))]
    stage.listening.doRead()
    assert stage.reactor.getReaders() == []
    stage.ports.accept(True)
    assert stage.reactor.getReaders() == []
    stage.reactor.advance(1)
    assert stage.reactor.getReaders() == [stage.listening]
    stage.listening.doRead()
    assert len(stage.came) == 1


async def test_the_end() -> None:
    stage = Stage()
    stage.ports.accept(True)
    stage.listener.coming = [OSError(errno.EMFILE, "too many")]
    stage.listening.doRead()
    await stage.ports.close()
    assert stage.listening.port.stopped == 1
    assert stage.reactor.getDelayedCalls() == []
    assert stage.reactor.getReaders() == []
    assert stage.ports.addresses == []
