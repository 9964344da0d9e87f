"""The DICOM files that come with pydicom."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import pydicom
import pydicom.data
import pytest

from txdicom.archive.identity import Identity
from txdicom.part10 import read_meta
from txdicom.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

ENCODINGS = {
    (True, True): IMPLICIT_VR_LITTLE_ENDIAN,
    (False, True): EXPLICIT_VR_LITTLE_ENDIAN,
    (False, False): EXPLICIT_VR_BIG_ENDIAN,
}
NOT_DICOM = {".gz", ".icc", ".json", ".txt", ".dump", ".zip", ".py"}


class Bundled(NamedTuple):
    """One of pydicom's files: its data set, and what pydicom finds in that."""

    name: str
    data: bytes
    transfer_syntax: str
    identity: Identity


def _load(path: Path) -> Bundled:
    raw = path.read_bytes()
    dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    meta = read_meta(raw, complete=True)
    offset = meta.data_offset if meta else 0
    transfer_syntax = (meta and meta.transfer_syntax) or ENCODINGS[dataset.original_encoding]
    keywords = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    identity = Identity(*(str(dataset.get(keyword) or "") for keyword in keywords))
    return Bundled(path.name, raw[offset:], transfer_syntax, identity)


@pytest.fixture(scope="session")
def bundled() -> list[Bundled]:
    """Every DICOM file that comes with pydicom."""
    root = Path(pydicom.data.__file__).parent
    paths = [path for folder in ("test_files", "charset_files") for path in sorted((root / folder).rglob("*"))]
    files = [path for path in paths if path.is_file() and path.suffix not in NOT_DICOM and "README" not in path.name]
    with warnings.catch_warnings():
        # what pydicom finds odd in its own examples is not the point here
        warnings.simplefilter("ignore")
        return [_load(path) for path in files]
