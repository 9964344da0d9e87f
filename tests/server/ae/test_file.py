# ruff: noqa: ASYNC240 (a test may wait for the disk)
"""The AE-title service on aetitles.toml."""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as real_reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import DeferredList, maybeDeferred
from twisted.logger import globalLogPublisher

from txdicom.errors import Conflict, DicomError, NotFound, SettingsError
from txdicom.interfaces import AEEntry, IAETitle
from txdicom.server.ae.file import LOOK, AETitleFile, adding, change, read, removing
from txdicom.server.ae.table import EXAMPLE

TEXT = '# mine\n[A]\nhost = "192.0.2.1" # here\nverify = "address"\n'


class Reactor:
    """The reactor of the tests, with a time of its own."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __getattr__(self, name: str) -> Any:
        return getattr(real_reactor, name)

    def seconds(self) -> float:
        return self.now


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "aetitles.toml"
    made.write_text(TEXT)
    return made


def caller(title: str, host: str = "192.0.2.1", *, anonymous: bool = False) -> Any:
    return SimpleNamespace(
        calling_ae=title, peer=IPv4Address("TCP", host, 5), config=SimpleNamespace(allow_anonymous=anonymous)
    )


async def asked(result: Any) -> Any:
    return await maybeDeferred(lambda: result)


@pytest_twisted.ensureDeferred
async def test_changes_are_written_and_hold_at_once(reactor: Reactor, path: Path) -> None:
    service = AETitleFile(reactor, str(path))
    assert IAETitle.providedBy(service)
    await service.add(AEEntry(ae_title="B C", host="b"))
    assert path.read_text() == TEXT + '\n["B C"]\nhost = "b"\nport = 104\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.ae_title for entry in await asked(service.get_all())] == ["A", "B C"]
    await service.update("A", replace(await asked(service.get(" A ")), ae_title="AA", port=1))
    assert "[AA]\n" in path.read_text()
    assert (await asked(service.get("AA"))).port == 1
    await service.remove("B C")
    assert path.read_text() == TEXT.replace("[A]", "[AA]") + "port = 1\n"
    assert os.listdir(path.parent) == ["aetitles.toml"]


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_done_changes_nothing(reactor: Reactor, path: Path) -> None:
    service = AETitleFile(reactor, str(path))
    for doing, error in (
        (lambda: service.add(AEEntry(ae_title="A")), Conflict),
        (lambda: service.update("B", AEEntry(ae_title="B")), NotFound),
        (lambda: service.remove("B"), NotFound),
        (lambda: asked(service.get("B")), NotFound),
    ):
        with pytest.raises(error, match=r"'[AB]'"):
            await maybeDeferred(doing)
    await service.add(AEEntry(ae_title="B"))
    with pytest.raises(Conflict):
        await service.update("B", AEEntry(ae_title="A"))
    assert path.read_text() == TEXT + "\n[B]\n"


@pytest_twisted.ensureDeferred
async def test_many_changes_at_once_follow_one_another(reactor: Reactor, path: Path) -> None:
    service = AETitleFile(reactor, str(path))
    results = await DeferredList([service.add(AEEntry(ae_title=f"B{number}")) for number in range(30)])
    assert all(succeeded for succeeded, _ in results)
    assert len(await asked(service.get_all())) == 31
    assert len(read(str(path)).entries) == 31


@pytest_twisted.ensureDeferred
async def test_two_processes_lose_no_change(path: Path) -> None:
    errors: list[Exception] = []

    def add(name: str) -> None:
        try:
            for number in range(20):
                change(str(path), adding(AEEntry(ae_title=f"{name}{number}")))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=add, args=(name,)) for name in "XYZ"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(read(str(path)).entries) == 61


@pytest_twisted.ensureDeferred
async def test_an_edit_by_hand_is_noticed_at_most_once_a_second(reactor: Reactor, path: Path) -> None:
    service = AETitleFile(reactor, str(path))
    assert len(await asked(service.get_all())) == 1
    path.write_text(TEXT + "[B]\n")
    assert len(await asked(service.get_all())) == 1
    reactor.now += LOOK
    both = await DeferredList([maybeDeferred(service.get, "B"), maybeDeferred(service.validate, caller("B"))])
    assert both == [(True, AEEntry(ae_title="B")), (True, True)]
    path.write_text(TEXT)
    await service.reload()
    assert len(service.get_all()) == 1


@pytest_twisted.ensureDeferred
async def test_the_table_that_was_checked_holds_before_the_first_look(reactor: Reactor, tmp_path: Path) -> None:
    service = AETitleFile(reactor, str(tmp_path / "none"), {"A": AEEntry(ae_title="A")})
    assert service.get("A") == AEEntry(ae_title="A")
    await service.add(AEEntry(ae_title="B"))
    assert (tmp_path / "none").read_text() == EXAMPLE + "\n[B]\n"


@pytest_twisted.ensureDeferred
async def test_a_broken_edit_keeps_the_table_and_is_logged_with_its_line(reactor: Reactor, path: Path) -> None:
    events: list[Any] = []
    service = AETitleFile(reactor, str(path))
    await service.reload()
    path.write_text(TEXT + "[B]\nport = 0\n")
    globalLogPublisher.addObserver(events.append)
    try:
        for _ in range(3):
            reactor.now += LOOK
            assert len(await asked(service.get_all())) == 1
    finally:
        globalLogPublisher.removeObserver(events.append)
    problems = [event["problem"] for event in events if "problem" in event]
    assert problems == ["aetitles.toml:6: B.port: has to be a number from 1 to 65535, not 0"]
    with pytest.raises(SettingsError, match=r"B\.port"):
        await service.add(AEEntry(ae_title="C"))
    path.write_text(TEXT + "[B]\nport = 1\n")
    reactor.now += LOOK
    assert (await asked(service.get("B"))).port == 1


@pytest_twisted.ensureDeferred
async def test_a_file_that_goes_is_written_anew_with_all_that_was_in_it(reactor: Reactor, path: Path) -> None:
    service = AETitleFile(reactor, str(path))
    await service.reload()
    path.unlink()
    reactor.now += LOOK
    assert len(await asked(service.get_all())) == 1
    await service.add(AEEntry(ae_title="B"))
    assert path.read_text() == TEXT + "\n[B]\n"


@pytest_twisted.ensureDeferred
async def test_the_last_access_is_kept_over_changes_and_not_written(reactor: Reactor, path: Path) -> None:
    service = AETitleFile(reactor, str(path))
    assert await asked(service.validate(caller("A", "192.0.2.9"))) is False
    assert (await asked(service.get("A"))).last_access is None
    assert await asked(service.validate(caller("A"))) is True
    await service.add(AEEntry(ae_title="B"))
    assert (await asked(service.get("A"))).last_access.timestamp() == reactor.now
    assert (await asked(service.get_all()))[0].last_access is not None
    await service.update("A", replace(service.get("A"), port=7))
    assert "access" not in path.read_text()
    assert service.get("A").last_access is not None
    await service.remove("A")
    await service.add(AEEntry(ae_title="A"))
    assert service.get("A").last_access is None


def test_a_link_stays_one_and_what_cannot_be_written_is_told(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "link").symlink_to(path)
    change(str(folder / "link"), removing("A"))
    assert (folder / "link").is_symlink()
    assert "[A]" not in path.read_text()
    with pytest.raises(DicomError, match="cannot be written: No such file"):
        change(str(tmp_path / "gone" / "aetitles.toml"), removing("A"))
    path.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="not UTF-8"):
        read(str(path))
