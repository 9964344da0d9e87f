"""How associations to one peer are opened: the endpoint, the settings, the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import fail
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS

from txdicom.errors import RAISED, ConnectionFailed
from txdicom.net.config import NetConfig
from txdicom.net.requestor import Requestor
from txdicom.net.tls import TLS, ClientTls
from txdicom.scu.contexts import proposed
from txdicom.scu.peer import check_ae_title
from txdicom.scu.user import User

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint

    from txdicom.net import association as net
    from txdicom.net.observing import Observers
    from txdicom.net.roles import Performer
    from txdicom.pdu.types import UserIdentityRQ
    from txdicom.scu.contexts import Context
    from txdicom.scu.peer import Peer

#: what TLS is done with: settings, or what gives the options for a host, as `IDicomSecurity.client_options` does
Security: TypeAlias = "TLS | Callable[[str], IOpenSSLClientConnectionCreator]"

#: who we are where nothing else is said
CALLING_AE = "TXDICOM"


def client_config(
    *,
    connect_timeout: float = 30.0,
    acse_timeout: float = 30.0,
    dimse_timeout: float = 30.0,
    write_timeout: float = 60.0,
    max_pdu: int = 131_072,
) -> NetConfig:
    """The settings of an SCU's associations; its own side never finds them idle. Raises ValueError."""
    for name, seconds in (
        ("connect_timeout", connect_timeout),
        ("acse_timeout", acse_timeout),
        ("dimse_timeout", dimse_timeout),
        ("write_timeout", write_timeout),
    ):
        if not seconds >= 0:
            raise ValueError(f"{name} is {seconds!r}: it has to be a number of seconds, 0 for no limit")
    if not 4096 <= max_pdu <= 1_048_576:
        raise ValueError(f"max_pdu is {max_pdu}: it has to be from 4096 to 1048576 bytes")
    return NetConfig(
        reconnect_timeout=float(connect_timeout),
        artim_timeout=float(acse_timeout),
        dimse_timeout=float(dimse_timeout),
        write_timeout=float(write_timeout),
        max_pdu_length=max_pdu,
        client_timeout=0.0,
    )


class Connector:
    """Opens associations to `peer`, one at a time or many."""

    def __init__(
        self,
        reactor: Any,
        peer: Peer,
        calling_ae: str,
        config: NetConfig,
        window: int,
        tls: Security | None = None,
        observers: Observers | None = None,
        user_identity: User | UserIdentityRQ | None = None,
    ) -> None:
        if not 0 <= window <= 65_535:
            raise ValueError(f"window is {window}: it has to be from 0 (no limit) to 65535 operations")
        self.reactor = reactor
        self.peer = peer.with_port(tls=tls is not None)
        self.calling_ae = check_ae_title(calling_ae)
        self.window = window
        self._config = config
        self._options = ClientTls(tls).client_options if isinstance(tls, TLS) else tls
        self._observers = observers
        self._user_identity = user_identity.item() if isinstance(user_identity, User) else user_identity

    def open(self, contexts: Sequence[Context], performer: Performer) -> Deferred[net.Association]:
        """One association with these presentation contexts, at most 128; see `Requestor` for its errors.

        ConnectionFailed too where there are no options of TLS for this host: what gives them may be an add-in.

        A window of one operation is what holds without negotiation: then the item is left out, for the sake of peers
        that stumble over it.
        """
        requests, roles = proposed(contexts)
        try:
            place = self._place()
        except RAISED as error:
            return fail(_not_connected(self.peer, error))
        requestor = Requestor(
            place,
            self._config,
            self.reactor,
            peer_name=str(self.peer),
            performer=performer,
            observers=self._observers,
        )
        return requestor.request(
            self.calling_ae,
            self.peer.ae_title,
            requests,
            roles=roles,
            user_identity=self._user_identity,
            window=None if self.window == 1 else (self.window, 1),
        )

    def _place(self) -> IStreamClientEndpoint:
        place = endpoint(self.reactor, self.peer.host, self.peer.port)
        return place if self._options is None else wrapClientTLS(self._options(self.peer.host), place)


def _not_connected(peer: Peer, cause: BaseException) -> ConnectionFailed:
    error = ConnectionFailed(f"cannot connect to {peer}: {str(cause) or type(cause).__name__}")
    error.__cause__ = cause
    return error


def endpoint(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    """Where to connect to; an address needs no name resolution. The time limit is the requestor's."""
    no_limit: Any = None
    if isIPAddress(host):
        return TCP4ClientEndpoint(reactor, host, port, timeout=no_limit)
    if isIPv6Address(host):
        return TCP6ClientEndpoint(reactor, host, port, timeout=no_limit)
    return HostnameEndpoint(reactor, host, port, timeout=no_limit)
