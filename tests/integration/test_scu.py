# ruff: noqa: SIM117 (which block ends first matters)
"""The SCU against servers: our own with its add-ins, pynetdicom's, and DCMTK's storescp."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThread

from tests.cli.running import command
from tests.scu.provider import CT, EXPLICIT, IMPLICIT, JPEG, data_set, write, write_many
from txdicom import scp, uids
from txdicom.addins.storage import StorageAddin
from txdicom.addins.verification import VerificationAddin
from txdicom.archive.store import Store
from txdicom.part10 import read_meta
from txdicom.scu import Peer, StoreScu, connect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path
    from types import ModuleType


@asynccontextmanager
async def server(folder: Path, **settings: Any) -> AsyncGenerator[Peer]:
    """Our own server, which stores into `folder`."""
    addins = [VerificationAddin(), StorageAddin(Store(str(folder), flush=False))]
    entity = await scp.listen(reactor, "tcp:0:interface=127.0.0.1", ae_title="OURS", addins=addins, **settings)
    try:
        yield Peer("OURS", "127.0.0.1", entity.ports[0].getHost().port)
    finally:
        await entity.stop()


def data_sets(folder: Path) -> dict[str, bytes]:
    """The stored data sets by their SOP Instance UID."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                content = file.read()
            meta = read_meta(content, complete=True)
            assert meta is not None
            found[meta.sop_instance] = content[meta.data_offset :]
    return found


# --- our own ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("associations", [1, 4])
@pytest.mark.parametrize("size", [1000, 2_000_000])
async def test_what_is_stored_is_what_was_in_the_files(tmp_path: Path, associations: int, size: int) -> None:
    write_many(tmp_path / "in", 12, size=size)
    async with server(tmp_path / "out", max_pdu_length=16_384) as peer:
        async with StoreScu(reactor, peer, associations=associations) as scu:
            results = [one async for one in scu.store(tmp_path / "in")]
        assert all(one.stored for one in results)
    assert data_sets(tmp_path / "out") == {
        f"1.2.3.{number}": data_set(CT, f"1.2.3.{number}", size) for number in range(1, 13)
    }


async def test_the_window_of_our_server_is_used(tmp_path: Path) -> None:
    write_many(tmp_path / "in", 30)
    async with server(tmp_path / "out", max_operations=8) as peer:
        async with connect(reactor, peer, files=tmp_path / "in") as association:
            agreement = association.associations[0].agreement
            assert agreement is not None
            assert agreement.invoked == 8
            assert len([one async for one in association.store(tmp_path / "in") if one.stored]) == 30


async def test_the_commands_against_our_server(tmp_path: Path) -> None:
    write_many(tmp_path / "in", 5, transfer_syntax=JPEG)
    async with server(tmp_path / "out") as peer:
        assert (await command("echo", peer)).status == 0
        assert (await command("store", peer, tmp_path / "in")).status == 0
    assert len(data_sets(tmp_path / "out")) == 5


async def test_a_large_file_needs_no_memory(tmp_path: Path) -> None:
    """256 MiB in a sparse file; the peer is a process of its own that throws it away."""
    path = write(tmp_path / "large.dcm")
    size = 256 << 20
    _lengthen(path, size)
    async with server(tmp_path / "out") as peer:
        ended = await _measured(peer, path)
    assert ended < 32 * 1024


