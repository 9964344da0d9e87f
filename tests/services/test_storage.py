"""txdicom.services.storage and .verification: both roles."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.net.wire import CT, CT_ID, ECHO_ID, Peer, acceptor, data_set, message_bytes, store_bytes
from tests.services.serving import Serving, StoreAddin
from txdicom.dimse import messages
from txdicom.dimse.elements import MOVE_ORIGINATOR_AE_TITLE, MOVE_ORIGINATOR_MESSAGE_ID, PRIORITY
from txdicom.errors import LocalProtocolError
from txdicom.net.sending import MemorySource
from txdicom.pdu.types import PresentationContextRQ
from txdicom.services.storage import store
from txdicom.services.verification import echo
from txdicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, VERIFICATION


def results(deferred: Deferred[Any]) -> list[Any]:
    got: list[Any] = []
    deferred.addBoth(got.append)
    return got


@pytest.fixture
def peer() -> Peer:
    peer = Peer(acceptor())
    peer.associate()
    return peer


@pytest.mark.parametrize("source", [False, True])
def test_store_as_the_scu(peer: Peer, source: bool) -> None:
    data = data_set(pixels=50_000)
    got = results(
        store(
            peer.association,
            CT_ID,
            CT,
            "1.2.3",
            MemorySource(data) if source else data,
            priority=1,
            move_originator_ae="MOVER",
            move_originator_message_id=9,
        )
    )
    (request,) = peer.messages()
    assert request.data == data
    values = request.command.values
    assert (values[PRIORITY], values[MOVE_ORIGINATOR_AE_TITLE], values[MOVE_ORIGINATOR_MESSAGE_ID]) == (1, "MOVER", 9)
    peer.send(message_bytes(CT_ID, messages.response(request.command, 0xB000)))
    assert messages.status_of(got[0][0]).code == 0xB000


def test_store_of_no_uid_fails_without_a_byte_sent(peer: Peer) -> None:
    peer.messages()
    got = results(store(peer.association, CT_ID, CT, "../../etc/passwd", b"data"))
    assert got[0].check(LocalProtocolError)
    assert peer.messages() == []


def test_echo_as_the_scu() -> None:
    from txdicom.pdu.types import RoleSelection

    peer = Peer(acceptor())
    from dataclasses import replace

    from tests.net.wire import associate_rq
    from txdicom.pdu.encode import encode

    rq = associate_rq()
    peer.send(encode(replace(rq, user=replace(rq.user, roles=(RoleSelection(VERIFICATION, True, True),)))))
    peer.pdus()
    got = results(Deferred.fromCoroutine(echo(peer.association)))
    (request,) = peer.messages()
    peer.send(message_bytes(ECHO_ID, messages.response(request.command, 0)))
    assert got[0].is_success


def test_echo_without_a_context_for_it() -> None:
    peer = Peer(acceptor())
    peer.associate(PresentationContextRQ(CT_ID, CT, (EXPLICIT_VR_LITTLE_ENDIAN,)))
    got = results(Deferred.fromCoroutine(echo(peer.association)))
    assert got[0].check(LocalProtocolError)


def test_what_a_handler_of_c_store_is_given() -> None:
    seen: list[Any] = []

    def handler(request: Any) -> int:
        received = request.received
        seen.append((received.sop_class, received.sop_instance, received.transfer_syntax, received.size))
        seen.append(b"".join(received.chunks()))
        seen.append(request.dataset.SOPInstanceUID)
        assert request.dataset is request.dataset
        return 0

    serving = Serving(StoreAddin(handler))
    peer = serving.peer()
    data = data_set("1.2.7")
    peer.send(store_bytes(1, data, instance="1.2.7", max_length=60))
    assert peer.statuses() == [0]
    assert seen == [(CT, "1.2.7", EXPLICIT_VR_LITTLE_ENDIAN, len(data)), data, "1.2.7"]
    peer.lose()
    assert serving.clean()


def test_an_empty_data_set() -> None:
    serving = Serving(StoreAddin(lambda request: 0 if request.received.size == 0 else 0xC000))
    peer = serving.peer()
    from txdicom.dimse import requests

    peer.send(message_bytes(CT_ID, requests.c_store_rq(1, CT, "1.2.3"), b""))
    assert peer.statuses() == [0]


def test_a_data_set_that_is_none_harms_only_its_message() -> None:
    serving = Serving(StoreAddin(lambda request: len(request.dataset) and 0))
    peer = serving.peer()
    peer.send(store_bytes(1, b"\xff" * 101) + store_bytes(2))
    first, second = peer.statuses()
    assert second == 0
    assert first in {0, 0xC000}
    assert peer.association.established


@pytest.mark.parametrize("answer", [0, 0xA700, 0xB000, 0x0111])
def test_the_response_names_class_and_instance(answer: int) -> None:
    peer = Serving(StoreAddin(lambda request: answer)).peer()
    peer.send(store_bytes(3, instance="1.2.9"))
    (message,) = peer.messages()
    command = message.command
    assert (command.status, command.affected_sop_class, command.affected_sop_instance) == (answer, CT, "1.2.9")
    assert command.message_id_responded_to == 3
