"""Sends files over associations, as many at once as the asynchronous operations windows allow (PS3.7 D.3.3.3).

While the peer answers, the next file is opened already.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from txdicom import uids
from txdicom.dimse.messages import status_of
from txdicom.errors import AssociationAborted, DicomError, DimseTimeout
from txdicom.net.sending import FileSource, MemorySource, PaddedFileSource
from txdicom.net.waiting import Waiters
from txdicom.scu import reencode
from txdicom.scu.contexts import NATIVE
from txdicom.scu.files import Instance, Unsendable, open_instance, why
from txdicom.services.storage import store
from txdicom.ul.negotiation import NO_REASON, TRANSFER_SYNTAXES_NOT_SUPPORTED, USER_REJECTION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from txdicom.dimse.command import Command
    from txdicom.dimse.status import Status
    from txdicom.net.association import Association
    from txdicom.net.sending import DataSource
    from txdicom.ul.negotiation import AcceptedContext

#: results that may wait for their reader before no further file is sent
_UNREAD: Final = 64


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What became of one file.

    `status` is the peer's, None where there is none; `error` says in words why the file was not stored, "" where it
    was. `transfer_syntax_uid` is the one it was sent in, `size` the data set's bytes in the file.
    """

    path: str
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    status: Status | None = None
    error: str = ""
    transfer_syntax_uid: str = ""
    size: int = 0

    @property
    def stored(self) -> bool:
        """Whether the peer has stored it, with a warning or without."""
        return not self.error


class Route(NamedTuple):
    """Where an instance can go; `convert`: its data set has to be encoded anew for it."""

    association: Association
    context: AcceptedContext
    convert: bool


class _Prepared(NamedTuple):
    instance: Instance
    route: Route
    source: DataSource


class Sender:
    """The sending of one series of files: an `Operation` whose results are `StoreResult`s.

    `items` gives what is to be sent, `route` where to, or in words why nowhere. `unlimited` is how many operations to
    invoke at once where the peer sets no limit.
    """

    def __init__(
        self,
        reactor: Any,
        items: Iterator[Instance | Unsendable],
        route: Callable[[Instance], Route | str],
        *,
        unlimited: int = 16,
        priority: int = 0,
        timeout: float | None = None,
    ) -> None:
        self._reactor = reactor
        self._items = items
        self._route = route
        self._unlimited = unlimited
        self._priority = priority
        self._timeout = timeout
        self._next: _Prepared | None = None
        self._converting = False
        self._exhausted = False
        self._outstanding: dict[Association, int] = {}
        self._under_way = 0
        self._ready: deque[StoreResult] = deque()
        self._error: Exception | None = None
        self._waiters = Waiters()

    # -- Operation -----------------------------------------------------------------------------------------------------

    async def __anext__(self) -> StoreResult:
        while True:
            self._fill()
            if self._ready:
                return self._ready.popleft()
            if not self._under_way and not self._converting:
                if self._error is not None:
                    error, self._error = self._error, None
                    self._exhausted = True
                    raise error
                if self._exhausted:
                    raise StopAsyncIteration
            await self._waiters.wait()

    def abandon(self) -> None:
        """Sends no further file; what is on its way is not interrupted."""
        self._exhausted = True
        self.unsent()
        self._ready.clear()
        self._waiters.wake()

    async def aclose(self) -> None:
        """The same, then waits for the answers to what is on its way."""
        self.abandon()
        while self._under_way or self._converting:
            await self._waiters.wait()
        self._ready.clear()

    def unsent(self) -> list[Instance]:
        """What was taken from the items and not sent; it is let go of."""
        prepared, self._next = self._next, None
        if prepared is None:
            return []
        prepared.source.close()
        return [prepared.instance]

    # ------------------------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Sends as much as the windows allow, and prepares one file more."""
        while self._error is None and len(self._ready) < _UNREAD:
            if self._next is None and not self._prepare():
                return
            assert self._next is not None
            association = self._next.route.association
            if not association.established:  # it has ended meanwhile; this file was not on its way
                self._error = _loss(association)
                return
            invoked = association.agreement.invoked  # type: ignore[union-attr]  # established
            if self._outstanding.get(association, 0) >= (invoked or self._unlimited):
                return
            prepared, self._next = self._next, None
            self._send(prepared)

    def _prepare(self) -> bool:
        """Takes files until one can be sent; False where there is none now."""
        while not self._exhausted and not self._converting and len(self._ready) < _UNREAD:
            item = next(self._items, None)
            if item is None:
                self._exhausted = True
            elif isinstance(item, Unsendable):
                self._ready.append(StoreResult(item.path, error=item.reason))
            elif self._open(item):
                return True
        return False

    def _open(self, instance: Instance) -> bool:
        route = self._route(instance)
        if isinstance(route, str):
            self._failed(instance, route)
            return False
        if route.convert:
            self._convert(instance, route)
            return False
        try:
            fd, current = open_instance(instance)
        except (OSError, ValueError) as error:
            self._failed(instance, why(error))
            return False
        if (current.sop_class, current.transfer_syntax) == (instance.sop_class, instance.transfer_syntax):
            self._next = _Prepared(current, route, _source(fd, current))
            return True
        FileSource(fd, 0, 0).close()
        self._failed(instance, "the file was changed while others were sent")
        return False

    def _convert(self, instance: Instance, route: Route) -> None:
        """Encodes the data set anew, in a thread."""
        if instance.size > reencode.LARGEST:
            self._failed(
                instance, f"its transfer syntax was not accepted, and over {reencode.LARGEST} bytes are not re-encoded"
            )
            return
        self._converting = True
        pool = self._reactor.getThreadPool()
        done = deferToThreadPool(self._reactor, pool, reencode.reencoded, instance.path, route.context.transfer_syntax)
        done.addCallbacks(self._converted, self._not_converted, callbackArgs=(instance, route), errbackArgs=(instance,))

    def _converted(self, data: bytes, instance: Instance, route: Route) -> None:
        self._converting = False
        if not self._exhausted:
            self._next = _Prepared(instance, route, MemorySource(data))
        self._waiters.wake()

    def _not_converted(self, failure: Failure, instance: Instance) -> None:
        self._converting = False
        failure.trap(ValueError)
        self._failed(instance, str(failure.value))
        self._waiters.wake()

    def _send(self, prepared: _Prepared) -> None:
        instance, route, source = prepared
        association = route.association
        self._outstanding[association] = self._outstanding.get(association, 0) + 1
        self._under_way += 1
        store(
            association,
            route.context.context_id,
            instance.sop_class,
            instance.sop_instance,
            source,
            timeout=self._timeout,
            priority=self._priority,
        ).addCallbacks(
            self._answered, self._not_answered, callbackArgs=(instance, route), errbackArgs=(instance, route)
        )

    def _answered(self, answer: tuple[Command, bytes], instance: Instance, route: Route) -> None:
        self._ended(route.association)
        try:
            status = status_of(answer[0])
        except DicomError as error:
            self._failed(instance, str(error))
        else:
            error_text = f"the peer answered {_in_words(status)}" if status.is_failure else ""
            self._ready.append(
                StoreResult(
                    instance.path,
                    instance.sop_class,
                    instance.sop_instance,
                    status,
                    error_text,
                    route.context.transfer_syntax,
                    instance.size,
                )
            )
        self._waiters.wake()

    def _not_answered(self, failure: Failure, instance: Instance, route: Route) -> None:
        self._ended(route.association)
        self._failed(instance, failure.getErrorMessage())
        error = failure.value
        if self._error is None and (isinstance(error, DimseTimeout) or not route.association.established):
            self._error = error if isinstance(error, DicomError) else AssociationAborted(str(error))
        self._waiters.wake()

    def _ended(self, association: Association) -> None:
        self._outstanding[association] -= 1
        self._under_way -= 1

    def _failed(self, instance: Instance, reason: str) -> None:
        self._ready.append(
            StoreResult(instance.path, instance.sop_class, instance.sop_instance, error=reason, size=instance.size)
        )


