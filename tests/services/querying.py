"""Add-ins that answer C-FIND, C-MOVE and C-GET as a test says, and what a test sends them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.net.wire import ADDRESS, CT, AcceptAll, Peer, Wire, associate_rq, message_bytes
from tests.services.serving import Addin, EchoAddin, Serving, StoreAddin
from txdicom.dimse import requests
from txdicom.interfaces import (
    IDicomAddin,
    InstanceRef,
    IProcessCFind,
    IProcessCGet,
    IProcessCMove,
    presentation_context,
)
from txdicom.net.acceptor import Acceptor
from txdicom.net.requestor import Requestor
from txdicom.pdu.encode import encode
from txdicom.pdu.types import PresentationContextRQ, RoleSelection
from txdicom.scp.config import ScpConfig
from txdicom.services.dispatch import Dispatcher
from txdicom.services.encoding import read_dataset, write_dataset
from txdicom.uids import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from txdicom.net.association import Association

FIND_ID, MOVE_ID, GET_ID, ECHO_ID, CT_ID, CT_IMPLICIT_ID = 1, 3, 5, 7, 9, 11
CONTEXTS = (
    PresentationContextRQ(FIND_ID, STUDY_ROOT_FIND, (EXPLICIT_VR_LITTLE_ENDIAN,)),
    PresentationContextRQ(MOVE_ID, STUDY_ROOT_MOVE, (EXPLICIT_VR_LITTLE_ENDIAN,)),
    PresentationContextRQ(GET_ID, STUDY_ROOT_GET, (EXPLICIT_VR_LITTLE_ENDIAN,)),
    PresentationContextRQ(ECHO_ID, VERIFICATION, (EXPLICIT_VR_LITTLE_ENDIAN,)),
    PresentationContextRQ(CT_ID, CT, (EXPLICIT_VR_LITTLE_ENDIAN,)),
)


@implementer(IDicomAddin, IProcessCFind, IProcessCMove, IProcessCGet)
class QueryAddin(Addin):
    """Answers with what `handler` returns."""

    name = "query"

    def __init__(self, handler: Callable[[Any], Any]) -> None:
        self.handler = handler
        self.requests: list[Any] = []

    @presentation_context(STUDY_ROOT_FIND)
    def on_c_find(self, request: Any) -> Any:
        self.requests.append(request)
        return self.handler(request)

    @presentation_context(STUDY_ROOT_MOVE)
    def on_c_move(self, request: Any) -> Any:
        return self.on_c_find(request)

    @presentation_context(STUDY_ROOT_GET)
    def on_c_get(self, request: Any) -> Any:
        return self.on_c_find(request)


class _Policy(AcceptAll):
    """Accepts what the dispatcher answers for; the requestor may have any role."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.transfer_syntaxes = dispatcher.transfer_syntaxes  # type: ignore[assignment]


class Querying(Serving):
    """A server of such an add-in, of C-ECHO and of C-STORE."""

    def __init__(
        self,
        handler: Callable[[Any], Any],
        *,
        destinations: Any = None,
        character_set_of: Any = None,
        **settings: Any,
    ) -> None:
        self.addin = QueryAddin(handler)
        addins = self.addin, EchoAddin(), StoreAddin()
        super().__init__(*addins, **settings)
        config = ScpConfig(check_called_ae=False, **settings)
        dispatcher = Dispatcher(addins, self.spool, destinations=destinations, character_set_of=character_set_of)
        self.acceptor = Acceptor(config, _Policy(dispatcher), dispatcher, self.clock)

    def peer(self, *contexts: Any, **fields: Any) -> Peer:
        return super().peer(*(contexts or CONTEXTS), **fields)

    def getting(self, *contexts: PresentationContextRQ, window: tuple[int, int] | None = None) -> Peer:
        """A peer that is the SCP of CT."""
        rq = associate_rq(*(contexts or CONTEXTS), window=window)
        rq = replace(rq, user=replace(rq.user, roles=(RoleSelection(CT, scu=False, scp=True),)))
        peer = Peer(self.acceptor)
        peer.send(encode(rq))
        peer.pdus()
        return peer

    def run(self) -> None:
        """Lets what gave way go on."""
        for _ in range(2000):
            self.clock.advance(0.0001)


