"""Whether a worker answers: one that hangs is to be left out, and ended where it stays so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall

#: seconds from an answer to the next question
_REST: Final = 5.0
#: seconds without an answer until a worker counts as silent, and until it is given up
SILENT: Final = 10.0
GIVEN_UP: Final = 60.0


class Pulse:
    """Asks by `ask` for a sign of life.

    `changed` is called when `silent` has changed, `given_up` when it has been so for too long.
    """

    def __init__(
        self,
        reactor: Any,
        ask: Callable[[], Deferred[Any]],
        changed: Callable[[], None],
        given_up: Callable[[], None],
    ) -> None:
        #: whether it has not answered for a while
        self.silent = False
        self._reactor = reactor
        self._ask = ask
        self._changed = changed
        self._given_up = given_up
        self._timer: IDelayedCall | None = None

    def begin(self) -> None:
        """Asks from now on."""
        self._timer = self._reactor.callLater(SILENT, self._no_answer)
        self._ask().addCallbacks(self._answered, lambda failure: self.end())

    def end(self) -> None:
        """Asks no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _answered(self, answer: object) -> None:
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = self._reactor.callLater(_REST, self.begin)
        if self.silent:
            self.silent = False
            self._changed()

    def _no_answer(self) -> None:
        # from now on, not from the question on: this process may have been stopped itself
        self._timer = self._reactor.callLater(GIVEN_UP - SILENT, self._too_long)
        self.silent = True
        self._changed()

    def _too_long(self) -> None:
        self._timer = None
        self._given_up()
