"""The accepting side: a factory of connections, the limits, the decision about each association, and the drain."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdicom.errors import RemoteProtocolError
from txdicom.net.addresses import address_text
from txdicom.net.association import Association
from txdicom.net.limits import Slots
from txdicom.pdu.types import AssociateAC, AssociateRJ, AssociateRQ
from txdicom.ul import rejections
from txdicom.ul.negotiation import Agreement
from txdicom.ul.rejections import Rejection
from txdicom.ul.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime

    from txdicom.dimse.command import Command
    from txdicom.net.config import NetConfig
    from txdicom.net.limits import Limits
    from txdicom.net.observing import Observers
    from txdicom.net.protocol import DicomProtocol
    from txdicom.net.roles import Performance, Performer
    from txdicom.ul.negotiation import AcceptedContext

_log = Logger()

#: seconds for the last bytes to a peer at a stop
_CUT: Final = 1.0

_OPENED: Final = (
    "association {association}: {calling_ae} at {peer} to {called_ae},"
    " {accepted} of {proposed} presentation contexts accepted"
)
#: the types of user identity whose primary field is a name, not a secret (PS3.7 Table D.3-14)
_BY_NAME: Final = (1, 2)

#: what becomes of an A-ASSOCIATE-RQ
Decision: TypeAlias = tuple[AssociateAC, Agreement] | Rejection


class Policy(Protocol):
    """Decides whether and how an association is accepted."""

    def decide(self, association: Association, rq: AssociateRQ) -> Decision | Deferred[Decision]:
        """The answer to `rq`, now or later."""


class Listener(Protocol):
    """Hears of what happens to associations; it must not raise."""

    def connected(self, association: Association) -> None:
        """A peer has connected."""

    def associated(self, association: Association) -> None:
        """Its association was accepted."""

    def asked(self, association: Association, command: Command) -> None:
        """It has sent a request."""

    def ended(self, association: Association) -> None:
        """The connection is gone."""


class _Watched:
    """The performer of associations that somebody listens to; the others' stays without a call between."""

    __slots__ = ("_listener", "_performer")

    def __init__(self, performer: Performer, listener: Listener) -> None:
        self._performer = performer
        self._listener = listener

    def perform(self, association: Association, context: AcceptedContext, command: Command) -> Performance:
        """See `Performer`."""
        self._listener.asked(association, command)
        return self._performer.perform(association, context, command)


