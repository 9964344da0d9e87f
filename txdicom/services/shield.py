"""Work that goes on though nobody waits for its result any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def shielded(run: Callable[[Callable[[], Any]], Deferred[T]], work: Callable[[], Any]) -> Deferred[T]:
    """What `run(work)` comes to, where `run` is that of a lock or a semaphore.

    Cancelling it does not cancel the work, which would free the lock while a thread still has it; work that has not
    begun by then does not begin.
    """
    done: Deferred[T] = Deferred()

    def begin() -> Any:
        return None if done.called else work()

    run(begin).addBoth(lambda result: None if done.called else done.callback(result))
    return done
