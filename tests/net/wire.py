"""A peer made of bytes: PDUs and messages to send to an association in memory or on a socket, and to read back."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from txdicom.dimse import fragmenter, messages, requests
from txdicom.dimse.assembler import COMMAND, Assembler
from txdicom.dimse.command import Command, encode
from txdicom.net.acceptor import Acceptor
from txdicom.net.config import NetConfig
from txdicom.pdu.decode import decode, decode_pdata
from txdicom.pdu.encode import encode as encode_pdu
from txdicom.pdu.types import (
    AssociateRQ,
    AsyncOperationsWindow,
    PDataTF,
    PresentationContextRQ,
    UserInformation,
)
from txdicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from txdicom.ul import negotiation

if TYPE_CHECKING:
    from txdicom.net.association import Association

CT = "1.2.840.10008.5.1.4.1.1.2"
MPPS = "1.2.840.10008.3.1.2.3.3"
#: presentation context ids of `CONTEXTS`
ECHO_ID, CT_ID, MPPS_ID = 1, 3, 5
CONTEXTS = (
    PresentationContextRQ(ECHO_ID, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,)),
    PresentationContextRQ(CT_ID, CT, (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)),
    PresentationContextRQ(MPPS_ID, MPPS, (EXPLICIT_VR_LITTLE_ENDIAN,)),
)
ADDRESS = IPv4Address("TCP", "192.0.2.7", 50_000)


def associate_rq(
    *contexts: PresentationContextRQ,
    called: str = "SERVER",
    calling: str = "CLIENT",
    max_length: int = 16_384,
    window: tuple[int, int] | None = None,
    **fields: Any,
) -> AssociateRQ:
    user = UserInformation(max_length, "1.2.3.4", async_window=AsyncOperationsWindow(*window) if window else None)
    return AssociateRQ(called, calling, contexts or CONTEXTS, user, **fields)


def associate_bytes(*contexts: PresentationContextRQ, **fields: Any) -> bytes:
    return encode_pdu(associate_rq(*contexts, **fields))


def message_bytes(context_id: int, command: Command, data: bytes | None = None, *, max_length: int = 16_384) -> bytes:
    pdus = fragmenter.fragments(context_id, COMMAND, encode(command), max_length)
    return pdus if data is None else pdus + fragmenter.fragments(context_id, 0, data, max_length)


def echo_bytes(message_id: int = 1) -> bytes:
    return message_bytes(ECHO_ID, requests.c_echo_rq(message_id))


def store_bytes(message_id: int = 1, data: bytes = b"", *, instance: str = "1.2.3", max_length: int = 16_384) -> bytes:
    return message_bytes(
        CT_ID, requests.c_store_rq(message_id, CT, instance), data or data_set(instance), max_length=max_length
    )


def data_set(instance: str = "1.2.3", *, sop_class: str = CT, pixels: int = 0) -> bytes:
    """A small CT in Explicit VR Little Endian, with `pixels` bytes of Pixel Data."""
    parts = [
        _text(0x0008, 0x0016, b"UI", sop_class),
        _text(0x0008, 0x0018, b"UI", instance),
        _text(0x0020, 0x000D, b"UI", "1.2.3.4.5"),
        _text(0x0020, 0x000E, b"UI", "1.2.3.4.5.6"),
    ]
    if pixels:
        parts.append(struct.pack("<HH2sxxI", 0x7FE0, 0x0010, b"OW", pixels) + bytes(pixels))
    return b"".join(parts)


def _text(group: int, element: int, vr: bytes, text: str) -> bytes:
    value = text.encode() + b"\0" * (len(text) % 2)
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value


def pdata(context_id: int, control: int, data: bytes) -> bytes:
    """One P-DATA-TF with one PDV."""
    return struct.pack(">BxIIBB", 4, len(data) + 6, len(data) + 2, context_id, control) + data


def split(data: bytes) -> list[Any]:
    """The PDUs of a stream that ends with a whole one."""
    pdus = []
    while data:
        kind, length = struct.unpack_from(">BxI", data)
        body, data = data[6 : 6 + length], data[6 + length :]
        assert len(body) == length, "a PDU is cut"
        pdus.append(decode_pdata(body) if kind == 4 else decode(kind, body))
    return pdus


class Message(NamedTuple):
    context_id: int
    command: Command
    data: bytes


class _Collect:
    def __init__(self, messages: list[Message], context_id: int, command: Command) -> None:
        self._messages, self._context_id, self._command = messages, context_id, command
        self._data = b""

    def write(self, data: memoryview) -> None:
        self._data += data

    def finish(self) -> None:
        self._messages.append(Message(self._context_id, self._command, self._data))


class Reader:
    """Puts the PDUs that one side sent together to messages; the others are kept as they are."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.pdus: list[Any] = []
        self._assembler = Assembler(self, range(256))

    def message(self, context_id: int, command: Command) -> _Collect | None:
        if command.has_data_set:
            return _Collect(self.messages, context_id, command)
        self.messages.append(Message(context_id, command, b""))
        return None

    def feed(self, data: bytes) -> None:
        for pdu in split(data):
            if isinstance(pdu, PDataTF):
                for pdv in pdu.pdvs:
                    self._assembler.pdv(pdv.context_id, pdv.control, memoryview(pdv.data), True)
            else:
                self.pdus.append(pdu)


