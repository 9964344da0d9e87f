"""The files that a C-STORE sends: found, looked at, opened.

Of each file the File Meta Information is read, and of the data set, which goes out byte for byte, the SOP class and
instance, and whether it is all there. pydicom is asked only where a file does not say its transfer syntax.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from twisted.internet.threads import deferToThreadPool

from txdicom import uids
from txdicom.archive.ending import cut_short
from txdicom.archive.identity import identify_file
from txdicom.archive.walker import BadDataSet, NeedMore, scan
from txdicom.part10 import PREAMBLE_LENGTH, PREFIX, FileMeta, NeedMoreBytes, read_meta, read_meta_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: one file or folder
Path: TypeAlias = "str | os.PathLike[str]"
#: files and folders; a folder stands for all DICOM files below it
Paths: TypeAlias = "Path | Iterable[Path]"

_DIRECTORY_STORAGE: Final = "1.2.840.10008.1.3.10"
#: how a data set without File Meta Information begins: with an element of group 0008, in either byte order
_DATA_SET: Final = (b"\x08\x00", b"\x00\x08")
_META: Final = b"\x02\x00"
#: bytes read of each file; enough for nearly all
_HEAD: Final = 4096
_ORDER: Final = (0x00080016, 0x00080018)
_IDENTITY: Final = frozenset(_ORDER)
#: not blocking matters for a FIFO among the files
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, slots=True)
class Instance:
    """A SOP Instance in a file; `size` is that of the data set in bytes, which begins at `data_offset`."""

    path: str
    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data_offset: int
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Unsendable:
    """A file that cannot be sent, and why, in words."""

    path: str
    reason: str


@dataclass(slots=True)
class Selection:
    """What was found: in order, what can be sent and what cannot; and how many files of folders were passed over."""

    files: list[Instance | Unsendable] = field(default_factory=list)
    skipped: int = 0

    @property
    def instances(self) -> list[Instance]:
        """Those that can be sent."""
        return [one for one in self.files if isinstance(one, Instance)]


class _Skip(Exception):
    """Not a DICOM file, or a DICOMDIR."""


def select(paths: Paths, cancelled: Callable[[], bool] = lambda: False) -> Selection:
    """Looks at the files `paths` and at all files below the folders among them, in sorted order.

    In folders, DICOMDIRs and files that are not DICOM are passed over and counted; named as files they are
    `Unsendable`, as is every broken one. It reads from the disk and therefore blocks; `cancelled` is asked before each
    file.
    """
    selection = Selection()
    for path in _each(paths):
        if os.path.isdir(path):
            for name in _below(path, selection):
                if cancelled():
                    return selection
                _look_at(name, selection, in_folder=True)
        elif cancelled():
            return selection
        else:
            _look_at(path, selection, in_folder=False)
    return selection


async def selected(reactor: Any, paths: Paths | Selection) -> Selection:
    """`select` in a thread of the reactor's pool; a selection that was made before stays as it is."""
    if isinstance(paths, Selection):
        return paths
    cancelled = False
    paths = list(_each(paths))
    try:
        return await deferToThreadPool(reactor, reactor.getThreadPool(), select, paths, lambda: cancelled)
    except BaseException:
        cancelled = True
        raise


def open_instance(instance: Instance) -> tuple[int, Instance]:
    """Opens the file for sending: its descriptor, and `instance`, read again where the file was changed meanwhile.

    Raises OSError, and ValueError with a sentence.
    """
    fd = os.open(instance.path, _FLAGS)
    try:
        status = os.fstat(fd)
        if status.st_mtime_ns != instance.modified_ns or status.st_size != instance.data_offset + instance.size:
            try:
                instance = _read(fd, instance.path)
            except _Skip as why:
                raise ValueError(str(why)) from None
    except BaseException:
        os.close(fd)
        raise
    return fd, instance


