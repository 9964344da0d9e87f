"""Copies of received instances."""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from twisted.logger import globalLogPublisher

from tests.net.wire import data_set, store_bytes
from tests.services.serving import Serving, StoreAddin
from txdicom.server.logs import datasets as log_datasets
from txdicom.server.logs.datasets import DatasetLog

if TYPE_CHECKING:
    from pathlib import Path


def serving(folder: Path, which: str = "failed", count: int = 100, answer: int = 0xA700) -> Serving:
    made = Serving(StoreAddin(lambda request: answer), folder=folder.parent)
    made.spool.observers = (DatasetLog(str(folder), made.writer, which, count),)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "datasets"


def test_one_that_was_refused(folder: Path) -> None:
    server = serving(folder)
    peer = server.peer()
    peer.send(store_bytes(7, data_set(pixels=5000)))
    server.writer.work_all()
    [path] = folder.iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-\d+-7\.dcm", path.name)
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)
    assert path.read_bytes().endswith(data_set(pixels=5000))
    assert pydicom.dcmread(path).SOPInstanceUID == "1.2.3"
    peer.lose()
    assert server.clean()


@pytest.mark.parametrize(
    ("which", "answer", "copies"), [("failed", 0, 0), ("failed", 0xB000, 0), ("failed", 0xC123, 1), ("all", 0, 1)]
)
def test_which_are_copied(which: str, answer: int, copies: int, folder: Path) -> None:
    server = serving(folder, which, answer=answer)
    peer = server.peer()
    peer.send(store_bytes())
    server.writer.work_all()
    peer.lose()
    assert (len(os.listdir(folder)) if folder.exists() else 0) == copies


def test_the_oldest_go_and_what_is_not_ours_stays(folder: Path) -> None:
    folder.mkdir()
    (folder / "0.txt").touch()
    server = serving(folder, count=3)
    peer = server.peer()
    for number in range(1, 8):
        peer.send(store_bytes(number))
        server.writer.work_all()
    peer.lose()
    assert [name.rpartition("-")[2] for name in sorted(os.listdir(folder))] == ["0.txt", "5.dcm", "6.dcm", "7.dcm"]


def test_another_worker_removes_the_oldest_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = os.unlink

    def twice(path: str) -> None:
        unlink(path)
        unlink(path)

    log = DatasetLog(str(folder), None, "all", 2)
    monkeypatch.setattr(log_datasets.os, "unlink", twice)
    log._write([log_datasets._Copy(f"20260101T00000{number}.000000Z-1-1.dcm", b"", [b"x"]) for number in range(6)])
    assert len(os.listdir(folder)) == 2


def test_what_waits_in_memory_is_bounded(folder: Path) -> None:
    server = serving(folder)
    peer = server.peer()
    for number in range(1, 31):
        peer.send(store_bytes(number))
    assert len(server.writer.jobs) == 16
    server.writer.work_all()
    peer.send(store_bytes(31))
    server.writer.work_all()
    assert len(os.listdir(folder)) == 17
    peer.lose()


def test_large_ones_are_left_out(folder: Path) -> None:
    server = serving(folder)
    peer = server.peer()
    peer.send(store_bytes(data=data_set(pixels=3_000_000), max_length=131_072))
    server.writer.work_all()
    assert peer.statuses() == [0xA700]
    assert not folder.exists()
    peer.lose()
    server.writer.work_all()


def test_a_disk_that_is_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def observe(event: Any) -> None:
        if event["log_namespace"] == "txdicom.server.logs.datasets":
            said.append(event["why"])

    def full(fd: int, buffers: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server = serving(folder)
    peer = server.peer()
    globalLogPublisher.addObserver(observe)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(log_datasets, "write_all", full)
            for number in (1, 2):
                peer.send(store_bytes(number))
                server.writer.work_all()
        assert os.listdir(folder) == []
        peer.send(store_bytes(3))
        server.writer.work_all()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert peer.statuses() == [0xA700] * 3
    assert said == ["No space left on device"]
    assert len(os.listdir(folder)) == 1
    peer.lose()
