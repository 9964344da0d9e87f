# ruff: noqa: PT012, SIM117 (what raises is a loop within a block; which block ends first matters)
from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import reactor, task
from twisted.internet.defer import CancelledError, Deferred

from tests.scu.provider import (
    CT,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    MR,
    Operation,
    data_set,
    providing,
    success,
    write,
    write_many,
)
from txdicom import uids
from txdicom.dimse.status import Status
from txdicom.errors import AssociationAborted, AssociationRejected, ConnectionFailed, LocalProtocolError
from txdicom.part10 import file_meta
from txdicom.scu import Peer, Progress, StoreResult, StoreScu, connect, select
from txdicom.scu import store as module
from txdicom.scu.store import Job
from txdicom.services.encoding import read_dataset
from txdicom.ul import rejections

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def open_files() -> set[str]:
    """What this process has open, but sockets and the like."""
    names = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            names.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return {name for name in names if name.endswith(".dcm")}


# --- one association --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 100, 70_000, 3_000_000])
async def test_a_data_set_goes_out_byte_for_byte(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "a.dcm", size=size)
    async with providing(success) as provider:
        async with connect(reactor, provider.peer, files=path) as association:
            [result] = [one async for one in association.store(path)]
        [operation] = provider.operations
        assert operation.data == data_set(CT, "1.2.3.1", size)
        assert operation.command.affected_sop_instance == "1.2.3.1"
        assert operation.context.transfer_syntax == EXPLICIT
        assert result == StoreResult(path, CT, "1.2.3.1", Status(0), "", EXPLICIT, len(operation.data))
        assert result.stored


async def test_contexts_that_are_missing_are_asked_for_on_a_further_association(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.dcm"), write(tmp_path / "b.dcm", sop_class=MR, transfer_syntax=JPEG)]
    async with providing(success) as provider:
        async with connect(reactor, provider.peer) as association:
            for _ in range(2):
                assert [one.stored async for one in association.store(paths)] == [True, True]
        assert [len(rq.contexts) for rq in provider.requests] == [4, 3]
    assert provider.outcomes == ["released"] * 2


async def test_every_file_has_a_result_and_broken_ones_do_not_stop_the_rest(tmp_path: Path) -> None:
    (tmp_path / "broken.dcm").write_bytes(file_meta(CT, "1.2.3", EXPLICIT))
    paths = [
        str(tmp_path / "none.dcm"),
        write(tmp_path / "a.dcm"),
        str(tmp_path / "broken.dcm"),
        write(tmp_path / "b.dcm"),
    ]
    async with providing(success) as provider, connect(reactor, provider.peer) as association:
        results = {one.path: one async for one in association.store(paths)}
        assert {path: one.error for path, one in results.items()} == {
            paths[0]: "No such file or directory", paths[1]: "", paths[2]: "the file has no data set", paths[3]: "",
        }  # fmt: skip


async def test_nothing_to_send_opens_nothing(tmp_path: Path) -> None:
    async with providing(success) as provider, connect(reactor, provider.peer) as association:
        assert [one async for one in association.store(tmp_path)] == []
        assert [one.stored async for one in association.store(tmp_path / "none")] == [False]
        assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("code", "stored"), [(0, True), (0xB000, True), (0xA700, False), (0xC000, False), (0x0122, False)]
)
async def test_the_peers_answer(tmp_path: Path, code: int, stored: bool) -> None:
    path = write(tmp_path / "a.dcm")
    async with providing(lambda operation: operation.answer(Status(code, "a comment"))) as provider:
        async with connect(reactor, provider.peer) as association:
            [result] = [one async for one in association.store(path)]
    assert result.status is not None
    assert result.status.code == code
    assert result.stored is stored
    assert ("a comment" in result.error) is not stored


async def test_files_that_vanish_change_or_go_bad_meanwhile(tmp_path: Path) -> None:
    paths = write_many(tmp_path, 4)
    selection = select(paths)
    os.unlink(paths[0])
    write(tmp_path / "0001.dcm", 22)
    write(tmp_path / "0002.dcm", 3, sop_class=MR)
    async with providing(success) as provider, connect(reactor, provider.peer) as association:
        results = [one async for one in association.store(selection)]
        assert sorted(one.error for one in results) == [
            "", "", "No such file or directory", "the file was changed while others were sent",
        ]  # fmt: skip
        assert [one.sop_instance_uid for one in results if one.stored] == ["1.2.3.22", "1.2.3.4"]


