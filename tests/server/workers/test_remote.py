"""What a worker asks its parent about its connections."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone

from txdicom.server.workers import commands
from txdicom.server.workers.remote import RemoteSlots
from txdicom.ul import rejections


class Link:
    def __init__(self) -> None:
        self.open = True
        self.calls: list[Any] = []
        self.answers: list[Deferred[Any]] = []

    def call(self, command: Any, **arguments: Any) -> Deferred[Any]:
        self.calls.append((command, arguments))
        self.answers.append(Deferred())
        return self.answers[-1]


@pytest.fixture
def link() -> Link:
    return Link()


def admitted(slots: RemoteSlots, number: int = 5) -> list[Any]:
    found: list[Any] = []
    asked = slots.admit(number, "A")
    assert isinstance(asked, Deferred)
    asked.addBoth(found.append)
    return found


def test_a_slot_is_asked_for_and_given_back(link: Link) -> None:
    slots = RemoteSlots(link)  # type: ignore[arg-type]
    assert slots.room_for(None)
    slots.enter(5)
    found = admitted(slots)
    assert link.calls == [(commands.TakeSlot, {"number": 5, "calling_ae": "A"})]
    link.answers[0].callback({"granted": True})
    assert (found, slots.clients) == ([None], 1)
    slots.leave(5)
    assert link.calls[1:] == [(commands.FreeSlot, {"number": 5})]
    assert slots.clients == 0


def test_a_slot_that_is_not_to_be_had(link: Link) -> None:
    slots = RemoteSlots(link)  # type: ignore[arg-type]
    slots.enter(5)
    found = admitted(slots)
    link.answers[0].callback({"granted": False})
    assert (found, slots.clients) == ([rejections.LOCAL_LIMIT], 0)


def test_a_slot_that_comes_when_the_peer_is_gone(link: Link) -> None:
    slots = RemoteSlots(link)  # type: ignore[arg-type]
    slots.enter(5)
    admitted(slots)
    slots.leave(5)
    link.answers[0].callback({"granted": True})
    assert slots.clients == 0


def test_a_parent_that_is_gone(link: Link) -> None:
    slots = RemoteSlots(link)  # type: ignore[arg-type]
    slots.enter(5)
    found = admitted(slots)
    link.answers[0].errback(ConnectionDone())
    assert found == [rejections.TEMPORARY_CONGESTION]
    link.open = False
    assert slots.admit(6, "A") == rejections.TEMPORARY_CONGESTION
    slots.leave(5)
    assert len(link.calls) == 1


def test_an_answer_that_is_not_waited_for_any_more(link: Link) -> None:
    slots = RemoteSlots(link)  # type: ignore[arg-type]
    asked = slots.admit(5, "A")
    assert isinstance(asked, Deferred)
    failures: list[Any] = []
    asked.addErrback(failures.append)
    asked.cancel()
    assert failures[0].check(CancelledError)
