"""C-MOVE and C-GET (PS3.4 C.4.2, C.4.3) as the SCP: an add-in names the instances, the framework sends and counts."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from twisted.python.failure import Failure

from txdicom.dimse import messages
from txdicom.dimse.status import CANCEL, MOVE_DESTINATION_UNKNOWN, PENDING, UNABLE_TO_CALCULATE_MATCHES, Status
from txdicom.errors import DicomError, NotFound, StatusError
from txdicom.interfaces import Retrieval
from txdicom.services.querying import QueryRequest, resolved
from txdicom.services.sources import close
from txdicom.services.suboperations import SubOperations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from txdicom.interfaces import InstanceRef
    from txdicom.net.association import Association


class Destination(Protocol):
    """One Move Destination."""

    def open(self, instances: Sequence[InstanceRef]) -> Deferred[Association]:
        """An association to it, with the presentation contexts for as many of `instances` as can have one there.

        Fails as `txdicom.net.requestor.Requestor` does. Cancelling it leaves nothing behind.
        """


class Destinations(Protocol):
    """Knows where the instances of a C-MOVE go."""

    def resolve(self, ae_title: str, association: Association) -> Any:
        """The `Destination` of that AE title for a C-MOVE on `association`; it may be a coroutine or a Deferred.

        Raises NotFound where there is none, for this peer.
        """


class RetrieveRequest(QueryRequest):
    """What C-MOVE and C-GET have in common: every final response has the numbers and the UIDs of what failed."""

    __slots__ = ("_sub",)

    too_large: ClassVar[Status] = UNABLE_TO_CALCULATE_MATCHES

    def __init__(self, *args: Any, **of_peer: Any) -> None:
        super().__init__(*args, **of_peer)
        self._sub: SubOperations | None = None

    async def converse(self) -> Status:
        """Sends every instance; Success, Warning or Refused by what became of them."""
        await self.prepare()
        retrieval = await self.asked()
        if not isinstance(retrieval, Retrieval):
            raise TypeError(f"the add-in has to return a Retrieval, not {type(retrieval).__name__}")
        self.restart_timeout()
        sub = self._sub = SubOperations(self, len(retrieval.instances), **self.originator())
        await self.send(sub, retrieval.instances)
        sub.conclude()
        # a C-CANCEL that came when nothing remained came too late
        return CANCEL if self.cancelled and sub.tally.remaining else sub.tally.outcome()

    def originator(self) -> dict[str, Any]:
        """What the C-STORE requests say of the operation they are for."""
        return {}

    @abstractmethod
    async def send(self, sub: SubOperations, instances: Sequence[InstanceRef]) -> None:
        """Has `sub` send the instances."""

    def report(self) -> None:
        """A pending response with the numbers, once a sub-operation has ended (PS3.4 C.4.2.3.1, C.4.3.3.1)."""
        if self._sub is not None and not self.cancelled and not self._answered:
            numbers = self._sub.tally.elements(remaining=True)
            response = messages.response(self.command, PENDING, **numbers)
            self.association.send_response(self.context.context_id, response)

    def answer(self, status: Status, data: bytes = b"", **elements: Any) -> None:
        """The final response, with numbers and UIDs once there are sub-operations."""
        if self._sub is not None and not self._answered:
            tally = self._sub.tally
            elements = tally.elements(remaining=status.is_cancel)
            if not status.is_success:
                data = tally.identifier(self.transfer_syntax)
        super().answer(status, data, **elements)

    @property
    def ends_at_once(self) -> bool:
        """At a C-CANCEL nothing more is sent, and the answer waits for what is under way."""
        return self._sub is None or not self._sub.under_way or not self.association.established

    def opened(self, instance: InstanceRef) -> Any:
        """What the instance's `open` gives; that of a blocking handler is called in a thread like the handler."""
        threads = self._addin.threads
        if threads is None:
            return instance.open()
        kept: list[Any] = []

        def ended() -> None:
            if opening and opening[0].called:  # cancelled: nobody takes it
                for one in kept:
                    close(one)

        def run() -> Any:
            kept.append(instance.open())
            return kept[0]

        opening: list[Deferred[Any]] = []
        opening.append(threads.run_blocking(run, ended=ended))
        return opening[0]

    def cannot_open(self) -> None:
        """The exception that is being handled is an add-in's mistake which harms one instance."""
        self._log_failure(Failure())


class GetRequest(RetrieveRequest):
    """One C-GET: `on_c_get`, whose instances go out on the same association; see `IProcessCGet`."""

    __slots__ = ()

    async def send(self, sub: SubOperations, instances: Sequence[InstanceRef]) -> None:
        """The requestor is the SCP of those presentation contexts for which it took that role (PS3.7 D.3.3.4)."""
        await sub.over(self.association, instances)


class MoveRequest(RetrieveRequest):
    """One C-MOVE: `on_c_move`, whose instances go to the Move Destination; see `IProcessCMove`."""

    __slots__ = ("_destination", "_destinations", "_target")

    def __init__(self, *args: Any, destinations: Destinations | None, **of_peer: Any) -> None:
        super().__init__(*args, **of_peer)
        self._destinations = destinations
        self._destination: Destination | None = None
        self._target: Association | None = None  # the association to it, while there is one

    @property
    def destination(self) -> str:
        """The AE title of the Move Destination."""
        return self.command.move_destination or ""

    async def prepare(self) -> None:
        """Finds the destination too (PS3.4 C.4.2.1.5: A801)."""
        await super().prepare()
        try:
            if self._destinations is None:
                raise NotFound("no destinations are known")
            self._destination = await resolved(self._destinations.resolve(self.destination, self.association))
        except NotFound as error:
            raise StatusError(MOVE_DESTINATION_UNKNOWN.with_comment(str(error))) from error
        self.restart_timeout()

    def originator(self) -> dict[str, Any]:
        """PS3.7 §9.1.1.1.6, §9.1.1.1.7."""
        return {
            "move_originator_ae": self.association.calling_ae,
            "move_originator_message_id": self.message_id,
        }

    async def send(self, sub: SubOperations, instances: Sequence[InstanceRef]) -> None:
        """Over one association, or one after the other where one has not room for all presentation contexts."""
        left = instances
        while left and not self.cancelled:
            assert self._destination is not None
            try:
                target = await self.outside(self._destination.open(left))
            except DicomError as error:
                group, left = left, []
                for instance in group:
                    sub.refuse(instance, str(error))
                break
            self._target = target
            proposed = _proposed(target)
            group = [one for one in left if (one.sop_class, one.transfer_syntax) in proposed]
            left = [one for one in left if (one.sop_class, one.transfer_syntax) not in proposed]
            if not group:  # an association that is of no use would be opened again and again
                group, left = left, []
            try:
                await sub.over(target, group)
            finally:
                self._target = None
                if sub.under_way:
                    target.hang_up("the C-MOVE has ended")
                else:
                    target.release()

    def report(self) -> None:
        """Left out while the peer has not taken the one before: the next one says as much."""
        if not self.association.protocol.sending:
            super().report()

    def cancel(self, why: str) -> None:
        """With the association the C-MOVE came on, that to the destination ends."""
        super().cancel(why)
        if self._target is not None and not self.association.established:
            self._target.hang_up(f"the C-MOVE has ended: {why}")


def _proposed(association: Association) -> set[tuple[str, str]]:
    """The presentation contexts that were asked for: (abstract syntax, transfer syntax)."""
    contexts = association.request.contexts if association.request else ()
    return {(one.abstract_syntax, syntax) for one in contexts for syntax in one.transfer_syntaxes}