async def test_a_file_that_cannot_be_read_at_all_harms_only_itself(tmp_path: Path, monkeypatch: Any) -> None:
    paths = write_many(tmp_path, 3, size=100)
    original = os.preadv
    failing: list[int] = []

    def preadv(fd: int, buffers: Any, offset: int) -> int:
        if os.readlink(f"/proc/self/fd/{fd}") == paths[1] and not failing:
            failing.append(fd)
            raise OSError(5, "Input/output error")
        return original(fd, buffers, offset)

    async with providing(success) as provider, connect(reactor, provider.peer) as association:
        monkeypatch.setattr("txdicom.net.sending.os.preadv", preadv)
        results = {one.path: one.error async for one in association.store(paths)}
        assert [results[path] for path in (paths[0], paths[2])] == ["", ""]
        assert "Input/output error" in results[paths[1]]
        assert (await association.echo()).is_success


async def test_a_file_that_ends_early_ends_the_association(tmp_path: Path) -> None:
    paths = write_many(tmp_path, 2, size=3_000_000)
    async with providing(success) as provider:
        results = []
        with pytest.raises(AssociationAborted, match="file ended"):
            async with connect(reactor, provider.peer, files=paths) as association:
                async for result in association.store(paths):
                    results.append(result)
                    os.truncate(paths[1], 2_000_000)
        assert [one.stored for one in results] == [True, False]
    assert not open_files()


# --- transfer syntaxes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "sent"), [([EXPLICIT, IMPLICIT], EXPLICIT), ([EXPLICIT], EXPLICIT), ([IMPLICIT], IMPLICIT)]
)
async def test_an_uncompressed_file_is_encoded_anew_where_it_has_to_be(
    tmp_path: Path, accepted: list[str], sent: str
) -> None:
    path = write(tmp_path / "a.dcm", size=100)
    async with providing(success, syntaxes=lambda _: accepted) as provider:
        async with connect(reactor, provider.peer) as association:
            [result] = [one async for one in association.store(path)]
        assert result.stored
        assert result.transfer_syntax_uid == sent
        [operation] = provider.operations
        assert operation.context.transfer_syntax == sent
        assert operation.dataset == read_dataset(data_set(CT, "1.2.3.1", 100), EXPLICIT)


