"""One association on a blocking socket, as the load generator and its null SCP use it."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from benchmarks import wire
from benchmarks.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

HOST = "127.0.0.1"
CALLING = "BENCHSCU"
MAX_PDU = 1 << 20
"""Longest PDU that is read; far above everything the targets are told to send."""

ECHO = {1: (wire.VERIFICATION, wire.IMPLICIT_LITTLE_ENDIAN)}


class PDUReader:
    """Reads whole PDUs into one buffer by recv_into; a returned body is valid until the next one is read."""

    def __init__(self, sock: socket.socket, size: int) -> None:
        self._receive = sock.recv_into
        self._view = memoryview(bytearray(size))
        self._start = self._end = 0

    def read(self) -> tuple[int, memoryview]:
        """The type and the body of the next PDU. Raises WireError when the peer has left."""
        self._fill(6)
        kind, length = struct.unpack_from(">BxI", self._view, self._start)
        if length > MAX_PDU:
            raise WireError(f"a PDU of {length} bytes")
        self._fill(6 + length)
        body = self._view[self._start + 6 : self._start + 6 + length]
        self._start += 6 + length
        return kind, body

    def _fill(self, wanted: int) -> None:
        while self._end - self._start < wanted:
            if self._start == self._end:
                self._start = self._end = 0
            elif self._start + wanted > len(self._view):
                self._make_room(wanted)
            received = self._receive(self._view[self._end :])
            if not received:
                raise WireError("the peer closed the connection")
            self._end += received

    def _make_room(self, wanted: int) -> None:
        waiting = bytes(self._view[self._start : self._end])
        if wanted > len(self._view):
            self._view = memoryview(bytearray(wanted))
        self._view[: len(waiting)] = waiting
        self._start, self._end = 0, len(waiting)


class Association:
    """An established association of the load generator; as a context manager it is released, or aborted by an error.

    Raises WireError when it is refused or a context is not accepted, OSError from the socket; a socket operation that
    makes no progress for `timeout` seconds raises BlockingIOError (the time-out is the kernel's, since Python's own
    would add a poll to every call).
    """

    def __init__(
        self,
        port: int,
        called: str,
        contexts: Mapping[int, tuple[str, str]],
        *,
        max_length: int = 16384,
        timeout: float = 30,
        buffer: int = 4096,
    ) -> None:
        self.sock = socket.create_connection((HOST, port), timeout=timeout)
        try:
            self._prepare(timeout)
            self._reader = PDUReader(self.sock, buffer)
            self.sock.sendall(wire.associate_rq(called, CALLING, contexts, max_length))
            kind, body = self._reader.read()
            if kind != wire.A_ASSOCIATE_AC:
                raise WireError(f"association refused: PDU {kind}, {bytes(body).hex(' ')[:80]}")
            announced, accepted = wire.read_associate_ac(bytes(body))
            if missing := set(contexts) - accepted:
                raise WireError(f"presentation contexts not accepted: {sorted(missing)}")
        except BaseException:
            self.sock.close()
            raise
        self.max_send = min(announced or max_length, max_length)

    def _prepare(self, timeout: float) -> None:
        self.sock.settimeout(None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        interval = struct.pack("ll", int(timeout), int(timeout % 1 * 1e6))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, interval)

    def status(self) -> int:
        """The status of the next response."""
        data = b""
        while True:
            kind, body = self._reader.read()
            if kind != wire.P_DATA_TF:
                raise WireError(f"PDU {kind} instead of a response: {bytes(body).hex(' ')[:80]}")
            position = 0
            while position < len(body):
                length, _, control = struct.unpack_from(">IBB", body, position)
                if control & wire.COMMAND:
                    data += body[position + 6 : position + 4 + length]
                    if control & wire.LAST:
                        return int.from_bytes(wire.read_command(data)[wire.STATUS], "little")
                position += 4 + length

    def request(self, message: bytes | bytearray) -> None:
        """Sends a whole message and waits for its response. Raises WireError unless the status is Success."""
        self.sock.sendall(message)
        status = self.status()
        if status:
            raise WireError(f"status 0x{status:04X}")

    def __enter__(self) -> Association:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.release()
        else:
            self.abort()

    def release(self) -> None:
        """Releases the association and closes the socket."""
        try:
            self.sock.sendall(wire.RELEASE_RQ)
            self._reader.read()
        finally:
            self.sock.close()

    def abort(self) -> None:
        """Aborts the association; errors of a peer that has gone are not of interest."""
        try:
            self.sock.sendall(wire.ABORT)
        except OSError:
            pass
        finally:
            self.sock.close()
