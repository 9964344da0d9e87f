"""Every family of transfer syntaxes that a peer proposes is stored as it comes, never decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydicom.uid as syntaxes
import pytest

from tests.interop import bundle, part10, samples
from tests.interop.processes import AE_TITLE, HOST, run
from tests.interop.proxy import Proxy
from txdicom.uids import DEFLATED, UNCOMPRESSED, storage_transfer_syntaxes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from tests.interop.processes import Server
    from tests.interop.proxy import Stored

pytestmark = pytest.mark.interop

#: what storescu is told to propose, a file for which that fits, and what it is then sent in
PROPOSED = [
    ("-xe", "test_files/CT_small.dcm", syntaxes.ExplicitVRLittleEndian),
    ("-xi", "test_files/CT_small.dcm", syntaxes.ImplicitVRLittleEndian),
    ("-xb", "test_files/MR_small_bigendian.dcm", syntaxes.ExplicitVRBigEndian),
    ("-xd", "test_files/image_dfl.dcm", syntaxes.DeflatedExplicitVRLittleEndian),
    ("-xr", "test_files/MR_small_RLE.dcm", syntaxes.RLELossless),
    ("-xs", "test_files/SC_rgb_jpeg_gdcm.dcm", syntaxes.JPEGLosslessSV1),
    ("-xy", "test_files/SC_rgb_jpeg_dcmtk.dcm", syntaxes.JPEGBaseline8Bit),
    ("-xx", "test_files/JPGExtended.dcm", syntaxes.JPEGExtended12Bit),
    ("-xv", "test_files/MR_small_jp2klossless.dcm", syntaxes.JPEG2000Lossless),
    ("-xw", "test_files/JPEG2000.dcm", syntaxes.JPEG2000),
    ("-xt", "test_files/MR_small_jpeg_ls_lossless.dcm", syntaxes.JPEGLSLossless),
    ("-xu", "test_files/JPEGLSNearLossless_16.dcm", syntaxes.JPEGLSNearLossless),
]
#: the same for video, of which pydicom has no files; nobody looks into the frames
VIDEO = [
    ("-xm", syntaxes.MPEG2MPML),
    ("-xh", syntaxes.MPEG2MPHL),
    ("-xn", syntaxes.MPEG4HP41),
    ("-xl", syntaxes.MPEG4HP41BD),
    ("-x2", syntaxes.MPEG4HP422D),
    ("-x3", syntaxes.MPEG4HP423D),
    ("-xo", syntaxes.MPEG4HP42STEREO),
    ("-x4", syntaxes.HEVCMP51),
    ("-x5", syntaxes.HEVCM10P51),
]
UID = f"{samples.ROOT}.3"


def check_one(server: Server, sent: list[Stored], transfer_syntax: str) -> None:
    """One instance went over the wire, in that syntax, and so it lies there."""
    assert [(one.status, one.transfer_syntax) for one in sent] == [(0, transfer_syntax)]
    path = part10.stored(server.store)[sent[0].sop_instance]
    assert part10.data_set(path) == sent[0].data
    assert part10.meta(path).TransferSyntaxUID == transfer_syntax


@pytest.mark.parametrize(("option", "name", "transfer_syntax"), PROPOSED)
def test_what_storescu_proposes(
    server: Server, dcmtk: Callable[[str], str], option: str, name: str, transfer_syntax: str
) -> None:
    with Proxy(server.port) as proxy:
        path = bundle.by_name(name).path
        sent = run([dcmtk("storescu"), "-v", "-R", option, "-aec", AE_TITLE, HOST, str(proxy.port), path])
        assert sent.returncode == 0, sent.stdout
        check_one(server, proxy.stored(), transfer_syntax)


@pytest.mark.parametrize(("option", "transfer_syntax"), VIDEO)
def test_video_by_storescu(
    server: Server, dcmtk: Callable[[str], str], option: str, transfer_syntax: str, tmp_path: Path
) -> None:
    path = samples.write(
        tmp_path / "video.dcm", f"{UID}.1", sop_class=syntaxes.VideoPhotographicImageStorage,
        transfer_syntax=transfer_syntax,
    )  # fmt: skip
    with Proxy(server.port) as proxy:
        sent = run([dcmtk("storescu"), "-v", "-R", option, "-aec", AE_TITLE, HOST, str(proxy.port), path])
        assert sent.returncode == 0, sent.stdout
        check_one(server, proxy.stored(), transfer_syntax)


# pydicom names formats to struct both as text and as bytes, which -bb takes for a mistake
@pytest.mark.filterwarnings("ignore::BytesWarning")
def test_every_syntax_that_we_accept(server: Server, pynetdicom: ModuleType, tmp_path: Path) -> None:
    """HTJ2K and whatever else pydicom knows: each on a context of its own."""
    known = [
        one
        for one in storage_transfer_syntaxes()
        # pydicom does not deflate for the JPIP syntaxes that ask for it
        if syntaxes.UID(one) in syntaxes.AllTransferSyntaxes and (one in DEFLATED) == syntaxes.UID(one).is_deflated
    ]
    assert set(UNCOMPRESSED) | {syntaxes.HTJ2K, syntaxes.HTJ2KLossless, syntaxes.HTJ2KLosslessRPCL} <= set(known)
    ae = pynetdicom.AE("PYNETDICOM")
    for transfer_syntax in known:
        ae.add_requested_context(syntaxes.CTImageStorage, transfer_syntax)
    with Proxy(server.port) as proxy:
        association = ae.associate(HOST, proxy.port, ae_title=AE_TITLE)
        assert association.is_established
        for number, transfer_syntax in enumerate(known):
            uid = f"{UID}.2.{number}"
            path = samples.write(tmp_path / uid, uid, transfer_syntax=transfer_syntax)
            assert association.send_c_store(path).Status == 0, transfer_syntax
        association.release()
        sent = proxy.stored()
    assert [one.transfer_syntax for one in sent] == known
    for one in sent:
        check_one(server, [one], one.transfer_syntax)


def test_all_by_dcmsend(server: Server, dcmtk: Callable[[str], str]) -> None:
    """dcmsend finds the files of a folder itself and opens as many associations as they need."""
    folder = bundle.FOLDER / "test_files" / "dicomdirtests"
    options = ["-v", "+sd", "+r", "-dn", "-nh", "-aec", AE_TITLE]
    with Proxy(server.port) as proxy:
        sent = run([dcmtk("dcmsend"), *options, HOST, str(proxy.port), folder])
        assert sent.returncode == 0, sent.stdout
        wire = proxy.stored()
    wanted = {sample.sop_instance for sample in bundle.samples() if sample.path.is_relative_to(folder)}
    assert {one.sop_instance for one in wire} == wanted
    files = part10.stored(server.store)
    for one in wire:
        assert one.status == 0
        assert part10.data_set(files[one.sop_instance]) == one.data
