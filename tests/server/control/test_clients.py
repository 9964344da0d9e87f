"""Who hears of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from twisted.logger import globalLogPublisher

from txdicom.interfaces.control import ControlEvent
from txdicom.server.control.clients import Listeners

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.logger import LogEvent

EVENT = ControlEvent(name="ClientConnected", data={"id": 1})


@pytest.fixture
def said() -> Iterator[list[LogEvent]]:
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def test_the_first_and_the_last() -> None:
    happened: list[str] = []
    listeners = Listeners(on_first=lambda: happened.append("first"), on_last=lambda: happened.append("last"))
    assert not listeners
    ends = [listeners.subscribe(lambda event: None) for _ in range(2)]
    assert listeners
    assert happened == ["first"]
    for end in ends:
        end()
        end()
    assert happened == ["first", "last"]
    listeners.subscribe(lambda event: None)
    assert happened == ["first", "last", "first"]


def test_one_that_fails_harms_no_other(said: list[LogEvent]) -> None:
    heard: list[ControlEvent] = []

    def fail(event: ControlEvent) -> None:
        raise RuntimeError("no")

    listeners = Listeners(on_first=lambda: None, on_last=lambda: None)
    listeners.subscribe(fail)
    end = listeners.subscribe(heard.append)
    # one may end while it is told
    listeners.subscribe(lambda event: end())
    listeners.tell(EVENT)
    listeners.tell(EVENT)
    assert heard == [EVENT]
    assert [event["name"] for event in said] == ["ClientConnected"] * 2
