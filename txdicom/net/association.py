"""An association (PS3.7, PS3.8), the same for both roles.

It stands between the upper layer, whose service user it is, and two others: its owner (the acceptor or the requestor),
which decides about its beginning and hears of its end, and the performer, which handles what the peer asks for. Its
own requests are invocations (`txdicom.net.invocation`).
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING, ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from txdicom.dimse.assembler import Assembler
from txdicom.dimse.operations import Invoked, Performed
from txdicom.errors import AssociationAborted, AssociationRejected
from txdicom.net.exchange import Exchange
from txdicom.pdu.types import AssociateAC, AssociateRJ, AssociateRQ
from txdicom.ul.rejections import describe
from txdicom.ul.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.interfaces import IAddress, IReactorTime

    from txdicom.interfaces import UserIdentity
    from txdicom.net.config import NetConfig
    from txdicom.net.roles import Owner, Performer
    from txdicom.net.tls_failures import TlsSession
    from txdicom.ul.negotiation import AcceptedContext, Agreement

_log = Logger()
#: where there is nothing that an A-ABORT could end
_NO_ASSOCIATION: Final = (State.STA1, State.STA2, State.STA13)


class Association(Exchange):
    """One association and, before and after it, its connection."""

    #: the numbers of those that are given none
    numbers: ClassVar[Iterator[int]] = count(1)

    def __init__(
        self,
        owner: Owner,
        config: NetConfig,
        clock: IReactorTime,
        *,
        requestor: bool,
        performer: Performer | None = None,
        peer: IAddress | None = None,
        number: int | None = None,
    ) -> None:
        self.number = next(self.numbers) if number is None else number
        self.peer = peer
        self.calling_ae = ""
        self.called_ae = ""
        self.request: AssociateRQ | None = None
        self.answer: AssociateAC | None = None
        self.rejected = False
        self.tls: TlsSession | None = None
        """What was agreed on, where the connection is secure; with the peer's certificate."""
        self.user_identity: UserIdentity | None = None  # that an add-in has authenticated
        self._waiters: list[Deferred[None]] = []
        super().__init__(owner, config, clock, requestor=requestor, performer=performer)

    def __repr__(self) -> str:
        who = f"{self.calling_ae!r} to {self.called_ae!r}"
        return f"<Association {self.number} {who} at {self.peer} {self._upper_layer.state.name}>"

    # -- what it is ----------------------------------------------------------------------------------------------------

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
        """The transport connection is there; on the requesting side TLS included."""
        self.owner.connected(self)
        if self.requestor:
            deadlines, timeout = self.protocol.deadlines, self.config.artim_timeout
            deadlines.clear("connect")
            deadlines.set(
                "associate", timeout, lambda: self.give_up(f"no answer to A-ASSOCIATE-RQ within {timeout:g} s")
            )

    def secured(self, session: TlsSession) -> None:
        """The TLS handshake is complete."""
        self.tls = session
        _log.info("connection {association} is secure: {session}", association=self.number, session=session)

    def artim_expired(self) -> None:
        """ARTIM has run out; where that comes as no surprise the outcome is known already."""
        if not self.outcome:
            self._finish(f"no A-ASSOCIATE-RQ within {self.config.artim_timeout:g} s", None)

    def accept(self, ac: AssociateAC, agreement: Agreement) -> None:
        """The acceptor accepts."""
        self.answer = ac
        self.establish(agreement)
        self._upper_layer.accept(ac)

    def reject(self, rj: AssociateRJ) -> None:
        """The acceptor rejects."""
        self.rejected = True
        self._finish(f"rejected: {describe(rj.result, rj.source, rj.reason)}", None)
        self._upper_layer.reject(rj)

    def establish(self, agreement: Agreement) -> None:
        """What was negotiated holds from now on."""
        self.agreement = agreement
        self.contexts = agreement.contexts
        self._assembler = Assembler(self, agreement.contexts)
        self.pdv = self._assembler.pdv
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
        else:
            self.answer = answer
        self.owner.associate_confirmation(self, answer)

    def release_indication(self) -> None:
        """A-RELEASE indication: answered once what the peer asked for before is done."""
        self._finish("released", None)
        queue, self._queue = self._queue, deque()
        for invocation in (*self._invoked.drop_all(), *queue):
            invocation.failed(AssociationAborted("the peer released the association before it answered"))
        if self.receiving and self._half in self._incoming:  # its rest will not come
            self._incoming.discard(self._half)
            self._half.drop()
        self._respond_release()

    def release_confirmation(self) -> None:
        """A-RELEASE confirmation."""
        self._finish("released", None)
        self.protocol.deadlines.clear("release")
        self._respond_release()  # collision: the acceptor answers last (Sta12)

    def abort_indication(self, source: int, reason: int, message: str) -> None:
        """A-ABORT or A-P-ABORT indication."""
        if not self.outcome:
            # what came from the peer says so itself
            outcome = message if message.startswith("aborted by ") else f"aborted: {message}"
            self._finish(outcome, AssociationAborted(f"the association was {outcome}", source=source, reason=reason))
        self._stop_operations("the association was aborted")

    def connection_lost(self) -> None:
        """The connection is gone: everything of this association ends here, on every path."""
        if not self.outcome:
            why = str(self.protocol.tls_failure or "the connection was lost")
            self._finish(why, AssociationAborted(why))
        self.lost = True
        self._stop_operations("the connection was lost")
        for performance in self._performed.drop_all():
            performance.drop()
        self._blocks.clear()
        self.owner.ended(self)
        waiters, self._waiters = [*self._quiet, *self._waiters], []
        self._quiet = []
        for waiter in waiters:
            waiter.callback(None)

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

    def _stop_operations(self, why: str) -> None:
        failure = self.failure or AssociationAborted(self.outcome or why)
        queue, self._queue = self._queue, deque()
        for invocation in (*self._invoked.drop_all(), *queue):
            invocation.failed(failure)
        incoming, self._incoming = self._incoming, set()
        for performance in incoming:
            performance.drop()
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
