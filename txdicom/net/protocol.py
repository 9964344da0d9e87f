"""The driver: one Twisted protocol a connection, which carries out what the upper layer asks for.

It holds what the core may not know: the transport, the timers, the flow of bytes in both directions.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IHandshakeListener, ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from txdicom.net.deadlines import Deadlines
from txdicom.net.sending import Outbox, Outgoing
from txdicom.net.tls_failures import TlsError, failure_of, session_of
from txdicom.pdu.limits import Limits
from txdicom.ul.connection import UpperLayer

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from txdicom.net.association import Association
    from txdicom.net.config import NetConfig

_log = Logger()

#: bytes read at once on a connection that carries bulk; measured: 256 KiB is fastest into a file, 64 KiB into nothing
BULK_READ: Final = 262_144
_QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)
#: seconds a closing connection may take to send what it still holds
_LINGER: Final = 10.0


@implementer(IHandshakeListener)
class DicomProtocol(Protocol):
    """The upper layer of one association over one transport connection."""

    def __init__(self, association: Association, config: NetConfig, clock: IReactorTime, *, requestor: bool) -> None:
        self.association = association
        self._config = config
        self.deadlines = Deadlines(clock)
        self._clock = clock
        self._requestor = requestor
        self._read_size = 0
        self._reader: Any = None
        self._quick_ack: socket.socket | None = None
        self._pauses: set[str] = set()
        self._outbox: Outbox | None = None
        self.tls_failure: TlsError | None = None
        self.bytes_received = 0
        self.last_activity = clock.seconds()
        limits = Limits(
            max_associate=config.max_associate_length, max_pdata=config.max_pdu_length + config.pdu_tolerance
        )
        self.upper_layer = UpperLayer(self, association, requestor=requestor, limits=limits)

    # -- from Twisted --------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The transport connection is there."""
        transport: Any = self.transport
        self._tune(transport)
        # over TLS the transport below reads; of what it read, other sizes come out
        self._reader = (
            transport.transport
            if ISSLTransport.providedBy(transport) and hasattr(transport, "transport")
            else transport
        )
        self._read_size = getattr(self._reader, "bufferSize", 0)
        self._outbox = Outbox(transport, self._clock, self._blocked, self._crowded)
        if not (self._requestor and ISSLTransport.providedBy(transport)):
            self._ready()

    def handshakeCompleted(self) -> None:
        """TLS is there: the time for connecting includes it, so that the requestor begins only now."""
        self.association.secured(session_of(self.transport.getHandle()))  # type: ignore[union-attr]
        if self._requestor:
            self._ready()

    def _ready(self) -> None:
        self.association.connected()
        self.upper_layer.connected()

    def dataReceived(self, data: bytes) -> None:
        """The next bytes; a read that filled the buffer means bulk, which larger reads suit better."""
        size = len(data)
        self.bytes_received += size
        self.last_activity = self._clock.seconds()
        if size == self._read_size and size < BULK_READ:
            self._read_size = self._reader.bufferSize = BULK_READ
        self.upper_layer.received(data)
        if self._quick_ack is not None and (self.association.receiving or self.upper_layer.amid_pdu):
            # The peer may hold its next small segment back until this one is acknowledged (Nagle): DCMTK writes the
            # header of each PDU by itself. The kernel falls back to delayed acknowledgements on its own, so the option
            # is set again each time.
            try:
                self._quick_ack.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)  # type: ignore[arg-type]
            except OSError:
                self._quick_ack = None  # the connection is going down

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008 (Twisted's signature)
        """The transport connection has ended, whichever side ended it."""
        self.deadlines.clear_all()
        text = reason.getErrorMessage()
        transport: Any = self.transport
        secure: bool = ISSLTransport.providedBy(transport)
        if secure:
            handshake = self.association.tls is not None
            self.tls_failure = failure_of(transport.getHandle(), reason.value, handshake=handshake)
            text = str(self.tls_failure or text)
        self.connected = 0
        self._quick_ack = None
        if self._outbox is not None:
            self._outbox.close()
        self.upper_layer.closed(text)
        self.association.connection_lost()
        self.deadlines.clear_all()  # what was set by those who were told of the end

    # -- effects of the upper layer ------------------------------------------------------------------------------------

    def connect(self) -> None:
        """AE-1: the requestor's endpoint is connecting already when the request primitive is issued."""

    def send(self, data: bytes) -> None:
        """Whole PDUs."""
        assert self._outbox is not None
        self._outbox.send(data)

    def _artim_expired(self) -> None:
        self.association.artim_expired()
        self.upper_layer.artim_expired()

    def drop_outgoing(self) -> None:
        """Drops the messages that wait to be sent: an A-ABORT follows."""
        if self._outbox is not None:
            self._outbox.drop()

    def start_artim(self) -> None:
        """PS3.8 §9.1.5. Whoever waits for the peer to close has to read to notice it."""
        self.resume_reading_all()
        self.deadlines.set("artim", self._config.artim_timeout, self._artim_expired)

    def stop_artim(self) -> None:
        """PS3.8 §9.1.5."""
        self.deadlines.clear("artim")

    def close(self, *, at_once: bool) -> None:
        """Closes the connection; what is buffered is still sent, for a limited time, unless `at_once`."""
        transport: Any = self.transport
        if transport is None:
            return
        if at_once:
            transport.abortConnection()
        else:
            self.deadlines.set("close", _LINGER, transport.abortConnection)
            self.resume_reading_all()
            self.drop_outgoing()
            transport.unregisterProducer()
            transport.loseConnection()

    # -- flow ----------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """The reactor's time in seconds."""
        return self._clock.seconds()

    @property
    def bytes_sent(self) -> int:
        """Bytes handed to the transport so far."""
        return self._outbox.bytes_sent if self._outbox else 0

    @property
    def sending(self) -> bool:
        """Whether a message is still being sent."""
        return self._outbox is not None and not self._outbox.idle

    def send_message(self, message: Outgoing) -> None:
        """A message whose data set comes from a source, in its turn."""
        assert self._outbox is not None
        self.upper_layer.check_may_send()
        self._outbox.send_from(message)

    def watch_writing(self, watcher: Callable[[bytes | memoryview], None]) -> None:
        """Shows `watcher` what is written from now on, whole PDUs in the order of the wire."""
        outbox = self._outbox
        assert outbox is not None
        write = outbox._write

        def seen(*parts: bytes | memoryview) -> None:
            write(*parts)
            for part in parts:
                watcher(part)

        outbox._write = seen  # type: ignore[method-assign]

    def pause_reading(self, why: str) -> None:
        """Lets the peer wait: nothing is read until every pause was resumed."""
        if not self._pauses:
            self.transport.pauseProducing()  # type: ignore[union-attr]
        self._pauses.add(why)

    def resume_reading(self, why: str) -> None:
        """Takes the pause `why` back."""
        if why in self._pauses:
            self._pauses.discard(why)
            if not self._pauses and self.connected:
                self.transport.resumeProducing()  # type: ignore[union-attr]
                self.last_activity = self._clock.seconds()

    def resume_reading_all(self) -> None:
        """Reads again whatever was paused: to notice the peer's closing."""
        for why in tuple(self._pauses):
            self.resume_reading(why)

    def _blocked(self, blocked: bool) -> None:
        """The peer does not take what we send, or takes it again."""
        if blocked:
            self._watch_writing(self._buffered())
        else:
            self.deadlines.clear("write")
            self.last_activity = self._clock.seconds()

    def _crowded(self, crowded: bool) -> None:
        """The peer asks and asks, and does not read the answers; or it has read them."""
        if crowded:
            self.pause_reading("sending")
        else:
            self.resume_reading("sending")

    def _watch_writing(self, before: int) -> None:
        def expired() -> None:
            left = self._buffered()
            if 0 < left < before:
                self._watch_writing(left)
            else:
                self.association.give_up(f"the peer took no bytes for {self._config.write_timeout:g} s")

        self.deadlines.set("write", self._config.write_timeout, expired)

    def _buffered(self) -> int:
        """Bytes in the transport's own buffer."""
        transport: Any = self.transport
        return (
            len(getattr(transport, "dataBuffer", b""))
            - getattr(transport, "offset", 0)
            + getattr(transport, "_tempDataLen", 0)
        )

    def _tune(self, transport: Any) -> None:
        """Options of the socket, where there is one."""
        handle: socket.socket | None = getattr(transport, "socket", None)
        if handle is not None:
            try:
                self._set_options(handle)
            except OSError as error:  # it works without them too
                _log.info("options of a connection's socket could not be set: {error}", error=error)

    def _set_options(self, handle: socket.socket) -> None:
        config = self._config
        if config.receive_buffer:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, config.receive_buffer)
        if config.send_buffer:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, config.send_buffer)
        if handle.family not in (socket.AF_INET, socket.AF_INET6):
            return
        if config.no_delay:
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if config.quick_ack and not self._requestor and _QUICKACK is not None:
            self._quick_ack = handle
