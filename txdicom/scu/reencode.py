"""A data set in another uncompressed transfer syntax, for a peer that did not accept the file's own."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from txdicom.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from pydicom import Dataset

#: what a data set can be encoded to, best first
TARGETS: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
#: bytes of a data set that are taken into memory for it
LARGEST: Final = 1 << 30
#: type codes of the items of which such a value consists; their bytes change places with the byte order
_ITEMS: Final = {"OW": "H", "OL": "I", "OF": "I", "OD": "Q", "OV": "Q"}


def reencoded(path: str, transfer_syntax: str) -> bytes:
    """The data set of the file `path` in `transfer_syntax`, one of `TARGETS`. Blocks while it reads and encodes.

    Raises ValueError with a sentence where that cannot be done.
    """
    from pydicom import dcmread

    from txdicom.services.encoding import write_dataset

    try:
        dataset = dcmread(path, force=True)
        file_meta = getattr(dataset, "file_meta", None)
        big_endian = not dataset.original_encoding[1]
        if big_endian or getattr(file_meta, "TransferSyntaxUID", "") == EXPLICIT_VR_BIG_ENDIAN:
            _swap(dataset)
        data = write_dataset(dataset, transfer_syntax)
    except Exception as error:
        raise ValueError(f"the data set cannot be encoded anew: {error}") from error
    if not data:
        raise ValueError("the data set cannot be encoded anew: pydicom finds nothing in it")
    return data


def _swap(dataset: Dataset) -> None:
    """Turns the bytes of values that pydicom leaves as they are in the file (PS3.5 §7.3)."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _swap(item)
        elif element.VR in _ITEMS and isinstance(element.value, bytes):
            items = array(_ITEMS[element.VR])
            if len(element.value) % items.itemsize:
                raise ValueError(f"the value of {element.tag} is not made of whole {element.VR} items")
            items.frombytes(element.value)
            items.byteswap()
            element.value = items.tobytes()
        elif element.VR == "UN" and element.value:
            raise ValueError(f"the byte order of {element.tag} cannot be known (VR UN)")
