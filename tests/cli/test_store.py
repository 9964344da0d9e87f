from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from twisted.internet import reactor, task

from tests.cli.running import Command, command
from tests.scu.provider import CT, EXPLICIT, JPEG, Operation, data_set, providing, success, write, write_many
from txdicom.part10 import file_meta
from txdicom.pdu.types import UserIdentityRQ
from txdicom.ul import rejections

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_folder(tmp_path: Path) -> None:
    write_many(tmp_path, 20, size=1000)
    (tmp_path / "readme.txt").write_text("hello")
    async with providing(success) as provider:
        ended = await command("store", provider.peer, tmp_path)
        assert (ended.status, ended.err) == (0, "")
        assert ended.out.startswith("20 of 20 files stored, 0.0 MB in ")
        assert ended.out.endswith("; 1 other files passed over\n")
        assert [operation.data for operation in provider.operations] == [
            data_set(CT, f"1.2.3.{number + 1}", 1000) for number in range(20)
        ]
    assert provider.outcomes == ["released"]


async def test_every_association_has_the_user(tmp_path: Path) -> None:
    write_many(tmp_path, 4)
    async with providing(success) as provider:
        ended = await command("store", "--user", "alice", "--associations", 2, provider.peer, tmp_path)
        assert ended.status == 0
        assert {one.user.user_identity for one in provider.requests} == {UserIdentityRQ(1, b"alice")}


async def test_several_associations_and_details(tmp_path: Path) -> None:
    write_many(tmp_path, 20)

    async def answer(operation: Operation) -> None:
        await task.deferLater(reactor, 0.02)
        operation.answer()

    async with providing(answer, max_operations=4) as provider:
        ended = await command("store", "-v", "--associations", 3, "--window", 2, provider.peer, tmp_path)
        assert ended.status == 0
        assert len(ended.err.splitlines()) == 20
        assert [rq.user.async_window.invoked for rq in provider.requests if rq.user.async_window] == [2, 2, 2]


async def test_what_is_not_stored_is_listed_by_name_with_the_reason(tmp_path: Path) -> None:
    good = write(tmp_path / "good.dcm")
    jpeg = write(tmp_path / "jpeg.dcm", transfer_syntax=JPEG)
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(file_meta(CT, "1.2", EXPLICIT))
    async with providing(success, syntaxes=lambda _: [EXPLICIT]) as provider:
        ended = await command("store", provider.peer, good, jpeg, broken, tmp_path / "none")
    assert ended.status == 1
    assert ended.out.startswith("1 of 4 files stored, ")
    assert ended.out.endswith("; 3 not stored\n")
    assert sorted(ended.err.splitlines()) == sorted([
        f"{broken}: the file has no data set",
        f"{tmp_path / 'none'}: No such file or directory",
        f"{jpeg}: the peer did not accept its transfer syntax {JPEG} ({CT})",
    ])  # fmt: skip


@pytest.mark.parametrize(("code", "status", "text"), [(0xB000, 0, "stored with a warning"), (0xA700, 1, "0xA700")])
async def test_what_the_peer_answers(tmp_path: Path, code: int, status: int, text: str) -> None:
    path = write(tmp_path / "a.dcm")
    async with providing(lambda operation: operation.answer(code)) as provider:
        ended = await command("store", provider.peer, path)
    assert ended.status == status
    assert ended.err.startswith(f"{path}: ")
    assert text in ended.err


async def test_json_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", size=100)
    async with providing(success) as provider:
        ended = await command("store", "--json", provider.peer, path, tmp_path / "none")
        assert ended.status == 1
        *instances, summary = ended.records
        assert {one["path"]: one["error"] for one in instances} == {
            path: "", str(tmp_path / "none"): "No such file or directory",
        }  # fmt: skip
        [stored] = [one for one in instances if one["stored"]]
        size = len(data_set(CT, "1.2.3.1", 100))
        assert stored == {
            "type": "instance", "path": path, "sop_class_uid": CT, "sop_instance_uid": "1.2.3.1",
            "transfer_syntax_uid": EXPLICIT, "bytes": size, "stored": True, "status": "0000", "error": "",
        }  # fmt: skip
        assert summary.pop("seconds") > 0
        assert summary == {
            "type": "summary", "peer": str(provider.peer), "success": False, "files": 2, "stored": 1, "warnings": 0,
            "failed": 1, "skipped": 0, "bytes": size, "error": "",
        }  # fmt: skip


