"""What operations with many results hand to their callers: iterator objects that clean up when they are left early.

An asynchronous generator would not do under Twisted: leaving its loop by `break` never runs its `finally`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from twisted.internet.defer import CancelledError
from twisted.python import threadable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from txdicom.dimse.status import Status

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Operation(Protocol[T_co]):
    """What stands behind results."""

    async def __anext__(self) -> T_co:
        """The next result."""

    def abandon(self) -> None:
        """No more results are wanted: stops what can be stopped without waiting."""

    async def aclose(self) -> None:
        """The same, then waits until it has ended."""


class Results(Generic[T]):
    """The results of one operation, for `async for`. The request is sent when the first result is asked for.

    Leaving the loop early ends the operation: at once on CPython where nothing else holds this object (a query is sent
    C-CANCEL, no further file is sent), else when the association is released. `aclose` does so too and waits for the
    end: `async with contextlib.aclosing(association.find(…)) as matches: …`.
    """

    def __init__(self, reactor: Any, begin: Callable[[], Awaitable[Operation[T]]]) -> None:
        self._reactor = reactor
        self._begin: Callable[[], Awaitable[Operation[T]]] | None = begin
        self._operation: Operation[T] | None = None
        self._closed = False

    def __aiter__(self) -> Results[T]:
        return self

    async def __anext__(self) -> T:
        if self._closed:
            raise StopAsyncIteration
        if self._operation is None:
            begin, self._begin = self._begin, None
            if begin is None:
                raise StopAsyncIteration
            self._operation = await begin()
            if self._is_closed():
                self._operation.abandon()
        try:
            return await self._operation.__anext__()
        except (CancelledError, GeneratorExit):
            self.abandon()  # whoever waited has left, and need not let go of this object soon
            raise

    def abandon(self) -> None:
        """Ends the operation without waiting for its end."""
        self._closed = True
        if self._operation is not None:
            self._operation.abandon()

    async def aclose(self) -> None:
        """Ends the operation and waits for its end."""
        self._closed = True
        if self._operation is not None:
            await self._operation.aclose()

    def _is_closed(self) -> bool:
        return self._closed

    @property
    def status(self) -> Status | None:
        """The final status of a query or retrieval once it has come; for other operations None."""
        return getattr(self._operation, "status", None)

    def __del__(self) -> None:
        operation = self._operation
        if operation is None or self._closed:
            return
        reactor_thread: int | None = threadable.ioThread
        if reactor_thread in {None, threadable.getThreadID()}:
            operation.abandon()
        else:  # the garbage collector runs in any thread
            self._reactor.callFromThread(operation.abandon)
