"""How this side calls an application entity of the AE table, and what it asks for on an association that is there."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from txdicom.errors import ConnectionFailed, LocalProtocolError
from txdicom.interfaces import IDicomSecurity
from txdicom.scu.connect import Connector
from txdicom.scu.operations import Calls
from txdicom.scu.peer import Peer
from txdicom.scu.results import Results

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from zope.interface import Interface

    from txdicom.interfaces import AEEntry
    from txdicom.net.association import Association
    from txdicom.net.config import NetConfig
    from txdicom.net.observing import Observers
    from txdicom.scu.receiver import Receiver
    from txdicom.scu.results import Operation
    from txdicom.ul.negotiation import AcceptedContext

T = TypeVar("T")


class Server(Protocol):
    """What is needed of an application entity."""

    ae_title: str

    @property
    def config(self) -> NetConfig:
        """Its settings."""

    @property
    def only_secure(self) -> bool:
        """Whether it listens with TLS alone."""

    @property
    def observers(self) -> Observers | None:
        """Who looks on at its associations."""

    def service(self, interface: type[Interface]) -> Any:
        """See `IServer`."""


def connector_for(reactor: Any, server: Server, entry: AEEntry, *, window: int = 1) -> Connector:
    """How an application entity of the AE table is called: where, as whom, with TLS or without, and who looks on.

    ConnectionFailed where it is not to be called.
    """
    usage, config = entry.port_usage, server.config
    if not entry.host or usage == "none":
        reason = "its port_usage is none" if entry.host else "it has no host"
        raise ConnectionFailed(f"{entry.ae_title!r} cannot be called: {reason} in the AE table")
    tls = None
    if usage == "secure" or (usage == "server" and server.only_secure):
        try:
            security = server.service(IDicomSecurity)
        except LookupError as error:
            raise ConnectionFailed(f"{entry.ae_title!r} is called with TLS, and this server has no security") from error
        tls = partial(security.client_options, verify_host_name=entry.verify_tls_host_name)
    peer = Peer(entry.ae_title, entry.host, entry.secure_port if tls else entry.port)
    config = replace(config, client_timeout=0.0)
    return Connector(reactor, peer, server.ae_title, config, window, tls, server.observers)


class CallsOn(Calls):
    """The calls of the client framework on one association that is there."""

    def __init__(self, reactor: Any, association: Association, receiver: Receiver) -> None:
        self._reactor = reactor
        self._association = association
        self._receiver = receiver

    async def _context(self, abstract_syntax: str) -> tuple[Association, AcceptedContext]:
        context = self._association.context_for(abstract_syntax)
        if context is None:
            raise LocalProtocolError(f"the peer accepted no presentation context for {abstract_syntax}")
        return self._association, context

    async def _for_retrieval(
        self, get: str, storage: Iterable[str]
    ) -> tuple[Association, AcceptedContext, Callable[[Callable[[Any], Any]], Callable[[], None]]]:
        association, context = await self._context(get)
        if not any(one.scp for one in association.contexts.values()):
            raise LocalProtocolError("the peer accepted no presentation context for storage with us as the SCP")
        return association, context, partial(self._receiver.begin, association)

    def _results(self, begin: Callable[[], Awaitable[Operation[T]]]) -> Results[T]:
        return Results(self._reactor, begin)