class Acceptor(Factory):
    """All associations that peers open with one application entity, on any number of listening ports.

    Where another process accepts the connections, `slots` ask there, and `number` is what it calls the one that comes.
    """

    noisy = False

    def __init__(self, config: NetConfig, policy: Policy, performer: Performer, clock: IReactorTime) -> None:
        self.config = config
        self.policy = policy
        self.performer = performer
        self.listener: Listener | None = None
        self.observers: Observers | None = None
        self.slots: Limits = Slots(config)
        self.number: int | None = None
        self.associations: dict[int, Association] = {}
        self.paused = False
        self.total = 0
        self._clock = clock
        self._draining = False
        self._closed = False
        self._drained: list[Deferred[None]] = []
        self._drain_deadline: IDelayedCall | None = None

    # -- from Twisted --------------------------------------------------------------------------------------------------

    def buildProtocol(self, addr: IAddress | None) -> DicomProtocol | None:
        """One more connection, if the pool of half-open ones has room.

        Else it is closed without a PDU: in Sta2 none may be sent.
        """
        if self._closed:
            return None
        if not self.slots.room_for(addr):
            return None
        association = Association(
            self,
            self.config,
            self._clock,
            requestor=False,
            performer=self.performer,
            peer=addr,
            number=self.number,
        )
        association.protocol.factory = self
        return association.protocol

    # -- owner of its associations -------------------------------------------------------------------------------------

    def connected(self, association: Association) -> None:
        """It counts from now on; where TLS cannot even begin, its end would never be told."""
        self.slots.enter(association.number)
        self.associations[association.number] = association
        if self.observers is not None:
            self.observers.watch(association)
        if self.listener is not None:
            self.listener.connected(association)

    def associate_indication(self, association: Association, rq: AssociateRQ) -> None:
        """Decides, or has the policy decide."""
        if self._closed_to_newcomers:
            self._answer(association, rejections.TEMPORARY_CONGESTION)
            return
        try:
            decision = self.policy.decide(association, rq)
        except RemoteProtocolError:
            raise
        except Exception:  # noqa: BLE001 (a policy's mistake harms only the association it was asked about)
            self._failed(Failure(), association)
            return
        if isinstance(decision, Deferred):
            self._await(association, decision, self._answer)
        else:
            self._answer(association, decision)

    def associate_confirmation(self, association: Association, answer: AssociateAC | AssociateRJ) -> None:
        """An acceptor asks for nothing."""

    def ended(self, association: Association) -> None:
        """The connection is gone: the one place where a slot becomes free."""
        self.slots.leave(association.number)
        self.associations.pop(association.number, None)
        if self.listener is not None:
            self.listener.ended(association)
        self._log_end(association)
        if not self.associations:
            drained, self._drained = self._drained, []
            if self._drain_deadline is not None and self._drain_deadline.active():
                self._drain_deadline.cancel()
            for done in drained:
                done.callback(None)

    @property
    def _closed_to_newcomers(self) -> bool:
        return self.paused or self._draining

    def _log_end(self, association: Association) -> None:
        facts = _facts(association)
        if association.request is None:
            _log.info("connection {association} from {peer} ended without an association: {outcome}", **facts)
        elif association.rejected:
            _log.info(
                "association {association} of {calling_ae} at {peer} to {called_ae} {how}",
                audit="association-rejected",
                called_ae=association.called_ae,
                how=association.outcome.removeprefix("rejected: "),
                **facts,
            )
        else:
            _log.info(
                "association {association} with {calling_ae} at {peer} ended: {outcome}; {messages} messages,"
                " {received} bytes in, {sent} out",
                audit="association-ended",
                messages=association.messages_received,
                received=association.protocol.bytes_received,
                sent=association.protocol.bytes_sent,
                **facts,
            )

    def _await(
        self, association: Association, awaited: Deferred[Any], then: Callable[[Association, Any], None]
    ) -> None:
        """Goes on with `then`, unless the association has ended before; after `addin_timeout` it is rejected."""
        deadlines = association.protocol.deadlines

        def came(result: Any) -> None:
            deadlines.clear("decide")
            if association.protocol.upper_layer.state == State.STA3:
                then(association, result)

        deadlines.set("decide", self.config.addin_timeout, lambda: self._too_late(association, awaited))
        awaited.addCallbacks(came, self._failed, errbackArgs=(association,))

    def _failed(self, failure: Failure, association: Association) -> None:
        association.protocol.deadlines.clear("decide")
        text = "the decision about association {association} failed"
        _log.failure(text, failure=failure, association=association.number)
        if association.protocol.upper_layer.state == State.STA3:
            self._answer(association, rejections.NO_REASON)

    def _too_late(self, association: Association, awaited: Deferred[Any]) -> None:
        text = "no decision about association {association} in time (addin_timeout)"
        _log.error(text, association=association.number)
        awaited.cancel()

    def _answer(self, association: Association, decision: Decision) -> None:
        if self._closed_to_newcomers and not isinstance(decision, Rejection):
            decision = rejections.TEMPORARY_CONGESTION
        if isinstance(decision, Rejection):
            association.reject(AssociateRJ(*decision))
            return
        refused = self.slots.admit(association.number, association.calling_ae)
        if isinstance(refused, Deferred):
            self._await(association, refused, partial(self._admitted, decision))
        else:
            self._admitted(decision, association, refused)

    def _admitted(
        self, decision: tuple[AssociateAC, Agreement], association: Association, refused: Rejection | None
    ) -> None:
        if refused is None and self._closed_to_newcomers:  # since it was asked for
            refused = rejections.TEMPORARY_CONGESTION
        if refused is not None:
            association.reject(AssociateRJ(*refused))
            return
        ac, agreement = decision
        self.total += 1
        if self.listener is not None and association.performer is not None:
            association.performer = _Watched(association.performer, self.listener)
        association.accept(ac, agreement)
        facts, text = _facts(association), _OPENED
        identity = association.user_identity
        if identity is not None and identity.type in _BY_NAME:
            facts["user"], text = identity.primary.decode(errors="replace"), f"{_OPENED} for the user {{user}}"
        _log.info(
            text,
            audit="association-opened",
            agreement=agreement,
            called_ae=association.called_ae,
            accepted=len(agreement.contexts),
            proposed=len(ac.contexts),
            **facts,
        )
        if self.listener is not None:
            self.listener.associated(association)

    # -- stopping ------------------------------------------------------------------------------------------------------

    def drain(self) -> Deferred[None]:
        """Refuses what comes, lets operations finish for `drain_timeout`, aborts the rest; fires when all are gone."""
        self._draining = True
        done = self._when_gone()
        if self.associations and self._drain_deadline is None:
            self._drain_deadline = self._clock.callLater(self.config.drain_timeout, self._cut)
            for association in list(self.associations.values()):
                self.idle(association)
        return done

    def close(self) -> Deferred[None]:
        """Takes no more connections and ends those there are; fires when all are gone."""
        done = self._when_gone()
        self._cut()
        return done

    def _when_gone(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        if self.associations:
            self._drained.append(done)
        else:
            done.callback(None)
        return done

    def idle(self, association: Association) -> None:
        """An association has nothing to do any more: at a stop it ends."""
        if self._draining and not association.busy and association.agreement is not None:
            association.hang_up("the server stops")
        elif self._draining and association.request is None:
            association.give_up("the server stops")

    def _cut(self) -> None:
        self._closed = True  # else those who come and come could keep the stop from ending
        for association in list(self.associations.values()):
            if association.busy:
                _log.warn(
                    "association {association} with {calling_ae} at {peer} is aborted amid an operation"
                    " (drain_timeout)",
                    **_facts(association),
                )
            association.hang_up("the server stops")
            if not association.lost:
                association.protocol.deadlines.set("close", _CUT, partial(association.give_up, "the server stops"))


def _facts(association: Association) -> dict[str, object]:
    return {
        "association": association.number,
        "calling_ae": association.calling_ae,
        "peer": address_text(association.peer),
        "outcome": association.outcome,
    }
