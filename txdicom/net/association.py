"""An association (PS3.7, PS3.8), the same for both roles.

It stands between the upper layer, whose service user it is, and two others: its owner (the acceptor or the requestor),
which decides about its beginning and hears of its end, and the performer, which handles what the peer asks for. Its
own requests are invocations (`txdicom.net.invocation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from txdicom.dimse import fragmenter, messages
from txdicom.dimse.assembler import DISCARD, Assembler
from txdicom.dimse.command import Command, CommandField, encode
from txdicom.dimse.operations import Invoked, Performed
from txdicom.errors import AssociationAborted, AssociationRejected, LocalProtocolError, RemoteProtocolError
from txdicom.net.protocol import DicomProtocol
from txdicom.net.sending import Outgoing
from txdicom.pdu.types import AssociateAC, AssociateRJ, AssociateRQ
from txdicom.ul.rejections import describe
from txdicom.ul.states import State

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IReactorTime

    from txdicom.dimse.assembler import Sink
    from txdicom.net.config import NetConfig
    from txdicom.net.invocation import Invocation
    from txdicom.net.sending import DataSource
    from txdicom.ul.negotiation import AcceptedContext, Agreement

_log = Logger()
_numbers = count(1)
_NO_CONTEXTS: Final[Mapping[int, Any]] = {}

#: where an A-RELEASE response of ours is due
_NO_ASSOCIATION: Final = (State.STA1, State.STA2, State.STA13)
_RELEASE_ASKED: Final = (State.STA8, State.STA9, State.STA12)
#: requests of the peer that may wait beyond the window before reading pauses
_WAITING: Final = 1


class Performance(Protocol):
    """One operation that the peer asked for, as the performer handles it."""

    message_id: int

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

    def associate_indication(self, association: Association, rq: AssociateRQ) -> None:
        """The peer asks for an association (acceptor only)."""

    def associate_confirmation(self, association: Association, answer: AssociateAC | AssociateRJ) -> None:
        """The peer has answered ours (requestor only)."""

    def idle(self, association: Association) -> None:
        """An operation has ended and no other is under way."""

    def ended(self, association: Association) -> None:
        """The connection is gone; called exactly once for each that was made."""


class Association:
    """One association and, before and after it, its connection."""

    def __init__(
        self,
        owner: Owner,
        config: NetConfig,
        clock: IReactorTime,
        *,
        requestor: bool,
        performer: Performer | None = None,
        peer: IAddress | None = None,
    ) -> None:
        self.number = next(_numbers)
        self.owner = owner
        self.config = config
        self.requestor = requestor
        self.performer = performer
        self.peer = peer
        self.calling_ae = ""
        self.called_ae = ""
        self.request: AssociateRQ | None = None
        self.agreement: Agreement | None = None
        self.contexts: Mapping[int, AcceptedContext] = _NO_CONTEXTS
        self.messages_received = 0
        self.outcome = ""  # how it ended, in words; "" while it lasts
        self.failure: Exception | None = None  # why it ended, unless in order
        self.lost = False
        self._ending = False
        self._waiters: list[Deferred[None]] = []
        self._blocks: dict[int, fragmenter.Block] = {}
        self._assembler: Assembler | None = None
        self._invoked: Invoked[Invocation] = Invoked(1)
        self._queue: list[Invocation] = []
        self._performed: Performed[Performance] = Performed(1)
        self._deviations: set[str] = set()
        self.protocol = DicomProtocol(self, config, clock, requestor=requestor)
        self._upper_layer = self.protocol.upper_layer

    def __repr__(self) -> str:
        who = f"{self.calling_ae!r} to {self.called_ae!r}"
        return f"<Association {self.number} {who} at {self.peer} {self._upper_layer.state.name}>"

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def established(self) -> bool:
        """Whether requests can be sent now."""
        return self._upper_layer.state == State.STA6 and not self._ending

    @property
    def receiving(self) -> bool:
        """Whether a message is half received."""
        return self._assembler is not None and not self._assembler.idle

    @property
    def busy(self) -> bool:
        """Whether an operation is under way in either role, or a message is half received or half sent."""
        return bool(
            len(self._performed) or len(self._invoked) or self._queue or self.receiving or self.protocol.sending
        )

    def context_for(self, abstract_syntax: str, transfer_syntaxes: tuple[str, ...] = ()) -> AcceptedContext | None:
        """A context on which this side may be the SCU of `abstract_syntax`, in one of the syntaxes if any are given."""
        for context in self.contexts.values():
            role = context.scu if self.requestor else context.scp
            fits = not transfer_syntaxes or context.transfer_syntax in transfer_syntaxes
            if context.abstract_syntax == abstract_syntax and role and fits:
                return context
        return None

    # -- for the owner -------------------------------------------------------------------------------------------------

    def connected(self) -> None:
        """The transport connection is there, TLS included."""
        if self.requestor:
            deadlines, timeout = self.protocol.deadlines, self.config.artim_timeout
            deadlines.clear("connect")
            deadlines.set(
                "associate", timeout, lambda: self.give_up(f"no answer to A-ASSOCIATE-RQ within {timeout:g} s")
            )

    def accept(self, ac: AssociateAC, agreement: Agreement) -> None:
        """The acceptor accepts."""
        self.establish(agreement)
        self._upper_layer.accept(ac)

    def reject(self, rj: AssociateRJ) -> None:
        """The acceptor rejects."""
        self._finish(f"rejected: {describe(rj.result, rj.source, rj.reason)}", None)
        self._upper_layer.reject(rj)

    def establish(self, agreement: Agreement) -> None:
        """What was negotiated holds from now on."""
        self.agreement = agreement
        self.contexts = agreement.contexts
        self._assembler = Assembler(self, agreement.contexts)
        self._invoked = Invoked(agreement.invoked)
        self._performed = Performed(agreement.performed)
        self._watch_idle(self.config.client_timeout)

    # -- service user of the upper layer -------------------------------------------------------------------------------

    def associate_indication(self, rq: AssociateRQ) -> None:
        """A-ASSOCIATE indication."""
        self.request = rq
        self.calling_ae = rq.calling_ae
        self.called_ae = rq.called_ae
        self.owner.associate_indication(self, rq)

    def associate_confirmation(self, answer: AssociateAC | AssociateRJ) -> None:
        """A-ASSOCIATE confirmation."""
        self.protocol.deadlines.clear("associate")
        if isinstance(answer, AssociateRJ):
            text = describe(answer.result, answer.source, answer.reason)
            self._finish(
                f"rejected: {text}",
                AssociationRejected(
                    f"{self.called_ae} rejected the association: {text}",
                    result=answer.result,
                    source=answer.source,
                    reason=answer.reason,
                ),
            )
        self.owner.associate_confirmation(self, answer)

    def pdv(self, context_id: int, control: int, data: memoryview, end: bool) -> None:
        """P-DATA indication."""
        self._assembler.pdv(context_id, control, data, end)  # type: ignore[union-attr]  # none before Sta6

    def release_indication(self) -> None:
        """A-RELEASE indication: answered once what the peer asked for before is done."""
        self._finish("released", None)
        queue, self._queue = self._queue, []
        for invocation in (*self._invoked.drop_all(), *queue):
            invocation.failed(AssociationAborted("the peer released the association before it answered"))
        self._respond_release()

    def _respond_release(self) -> None:
        if not len(self._performed) and self._upper_layer.state in _RELEASE_ASKED:
            self._upper_layer.respond_release()

    def release_confirmation(self) -> None:
        """A-RELEASE confirmation."""
        self._finish("released", None)
        self._respond_release()  # collision: the acceptor answers last (Sta12)

    def abort_indication(self, source: int, reason: int, message: str) -> None:
        """A-ABORT or A-P-ABORT indication."""
        if not self.outcome:
            who = "by the peer" if source == 0 else "by the protocol"
            self._finish(
                f"aborted {who}: {message}",
                AssociationAborted(f"the association was aborted: {message}", source=source, reason=reason),
            )
        self._stop_operations("the association was aborted")

    def deviation(self, sentence: str) -> None:
        """The peer broke a rule harmlessly: said once an association."""
        if sentence not in self._deviations and len(self._deviations) < 32:
            self._deviations.add(sentence)
            _log.info(
                "association {number}: the peer deviates from the standard: {sentence}",
                number=self.number,
                sentence=sentence,
            )

    def connection_lost(self) -> None:
        """The connection is gone: everything of this association ends here, on every path."""
        if not self.outcome:
            self._finish("the connection was lost", AssociationAborted("the connection was lost"))
        self.lost = True
        self._stop_operations("the connection was lost")
        for performance in self._performed.drop_all():
            performance.drop()
        self._assembler = None
        self._blocks.clear()
        self.owner.ended(self)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    # -- messages in ---------------------------------------------------------------------------------------------------

    def message(self, context_id: int, command: Command) -> Sink | None:
        """A command set has come (from the assembler)."""
        self.messages_received += 1
        for sentence in command.deviations:
            self.deviation(sentence)
        context = self.contexts[context_id]
        field = command.command_field
        if command.is_response:
            return self._response(command)
        if field == CommandField.C_CANCEL_RQ:
            self._cancel(command)
            return None
        if command.message_id is None:
            raise RemoteProtocolError("a request without a Message ID", reason=6)
        if self.performer is None:
            self.send_response(context_id, messages.response(command, 0x0211))
            return DISCARD
        performance = self.performer.perform(self, context, command)
        if command.has_data_set:
            return performance
        self.arrived(performance)
        return None

    def arrived(self, performance: Performance) -> None:
        """A request is complete: performed now, or when the window allows it."""
        if self._ending:
            performance.drop()
        elif self._performed.arrived(performance.message_id, performance):
            performance.start()
        elif self._performed.waiting > _WAITING:
            self.protocol.pause_reading("operations")

    def performed(self, performance: Performance) -> None:
        """An operation of the peer has got its final response."""
        following = self._performed.finished(performance.message_id)
        self.protocol.resume_reading("operations")
        if following is not None:
            following.start()
        elif self._ending:
            self._respond_release()
        else:
            self.owner.idle(self)

    def _cancel(self, command: Command) -> None:
        performance = self._performed.find(command.message_id_responded_to or 0)
        if performance is not None:  # too late is not an error (PS3.7 §9.3.2.3)
            performance.cancel("C-CANCEL")

    def _response(self, command: Command) -> Sink | None:
        invocation = self._invoked.of_response(command.message_id_responded_to)
        if invocation is None:
            self.deviation("a response to no pending request")
            return DISCARD
        if command.message_id_responded_to != invocation.message_id:
            self.deviation("a response with a wrong Message ID Being Responded To")
        return invocation.response(command)

    # -- messages out --------------------------------------------------------------------------------------------------

    def send_response(self, context_id: int, command: Command, data: bytes = b"") -> None:
        """Sends a response, with its data set if it has one; nothing where the association has ended meanwhile."""
        if self._upper_layer.state not in (State.STA6, State.STA8):
            return
        limit = self.agreement.max_send  # type: ignore[union-attr]
        pdus = fragmenter.command_fragments(context_id, encode(command), limit)
        if command.has_data_set:
            pdus += fragmenter.fragments(context_id, 0, data, limit)
        self._upper_layer.send_data(pdus)

    def invoke(self, invocation: Invocation) -> None:
        """Sends a request now, or once the window allows it."""
        if not self.established:
            invocation.failed(
                self.failure or LocalProtocolError(f"the association is not established: {self.outcome or 'not yet'}")
            )
        elif self._invoked.full or self._queue:
            self._queue.append(invocation)
        else:
            invocation.begin(self._invoked.add(invocation))

    def answered(self, invocation: Invocation) -> None:
        """An invocation has its final response, or was given up before it was sent."""
        if invocation in self._queue:
            self._queue.remove(invocation)
            return
        self._invoked.remove(invocation.message_id)
        while self._queue and not self._invoked.full and self.established:
            following = self._queue.pop(0)
            following.begin(self._invoked.add(following))

    def block(self, context_id: int) -> fragmenter.Block:
        """The send buffer of a presentation context: messages follow one another, so one is enough."""
        block = self._blocks.get(context_id)
        if block is None:
            self._blocks.clear()
            block = self._blocks[context_id] = fragmenter.Block(context_id, self.agreement.max_send)  # type: ignore[union-attr]
        return block

    def send_request(self, context_id: int, command: Command, data: bytes | DataSource | None, sent: Any) -> None:
        """Sends a request and its data set; `sent(error)` is called when it has gone to the transport, or could not."""
        limit = self.agreement.max_send  # type: ignore[union-attr]
        head = fragmenter.command_fragments(context_id, encode(command), limit)
        if data is None or isinstance(data, bytes):
            if data is not None:
                head += fragmenter.fragments(context_id, 0, data, limit)
            self._upper_layer.send_data(head)
            sent(None)
        else:
            self.protocol.send_message(Outgoing(head, data, self.block(context_id), sent))

    def send_cancel(self, context_id: int, command: Command) -> None:
        """Sends a C-CANCEL-RQ; nothing where the association has ended meanwhile."""
        if self._upper_layer.state == State.STA6:
            self.send_response(context_id, command)

    # -- the end -------------------------------------------------------------------------------------------------------

    def when_lost(self) -> Deferred[None]:
        """Fires when the connection is gone."""
        done: Deferred[None] = Deferred()
        if self.lost:
            done.callback(None)
        else:
            self._waiters.append(done)
        return done

    def release(self) -> Deferred[None]:
        """Asks for an orderly end (A-RELEASE); fires when the connection is gone, however it went."""
        if self.established:
            self._ending = True
            self.protocol.deadlines.set("release", self.config.artim_timeout, self._release_expired)
            self._upper_layer.release()
        return self.when_lost()

    def abort(self, why: str = "aborted by this side") -> None:
        """Ends the association at once (A-ABORT), dropping what waits to be sent; the peer is to close."""
        if self.lost:
            return
        self._finish(why, AssociationAborted(why))
        if self._upper_layer.state in _NO_ASSOCIATION:
            self.protocol.close(at_once=True)
        else:
            self.protocol.drop_outgoing()
            self._upper_layer.abort()
        self._stop_operations(why)

    def hang_up(self, why: str) -> Deferred[None]:
        """A-ABORT, then the end of the connection without waiting for the peer; fires when it is gone."""
        self.abort(why)
        if not self.lost:
            self.protocol.close(at_once=False)
        return self.when_lost()

    def give_up(self, why: str) -> None:
        """The peer does not take or answer anything any more: the connection is cut."""
        self.abort(why)
        if not self.lost:
            self.protocol.close(at_once=True)

    def _release_expired(self) -> None:
        self.give_up(f"no answer to A-RELEASE-RQ within {self.config.artim_timeout:g} s")

    def _finish(self, outcome: str, failure: Exception | None) -> None:
        """Notes how it ended; the first reason counts."""
        self._ending = True
        if not self.outcome:
            self.outcome = outcome
            self.failure = failure
        self.protocol.deadlines.clear("idle")
        self.protocol.deadlines.clear("release")

    def _stop_operations(self, why: str) -> None:
        failure = self.failure or AssociationAborted(self.outcome or why)
        queue, self._queue = self._queue, []
        for invocation in (*self._invoked.drop_all(), *queue):
            invocation.failed(failure)
        for performance in self._performed.running():
            performance.cancel(why)

    def _watch_idle(self, seconds: float) -> None:
        self.protocol.deadlines.set("idle", seconds, self._idle)

    def _idle(self) -> None:
        timeout = self.config.client_timeout
        quiet = self.protocol.now() - self.protocol.last_activity
        if self.busy and not self.receiving:
            self._watch_idle(timeout)
        elif quiet < timeout:
            self._watch_idle(timeout - quiet)
        elif self.config.idle_action == "release" and not self.receiving:
            self.release()
        else:
            self.abort(f"idle for {timeout:g} s")
