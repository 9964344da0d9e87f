"""What an add-in provides to look on at every PDU and DIMSE message, and what it is shown.

The methods are plain ones, called in the reactor on the way of each message: they must be quick, and a coroutine is not
run. One that raises is logged once for each kind of exception, and never affects the association. Where no add-in
provides these interfaces nothing is spent on them.

They see the associations that peers open and those that the server opens itself: for the sub-operations of a C-MOVE,
and for `IDicomRequest`. `event.association.requestor` tells them apart. In a script without a server, objects that
provide these interfaces are given to `txdicom.scu.connect(observers=[…])`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zope.interface import Interface

from txdicom.errors import DicomError


@dataclass(frozen=True)
class PDUEvent:
    """A PDU, as it was read from the connection or written to it (PS3.8 §9.3)."""

    association: Any
    #: "received" or "sent"
    direction: str
    #: the first byte: 1 A-ASSOCIATE-RQ, 2 -AC, 3 -RJ, 4 P-DATA-TF, 5 A-RELEASE-RQ, 6 -RP, 7 A-ABORT
    type: int
    #: PDU-length: its bytes without the six of the header
    length: int
    #: the PDU itself, of `txdicom.pdu.types`; None for P-DATA-TF, and for one that cannot be read
    pdu: Any = None


@dataclass(frozen=True)
class MessageEvent:
    """A DIMSE message (PS3.7 §6.3.1): a request, a response or a C-CANCEL."""

    association: Any
    #: "received" or "sent"
    direction: str
    #: `txdicom.ul.negotiation.AcceptedContext`: context_id, abstract_syntax, transfer_syntax
    context: Any
    #: `txdicom.dimse.command.Command`; its repr is fit for logs
    command: Any
    #: bytes of the encoded data set; None where there is none
    size: int | None
    #: Reads the data set, when called, as a pydicom Dataset without what is in group 7FE0 at any depth (pixel data and
    #: what describes it), unless `copy_pixel_data_to_observers` is set. None where there is no data set, where it
    #: goes out from a file, and where what precedes the pixel data is over 1 MiB.
    dataset: Callable[[], Any] = field(repr=False)


@dataclass(frozen=True)
class Change:
    """What `before_send` changes of a message; the rest stays."""

    #: new values of command elements by element number (0x0902: "text"), None to leave one out. What ties a message
    #: to its operation stays as it is: Command Field, both Message IDs, Command Data Set Type, pending or final.
    elements: Mapping[int, Any] = field(default_factory=dict)
    #: a pydicom Dataset, or bytes in the transfer syntax of the context, instead of the data set in memory; None
    #: leaves it. Of a message whose data set comes from a file only the command set can change.
    dataset: Any = field(default=None, repr=False)


class Veto(DicomError):
    """Raised by `before_send`: the message is not sent.

    A request fails with this exception. For a final response the peer gets a failure (C000H for C-STORE, C-FIND,
    C-GET and C-MOVE, else 0110H), for somebody waits for it; a pending one is left out.
    """


class INotifyReceiveMessage(Interface):
    """Looks on at what is received."""

    def message_received(event):  # type: ignore[no-untyped-def]  # an interface's method
        """Called with a `PDUEvent` for each PDU before anything is done about it, its P-DATA perhaps still coming.

        And with a `MessageEvent` for each DIMSE message once it is complete, before it is handled.
        """


class INotifySendMessage(Interface):
    """Looks on at what is sent, and may change it."""

    def before_send(event):  # type: ignore[no-untyped-def]  # an interface's method
        """Called with the `MessageEvent` of each DIMSE message before it is sent, in both roles.

        Returns None, or a `Change`; or raises `Veto("why")`. Add-ins are asked in their order, each is shown what the
        one before it made of the message. A change that cannot be made is logged, and the message goes out without it.
        """

    def message_sent(event):  # type: ignore[no-untyped-def]  # an interface's method
        """Called with a `PDUEvent` for each PDU that is written, and with a `MessageEvent` for each whole message."""
