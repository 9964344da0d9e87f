"""The DIMSE messages of an association (PS3.7), in both directions and both roles.

Requests of the peer become performances, made by the performer; requests of this side are invocations
(`txdicom.net.invocation`). The asynchronous operations window holds for both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from txdicom.dimse import fragmenter, messages
from txdicom.dimse.assembler import COMMAND, DISCARD, Assembler
from txdicom.dimse.command import NO_DATA_SET, RESPONSE, Command, CommandField, encode
from txdicom.dimse.elements import COMMAND_DATA_SET_TYPE, COMMAND_FIELD, MESSAGE_ID
from txdicom.dimse.operations import Invoked, Performed
from txdicom.dimse.status import UNRECOGNIZED_OPERATION
from txdicom.errors import LocalProtocolError, RemoteProtocolError
from txdicom.net.protocol import DicomProtocol
from txdicom.net.sending import Outgoing
from txdicom.ul.states import State

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from txdicom.dimse.assembler import Sink
    from txdicom.net.association import Association
    from txdicom.net.config import NetConfig
    from txdicom.net.invocation import Invocation
    from txdicom.net.roles import Owner, Performance, Performer
    from txdicom.net.sending import DataSource
    from txdicom.pdu.decoder import Deliver
    from txdicom.ul.negotiation import AcceptedContext, Agreement

_log = Logger()
_NO_CONTEXTS: Final[Mapping[int, Any]] = {}
#: where an A-RELEASE response of ours is due
_RELEASE_ASKED: Final = (State.STA8, State.STA9, State.STA12)
#: where P-DATA may be sent (PS3.8 Table 9-10, Evt9)
MAY_SEND: Final = (State.STA6, State.STA8)
#: requests of the peer that may wait beyond the window before reading pauses
_WAITING: Final = 1
#: different deviations of a peer that are logged for one association
_DEVIATIONS: Final = 32


class Exchange:
    """What is sent and received once an association is established; `Association` adds its beginning and its end."""

    number: int

    def __init__(
        self,
        owner: Owner,
        config: NetConfig,
        clock: IReactorTime,
        *,
        requestor: bool,
        performer: Performer | None,
    ) -> None:
        self.owner = owner
        self.config = config
        self.requestor = requestor
        self.performer = performer
        self.agreement: Agreement | None = None
        self.contexts: Mapping[int, AcceptedContext] = _NO_CONTEXTS
        self.messages_received = 0
        self.outcome = ""  # how it ended, in words; "" while it lasts
        self.failure: Exception | None = None  # why it ended, unless in order
        self.lost = False
        self._ending = False
        self._quiet: list[Deferred[None]] = []
        self._blocks: dict[int, fragmenter.Block] = {}
        self._assembler: Assembler | None = None
        self.pdv: Deliver  # P-DATA indication, from `establish` on: the assembler's, without a call between
        self._invoked: Invoked[Invocation] = Invoked(1)
        self._queue: deque[Invocation] = deque()
        self._refilling = False
        self._performed: Performed[Performance] = Performed(1)
        self._incoming: set[Performance] = set()  # whose data set is not complete, or not yet in place
        self._half: Performance | None = None  # of these the one that came last
        self._finished: list[int] = []
        self._deviations: set[str] = set()
        self.protocol = DicomProtocol(cast("Association", self), config, clock, requestor=requestor)
        self._upper_layer = self.protocol.upper_layer

    @property
    def established(self) -> bool:
        """Whether requests can be sent now."""
        return self._upper_layer.state is State.STA6 and not self._ending

    @property
    def receiving(self) -> bool:
        """Whether a message is half received."""
        return self._assembler is not None and not self._assembler.idle

    @property
    def busy(self) -> bool:
        """Whether an operation is under way in either role, or a message is half received or half sent."""
        return bool(
            len(self._performed)
            or self._incoming
            or len(self._invoked)
            or self._queue
            or self.receiving
            or self.protocol.sending
        )

    # -- messages in ---------------------------------------------------------------------------------------------------

    def message(self, context_id: int, command: Command) -> Sink | None:
        """A command set has come (from the assembler)."""
        self.messages_received += 1
        for sentence in command.deviations:
            self.deviation(sentence)
        context = self.contexts[context_id]
        values = command.values
        field = values.get(COMMAND_FIELD, 0)
        if field & RESPONSE:
            return self._response(command)
        if field == CommandField.C_CANCEL_RQ:
            self._cancel(command)
            return None
        if MESSAGE_ID not in values or COMMAND_FIELD not in values:
            raise RemoteProtocolError("a message without a Command Field or a Message ID", reason=6)
        if self.performer is None:
            self.send_response(context_id, messages.response(command, UNRECOGNIZED_OPERATION))
            return DISCARD
        performance = self.performer.perform(cast("Association", self), context, command)
        if values.get(COMMAND_DATA_SET_TYPE, NO_DATA_SET) != NO_DATA_SET:
            self._half = performance
            self._incoming.add(performance)
            return performance
        self.arrived(performance)
        return None

    def arrived(self, performance: Performance) -> None:
        """A request is complete: performed now, or when the window allows it."""
        self._incoming.discard(performance)
        if self._upper_layer.state not in MAY_SEND:
            performance.drop()
            self._respond_release()
        elif self._performed.arrived(performance.message_id, performance):
            performance.start()
        elif self._performed.waiting > _WAITING:
            self.protocol.pause_reading("operations")

    def performed(self, performance: Performance) -> None:
        """An operation of the peer has got its final response."""
        self._finished.append(performance.message_id)
        if len(self._finished) > 1:
            return  # amid the loop below: a long queue must not become a deep recursion
        while self._finished:
            following = self._performed.finished(self._finished[0])
            if following is not None and self._upper_layer.state in MAY_SEND:
                following.start()
            elif following is not None:  # nobody waits for it any more
                following.drop()
                self._finished.append(following.message_id)
            del self._finished[0]
        if self._performed.waiting <= _WAITING:
            self.protocol.resume_reading("operations")
        if len(self._performed):
            return
        if self._ending:
            self._respond_release()
        else:
            self.owner.idle(cast("Association", self))

    def _cancel(self, command: Command) -> None:
        performance = self._performed.find(command.message_id_responded_to or 0)
        # too late is not an error (PS3.7 §9.3.2.3); what cannot be cancelled may be half done already, and goes on
        if performance is not None and performance.cancellable:
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
        if self._upper_layer.state not in MAY_SEND:
            return
        limit = self.agreement.max_send  # type: ignore[union-attr]
        pdus = fragmenter.fragments(context_id, COMMAND, encode(command), limit)
        if data:
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
        if not invocation.message_id:
            if invocation in self._queue:
                self._queue.remove(invocation)
            return
        self._invoked.remove(invocation.message_id)
        if self._refilling:
            return  # amid the loop below: many that fail at once must not become a deep recursion
        self._refilling = True
        try:
            while self._queue and not self._invoked.full and self.established:
                following = self._queue.popleft()
                following.begin(self._invoked.add(following))
        finally:
            self._refilling = False
        if self._quiet and not len(self._invoked):
            quiet, self._quiet = self._quiet, []
            for waiter in quiet:
                waiter.callback(None)

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
        head = fragmenter.fragments(context_id, COMMAND, encode(command), limit)
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

    def when_quiet(self) -> Deferred[None]:
        """Fires when none of the operations that this side invoked is under way."""
        done: Deferred[None] = Deferred()
        if self.lost or not (len(self._invoked) or self._queue):
            done.callback(None)
        else:
            self._quiet.append(done)
        return done

    def _respond_release(self) -> None:
        if not (len(self._performed) or self._incoming) and self._upper_layer.state in _RELEASE_ASKED:
            self._upper_layer.respond_release()

    def deviation(self, sentence: str) -> None:
        """The peer broke a rule harmlessly: said once an association."""
        if sentence not in self._deviations and len(self._deviations) < _DEVIATIONS:
            self._deviations.add(sentence)
            _log.info(
                "association {association}: the peer deviates from the standard: {sentence}",
                association=self.number,
                sentence=sentence,
            )
