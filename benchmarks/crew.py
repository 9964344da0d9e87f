"""Several jobs at once, each in a process of its own, that begin together.

All open their association (or a crowd of them) first, then wait for each other, and keep it open when they are
through: so the server's figures can be read before and after the load while the processes that a forking server made
for it still live.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from benchmarks import wire

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from types import TracebackType

GRACE = 30
"""Seconds that a worker gets beyond the limit of its load before it is given up."""


@dataclass(slots=True)
class Outcome:
    """What one job did: times of time.monotonic(), seconds of each operation and of our own CPU."""

    done: int = 0
    started: float = 0.0
    ended: float = 0.0
    cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)
    problem: str = ""


class Opened(Protocol):
    """What a job works on: an association, or many."""

    def release(self) -> None:
        """Ends it in order."""


On = TypeVar("On", bound=Opened)


class Job(Protocol[On]):
    """The work of one process."""

    def open(self) -> On:
        """Prepares everything and opens the association."""

    def run(self, opened: On, outcome: Outcome, /) -> None:
        """Does the work; `outcome` holds what was done even if this raises."""


class Crew:
    """Runs jobs in a process each; a context manager that leaves no process behind.

    `run` once everybody is ready; leaving releases the associations.
    """

    def __init__(self, jobs: Sequence[Job[Any]], limit: float) -> None:
        self._jobs = jobs
        self._deadline = limit + GRACE
        self._workers: list[tuple[BaseProcess, Connection]] = []

    def __enter__(self) -> Crew:
        """Starts the workers; returns when all have their association. Raises WireError if one has not got it."""
        fork = multiprocessing.get_context("fork")
        try:
            for job in self._jobs:
                ours, theirs = fork.Pipe()
                inherited = [ours, *(channel for _, channel in self._workers)]
                process = fork.Process(target=_work, args=(job, theirs, inherited), daemon=True)
                process.start()
                theirs.close()
                self._workers.append((process, ours))
            if problems := {problem for problem in self._gather(str) if problem}:
                raise wire.WireError("; ".join(sorted(problems)))
        except BaseException:
            self._leave()
            raise
        return self

    def run(self) -> list[Outcome]:
        """Lets all begin; returns when all are through, with their associations still open."""
        for _, channel in self._workers:
            channel.send("go")
        return self._gather(Outcome)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _gather(self, kind: type) -> list[Any]:
        deadline = time.monotonic() + self._deadline
        gathered = []
        for _, channel in self._workers:
            if not channel.poll(max(0, deadline - time.monotonic())):
                raise wire.WireError("a worker of the load did not answer in time")
            try:
                gathered.append(channel.recv())
            except EOFError:
                raise wire.WireError("a worker of the load has gone") from None
            assert isinstance(gathered[-1], kind)
        return gathered

    def _leave(self) -> None:
        for _, channel in self._workers:
            channel.close()
        for process, _ in self._workers:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()


def _work(job: Job[Any], channel: Connection, inherited: list[Connection]) -> None:
    """A worker's life: open, say so, wait for the start, run, report, wait for the end, release."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    for parents in inherited:  # while we hold these, the parent's closing of its ends would not be seen
        parents.close()
    outcome = Outcome()
    try:
        opened = job.open()
    except (OSError, wire.WireError) as error:
        channel.send(f"{type(error).__name__}: {error}")
        return
    channel.send("")
    gc.freeze()
    gc.disable()
    with contextlib.suppress(EOFError, BrokenPipeError):
        channel.recv()
        outcome.started, cpu = time.monotonic(), time.process_time()
        try:
            job.run(opened, outcome)
        except (OSError, wire.WireError) as error:
            outcome.problem = f"{type(error).__name__}: {error}"
        outcome.ended, outcome.cpu = time.monotonic(), time.process_time() - cpu
        channel.send(outcome)
        channel.recv()
    with contextlib.suppress(OSError, wire.WireError):
        opened.release()