async def test_nothing_to_send(tmp_path: Path) -> None:
    ended = await command("store", "PACS@127.0.0.1:1", tmp_path)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "Error: there is no DICOM file to send; check what is given as FILES\n"


@pytest.mark.parametrize("flags", [(), ("--json",)])
async def test_no_association(tmp_path: Path, flags: tuple[str, ...]) -> None:
    write_many(tmp_path, 3)
    async with providing(success, decide=lambda _: rejections.CALLED_AE) as provider:
        ended = await command("store", *flags, provider.peer, tmp_path)
    assert ended.status == 1
    assert "-aec" in ended.err
    if flags:
        [summary] = ended.records
        assert (summary["stored"], summary["failed"], summary["success"]) == (0, 3, False)
        assert "-aec" in summary["error"]


async def test_an_association_that_is_lost(tmp_path: Path) -> None:
    write_many(tmp_path, 5)

    def answer(operation: Operation) -> None:
        if len(provider.operations) == 3:
            operation.association.abort()
        else:
            operation.answer()

    async with providing(answer) as provider:
        ended = await command("store", provider.peer, tmp_path)
    assert ended.status == 1
    assert "4 of 5 files stored" in ended.out
    assert ended.err.count("aborted by the service user") == 1


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["text", "json"])
async def test_a_signal_aborts_and_what_was_stored_is_said(tmp_path: Path, flags: tuple[str, ...]) -> None:
    write_many(tmp_path, 50, size=100_000)

    async def answer(operation: Operation) -> None:
        if len(provider.operations) == 4:
            running.signal("INT")
        await task.deferLater(reactor, 0.05)
        operation.answer()

    async with providing(answer) as provider:
        running = Command("store", *flags, "--associations", "2", str(provider.peer), str(tmp_path))
        ended = await running.ended
        assert ended.status == 130
        assert "Traceback" not in ended.err
        assert len(provider.operations) < 20
    assert all("aborted by the service user" in outcome for outcome in provider.outcomes), provider.outcomes
    assert "Error: interrupted: the peer may have stored files that it had not answered yet" in ended.err
    if flags:
        summary = ended.records[-1]
        assert summary["stored"] == sum(one["type"] == "instance" for one in ended.records)
        assert (summary["success"], summary["error"][:11]) == (False, "interrupted")
    else:
        found = re.search(r"([0-9]+) of 50 files stored, .*; ([0-9]+) not stored", ended.out)
        assert found is not None
        assert int(found[1]) + int(found[2]) == 50
        assert 1 <= int(found[1]) <= len(provider.operations)


async def test_a_signal_before_there_is_an_association(tmp_path: Path) -> None:
    write_many(tmp_path, 5)

    def decide(_: object) -> None:
        running.signal("INT")

    async with providing(success, decide=decide) as provider:
        running = Command("store", str(provider.peer), str(tmp_path))
        ended = await running.ended
    assert ended.status == 130
    assert ended.out == "0 of 5 files stored; 5 not stored\n"
    assert "Traceback" not in ended.err


async def test_a_progress_bar_on_a_terminal(tmp_path: Path) -> None:
    write_many(tmp_path, 10, size=100_000)

    async def answer(operation: Operation) -> None:
        await task.deferLater(reactor, 0.05)
        operation.answer()

    async with providing(answer) as provider:
        ended = await command("store", provider.peer, tmp_path, terminal=True)
    assert ended.status == 0
    assert "of 10 files" in ended.out
    assert "━" in ended.out
    assert "10 of 10 files stored" in ended.out


async def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    write_many(tmp_path, 5)
    async with providing(success) as provider:
        ended = await command("store", "--json", provider.peer, tmp_path, close_output=True)
    assert ended.status == 1
    assert ended.err == ""


async def test_file_names_that_are_no_text(tmp_path: Path) -> None:
    import os

    folder = tmp_path / os.fsdecode(b"\xff\x1b[31m")
    path = write(folder / "a.dcm", transfer_syntax=JPEG)
    async with providing(success, syntaxes=lambda _: [EXPLICIT]) as provider:
        ended = await command("store", provider.peer, path)
        assert ended.status == 1
        assert "\\udcff\\x1b[31m/a.dcm: " in ended.err
        assert "\x1b" not in ended.err
