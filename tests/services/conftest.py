"""What the tests of the services share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from twisted.logger import globalLogPublisher

from txdicom.services import querying

if TYPE_CHECKING:
    from collections.abc import Generator

    from twisted.logger import LogEvent


@pytest.fixture
def logged() -> Generator[list[LogEvent]]:
    """The failures of add-ins that were logged."""
    events: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"].startswith("txdicom.services") and "log_failure" in event:
            events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may be slow: a turn ends by its time only where a test is about that."""
    monkeypatch.setattr(querying, "_TURN", 60.0)
