# ruff: noqa: PT012, SIM117 (what raises is a loop within a block; which block ends first matters)
from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import Dataset
from twisted.internet import reactor, task
from twisted.internet.defer import CancelledError, Deferred

from tests.scu.provider import CT, EXPLICIT, MR, Operation, data_set, providing
from txdicom import uids
from txdicom.dimse import requests
from txdicom.dimse.command import CommandField
from txdicom.errors import LocalProtocolError, StatusError
from txdicom.net.invocation import SingleResponse
from txdicom.scu import Context, connect
from txdicom.services.query_retrieve import identifier_of

if TYPE_CHECKING:
    from collections.abc import Callable


def match(number: int) -> Dataset:
    dataset = Dataset()
    dataset.StudyInstanceUID = f"1.2.{number}"
    return dataset


def matches(count: int, status: int = 0) -> Callable[[Operation], None]:
    """Answers a query with so many matches."""

    def answer(operation: Operation) -> None:
        if operation.command.command_field == CommandField.C_ECHO_RQ:
            operation.answer()
            return
        for number in range(count):
            operation.pending(match(number))
        operation.answer(status)

    return answer


async def endless(operation: Operation) -> None:
    """Answers a query until it is cancelled."""
    if operation.command.command_field == CommandField.C_ECHO_RQ:
        operation.answer()
        return
    number = 0
    while not operation.cancelled.called:
        operation.pending(match(number))
        number += 1
        await task.deferLater(reactor, 0.001)
    operation.answer(0xFE00)


def keys(dataset: Dataset) -> dict[str, Any]:
    return {element.keyword: element.value for element in dataset}


# --- identifiers ------------------------------------------------------------------------------------------------------


def test_an_identifier_from_keywords() -> None:
    dataset = identifier_of({"PatientID": "1CT1", "StudyDate": "", 0x00081030: None}, "study", unique_key=True)
    assert keys(dataset) == {
        "PatientID": "1CT1", "StudyDate": "", "StudyDescription": None, "QueryRetrieveLevel": "STUDY",
        "StudyInstanceUID": "",
    }  # fmt: skip


def test_a_unique_key_that_is_there_stays() -> None:
    assert identifier_of({"StudyInstanceUID": "1.2"}, "STUDY", unique_key=True).StudyInstanceUID == "1.2"


def test_a_data_set_is_not_changed() -> None:
    given = match(1)
    assert identifier_of(given, "STUDY").QueryRetrieveLevel == "STUDY"
    assert "QueryRetrieveLevel" not in given
    assert identifier_of(given) == given


@pytest.mark.parametrize(("name", "character_set"), [("Müller^Ä", "ISO_IR 192"), ("Muller", None)])
def test_text_that_is_not_ascii_is_sent_as_utf_8(name: str, character_set: str | None) -> None:
    assert identifier_of({"PatientName": name}).get("SpecificCharacterSet") == character_set
    assert identifier_of({"OtherPatientNames": ["a", name]}).get("SpecificCharacterSet") == character_set


def test_a_character_set_of_ones_own_stays() -> None:
    given = {"PatientName": "Müller", "SpecificCharacterSet": "ISO_IR 100"}
    assert identifier_of(given).SpecificCharacterSet == "ISO_IR 100"


@pytest.mark.parametrize("key", ["PatientId", 0x00090010])
def test_unknown_keywords_are_an_error(key: str | int) -> None:
    with pytest.raises(ValueError, match=r"is no keyword|not in the data dictionary"):
        identifier_of({key: ""})


# --- C-FIND -----------------------------------------------------------------------------------------------------------


async def test_matches() -> None:
    async with providing(matches(3)) as provider, connect(reactor, provider.peer) as association:
        found = association.find({"PatientName": "Müller"}, level="STUDY")
        assert [one.StudyInstanceUID async for one in found] == ["1.2.0", "1.2.1", "1.2.2"]
        assert found.status is not None
        assert found.status.is_success
        [operation] = provider.operations
        assert operation.command.affected_sop_class == uids.STUDY_ROOT_FIND
        assert operation.dataset.PatientName == "Müller"
        assert [one async for one in found] == []


async def test_nothing_is_sent_before_the_first_is_asked_for() -> None:
    async with providing(matches(3)) as provider, connect(reactor, provider.peer) as association:
        association.find({}, level="STUDY")
        association.find({}, level="STUDY").abandon()
        await association.echo()
        assert len(provider.operations) == 1


