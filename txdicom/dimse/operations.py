"""Which operations are under way on an association, in both roles (PS3.7 §7, D.3.3.3).

The asynchronous operations window limits how many operations a side may have outstanding. As the invoker this side
keeps to it; as the performer it runs at most that many at once and lets a peer that sends more wait its turn.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

from txdicom.errors import LocalProtocolError

T = TypeVar("T")

_LAST_ID: Final = 65_535


class Invoked(Generic[T]):
    """The operations that this side has invoked and that are not answered yet, by Message ID."""

    __slots__ = ("_highest", "_last", "_pending", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._pending: dict[int, T] = {}
        self._last = 0
        self._highest = 0  # of all Message IDs that were given; they begin again at 1 after the last

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def full(self) -> bool:
        """Whether the window allows no further operation now; 0 allows any number."""
        return len(self._pending) >= (self._window or _LAST_ID)

    def add(self, operation: T) -> int:
        """Gives `operation` a Message ID that no pending one has."""
        if self.full:
            raise LocalProtocolError(f"the asynchronous operations window of {self._window} is full")
        last = self._last
        while True:
            last = last % _LAST_ID + 1
            if last not in self._pending:
                break
        self._last = last
        self._highest = max(self._highest, last)
        self._pending[last] = operation
        return last

    def of_response(self, message_id: int | None) -> T | None:
        """The operation a response belongs to.

        A missing Message ID Being Responded To, or one that was never given, is read as that of the only pending
        operation, where there is just one: peers err here, and no other operation can be meant. One that was given is
        that of an operation which has its final response already: a second one must not pass for another's.
        """
        if message_id in self._pending:
            return self._pending[message_id]
        if len(self._pending) == 1 and not 0 < (message_id or 0) <= self._highest:
            return next(iter(self._pending.values()))
        return None

    def remove(self, message_id: int) -> None:
        """The operation has its final response."""
        self._pending.pop(message_id, None)

    def drop_all(self) -> list[T]:
        """The association has ended: every pending operation, none of which will be answered."""
        pending, self._pending = list(self._pending.values()), {}
        return pending


class Performed(Generic[T]):
    """The operations that the peer has invoked: those being performed, and those that wait for the window."""

    __slots__ = ("_running", "_waiting", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._running: dict[int, T] = {}
        self._waiting: deque[tuple[int, T]] = deque()

    def __len__(self) -> int:
        return len(self._running) + len(self._waiting)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def arrived(self, message_id: int, operation: T) -> bool:
        """A request is complete; whether it is to be performed now.

        A Message ID that is being performed already has to wait: its response could not be told from the other's.
        """
        if (self._window and len(self._running) >= self._window) or message_id in self._running or self._waiting:
            self._waiting.append((message_id, operation))
            return False
        self._running[message_id] = operation
        return True

    def finished(self, message_id: int) -> T | None:
        """An operation has got its final response; the operation to be performed next, if one waits."""
        self._running.pop(message_id, None)
        if not self._waiting or self._waiting[0][0] in self._running:
            return None
        if self._window and len(self._running) >= self._window:
            return None
        message_id, operation = self._waiting.popleft()
        self._running[message_id] = operation
        return operation

    def find(self, message_id: int) -> T | None:
        """The operation of this Message ID, performed or waiting: what a C-CANCEL means (PS3.7 §9.3.2.3)."""
        operation = self._running.get(message_id)
        if operation is None:
            operation = next((waiting for waiting_id, waiting in self._waiting if waiting_id == message_id), None)
        return operation

    def running(self) -> list[T]:
        """What is being performed now."""
        return list(self._running.values())

    def drop_all(self) -> list[T]:
        """The association has ended: everything that is being performed or waits."""
        operations = [*self._running.values(), *(operation for _, operation in self._waiting)]
        self._running = {}
        self._waiting.clear()
        return operations