def _source(fd: int, instance: Instance) -> FileSource:
    """The data set in the file; a deflated one of odd length gets the zero byte that its encoder left out.

    PS3.5 A.5 asks for it, and there are peers that abort the association where it is missing.
    """
    odd = instance.size % 2 and instance.transfer_syntax in uids.DEFLATED
    return (PaddedFileSource if odd else FileSource)(fd, instance.data_offset, instance.size)


def _loss(association: Association) -> DicomError:
    """How an association ended over which nothing can be sent any more."""
    failure = association.failure
    if isinstance(failure, DicomError):
        return failure
    return AssociationAborted(f"the association ended: {association.outcome}")


def _in_words(status: Status) -> str:
    return f"{status} ({status.error_comment})" if status.error_comment else str(status)


def route_over(associations: list[Association], instance: Instance) -> Route | str:
    """Where `instance` can go: as it is, else encoded anew where its pixels stay as they are (uncompressed ones)."""
    route: Route | None = None
    class_accepted = False
    for association in associations:
        for context in association.contexts.values():
            if context.abstract_syntax != instance.sop_class or not context.scu:
                continue
            class_accepted = True
            if context.transfer_syntax == instance.transfer_syntax:
                return Route(association, context, convert=False)
            if (
                instance.transfer_syntax in NATIVE
                and context.transfer_syntax in reencode.TARGETS
                and (
                    route is None
                    or reencode.TARGETS.index(context.transfer_syntax)
                    < reencode.TARGETS.index(route.context.transfer_syntax)
                )
            ):
                route = Route(association, context, convert=True)
    if route is not None:
        return route
    return _why_not(associations, instance, class_accepted=class_accepted)


def _why_not(associations: list[Association], instance: Instance, *, class_accepted: bool) -> str:
    """What the peer answered to the presentation context of `instance` (PS3.8 Table 9-18), in words."""
    sop_class, syntax = instance.sop_class, instance.transfer_syntax
    results: set[int | None] = set()
    for association in associations:
        if association.request is None or association.answer is None:
            continue
        answers = {answer.context_id: answer.result for answer in association.answer.contexts}
        results.update(
            answers.get(context.context_id)
            for context in association.request.contexts
            if context.abstract_syntax == sop_class and syntax in context.transfer_syntaxes
        )
    for result, words in ((USER_REJECTION, "user rejection"), (NO_REASON, "no reason given")):
        if result in results:
            return f"the peer refused the presentation context for {sop_class} in transfer syntax {syntax} ({words})"
    if class_accepted or TRANSFER_SYNTAXES_NOT_SUPPORTED in results:
        return f"the peer did not accept its transfer syntax {syntax} ({sop_class})"
    return f"the peer did not accept its SOP class {sop_class}"
