# ruff: noqa: SIM117 (what raises is a loop within a block; which block ends first matters)
from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import reactor, task
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol

from tests.scu.provider import CT, EXPLICIT, IMPLICIT, MR, Operation, providing, success, write
from txdicom import uids
from txdicom.dimse.command import Command, CommandField
from txdicom.dimse.elements import AFFECTED_SOP_CLASS_UID, COMMAND_FIELD
from txdicom.errors import (
    AssociationAborted,
    AssociationRejected,
    ConnectionFailed,
    DimseTimeout,
    LocalProtocolError,
)
from txdicom.scu import Association, Context, Peer, connect, contexts_for
from txdicom.ul import rejections

if TYPE_CHECKING:
    from pathlib import Path


def proposed(request: Any) -> list[str]:
    return [context.abstract_syntax for context in request.contexts]


async def test_it_is_released_at_the_end() -> None:
    async with providing(success) as provider:
        async with connect(reactor, provider.peer, calling_ae="MODALITY") as association:
            assert (await association.echo()).is_success
            [one] = association.associations
            assert one.established
            assert association.bytes_sent > 0
        assert one.lost
        [rq] = provider.requests
        assert (rq.calling_ae, rq.called_ae) == ("MODALITY", "PROVIDER")
        assert proposed(rq) == [
            uids.VERIFICATION, uids.STUDY_ROOT_FIND, uids.STUDY_ROOT_MOVE, uids.STUDY_ROOT_GET,
        ]  # fmt: skip
        assert rq.user.async_window is not None
        assert (rq.user.async_window.invoked, rq.user.async_window.performed) == (16, 1)
    assert provider.outcomes == ["released"]


async def test_a_window_of_one_is_not_proposed() -> None:
    async with providing(success) as provider, connect(reactor, provider.peer, window=1, max_pdu=4096):
        assert provider.requests[0].user.async_window is None
        assert provider.requests[0].user.max_length == 4096


async def test_an_exception_aborts() -> None:
    async with providing(success) as provider:
        with pytest.raises(KeyError):
            async with connect(reactor, provider.peer):
                raise KeyError("reason")
        assert "aborted" in provider.outcomes[0]


async def test_a_peer_that_does_not_close_after_an_abort_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txdicom.scu.association._GRACE", 0.05)
    async with providing(success) as provider:
        association = await connect(reactor, provider.peer).open()
        provider.associations[0].protocol.transport.pauseProducing()
        await association.abort()
        assert association.associations[0].lost
        provider.associations[0].protocol.transport.resumeProducing()


async def test_release_and_abort_by_hand() -> None:
    async with providing(success) as provider:
        first = await connect(reactor, provider.peer).open()
        await first.release()
        second = connect(reactor, provider.peer)
        async with second:
            await second.abort("enough")
            with pytest.raises(LocalProtocolError, match="not open"):
                await second.echo()
        assert provider.outcomes[0] == "released"
        assert "aborted" in provider.outcomes[1]


async def test_it_cannot_be_opened_twice_nor_used_before() -> None:
    async with providing(success) as provider:
        association = connect(reactor, provider.peer)
        with pytest.raises(LocalProtocolError, match="not open"):
            await association.echo()
        async with association:
            with pytest.raises(LocalProtocolError, match="open already"):
                await association.open()


async def test_it_can_be_opened_again() -> None:
    async with providing(success) as provider:
        association = connect(reactor, provider.peer)
        for _ in range(2):
            async with association:
                assert (await association.echo()).is_success
        assert len(association.associations) == 1
    assert provider.outcomes == ["released"] * 2


async def test_a_call_that_needs_other_contexts_opens_a_further_association() -> None:
    async with providing(success) as provider:
        async with connect(reactor, provider.peer, contexts=[(CT, [EXPLICIT])]) as association:
            await association.echo()
            await association.echo()
        assert [proposed(rq) for rq in provider.requests] == [[CT], [uids.VERIFICATION]]
    assert provider.outcomes == ["released"] * 2


async def test_what_was_refused_is_not_asked_again() -> None:
    async with providing(success, syntaxes=lambda uid: [EXPLICIT] if uid == CT else None) as provider:
        async with connect(reactor, provider.peer) as association:
            for _ in range(2):
                with pytest.raises(LocalProtocolError, match="accepted no presentation context"):
                    await association.echo()
        assert len(provider.requests) == 1


async def test_over_128_contexts_take_several_associations() -> None:
    async with providing(success) as provider:
        contexts = [Context(f"1.2.3.{number}") for number in range(300)]
        async with connect(reactor, provider.peer, contexts=contexts) as association:
            assert len(association.associations) == 3
        assert [len(rq.contexts) for rq in provider.requests] == [128, 128, 44]
    assert provider.outcomes == ["released"] * 3


