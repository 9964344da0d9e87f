"""What an add-in answers a C-FIND, a C-MOVE or a C-GET with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from txdicom.part10 import read_meta_from
from txdicom.uids import is_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from pydicom import Dataset


@dataclass(frozen=True, slots=True)
class Match:
    """One match of a C-FIND, where more is to be said of it than its data set.

    `unsupported_keys`: optional keys of the identifier were left out of the matching or of the match; the response has
    the status FF01 instead of FF00 (PS3.4 C.4.1.1.4).
    """

    dataset: Dataset
    unsupported_keys: bool = False


@dataclass(frozen=True, slots=True)
class InstanceRef:
    """A SOP Instance to be sent, and how to get at it; ValueError where one of its UIDs is none.

    `open` is called without arguments when it is the instance's turn, and gives the data set as it is encoded in
    `transfer_syntax`, without preamble and File Meta Information. It may give, plainly or by a coroutine or Deferred,
      * a binary file object positioned at the data set: `lambda: open(path, "rb")` for a file without a header; it is
        read to its end as the peer takes it, and closed;
      * the bytes themselves, or whatever is like bytes;
      * an object with `size`, `read_into(holes)` and `close()`: see `txdicom.net.sending.DataSource`.
    For a DICOM file `InstanceRef.of_file(path)` says all of it. An `open` that raises makes its instance a failed one
    and is logged with its traceback; the others are sent.
    """

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    open: Callable[[], Any]

    def __post_init__(self) -> None:
        for uid in (self.sop_class, self.sop_instance, self.transfer_syntax):
            if not is_uid(uid):
                raise ValueError(f"{uid!r} is no UID: an InstanceRef has the SOP class, SOP instance, transfer syntax")

    @classmethod
    def of_file(cls, path: str | os.PathLike[str]) -> InstanceRef:
        """The instance in a DICOM file; reads the head of it, and therefore blocks.

        The SOP class and instance are those of the data set, which is what is sent: those of the File Meta Information
        can be others. Raises OSError, and ValueError where the file has no File Meta Information.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            meta = read_meta_from(fd)
        finally:
            os.close(fd)
        if meta is None:
            raise ValueError("not a DICOM file: it has no File Meta Information (PS3.10 §7.1)")
        sop_class, sop_instance = _identity(path)
        return cls(
            sop_class or meta.sop_class,
            sop_instance or meta.sop_instance,
            meta.transfer_syntax,
            partial(_open_at, path, meta.data_offset),
        )


def _identity(path: str | os.PathLike[str]) -> tuple[str, str]:
    """SOP class and instance as the data set has them, "" where it cannot be read."""
    from pydicom import dcmread

    try:
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        return str(dataset.get("SOPClassUID") or ""), str(dataset.get("SOPInstanceUID") or "")
    except OSError:
        raise
    except Exception:  # noqa: BLE001 (pydicom raises all kinds; whoever receives it may be able to read it)
        return "", ""


def _open_at(path: str | os.PathLike[str], offset: int) -> BinaryIO:
    file = open(path, "rb")  # noqa: SIM115 (whoever sends it closes it)
    file.seek(offset)
    return file


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What a C-MOVE or C-GET is answered with: the instances, as many as the sequence is long.

    They are gone through more than once, from the beginning, so it is a sequence and no generator; it may make its
    items when they are asked for.
    """

    instances: Sequence[InstanceRef]
