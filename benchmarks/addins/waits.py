"""Answers C-ECHO 50 ms later, the reactor free meanwhile; one whose Message ID is even at once."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import deferLater
from zope.interface import implementer

from txdicom.interfaces import IDicomAddin, IProcessCEcho, presentation_context
from txdicom.uids import VERIFICATION

SECONDS = 0.05
SUCCESS = 0x0000


@implementer(IDicomAddin, IProcessCEcho)
class Waits:
    """A handler that awaits something."""

    name = "waits"
    version = "1"
    description = "C-ECHO in 50 ms"
    author = "benchmarks"

    def load(self, server: Any) -> None:
        """Takes the reactor, which is there by now."""
        from twisted.internet import reactor

        self._reactor = reactor

    def unload(self) -> None:
        """Holds nothing."""

    @presentation_context(VERIFICATION)
    async def on_c_echo(self, request: Any) -> int:
        """See `IProcessCEcho`."""
        if request.message_id & 1:
            await deferLater(self._reactor, SECONDS)
        return SUCCESS
