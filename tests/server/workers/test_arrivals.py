"""Connections as a worker takes them."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

import pytest
from twisted.logger import formatEvent, globalLogPublisher

from txdicom.server.workers.arrivals import Arrivals
from txdicom.server.workers.channel import channel, hand_over

if TYPE_CHECKING:
    from collections.abc import Iterator


class Entity:
    """An application entity, its acceptor, and the acceptor's slots."""

    def __init__(self) -> None:
        self.acceptor = self.slots = self
        self.number: int | None = None
        self.associations: set[int] = set()
        self.left: list[int] = []

    def leave(self, number: int) -> None:
        self.left.append(number)


class Reactor:
    """Adopts what it is given, unless it is told to fail."""

    def __init__(self, entity: Entity) -> None:
        self.entity = entity
        self.readers: list[Any] = []
        self.adopted: list[Any] = []
        self.error: Exception | None = None

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def adoptStreamConnection(self, fd: int, family: int, factory: Any) -> None:
        if self.error is not None:
            raise self.error
        assert self.entity.number is not None
        self.adopted.append((family, factory is self.entity))
        self.entity.associations.add(self.entity.number)


class Stage:
    def __init__(self) -> None:
        self.ours, theirs = channel()
        self.sockets = [self.ours, theirs, *socket.socketpair()]
        self.entity = Entity()
        self.reactor = Reactor(self.entity)
        self.ended = 0
        self.exhausted = 0
        self.arrivals = Arrivals(self.reactor, theirs, self.end, self.exhaust)
        self.arrivals.begin(self.entity)  # type: ignore[arg-type]

    def end(self) -> None:
        self.ended += 1

    def exhaust(self) -> None:
        self.exhausted += 1

    def send(self, number: int, *, secure: bool = False) -> None:
        hand_over(self.ours, number, secure, self.sockets[2])
        self.arrivals.doRead()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    for one in made.sockets:
        one.close()


def test_they_have_the_numbers_that_the_parent_gives_them(stage: Stage) -> None:
    stage.send(5)
    stage.send(9, secure=True)
    assert stage.entity.associations == {5, 9}
    assert stage.reactor.adopted == [(socket.AF_UNIX, True), (socket.AF_UNIX, False)]
    assert stage.entity.number is None
    assert stage.entity.left == []


@pytest.mark.parametrize("error", [OSError(errno.ENOTCONN, "not connected"), ZeroDivisionError()])
def test_one_that_is_gone_gives_its_slot_back(stage: Stage, error: Exception) -> None:
    stage.reactor.error = error
    stage.send(5)
    assert (stage.entity.left, stage.exhausted) == ([5], 0)
    stage.reactor.error = None
    stage.send(6)
    assert stage.entity.associations == {6}


def test_one_for_which_there_is_no_descriptor(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txdicom.server.workers.arrivals.handed", lambda at: iter([Lost()]))
    stage.arrivals.doRead()
    assert (stage.entity.left, stage.exhausted) == ([7], 1)


def test_one_for_which_twisted_has_no_descriptor(stage: Stage) -> None:
    """The parent hears of it: another worker may have some."""
    events: list[str] = []

    def observe(event: Any) -> None:
        if event["log_namespace"] == "txdicom.server.workers.arrivals":
            events.append(f"{event['log_level'].name}: {formatEvent(event)}")

    stage.reactor.error = OSError(errno.EMFILE, "Too many open files")
    globalLogPublisher.addObserver(observe)
    stage.send(5)
    globalLogPublisher.removeObserver(observe)
    assert (stage.entity.left, stage.exhausted) == ([5], 1)
    assert events == ["error: connection 5 is lost: Too many open files"]


class Lost:
    number, secure, connection = 7, False, None


def test_the_parents_end(stage: Stage) -> None:
    stage.ours.close()
    stage.arrivals.doRead()
    assert (stage.ended, stage.reactor.readers) == (1, [])
