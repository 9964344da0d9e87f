"""`txdicom store` sends real files into DCMTK's storescp and into pynetdicom: what goes out is what the files hold."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import pydicom
import pytest

from tests.interop import bundle, part10
from tests.interop.processes import HERE, HOST, Background, StoreScp
from tests.interop.proxy import Proxy
from tests.interop.senders import txdicom_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from tests.interop.bundle import Sample
    from tests.interop.proxy import Stored

pytestmark = pytest.mark.interop

_PALETTE = "the peer did not accept its SOP class 1.2.840.10008.5.1.4.39.1"
_UNABLE = "0xC000"
_CUT_SHORT = "the data set ends amid element"
#: what storescp does not take, or we do not send, and what we then say
REFUSED = {
    f"palettes/{name}.dcm": _PALETTE
    for name in ("fall", "hotiron", "hotmetalblue", "pet", "pet20step", "spring", "summer", "winter")
} | {"test_files/rtplan_truncated.dcm": _CUT_SHORT, "test_files/MR_truncated.dcm": _CUT_SHORT}
#: the same where it has to understand a data set in order to write it anew: the SOP Instance UID has VR UN
REFUSED_ANEW = REFUSED | {"test_files/rtdose_rle.dcm": _UNABLE, "test_files/rtdose_rle_1frame.dcm": _UNABLE}
#: what storescp aborts an association for, and what it says
ABORTED = {
    "test_files/SC_rgb_jpeg.dcm": "premature end of stream",  # Implicit VR, which its transfer syntax is not
}
MODES: dict[str, tuple[list[str], dict[str, str], dict[str, str]]] = {
    "bit preserving": (["+B"], REFUSED, {}),
    "written anew": ([], REFUSED_ANEW, ABORTED),
}
CT = bundle.by_name("test_files/CT_small.dcm")


def without(names: dict[str, str]) -> list[Sample]:
    return [sample for sample in bundle.samples() if sample.name not in names]


def data_set(sample: Sample) -> bytes:
    """The data set of a file; one without File Meta Information holds nothing else.

    A deflated one has the zero byte that makes its length even (PS3.5 A.5), also where the file lacks it.
    """
    data = sample.path.read_bytes()
    if data[128:132] == b"DICM":
        data = part10.data_set(sample.path)
    deflated = sample.transfer_syntax == pydicom.uid.DeflatedExplicitVRLittleEndian
    return data + bytes(len(data) % 2) if deflated else data


def check_wire(sent: list[Stored], samples: list[Sample]) -> None:
    """The files went over the wire, each as it is and in its own transfer syntax."""
    assert Counter((one.sop_instance, one.data) for one in sent) == Counter(
        (sample.sop_instance.strip("\0 "), data_set(sample)) for sample in samples
    )
    syntaxes = {(sample.sop_instance.strip("\0 "), data_set(sample)): sample.transfer_syntax for sample in samples}
    for one in sent:
        assert syntaxes[one.sop_instance, one.data] in (one.transfer_syntax, "")


@pytest.mark.parametrize("mode", MODES)
def test_into_storescp(dcmtk: Callable[[str], str], tmp_path: Path, free_port: int, mode: str) -> None:
    options, refused, aborted = MODES[mode]
    samples = without(aborted)
    # +uf: files get names of their own, not those of their instances
    with StoreScp(dcmtk("storescp"), tmp_path, free_port, "+xa", "+uf", *options) as scp, Proxy(scp.port) as proxy:
        sent = txdicom_store(f"STORESCP@{HOST}:{proxy.port}", *(sample.path for sample in samples))
        errors = {bundle.name_of(path): error for path, error in sent.errors.items() if error}
        assert set(errors) == set(refused)
        assert all(refused[name] in error for name, error in errors.items())
        assert sent.status == 1
        assert sent.summary["stored"] == len(samples) - len(refused)
        wire = proxy.stored()
        never = {name for name, error in refused.items() if error != _UNABLE}
        check_wire(wire, [sample for sample in samples if sample.name not in never])
        received = list(scp.store.iterdir())
        assert len(received) == len(wire)  # it has also what it says that it cannot understand
        if "+B" in options:
            assert Counter(map(part10.data_set, received)) == Counter(one.data for one in wire)


@pytest.mark.parametrize("name", ABORTED)
def test_what_storescp_aborts_for(dcmtk: Callable[[str], str], tmp_path: Path, free_port: int, name: str) -> None:
    with StoreScp(dcmtk("storescp"), tmp_path, free_port, "+xa") as scp:
        path = bundle.by_name(name).path
        sent = txdicom_store(f"STORESCP@{HOST}:{scp.port}", path)
        assert sent.status == 1
        assert "aborted" in sent.errors[path]
        assert ABORTED[name] in scp.output()


def test_into_another_transfer_syntax(dcmtk: Callable[[str], str], tmp_path: Path, free_port: int) -> None:
    """A peer that takes Implicit VR only gets it; what is in the data set stays the same."""
    with StoreScp(dcmtk("storescp"), tmp_path, free_port, "+xi", "+B") as scp:
        sent = txdicom_store(f"STORESCP@{HOST}:{scp.port}", CT.path)
        assert sent.status == 0, sent.output
        [received] = scp.store.iterdir()
        was, is_now = pydicom.dcmread(CT.path), pydicom.dcmread(received)
    assert is_now.file_meta.TransferSyntaxUID == pydicom.uid.ImplicitVRLittleEndian
    assert is_now == was


def test_a_transfer_syntax_that_is_not_accepted(dcmtk: Callable[[str], str], tmp_path: Path, free_port: int) -> None:
    """What is compressed cannot be sent to a peer that takes it uncompressed only; the others can."""
    rle = bundle.by_name("test_files/MR_small_RLE.dcm")
    with StoreScp(dcmtk("storescp"), tmp_path, free_port) as scp:
        sent = txdicom_store(f"STORESCP@{HOST}:{scp.port}", rle.path, CT.path)
        assert sent.status == 1
        assert "did not accept its" in sent.errors[rle.path]
        assert sent.errors[CT.path] == ""
        assert len(list(scp.store.iterdir())) == 1


@pytest.mark.parametrize("limit", ["4096", "16384", "131072"])
def test_lengths_that_storescp_takes(dcmtk: Callable[[str], str], tmp_path: Path, free_port: int, limit: str) -> None:
    large = bundle.by_name("test_files/examples_overlay.dcm")
    with StoreScp(dcmtk("storescp"), tmp_path, free_port, "+B", "-pdu", limit) as scp, Proxy(scp.port) as proxy:
        sent = txdicom_store(f"STORESCP@{HOST}:{proxy.port}", "-pdu", "4096", large.path, CT.path)
        assert sent.status == 0, sent.output
        assert max(proxy.conversations[0].requestor.lengths) <= int(limit)
        check_wire(proxy.stored(), [large, CT])


def test_several_associations(dcmtk: Callable[[str], str], tmp_path: Path, free_port: int) -> None:
    samples = [sample for sample in bundle.samples() if "dicomdirtests" in sample.name]
    with StoreScp(dcmtk("storescp"), tmp_path, free_port, "--fork", "+B") as scp, Proxy(scp.port) as proxy:
        folder = bundle.FOLDER / "test_files" / "dicomdirtests"
        sent = txdicom_store(f"STORESCP@{HOST}:{proxy.port}", "--associations", "4", folder)
        assert sent.status == 0, sent.output
        assert sent.summary["stored"] == len(samples)
        assert len(proxy.conversations) == 4
        assert all(conversation.stored() for conversation in proxy.conversations)
        check_wire(proxy.stored(), samples)
        assert len(list(scp.store.iterdir())) == len(samples)


class Pynetdicom(Background):
    """pynetdicom_scp.py."""

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        self.store = folder / "received"
        self.store.mkdir()
        script = HERE / "pynetdicom_scp.py"
        super().__init__([sys.executable, script, str(port), self.store, *options], folder / "pynetdicom.log")
        self.wait_for("ready")


def test_into_pynetdicom(pynetdicom: ModuleType, tmp_path: Path, free_port: int) -> None:
    samples = list(bundle.samples())
    with Pynetdicom(tmp_path, free_port) as scp, Proxy(free_port) as proxy:
        sent = txdicom_store(f"PYNETDICOM@{HOST}:{proxy.port}", *(sample.path for sample in samples))
        errors = {bundle.name_of(path): error for path, error in sent.errors.items() if error}
        assert errors.keys() == {"test_files/MR_truncated.dcm", "test_files/rtplan_truncated.dcm"}
        assert all("the data set ends amid element" in error for error in errors.values())
        assert sent.status == 1
        wire = proxy.stored()
        check_wire(wire, [sample for sample in samples if bundle.name_of(sample.path) not in errors])
        assert {one.status for one in wire} == {0}
        received = sorted(scp.store.iterdir(), key=lambda path: int(path.name.partition("-")[0]))
        assert [part10.data_set(path) for path in received] == [one.data for one in wire]


@pytest.mark.parametrize("limit", [0, 16, 4097, 16_382])
def test_lengths_that_pynetdicom_takes(pynetdicom: ModuleType, tmp_path: Path, free_port: int, limit: int) -> None:
    with Pynetdicom(tmp_path, free_port, str(limit)) as scp, Proxy(free_port) as proxy:
        sent = txdicom_store(f"PYNETDICOM@{HOST}:{proxy.port}", CT.path)
        assert sent.status == 0, sent.output
        longest = max(proxy.conversations[0].requestor.lengths)
        assert longest <= limit or not limit
        check_wire(proxy.stored(), [CT])
        [received] = scp.store.iterdir()
        assert part10.data_set(received) == data_set(CT)
