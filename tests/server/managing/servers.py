"""Servers that have folders and locks but no processes: administrators reach them in memory."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from tests.admin.serving import STATUS, Stage, TurnClock
from txdicom.cli import running
from txdicom.errors import ConnectionFailed
from txdicom.server.folder import ServerFolder
from txdicom.server.managing import manager
from txdicom.server.managing.manager import ServiceAdministrator

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    import pytest

    from txdicom.interfaces.control import ServerStatus


class Running:
    """A server that runs, as its manager sees it."""

    def __init__(self, folder: ServerFolder, status: ServerStatus) -> None:
        self.folder = folder
        self.stage = Stage()
        self.answers = True
        self.control = self.stage.control
        self.control.results["status"] = status

    @property
    def status(self) -> ServerStatus:
        return self.control.results["status"]

    def stop(self) -> None:
        self.answers = False
        self.stage.end()
        self.folder.release()


class Servers:
    """A base with servers."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.base = base
        self.clock = TurnClock()
        self.running: dict[str, Running] = {}
        self.administrator = ServiceAdministrator(str(base))
        monkeypatch.setattr(manager.client, "connect", self._connect)
        monkeypatch.setattr(running, "run", self.run)

    def _connect(self, reactor: Any, path: str, **options: float) -> Deferred[Any]:
        found = self.running.get(os.path.basename(os.path.dirname(path)))
        if found is None or not found.answers:
            return fail(ConnectionFailed(f"no server answers at {path}"))
        return succeed(found.stage.administrator())

    def create(self, title: str, *settings: str) -> Path:
        self.administrator.create(title, settings)
        return self.base / title

    def start(self, title: str, **status: Any) -> Running:
        folder = ServerFolder(str(self.base), title)
        folder.hold()
        made = Running(folder, replace(STATUS, ae_title=title, process=os.getpid(), **status))
        self.running[title] = made
        return made

    def turn(self, seconds: float = 0.0) -> None:
        for one in [*self.running.values()]:
            if one.answers:
                one.stage.run()
        self.clock.advance(seconds)

    def result(self, deferred: Deferred[Any]) -> Any:
        """What comes of it; an error is raised."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        for _ in range(200):
            if results:
                break
            self.turn(0.1)
        assert results, "nothing comes of it"
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def run(self, work: Callable[[Any], Coroutine[Deferred[Any], Any, int]], *, debug: bool = False) -> Any:
        """Stands in the place of `txdicom.cli.running.run`."""
        return self.result(Deferred.fromCoroutine(work(self.clock)))

    def end(self) -> None:
        for one in self.running.values():
            if one.answers:
                one.stop()
        assert self.clock.getDelayedCalls() == []
