"""txdicom.addins.storage: Success says that the instance is a file of the store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import dcmread

from tests.net.wire import CT_ID, data_set, echo_bytes, message_bytes, pdata, store_bytes
from tests.services.serving import EchoAddin, Serving
from txdicom.addins.storage import StorageAddin
from txdicom.archive.store import Store
from txdicom.dimse import requests
from txdicom.errors import SettingsError
from txdicom.interfaces import IStaging, IWriter

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

FOLDER = "1.2.3.4.5/1.2.3.4.5.6"
LARGE = 3_000_000


class Served:
    """A server that stores; its writer works when the test says so."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.store = Store(str(folder), **settings)
        self.addin = StorageAddin(self.store)
        self.staging = folder / ".incoming"
        self.serving = Serving(self.addin, EchoAddin(), folder=self.staging)
        self.writer = self.serving.writer
        self.addin.load(self)

    def service(self, interface: Any) -> Any:
        return {IWriter: self.writer, IStaging: self.serving.spool}[interface]

    @property
    def files(self) -> dict[str, int]:
        return {
            os.path.relpath(os.path.join(parent, name), self.folder): os.path.getsize(os.path.join(parent, name))
            for parent, _, names in os.walk(self.folder)
            for name in names
        }


@pytest.fixture
def served(tmp_path: Path) -> Generator[Served]:
    made = Served(tmp_path / "store")
    yield made
    made.writer.work_all()
    made.addin.unload()
    assert os.listdir(made.staging) == []
    assert made.serving.spool.in_memory == 0


@pytest.mark.parametrize("pixels", [10, LARGE])
def test_success_comes_after_the_file(served: Served, pixels: int) -> None:
    peer = served.serving.peer()
    peer.send(store_bytes(data=data_set(pixels=pixels), max_length=131_072))
    while served.writer.jobs:
        assert peer.statuses() == []
        assert f"{FOLDER}/1.2.3.dcm" not in served.files
        served.writer.work()
    assert peer.statuses() == [0]
    (path,) = served.files
    assert path == f"{FOLDER}/1.2.3.dcm"
    dataset = dcmread(served.folder / path)
    assert len(dataset.PixelData) == pixels
    assert dataset.file_meta.SourceApplicationEntityTitle == "CLIENT"


def test_many_that_wait_are_committed_together(served: Served) -> None:
    serving = served.serving
    peers = [serving.peer() for _ in range(5)]
    for number, peer in enumerate(peers):
        peer.send(store_bytes(1, instance=f"1.2.{number}"))
    groups = []
    commit = served.store.commit
    for index, (handler, item, done) in enumerate(served.writer.jobs):
        assert handler == commit
        served.writer.jobs[index] = (lambda items: groups.append(len(items)) or commit(items), item, done)
    served.writer.work()
    assert [peer.statuses() for peer in peers] == [[0]] * 5
    assert len(served.files) == 5


@pytest.mark.parametrize("pixels", [10, LARGE])
@pytest.mark.parametrize("when", ["before the writer", "after the writer"])
def test_a_peer_that_leaves_after_its_data_set(served: Served, pixels: int, when: str) -> None:
    """What was received whole is kept, though nobody hears of it; nothing else is left over."""
    before = len(os.listdir("/proc/self/fd"))
    peer = served.serving.peer()
    peer.send(store_bytes(data=data_set(pixels=pixels), max_length=131_072))
    if when == "after the writer":
        served.writer.work_all()
        assert len(served.files) == 1
    peer.lose()
    served.writer.work_all()
    assert set(served.files) <= {f"{FOLDER}/1.2.3.dcm"}
    assert served.serving.clean()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("size", [100_000, LARGE])
