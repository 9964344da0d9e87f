"""The parent's listening sockets. Twisted opens and closes them; what comes is accepted here, and handed over raw."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import gatherResults, maybeDeferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import implementer

from txdicom.errors import SettingsError
from txdicom.net.listening import listen

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IDelayedCall
    from twisted.python.failure import Failure

_log = Logger()

#: connections accepted at one go on one port, so that the others have their turn
_AT_ONCE: Final = 64
#: this process or the system has no descriptor or memory left
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: seconds until it is tried again
_REST: Final = 1.0


class _Nothing(Factory):
    """What a port is opened with; it is never asked, as the port never reads."""

    noisy = False


@implementer(IReadDescriptor)
class _Listening:
    """One listening socket, in the place of the port that Twisted has made of it."""

    def __init__(self, ports: Ports, port: Any, *, secure: bool) -> None:
        self.port = port
        self.secure = secure
        self._ports = ports
        self._socket: socket.socket = port.socket

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return "listening"

    def connectionLost(self, reason: Failure) -> None:
        """See `IFileDescriptor`."""

    def doRead(self) -> None:
        """Accepts what has come."""
        for _ in range(_AT_ONCE):
            if not self._ports.accepting:
                return
            try:
                connection, address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._ports.exhausted(error)
                    return
                continue  # the peer has gone, or a filter of the system has it not come
            self._ports.came(connection, _address(self._socket.family, address), self.secure)


class Ports:
    """All listening sockets of a server; `came` has a connection: its socket, the peer's address, whether for TLS."""

    def __init__(self, reactor: Any, came: Callable[[socket.socket, IAddress | None, bool], None]) -> None:
        self.came = came
        self.accepting = False
        self._reactor = reactor
        self._listening: list[_Listening] = []
        self._resting: IDelayedCall | None = None
        self._wanted = False

    @property
    def addresses(self) -> list[tuple[IAddress, bool]]:
        """Where it listens, and whether for TLS."""
        return [(one.port.getHost(), one.secure) for one in self._listening]

    async def bind(self, endpoint: str, *, secure: bool = False) -> None:
        """Opens a port without accepting. CannotListenError; SettingsError where workers cannot have it."""
        factory = _Nothing()
        port = await listen(self._reactor, endpoint, factory)
        # one that Twisted wraps (ssl:, haproxy:) would lose what is around it
        if getattr(port, "factory", None) is not factory or not isinstance(
            getattr(port, "socket", None), socket.socket
        ):
            port.stopListening()
            remedy = "take tcp:, tcp6: or unix:, and secure_listen for TLS, or set server.workers to 1"
            raise SettingsError([f"connections of {endpoint} cannot be handed over to workers: {remedy}"])
        self._listening.append(_Listening(self, port, secure=secure))

    def accept(self, wanted: bool) -> None:
        """Accepts from now on, or lets those who come wait."""
        self._wanted = wanted
        self._update()

    async def close(self) -> None:
        """Closes all of them."""
        self.accept(False)
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        listening, self._listening = self._listening, []
        await gatherResults([maybeDeferred(one.port.stopListening) for one in listening])

    def exhausted(self, error: OSError) -> None:
        """There is nothing to accept with: to ask again at once would be to ask for ever."""
        _log.warn("no connection can be accepted for the moment: {why}", why=error.strerror or str(error))
        self._resting = self._reactor.callLater(_REST, self._rested)
        self._update()

    def _rested(self) -> None:
        self._resting = None
        self._update()

    def _update(self) -> None:
        accepting = self._wanted and self._resting is None
        if accepting is not self.accepting:
            self.accepting = accepting
            change = self._reactor.addReader if accepting else self._reactor.removeReader
            for one in self._listening:
                change(one)


def _address(family: int, address: Any) -> IAddress | None:
    """The peer's address; None for a socket in the file system."""
    if family == socket.AF_INET:
        return IPv4Address("TCP", *address)
    return IPv6Address("TCP", *address) if family == socket.AF_INET6 else None
