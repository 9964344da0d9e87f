"""Storage (PS3.4 Annex B): C-STORE in both roles."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, ClassVar, Final

from twisted.logger import Logger

from txdicom.dimse import requests
from txdicom.dimse.assembler import DISCARD
from txdicom.dimse.status import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, PROCESSING_FAILURE, Status
from txdicom.errors import RAISED
from txdicom.net.exchange import MAY_SEND
from txdicom.net.invocation import SingleResponse
from txdicom.services.request import Request
from txdicom.services.spool import Received, Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.defer import Deferred

    from txdicom.dimse.command import Command
    from txdicom.net.association import Association
    from txdicom.net.sending import DataSource
    from txdicom.ul.negotiation import AcceptedContext

_log = Logger()

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class StoreRequest(Request):
    """C-STORE as the SCP: the data set is received into `received`, then `on_c_store` is called."""

    __slots__ = ("_dataset", "received", "write")

    unable: ClassVar[Status] = CANNOT_UNDERSTAND

    def __init__(
        self,
        association: Association,
        context: AcceptedContext,
        command: Command,
        handler: Callable[[Any], Any] | None,
        refusal: Status | None,
        spool: Spool,
    ) -> None:
        super().__init__(association, context, command, handler, refusal)
        self.received: Received | None = None
        self._dataset: Any = None
        if refusal is None:
            self.received = Received(
                spool,
                command.affected_sop_class or "",
                command.affected_sop_instance or "",
                context.transfer_syntax,
                association.calling_ae,
                association.protocol,
            )
            self.write = self.received.write  # type: ignore[method-assign]  # one call less for each slice
        else:
            self.write = DISCARD.write  # type: ignore[method-assign]

    @property
    def dataset(self) -> Any:
        """The data set, read by pydicom when first asked for."""
        if self._dataset is None and self.received is not None:
            from txdicom.services.encoding import read_dataset

            self._dataset = read_dataset(b"".join(self.received.chunks()), self.transfer_syntax)
        return self._dataset

    def finish(self) -> None:
        """The data set is complete: once all of it is in place, it is this request's turn, or nearly."""
        if self.received is None:
            self.association.arrived(self)
        else:
            self.received.finish(self._in_place)

    def let_go(self) -> None:
        """Frees memory and staged file."""
        if self.received is not None:
            self.received.release()

    def _in_place(self) -> None:
        error = self.received.error if self.received is not None else None
        if error is not None:
            _log.error(
                "instance {sop_instance} of {calling_ae} cannot be received: {error}",
                sop_instance=self.sop_instance,
                calling_ae=self.association.calling_ae,
                error=error,
            )
            status = OUT_OF_RESOURCES if error.errno in _FULL else PROCESSING_FAILURE
            self.refusal = status.with_comment(error.strerror or "")
        self.association.arrived(self)


class ObservedStoreRequest(StoreRequest):
    """C-STORE as the SCP where somebody wants to know of each; see `Spool.observers`.

    `buffers` is the data set for them, where it was kept in memory.
    """

    __slots__ = ("_observers", "buffers")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        spool: Spool = args[-1]
        self.buffers: Sequence[Any] = ()
        self._observers = spool.observers

    def answer(self, status: Status, data: bytes = b"", **elements: Any) -> None:
        """As for every request, then tells of it; an answer for a peer that has left is none."""
        if self._answered:
            return
        reaches_peer = self.association.protocol.upper_layer.state in MAY_SEND
        buffers = self.received.buffers if self.received is not None else None
        super().answer(status, data, **elements)
        self.buffers = buffers or ()
        self._tell(status if reaches_peer else None)
        self.buffers = ()

    def drop(self) -> None:
        """As for every request, then tells of it."""
        if not self._answered:
            super().drop()
            self._tell(None)

    def _tell(self, status: Status | None) -> None:
        for observer in self._observers:
            try:
                observer(self, status)
            except RAISED:  # who looks on must not affect the association
                _log.failure("an observer of stored instances failed")


def store(
    association: Association,
    context_id: int,
    sop_class: str,
    sop_instance: str,
    data: bytes | DataSource,
    *,
    timeout: float | None = None,
    priority: int = 0,
    move_originator_ae: str | None = None,
    move_originator_message_id: int | None = None,
) -> Deferred[tuple[Command, bytes]]:
    """C-STORE as the SCU (PS3.7 §9.1.1): fires with the response, whose status `messages.status_of` reads.

    `data` is the data set encoded in the context's transfer syntax, or a source of it, which is closed in any case.
    """

    def build(message_id: int) -> Command:
        return requests.c_store_rq(
            message_id,
            sop_class,
            sop_instance,
            priority=priority,
            move_originator_ae=move_originator_ae,
            move_originator_message_id=move_originator_message_id,
        )

    return SingleResponse(association, context_id, build, data, timeout).result
