"""txdicom.services.normalized and .encoding: DIMSE-N in both roles, and data sets to and from bytes."""

from __future__ import annotations

import zlib
from functools import partial
from typing import Any

import pytest
from pydicom import Dataset
from twisted.internet.defer import Deferred

from tests.net.wire import MPPS, MPPS_ID, Peer, acceptor, message_bytes, pdata
from tests.services.serving import NormalizedAddin, Serving
from txdicom.dimse import messages, requests
from txdicom.errors import LocalProtocolError
from txdicom.services import in_memory as module
from txdicom.services.encoding import deflate, inflate, read_dataset, write_dataset
from txdicom.services.normalized import normalized
from txdicom.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    VERIFICATION,
)


def patient(name: str = "Doe^Jane") -> Dataset:
    dataset = Dataset()
    dataset.PatientName = name
    dataset.Rows = 3
    return dataset


def encoded(dataset: Dataset) -> bytes:
    return write_dataset(dataset, EXPLICIT_VR_LITTLE_ENDIAN)


def served(handler: Any, stream: bytes) -> Any:
    serving = Serving(NormalizedAddin(handler))
    peer = serving.peer()
    peer.send(stream)
    (message,) = peer.messages()
    peer.lose()
    assert serving.clean()
    return message


def create(data: Dataset | None = None) -> bytes:
    return message_bytes(
        MPPS_ID,
        requests.n_create_rq(1, MPPS, "1.2.3", data_set=data is not None),
        encoded(data) if data is not None else None,
    )


def test_a_data_set_both_ways() -> None:
    def handler(request: Any) -> Any:
        assert request.dataset.PatientName == "Doe^Jane"
        assert request.dataset is request.dataset
        return 0, patient("Roe^Richard")

    message = served(handler, create(patient()))
    assert message.command.status == 0
    assert read_dataset(message.data, EXPLICIT_VR_LITTLE_ENDIAN).PatientName == "Roe^Richard"


@pytest.mark.parametrize("answer", [0, (0, None), (0, Dataset())])
def test_without_a_data_set(answer: Any) -> None:
    message = served(lambda request: answer if request.dataset is None else 0xC000, create())
    assert (message.command.status, message.command.has_data_set) == (0, False)


def test_a_data_set_in_an_answer_that_has_none() -> None:
    """N-DELETE-RSP has no data set (PS3.7 Table 10.3-12)."""
    message = served(lambda request: (0, patient()), message_bytes(MPPS_ID, requests.n_delete_rq(1, MPPS, "1.2.3")))
    assert message.command.status == 0x0110


def test_a_data_set_that_cannot_be_written() -> None:
    broken = patient()
    broken["Rows"]._value = "not a number"
    assert served(lambda request: (0, broken), create()).command.status == 0x0110


def test_a_data_set_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DATA_SET", 1_000)
    serving = Serving(addin := NormalizedAddin())
    peer = serving.peer()
    peer.send(message_bytes(MPPS_ID, requests.n_set_rq(1, MPPS, "1.2.3"), bytes(1_001)))
    peer.send(message_bytes(MPPS_ID, requests.n_set_rq(2, MPPS, "1.2.3"), encoded(patient())))
    assert peer.statuses() == [0x0213, 0]
    assert [request.message_id for request in addin.requests] == [2]


def test_a_data_set_in_single_bytes_costs_no_more() -> None:
    """200 bytes of Python for each byte sent would be an attack."""
    import tracemalloc

    serving = Serving(NormalizedAddin())
    peer = serving.peer()
    peer.send(message_bytes(MPPS_ID, requests.n_set_rq(1, MPPS, "1.2.3")))
    stream = (pdata(MPPS_ID, 0, b"x") + pdata(MPPS_ID, 0, b"")) * 2_000
    tracemalloc.start()
    for start in range(0, len(stream), 65_536):
        peer.send(stream[start : start + 65_536])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 50_000
    peer.lose()


@pytest.mark.parametrize("answers", [True, False])
def test_as_the_scu(answers: bool) -> None:
    peer = requesting()
    got: list[Any] = []
    Deferred.fromCoroutine(normalized(peer.association, MPPS, partial(_create, instance="1.2.3"), patient())).addBoth(
        got.append
    )
    (request,) = peer.messages()
    assert read_dataset(request.data, EXPLICIT_VR_LITTLE_ENDIAN).PatientName == "Doe^Jane"
    response = messages.response(request.command, 0, data_set=answers)
    peer.send(message_bytes(MPPS_ID, response, encoded(patient("Roe^Richard")) if answers else None))
    ((status, dataset),) = got
    assert status.is_success
    assert dataset.PatientName == "Roe^Richard" if answers else dataset is None


def _create(message_id: int, instance: str) -> Any:
    return requests.n_create_rq(message_id, MPPS, instance, data_set=True)


def test_as_the_scu_without_a_context() -> None:
    got: list[Any] = []
    Deferred.fromCoroutine(normalized(requesting().association, VERIFICATION, _create, None)).addBoth(got.append)  # type: ignore[arg-type]
    assert got[0].check(LocalProtocolError)


def requesting() -> Peer:
    """An association on which this side, the acceptor, has the SCU role of MPPS."""
    from dataclasses import replace

    from tests.net.wire import associate_rq
    from txdicom.pdu.encode import encode
    from txdicom.pdu.types import RoleSelection

    rq = associate_rq()
    peer = Peer(acceptor())
    peer.send(encode(replace(rq, user=replace(rq.user, roles=(RoleSelection(MPPS, True, True),)))))
    peer.pdus()
    return peer


@pytest.mark.parametrize(
    "syntax",
    [
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN,
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ],
)
def test_every_encoding(syntax: str) -> None:
    data = write_dataset(patient(), syntax)
    assert len(data) % 2 == 0
    dataset = read_dataset(data, syntax)
    assert (dataset.PatientName, dataset.Rows) == ("Doe^Jane", 3)


def test_deflating() -> None:
    for size in range(40):
        data = bytes(range(size))
        assert len(deflate(data)) % 2 == 0
        assert inflate(deflate(data)) == data


def test_a_deflated_bomb() -> None:
    with pytest.raises(ValueError, match="over 1000 bytes"):
        inflate(deflate(bytes(100_000)), 1_000)
    with pytest.raises(zlib.error):
        inflate(b"\xff\xff\xff")
