"""The C-STORE sub-operations of a C-MOVE or C-GET (PS3.4 C.4.2.3.1, C.4.3.3.1): counted, several at once, streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from txdicom.dimse.messages import status_of
from txdicom.dimse.status import SUB_OPERATIONS_WITH_FAILURES, SUCCESS, UNABLE_TO_PERFORM_SUB_OPERATIONS, Status
from txdicom.errors import RAISED, DicomError
from txdicom.services.encoding import write_dataset
from txdicom.services.querying import resolved, wakened
from txdicom.services.sources import source_of
from txdicom.services.storage import store
from txdicom.uids import IMPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from txdicom.dimse.command import Command
    from txdicom.interfaces import InstanceRef
    from txdicom.net.association import Association
    from txdicom.services.retrieve import RetrieveRequest

_log = Logger()

#: sub-operations at once where the peer sets no limit
_AT_ONCE: Final = 16
#: the longest value of a UI where its length has 16 bits; a longer one is written as UN (PS3.5 §6.2.2)
_LONGEST: Final = 65_534
_FAILED_SOP_INSTANCE_UID_LIST: Final = 0x00080058


class Tally:
    """How far the sub-operations are, and which instances failed."""

    def __init__(self, count: int) -> None:
        self.remaining = count
        self.completed = 0
        self.warning = 0
        self.failed: list[str] = []

    def success(self) -> None:
        """One more was stored."""
        self.remaining -= 1
        self.completed += 1

    def warn(self) -> None:
        """One more was stored, with a warning."""
        self.remaining -= 1
        self.warning += 1

    def fail(self, sop_instance: str) -> None:
        """One more was not stored."""
        self.remaining -= 1
        self.failed.append(sop_instance)

    def elements(self, *, remaining: bool) -> dict[str, Any]:
        """The numbers as a response has them."""
        numbers = {"completed": self.completed, "failed": len(self.failed), "warning": self.warning}
        return {"remaining": self.remaining, **numbers} if remaining else numbers

    def outcome(self) -> Status:
        """The final status once nothing remains (PS3.4 C.4.2.3.1, C.4.3.3.1)."""
        if self.failed and not (self.completed or self.warning):
            return UNABLE_TO_PERFORM_SUB_OPERATIONS
        return SUB_OPERATIONS_WITH_FAILURES if self.failed or self.warning else SUCCESS

    def identifier(self, transfer_syntax: str) -> bytes:
        """The data set with the UIDs of the instances that failed; nothing where none did (PS3.4 C.4.2.1.4.2)."""
        if not self.failed:
            return b""
        from pydicom import Dataset

        value = "\\".join(self.failed)
        long = len(value) > _LONGEST and transfer_syntax != IMPLICIT_VR_LITTLE_ENDIAN
        dataset = Dataset()
        if long:
            dataset.add_new(_FAILED_SOP_INSTANCE_UID_LIST, "UN", value.encode("ascii") + b"\0" * (len(value) % 2))
        else:
            dataset.add_new(_FAILED_SOP_INSTANCE_UID_LIST, "UI", self.failed)
        return write_dataset(dataset, transfer_syntax)


class SubOperations:
    """Sends instances for one request, and counts what becomes of them.

    A failure harms its own instance only. What an association does not take any more, because it has ended, has failed.
    """

    def __init__(self, request: RetrieveRequest, count: int, **originator: Any) -> None:
        self.tally = Tally(count)
        self.under_way = 0
        self._request = request
        self._originator = originator
        self._wake: Deferred[None] | None = None
        self._first_failure = ""

    async def over(self, association: Association, instances: Sequence[InstanceRef]) -> None:
        """Sends `instances` over `association`; returns when each is answered, or when the request is cancelled.

        What is under way at a C-CANCEL is waited for, so that the numbers are true.
        """
        window = association.agreement.invoked if association.agreement else 1
        context_ids: dict[tuple[str, str], int | None] = {}
        for instance in instances:
            while self.under_way >= (window or _AT_ONCE) and not self._request.cancelled:
                await self._one_more()
            if self._request.cancelled:
                break
            kind = instance.sop_class, instance.transfer_syntax
            if kind not in context_ids:
                context = association.context_for(kind[0], (kind[1],))
                context_ids[kind] = context.context_id if context else None
            context_id = context_ids[kind]
            if context_id is None:
                self.refuse(instance, f"no presentation context for SOP class {kind[0]} in {kind[1]}")
                await self._request.give_way()
            elif not association.established:
                self.refuse(instance, f"the association ended: {association.outcome}")
                await self._request.give_way()
            else:
                await self._store(association, context_id, instance)
        while self.under_way:
            await self._one_more()

    def refuse(self, instance: InstanceRef, why: str) -> None:
        """Counts `instance` as failed without sending it."""
        self.tally.fail(instance.sop_instance)
        self._first_failure = self._first_failure or why

    def conclude(self) -> None:
        """A line in the log on what failed."""
        failed = len(self.tally.failed)
        if failed:
            _log.warn(
                "{command} on association {association}: {failed} of {count} instances were not sent; the first: {why}",
                command=self._request.command.name,
                association=self._request.association.number,
                failed=failed,
                count=failed + self.tally.remaining + self.tally.completed + self.tally.warning,
                why=self._first_failure,
            )

    async def _store(self, association: Association, context_id: int, instance: InstanceRef) -> None:
        request = self._request
        request.restart_timeout()
        try:
            source = source_of(await resolved(request.opened(instance)), instance.transfer_syntax)
        except RAISED as error:  # the other instances are sent
            if request.cancelled:
                return
            request.cannot_open()
            self.refuse(instance, f"it cannot be opened: {type(error).__name__}")
            await request.give_way()
            return
        self.under_way += 1
        store(
            association,
            context_id,
            instance.sop_class,
            instance.sop_instance,
            source,
            priority=request.priority or 0,
            **self._originator,
        ).addCallbacks(self._answered, self._lost, callbackArgs=(instance,), errbackArgs=(instance,))

    def _answered(self, answer: tuple[Command, bytes], instance: InstanceRef) -> None:
        try:
            status = status_of(answer[0])
        except DicomError as error:
            self.refuse(instance, str(error))
        else:
            if status.is_success:
                self.tally.success()
            elif status.is_warning:
                self.tally.warn()
            else:
                self.refuse(instance, f"the peer answered {status}")
        self._ended()

    def _lost(self, failure: Failure, instance: InstanceRef) -> None:
        self.refuse(instance, failure.getErrorMessage())
        self._ended()

    def _ended(self) -> None:
        self.under_way -= 1
        self._request.report()
        wake, self._wake = self._wake, None
        if wake is not None and not wake.called:
            wake.callback(None)

    async def _one_more(self) -> None:
        """Waits until a sub-operation has ended, or the request is cancelled."""
        self._wake = wakened()
        await self._request.outside(self._wake)
