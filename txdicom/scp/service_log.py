"""The service log of a server that has none of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import globalLogPublisher
from zope.interface import implementer

from txdicom.interfaces import IServiceLog

if TYPE_CHECKING:
    from twisted.logger import LogEvent


@implementer(IServiceLog)
class TwistedLog:
    """Events go where those of `twisted.logger` go: to whatever the program has set up, or nowhere."""

    def event(self, event: LogEvent) -> None:
        """See `IServiceLog`."""
        globalLogPublisher(event)
