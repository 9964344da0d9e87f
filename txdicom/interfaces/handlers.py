"""How an add-in says that a handler blocks."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_ATTRIBUTE: Final = "__blocking__"


def blocking(method: F) -> F:
    """Has the decorated `on_…` method run in a thread: one that waits for a disk, a database or another program.

    The reactor, and with it every association, goes on meanwhile. The method may read all of its request, and sees
    `request.cancelled` change; it must not call Twisted. A thread cannot be stopped from outside: where the method
    outlives `addin_timeout` its message is answered without it, what it returns is dropped, and its thread is taken
    until it returns, so that long work looks at `request.cancelled` from time to time. `addin_threads` says how many
    threads the add-ins of a server share.

    It goes together with `presentation_context` in either order. TypeError for a coroutine function: that waits by
    itself, in the reactor.
    """
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        raise TypeError(f"{method.__qualname__} is a coroutine function: it cannot be @blocking")
    setattr(method, _ATTRIBUTE, True)
    return method


def is_blocking(method: object) -> bool:
    """Whether `method` was marked by `blocking`."""
    return bool(getattr(method, _ATTRIBUTE, False))
