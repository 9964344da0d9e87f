"""Tells of a handler that holds the reactor: while it does, nobody else is answered."""

from __future__ import annotations

import sys
from threading import Event, Thread, get_ident
from time import monotonic
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

if TYPE_CHECKING:
    from types import FrameType

    from txdicom.services.calls import Handler

_log = Logger()

#: looks in the time that a handler may take
_LOOKS: Final = 4
#: frames of a stack that are told
_FRAMES: Final = 30
#: where handlers are called from: the stack outside of it says nothing of the add-in
_CALLERS: Final = ("txdicom.services.calls", "txdicom.services.find", "txdicom.services.request")


class Watchdog:
    """Looks from a thread of its own, some times in `seconds`, at which handler the reactor is in; 0 seconds: never.

    Whoever calls a handler in the reactor sets `call` to a new list with nothing but the `Handler`, and afterwards to
    None. A list of its own for each call tells one call from the next; it is emptied when the call has been told of.
    """

    __slots__ = ("_reactor", "_seconds", "_stop", "_thread", "call")

    def __init__(self, seconds: float) -> None:
        self.call: list[Handler] | None = None
        self._seconds = seconds
        self._stop = Event()
        self._thread: Thread | None = None
        self._reactor = 0

    def start(self) -> None:
        """From now on; called in the reactor's thread."""
        if self._seconds and self._thread is None:
            self._reactor = get_ident()
            self._stop.clear()
            self._thread = Thread(target=self._watch, name="txdicom-watchdog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """No more."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            thread.join()  # it does nothing that lasts

    def _watch(self) -> None:
        seen: list[Handler] | None = None
        since = 0.0
        while not self._stop.wait(self._seconds / _LOOKS):
            call, now = self.call, monotonic()
            if call is not seen:
                seen, since = call, now
            elif call and now - since >= self._seconds:
                self._tell(call)

    def _tell(self, call: list[Handler]) -> None:
        stack = _stack(sys._current_frames().get(self._reactor))
        if self.call is not call:  # it has just ended, and the stack is another's
            return
        handler = call.pop()
        _log.error(
            "add-in {addin}: {method} has held the reactor for {seconds:g} s, and nobody else is answered: mark it"
            " @blocking, or have it await what takes long; it is at {stack}",
            addin=handler.addin,
            method=handler.name,
            seconds=self._seconds,
            stack=stack,
        )


def _stack(frame: FrameType | None) -> str:
    """The calls from the handler to where it is, on one line; no values, which could be a patient's."""
    found: list[str] = []
    while frame is not None and len(found) < _FRAMES and frame.f_globals.get("__name__") not in _CALLERS:
        code = frame.f_code
        found.append(f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}")
        frame = frame.f_back
    return " > ".join(reversed(found))
