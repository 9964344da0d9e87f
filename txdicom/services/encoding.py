"""Data sets to and from pydicom, for those who want them read: the core itself passes bytes on."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from txdicom.uids import DEFLATED, EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from pydicom import Dataset


def read_dataset(data: bytes, transfer_syntax: str, character_set: str = "") -> Dataset:
    """The data set that `data` encodes; elements are read when they are asked for.

    `character_set` is the Specific Character Set of one that says none, as a data set has it.
    """
    from pydicom.charset import convert_encodings, default_encoding
    from pydicom.filereader import read_dataset as read

    if transfer_syntax in DEFLATED:
        data = inflate(data)
    return read(
        BytesIO(data),
        transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN,
        transfer_syntax != EXPLICIT_VR_BIG_ENDIAN,
        parent_encoding=convert_encodings(character_set.split("\\")) if character_set else default_encoding,
    )


def write_dataset(dataset: Dataset, transfer_syntax: str) -> bytes:
    """`dataset` encoded in `transfer_syntax`."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset as write

    out = DicomBytesIO()
    out.is_little_endian = transfer_syntax != EXPLICIT_VR_BIG_ENDIAN
    out.is_implicit_VR = transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    write(out, dataset)
    data: bytes = out.getvalue()
    return deflate(data) if transfer_syntax in DEFLATED else data


def inflate(data: bytes, limit: int = 1 << 28) -> bytes:
    """A deflated data set (PS3.5 A.5), ValueError past `limit` bytes."""
    import zlib

    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    out = machine.decompress(data, limit)
    if machine.unconsumed_tail:
        raise ValueError(f"a deflated data set of over {limit} bytes")
    return out


def deflate(data: bytes) -> bytes:
    """The opposite of `inflate`, padded to an even length."""
    import zlib

    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    out = machine.compress(data) + machine.flush()
    return out + b"\0" if len(out) & 1 else out
