"""A provider whose answers a test scripts, and files for it to be sent."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from txdicom import uids
from txdicom.dimse import messages
from txdicom.dimse.status import SUCCESS, Status
from txdicom.net.acceptor import Acceptor
from txdicom.net.config import NetConfig
from txdicom.part10 import file_meta
from txdicom.scu import Peer
from txdicom.services.encoding import read_dataset, write_dataset
from txdicom.ul import negotiation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

    from pydicom import Dataset

    from txdicom.dimse.command import Command
    from txdicom.net.acceptor import Decision
    from txdicom.net.association import Association
    from txdicom.pdu.types import AssociateRQ
    from txdicom.ul.negotiation import AcceptedContext

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
IMPLICIT, EXPLICIT = uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_LITTLE_ENDIAN
JPEG = "1.2.840.10008.1.2.4.50"


class Operation:
    """One request as the provider got it."""

    cancellable = True

    def __init__(self, provider: Provider, association: Association, context: AcceptedContext, command: Command):
        self.provider = provider
        self.association = association
        self.context = context
        self.command = command
        self.message_id = command.message_id or 0
        self.data = b""
        self.cancelled: Deferred[str] = Deferred()

    @property
    def dataset(self) -> Dataset:
        return read_dataset(self.data, self.context.transfer_syntax)

    def write(self, data: memoryview) -> None:
        self.data += data

    def finish(self) -> None:
        self.association.arrived(self)

    def start(self) -> None:
        self.provider.started(self)

    def cancel(self, why: str) -> None:
        if not self.cancelled.called:
            self.cancelled.callback(why)

    def drop(self) -> None:
        self.cancel("dropped")

    def pending(self, dataset: Dataset | None = None, status: int = 0xFF00, **elements: Any) -> None:
        data = write_dataset(dataset, self.context.transfer_syntax) if dataset is not None else b""
        response = messages.response(self.command, Status(status), data_set=bool(data), **elements)
        self.association.send_response(self.context.context_id, response, data)

    def answer(self, status: Status | int = SUCCESS, dataset: Dataset | None = None, **elements: Any) -> None:
        data = write_dataset(dataset, self.context.transfer_syntax) if dataset is not None else b""
        response = messages.response(self.command, Status.of(status), data_set=bool(data), **elements)
        self.association.send_response(self.context.context_id, response, data)
        self.association.performed(self)


class Provider:
    """Accepts what `syntaxes` accepts; `answer(operation)` is called for every request when it is its turn."""

    max_length = 16_384
    implementation_class_uid = "1.2.3"
    implementation_version_name = "PROVIDER"

    def __init__(
        self,
        answer: Callable[[Operation], Any],
        syntaxes: Callable[[str], Sequence[str] | None] = lambda _: (EXPLICIT, IMPLICIT, JPEG),
        max_operations: int = 1,
        decide: Callable[[AssociateRQ], Decision | None] = lambda _: None,
    ) -> None:
        self.handler = answer
        self.transfer_syntaxes = syntaxes
        self.max_operations = max_operations
        self.decision = decide
        self.operations: list[Operation] = []
        self.requests: list[AssociateRQ] = []
        self.associations: list[Association] = []
        self.peer = Peer("PROVIDER", "127.0.0.1", 1)

    def roles(self, abstract_syntax: str) -> tuple[bool, bool]:
        return (True, True)

    def extended(self, abstract_syntax: str, information: bytes) -> bytes | None:
        return None

    def decide(self, association: Association, rq: AssociateRQ) -> Decision:
        self.requests.append(rq)
        self.associations.append(association)
        return self.decision(rq) or negotiation.accept(rq, self)

    def perform(self, association: Association, context: AcceptedContext, command: Command) -> Operation:
        return Operation(self, association, context, command)

    def started(self, operation: Operation) -> None:
        self.operations.append(operation)
        result = self.handler(operation)
        if result is not None:
            Deferred.fromCoroutine(result)

    @property
    def outcomes(self) -> list[str]:
        return [association.outcome for association in self.associations]


@asynccontextmanager
async def providing(*args: Any, **kwargs: Any) -> AsyncGenerator[Provider]:
    """A `Provider` on a port of its own; `provider.peer` is it."""
    provider = Provider(*args, **kwargs)
    acceptor = Acceptor(NetConfig(artim_timeout=5.0), provider, provider, reactor)
    port = reactor.listenTCP(0, acceptor, interface="127.0.0.1")
    provider.peer = Peer("PROVIDER", "127.0.0.1", port.getHost().port)
    try:
        yield provider
    finally:
        await port.stopListening()
        await acceptor.close()


def success(operation: Operation) -> None:
    """Answers Success to everything."""
    operation.answer()


def data_set(sop_class: str = CT, sop_instance: str = "1.2.3.4", size: int = 0) -> bytes:
    """A small data set in Explicit VR Little Endian, with `size` bytes of pixels."""
    parts = [b"\x08\x00\x16\x00UI" + _value(sop_class), b"\x08\x00\x18\x00UI" + _value(sop_instance)]
    if size:
        parts.append(b"\xe0\x7f\x10\x00OW\0\0" + size.to_bytes(4, "little") + bytes(size))
    return b"".join(parts)


def _value(uid: str) -> bytes:
    value = uid.encode() + b"\0" * (len(uid) % 2)
    return len(value).to_bytes(2, "little") + value


def write(path: Path, number: int = 1, *, sop_class: str = CT, transfer_syntax: str = EXPLICIT, size: int = 0) -> str:
    """A DICOM file with instance `number`."""
    sop_instance = f"1.2.3.{number}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file_meta(sop_class, sop_instance, transfer_syntax) + data_set(sop_class, sop_instance, size))
    return str(path)


def write_many(folder: Path, count: int, **keywords: Any) -> list[str]:
    """`count` files."""
    return [write(folder / f"{number:04}.dcm", number + 1, **keywords) for number in range(count)]
