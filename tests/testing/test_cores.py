"""The test kit's pair of upper layers: whole conversations, and what it does with bytes that are on their way."""

from __future__ import annotations

import pytest

from txdicom.errors import LocalProtocolError
from txdicom.pdu import PDV, AssociateRJ
from txdicom.testing import Core, CorePair
from txdicom.testing.cores import REQUEST, acceptance
from txdicom.ul.states import State

COMMAND, DATA = PDV(1, 3, b"command"), PDV(1, 2, b"data")


@pytest.mark.parametrize("count", [None, 1, 7])
def test_a_conversation(count: int | None) -> None:
    pair = CorePair()
    pair.establish()
    pair.requestor.send_pdvs(COMMAND, DATA)
    pair.requestor.upper_layer.release()
    pair.pump(count)
    assert pair.acceptor.received == [COMMAND, DATA]
    assert pair.acceptor.primitives == [
        ("A-ASSOCIATE indication", REQUEST),
        ("P-DATA indication", COMMAND),
        ("P-DATA indication", DATA),
        ("A-RELEASE indication",),
    ]
    pair.acceptor.upper_layer.respond_release()
    pair.pump(count)
    assert pair.requestor.primitives == [
        ("A-ASSOCIATE confirmation", acceptance(REQUEST)),
        ("A-RELEASE confirmation",),
    ]
    assert pair.requestor.upper_layer.state == pair.acceptor.upper_layer.state == State.STA1
    assert not pair.connected


def test_a_rejection() -> None:
    pair = CorePair()
    pair.requestor.upper_layer.associate(REQUEST)
    pair.connect()
    pair.pump()
    pair.acceptor.upper_layer.reject(AssociateRJ(1, 1, 7))
    pair.pump()
    assert pair.requestor.primitives == [("A-ASSOCIATE confirmation", AssociateRJ(1, 1, 7))]
    assert not pair.connected


def test_bytes_are_held_until_they_are_delivered() -> None:
    pair = CorePair()
    pair.establish()
    pair.requestor.send_pdvs(DATA)
    size = len(pair.requestor.outgoing)
    pair.deliver(pair.requestor, 3)
    assert len(pair.requestor.outgoing) == size - 3
    pair.deliver(pair.requestor)
    assert not pair.requestor.outgoing
    assert pair.acceptor.received == [DATA]
    pair.deliver(pair.requestor)
    assert pair.peer(pair.acceptor) is pair.requestor


def test_a_lost_connection() -> None:
    pair = CorePair()
    pair.establish()
    pair.requestor.send_pdvs(DATA)
    pair.disconnect()
    pair.disconnect()
    pair.pump()
    for core in (pair.requestor, pair.acceptor):
        assert core.primitives[-1][:2] == ("A-ABORT indication", 2)
        assert core.upper_layer.state == State.STA1
    assert pair.acceptor.received == []


def test_artim() -> None:
    pair = CorePair()
    pair.establish()
    with pytest.raises(AssertionError):
        pair.requestor.expire_artim()
    pair.requestor.upper_layer.abort()
    pair.requestor.expire_artim()
    assert pair.requestor.effects[-1] == ("close", True)
    pair.pump()
    assert not pair.connected
    assert pair.acceptor.upper_layer.state == State.STA1


def test_the_core_is_as_strict_as_ever() -> None:
    with pytest.raises(LocalProtocolError):
        Core(requestor=True).send_pdvs(DATA)
