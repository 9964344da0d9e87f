"""A disk that is full, read-only, or asked to take an instance much larger than the memory the server may use."""

from __future__ import annotations

import os
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.faults.raw_scu import ROOT, RawScu, head, instance
from tests.interop.part10 import split, stored
from tests.interop.processes import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

SUCCESS, OUT_OF_RESOURCES, PROCESSING_FAILURE = 0x0000, 0xA700, 0x0110
MIB = 1 << 20
DISK = 16 * MIB
#: in memory; and larger than what is kept there, so that the staging folder has it while it comes
SMALL, LARGE = 200_000, 3 * MIB
BIG, BLOCK, GROWTH = 200 * MIB, MIB, 32 * MIB


@pytest.fixture
def mount(tmp_path: Path) -> Generator[Callable[..., Path]]:
    """`mount("size=16m")`: an empty file system in memory; only root may have one."""
    mounted: list[Path] = []

    def make(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False
        )
        if made.returncode:
            pytest.skip(
                f"no file system can be mounted here to be filled ({made.stderr.strip()});"
                " tests/archive shows the same with errors that are made up"
            )
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


def server_on(disk: Path, tmp_path: Path) -> Server:
    """A server that has its settings and log elsewhere."""
    return Server(tmp_path / "base", {"archive.store": str(disk / "store")})


def check(store: Path, answered: dict[str, int]) -> None:
    """The store has just what was answered Success, whole, and nothing is left of the others."""
    files = stored(store)
    assert set(files) == {uid for uid, status in answered.items() if status == SUCCESS}
    for uid, path in files.items():
        _meta, data = split(path)
        assert data == instance(uid, len(data) - len(head(uid)) - 12), path
    assert list((store / ".incoming").iterdir()) == []


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_a_full_disk(mount: Callable[..., Path], tmp_path: Path, size: int) -> None:
    disk = mount(f"size={DISK}")
    answered: dict[str, int] = {}
    with server_on(disk, tmp_path) as server, RawScu(server.port) as scu:

        def store_some(count: int) -> list[int]:
            new = [f"{ROOT}.21.{number}" for number in range(len(answered), len(answered) + count)]
            answered.update((uid, scu.store(uid, instance(uid, size))) for uid in new)
            return [answered[uid] for uid in new]

        assert store_some(2) == [SUCCESS, SUCCESS]
        filler = disk / "filler"
        fill(filler, size // 2)
        assert store_some(4) == [OUT_OF_RESOURCES] * 4
        check(server.store, answered)
        filler.unlink()
        # it needs no restart, not even another association
        assert store_some(2) == [SUCCESS, SUCCESS]
        check(server.store, answered)


def test_a_disk_that_gets_full_by_eight(mount: Callable[..., Path], tmp_path: Path) -> None:
    """Of a group of which some do not fit, the others are stored; of each association the next one may fit."""
    disk = mount(f"size={DISK}")
    answered: dict[str, int] = {}
    with server_on(disk, tmp_path) as server:
        scus = [RawScu(server.port) for _ in range(8)]
        numbers = range(1, DISK // (8 * SMALL) + 5)
        for number in numbers:
            uids = [f"{ROOT}.22.{who}.{number}" for who in range(8)]
            for scu, uid in zip(scus, uids, strict=True):
                scu.begin(uid)
                scu.go_on(instance(uid, SMALL))
            answered.update((uid, scu.status()) for scu, uid in zip(scus, uids, strict=True))
        assert set(answered.values()) == {SUCCESS, OUT_OF_RESOURCES}
        check(server.store, answered)
        for scu in scus:
            with scu:
                pass


def test_no_more_files(mount: Callable[..., Path], tmp_path: Path) -> None:
    """There is room for bytes, but none for names: files and folders cannot be made."""
    disk = mount(f"size={DISK},nr_inodes=12")
    answered: dict[str, int] = {}
    with server_on(disk, tmp_path) as server, RawScu(server.port) as scu:
        # each in a study of its own: two folders and a file
        for number in range(6):
            uid = f"{ROOT}.23.{number}.1"
            answered[uid] = scu.store(uid, instance(uid, SMALL))
        assert set(answered.values()) == {SUCCESS, OUT_OF_RESOURCES}
        check(server.store, answered)


def test_a_disk_that_becomes_read_only(mount: Callable[..., Path], tmp_path: Path) -> None:
    disk = mount(f"size={DISK}")
    answered: dict[str, int] = {}
    with server_on(disk, tmp_path) as server, RawScu(server.port) as scu:

        def store_one(number: int, size: int) -> int:
            uid = f"{ROOT}.24.{number}"
            answered[uid] = scu.store(uid, instance(uid, size))
            return answered[uid]

        assert store_one(1, SMALL) == SUCCESS
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert store_one(2, SMALL) == PROCESSING_FAILURE
        assert store_one(3, LARGE) == PROCESSING_FAILURE
        check(server.store, answered)
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert store_one(4, SMALL) == SUCCESS
        assert store_one(5, LARGE) == SUCCESS
        check(server.store, answered)


def test_a_store_that_is_read_only_from_the_start(mount: Callable[..., Path], tmp_path: Path) -> None:
    """The server does not start, and says why, without a traceback."""
    disk = mount(f"size={DISK}")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    server = server_on(disk, tmp_path)
    assert server.ended() == 1
    assert f"you may not write to {disk}" in server.output()
    assert "Traceback" not in server.output()


def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    # without these root has to keep to the modes of files as others do
    as_others = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    uid = f"{ROOT}.25.1"
    with Server(tmp_path, through=as_others) as server, RawScu(server.port) as scu:
        server.store.chmod(0o500)
        try:
            assert scu.store(uid, instance(uid, SMALL)) == PROCESSING_FAILURE
            check(server.store, {})
        finally:
            server.store.chmod(0o700)
        assert scu.store(uid, instance(uid, SMALL)) == SUCCESS
        check(server.store, {uid: SUCCESS})


def test_a_large_instance_needs_little_memory(tmp_path: Path) -> None:
    uid = f"{ROOT}.26.1"
    block = random.Random(uid).randbytes(BLOCK)
    begin = head(uid) + b"\xe0\x7f\x10\x00OW\x00\x00" + BIG.to_bytes(4, "little")
    with Server(tmp_path) as server, RawScu(server.port) as scu:
        # what it needs once for all is there after a first one
        assert scu.store(f"{uid}.0", instance(f"{uid}.0", LARGE)) == SUCCESS
        server.forget_peak()
        before = server.peak_memory()
        scu.begin(uid)
        scu.go_on(begin, last=False)
        for number in range(BIG // BLOCK):
            scu.go_on(block, last=number == BIG // BLOCK - 1)
        assert scu.status() == SUCCESS
        assert server.peak_memory() - before < GROWTH
        path = stored(server.store)[uid]
        with path.open("rb") as file:
            size = path.stat().st_size
            file.seek(size - BIG - len(begin))
            assert file.read(len(begin)) == begin
            assert all(file.read(BLOCK) == block for _ in range(BIG // BLOCK))
            assert not file.read()
    path.unlink()


def fill(path: Path, leave: int) -> None:
    """Fills the file system until at most `leave` bytes are free."""
    free = os.statvfs(path.parent)
    with path.open("wb") as file:
        file.write(bytes(max(0, free.f_bavail * free.f_frsize - leave)))