@pytest.mark.parametrize(
    ("model", "sop_class"),
    [("PATIENT", uids.PATIENT_ROOT_FIND), ("study", uids.STUDY_ROOT_FIND), ("1.2.840.10008.5.1.4.31",) * 2],
)
async def test_information_models(model: str, sop_class: str) -> None:
    async with providing(matches(0)) as provider, connect(reactor, provider.peer) as association:
        assert [one async for one in association.find({}, model=model)] == []
        assert provider.operations[0].command.affected_sop_class == sop_class


async def test_a_failure_is_raised_after_what_came_before() -> None:
    found = []
    async with providing(matches(2, 0xA700)) as provider, connect(reactor, provider.peer) as association:
        results = association.find({})
        with pytest.raises(StatusError) as caught:
            async for one in results:
                found.append(one)
        assert len(found) == 2
        assert caught.value.status.code == 0xA700


async def test_a_warning_ends_the_matches() -> None:
    async with providing(matches(2, 0xB001)) as provider, connect(reactor, provider.peer) as association:
        results = association.find({})
        assert len([one async for one in results]) == 2
        assert results.status is not None
        assert results.status.code == 0xB001


async def test_leaving_the_loop_cancels_and_drains() -> None:
    async with providing(endless) as provider:
        async with connect(reactor, provider.peer) as association:
            async for one in association.find({}):
                assert one.StudyInstanceUID == "1.2.0"
                break
            # nothing was awaited: the cancel is on its way, and the next call waits for the end of the query
            assert (await association.echo()).is_success
            assert await provider.operations[0].cancelled == "C-CANCEL"
        assert provider.outcomes == ["released"]


async def test_leaving_the_loop_with_the_results_still_held() -> None:
    async with providing(endless) as provider:
        async with connect(reactor, provider.peer) as association:
            results = association.find({})
            async for _ in results:
                break
        assert await provider.operations[0].cancelled == "C-CANCEL"
        assert provider.outcomes == ["released"]
        assert results.status is None


async def test_aclose_waits_for_the_end() -> None:
    async with providing(endless) as provider, connect(reactor, provider.peer) as association:
        async with aclosing(association.find({})) as results:
            async for _ in results:
                break
        assert await provider.operations[0].cancelled == "C-CANCEL"
        assert not association.associations[0].busy
        await association.find({}).aclose()


async def test_a_reader_that_waits_is_told_when_others_close() -> None:
    async def silent(operation: Operation) -> None:
        await operation.cancelled
        operation.answer(0xFE00)

    async with providing(silent) as provider, connect(reactor, provider.peer) as association:
        results = association.find({})
        waiting = Deferred.fromCoroutine(anext(results))  # type: ignore[arg-type]  # anext gives a coroutine here
        while not provider.operations:
            await task.deferLater(reactor, 0.01)
        await results.aclose()
        with pytest.raises(StopAsyncIteration):
            await waiting


async def test_waiting_for_a_match_can_be_cancelled() -> None:
    async with providing(endless) as provider, connect(reactor, provider.peer) as association:
        results = association.find({})  # held on to: it must not take the garbage collector

        async def read() -> None:
            async for _ in results:
                pass

        reading = Deferred.fromCoroutine(read())
        while not provider.operations:
            await task.deferLater(reactor, 0.01)
        reading.cancel()
        with pytest.raises(CancelledError):
            await reading
        del reading
        assert (await association.echo()).is_success


async def test_a_slow_reader_makes_the_peer_wait() -> None:
    async with providing(matches(2000)) as provider, connect(reactor, provider.peer) as association:
        seen = 0
        async for _ in association.find({}):
            seen += 1
            if seen == 1:
                await task.deferLater(reactor, 0.2)
        assert seen == 2000


async def test_a_slow_reader_that_leaves() -> None:
    async with providing(matches(2000)) as provider, connect(reactor, provider.peer) as association:
        async for _ in association.find({}):
            await task.deferLater(reactor, 0.2)
            break
        assert (await association.echo()).is_success


async def test_unsupported_keys_and_pending_responses_without_a_match() -> None:
    from txdicom.services.query_retrieve import Find

    def answer(operation: Operation) -> None:
        operation.pending(match(1), 0xFF01)
        operation.answer()

    async with providing(answer) as provider, connect(reactor, provider.peer) as association:
        [one] = association.associations
        context = one.context_for(uids.STUDY_ROOT_FIND)
        assert context is not None
        find = Find(one, context, match(0))
        assert [found async for found in find] == [match(1)]
        assert find.unsupported_keys


# --- C-MOVE -----------------------------------------------------------------------------------------------------------


