"""Who an association deals with on this side: its owner, and the performer of what the peer asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from txdicom.dimse.command import Command
    from txdicom.net.association import Association
    from txdicom.pdu.types import AssociateAC, AssociateRJ, AssociateRQ
    from txdicom.ul.negotiation import AcceptedContext


class Performance(Protocol):
    """One operation that the peer asked for, as the performer handles it."""

    message_id: int

    @property
    def cancellable(self) -> bool:
        """Whether a C-CANCEL may mean it: C-FIND, C-GET and C-MOVE alone (PS3.7 §9.3.2.3, §9.3.3.3, §9.3.4.3)."""

    def write(self, data: memoryview) -> None:
        """A slice of the data set."""

    def finish(self) -> None:
        """The data set is complete: `association.arrived(self)`."""

    def start(self) -> None:
        """The request is complete and it is its turn; ends with `association.performed(self)`."""

    def cancel(self, why: str) -> None:
        """C-CANCEL, the end of the association, or a stop; the operation answers if it still can."""

    def drop(self) -> None:
        """The association has ended: let go of everything; nothing can be answered."""


class Performer(Protocol):
    """Handles the requests of the peer."""

    def perform(self, association: Association, context: AcceptedContext, command: Command) -> Performance:
        """A request has come, its data set not yet."""


class Owner(Protocol):
    """Whoever made the association: the acceptor or the requestor."""

    def connected(self, association: Association) -> None:
        """The connection is there; from now on its end will be told."""

    def associate_indication(self, association: Association, rq: AssociateRQ) -> None:
        """The peer asks for an association (acceptor only)."""

    def associate_confirmation(self, association: Association, answer: AssociateAC | AssociateRJ) -> None:
        """The peer has answered ours (requestor only)."""

    def idle(self, association: Association) -> None:
        """An operation has ended and no other is under way."""

    def ended(self, association: Association) -> None:
        """The connection is gone; called exactly once for each that was made."""
