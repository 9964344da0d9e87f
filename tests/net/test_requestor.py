"""txdicom.net.requestor: one connection, one request, its answer, and every way it goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet import error as errors
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionLost, DNSLookupError
from twisted.internet.interfaces import IHandshakeListener, ISSLTransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from tests.net.wire import ADDRESS, CONTEXTS, AcceptAll, Wire, echo_bytes, split
from txdicom.errors import (
    AssociationAborted,
    AssociationRejected,
    ConnectionFailed,
    LocalProtocolError,
    RemoteProtocolError,
)
from txdicom.net.association import Association
from txdicom.net.config import NetConfig
from txdicom.net.requestor import Requestor
from txdicom.pdu.encode import encode
from txdicom.pdu.types import Abort, AssociateRJ, AssociateRQ, PresentationContextAC
from txdicom.ul import negotiation


class Endpoint:
    """An endpoint that connects when the test says so."""

    def __init__(self) -> None:
        self.factory: Any = None
        self.cancelled = 0
        self.deferred: Deferred[Any] = Deferred(self._cancel)
        self.wire = Wire()

    def _cancel(self, _: Deferred[Any]) -> None:
        self.cancelled += 1

    def connect(self, factory: Any) -> Deferred[Any]:
        self.factory = factory
        return self.deferred

    def connected(self, *, tls: bool = False) -> Any:
        """As Twisted does: first the protocol hears of it, then the Deferred fires."""
        if tls:
            directlyProvides(self.wire, ISSLTransport)
        protocol = self.factory.buildProtocol(ADDRESS)
        protocol.makeConnection(self.wire)
        self.deferred.callback(protocol)
        return protocol


class Asked:
    """A request under way."""

    def __init__(self, endpoint: Any = None, **settings: Any) -> None:
        self.clock = Clock()
        self.endpoint = endpoint or Endpoint()
        self.results: list[Any] = []
        requestor = Requestor(self.endpoint, NetConfig(**settings), self.clock, peer_name="PACS at 192.0.2.7:104")
        self.deferred = requestor.request("CLIENT", "SERVER", CONTEXTS)
        self.deferred.addBoth(self.results.append)

    def sent(self) -> list[Any]:
        data = self.endpoint.wire.value()
        self.endpoint.wire.clear()
        return split(data)

    @property
    def result(self) -> Any:
        (result,) = self.results
        return result

    def clean(self) -> bool:
        return not self.clock.getDelayedCalls()


def answer(rq: AssociateRQ) -> bytes:
    return encode(negotiation.accept(rq, AcceptAll())[0])


def lose(protocol: Any, reason: Exception | None = None) -> None:
    protocol.connectionLost(Failure(reason or ConnectionLost()))


def test_established() -> None:
    asked = Asked()
    assert asked.results == []
    protocol = asked.endpoint.connected()
    (rq,) = asked.sent()
    assert (rq.calling_ae, rq.called_ae, rq.contexts) == ("CLIENT", "SERVER", CONTEXTS)
    protocol.dataReceived(answer(rq))
    association = asked.result
    assert isinstance(association, Association)
    assert association.established
    assert association.peer == ADDRESS
    lose(protocol)
    assert asked.clean()


def test_established_before_connect_returns() -> None:
    """A transport in memory may be that fast."""

    class AtOnce(Endpoint):
        def connect(self, factory: Any) -> Deferred[Any]:
            self.factory = factory
            protocol = factory.buildProtocol(ADDRESS)
            protocol.makeConnection(self.wire)
            (rq,) = split(self.wire.value())
            protocol.dataReceived(answer(rq))
            self.deferred.callback(protocol)
            return self.deferred

    asked = Asked(AtOnce())
    assert asked.result.established
    assert asked.endpoint.wire.closed == ""
    lose(asked.result.protocol)


def test_an_endpoint_that_fails_at_once() -> None:
    class Bad(Endpoint):
        def connect(self, factory: Any) -> Deferred[Any]:
            return fail(ValueError("invalid hostname: ?"))

    asked = Asked(Bad())
    assert asked.result.check(ConnectionFailed)
    assert "invalid hostname" in asked.result.getErrorMessage()
    assert asked.clean()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.ConnectionRefusedError(), "refused"),
        (DNSLookupError("no such name"), "the name cannot be resolved"),
        (errors.TimeoutError(), "timeout"),
        (OSError(24, "Too many open files"), "Too many open files"),
    ],
)
def test_no_connection(error: Exception, said: str) -> None:
    asked = Asked()
    asked.endpoint.deferred.errback(Failure(error))
    assert asked.result.check(ConnectionFailed)
    assert "PACS at 192.0.2.7:104" in asked.result.getErrorMessage()
    assert said in asked.result.getErrorMessage()
    assert asked.result.value.__cause__ is error
    assert asked.clean()


def test_no_connection_in_time() -> None:
    """One deadline for name resolution, TCP and TLS together."""
    asked = Asked(reconnect_timeout=30.0)
    asked.clock.advance(30)
    assert asked.endpoint.cancelled == 1
    assert asked.result.check(ConnectionFailed)
    assert "within 30 s" in asked.result.getErrorMessage()
    assert asked.clean()


def test_no_answer_in_time() -> None:
    asked = Asked(artim_timeout=30.0)
    protocol = asked.endpoint.connected()
    asked.clock.advance(30)
    assert asked.endpoint.wire.closed == "abort"
    lose(protocol)
    assert asked.result.check(AssociationAborted)
    assert "no answer to A-ASSOCIATE-RQ within 30 s" in asked.result.getErrorMessage()
    assert asked.clean()


def test_rejected() -> None:
    asked = Asked()
    protocol = asked.endpoint.connected()
    protocol.dataReceived(encode(AssociateRJ(1, 1, 7)))
    assert asked.endpoint.wire.closed == "lose"
    lose(protocol)
    assert asked.result.check(AssociationRejected)
    assert (asked.result.value.result, asked.result.value.source, asked.result.value.reason) == (1, 1, 7)
    assert asked.clean()


@pytest.mark.parametrize("how", ["abort", "closed", "garbage", "echo", "request"])
def test_an_answer_that_is_none(how: str) -> None:
    asked = Asked()
    protocol = asked.endpoint.connected()
    (rq,) = asked.sent()
    if how != "closed":
        data = {
            "abort": encode(Abort(2, 1)),
            "garbage": b"HTTP/1.1 400\r\n",
            "echo": echo_bytes(),
            "request": encode(rq),
        }
        protocol.dataReceived(data[how])
    lose(protocol)
    assert asked.result.check(AssociationAborted)
    assert asked.clean()


def test_an_answer_that_breaks_the_rules() -> None:
    asked = Asked()
    protocol = asked.endpoint.connected()
    (rq,) = asked.sent()
    ac, _ = negotiation.accept(rq, AcceptAll())
    wrong = PresentationContextAC(1, 0, "1.2.840.10008.1.2.4.50")  # was not proposed
    from dataclasses import replace

    protocol.dataReceived(encode(replace(ac, contexts=(wrong,))))
    assert asked.sent() == [Abort(0, 0)]
    assert asked.endpoint.wire.closed == "lose"
    lose(protocol)
    assert asked.result.check(RemoteProtocolError)
    assert asked.clean()


@pytest.mark.parametrize("when", ["connecting", "asked", "established"])
def test_cancelled(when: str) -> None:
    asked = Asked()
    if when != "connecting":
        protocol = asked.endpoint.connected()
        (rq,) = asked.sent()
        if when == "established":
            protocol.dataReceived(answer(rq))
    asked.deferred.cancel()
    if when == "connecting":
        assert asked.endpoint.cancelled == 1
    elif when == "asked":
        assert asked.sent() == [Abort(0, 0)]
        assert asked.endpoint.wire.closed == "lose"  # so that the peer sees the A-ABORT
        lose(protocol)
    else:
        assert asked.result.established
        lose(protocol)
        return
    assert asked.result.check(CancelledError)
    assert asked.clean()


@pytest.mark.parametrize("field", ["calling", "called"])
@pytest.mark.parametrize("title", ["A TITLE THAT IS FAR TOO LONG", "日本"])
def test_what_cannot_be_sent_is_said_before_anything_is_opened(field: str, title: str) -> None:
    endpoint = Endpoint()
    clock = Clock()
    requestor = Requestor(endpoint, NetConfig(), clock, peer_name="PACS")  # type: ignore[arg-type]
    titles = {"calling": "CLIENT", "called": "SERVER"} | {field: title}
    with pytest.raises(LocalProtocolError):
        requestor.request(titles["calling"], titles["called"], CONTEXTS)
    assert endpoint.factory is None
    assert clock.getDelayedCalls() == []


# -- TLS ---------------------------------------------------------------------------------------------------------------


def test_over_tls_nothing_is_asked_before_the_handshake() -> None:
    asked = Asked()
    protocol = asked.endpoint.connected(tls=True)
    assert IHandshakeListener.providedBy(protocol)
    assert asked.sent() == []
    protocol.handshakeCompleted()
    assert isinstance(asked.sent()[0], AssociateRQ)
    lose(protocol)
    assert asked.clean()


def test_no_tls_handshake_in_time() -> None:
    """A TLS client on a port without TLS: the other side waits too."""
    asked = Asked(reconnect_timeout=30.0)
    protocol = asked.endpoint.connected(tls=True)
    asked.clock.advance(30)
    assert asked.endpoint.wire.closed == "abort"
    assert asked.result.check(ConnectionFailed)
    assert "no TLS handshake" in asked.result.getErrorMessage()
    lose(protocol)
    assert asked.clean()


def test_a_tls_handshake_that_fails_is_a_failed_connection() -> None:
    asked = Asked()
    protocol = asked.endpoint.connected(tls=True)
    lose(protocol, SSL.Error([("SSL routines", "", "wrong version number")]))
    assert asked.result.check(ConnectionFailed)
    assert asked.result.getErrorMessage().endswith(": it does not speak TLS on this port")
    assert asked.result.value.__cause__.kind == "plain"
    assert asked.clean()


def test_the_address_of_the_peer_is_known() -> None:
    asked = Asked()
    protocol = asked.endpoint.connected()
    assert protocol.association.peer == IPv4Address("TCP", "192.0.2.7", 50_000)
    lose(protocol)
