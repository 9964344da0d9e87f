"""Data sets as observers are shown them: as pydicom's, without pixel data unless the operator wants it."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from txdicom.interfaces import INotifyReceiveMessage, INotifySendMessage
from txdicom.net.observing import Observers
from txdicom.services.encoding import write_dataset
from txdicom.uids import DEFLATED, EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydicom import Dataset

#: bytes of a data set that are kept without pixel data, and with it
WITHOUT_PIXELS: Final = 1024 * 1024
WITH_PIXELS: Final = 64 * 1024 * 1024
#: Pixel Data, Float and Double Float Pixel Data, and the offset tables of encapsulated ones (PS3.6 §6)
_PIXELS: Final = 0x7FE0


class ObservedDataSets:
    """A `txdicom.net.observing.DataSets`."""

    def __init__(self, *, pixel_data: bool) -> None:
        self._pixel_data = pixel_data
        self.limit = WITH_PIXELS if pixel_data else WITHOUT_PIXELS

    def read(self, data: bytes, transfer_syntax: str, *, whole: bool) -> Dataset | None:
        """The data set, up to the pixel data where that is not wanted; None where what there is does not reach it."""
        import zlib

        from pydicom.filereader import read_dataset

        if transfer_syntax in DEFLATED:
            machine = zlib.decompressobj(-zlib.MAX_WBITS)
            data = machine.decompress(data, self.limit)
            whole = whole and not machine.unconsumed_tail
        reached = False

        def pixels(tag: Any, vr: str | None, length: int) -> bool:
            nonlocal reached
            reached = not self._pixel_data and tag.group >= _PIXELS
            return reached

        try:
            dataset = read_dataset(
                BytesIO(data),
                transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN,
                transfer_syntax != EXPLICIT_VR_BIG_ENDIAN,
                stop_when=pixels,
            )
        except Exception:
            if whole:
                raise
            return None  # cut amid an element, which can look like anything
        if not (whole or reached):
            return None
        if not self._pixel_data:
            _strip(dataset)
        return dataset

    def write(self, dataset: Dataset, transfer_syntax: str) -> bytes:
        """The data set encoded in `transfer_syntax`."""
        return write_dataset(dataset, transfer_syntax)


def observers_of(objects: Iterable[object], *, pixel_data: bool = False) -> Observers | None:
    """Those of `objects` that look on at messages, with or without pixel data; None where none does."""
    found = tuple(objects)
    receivers = [one for one in found if INotifyReceiveMessage.providedBy(one)]
    senders = [one for one in found if INotifySendMessage.providedBy(one)]
    if not (receivers or senders):
        return None
    return Observers(receivers, senders, ObservedDataSets(pixel_data=pixel_data))


def _strip(dataset: Dataset) -> None:
    """Takes the pixel data out of the items of sequences (icons) too."""
    for tag in [tag for tag in dataset.keys() if tag.group == _PIXELS]:  # noqa: SIM118 (iterating reads every element)
        del dataset[tag]
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _strip(item)
