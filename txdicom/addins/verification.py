"""The Verification service class as an add-in (PS3.4 Annex A)."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from txdicom import __version__
from txdicom.dimse.status import SUCCESS, Status
from txdicom.interfaces import IDicomAddin, IProcessCEcho, presentation_context
from txdicom.uids import VERIFICATION


@implementer(IDicomAddin, IProcessCEcho)
class VerificationAddin:
    """Answers C-ECHO with Success."""

    name = "verification"
    version = __version__
    description = "Verification: answers C-ECHO"
    author = "txdicom contributors"

    def load(self, server: Any) -> None:
        """Needs nothing."""

    def unload(self) -> None:
        """Holds nothing."""

    @presentation_context(VERIFICATION)
    def on_c_echo(self, request: Any) -> Status:
        """See `IProcessCEcho`."""
        return SUCCESS
