"""What `InstanceRef.open` gives, as a source of the data set: nothing is held whole that is not in memory already."""

from __future__ import annotations

import os
from io import BufferedRandom, BufferedReader, FileIO
from typing import TYPE_CHECKING, Any, BinaryIO

from twisted.logger import Logger

from txdicom.errors import RAISED
from txdicom.net.sending import FileSource, MemorySource, PaddedFileSource
from txdicom.uids import DEFLATED

if TYPE_CHECKING:
    from txdicom.net.sending import DataSource

_log = Logger()


class StreamSource:
    """A binary file object that is no plain file (in memory, decompressing …), from where it stands to its end.

    Its size has to be known before anything is sent, so it has to be able to seek; OSError where it is not. `pad` adds
    a zero byte.
    """

    def __init__(self, stream: BinaryIO, *, pad: bool = False) -> None:
        start = stream.tell()
        self._left = stream.seek(0, os.SEEK_END) - start
        stream.seek(start)
        self._stream = stream
        self.size = self._left + (pad and self._left % 2)

    def read_into(self, holes: list[memoryview]) -> int:
        """See `DataSource`."""
        if not self._left:
            holes[0][0] = 0
            return 1
        count = 0
        for hole in holes:
            data = self._stream.read(len(hole))
            hole[: len(data)] = data
            count += len(data)
            if len(data) < len(hole):
                break
        self._left -= count
        return count

    def close(self) -> None:
        """Closes the stream."""
        close(self._stream)


class ForeignSource:
    """A `DataSource` of an add-in's own, whose `close` may fail without harm to the messages behind it."""

    def __init__(self, source: DataSource) -> None:
        self.size = source.size
        self.read_into = source.read_into
        self._source = source

    def close(self) -> None:
        """See `DataSource`."""
        close(self._source)


def close(opened: Any) -> None:
    """Closes what `open` gave and nobody takes: it may be anything."""
    try:
        if hasattr(opened, "close"):
            opened.close()
    except RAISED:
        _log.failure("an instance that was opened cannot be closed")


def source_of(opened: Any, transfer_syntax: str) -> DataSource:
    """`opened` as a data source. TypeError for what can be none, OSError as the file raises it: then it is closed.

    A deflated data set of odd length gets the zero byte that its encoder left out (PS3.5 A.5).
    """
    try:
        return _source_of(opened, transfer_syntax)
    except BaseException:
        close(opened)
        raise


def _source_of(opened: Any, transfer_syntax: str) -> DataSource:
    pad = transfer_syntax in DEFLATED
    if hasattr(opened, "read_into"):
        return opened if isinstance(opened, FileSource | MemorySource) else ForeignSource(opened)
    if hasattr(opened, "read"):
        # others have a `fileno` too, and give other bytes than it does: those that decompress
        raw = opened.raw if isinstance(opened, BufferedReader | BufferedRandom) else opened
        return _file_source(opened, pad=pad) if isinstance(raw, FileIO) else StreamSource(opened, pad=pad)
    try:
        data = memoryview(opened).cast("B")
    except TypeError:
        what = type(opened).__name__
        raise TypeError(f"an InstanceRef opens a binary file, bytes or a DataSource, not {what}") from None
    if pad and len(data) % 2:
        data = memoryview(bytes(data) + b"\0")
    return MemorySource(data)


def _file_source(file: BinaryIO, *, pad: bool) -> FileSource:
    """The rest of a plain file, read by the kernel into the PDUs."""
    fd = os.dup(file.fileno())
    try:
        offset = file.tell()
        size = os.fstat(fd).st_size - offset
    except BaseException:
        os.close(fd)
        raise
    file.close()
    return (PaddedFileSource if pad and size % 2 else FileSource)(fd, offset, size)
