"""Runs the reactor for one command: until it is done, or until a signal cancels it."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import FrameType


def run(work: Callable[[Any], Coroutine[Deferred[Any], Any, int]], *, debug: bool = False) -> int:
    """The exit status that `work(reactor)` returns; what it raises is raised.

    SIGINT (Ctrl-C), SIGTERM and SIGHUP cancel it, which aborts its associations; the status is then 128 + the signal's
    number. A second signal ends the process at once. What the library logs goes to standard error with `debug`, else
    nowhere: what goes wrong is said in sentences.
    """
    from twisted.internet import reactor as installed

    reactor: Any = installed
    outcome: list[int | Failure] = []
    signals: list[int] = []
    done: Deferred[int] = Deferred()

    def handle(number: int, _: FrameType | None) -> None:
        signals.append(number)
        if len(signals) > 1:
            os._exit(128 + number)
        reactor.callFromThread(done.cancel)

    def begin() -> None:
        nonlocal done
        if signals:
            reactor.stop()
            return
        done = Deferred.fromCoroutine(work(reactor))
        done.addBoth(end)

    def end(result: Any) -> None:
        outcome.append(result)
        reactor.callWhenRunning(reactor.stop)

    observers = [textFileLogObserver(sys.stderr)] if debug else []
    globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=False, discardBuffer=True)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        reactor.callWhenRunning(begin)
        reactor.run(installSignalHandlers=False)
    finally:
        if not signals:  # else the process is about to end, and a further signal is not to disturb it
            for number, handler in before.items():
                signal.signal(number, handler)
    if not outcome:
        return 128 + signals[0]
    [result] = outcome
    if isinstance(result, Failure):
        if signals and result.check(CancelledError):
            return 128 + signals[0]
        result.raiseException()
    return result
