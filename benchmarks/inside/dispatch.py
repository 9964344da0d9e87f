"""From `Dispatcher.perform` to the first line of the add-in's handler, beside a direct call of the handler.

Runs inside the project's code, without a socket: the association is one that starts every request at once and drops
what is answered. Prints microseconds as JSON; the number of calls is the argument.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
from time import perf_counter_ns
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from txdicom.dimse import requests
from txdicom.interfaces import IDicomAddin, IProcessCEcho, presentation_context
from txdicom.services.dispatch import Dispatcher
from txdicom.uids import IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from txdicom.ul.negotiation import AcceptedContext

if TYPE_CHECKING:
    from collections.abc import Callable

SUCCESS = 0x0000
TURNS = 20
"""Dispatched and direct calls take turns so many times."""
WARM_UP = 1000


@implementer(IDicomAddin, IProcessCEcho)
class Plain:
    """A handler that notes when it is called."""

    name = "plain"
    version = "1"
    description = "C-ECHO"
    author = "benchmarks"
    called = 0

    def load(self, server: Any) -> None:
        """Needs nothing."""

    def unload(self) -> None:
        """Holds nothing."""

    @presentation_context(VERIFICATION)
    def on_c_echo(self, request: Any) -> int:
        """See `IProcessCEcho`."""
        self.called = perf_counter_ns()
        return SUCCESS


class Coroutine(Plain):
    """The same as a coroutine, whose first line runs at its first step."""

    name = "coroutine"

    @presentation_context(VERIFICATION)
    async def on_c_echo(self, request: Any) -> int:  # type: ignore[override]
        """See `IProcessCEcho`."""
        self.called = perf_counter_ns()
        return SUCCESS


class Here:
    """What a request needs of an association."""

    calling_ae = "BENCHSCU"
    protocol = SimpleNamespace(deadlines=SimpleNamespace(clear=lambda key: None))

    def arrived(self, request: Any) -> None:
        """Its turn is now."""
        request.start()

    def send_response(self, context_id: int, command: Any, data: bytes = b"") -> None:
        """Goes nowhere."""

    def performed(self, request: Any) -> None:
        """Nobody waits for it."""


def measure(addin: Plain, count: int) -> dict[str, float]:
    """Median microseconds up to the handler's first line, dispatched and called directly."""
    association: Any = Here()
    context = AcceptedContext(1, VERIFICATION, IMPLICIT_VR_LITTLE_ENDIAN)
    command = requests.c_echo_rq(1)
    dispatcher = Dispatcher([addin], SimpleNamespace(observers=()))  # type: ignore[arg-type]
    handler: Callable[[Any], Any] = addin.on_c_echo

    def dispatched() -> None:
        dispatcher.perform(association, context, command).finish()

    def directly() -> None:
        answer = handler(None)
        if answer is not SUCCESS:
            with contextlib.suppress(StopIteration):
                answer.send(None)

    ways = {"dispatched": dispatched, "directly": directly}
    taken: dict[str, list[int]] = {name: [] for name in ways}
    for way in ways.values():
        for _ in range(WARM_UP):
            way()
    for _ in range(TURNS):
        for name, way in ways.items():
            for _ in range(count // TURNS):
                begun = perf_counter_ns()
                way()
                taken[name].append(addin.called - begun)
    return {name: statistics.median(found) / 1e3 for name, found in taken.items()}


def main() -> None:
    """Prints {handler: {way: µs}}."""
    count = int(sys.argv[1])
    print(json.dumps({addin.name: measure(addin, count) for addin in (Plain(), Coroutine())}))


if __name__ == "__main__":
    main()