async def test_contexts_from_files_and_by_name_are_proposed_together(tmp_path: Path) -> None:
    write(tmp_path / "a", sop_class=MR, transfer_syntax=IMPLICIT)
    async with providing(success) as provider:
        async with connect(reactor, provider.peer, contexts=[uids.VERIFICATION], files=tmp_path):
            pass
        async with connect(reactor, provider.peer, contexts=contexts_for(tmp_path)):
            pass
        assert [proposed(rq) for rq in provider.requests] == [[uids.VERIFICATION, MR], [MR]]


async def test_a_rejection_is_raised_and_leaves_nothing() -> None:
    async with providing(success, decide=lambda _: rejections.CALLED_AE) as provider:
        with pytest.raises(AssociationRejected) as caught:
            await connect(reactor, provider.peer).open()
        assert (caught.value.source, caught.value.reason) == (1, 7)
        assert not [one for one in reactor.getReaders() if getattr(one, "connector", None)]


async def test_a_further_association_that_is_rejected_leaves_the_first() -> None:
    def only_one(rq: Any) -> Any:
        return None if len(provider.requests) == 1 else rejections.LOCAL_LIMIT

    async with providing(success, decide=only_one) as provider, connect(reactor, provider.peer) as association:
        with pytest.raises(AssociationRejected):
            await association.n_get(CT, "1.2")
        assert (await association.echo()).is_success


async def test_a_refused_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        peer = Peer("PACS", "127.0.0.1", unused.getsockname()[1])
        with pytest.raises(ConnectionFailed, match="refused"):
            async with connect(reactor, peer):
                pytest.fail("entered")


@pytest.mark.parametrize("host", ["localhost", "::1"])
async def test_names_and_ipv6(host: str) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        peer = Peer("PACS", host, probe.getsockname()[1])
        with pytest.raises(ConnectionFailed):
            await connect(reactor, peer, connect_timeout=5).open()


async def test_a_peer_that_does_not_answer_the_request() -> None:
    port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
    peer = Peer("PACS", "127.0.0.1", port.getHost().port)
    with pytest.raises(AssociationAborted, match="no answer to A-ASSOCIATE-RQ"):
        await connect(reactor, peer, acse_timeout=0.1).open()
    await port.stopListening()


async def test_a_peer_that_does_not_answer_a_message() -> None:
    async with providing(lambda _: None) as provider:
        with pytest.raises(DimseTimeout):
            async with connect(reactor, provider.peer, dimse_timeout=0.1) as association:
                await association.echo()
        with pytest.raises(DimseTimeout):
            async with connect(reactor, provider.peer) as association:
                await association.echo(timeout=0.1)


async def test_a_call_after_the_association_was_lost_says_why() -> None:
    async with providing(lambda operation: operation.association.abort()) as provider:
        async with connect(reactor, provider.peer) as association:
            for _ in range(2):
                with pytest.raises(AssociationAborted, match="aborted"):
                    await association.echo()


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5])
async def test_opening_can_be_cancelled(turns: int) -> None:
    async with providing(success) as provider:
        opening = Deferred.fromCoroutine(connect(reactor, provider.peer).open())
        for _ in range(turns):
            await task.deferLater(reactor, 0)
        if opening.called:
            association = await opening
            await association.release()
            return
        opening.cancel()
        with pytest.raises(CancelledError):
            await opening


async def test_cancelling_the_block_aborts() -> None:
    async with providing(lambda _: None) as provider:

        async def block() -> None:
            async with connect(reactor, provider.peer) as association:
                await association.echo()

        running = Deferred.fromCoroutine(block())
        while not provider.operations:
            await task.deferLater(reactor, 0.01)
        running.cancel()
        with pytest.raises(CancelledError):
            await running
        assert "aborted" in provider.outcomes[0]


async def test_a_release_can_be_cancelled_too() -> None:
    async with providing(lambda _: None) as provider:
        association = await connect(reactor, provider.peer).open()
        answer = Deferred.fromCoroutine(association.echo())
        releasing = Deferred.fromCoroutine(association.release())
        await task.deferLater(reactor, 0.05)
        assert not releasing.called  # it waits for the echo
        releasing.cancel()
        with pytest.raises(CancelledError):
            await releasing
        with pytest.raises(AssociationAborted):
            await answer
        await association.associations[0].when_lost()


async def test_operations_that_do_not_end_end_in_an_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txdicom.scu.association._DRAIN", 0.05)
    async with providing(lambda _: None) as provider:
        association = await connect(reactor, provider.peer).open()
        answer = Deferred.fromCoroutine(association.echo())
        await association.release()
        with pytest.raises(AssociationAborted):
            await answer
    assert "aborted" in provider.outcomes[0]