def study(number: int = 1) -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = "STUDY"
    dataset.StudyInstanceUID = f"1.2.3.{number}"
    return dataset


def find_bytes(message_id: int = 1, identifier: bytes | None = None) -> bytes:
    data = identifier or write_dataset(study(), EXPLICIT_VR_LITTLE_ENDIAN)
    return message_bytes(FIND_ID, requests.c_find_rq(message_id, STUDY_ROOT_FIND), data)


def get_bytes(message_id: int = 1) -> bytes:
    data = write_dataset(study(), EXPLICIT_VR_LITTLE_ENDIAN)
    return message_bytes(GET_ID, requests.c_get_rq(message_id, STUDY_ROOT_GET, priority=1), data)


def move_bytes(message_id: int = 1, destination: str = "DEST") -> bytes:
    data = write_dataset(study(), EXPLICIT_VR_LITTLE_ENDIAN)
    return message_bytes(MOVE_ID, requests.c_move_rq(message_id, STUDY_ROOT_MOVE, destination, priority=2), data)


def cancel_bytes(message_id: int = 1, context_id: int = FIND_ID) -> bytes:
    return message_bytes(context_id, requests.c_cancel_rq(message_id))


def read(data: bytes) -> Dataset:
    return read_dataset(data, EXPLICIT_VR_LITTLE_ENDIAN)


def counters(message: Any) -> tuple[Any, ...]:
    """Status, remaining, completed, failed, warning."""
    command = message.command
    return command.status, command.remaining, command.completed, command.failed, command.warning


def failed_uids(message: Any) -> list[str]:
    value = read(message.data).FailedSOPInstanceUIDList if message.data else []
    return [value] if isinstance(value, str) else list(value)


class Link:
    """Connections to a destination: an endpoint whose other end is an acceptor in memory; `pump` moves the bytes."""

    def __init__(self, acceptor: Acceptor) -> None:
        self.acceptor = acceptor
        self.connections: list[tuple[tuple[Any, Wire], tuple[Any, Wire]]] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        client, server = factory.buildProtocol(ADDRESS), self.acceptor.buildProtocol(ADDRESS)
        ends = (client, Wire()), (server, Wire())
        self.connections.append(ends)
        for protocol, wire in ends:
            protocol.makeConnection(wire)
        return succeed(client)

    def pump(self) -> None:
        """Until nothing is under way."""
        moved = True
        while moved:
            moved = False
            for ends in list(self.connections):
                for (_, wire), (other, other_wire) in zip(ends, reversed(ends), strict=True):
                    data = wire.value()
                    wire.clear()
                    if data and other_wire.closed != "abort":
                        other.dataReceived(data)
                        moved = True
                if not moved and any(wire.closed for _, wire in ends):
                    self.connections.remove(ends)
                    lose(ends)
                    moved = True

    def close(self) -> None:
        """The connections are lost."""
        connections, self.connections = self.connections, []
        for ends in connections:
            lose(ends)


def lose(ends: Any) -> None:
    for protocol, _ in ends:
        protocol.connectionLost(Failure(ConnectionDone()))


class Destination:
    """Opens associations to a server in memory, with contexts for `syntaxes` of CT."""

    def __init__(self, acceptor: Acceptor, clock: Any, *, window: int = 4, classes: tuple[str, ...] = (CT,)) -> None:
        self.clock = clock
        self.link = Link(acceptor)
        self.window = window
        self.classes = classes
        self.opened: list[list[InstanceRef]] = []

    def open(self, instances: Any) -> Deferred[Association]:
        self.opened.append(list(instances))
        contexts = [
            PresentationContextRQ(2 * number + 1, sop_class, (syntax,))
            for number, (sop_class, syntax) in enumerate(
                (one, syntax)
                for one in self.classes
                for syntax in (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
            )
        ]
        requestor = Requestor(self.link, ScpConfig(), self.clock, peer_name="DEST")
        return requestor.request("SERVER", "DEST", contexts, window=(self.window, 1))
