"""One request of a peer, from its command set to the final response, and the handler that answers it.

A handler's first step runs at once and by hand: one that returns a plain value, or a coroutine that never waits, costs
no Deferred. One that waits has the time that the association's own timer gives it.
"""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from txdicom.dimse import messages
from txdicom.dimse.status import Status
from txdicom.errors import RAISED, DicomError, StatusError
from txdicom.interfaces import IRequest
from txdicom.services.failures import summary_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from txdicom.dimse.command import Command
    from txdicom.net.association import Association
    from txdicom.ul.negotiation import AcceptedContext

_log = Logger()


@implementer(IRequest)
class Request:
    """What all services have in common; see `IRequest` for what a handler reads.

    `refusal` is set where the request is answered without its handler.
    """

    __slots__ = (
        "_addin",
        "_answered",
        "_coroutine",
        "_handler",
        "_held",
        "_unheard",
        "_waits_for",
        "_watched",
        "association",
        "cancelled",
        "command",
        "context",
        "message_id",
        "refusal",
    )

    #: answers a handler that raised, gave rubbish or took too long
    unable: ClassVar[Status]
    #: whether a C-CANCEL may mean it
    cancellable: ClassVar[bool] = False

    def __init__(
        self,
        association: Association,
        context: AcceptedContext,
        command: Command,
        handler: Callable[[Any], Any] | None,
        refusal: Status | None,
    ) -> None:
        self.association = association
        self.context = context
        self.command = command
        self.message_id: int = command.message_id  # type: ignore[assignment]  # checked before
        self.cancelled = ""
        self.refusal = refusal
        self._handler = handler
        self._addin: Any = handler  # the dispatcher's `Handler`; None where there is nobody to ask
        self._coroutine: CoroutineType[Any, Any, Any] | None = None
        self._waits_for: Deferred[Any] | None = None
        self._watched = False
        self._unheard = False  # it was cancelled when the handler did not wait for anything that could say so
        self._held = False
        self._answered = False

    @property
    def priority(self) -> int | None:
        """See `IRequest`."""
        return self.command.priority

    @property
    def sop_class(self) -> str:
        """See `IRequest`."""
        return self.command.affected_sop_class or self.command.requested_sop_class or ""

    @property
    def sop_instance(self) -> str:
        """See `IRequest`."""
        return self.command.affected_sop_instance or self.command.requested_sop_instance or ""

    @property
    def abstract_syntax(self) -> str:
        """See `IRequest`."""
        return self.context.abstract_syntax

    @property
    def transfer_syntax(self) -> str:
        """See `IRequest`."""
        return self.context.transfer_syntax

    @property
    def dataset(self) -> Any:
        """See `IRequest`; services with a data set say how it is read."""
        return None

    # -- Performance: from the association -----------------------------------------------------------------------------

    def write(self, data: memoryview) -> None:
        """A slice of the data set; a service without one drops it."""

    def finish(self) -> None:
        """The data set is complete."""
        self.association.arrived(self)

    def start(self) -> None:
        """It is this request's turn."""
        if self.refusal is not None or self._handler is None:
            self.answer(self.refusal or self.unable)
            return
        try:
            result = self._handler(self)
        except RAISED:
            self._failed(Failure())
            return
        if type(result) is CoroutineType:
            self._coroutine = result
            self._step(None)
        elif isinstance(result, Deferred):
            self._wait(result)
            result.addCallbacks(self._succeeded, self._failed)
        else:
            self._succeeded(result)

    def cancel(self, why: str) -> None:
        """The answer is not wanted any more: the handler hears it once, by a CancelledError where it waits or will."""
        if self.cancelled:
            return
        self.cancelled = why
        if self._waits_for is None:
            self._unheard = True
        else:
            self.end_wait(self._waits_for)

    def drop(self) -> None:
        """The association is gone."""
        if not self._answered:
            self._answered = True
            self.let_go()

    # -- for the handler's thread --------------------------------------------------------------------------------------

    def hold(self) -> None:
        """A thread reads what the request holds: it is kept until `unhold`, answered or not."""
        self._held = True

    def unhold(self) -> None:
        """The thread has ended."""
        self._held = False
        if self._answered:
            self.let_go()

    # ------------------------------------------------------------------------------------------------------------------

    def answer(self, status: Status, data: bytes = b"", **elements: Any) -> None:
        """The final response; one that the service does not allow raises, and nothing has happened then."""
        if self._answered:
            return
        response = messages.response(self.command, status, data_set=bool(data), **elements)
        self._answered = True
        self.association.protocol.deadlines.clear(self)
        self.association.send_response(self.context.context_id, response, data)
        if not self._held:
            self.let_go()
        self.association.performed(self)

    def answer_with(self, result: Any) -> None:
        """The final response for what the handler returned: a status."""
        self.answer(to_status(result))

    def let_go(self) -> None:
        """Frees what the request holds."""

    def _step(self, error: BaseException | None, value: Any = None) -> None:
        """Runs the coroutine until it waits or ends."""
        coroutine = self._coroutine
        assert coroutine is not None
        watchdog = self._addin.watchdog
        watchdog.call = [self._addin]
        try:
            waits_for = coroutine.send(value) if error is None else coroutine.throw(error)
        except StopIteration as stop:
            watchdog.call = None
            self._coroutine = None
            self._succeeded(stop.value)
        except RAISED:
            watchdog.call = None
            self._coroutine = None
            self._failed(Failure())
        else:
            watchdog.call = None
            if isinstance(waits_for, Deferred):
                self._wait(waits_for)
                waits_for.addBoth(self._resume)
            else:
                self._coroutine = None
                coroutine.close()
                self._failed(Failure(TypeError(f"a handler can await a Deferred, not {type(waits_for).__name__}")))

    def _resume(self, result: Any) -> None:
        self._waits_for = None
        if isinstance(result, Failure):
            self._step(result.value)
        else:
            self._step(None, result)

    def _wait(self, deferred: Deferred[Any]) -> None:
        if not self._watched and not self._answered:
            self._watched = True  # once: a handler that waits again and again has no more time than another
            self.association.protocol.deadlines.set(self, self.association.config.addin_timeout, self._too_late)
        self._waits_for = deferred
        if self._unheard:
            self._unheard = False
            self.end_wait(deferred)

    def end_wait(self, deferred: Deferred[Any]) -> None:
        """Cancels what a handler waits for: the add-in's own, which may do anything then."""
        try:
            deferred.cancel()
        except RAISED:
            self._log_failure(Failure())

    def _too_late(self) -> None:
        _log.error(
            "{command} on association {association}: the add-in {addin} has not answered within {seconds:g} s"
            " (addin_timeout)",
            command=self.command.name,
            association=self.association.number,
            addin=self._addin.addin,
            seconds=self.association.config.addin_timeout,
        )
        self._addin.health.failed(self._addin.addin, "a time-out")
        self.cancelled = "time-out"
        waits_for = self._waits_for
        self.answer(self.unable.with_comment("the handler took too long"))
        if waits_for is not None:
            self.end_wait(waits_for)

    def _succeeded(self, result: Any) -> None:
        self._waits_for = None
        if self._answered:
            return
        try:
            self.answer_with(result)
        except RAISED:  # what a handler gave may be anything; it harms only its own message
            if self._answered:
                raise
            self._failed(Failure())

    def _failed(self, failure: Failure) -> None:
        self._waits_for = None
        if self._answered:
            return
        if failure.check(StatusError):
            try:
                self.answer(to_status(getattr(failure.value, "status", None)))
                return
            except (TypeError, ValueError, DicomError):  # the status it gave is none for an answer
                failure = Failure()
        if not (self.cancelled and failure.check(CancelledError)):
            self._log_failure(failure)
        self.answer(self.unable.with_comment("the handler failed" if not self.cancelled else "cancelled"))

    def _log_failure(self, failure: Failure) -> None:
        self._addin.health.failed(self._addin.addin, summary_of(failure))
        _log.failure(
            "{command} on association {association}: the add-in {addin} failed",
            failure,
            command=self.command.name,
            association=self.association.number,
            addin=self._addin.addin,
        )


def to_status(result: Any) -> Status:
    """What a handler returned as a final status; TypeError for what is none, None too: Success has to be said."""
    if result is None:
        raise TypeError("the handler returned None, not a status")
    status = Status.of(result)
    if status.is_pending:
        raise ValueError(f"{status} is no final status")
    return status
