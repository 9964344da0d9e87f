"""A receiver that accepts everything, throws the data away and answers Success: the sink for the sending side."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import wire
from benchmarks.association import HOST, PDUReader

if TYPE_CHECKING:
    from types import TracebackType

AE_TITLE = "NULLSCP"
READ_SIZE = 1 << 20
INSTANCES, BYTES, FIRST, LAST_ANSWER = range(4)


@dataclass(frozen=True, slots=True)
class Received:
    """What the null SCP has got so far; `seconds` run from the first C-STORE-RQ to the last answer."""

    instances: int
    bytes: int
    seconds: float


class NullSCP:
    """The null SCP in a process of its own, as a context manager; `max_length` is what it announces."""

    def __init__(self, max_length: int) -> None:
        self._max_length = max_length
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        fork = multiprocessing.get_context("fork")
        self._figures = fork.Array("d", 4, lock=False)
        self._process = fork.Process(target=self._serve, daemon=True)

    def __enter__(self) -> NullSCP:
        self._process.start()
        self._listener.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join(5)

    def received(self) -> Received:
        """The figures up to now."""
        figures = self._figures
        seconds = max(0.0, figures[LAST_ANSWER] - figures[FIRST])
        return Received(int(figures[INSTANCES]), int(figures[BYTES]), seconds)

    def _serve(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
        lock = threading.Lock()
        while True:
            sock, _ = self._listener.accept()
            threading.Thread(target=self._converse, args=(sock, lock), daemon=True).start()

    def _converse(self, sock: socket.socket, lock: threading.Lock) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock, contextlib.suppress(OSError, wire.WireError):
            reader = PDUReader(sock, READ_SIZE)
            kind, body = reader.read()
            if kind != wire.A_ASSOCIATE_RQ:
                return
            sock.sendall(wire.associate_ac(bytes(body), self._max_length))
            self._answer(sock, reader, lock)

    def _answer(self, sock: socket.socket, reader: PDUReader, lock: threading.Lock) -> None:
        figures = self._figures
        command, request, size = b"", {}, 0
        while True:
            kind, body = reader.read()
            if kind != wire.P_DATA_TF:
                if kind == wire.A_RELEASE_RQ:
                    sock.sendall(wire.RELEASE_RP)
                return
            position = 0
            while position < len(body):
                length, context_id, control = struct.unpack_from(">IBB", body, position)
                if control & wire.COMMAND:
                    command += body[position + 6 : position + 4 + length]
                else:
                    size += length - 2
                position += 4 + length
                if not control & wire.LAST:
                    continue
                if control & wire.COMMAND:
                    request, command = wire.read_command(command), b""
                    if int.from_bytes(request[wire.COMMAND_FIELD], "little") == wire.C_ECHO_RQ:
                        sock.sendall(wire.success(context_id, request))
                    else:
                        figures[FIRST] = figures[FIRST] or time.monotonic()
                    continue
                sock.sendall(wire.success(context_id, request))
                with lock:
                    figures[INSTANCES] += 1
                    figures[BYTES] += size
                    figures[LAST_ANSWER] = time.monotonic()
                size = 0
