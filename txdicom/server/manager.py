"""The servers of one base folder, from outside of their processes."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol

from txdicom.admin import client
from txdicom.errors import NotFound
from txdicom.server.folder import base_folder, servers_in

if TYPE_CHECKING:
    from txdicom.admin import Administrator


@dataclass(frozen=True, kw_only=True)
class FoundServer:
    """A server that has a folder in the base; it is running where somebody answers at its administrative socket."""

    ae_title: str
    folder: str
    socket: str
    running: bool


class ServiceAdministrator:
    """Finds the servers of a base, and connects to them; without `base` it is $TXDICOM_HOME or the user's own."""

    def __init__(self, base: str | None = None) -> None:
        self.base = base_folder(base, os.environ)

    def servers(self, reactor: Any) -> Deferred[list[FoundServer]]:
        """All servers of the base, in the order of their AE titles. SettingsError where it cannot be read."""

        async def run() -> list[FoundServer]:
            return [await self._found(reactor, title) for title in servers_in(self.base)]

        return Deferred.fromCoroutine(run())

    def connect(self, reactor: Any, ae_title: str, **options: float) -> Deferred[Administrator]:
        """See `txdicom.admin.connect`. NotFound where there is no such server."""
        if ae_title not in servers_in(self.base):
            return fail(NotFound(f"there is no server {ae_title} in {self.base}"))
        return client.connect(reactor, socket_of(os.path.join(self.base, ae_title)), **options)

    async def _found(self, reactor: Any, title: str) -> FoundServer:
        folder = os.path.join(self.base, title)
        path = socket_of(folder)
        running = True
        try:
            link = await UNIXClientEndpoint(reactor, path).connect(Factory.forProtocol(Protocol))
            link.transport.abortConnection()
        except ConnectError:
            running = False
        return FoundServer(ae_title=title, folder=folder, socket=path, running=running)


def socket_of(folder: str) -> str:
    """The administrative socket of the server that has this folder, as its server.toml says."""
    try:
        with open(os.path.join(folder, "server.toml"), "rb") as file:
            named = tomllib.load(file).get("server", {}).get("admin_socket", "")
    except (OSError, ValueError, AttributeError):
        named = ""  # a server whose settings cannot be read is not running by them
    usual = f"{os.path.basename(folder)}.sock"
    return os.path.join(folder, named if isinstance(named, str) and named else usual)
