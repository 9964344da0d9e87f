"""DICOM files read without txdicom: where the data set begins, and what the File Meta Information says."""

from __future__ import annotations

import struct
from pathlib import Path

import pydicom

#: the VRs with a 32-bit length (PS3.5 §7.1.2)
LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}


def split(path: Path) -> tuple[bytes, bytes]:
    """File Meta Information with preamble, and data set, of a file that has both."""
    data = path.read_bytes()
    assert data[128:132] == b"DICM", path
    position = 132
    while data[position : position + 2] == b"\x02\x00":
        if data[position + 4 : position + 6] in LONG:
            position += 12 + struct.unpack_from("<I", data, position + 8)[0]
        else:
            position += 8 + struct.unpack_from("<H", data, position + 6)[0]
    return data[:position], data[position:]


def data_set(path: Path) -> bytes:
    return split(path)[1]


def meta(path: Path) -> pydicom.dataset.FileMetaDataset:
    """The File Meta Information as pydicom reads it."""
    return pydicom.filereader.read_file_meta_info(path)


def stored(store: Path) -> dict[str, Path]:
    """The instances of a store by the SOP Instance UID that names their files; what is staged does not count."""
    found: dict[str, Path] = {}
    for path in store.rglob("*.dcm"):
        if ".incoming" not in path.parts:
            assert path.stem not in found
            found[path.stem] = path
    return found
