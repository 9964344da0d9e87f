"""Data sets laid out by hand, and file operations that are watched or fail."""

from __future__ import annotations

import os
import struct

from txdicom.archive.arrival import Arrival
from txdicom.archive.files import FileOperations
from txdicom.uids import EXPLICIT_VR_LITTLE_ENDIAN

CT = "1.2.840.10008.5.1.4.1.1.2"


def explicit(tag: int, vr: bytes, value: bytes, length: int | None = None, order: str = "<") -> bytes:
    """An element in Explicit VR, with its true length unless another is given."""
    length = len(value) if length is None else length
    group, number = tag >> 16, tag & 0xFFFF
    if vr in {b"OB", b"OW", b"SQ", b"UN", b"UT", b"OV", b"ZZ"}:
        return struct.pack(order + "HH2sHI", group, number, vr, 0, length) + value
    return struct.pack(order + "HH2sH", group, number, vr, length) + value


def implicit(tag: int, value: bytes, length: int | None = None, order: str = "<") -> bytes:
    """An element in Implicit VR; an item or a delimiter too."""
    return struct.pack(order + "HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def uid(value: str) -> bytes:
    """A value of UI."""
    return value.encode() + b"\0" * (len(value) % 2)


def data_set(sop_instance: str, *, study: str = "1.2", series: str = "1.3", pixels: bytes = bytes(64)) -> bytes:
    """A small CT instance in Explicit VR Little Endian; "" leaves a UID out."""
    parts = [explicit(0x00080016, b"UI", uid(CT))]
    parts.append(explicit(0x00080018, b"UI", uid(sop_instance)))
    parts += [explicit(0x0020000D, b"UI", uid(study))] if study else []
    parts += [explicit(0x0020000E, b"UI", uid(series))] if series else []
    parts.append(explicit(0x7FE00010, b"OW", pixels))
    return b"".join(parts)


def arrival(sop_instance: str, data: bytes | None = None, *, calling_ae: str = "SCU", **layout) -> Arrival:
    """An arrival in memory, in two buffers."""
    data = data_set(sop_instance, **layout) if data is None else data
    buffers = [data[:50], memoryview(data)[50:]]
    return Arrival(CT, sop_instance, EXPLICIT_VR_LITTLE_ENDIAN, calling_ae, len(data), buffers=buffers)


class Recorded(FileOperations):
    """Writes down what is done, in order, with paths instead of descriptors; and fails where it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        #: operation -> error number, or (error number, part of the path)
        self.errors: dict[str, int | tuple[int, str]] = {}
        #: called before each operation
        self.before = lambda name, path: None

    def _record(self, name: str, path: str) -> None:
        self.before(name, path)
        self.calls.append((name, path))
        error = self.errors.get(name)
        if error is None:
            return
        number, part = error if isinstance(error, tuple) else (error, "")
        if part in path:
            raise OSError(number, os.strerror(number), path)

    def _of(self, fd: int) -> str:
        return os.readlink(f"/proc/self/fd/{fd}")

    def write(self, fd, buffers):
        self._record("write", self._of(fd))
        return super().write(fd, buffers)

    def fsync(self, fd):
        self._record("fsync", self._of(fd))
        super().fsync(fd)

    def close(self, fd):
        path = self._of(fd)
        super().close(fd)
        self._record("close", path)

    def rename(self, source, target):
        self._record("rename", target)
        super().rename(source, target)

    def place(self, source, target):
        self._record("place", target)
        super().place(source, target)

    def unlink(self, path):
        self._record("unlink", path)
        super().unlink(path)

    def create(self, path):
        self._record("create", path)
        return super().create(path)

    def make_folder(self, path):
        self._record("make_folder", path)
        return super().make_folder(path)

    def fsync_folder(self, path):
        self._record("fsync_folder", path)
        super().fsync_folder(path)

    def start_writing(self, fd):
        self._record("start_writing", self._of(fd))
        super().start_writing(fd)

    def names(self) -> list[str]:
        """The operations without their paths."""
        return [name for name, _path in self.calls]


class ShortWrites(FileOperations):
    """Every write takes at most a few bytes."""

    def write(self, fd, buffers):
        return os.write(fd, b"".join(bytes(buffer) for buffer in buffers[:2])[:7])
