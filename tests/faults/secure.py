"""A server on a free port for TLS, and the way to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS

from tests.certificates import Authority, Pair
from tests.faults.link import Server, running
from tests.services.serving import EchoAddin, StoreAddin
from txdicom.interfaces import IDicomSecurity
from txdicom.net.tls import TLS, ClientTls
from txdicom.scp import ApplicationEntity, ScpConfig
from txdicom.scp.security import FileSecurity
from txdicom.scp.services import Services

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from twisted.internet.task import Clock


@asynccontextmanager
async def tls_server(
    security: Any, clock: Clock | None = None, interface: str = "127.0.0.1", **settings: Any
) -> AsyncGenerator[Server]:
    """A server that does TLS by these files, asking for no certificate; or by an `IDicomSecurity`."""
    services = Services()
    services.default(
        IDicomSecurity, lambda: FileSecurity(TLS(**security.files), "none") if isinstance(security, Pair) else security
    )
    entity = ApplicationEntity(
        reactor,
        "SERVER",
        [EchoAddin(), StoreAddin()],
        ScpConfig(**{"drain_timeout": 0.1, **settings}),
        services=services,
    )
    await entity.bind(f"tcp:0:interface={interface}", secure=True)
    await entity.start()
    async with running(entity, clock) as made:
        yield made


def endpoint(port: int, ca: Authority | None, host: str = "localhost", **files: str) -> Any:
    client = ClientTls(TLS(ca=ca.path if ca else "", **files))
    return wrapClientTLS(client.client_options(host), TCP4ClientEndpoint(reactor, "127.0.0.1", port))
