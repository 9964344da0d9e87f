"""A TCP proxy that notes what passes: associations, their messages, and the bytes of every data set.

It reads PDUs and command sets by itself (PS3.8 §9.3, PS3.7 §6.3), so that what it says does not depend on the code
under test.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

HOST = "127.0.0.1"
C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001
AFFECTED_SOP_CLASS, COMMAND_FIELD, MESSAGE_ID, RESPONDED_TO = 0x0002, 0x0100, 0x0110, 0x0120
DATA_SET_TYPE, STATUS, AFFECTED_SOP_INSTANCE = 0x0800, 0x0900, 0x1000
NO_DATA_SET = 0x0101


@dataclass
class Message:
    """One DIMSE message: elements of group 0000 by their number, and the data set as it was."""

    context_id: int
    command: dict[int, bytes]
    data: bytes = b""

    def number(self, element: int) -> int:
        return struct.unpack("<H", self.command[element])[0]

    def uid(self, element: int) -> str:
        return self.command[element].rstrip(b"\0 ").decode()


@dataclass
class Stored:
    """A C-STORE as it went over the wire; `status` is None where no response has passed."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data: bytes
    status: int | None


@dataclass
class Direction:
    """What one side of an association sent."""

    pending: bytearray = field(default_factory=bytearray)
    pdus: list[tuple[int, bytes]] = field(default_factory=list)  # all but P-DATA-TF
    lengths: list[int] = field(default_factory=list)  # of the P-DATA-TF PDUs, as their headers say
    messages: list[Message] = field(default_factory=list)
    _command: bytearray = field(default_factory=bytearray)
    _data: list[bytes] = field(default_factory=list)
    _message: Message | None = None

    def feed(self, data: bytes) -> None:
        pending = self.pending
        pending += data
        at = 0
        while len(pending) - at >= 6:
            kind, length = struct.unpack_from(">BxI", pending, at)
            if len(pending) - at - 6 < length:
                break
            body = bytes(pending[at + 6 : at + 6 + length])
            at += 6 + length
            if kind == 4:
                self.lengths.append(length)
                self._pdata(body)
            else:
                self.pdus.append((kind, body))
        del pending[:at]

    def _pdata(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            length, context_id, control = struct.unpack_from(">IBB", body, at)
            self._pdv(context_id, control, body[at + 6 : at + 4 + length])
            at += 4 + length

    def _pdv(self, context_id: int, control: int, fragment: bytes) -> None:
        if control & 1:
            self._command += fragment
            if not control & 2:
                return
            self._message = Message(context_id, elements(bytes(self._command)))
            self._command.clear()
            if self._message.number(DATA_SET_TYPE) != NO_DATA_SET:
                return
        else:
            assert self._message is not None, "a data set before its command set"
            assert self._message.context_id == context_id, "a data set on another presentation context"
            self._data.append(fragment)
            if not control & 2:
                return
            self._message.data = b"".join(self._data)
            self._data.clear()
        self.messages.append(self._message)
        self._message = None


def elements(command: bytes) -> dict[int, bytes]:
    """A command set: Implicit VR Little Endian (PS3.7 §6.3.1)."""
    found, at = {}, 0
    while at < len(command):
        group, element, length = struct.unpack_from("<HHI", command, at)
        assert group == 0
        found[element] = command[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def items(body: bytes) -> list[tuple[int, bytes]]:
    """Items or sub-items of an A-ASSOCIATE PDU (PS3.8 §9.3.2): type, two-byte length, value."""
    found, at = [], 0
    while at < len(body):
        kind, length = struct.unpack_from(">BxH", body, at)
        found.append((kind, body[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


class Conversation:
    """One connection."""

    def __init__(self) -> None:
        self.requestor = Direction()
        self.acceptor = Direction()

    def associate(self, kind: int) -> bytes | None:
        """The variable items of the A-ASSOCIATE-RQ (1) or -AC (2); None where none has passed."""
        direction = self.requestor if kind == 1 else self.acceptor
        return next((body[68:] for number, body in direction.pdus if number == kind), None)

    def user_items(self, kind: int) -> dict[int, list[bytes]]:
        """The user information sub-items by type."""
        body = self.associate(kind)
        assert body is not None
        found: dict[int, list[bytes]] = {}
        for number, value in items(body):
            if number == 0x50:
                for sub, content in items(value):
                    found.setdefault(sub, []).append(content)
        return found

    def contexts(self) -> dict[int, tuple[str, str]]:
        """The accepted presentation contexts: id to abstract and transfer syntax."""
        abstract, accepted = {}, {}
        for kind, value in items(self.associate(1) or b""):
            if kind == 0x20:
                abstract[value[0]] = next(text(uid) for sub, uid in items(value[4:]) if sub == 0x30)
        for kind, value in items(self.associate(2) or b""):
            if kind == 0x21 and value[2] == 0:
                transfer = next(text(uid) for sub, uid in items(value[4:]) if sub == 0x40)
                accepted[value[0]] = (abstract[value[0]], transfer)
        return accepted

    def stored(self) -> list[Stored]:
        """Every C-STORE request whose data set has passed in full."""
        statuses = {
            message.number(RESPONDED_TO): message.number(STATUS)
            for message in self.acceptor.messages
            if message.number(COMMAND_FIELD) == C_STORE_RSP
        }
        contexts = self.contexts()
        return [
            Stored(
                message.uid(AFFECTED_SOP_CLASS),
                message.uid(AFFECTED_SOP_INSTANCE),
                contexts[message.context_id][1],
                message.data,
                statuses.get(message.number(MESSAGE_ID)),
            )
            for message in self.requestor.messages
            if message.number(COMMAND_FIELD) == C_STORE_RQ
        ]


def text(uid: bytes) -> str:
    return uid.rstrip(b"\0 ").decode()


class Proxy:
    """Listens on a free port and passes everything on to `target`; leaving the `with` block ends all connections."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.conversations: list[Conversation] = []
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # accept does not notice that its socket was closed
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        for one in self._sockets:
            one.close()

    def stored(self) -> list[Stored]:
        """Every C-STORE that has passed, on whichever association."""
        return [one for conversation in self.conversations for one in conversation.stored()]

    def _start(self, function: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=function, args=arguments, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection((HOST, self._target))
            self._sockets += [near, far]
            conversation = Conversation()
            self.conversations.append(conversation)
            self._start(self._pump, near, far, conversation.requestor)
            self._start(self._pump, far, near, conversation.acceptor)

    def _pump(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            while data := source.recv(262_144):
                # senders with Nagle's algorithm wait for this; it is not what is tested through a proxy
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                direction.feed(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