async def test_a_block_that_is_dropped_hangs_up() -> None:
    async with providing(success) as provider:

        async def block() -> None:
            async with connect(reactor, provider.peer):
                await Deferred()

        coroutine = block()
        running = Deferred.fromCoroutine(coroutine)
        while not provider.associations:
            await task.deferLater(reactor, 0.01)
        await task.deferLater(reactor, 0.05)
        coroutine.close()
        await provider.associations[0].when_lost()
        assert "aborted" in provider.outcomes[0]
        del running


async def test_the_end_of_the_reactor_aborts(monkeypatch: pytest.MonkeyPatch) -> None:
    triggers: list[Any] = []
    monkeypatch.setattr(reactor, "addSystemEventTrigger", lambda *args: triggers.append(args) or len(triggers))
    monkeypatch.setattr(reactor, "removeSystemEventTrigger", lambda _: None)
    async with providing(success) as provider:
        await connect(reactor, provider.peer).open()
        [(phase, event, abort)] = triggers
        assert (phase, event) == ("before", "shutdown")
        await abort()
        await provider.associations[0].when_lost()
    assert "aborted" in provider.outcomes[0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"calling_ae": ""}, "no AE title"),
        ({"window": -1}, "window"),
        ({"max_pdu": 100}, "max_pdu"),
        ({"dimse_timeout": -1}, "dimse_timeout"),
        ({"connect_timeout": float("nan")}, "connect_timeout"),
        ({"contexts": ["CT"]}, "no UID"),
    ],
)
def test_parameters_are_checked_at_once(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        connect(reactor, Peer("A", "b"), **options)


async def test_dimse_n() -> None:
    from pydicom import Dataset

    sop_class = "1.2.840.10008.3.1.2.3.3"

    def answer(operation: Operation) -> None:
        operation.answer(0, operation.dataset if operation.data else None)

    dataset = Dataset()
    dataset.PatientID = "1CT1"
    async with providing(answer) as provider:
        async with connect(reactor, provider.peer, contexts=[sop_class]) as association:
            status, echoed = await association.n_set(sop_class, "1.2.3", dataset)
            assert status.is_success
            assert echoed == dataset
            assert await association.n_create(sop_class, "1.2.3", dataset) == (status, dataset)
            assert await association.n_create(sop_class, "1.2.3") == (status, None)
            assert await association.n_get(sop_class, "1.2.3", [0x00100020]) == (status, None)
            assert await association.n_action(sop_class, "1.2.3", 1, dataset) == (status, dataset)
            assert await association.n_event_report(sop_class, "1.2.3", 1, dataset) == (status, dataset)
            assert await association.n_delete(sop_class, "1.2.3") == (status, None)
        fields = [operation.command.command_field for operation in provider.operations]
        assert fields == [
            CommandField.N_SET_RQ, CommandField.N_CREATE_RQ, CommandField.N_CREATE_RQ, CommandField.N_GET_RQ,
            CommandField.N_ACTION_RQ, CommandField.N_EVENT_REPORT_RQ, CommandField.N_DELETE_RQ,
        ]  # fmt: skip


async def test_dimse_n_under_another_abstract_syntax() -> None:
    meta, sop_class = "1.2.840.10008.5.1.1.9", "1.2.840.10008.5.1.1.1"
    async with providing(success) as provider:
        async with connect(reactor, provider.peer, contexts=[meta]) as association:
            await association.n_delete(sop_class, "1.2.3", abstract_syntax=meta)
        assert provider.operations[0].command.requested_sop_class == sop_class
        assert provider.operations[0].context.abstract_syntax == meta


async def test_messages_by_hand() -> None:
    async with providing(success) as provider, connect(reactor, provider.peer) as association:
        command = Command({COMMAND_FIELD: CommandField.C_ECHO_RQ, AFFECTED_SOP_CLASS_UID: uids.VERIFICATION})
        responses = [response async for response in association.send(command)]
        [(response, dataset)] = responses
        assert response.command_field == CommandField.C_ECHO_RSP
        assert response.status == 0
        assert dataset is None


async def test_a_data_set_by_hand() -> None:
    from pydicom import Dataset

    dataset = Dataset()
    dataset.PatientID = "1CT1"

    def answer(operation: Operation) -> None:
        operation.pending(operation.dataset)
        operation.answer(0xA700)

    async with providing(answer) as provider, connect(reactor, provider.peer) as association:
        command = Command({COMMAND_FIELD: CommandField.C_FIND_RQ, AFFECTED_SOP_CLASS_UID: uids.STUDY_ROOT_FIND})
        responses = [(one.status, found) async for one, found in association.send(command, dataset)]
        assert responses == [(0xFF00, dataset), (0xA700, None)]


def test_it_is_the_public_class() -> None:
    assert isinstance(connect(reactor, Peer("A", "b")), Association)