def test_a_data_set_that_is_cut_off_is_not_kept(served: Served, size: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    peer = served.serving.peer()
    peer.send(message_bytes(CT_ID, requests.c_store_rq(1, "1.2.840.10008.5.1.4.1.1.2", "1.2.3")))
    for _ in range(size // 100_000):
        peer.send(pdata(CT_ID, 0, bytes(100_000)))
    served.writer.work_all()
    peer.lose()
    served.writer.work_all()
    assert served.files == {}
    assert served.serving.clean()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_handler_that_is_too_slow_is_answered_for(served: Served) -> None:
    peer = served.serving.peer()
    peer.send(store_bytes())
    served.serving.clock.advance(300)
    assert peer.statuses() == [0xC000]
    served.writer.work_all()  # the disk is there again: nothing breaks
    assert peer.statuses() == []
    peer.send(echo_bytes(2))
    assert peer.statuses() == [0]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (data_set("1.2.4"), 0xA900),
        (data_set(sop_class="1.2.840.10008.5.1.4.1.1.4"), 0xA900),
        (b"\x08\x00\x16\x00UI\xff\xff1.2", 0xC000),
    ],
    ids=["other instance", "other class", "not a data set"],
)
def test_what_the_store_refuses(served: Served, data: bytes, status: int) -> None:
    peer = served.serving.peer()
    peer.send(store_bytes(1, data) + store_bytes(2))
    served.writer.work_all()
    assert peer.statuses() == [status, 0]


@pytest.mark.parametrize("pixels", [10, LARGE])
def test_duplicates_are_refused_where_asked(tmp_path: Path, pixels: int) -> None:
    served = Served(tmp_path / "store", duplicates="refuse")
    peer = served.serving.peer()
    for extra in (0, 2):
        peer.send(store_bytes(data=data_set(pixels=pixels + extra), max_length=131_072))
        served.writer.work_all()
    assert peer.statuses() == [0, 0x0111]
    served.addin.unload()


def test_two_servers_cannot_have_one_store(tmp_path: Path) -> None:
    first = Served(tmp_path / "store")
    with pytest.raises(SettingsError, match="in use"):
        Served(tmp_path / "store")
    first.addin.unload()
    Served(tmp_path / "store").addin.unload()


def test_leftovers_of_the_spool_are_swept(tmp_path: Path) -> None:
    """A crash amid a large C-STORE leaves a file in the staging folder."""
    crashed = Served(tmp_path / "store")
    peer = crashed.serving.peer()
    peer.send(store_bytes(data=data_set(pixels=LARGE), max_length=131_072)[:-10])
    crashed.writer.work_all()
    assert len(os.listdir(crashed.staging)) == 1
    crashed.store.close()
    again = Served(tmp_path / "store")
    assert os.listdir(again.staging) == []
    again.addin.unload()
    peer.lose()
    crashed.writer.work_all()


def test_a_path_is_never_made_of_what_a_peer_says(served: Served) -> None:
    peer = served.serving.peer()
    evil = data_set("1.2.3").replace(b"1.2.3.4.5\0", b"../../../x", 1).replace(b"1.2.3.4.5.6\0", b"/etc/passwd\0", 1)
    peer.send(store_bytes(1, evil))
    served.writer.work_all()
    assert peer.statuses() == [0]
    assert list(served.files) == ["unknown/1.2.3.dcm"]


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_a_large_one_though_the_temporary_folder_is_on_another_file_system(tmp_path: Path) -> None:
    """`listen` without temporary_directory: large data sets are received in the system's folder for them."""
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(dir="/dev/shm")
    try:
        store = Store(folder)
        addin = StorageAddin(store)
        serving = Serving(addin, folder=tmp_path)

        class Server:
            def service(self, interface: Any) -> Any:
                return {IWriter: serving.writer, IStaging: serving.spool}[interface]

        addin.load(Server())
        peer = serving.peer()
        peer.send(store_bytes(data=data_set(pixels=LARGE), max_length=131_072))
        serving.writer.work_all()
        assert peer.statuses() == [0]
        addin.unload()
    finally:
        shutil.rmtree(folder)
