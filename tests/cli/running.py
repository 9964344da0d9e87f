"""Runs the `txdicom` command in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Ended:
    """What a command has said, and its exit status; negative: the signal that ended it."""

    out: str
    err: str
    status: int

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


class Command(ProcessProtocol):
    """A command that runs; `ended` fires with an `Ended`."""

    def __init__(self, *arguments: str, terminal: bool = False, close_output: bool = False) -> None:
        self.out = b""
        self.err = b""
        self.ended: Deferred[Ended] = Deferred()
        self._close_output = close_output
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "TERM": "xterm"}
        words = [sys.executable, "-bb", "-W", "error", "-m", "txdicom", *arguments]
        self.process = reactor.spawnProcess(self, sys.executable, words, env=environment, usePTY=terminal)

    def connectionMade(self) -> None:
        if self._close_output:
            self.transport.closeStdout()

    def outReceived(self, data: bytes) -> None:
        self.out += data

    def errReceived(self, data: bytes) -> None:
        self.err += data

    def processEnded(self, reason: Failure) -> None:
        status = 0 if reason.check(ProcessDone) else reason.value.exitCode  # type: ignore[attr-defined]
        if status is None:
            status = -reason.value.signal  # type: ignore[attr-defined]
        self.ended.callback(Ended(self.out.decode(), self.err.decode(), status))

    def signal(self, name: str) -> None:
        self.process.signalProcess(name)


async def command(*arguments: object, **keywords: Any) -> Ended:
    """Runs `txdicom` with these words to its end."""
    return await Command(*map(str, arguments), **keywords).ended
