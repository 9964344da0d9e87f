"""The server's side: the socket in the file system, who may come, and how many at once."""

from __future__ import annotations

import os
import socket
import stat
import struct
import warnings
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from txdicom.admin.commands import Refused
from txdicom.admin.link import Link, ServerLink, event_bytes
from txdicom.admin.responder import Responder
from txdicom.admin.subscriptions import Subscriptions
from txdicom.admin.turns import Turns
from txdicom.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

_log = Logger()

#: bytes of a socket's path: sockaddr_un has 108, the last of them 0
LONGEST_PATH: Final = 107
_PRIVATE: Final = 0o600
_BACKLOG: Final = 50
#: seconds that one who is turned away has to read why, and how many may be reading it
_FAREWELL: Final = 1.0
_FAREWELLS: Final = 20
_CREDENTIALS: Final = struct.Struct("3i")


def check_path(path: str) -> None:
    """SettingsError where a socket cannot have this path."""
    length = len(os.fsencode(path))
    if length > LONGEST_PATH:
        why = f"{path} is too long for the administrative socket, {length} bytes where the system takes {LONGEST_PATH}"
        raise SettingsError([f"{why}: give another by admin_socket in server.toml, or take a shorter --base"])


class AdminServer(Factory):
    """Accepts administrators at a socket.

    Who calls `start` holds the lock of the server's folder: a socket that nobody answers at is a stale one.
    """

    noisy = False

    def __init__(
        self,
        reactor: Any,
        control: Any,
        path: str,
        connections: int = 10,
        *,
        user: Callable[[Any], int | None] | None = None,
    ) -> None:
        check_path(path)
        self.path = path
        self._reactor = reactor
        self._control = control
        self._connections = connections
        self._user = user or peer_user
        self._subscriptions = Subscriptions(control)
        self._turns = Turns(reactor)
        self._links: set[Link] = set()
        self._leaving: set[Link] = set()
        self._gone: list[Deferred[None]] = []
        self._port: _Port | None = None

    def start(self) -> None:
        """Makes the socket, in the place of a stale one, and accepts. SettingsError, OSError."""
        _remove_stale(self.path)
        port = _Port(os.fsencode(self.path), self, _BACKLOG, _PRIVATE, self._reactor)
        try:
            port.startListening()
        except CannotListenError as error:
            port.discard()
            raise SettingsError(
                [f"the administrative socket {self.path} cannot be made: {error.socketError} (admin_socket)"]
            ) from None
        self._port = port
        _log.info("administrators connect to {path}", path=self.path)

    async def stop(self) -> None:
        """Removes the socket and ends the links; returns when they are gone."""
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        for link in [*self._links, *self._leaving]:
            link.close()
        self._check_gone()
        await gatherResults([gone])

    # -- links ---------------------------------------------------------------------------------------------------------

    def buildProtocol(self, addr: IAddress | None) -> Link | None:
        """One more link; None where even telling it why not would be too much."""
        if len(self._links) < self._connections:
            responder = Responder(self._control, self._subscriptions)
            link = responder.link = _Administrator(self, responder)
            self._links.add(link)
            return link
        if len(self._leaving) >= _FAREWELLS:
            return None
        return _TurnedAway(self)

    def user_of(self, transport: Any) -> int | None:
        """Whose process is at the other end."""
        return self._user(transport)

    def admits(self, user: int | None) -> bool:
        """Whether this user is ours or root."""
        if user is None or user in {0, os.geteuid()}:
            return True
        _log.warn("an administrator who is user {user} was not let in", user=user)
        return False

    def lost(self, link: Link, why: str) -> None:
        """A link is gone."""
        if isinstance(link, ServerLink):
            self._subscriptions.forget(link)
        self._links.discard(link)
        self._leaving.discard(link)
        if why.startswith(("it ", "of ")):
            _log.warn("an administrator's link was closed, because {why}", why=why)
        self._check_gone()

    def _check_gone(self) -> None:
        if self._gone and not self._links and not self._leaving:
            gone, self._gone = self._gone, []
            for one in gone:
                one.callback(None)

    def turned_away(self, link: Link) -> None:
        """`link` is told that there are as many as there may be."""
        self._leaving.add(link)
        sentence = f"the server has {self._connections} administrators already, as many as admin_connections says"
        link.transport.write(event_bytes(Refused, sentence))  # type: ignore[union-attr]

    @property
    def listening(self) -> bool:
        """Whether administrators can connect."""
        return self._port is not None

    @property
    def clock(self) -> Any:
        """Whose time the links go by."""
        return self._reactor

    @property
    def turns(self) -> Turns:
        """Who is served when."""
        return self._turns


class _Administrator(ServerLink):
    def __init__(self, server: AdminServer, responder: Responder) -> None:
        super().__init__(server.clock, responder, server.lost, server.turns)
        self._server = server

    def connectionMade(self) -> None:
        super().connectionMade()
        self.user = self._server.user_of(self.transport)
        if not self._server.admits(self.user):
            self.drop("")


class _TurnedAway(Link):
    """Is told why, and has a second to read it; what it sends is not looked at."""

    def __init__(self, server: AdminServer) -> None:
        super().__init__(server.clock, Responder(None, None), server.lost)  # type: ignore[arg-type]
        self._server = server

    def connectionMade(self) -> None:
        super().connectionMade()
        if self._server.admits(self._server.user_of(self.transport)):
            self._server.turned_away(self)
            self._closing = self._clock.callLater(_FAREWELL, self.drop, "")
        else:
            self.drop("")

    def dataReceived(self, data: bytes) -> None:
        pass


class _Port(unix.Port):
    """A listening socket that at its end removes its path only where that is its own still.

    Twisted listens after it has set the mode: before, nobody can connect.
    """

    def createInternetSocket(self) -> Any:  # noqa: N802 (Twisted's name)
        self._made = super().createInternetSocket()  # type: ignore[no-untyped-call]
        return self._made

    def discard(self) -> None:
        """Lets go of what Twisted leaves open where it could not listen."""
        self._made.close()

    def startListening(self) -> None:  # noqa: N802 (Twisted's name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BytesWarning)  # Twisted compares the path, bytes, with text
            super().startListening()  # type: ignore[no-untyped-call]
        self._own = _identity(self._bindPath)

    def connectionLost(self, reason: Failure) -> None:
        if self._own == _identity(self._bindPath):
            os.unlink(self._bindPath)
        tcp.Port.connectionLost(self, reason)


def _identity(path: bytes) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _remove_stale(path: str) -> None:
    """Removes a socket at which nobody answers; SettingsError where something else is there."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise SettingsError([f"{path} is there and is no socket: move it away, or change admin_socket"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except BlockingIOError:  # its backlog is full: somebody is there
            raise SettingsError([_in_use(path)]) from None
        else:
            raise SettingsError([_in_use(path)])


def _in_use(path: str) -> str:
    return f"another program answers at the administrative socket {path}: change admin_socket"


def peer_user(transport: Any) -> int | None:
    """The user id of the process that has connected; None where the system does not say it."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    data = transport.socket.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(data)[1]
    return user
