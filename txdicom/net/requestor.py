"""The requesting side: one connection, one A-ASSOCIATE-RQ, its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from txdicom.errors import AssociationAborted, ConnectionFailed, DicomError, RemoteProtocolError
from txdicom.net.association import Association
from txdicom.pdu.encode import encode
from txdicom.pdu.types import AssociateAC, AssociateRJ, AssociateRQ, AsyncOperationsWindow, UserInformation
from txdicom.ul.negotiation import conclude
from txdicom.ul.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint

    from txdicom.net.config import NetConfig
    from txdicom.net.observing import Observers
    from txdicom.net.protocol import DicomProtocol
    from txdicom.net.roles import Performer
    from txdicom.pdu.types import (
        CommonExtendedNegotiation,
        ExtendedNegotiation,
        PresentationContextRQ,
        RoleSelection,
        UserIdentityRQ,
    )


class _OneConnection(Factory):
    """Hands the one protocol out."""

    noisy = False

    def __init__(self, association: Association) -> None:
        self._association = association

    def buildProtocol(self, addr: IAddress | None) -> DicomProtocol:
        self._association.peer = addr
        return self._association.protocol


class Requestor:
    """Opens one association: `request` fires with it once it is established.

    Errors: ConnectionFailed, AssociationRejected, AssociationAborted, RemoteProtocolError. Cancelling the Deferred
    leaves nothing behind.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        config: NetConfig,
        clock: IReactorTime,
        *,
        peer_name: str,
        performer: Performer | None = None,
        observers: Observers | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._config = config
        self._clock = clock
        self._peer_name = peer_name
        self._performer = performer
        self._observers = observers
        self._rq: AssociateRQ | None = None
        self._done: Deferred[Association] | None = None
        self._connecting: Deferred[Any] = Deferred()
        self._error: Exception | None = None
        self._unwanted = False

    def request(
        self,
        calling_ae: str,
        called_ae: str,
        contexts: Sequence[PresentationContextRQ],
        *,
        roles: Sequence[RoleSelection] = (),
        extended: Sequence[ExtendedNegotiation] = (),
        common_extended: Sequence[CommonExtendedNegotiation] = (),
        user_identity: UserIdentityRQ | None = None,
        window: tuple[int, int] | None = None,
    ) -> Deferred[Association]:
        """Connects and asks; `window` is the asynchronous operations window to propose (invoked, performed)."""
        config = self._config
        user = UserInformation(
            max_length=config.max_pdu_length,
            implementation_class_uid=config.implementation_class_uid,
            implementation_version_name=config.implementation_version_name,
            async_window=AsyncOperationsWindow(*window) if window else None,
            roles=tuple(roles),
            extended=tuple(extended),
            common_extended=tuple(common_extended),
            user_identity=user_identity,
        )
        self._rq = rq = AssociateRQ(called_ae, calling_ae, tuple(contexts), user)
        association = Association(self, config, self._clock, requestor=True, performer=self._performer)
        association.request = rq
        association.calling_ae, association.called_ae = calling_ae, called_ae
        encode(rq)  # what cannot be sent is the caller's mistake, and to be told before anything happens
        done = self._done = Deferred(lambda _: self._cancelled(association))
        association.protocol.upper_layer.associate(rq)
        association.protocol.deadlines.set("connect", config.reconnect_timeout, lambda: self._too_late(association))
        self._connecting = self._endpoint.connect(_OneConnection(association))
        self._connecting.addCallbacks(
            self._connected, self._not_connected, callbackArgs=(association,), errbackArgs=(association,)
        )
        return done  # it may have fired already

    # -- owner of the association --------------------------------------------------------------------------------------

    def connected(self, association: Association) -> None:
        """Now the peer is asked."""
        if self._observers is not None:
            self._observers.watch(association)

    def associate_indication(self, association: Association, rq: AssociateRQ) -> None:
        """A requestor is not asked."""

    def associate_confirmation(self, association: Association, answer: AssociateAC | AssociateRJ) -> None:
        """The peer has answered; a failure is told once the connection is gone."""
        if isinstance(answer, AssociateRJ):
            return
        assert self._rq is not None
        try:
            agreement = conclude(self._rq, answer)
        except RemoteProtocolError as error:
            self._error = error
            association.hang_up(str(error))
            return
        association.establish(agreement)
        done, self._done = self._done, None
        if done is not None:
            done.callback(association)

    def idle(self, association: Association) -> None:
        """Nothing depends on it here."""

    def ended(self, association: Association) -> None:
        """The connection is gone, perhaps before the answer."""
        error = self._error or association.failure or AssociationAborted(association.outcome)
        failure = association.protocol.tls_failure
        if failure is not None and association.answer is None:  # perhaps late: in TLS 1.3 the peer looks at us last
            error = ConnectionFailed(f"cannot connect to {self._peer_name}: {failure}")
            error.__cause__ = failure
        elif not association.protocol.bytes_sent:
            error = ConnectionFailed(f"cannot connect to {self._peer_name}: {association.outcome}")
        self._fail(error)

    def _connected(self, _: object, association: Association) -> None:
        if self._unwanted:
            association.give_up("cancelled")

    def _not_connected(self, failure: Failure, association: Association) -> None:
        association.protocol.deadlines.clear_all()
        if failure.check(CancelledError, ConnectingCancelledError):
            reason = f"no connection within {self._config.reconnect_timeout:g} s"
        elif failure.check(DNSLookupError):
            reason = "the name cannot be resolved"
        elif failure.check(ConnectError):
            reason = str(failure.value)
        else:
            reason = failure.getErrorMessage()
        error = ConnectionFailed(f"cannot connect to {self._peer_name}: {reason}")
        error.__cause__ = failure.value  # tells the kinds apart
        self._fail(error)

    def _too_late(self, association: Association) -> None:
        if not self._connecting.called:
            self._connecting.cancel()
        else:
            seconds = self._config.reconnect_timeout
            self._fail(ConnectionFailed(f"cannot connect to {self._peer_name}: no TLS handshake within {seconds:g} s"))
            association.give_up("no TLS handshake in time")

    def _cancelled(self, association: Association) -> None:
        """The caller does not want it any more; the Deferred fails by itself."""
        self._done = None
        self._unwanted = True
        if not self._connecting.called:
            self._connecting.cancel()
        elif association.protocol.upper_layer.state == State.STA5:
            association.hang_up("cancelled")  # the request is out: the peer is to see the A-ABORT
        else:
            association.give_up("cancelled")

    def _fail(self, error: Exception) -> None:
        done, self._done = self._done, None
        if done is not None:
            done.errback(Failure(error if isinstance(error, DicomError) else AssociationAborted(str(error))))
