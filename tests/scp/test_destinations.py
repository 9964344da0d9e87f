"""txdicom.scp.destinations: which AE titles instances go to, where that is, and what is asked for there."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from tests.net.wire import Wire, split
from txdicom.errors import ConnectionFailed, NotFound, SettingsError
from txdicom.interfaces import AEEntry, IAETitle, IDicomSecurity, InstanceRef
from txdicom.pdu.types import AssociateRQ, AsyncOperationsWindow
from txdicom.scp import ScpConfig
from txdicom.scp.destinations import TableDestinations
from txdicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
JPEG = "1.2.840.10008.1.2.4.50"


class Caller:
    """The association of a C-MOVE."""

    def __init__(self, peer: Any = None, *, calling_ae: str = "CALLER", tls: Any = None) -> None:
        self.peer = peer or IPv4Address("TCP", "192.0.2.1", 50_000)
        self.calling_ae = calling_ae
        self.tls = tls


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
    only_secure = False
    observers = None

    def __init__(self, table: Any, config: ScpConfig, security: Any = None) -> None:
        self.config = config
        self._services = {IAETitle: table, IDicomSecurity: security}

    def service(self, interface: Any) -> Any:
        return self._services[interface]


class Made:
    def __init__(self, table: Any, config: ScpConfig | None = None, *, security: Any = None, **keywords: Any) -> None:
        self.reactor = MemoryReactorClock()
        server: Any = Server(table, config or ScpConfig(), security)
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


def test_an_unknown_caller_is_called_at_its_address() -> None:
    made = Made(Table(port_usage="none"), anonymous_port=104)
    made.resolve("CALLER ", Caller(calling_ae=" CALLER")).open(instances((CT, JPEG))).addErrback(lambda _: None)
    assert made.reactor.tcpClients[-1][:2] == ("192.0.2.1", 104)
    for title, caller in (
        ("OTHER", Caller()),
        ("CALLER", Caller(UNIXAddress("/nowhere"))),
        ("more than sixteen", Caller(calling_ae="more than sixteen")),
    ):
        assert made.resolve(title, caller).check(NotFound)
    with pytest.raises(ConnectionFailed):
        made.resolve("DEST", Caller(calling_ae="DEST")).open(instances((CT, JPEG)))


class Security:
    """An `IDicomSecurity` that cannot do it, and keeps for which host it was asked."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.hosts: list[str] = []

    def client_options(self, host: str, verify_host_name: bool | None = None) -> Any:
        self.hosts.append(host)
        raise self.error


def test_an_unknown_caller_that_came_by_tls_is_never_called_without() -> None:
    security = Security(SettingsError(["no certificates"]))
    made = Made(Table(), anonymous_port=104, security=security)
    opened = made.resolve("CALLER", Caller(tls="of its connection")).open(instances((CT, JPEG)))
    assert security.hosts == ["192.0.2.1"]
    assert made.reactor.tcpClients == []
    assert failure_of(opened).check(ConnectionFailed)


def failure_of(deferred: Deferred[Any]) -> Failure:
    failures: list[Failure] = []
    deferred.addErrback(failures.append)
    return failures[0]


@pytest.mark.parametrize("error", [ValueError("an add-in's"), SystemExit("an add-in's")])
def test_security_that_fails_is_a_failed_connection(error: BaseException) -> None:
    made = Made(Table(port_usage="secure"), security=Security(error))
    failure = failure_of(made.resolve().open(instances((CT, JPEG))))
    assert failure.check(ConnectionFailed)
    assert failure.getErrorMessage() == "cannot connect to DEST@192.0.2.9:2762: an add-in's"
    assert failure.value.__cause__ is error