class Wire(StringTransport):
    """A transport in memory that says how it was closed, and ends when the test says so."""

    closed = ""  # "lose" or "abort"

    def loseConnection(self) -> None:
        self.disconnecting = True
        self.closed = self.closed or "lose"

    def abortConnection(self) -> None:
        self.disconnecting = True
        self.closed = "abort"

    def unregisterProducer(self) -> None:
        self.producer = None

    def getHandle(self) -> SSL.Connection:
        """What a TLS transport has."""
        return SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)


class AcceptAll:
    """A policy for the acceptor and for the negotiation."""

    max_length = 16_384
    max_operations = 4
    implementation_class_uid = "1.2.3"
    implementation_version_name = "TEST"

    def decide(self, association: Association, rq: AssociateRQ) -> Any:
        return negotiation.accept(rq, self)

    def transfer_syntaxes(self, abstract_syntax: str) -> tuple[str, ...]:
        return (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)

    def roles(self, abstract_syntax: str) -> tuple[bool, bool]:
        return (True, True)

    def extended(self, abstract_syntax: str, information: bytes) -> None:
        return None


class Peer:
    """One accepted connection in memory, seen from its other end."""

    def __init__(self, acceptor: Acceptor) -> None:
        protocol = acceptor.buildProtocol(ADDRESS)
        assert protocol is not None
        self.protocol = protocol
        self.association: Association = protocol.association
        self.wire = Wire()
        self._reader = Reader()
        protocol.makeConnection(self.wire)

    def send(self, data: bytes) -> None:
        if self.wire.closed != "abort":
            self.protocol.dataReceived(data)

    def associate(self, *contexts: PresentationContextRQ, **fields: Any) -> Any:
        """Sends an A-ASSOCIATE-RQ; the answer, whatever it is."""
        self.send(associate_bytes(*contexts, **fields))
        return self.pdus()[-1]

    def _read(self) -> None:
        data = self.wire.value()
        self.wire.clear()
        self._reader.feed(data)

    def pdus(self) -> list[Any]:
        """The PDUs but P-DATA-TF that came since the last call."""
        self._read()
        pdus, self._reader.pdus = self._reader.pdus, []
        return pdus

    def messages(self) -> list[Message]:
        """The messages that came since the last call."""
        self._read()
        messages, self._reader.messages = self._reader.messages, []
        return messages

    def statuses(self) -> list[int | None]:
        return [message.command.status for message in self.messages()]

    def lose(self, reason: Exception | None = None) -> None:
        """The connection ends, from whatever side."""
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))


def acceptor(performer: Any = None, *, policy: Any = None, clock: Clock | None = None, **settings: Any) -> Acceptor:
    """An acceptor on a clock of its own."""
    return Acceptor(NetConfig(**settings), policy or AcceptAll(), performer, clock or Clock())


class Performed:
    """One request of the peer, as `Recorder` keeps it."""

    def __init__(self, recorder: Recorder, association: Association, context: Any, command: Command) -> None:
        self.recorder, self.association, self.context, self.command = recorder, association, context, command
        self.message_id = command.message_id or 0
        self.data = b""
        self.cancellable = recorder.cancellable
        self.cancelled: list[str] = []
        self.dropped = 0
        recorder.all.append(self)

    def write(self, data: memoryview) -> None:
        self.data += data

    def finish(self) -> None:
        if not self.recorder.in_place:
            return
        self.association.arrived(self)

    def start(self) -> None:
        self.recorder.started.append(self)
        if self.recorder.at_once:
            self.answer()

    def answer(self, status: int = 0) -> None:
        self.association.send_response(self.context.context_id, messages.response(self.command, status))
        self.association.performed(self)

    def cancel(self, why: str) -> None:
        self.cancelled.append(why)

    def drop(self) -> None:
        self.dropped += 1


class Recorder:
    """A performer that keeps every request and answers when the test says so, or at once."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once = at_once
        self.cancellable = True
        self.in_place = True  # else a complete data set is not there yet
        self.all: list[Performed] = []
        self.started: list[Performed] = []

    def perform(self, association: Association, context: Any, command: Command) -> Performed:
        return Performed(self, association, context, command)
