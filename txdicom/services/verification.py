"""Verification (PS3.4 Annex A): C-ECHO in both roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from txdicom.dimse import messages, requests
from txdicom.dimse.status import PROCESSING_FAILURE, Status
from txdicom.errors import LocalProtocolError
from txdicom.net.invocation import SingleResponse
from txdicom.services.request import Request
from txdicom.uids import VERIFICATION

if TYPE_CHECKING:
    from txdicom.net.association import Association


class EchoRequest(Request):
    """C-ECHO as the SCP: `on_c_echo`."""

    __slots__ = ()

    unable: ClassVar[Status] = PROCESSING_FAILURE


async def echo(association: Association, *, timeout: float | None = None) -> Status:
    """C-ECHO as the SCU (PS3.7 §9.1.5): the peer's status.

    Raises LocalProtocolError where Verification was not accepted, DimseTimeout, AssociationAborted.
    """
    context = association.context_for(VERIFICATION)
    if context is None:
        raise LocalProtocolError("the peer accepted no presentation context for Verification")
    command, _ = await SingleResponse(association, context.context_id, requests.c_echo_rq, timeout=timeout).result
    return messages.status_of(command)
