"""The worker's end of the channel: connections come as descriptors, and are answered as if they were accepted here."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from txdicom.interfaces import IDicomSecurity
from txdicom.net.tls import SecureFactory
from txdicom.scp.security import SecureOptions
from txdicom.server.workers.channel import ChannelClosed, handed

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from txdicom.scp import ApplicationEntity
    from txdicom.server.workers.channel import Handed

_log = Logger()

#: this process or the system has no descriptor or memory left for a connection
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@implementer(IReadDescriptor)
class Arrivals:
    """Takes the connections that the parent hands over.

    `ended` is called when there will be no more, `exhausted` when one is lost as there is no descriptor for it.
    """

    def __init__(
        self, reactor: Any, channel: socket.socket, ended: Callable[[], None], exhausted: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self._channel = channel
        self._ended = ended
        self._exhausted = exhausted
        self._entity: ApplicationEntity
        self._secure: SecureFactory

    def begin(self, entity: ApplicationEntity) -> None:
        """`entity` answers those that come."""
        self._entity = entity
        options = SecureOptions(lambda: entity.service(IDicomSecurity))
        self._secure = SecureFactory(options, entity.acceptor, self._reactor)
        self._reactor.addReader(self)

    def close(self) -> None:
        """Takes no more; those on their way are closed with the process."""
        self._reactor.removeReader(self)

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return self._channel.fileno()

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return "arrivals"

    def connectionLost(self, reason: Failure) -> None:
        """See `IFileDescriptor`."""

    def doRead(self) -> None:
        """Takes what has come."""
        try:
            for one in handed(self._channel):
                self._take(one)
        except ChannelClosed:
            self.close()
            self._ended()

    def _take(self, one: Handed) -> None:
        acceptor, connection = self._entity.acceptor, one.connection
        if connection is None:
            self._lost(one, "no file descriptor is left")
            acceptor.slots.leave(one.number)
            return
        acceptor.number = one.number
        try:
            factory = self._secure if one.secure else acceptor
            self._reactor.adoptStreamConnection(connection.fileno(), connection.family, factory)
        except OSError as error:
            why = error.strerror or str(error)
            if error.errno in _EXHAUSTED:
                self._lost(one, why)
            else:
                text = "connection {association} ended before anything was read of it: {why}"
                _log.info(text, association=one.number, why=why)
        except Exception:  # noqa: BLE001 (a mistake harms the connection that it is made with)
            _log.failure("connection {association} could not be taken", association=one.number)
        finally:
            acceptor.number = None
            connection.close()  # Twisted has one of its own
        if one.number not in acceptor.associations:
            acceptor.slots.leave(one.number)

    def _lost(self, one: Handed, why: str) -> None:
        _log.error("connection {association} is lost: {why}", association=one.number, why=why)
        self._exhausted()
