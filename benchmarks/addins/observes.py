"""Looks on at every PDU and DIMSE message in both directions, and does nothing."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from txdicom.interfaces import IDicomAddin, INotifyReceiveMessage, INotifySendMessage


@implementer(IDicomAddin, INotifyReceiveMessage, INotifySendMessage)
class Observes:
    """An observer without work of its own: what it costs is the framework's."""

    name = "observes"
    version = "1"
    description = "an onlooker that does nothing"
    author = "benchmarks"

    def load(self, server: Any) -> None:
        """Needs nothing."""

    def unload(self) -> None:
        """Holds nothing."""

    def message_received(self, event: Any) -> None:
        """See `INotifyReceiveMessage`."""

    def before_send(self, event: Any) -> None:
        """See `INotifySendMessage`."""

    def message_sent(self, event: Any) -> None:
        """See `INotifySendMessage`."""
