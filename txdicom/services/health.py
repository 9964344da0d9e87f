"""How the add-ins of a server fare: what the administrative interface answers when it is asked about one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from txdicom.services.blocking import BlockingPool


@dataclass(frozen=True, kw_only=True)
class AddinHealth:
    """How one add-in fares. It is healthy while no call of it is stuck; failures are told of, but may be a peer's."""

    healthy: bool
    sentences: tuple[str, ...]
    """What there is to say, for people."""
    running: int
    """Blocking calls under way, stuck ones too."""
    waiting: int
    """Blocking calls that wait for a thread."""
    stuck: tuple[float, ...]
    """How long each call has lasted, in seconds, that still runs after `addin_timeout`: the longest first."""
    failures: int
    """Messages that were answered for the add-in, because it raised, took too long, or gave what is no answer."""
    last_failure: float | None
    """When that was the last time, in seconds since 1970."""
    last_error: str
    """The type of the exception then, and where it was raised; its text only where it cannot speak of a patient."""


class _Failures:
    __slots__ = ("count", "error", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last: float | None = None
        self.error = ""


class Health:
    """Counts the failures of each add-in by its name, and looks at its threads."""

    def __init__(self, pool: BlockingPool) -> None:
        self._pool = pool
        self._failures: dict[str, _Failures] = {}

    def failed(self, addin: str, error: str) -> None:
        """A message had to be answered for `addin`, because of `error`, which speaks of no patient."""
        failures = self._failures.setdefault(addin, _Failures())
        failures.count += 1
        failures.last = time.time()
        failures.error = error

    def of(self, addin: str) -> AddinHealth:
        """How the add-in of that name fares."""
        failures = self._failures.get(addin, _Failures())
        threads = self._pool.addins.get(addin)
        stuck = threads.stuck if threads is not None else ()
        sentences = []
        if threads is not None and stuck:
            sentences.append(
                f"{len(stuck)} of the {threads.most} blocking calls that it can have at once are stuck,"
                f" the longest for {stuck[0]:.0f} s"
            )
        if failures.last is not None:
            ago = time.time() - failures.last
            sentences.append(f"{failures.count} messages failed, the last {ago:.0f} s ago by {failures.error}")
        return AddinHealth(
            healthy=not stuck,
            sentences=tuple(sentences),
            running=len(threads.running) if threads is not None else 0,
            waiting=len(threads.waiting) if threads is not None else 0,
            stuck=stuck,
            failures=failures.count,
            last_failure=failures.last,
            last_error=failures.error,
        )
