"""txdicom.services.spool: small data sets in memory, large ones in files, and a disk that is slow, full or broken."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import dcmread

from tests.net.wire import CT, CT_ID, data_set, message_bytes, pdata, store_bytes
from tests.services.serving import ManualWriter, Serving, StoreAddin
from txdicom.dimse import requests
from txdicom.part10 import read_meta
from txdicom.services import spool as module
from txdicom.services.spool import ALL_IN_MEMORY, BEHIND, BLOCK, CAUGHT_UP, IN_MEMORY, Received, Spool, write_all
from txdicom.uids import EXPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Flow:
    """A connection that can be paused."""

    def __init__(self) -> None:
        self.paused = False
        self.log: list[bool] = []

    def pause_reading(self, why: str) -> None:
        assert not self.paused
        self.paused = True
        self.log.append(True)

    def resume_reading(self, why: str) -> None:
        assert self.paused
        self.paused = False
        self.log.append(False)


class Made:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer = ManualWriter()
        self.spool = Spool(self.writer, lambda: str(folder))  # type: ignore[arg-type]
        self.flow = Flow()
        self.completed: list[Received] = []

    def received(self) -> Received:
        return Received(self.spool, CT, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN, "CLIENT", self.flow)

    def filled(self, size: int, *, slices: int = 65_536, work: bool = True) -> Received:
        received = self.received()
        data = memoryview(bytes(range(256)) * (size // 256 + 1))[:size]
        for start in range(0, size, slices):
            received.write(data[start : start + slices])
            if work:
                self.writer.work_all()
        received.finish(lambda: self.completed.append(received))
        if work:
            self.writer.work_all()
        return received

    @property
    def files(self) -> list[str]:
        return os.listdir(self.folder)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def content(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("size", [0, 1, 1_000, 900_000])
def test_small_ones_stay_in_memory(made: Made, size: int) -> None:
    received = made.filled(size)
    assert made.completed == [received]
    assert (received.size, received.path, made.files) == (size, None, [])
    assert b"".join(received.chunks()) == content(size)
    received.release()
    assert made.spool.in_memory == 0


@pytest.mark.parametrize("size", [IN_MEMORY + 1, 3 * BLOCK, 5 * BLOCK + 17])
@pytest.mark.parametrize("slices", [65_536, 8_000])
def test_large_ones_become_files(made: Made, size: int, slices: int) -> None:
    before = descriptors()
    received = made.filled(size, slices=slices)
    assert made.completed == [received]
    assert received.buffers is None
    assert received.path is not None
    with open(received.path, "rb") as file:
        stored = file.read()
    meta = read_meta(stored)
    assert meta is not None
    assert (meta.sop_class, meta.sop_instance, meta.data_offset) == (CT, "1.2.3", received.data_offset)
    assert stored[received.data_offset :] == content(size)
    assert received.size == size
    assert b"".join(received.chunks()) == content(size)
    assert os.stat(received.path).st_mode & 0o777 == 0o600
    received.release()
    received.release()
    made.writer.work_all()
    assert (made.files, made.spool.in_memory, descriptors()) == ([], 0, before)


def test_memory_is_bounded_for_all_together(made: Made) -> None:
    made.spool.in_memory = ALL_IN_MEMORY + 1
    received = made.filled(1_000)
    assert received.path is not None
    received.release()
    made.writer.work_all()
    assert made.spool.in_memory == ALL_IN_MEMORY + 1


def test_single_bytes_are_not_cheap(made: Made) -> None:
    received = made.received()
    data = memoryview(b"x" * 10_000)
    for start in range(10_000):
        received.write(data[start : start + 1])
    assert received.buffers is None  # 10 KB of data, but 2 MB of memory
    received.release()
    made.writer.work_all()
    assert made.spool.in_memory == 0


def test_empty_slices_are_not_free(made: Made) -> None:
    received = made.received()
    for _ in range(10_000):
        received.write(memoryview(b""))
    assert received.buffers is None
    received.finish(lambda: made.completed.append(received))
    made.writer.work_all()
    assert received.size == 0
    received.release()
    made.writer.work_all()
    assert (made.spool.in_memory, made.files) == (0, [])


# -- a slow disk -------------------------------------------------------------------------------------------------------


def test_the_peer_waits_for_a_disk_that_is_behind(made: Made) -> None:
    received = made.received()
    block = memoryview(bytes(65_536))
    sent = 0
    while not made.flow.paused:
        received.write(block)
        sent += len(block)
        assert sent < 4 * BEHIND
    assert BEHIND <= sent <= BEHIND + 3 * BLOCK
    before = made.spool.in_memory
    assert before >= BEHIND
    while made.flow.paused:
        made.writer.work(1)
    assert made.spool.in_memory <= CAUGHT_UP + 2 * BLOCK
    assert made.flow.log == [True, False]
    received.release()
    made.writer.work_all()
    assert made.spool.in_memory == 0


def test_a_peer_that_leaves_while_the_disk_is_behind(made: Made) -> None:
    before = descriptors()
    received = made.received()
    while not made.flow.paused:
        received.write(memoryview(bytes(65_536)))
    received.finish(lambda: made.completed.append(received))
    received.release()
    made.writer.work_all()
    assert not made.flow.paused
    assert made.completed == []
    assert (made.files, made.spool.in_memory, descriptors()) == ([], 0, before)


def test_complete_comes_only_once_all_is_in_the_file(made: Made) -> None:
    received = made.filled(3 * BLOCK, work=False)
    while made.writer.jobs:
        assert made.completed == []
        made.writer.work(1)
    assert made.completed == [received]
    received.release()
    made.writer.work_all()


def test_released_before_the_file_was_ever_opened(made: Made) -> None:
    received = made.received()
    for _ in range(20):
        received.write(memoryview(bytes(65_536)))
    received.release()
    made.writer.work_all()
    assert (made.files, made.spool.in_memory) == ([], 0)


# -- a broken one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["open", "first write", "later write", "folder"])
def test_a_disk_that_fails(made: Made, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    before = descriptors()
    full = OSError(errno.ENOSPC, "No space left on device")
    writes = 0

    def writev(fd: int, buffers: Any, real: Callable[..., int] = os.writev) -> int:
        nonlocal writes
        writes += 1
        if where == "first write" or (where == "later write" and writes > 2):
            raise full
        return real(fd, buffers)

    monkeypatch.setattr(module.os, "writev", writev)
    if where == "open":
        made.folder.rmdir()
    if where == "folder":

        def no_folder() -> str:
            raise full

        made.spool._folder = no_folder
    received = made.filled(10 * BLOCK)
    assert made.completed == [received]
    assert received.error is not None
    received.release()
    made.writer.work_all()
    assert (made.spool.in_memory, descriptors()) == (0, before)
    if where != "open":
        assert made.files == []


def test_what_comes_after_a_failure_is_dropped(made: Made) -> None:
    made.folder.rmdir()
    received = made.received()
    for _ in range(1_000):
        received.write(memoryview(bytes(65_536)))
        made.writer.work_all()
    assert made.spool.in_memory <= 2 * BLOCK
    received.release()
    made.writer.work_all()
    assert made.spool.in_memory == 0


def test_a_leftover_of_another_run_is_not_in_the_way(made: Made, tmp_path: Path) -> None:
    """In a container the process has the same number each time."""
    other = Made(tmp_path)
    first, second = made.filled(2 * BLOCK), other.filled(2 * BLOCK)
    assert first.path != second.path
    assert second.error is None
    for one in (made, other):
        one.completed[0].release()
        one.writer.work_all()


# -- what a handler does with it ---------------------------------------------------------------------------------------


def test_a_detached_file_is_the_handlers(made: Made) -> None:
    received = made.filled(2 * BLOCK)
    fd, path = received.detach()
    received.release()
    made.writer.work_all()
    assert os.fstat(fd).st_size == received.data_offset + 2 * BLOCK
    assert made.files == [os.path.basename(path)]
    os.close(fd)
    with pytest.raises(ValueError, match="in memory"):
        received.detach()


def test_there_is_nothing_to_detach_in_memory(made: Made) -> None:
    with pytest.raises(ValueError, match="in memory"):
        made.filled(10).detach()


@pytest.mark.parametrize("size", [10, 2 * BLOCK])
def test_what_was_let_go_of_cannot_be_read(made: Made, tmp_path: Path, size: int) -> None:
    received = made.filled(size)
    before = received.chunks()
    received.release()
    made.writer.work_all()
    saved = tmp_path / "saved.dcm"
    for reading in (lambda: list(before), lambda: list(received.chunks()), lambda: received.save(str(saved))):
        with pytest.raises(ValueError, match="kept until its C-STORE has been answered"):
            reading()
    assert not saved.exists()


def test_a_detached_file_cannot_be_read_through_it(made: Made) -> None:
    received = made.filled(2 * BLOCK)
    fd, _ = received.detach()
    os.close(fd)
    with pytest.raises(ValueError, match="taken over"):
        list(received.chunks())


@pytest.mark.parametrize("pixels", [10, 2 * BLOCK])
def test_saved_files_can_be_read(made: Made, tmp_path: Path, pixels: int) -> None:
    received = made.received()
    data = memoryview(data_set(pixels=pixels))
    for start in range(0, len(data), 65_536):
        received.write(data[start : start + 65_536])
    received.finish(lambda: None)
    made.writer.work_all()
    saved = tmp_path / "saved.dcm"
    received.save(str(saved))
    dataset = dcmread(saved)
    assert (dataset.SOPInstanceUID, len(dataset.PixelData)) == ("1.2.3", pixels)
    assert dataset.file_meta.SourceApplicationEntityTitle == "CLIENT"
    received.release()
    made.writer.work_all()


@pytest.mark.parametrize("most", [1, 7, 1 << 30])
def test_writing_all_however_little_the_system_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    parts = [bytes([number % 256]) * (number % 5) for number in range(3_000)]  # more than IOV_MAX of them
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    write = os.write
    monkeypatch.setattr(module.os, "writev", lambda fd, buffers: write(fd, b"".join(buffers)[:most]))
    monkeypatch.setattr(module.os, "write", lambda fd, data: write(fd, bytes(data[:most])))
    write_all(fd, parts)
    monkeypatch.undo()
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"".join(parts)


# -- by C-STORE --------------------------------------------------------------------------------------------------------


def half(message_id: int, size: int) -> bytes:
    command = message_bytes(CT_ID, requests.c_store_rq(message_id, CT, "1.2.3"))
    return command + pdata(CT_ID, 0, bytes(100_000)) * (size // 100_000)


@pytest.mark.parametrize("size", [100_000, 3_000_000])
@pytest.mark.parametrize("end", ["lost", "abort", "garbage"])
def test_a_store_that_is_cut_off_leaves_nothing(tmp_path: Path, size: int, end: str) -> None:
    """No memory that counts, no file, no descriptor."""
    before = descriptors()
    serving = Serving(StoreAddin(), folder=tmp_path)
    peer = serving.peer()
    for message_id in range(5):
        peer.send(half(message_id, size) if not message_id else b"")
    serving.writer.work_all()
    if size > IN_MEMORY:
        assert len(os.listdir(tmp_path)) == 1
    if end == "abort":
        peer.association.abort("enough")
    elif end == "garbage":
        peer.send(b"\xff" * 12)
    peer.lose()
    serving.writer.work_all()
    assert serving.clean()
    assert (os.listdir(tmp_path), descriptors()) == ([], before)


@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOSPC, 0xA700), (errno.EDQUOT, 0xA700), (errno.EIO, 0x0110), (errno.EMFILE, 0x0110)]
)
def test_how_a_disk_that_fails_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    def writev(fd: int, buffers: Any) -> int:
        raise OSError(number, os.strerror(number))

    store = StoreAddin()
    serving = Serving(store, folder=tmp_path)
    peer = serving.peer()
    monkeypatch.setattr(module.os, "writev", writev)
    peer.send(store_bytes(data=data_set(pixels=3_000_000), max_length=131_072))
    serving.writer.work_all()
    (message,) = peer.messages()
    assert message.command.status == status
    assert message.command.error_comment == os.strerror(number)
    assert store.requests == []
    peer.send(store_bytes(2))
    assert peer.statuses() == [0]
    peer.lose()
    assert serving.clean()


def test_a_large_store_waits_for_the_disk_before_its_handler(tmp_path: Path) -> None:
    store = StoreAddin()
    serving = Serving(store, folder=tmp_path)
    peer = serving.peer()
    peer.send(store_bytes(data=data_set(pixels=3_000_000), max_length=131_072))
    assert store.requests == []
    assert peer.association.busy
    serving.writer.work_all()
    assert store.requests[0].received.size == len(data_set(pixels=3_000_000))
    assert peer.statuses() == [0]
    serving.writer.work_all()
    assert os.listdir(tmp_path) == []


def test_a_large_store_makes_its_peer_wait(tmp_path: Path) -> None:
    serving = Serving(StoreAddin(), folder=tmp_path)
    peer = serving.peer()
    peer.send(half(1, 20_000_000))
    assert peer.wire.producerState == "paused"
    serving.writer.work_all()
    assert peer.wire.producerState == "producing"
    peer.lose()
    serving.writer.work_all()
    assert os.listdir(tmp_path) == []


def test_a_title_of_any_bytes_is_no_trouble_for_the_file(tmp_path: Path) -> None:
    serving = Serving(StoreAddin(), folder=tmp_path)
    from tests.net.wire import Peer, associate_bytes

    peer = Peer(serving.acceptor)
    peer.send(associate_bytes(calling="CALLING").replace(b"CALLING  ", b"\xff\x1b\n\\/..\x00\xe9"))
    peer.pdus()
    peer.send(store_bytes(data=data_set(pixels=3_000_000), max_length=131_072))
    serving.writer.work_all()
    assert peer.statuses() == [0]