async def test_progress_of_a_move() -> None:
    def answer(operation: Operation) -> None:
        operation.pending(remaining=1, completed=1, failed=0, warning=0)
        failed = Dataset()
        failed.FailedSOPInstanceUIDList = ["1.2.9"]
        operation.answer(0xB000, failed, completed=1, failed=1, warning=0)

    async with providing(answer) as provider, connect(reactor, provider.peer) as association:
        results = association.move({"StudyInstanceUID": "1.2"}, "DESTINATION", level="STUDY")
        first, last = [one async for one in results]
        assert (first.remaining, first.completed, first.status.is_pending) == (1, 1, True)
        assert (last.completed, last.failed, last.failed_instances) == (1, 1, ("1.2.9",))
        assert results.status == last.status
        assert provider.operations[0].command.move_destination == "DESTINATION"


async def test_a_move_that_fails() -> None:
    async with providing(lambda operation: operation.answer(0xA801)) as provider:
        async with connect(reactor, provider.peer) as association:
            with pytest.raises(StatusError, match="Destination"):
                async for _ in association.move({}, "NOWHERE"):
                    pass


# --- C-GET ------------------------------------------------------------------------------------------------------------


def sending(*sop_classes: str, size: int = 0) -> Callable[[Operation], Any]:
    """Answers a C-GET: stores an instance of each class, then tells how many were taken."""

    async def answer(operation: Operation) -> None:
        taken = 0
        for number, sop_class in enumerate(sop_classes):
            context = next(
                one for one in operation.association.contexts.values() if one.abstract_syntax == sop_class and one.scp
            )
            instance = f"1.2.{number}"
            command, _ = await SingleResponse(
                operation.association,
                context.context_id,
                lambda message_id, uid=sop_class, name=instance: requests.c_store_rq(message_id, uid, name),
                data_set(sop_class, instance, size),
            ).result
            taken += command.status == 0
            left = len(sop_classes) - number - 1
            operation.pending(remaining=left, completed=taken, failed=number + 1 - taken, warning=0)
        operation.answer(completed=taken, failed=len(sop_classes) - taken, warning=0)

    return answer


@pytest.mark.parametrize("size", [100, 3_000_000])
async def test_instances_of_a_get_go_to_the_handler(size: int, tmp_path: Any) -> None:
    received = []

    def take(request: Any) -> int:
        received.append((request.sop_class, request.sop_instance, b"".join(request.received.chunks())))
        return 0

    async with providing(sending(CT, MR, size=size), syntaxes=lambda _: [EXPLICIT]) as provider:
        async with connect(reactor, provider.peer) as association:
            results = association.get({"StudyInstanceUID": "1.2"}, take, level="STUDY", storage=[CT, MR])
            *_, last = [one async for one in results]
            assert (last.completed, last.failed) == (2, 0)
            assert received == [(CT, "1.2.0", data_set(CT, "1.2.0", size)), (MR, "1.2.1", data_set(MR, "1.2.1", size))]
        assert provider.outcomes == ["released"] * 2


async def test_contexts_proposed_by_hand_are_used_for_a_get() -> None:
    contexts = [uids.STUDY_ROOT_GET, Context(CT, (EXPLICIT,), scu=False, scp=True)]
    async with providing(sending(CT)) as provider:
        async with connect(reactor, provider.peer, contexts=contexts) as association:
            for _ in range(2):
                results = [one async for one in association.get({}, lambda _: "Success")]
                assert results[-1].completed == 1
        assert len(provider.requests) == 1


async def test_a_handler_that_refuses_or_waits() -> None:
    async def later(_: Any) -> int:
        await task.deferLater(reactor, 0.01)
        return 0xA700

    async with providing(sending(CT)) as provider, connect(reactor, provider.peer) as association:
        *_, last = [one async for one in association.get({}, later, storage=[CT])]
        assert (last.completed, last.failed) == (0, 1)


async def test_a_get_that_is_left_refuses_what_still_comes() -> None:
    statuses = []

    async def answer(operation: Operation) -> None:
        operation.pending(remaining=1, completed=0, failed=0, warning=0)
        await operation.cancelled
        command, _ = await SingleResponse(
            operation.association, 3, lambda message_id: requests.c_store_rq(message_id, CT, "1.2"), data_set()
        ).result
        statuses.append(command.status)
        operation.answer(0xFE00)

    async with providing(answer) as provider:
        async with connect(reactor, provider.peer) as association:
            async for _ in association.get({}, lambda _: 0, storage=[CT]):
                break
        assert statuses == [0x0211]


async def test_a_get_the_peer_has_no_contexts_for() -> None:
    async with providing(sending(CT), syntaxes=lambda uid: None if uid == CT else [EXPLICIT]) as provider:
        async with connect(reactor, provider.peer) as association:
            with pytest.raises(LocalProtocolError, match="none for storage"):
                async for _ in association.get({}, lambda _: 0, storage=[CT]):
                    pass