def _lengthen(path: str, size: int) -> None:
    """Pixel data of so many zeros, which take no room on the disk."""
    with open(path, "r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(b"\xe0\x7f\x10\x00OW\0\0" + size.to_bytes(4, "little"))
        file.truncate(file.tell() + size)


async def _measured(peer: Peer, path: str) -> int:
    """KiB by which storing `path` makes a process grow."""
    program = """
import resource, sys
from twisted.internet.task import react
from txdicom.scu import Peer, connect
async def main(reactor):
    async with connect(reactor, Peer.parse(sys.argv[1]), files=sys.argv[2]) as association:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async for result in association.store(sys.argv[2]):
            assert result.stored, result
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
react(main)
"""
    ended = await Process(sys.executable, "-c", program, str(peer), path).ended
    assert not ended.err
    return int(ended.out)


class Process(ProcessProtocol):
    """A program that runs; `started` fires when it has printed something, `ended` at its end."""

    def __init__(self, *words: str) -> None:
        self.out = ""
        self.err = ""
        self.ended: Deferred[Process] = Deferred()
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        self.process = reactor.spawnProcess(self, words[0], words, env=environment)

    def outReceived(self, data: bytes) -> None:
        self.out += data.decode()

    def errReceived(self, data: bytes) -> None:
        self.err += data.decode()

    def processEnded(self, reason: Any) -> None:
        self.ended.callback(self)


# --- pynetdicom -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def pynetdicom_scp(package: ModuleType, handlers: list[Any], syntaxes: list[str]) -> AsyncGenerator[Peer]:
    """pynetdicom in its threads; storage, queries, retrieval and verification."""
    entity = package.AE("PYNETDICOM")
    entity.maximum_pdu_size = 16_384
    for context in package.AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax, syntaxes, scu_role=True, scp_role=True)
    for sop_class in (uids.VERIFICATION, uids.STUDY_ROOT_FIND, uids.STUDY_ROOT_MOVE, uids.STUDY_ROOT_GET):
        entity.add_supported_context(sop_class)
    listener = await deferToThread(entity.start_server, ("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield Peer("PYNETDICOM", "127.0.0.1", listener.socket.getsockname()[1])
    finally:
        await deferToThread(listener.shutdown)


@pytest.mark.interop
async def test_storage_at_pynetdicom(tmp_path: Path, pynetdicom: ModuleType) -> None:
    paths = [write(tmp_path / "a.dcm", 1, size=100_000), write(tmp_path / "b.dcm", 2, transfer_syntax=JPEG)]
    paths.append(write(tmp_path / "c.dcm", 3))
    stored: dict[str, bytes] = {}

    def store(event: Any) -> int:
        stored[event.request.AffectedSOPInstanceUID] = event.request.DataSet.getvalue()
        return 0x0000

    handlers = [(pynetdicom.evt.EVT_C_STORE, store)]
    async with pynetdicom_scp(pynetdicom, handlers, [IMPLICIT, EXPLICIT]) as peer:
        async with connect(reactor, peer, files=paths) as association:
            assert (await association.echo()).is_success
            results = {one.path: one async for one in association.store(paths)}
    assert results[paths[0]].transfer_syntax_uid == EXPLICIT
    assert stored["1.2.3.1"] == data_set(CT, "1.2.3.1", 100_000)
    assert "did not accept its transfer syntax" in results[paths[1]].error
    assert stored["1.2.3.3"] == data_set(CT, "1.2.3.3")


@pytest.mark.interop
async def test_a_query_at_pynetdicom(pynetdicom: ModuleType) -> None:
    cancelled = threading.Event()

    def find(event: Any) -> Any:
        for number in range(100_000):
            if event.is_cancelled:
                cancelled.set()
                yield 0xFE00, None
                return
            match = Dataset()
            match.SpecificCharacterSet = "ISO_IR 100"
            match.PatientName = event.identifier.PatientName
            match.StudyInstanceUID = f"1.2.{number}"
            yield 0xFF00, match

    handlers = [(pynetdicom.evt.EVT_C_FIND, find)]
    async with pynetdicom_scp(pynetdicom, handlers, [IMPLICIT]) as peer, connect(reactor, peer) as association:
        async for match in association.find({"PatientName": "Müller"}, level="STUDY"):
            assert match.PatientName == "Müller"
            assert match.StudyInstanceUID == "1.2.0"
            break
        # the next operation begins once the query has ended
        assert (await association.echo()).is_success
        assert cancelled.is_set()


@pytest.mark.interop
async def test_retrieval_from_pynetdicom(pynetdicom: ModuleType) -> None:
    received = []

    def instances(event: Any) -> Any:
        yield 2
        for number in (1, 2):
            dataset = Dataset()
            dataset.SOPClassUID = CT
            dataset.SOPInstanceUID = f"1.2.{number}"
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = EXPLICIT
            yield 0xFF00, dataset

    def take(request: Any) -> str:
        received.append(request.dataset.SOPInstanceUID)
        return "Success"

    handlers = [(pynetdicom.evt.EVT_C_GET, instances)]
    async with pynetdicom_scp(pynetdicom, handlers, [EXPLICIT]) as peer, connect(reactor, peer) as association:
        results = association.get({"StudyInstanceUID": "1.2"}, take, level="STUDY", storage=[CT])
        *_, last = [one async for one in results]
        assert (last.completed, last.failed) == (2, 0)
    assert received == ["1.2.1", "1.2.2"]


# --- DCMTK ------------------------------------------------------------------------------------------------------------


@pytest.mark.interop
@pytest.mark.parametrize("associations", [1, 3])
async def test_storage_at_storescp(
    tmp_path: Path, dcmtk: Callable[[str], str], free_port: int, associations: int
) -> None:
    paths = write_many(tmp_path / "in", 10, size=50_000)
    (tmp_path / "out").mkdir()
    # bit preserving: what comes is written
    process = Process(
        dcmtk("storescp"),
        "--fork",
        "+B",
        "-aet",
        "DCMTK",
        "-od",
        str(tmp_path / "out"),
        "-pdu",
        "16384",
        str(free_port),
    )
    peer = Peer("DCMTK", "127.0.0.1", free_port)
    try:
        for _ in range(100):
            if (await command("echo", peer)).status == 0:
                break
            await task.deferLater(reactor, 0.05)
        ended = await command("store", "-v", "--associations", associations, peer, *paths)
        assert ended.status == 0, ended.err
    finally:
        process.process.signalProcess("TERM")
        await process.ended
    assert data_sets(tmp_path / "out") == {
        f"1.2.3.{number}": data_set(CT, f"1.2.3.{number}", 50_000) for number in range(1, 11)
    }