def why(error: OSError | ValueError) -> str:
    """The reason in words, without the path."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _each(paths: Paths) -> Iterator[str]:
    if isinstance(paths, str | os.PathLike):
        paths = (paths,)
    for path in paths:
        yield os.fspath(path)


def _below(folder: str, selection: Selection) -> Iterator[str]:
    def unreadable(error: OSError) -> None:
        selection.files.append(Unsendable(str(error.filename or folder), f"the folder cannot be read: {why(error)}"))

    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in sorted(names):
            yield os.path.join(parent, name)


def _look_at(path: str, selection: Selection, *, in_folder: bool) -> None:
    try:
        fd = os.open(path, _FLAGS)
        try:
            selection.files.append(_read(fd, path))
        finally:
            os.close(fd)
    except _Skip as reason:
        if in_folder:
            selection.skipped += 1
        else:
            selection.files.append(Unsendable(path, str(reason)))
    except (OSError, ValueError) as error:
        selection.files.append(Unsendable(path, why(error)))


def _read(fd: int, path: str) -> Instance:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise _Skip("not a regular file")
    head = os.pread(fd, _HEAD, 0)
    meta = _meta(fd, head)
    offset, size = meta.data_offset, status.st_size - meta.data_offset
    if meta.sop_class == _DIRECTORY_STORAGE:
        raise _Skip("a DICOMDIR, which cannot be sent by C-STORE")
    if size <= 0:
        raise ValueError("the file has no data set")
    meta = _with_identity(meta, fd, head, size) if meta.transfer_syntax else _from_pydicom(meta, path)
    for uid, what in (
        (meta.transfer_syntax, "Transfer Syntax UID"),
        (meta.sop_class, "SOP Class UID"),
        (meta.sop_instance, "SOP Instance UID"),
    ):
        if not uids.is_uid(uid):
            raise ValueError(f"the {what} {uid[:64]!r} is no UID" if uid else f"there is no {what}")
    if reason := cut_short(fd, offset, size, meta.transfer_syntax, head[offset:]):
        raise ValueError(reason)
    return Instance(path, meta.sop_class, meta.sop_instance, meta.transfer_syntax, offset, size, status.st_mtime_ns)


def _meta(fd: int, head: bytes) -> FileMeta:
    """The File Meta Information; where a data set stands alone, an empty one."""
    try:
        meta = read_meta(head, complete=len(head) < _HEAD)
    except NeedMoreBytes:
        meta = read_meta_from(fd)
    if meta is not None:
        return meta
    if head.startswith(_DATA_SET):
        return FileMeta("", "", "", 0)
    if not head.startswith(_META):
        raise _Skip("not a DICOM file")
    # File Meta Information without the preamble before it
    missing = bytes(PREAMBLE_LENGTH) + PREFIX
    meta = read_meta(missing + head, complete=True)
    assert meta is not None
    return replace(meta, data_offset=meta.data_offset - len(missing))


def _with_identity(meta: FileMeta, fd: int, head: bytes, size: int) -> FileMeta:
    """`meta` with the SOP class and instance of the data set, which are what is sent; those of files can be wrong."""
    offset = meta.data_offset
    try:
        try:
            start = memoryview(head)[offset:]
            found = scan(start, meta.transfer_syntax, _IDENTITY, complete=len(start) == size)
            sop_class, sop_instance = (found.get(tag, b"").strip(b"\0 ").decode("latin-1") for tag in _ORDER)
        except NeedMore:
            sop_class, sop_instance, *_ = identify_file(fd, offset, size, meta.transfer_syntax)
    except BadDataSet:
        return meta  # the receiver may be able to read it
    return replace(meta, sop_class=sop_class or meta.sop_class, sop_instance=sop_instance or meta.sop_instance)


def _from_pydicom(meta: FileMeta, path: str) -> FileMeta:
    """What a data set is whose transfer syntax is not said."""
    from pydicom import dcmread

    try:
        dataset = dcmread(path, force=True, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        sop_class = str(dataset.get("SOPClassUID") or meta.sop_class)
        sop_instance = str(dataset.get("SOPInstanceUID") or meta.sop_instance)
    except Exception as error:
        raise ValueError(f"the data set cannot be read: {error}") from error
    implicit, little_endian = dataset.original_encoding
    if implicit:
        transfer_syntax = uids.IMPLICIT_VR_LITTLE_ENDIAN
    else:
        transfer_syntax = uids.EXPLICIT_VR_LITTLE_ENDIAN if little_endian else uids.EXPLICIT_VR_BIG_ENDIAN
    return replace(meta, sop_class=sop_class, sop_instance=sop_instance, transfer_syntax=transfer_syntax)
