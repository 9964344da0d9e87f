"""txdicom.scp.destinations: which AE titles instances go to, where that is, and what is asked for there."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock

from tests.net.wire import Wire, split
from txdicom.errors import ConnectionFailed, NotFound
from txdicom.interfaces import AEEntry, IAETitle, InstanceRef
from txdicom.pdu.types import AssociateRQ, AsyncOperationsWindow
from txdicom.scp import ScpConfig
from txdicom.scp.destinations import TableDestinations
from txdicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
JPEG = "1.2.840.10008.1.2.4.50"


class Caller:
    """The association of a C-MOVE."""

    def __init__(self, peer: Any = None) -> None:
        self.peer = peer or IPv4Address("TCP", "192.0.2.1", 50_000)


class Table:
    """An AE-title service with one entry."""

    def __init__(self, **values: Any) -> None:
        self.entry = AEEntry(ae_title="DEST", **{"host": "192.0.2.9", "port": 11112, **values})

    def get(self, ae_title: str) -> AEEntry:
        if ae_title != self.entry.ae_title:
            raise NotFound(ae_title)
        return self.entry


class Slow(Table):
    """The same, which takes its time."""

    async def get(self, ae_title: str) -> AEEntry:  # type: ignore[override]
        await succeed(None)
        return super().get(ae_title)


class Server:
    """As much of an application entity as is asked."""

    ae_title = "SERVER"

    def __init__(self, table: Any, config: ScpConfig) -> None:
        self.table, self.config = table, config

    def service(self, interface: Any) -> Any:
        assert interface is IAETitle
        return self.table


class Made:
    def __init__(self, table: Any, config: ScpConfig | None = None, **keywords: Any) -> None:
        self.reactor = MemoryReactorClock()
        server: Any = Server(table, config or ScpConfig())
        self.destinations = TableDestinations(self.reactor, server, **keywords)

    def resolve(self, title: str = "DEST", caller: Any = None) -> Any:
        got: list[Any] = []
        Deferred.fromCoroutine(self.destinations.resolve(title, caller or Caller())).addBoth(got.append)
        return got[0]

    def asked(self, destination: Any, instances: list[InstanceRef]) -> AssociateRQ:
        """What the destination is asked for; the connection is given up then."""
        opened = destination.open(instances)
        host, port, factory, _timeout, _bind = self.reactor.tcpClients[-1]
        assert (host, port) == ("192.0.2.9", 11112)
        wire = Wire()
        factory.buildProtocol(IPv4Address("TCP", host, port)).makeConnection(wire)
        (rq,) = split(wire.value())
        opened.addErrback(lambda _: None)
        opened.cancel()
        assert isinstance(rq, AssociateRQ)
        return rq


def instances(*kinds: tuple[str, str]) -> list[InstanceRef]:
    return [InstanceRef(*kind[:1], f"1.2.{number}", kind[1], lambda: b"") for number, kind in enumerate(kinds)]


@pytest.mark.parametrize("table", [Table(), Slow()])
def test_what_is_asked_for(table: Any) -> None:
    made = Made(table)
    kinds = (CT, EXPLICIT_VR_LITTLE_ENDIAN), (CT, EXPLICIT_VR_LITTLE_ENDIAN), (CT, JPEG), (MR, JPEG)
    rq = made.asked(made.resolve(), instances(*kinds))
    assert (rq.calling_ae, rq.called_ae) == ("SERVER", "DEST")
    assert [(one.abstract_syntax, one.transfer_syntaxes) for one in rq.contexts] == [
        (CT, (EXPLICIT_VR_LITTLE_ENDIAN,)), (CT, (JPEG,)), (CT, (IMPLICIT_VR_LITTLE_ENDIAN,)), (MR, (JPEG,)),
    ]  # fmt: skip
    assert rq.user.async_window == AsyncOperationsWindow(16, 1)
    assert rq.user.roles == ()


def test_at_most_128_presentation_contexts() -> None:
    made = Made(Table(), ScpConfig(max_operations=1))
    rq = made.asked(made.resolve(), instances(*((f"1.2.3.{number}", JPEG) for number in range(200))))
    assert [one.abstract_syntax for one in rq.contexts] == [f"1.2.3.{number}" for number in range(128)]
    assert rq.user.async_window is None


@pytest.mark.parametrize("table", [Table(), Slow()])
def test_an_unknown_title(table: Any) -> None:
    failure = Made(table).resolve("OTHER")
    assert failure.check(NotFound)
    assert "OTHER" in failure.getErrorMessage()


@pytest.mark.parametrize("values", [{"host": ""}, {"port_usage": "none"}])
def test_who_is_not_called(values: Any) -> None:
    destination = Made(Table(**values)).resolve()
    with pytest.raises(ConnectionFailed, match="'DEST' cannot be called"):
        destination.open(instances((CT, JPEG)))


def test_unknown_titles_at_the_callers_address() -> None:
    made = Made(Table(port_usage="none"), anonymous_port=104)
    made.resolve("ANY").open(instances((CT, JPEG))).addErrback(lambda _: None)
    assert made.reactor.tcpClients[-1][:2] == ("192.0.2.1", 104)
    for title, caller in (("ANY", Caller(UNIXAddress("/nowhere"))), ("more than sixteen", None)):
        assert made.resolve(title, caller).check(NotFound)
    with pytest.raises(ConnectionFailed):
        made.resolve("DEST").open(instances((CT, JPEG)))
