"""Real files into the real server, from three programs: what is stored is what went over the wire, byte for byte."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.interop import bundle, part10, senders
from tests.interop.processes import Server
from tests.interop.proxy import Proxy
from txdicom.uids import IMPLEMENTATION_CLASS_UID, is_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from types import ModuleType

    from tests.interop.bundle import Sample
    from tests.interop.senders import Sender

pytestmark = pytest.mark.interop

_NO_META = "InvalidDicomError: File is missing DICOM File Meta Information header"

#: what each sender does not send, and why, in its own words
REFUSED: dict[str, dict[str, str]] = {
    "storescu": {
        "test_files/MR_truncated.dcm": "Bad DICOM file",  # the Pixel Data end too early
        "test_files/SC_rgb_jpeg.dcm": "Bad DICOM file",  # Implicit VR, which its transfer syntax is not
        "test_files/rtplan_truncated.dcm": "Bad DICOM file",  # ends within an element
        "test_files/rtdose_rle.dcm": "No SOP Class or Instance UID in file",  # they have VR UN
        "test_files/rtdose_rle_1frame.dcm": "No SOP Class or Instance UID in file",
    },
    "pynetdicom": {
        "test_files/ExplVR_BigEndNoMeta.dcm": _NO_META,
        "test_files/ExplVR_LitEndNoMeta.dcm": _NO_META,
        "test_files/rtstruct.dcm": _NO_META,
        "test_files/SC_rgb_jpeg.dcm": "ValueError: Failed to encode the supplied dataset",
    },
    "txdicom": {
        "test_files/MR_truncated.dcm": "the data set ends amid element (7FE0,0010): 8,130 of 8,192 bytes are there",
        "test_files/rtplan_truncated.dcm": "the data set ends amid element (300A,00B0): 711 of 976 bytes are there",
    },
}


@pytest.fixture(params=REFUSED)
def sender(request: pytest.FixtureRequest) -> tuple[str, Sender]:
    name: str = request.param
    if name == "storescu":
        dcmtk: Callable[[str], str] = request.getfixturevalue("dcmtk")
        return name, senders.by_storescu(dcmtk("storescu"))
    if name == "pynetdicom":
        _: ModuleType = request.getfixturevalue("pynetdicom")
        return name, senders.by_pynetdicom
    return name, senders.by_txdicom


@contextlib.contextmanager
def fresh_stores(folder: Path, count: int) -> Generator[list[tuple[Server, Proxy]]]:
    """Servers on empty folders, each behind a proxy."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server(folder / str(number))) for number in range(count)]
        yield [(server, stack.enter_context(Proxy(server.port))) for server in servers]


def test_the_bundle_is_what_we_think_it_is() -> None:
    assert len(bundle.samples()) >= 175
    for group in bundle.groups():
        uids = [sample.sop_instance for sample in group]
        assert len(uids) == len(set(uids))
    assert sum(map(len, bundle.groups())) == len(bundle.samples())
    transfer_syntaxes = {sample.transfer_syntax for sample in bundle.samples()}
    assert {"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"} < transfer_syntaxes
    assert {"1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5"} < transfer_syntaxes


def test_every_file_is_stored_as_it_was_sent(sender: tuple[str, Sender], tmp_path: Path) -> None:
    name, send = sender
    groups = bundle.groups()
    refused: dict[str, str] = {}
    with fresh_stores(tmp_path, len(groups)) as stores:
        jobs = [(proxy.port, group) for (_, proxy), group in zip(stores, groups, strict=True)]
        sayings = send(jobs, tmp_path)
        for (server, proxy), group in zip(stores, groups, strict=True):
            sent = {one.sop_instance for one in proxy.stored()}
            refused |= {sample.name: sayings[sample.path] for sample in group if _instance(sample) not in sent}
            check_store(server, proxy, group)
    assert set(refused) == set(REFUSED[name])
    for file, reason in REFUSED[name].items():
        assert reason in refused[file], file


def check_store(server: Server, proxy: Proxy, group: tuple[Sample, ...]) -> None:
    """The store has exactly what went over the wire and was answered Success, under the right names."""
    wire = {one.sop_instance: one for one in proxy.stored()}
    assert len(wire) == len(proxy.stored())
    assert [one for one in wire.values() if one.status != 0] == []
    files = part10.stored(server.store)
    assert set(files) == set(wire)
    calling_ae = proxy.conversations[0].requestor.pdus[0][1][20:36].decode().strip() if wire else ""
    studies = {_instance(sample): sample.study for sample in group}
    for uid, one in wire.items():
        head, data = part10.split(files[uid])
        assert data == one.data, uid
        assert head[:128] == bytes(128)
        meta = part10.meta(files[uid])
        assert meta.MediaStorageSOPClassUID == one.sop_class
        assert meta.MediaStorageSOPInstanceUID == uid
        assert meta.TransferSyntaxUID == one.transfer_syntax
        assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
        assert meta.SourceApplicationEntityTitle == calling_ae
        assert meta.FileMetaInformationGroupLength == len(head) - 144  # preamble, DICM, and the element itself
        folder = files[uid].parent
        if is_uid(studies[uid]):
            assert folder.parent == server.store / studies[uid]
        else:
            assert folder == server.store / "unknown"
    assert list((server.store / ".incoming").iterdir()) == []
    assert not (server.store / "duplicates.jsonl").exists()


def _instance(sample: Sample) -> str:
    return sample.sop_instance.strip("\0 ")
