"""IDicomRequest: a server that asks its peers, over real connections."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from twisted.internet import reactor, task
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from zope.interface import implementer

from tests.scu.provider import CT, EXPLICIT, IMPLICIT, JPEG, Operation, data_set, providing, success, write
from txdicom import uids
from txdicom.addins.verification import VerificationAddin
from txdicom.dimse.command import CommandField
from txdicom.errors import (
    AssociationAborted,
    BadArgument,
    ConnectionFailed,
    DimseTimeout,
    LocalProtocolError,
    NotFound,
    StatusError,
)
from txdicom.interfaces import ANY_STORAGE, AEEntry, IDicomAddin, IDicomRequest, IProcessCStore, presentation_context
from txdicom.interfaces import IAETitle as IAETitleService
from txdicom.scp import ApplicationEntity, listen, pool
from txdicom.scu import Context, Peer, connect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

COMMITMENT = "1.2.840.10008.1.20.1"


@implementer(IDicomAddin, IProcessCStore)
class Storing:
    """Answers C-STORE as the test says."""

    name, version, description, author = "storing", "1", "for tests", "tests"

    def __init__(self) -> None:
        self.handler: Any = lambda request: 0

    def load(self, server: Any) -> None:
        self.server = server

    def unload(self) -> None:
        pass

    @presentation_context(ANY_STORAGE)
    def on_c_store(self, request: Any) -> Any:
        return self.handler(request)


@asynccontextmanager
async def server(*entries: AEEntry, **settings: Any) -> AsyncGenerator[tuple[ApplicationEntity, Any, Storing]]:
    """A server that knows these, its request service, and its add-in."""
    storing = Storing()
    entity = await listen(
        reactor,  # type: ignore[arg-type]
        "tcp:0:interface=127.0.0.1",
        ae_title="OURS",
        addins=[VerificationAddin(), storing],
        known_callers=entries,
        **settings,
    )
    try:
        yield entity, entity.service(IDicomRequest), storing
    finally:
        await entity.stop()


def entry(peer: Peer, **values: Any) -> AEEntry:
    return AEEntry(**{"ae_title": "PROVIDER", "host": peer.host, "port": peer.port, **values})


async def test_echoes_share_an_association_that_the_stop_releases() -> None:
    async with providing(success) as provider:
        async with server(entry(provider.peer)) as (_, requests, _addin):
            for _ in range(3):
                assert (await requests.c_echo(" PROVIDER ")).is_success
            assert len(provider.requests) == 1
            assert (provider.requests[0].calling_ae, provider.requests[0].called_ae) == ("OURS", "PROVIDER")
            assert provider.outcomes == [""]
        assert provider.outcomes == ["released"]


async def test_an_idle_association_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE", 0.05)
    async with providing(success) as provider, server(entry(provider.peer)) as (_, requests, _addin):
        await requests.c_echo("PROVIDER")
        while provider.outcomes != ["released"]:
            await task.deferLater(reactor, 0.01)  # type: ignore[arg-type]
        await requests.c_echo("PROVIDER")
        assert len(provider.requests) == 2


async def test_only_so_many_at_once_and_the_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "AT_ONCE", 2)
    monkeypatch.setattr(pool, "WAITING", 3)
    waiting: list[Operation] = []
    async with providing(waiting.append) as provider, server(entry(provider.peer)) as (_, requests, _addin):
        asked = [requests.c_echo("PROVIDER") for _ in range(6)]
        asked[4].cancel()
        asked.append(requests.n_get("PROVIDER", "1.2.3", "1.2.3.4"))
        results = DeferredList(asked, consumeErrors=True)
        while not results.called:
            assert len(waiting) <= 2
            assert len([one for one in provider.outcomes if not one]) <= 2
            while waiting:
                waiting.pop().answer()
            await task.deferLater(reactor, 0.01)  # type: ignore[arg-type]
        outcomes = [succeeded for succeeded, _ in await results]
    assert outcomes == [True, True, True, True, False, False, True]
    assert len(provider.requests) == 3  # one made room for other contexts


async def test_who_cannot_be_called() -> None:
    entries = [AEEntry(ae_title="CALLER"), AEEntry(ae_title="NEVER", host="127.0.0.1", port_usage="none")]
    nobody = AEEntry(ae_title="NOBODY", host="127.0.0.1", port=1)
    secure = AEEntry(ae_title="SECURE", host="127.0.0.1", port_usage="secure")
    async with server(*entries, nobody, secure) as (_, requests, _addin):
        for title, error, text in (
            ("UNKNOWN", NotFound, "'UNKNOWN' is not in the AE table"),
            ("CALLER", ConnectionFailed, "it has no host"),
            ("NEVER", ConnectionFailed, "port_usage is none"),
            ("NOBODY", ConnectionFailed, "NOBODY@127.0.0.1:1"),
            ("SECURE", ConnectionFailed, "no security"),
        ):
            with pytest.raises(error, match=text):
                await requests.c_echo(title)


async def test_a_change_of_the_table_holds_for_the_next_request() -> None:
    async with providing(success) as one, providing(success) as other:
        async with server(entry(one.peer)) as (entity, requests, _addin):
            await requests.c_echo("PROVIDER")
            entity.service(IAETitleService).update("PROVIDER", entry(other.peer))
            await requests.c_echo("PROVIDER")
        assert len(one.requests) == len(other.requests) == 1


async def test_instances_from_everywhere_go_out_byte_for_byte(tmp_path: Path) -> None:
    received: list[tuple[str, bytes]] = []

    def answer(operation: Operation) -> None:
        received.append((operation.context.transfer_syntax, operation.data))
        operation.answer(0xB000)

    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID, made.PatientName = CT, "1.2.3.7", "Müller"
    made.SpecificCharacterSet = "ISO_IR 192"
    path = write(tmp_path / "a.dcm", 4, size=3_000_000)
    async with providing(answer) as provider, server(entry(provider.peer)) as (entity, requests, storing):

        async def forward(request: Any) -> Any:
            return await requests.c_store("PROVIDER", request.received, priority=1)

        storing.handler = forward
        write(tmp_path / "in" / "1.dcm", 1)
        write(tmp_path / "in" / "2.dcm", 2, size=5_000_000)
        us = Peer("OURS", "127.0.0.1", entity.ports[0].getHost().port)
        async with connect(reactor, us, files=tmp_path / "in") as association:
            statuses = [one.status.code async for one in association.store(tmp_path / "in")]  # type: ignore[union-attr]
        assert statuses == [0xB000, 0xB000]
        assert (await requests.c_store("PROVIDER", path)).code == 0xB000
        assert (await requests.c_store("PROVIDER", made)).code == 0xB000
        assert len(provider.requests) == 1
        assert provider.operations[0].command.priority == 1
    assert received[:3] == [
        (EXPLICIT, data_set(CT, f"1.2.3.{number}", size)) for number, size in ((1, 0), (2, 5_000_000), (4, 3_000_000))
    ]
    assert b"M\xc3\xbcller" in received[3][1]


async def test_another_transfer_syntax_where_the_pixels_stay_as_they_are(tmp_path: Path) -> None:
    compressed = Dataset()
    compressed.SOPClassUID, compressed.SOPInstanceUID = CT, "1.2.3.8"
    compressed.file_meta = FileMetaDataset()
    compressed.file_meta.TransferSyntaxUID = JPEG
    plain = Dataset()
    plain.SOPClassUID, plain.SOPInstanceUID = CT, "1.2.3.9"
    async with providing(success, lambda _: (IMPLICIT,)) as provider:
        async with server(entry(provider.peer)) as (_, requests, _addin):
            for instance in (write(tmp_path / "a.dcm"), plain):
                assert (await requests.c_store("PROVIDER", instance)).is_success
            with pytest.raises(LocalProtocolError, match="did not accept"):
                await requests.c_store("PROVIDER", compressed)
        assert [one.dataset.SOPInstanceUID for one in provider.operations] == ["1.2.3.1", "1.2.3.9"]


async def test_what_cannot_be_sent(tmp_path: Path) -> None:
    write(tmp_path / "two" / "a.dcm")
    write(tmp_path / "two" / "b.dcm")
    (tmp_path / "empty").mkdir()
    async with providing(success) as provider, server(entry(provider.peer)) as (_, requests, _addin):
        for instance, text in (
            (tmp_path / "two", "is a folder"),
            (tmp_path / "empty", "empty folder"),
            (tmp_path / "none.dcm", "No such file"),
            (Dataset(), "is no UID"),
            (b"data", "bytes is no instance"),
        ):
            with pytest.raises(BadArgument, match=text):
                await requests.c_store("PROVIDER", instance)
        assert provider.requests == []


def found(count: int) -> Any:
    def answer(operation: Operation) -> None:
        if operation.command.command_field == CommandField.C_FIND_RQ:
            for number in range(count):
                match = Dataset()
                match.PatientID = str(number)
                operation.pending(match)
        elif operation.command.command_field == CommandField.C_MOVE_RQ:
            operation.pending(remaining=1, completed=1, failed=0, warning=0)
            operation.answer(completed=2, failed=0, warning=0)
            return
        operation.answer()

    return answer


async def test_queries_and_retrievals() -> None:
    async with providing(found(3)) as provider, server(entry(provider.peer)) as (_, requests, _addin):
        matches = await requests.c_find("PROVIDER", {"PatientID": ""}, level="STUDY")
        assert [match.PatientID for match in matches] == ["0", "1", "2"]
        assert len(await requests.c_find("PROVIDER", {"PatientID": ""}, level="STUDY", most=3)) == 3
        with pytest.raises(BadArgument, match="over 2 matches"):
            await requests.c_find("PROVIDER", {"PatientID": ""}, level="STUDY", most=2)
        end = await requests.c_move("PROVIDER", {"StudyInstanceUID": "1.2"}, "THERE", level="STUDY")
        assert (end.status.code, end.completed) == (0, 2)
    async with providing(lambda one: one.answer(0xA900)) as provider, server(entry(provider.peer)) as (_, requests, _a):
        with pytest.raises(StatusError, match="0xA900"):
            await requests.c_find("PROVIDER", {}, model="PATIENT")


async def test_c_get_hands_over_what_comes() -> None:
    def answer(operation: Operation) -> None:
        from txdicom.services.storage import store

        [context] = [one for one in operation.association.contexts.values() if one.abstract_syntax == CT]
        sent = store(operation.association, context.context_id, CT, "1.2.3.5", data_set(CT, "1.2.3.5"))
        sent.addCallback(lambda _: operation.answer(completed=1, failed=0, warning=0))

    got: list[str] = []

    def keep(request: Any) -> int:
        got.append(request.received.sop_instance)
        return 0

    async with providing(answer) as provider, server(entry(provider.peer)) as (_, requests, _addin):
        end = await requests.c_get("PROVIDER", {"StudyInstanceUID": "1.2"}, keep, level="STUDY", storage=[CT])
        assert (end.completed, got) == (1, ["1.2.3.5"])


async def test_dimse_n() -> None:
    async with providing(lambda one: one.answer(dataset=one.dataset if one.data else None)) as provider:
        async with server(entry(provider.peer)) as (_, requests, _addin):
            sent = Dataset()
            sent.PatientID = "1CT1"
            for name, what, data in (
                ("n_create", ("1.2.3.4", sent), True),
                ("n_set", ("1.2.3.4", sent), True),
                ("n_action", ("1.2.3.4", 1, sent), True),
                ("n_event_report", ("1.2.3.4", 1, sent), True),
                ("n_get", ("1.2.3.4", (0x00100020,)), False),
                ("n_delete", ("1.2.3.4",), False),
            ):
                status, answer = await getattr(requests, name)("PROVIDER", COMMITMENT, *what)
                assert status.is_success
                assert (answer is not None and answer.PatientID == "1CT1") is data, name
        roles = [[(role.scu, role.scp) for role in request.user.roles] for request in provider.requests]
        assert roles == [[], [(False, True)]]


async def test_the_association_of_a_request_is_used_where_role_and_context_fit() -> None:
    async with server(AEEntry(ae_title="MODALITY")) as (entity, requests, storing):
        us = Peer("OURS", "127.0.0.1", entity.ports[0].getHost().port)
        outcomes: list[Any] = []

        async def handler(request: Any) -> int:
            association = request.association
            # the requestor is the user of Verification, so that it may be sent its events and not be asked for it
            with pytest.raises(ConnectionFailed, match="it has no host"):
                await requests.c_echo("MODALITY", association=association)
            report = requests.n_event_report("MODALITY", uids.VERIFICATION, "1.2.3", 1, association=association)
            outcomes.append((await report)[0].code)
            with pytest.raises(NotFound):
                await requests.n_event_report("OTHER", uids.VERIFICATION, "1.2.3", 1, association=association)
            return 0

        storing.handler = handler
        contexts = [Context(uids.VERIFICATION), Context(CT)]
        async with connect(reactor, us, calling_ae="MODALITY", contexts=contexts) as association:
            made = await association._context(CT)
            from txdicom.services.storage import store

            await store(made[0], made[1].context_id, CT, "1.2.3.4", data_set())
        assert outcomes == [0x0211]  # this client answers none: but it was asked


async def test_a_request_without_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with providing(lambda _: None) as provider, server(entry(provider.peer)) as (_, requests, _addin):
        with pytest.raises(DimseTimeout):
            await requests.c_echo("PROVIDER", timeout=0.1)
        asked = requests.c_echo("PROVIDER")
        while len(provider.operations) < 2:
            await task.deferLater(reactor, 0.01)  # type: ignore[arg-type]
        asked.cancel()
        with pytest.raises(CancelledError):
            await asked
        while not all(provider.outcomes):
            await task.deferLater(reactor, 0.01)  # type: ignore[arg-type]
    assert all("aborted" in outcome for outcome in provider.outcomes)


async def test_the_stop_ends_what_is_under_way() -> None:
    async with providing(lambda _: None) as provider:
        async with server(entry(provider.peer)) as (_, requests, _addin):
            asked: Deferred[Any] = requests.c_echo("PROVIDER")
            while not provider.operations:
                await task.deferLater(reactor, 0.01)  # type: ignore[arg-type]
            opening = requests.n_get("PROVIDER", "1.2.3", "1.2.3.4")
        for one, error in ((asked, AssociationAborted), (opening, ConnectionFailed)):
            with pytest.raises(error, match="the server stops"):
                await one
        with pytest.raises(ConnectionFailed, match="the server stops"):
            await requests.c_echo("PROVIDER")
    assert "aborted" in provider.outcomes[0]