async def test_a_compressed_file_is_not(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.dcm", transfer_syntax=JPEG), write(tmp_path / "b.dcm")]
    async with providing(success, syntaxes=lambda _: [EXPLICIT]) as provider:
        async with connect(reactor, provider.peer) as association:
            refused, sent = sorted([one async for one in association.store(paths)], key=lambda one: one.path)
    assert f"did not accept its transfer syntax {JPEG}" in refused.error
    assert refused.status is None
    assert sent.stored


@pytest.mark.parametrize(
    ("accepted", "words"),
    [
        (None, f"did not accept its SOP class {CT}"),
        ([], f"refused the presentation context for {CT} in transfer syntax {JPEG} (user rejection)"),
        ([EXPLICIT], f"did not accept its transfer syntax {JPEG}"),
    ],
)
async def test_the_result_of_its_presentation_context(tmp_path: Path, accepted: list[str] | None, words: str) -> None:
    path = write(tmp_path / "a.dcm", transfer_syntax=JPEG)
    async with providing(success, syntaxes=lambda _: accepted) as provider:
        async with connect(reactor, provider.peer, files=path) as association:
            [result] = [one async for one in association.store(path)]
    assert words in result.error


@pytest.mark.parametrize("syntax", [uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT])
@pytest.mark.parametrize("size", [100, 101, 16_378, 16_379, 65_511, 65_512, 65_513, 200_001])
async def test_a_deflated_data_set_goes_out_in_even_length(tmp_path: Path, syntax: str, size: int) -> None:
    data = bytes(1 + number % 255 for number in range(size))
    path = tmp_path / "a.dcm"
    path.write_bytes(file_meta(CT, "1.2.3", syntax) + data)
    async with providing(success, syntaxes=lambda _: [syntax]) as provider:
        async with connect(reactor, provider.peer, files=path) as association:
            [result] = [one async for one in association.store(path)]
        [operation] = provider.operations
    assert operation.data == data + (bytes(size % 2) if syntax in uids.DEFLATED else b"")
    assert result.stored
    assert result.size == size


async def test_a_sop_class_that_is_not_accepted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm")
    async with providing(success, syntaxes=lambda uid: None if uid == CT else [EXPLICIT]) as provider:
        async with connect(reactor, provider.peer) as association:
            for _ in range(2):
                [result] = [one async for one in association.store(path)]
                assert f"did not accept its SOP class {CT}" in result.error
        assert len(provider.requests) == 2


async def test_what_is_too_large_or_broken_is_not_encoded_anew(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("txdicom.scu.reencode.LARGEST", 1000)
    large = write(tmp_path / "a.dcm", size=2000)
    broken = tmp_path / "b.dcm"
    broken.write_bytes(file_meta(CT, "1.2", uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN) + b"rubbish")
    good = write(tmp_path / "c.dcm")
    async with providing(success, syntaxes=lambda _: [IMPLICIT]) as provider:
        async with connect(reactor, provider.peer) as association:
            results = {one.path: one.error async for one in association.store([large, str(broken), good])}
    assert "over 1000 bytes are not re-encoded" in results[large]
    assert "cannot be encoded anew" in results[str(broken)]
    assert results[good] == ""


async def test_over_128_contexts_are_spread_over_associations(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{number:03}.dcm", number + 1, sop_class=f"1.2.3.{number}") for number in range(150)]
    async with providing(success) as provider:
        async with connect(reactor, provider.peer, files=tmp_path) as association:
            assert len(association.associations) == 3
            assert sorted([one.path async for one in association.store(tmp_path) if one.stored]) == paths
        assert all(one.outcome == "released" for one in provider.associations)


# --- the asynchronous operations window -------------------------------------------------------------------------------


@pytest.mark.parametrize(("granted", "window", "expected"), [(1, 16, 1), (4, 16, 4), (0, 3, 3), (0, 0, 20), (8, 1, 1)])
async def test_as_many_are_under_way_as_the_window_allows(
    tmp_path: Path, granted: int, window: int, expected: int
) -> None:
    write_many(tmp_path, 20)
    under_way: list[Operation] = []
    most = []

    async def answer(operation: Operation) -> None:
        under_way.append(operation)
        await task.deferLater(reactor, 0.02)
        most.append(len(under_way))
        under_way.remove(operation)
        operation.answer()

    async with providing(answer, max_operations=granted) as provider:
        async with connect(reactor, provider.peer, files=tmp_path, window=window) as association:
            assert len([one async for one in association.store(tmp_path) if one.stored]) == 20
    assert max(most) == expected


async def test_answers_in_another_order(tmp_path: Path) -> None:
    paths = write_many(tmp_path, 3)
    waiting: list[Operation] = []

    def answer(operation: Operation) -> None:
        waiting.append(operation)
        if len(waiting) == 3:
            for one in reversed(waiting):
                one.answer()

    async with providing(answer, max_operations=3) as provider:
        async with connect(reactor, provider.peer, files=paths) as association:
            assert [one.path async for one in association.store(paths)] == paths[::-1]


# --- leaving ----------------------------------------------------------------------------------------------------------


async def test_leaving_the_loop_sends_no_more(tmp_path: Path) -> None:
    write_many(tmp_path, 50)
    async with providing(success) as provider:
        async with connect(reactor, provider.peer, files=tmp_path) as association:
            async for _ in association.store(tmp_path):
                break
            gc.collect()
            assert not open_files()
        assert len(provider.operations) <= 2
        assert provider.outcomes == ["released"]


async def test_leaving_the_block_with_the_results_still_held(tmp_path: Path) -> None:
    write_many(tmp_path, 50)
    async with providing(success) as provider:
        async with connect(reactor, provider.peer, files=tmp_path) as association:
            results = association.store(tmp_path)
            await anext(results)
        assert not open_files()
        with pytest.raises(StopAsyncIteration):
            await anext(results)
        assert provider.outcomes == ["released"]


async def test_aclose_waits_for_the_answers(tmp_path: Path) -> None:
    write_many(tmp_path, 50)

    async def answer(operation: Operation) -> None:
        await task.deferLater(reactor, 0.01)
        operation.answer()

    async with providing(answer, max_operations=4) as provider:
        async with connect(reactor, provider.peer, files=tmp_path) as association:
            results = association.store(tmp_path)
            await anext(results)
            await results.aclose()
            assert not association.associations[0].busy
            assert not open_files()


async def test_a_lost_association_is_raised_after_the_results_there_are(tmp_path: Path) -> None:
    write_many(tmp_path, 10)

    def answer(operation: Operation) -> None:
        if len(provider.operations) < 3:
            operation.answer()
        else:
            operation.association.abort()

    results: list[StoreResult] = []
    async with providing(answer) as provider:
        with pytest.raises(AssociationAborted):
            async with connect(reactor, provider.peer, files=tmp_path) as association:
                async for result in association.store(tmp_path):
                    results.append(result)
    assert [one.stored for one in results] == [True, True, False]
    assert not open_files()


# --- StoreScu ---------------------------------------------------------------------------------------------------------


async def test_several_associations_share_the_files(tmp_path: Path) -> None:
    paths = write_many(tmp_path, 40, size=5000)
    seen: list[Progress] = []

    async def answer(operation: Operation) -> None:
        await task.deferLater(reactor, 0.005)
        operation.answer()

    async with providing(answer) as provider:
        async with StoreScu(reactor, provider.peer, associations=3, progress=seen.append, calling_ae="ME") as scu:
            results = [one async for one in scu.store(tmp_path)]
            assert scu.bytes_sent > 40 * 5000
        assert sorted(one.path for one in results if one.stored) == paths
        assert len({operation.association for operation in provider.operations}) == 3
        assert {rq.calling_ae for rq in provider.requests} == {"ME"}
        size = len(data_set(CT, "1.2.3.1", 5000))
        assert [one.files for one in seen] == list(range(1, 41))
        assert (seen[-1].of_files, seen[-1].of_bytes, seen[-1].bytes) == (40, seen[-1].bytes, seen[-1].of_bytes)
        assert seen[0].bytes >= size
    assert provider.outcomes == ["released"] * 3


async def test_no_more_associations_than_files(tmp_path: Path) -> None:
    write_many(tmp_path, 2)
    (tmp_path / "broken.dcm").write_bytes(file_meta(CT, "1.2.3", EXPLICIT))
    async with providing(success) as provider, StoreScu(reactor, provider.peer, associations=5) as scu:
        assert sorted([one.stored async for one in scu.store(tmp_path)]) == [False, True, True]
        assert len(provider.requests) == 2


async def test_without_a_file_to_send_nobody_is_called(tmp_path: Path) -> None:
    async with StoreScu(reactor, Peer("NOBODY", "127.0.0.1", 1)) as scu:
        [result] = [one async for one in scu.store([tmp_path / "none"])]
        assert result.error == "No such file or directory"


async def test_the_first_association_has_to_be_had(tmp_path: Path) -> None:
    write_many(tmp_path, 2)
    with pytest.raises(ConnectionFailed):
        async with StoreScu(reactor, Peer("NOBODY", "127.0.0.1", 1), associations=2) as scu:
            async for _ in scu.store(tmp_path):
                pass
    async with providing(success, decide=lambda _: rejections.CALLED_AE) as provider:
        async with StoreScu(reactor, provider.peer, associations=2) as scu:
            with pytest.raises(AssociationRejected):
                async for _ in scu.store(tmp_path):
                    pass


async def test_further_ones_need_not(tmp_path: Path) -> None:
    write_many(tmp_path, 20)

    def two(_: Any) -> Any:
        return None if len(provider.requests) <= 2 else rejections.LOCAL_LIMIT

    async with providing(success, decide=two) as provider, StoreScu(reactor, provider.peer, associations=4) as scu:
        assert len([one async for one in scu.store(tmp_path) if one.stored]) == 20


def losing(which: Callable[[int], bool], after: int = 2) -> Callable[[Operation], Any]:
    """Aborts the associations that `which` chooses by their number, each after so many instances."""
    counts: dict[Any, int] = {}

    async def answer(operation: Operation) -> None:
        await task.deferLater(reactor, 0.005)
        association = operation.association
        counts[association] = counts.get(association, 0) + 1
        number = operation.provider.associations.index(association)
        if which(number) and counts[association] > after:
            association.abort()
        else:
            operation.answer()

    return answer


async def test_a_lost_association_leaves_its_files_to_the_others(tmp_path: Path) -> None:
    write_many(tmp_path, 30)
    async with providing(losing(lambda number: number == 1)) as provider:
        async with StoreScu(reactor, provider.peer, associations=2) as scu:
            results = [one async for one in scu.store(tmp_path)]
        assert len(results) == 30
        [lost] = [one for one in results if not one.stored]
        assert "aborted" in lost.error
    assert not open_files()


async def test_a_new_association_goes_on_where_one_is_lost(tmp_path: Path) -> None:
    paths = write_many(tmp_path, 12, size=1000)
    async with providing(losing(lambda _: True)) as provider:
        async with StoreScu(reactor, provider.peer) as scu:
            results = [one async for one in scu.store(paths)]
            assert scu.bytes_sent > 12 * 1000
        assert [one.path for one in results] == paths
        assert [one.stored for one in results] == [True, True, False] * 4
        assert all("aborted" in one.error for one in results if not one.stored)
        assert len(provider.requests) == 4  # none for nothing
    assert not open_files()


async def test_what_is_under_way_together_fails_together(tmp_path: Path) -> None:
    write_many(tmp_path, 10)

    def answer(operation: Operation) -> None:
        if operation.association is not provider.associations[0]:
            operation.answer()
        elif len(provider.operations) == 4:
            operation.association.abort()

    async with providing(answer, max_operations=4) as provider:
        async with StoreScu(reactor, provider.peer, window=4) as scu:
            results = [one async for one in scu.store(tmp_path)]
        assert [one.stored for one in results] == [False] * 4 + [True] * 6
        assert len(provider.requests) == 2
    assert not open_files()


async def test_an_association_that_ends_between_two_files_costs_none(tmp_path: Path) -> None:
    write_many(tmp_path, 100)
    async with providing(success) as provider, StoreScu(reactor, provider.peer) as scu:
        results = scu.store(tmp_path)
        first = await anext(results)
        await task.deferLater(reactor, 0.3)  # the results nobody reads have stopped the sending
        provider.associations[0].abort()
        await task.deferLater(reactor, 0.05)
        assert all([first.stored, *[one.stored async for one in results]])
        assert len(provider.operations) == 100
        assert len(provider.requests) == 2


async def test_a_new_association_that_cannot_be_had(tmp_path: Path) -> None:
    write_many(tmp_path, 10)

    def one(_: Any) -> Any:
        return None if len(provider.requests) == 1 else rejections.CALLED_AE

    async with providing(losing(lambda _: True), decide=one) as provider:
        async with StoreScu(reactor, provider.peer) as scu:
            results = [one async for one in scu.store(tmp_path)]
        assert [one.stored for one in results].count(True) == 2
        left = [one.error for one in results if one.error.startswith("not sent: no association is left")]
        assert len(left) == 7
        assert "aborted" in left[0]
        assert "rejected the association" in left[0]
        assert len(provider.requests) == 2
    assert not open_files()


async def test_who_is_lost_again_and_again_is_not_called_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DELAY", 0.02)
    monkeypatch.setattr(module, "_LONGEST_DELAY", 0.05)
    paused: list[float] = []
    pause = Job._pause

    def noted(job: Job, seconds: float) -> Any:
        paused.append(seconds)
        return pause(job, seconds)

    monkeypatch.setattr(Job, "_pause", noted)
    write_many(tmp_path, 10)
    begin = reactor.seconds()  # type: ignore[attr-defined]
    async with providing(losing(lambda _: True, after=1)) as provider, StoreScu(reactor, provider.peer) as scu:
        assert len([one async for one in scu.store(tmp_path)]) == 10
        assert len(provider.requests) == 5
    assert paused == [0.02, 0.04, 0.05, 0.05]
    assert reactor.seconds() - begin > sum(paused)  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["closed", "cancelled", "done by another"])
async def test_a_pause_ends_when_there_is_nothing_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(module, "_DELAY", 60.0)
    write_many(tmp_path, 30)
    which = {"done by another": lambda number: number == 1}.get(how, lambda _: True)
    count = 2 if how == "done by another" else 1
    async with providing(losing(which, after=1)) as provider:
        async with StoreScu(reactor, provider.peer, associations=count) as scu:
            results = scu.store(tmp_path)
            if how == "done by another":
                assert len([one async for one in results]) == 30
                return
            assert [(await anext(results)).stored for _ in range(2)] == [True, False]
            if how == "closed":
                await results.aclose()
                return
            waiting = Deferred.fromCoroutine(anext(results))  # type: ignore[arg-type]
            await task.deferLater(reactor, 0.05)
            waiting.cancel()
            with pytest.raises(CancelledError):
                await waiting
        assert len(provider.requests) == count


async def test_files_that_no_association_is_left_for(tmp_path: Path) -> None:
    paths = write_many(tmp_path, 10)
    async with providing(losing(lambda _: True, after=0)) as provider:
        async with StoreScu(reactor, provider.peer, associations=2) as scu:
            results = [one async for one in scu.store([*paths, tmp_path / "none"])]
        assert not any(one.stored for one in results)
        left = [one.error for one in results if one.error.startswith("not sent")]
        assert len(left) == 4
        assert "3 in a row were lost without a file stored" in left[0]
        assert "aborted" in left[0]
        assert len(provider.requests) == 6
        assert sum("No such file" in one.error for one in results) == 1
    assert not open_files()


async def test_leaving_it_early_releases(tmp_path: Path) -> None:
    write_many(tmp_path, 100)
    async with providing(success) as provider:
        async with StoreScu(reactor, provider.peer, associations=2) as scu:
            async for _ in scu.store(tmp_path):
                break
        assert len(provider.operations) < 20
    assert provider.outcomes == ["released"] * len(provider.outcomes)
    assert not open_files()


async def test_aclose_of_a_job(tmp_path: Path) -> None:
    write_many(tmp_path, 100)
    async with providing(success) as provider, StoreScu(reactor, provider.peer, associations=2) as scu:
        results = scu.store(tmp_path)
        await anext(results)
        await results.aclose()
        assert provider.outcomes == ["released"] * len(provider.outcomes)


async def test_an_exception_aborts_them_all(tmp_path: Path) -> None:
    write_many(tmp_path, 100)

    async def answer(operation: Operation) -> None:
        await task.deferLater(reactor, 0.01)
        operation.answer()

    async with providing(answer) as provider:
        with pytest.raises(KeyError):
            async with StoreScu(reactor, provider.peer, associations=2) as scu:
                async for _ in scu.store(tmp_path):
                    raise KeyError
    assert set(provider.outcomes) & {"released", ""} == set()
    assert not open_files()


@pytest.mark.parametrize("seconds", [0.0, 0.002, 0.01, 0.05, 0.2])
async def test_it_can_be_cancelled_at_any_time(tmp_path: Path, seconds: float) -> None:
    write_many(tmp_path, 30, size=10_000)

    async def answer(operation: Operation) -> None:
        await task.deferLater(reactor, 0.02)
        operation.answer()

    async with providing(answer) as provider:

        async def job() -> None:
            async with StoreScu(reactor, provider.peer, associations=2) as scu:
                async for _ in scu.store(tmp_path):
                    pass

        running = Deferred.fromCoroutine(job())
        await task.deferLater(reactor, seconds)
        running.cancel()
        with pytest.raises(CancelledError):
            await running
    while open_files():  # the thread that looks at the files ends with the one it was at
        await task.deferLater(reactor, 0.01)


async def test_a_slow_reader_stops_the_sending(tmp_path: Path) -> None:
    write_many(tmp_path, 300)
    async with providing(success) as provider, StoreScu(reactor, provider.peer, associations=2) as scu:
        results = scu.store(tmp_path)
        await anext(results)
        await task.deferLater(reactor, 0.5)
        assert len(provider.operations) < 150
        assert len([one async for one in results]) == 299


async def test_it_is_used_within_its_block(tmp_path: Path) -> None:
    scu = StoreScu(reactor, Peer("A", "127.0.0.1", 1))
    with pytest.raises(LocalProtocolError, match="async with"):
        await anext(scu.store(tmp_path))


def test_its_parameters_are_checked_at_once() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        StoreScu(reactor, Peer("A", "b"), associations=0)
    with pytest.raises(ValueError, match="max_pdu"):
        StoreScu(reactor, Peer("A", "b"), max_pdu=1)
