"""Answers C-ECHO from a thread that sleeps for 50 ms; one whose Message ID is even does not sleep."""

from __future__ import annotations

import time
from typing import Any

from zope.interface import implementer

from txdicom.interfaces import IDicomAddin, IProcessCEcho, blocking, presentation_context
from txdicom.uids import VERIFICATION

SECONDS = 0.05
SUCCESS = 0x0000


@implementer(IDicomAddin, IProcessCEcho)
class Blocks:
    """A handler that blocks."""

    name = "blocks"
    version = "1"
    description = "C-ECHO in 50 ms, blocking"
    author = "benchmarks"

    def load(self, server: Any) -> None:
        """Needs nothing."""

    def unload(self) -> None:
        """Holds nothing."""

    @blocking
    @presentation_context(VERIFICATION)
    def on_c_echo(self, request: Any) -> int:
        """See `IProcessCEcho`."""
        if request.message_id & 1:
            time.sleep(SECONDS)
        return SUCCESS
