"""Where the data set of a C-STORE goes while it comes in: small ones into memory, large ones into the staging folder.

Slices are kept as they come and never joined. A large data set is written by the writer thread in blocks; when the disk
falls behind, the association is not read any further.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

from zope.interface import implementer

from txdicom.interfaces import IReceivedInstance, IStaging
from txdicom.part10 import file_meta

if TYPE_CHECKING:
    from txdicom.dimse.status import Status
    from txdicom.services.storage import ObservedStoreRequest
    from txdicom.services.writer import WriterThread

#: a data set up to this size is kept in memory
IN_MEMORY: Final = 1_048_576
#: all of them together; beyond it data sets go to files however small they are
ALL_IN_MEMORY: Final = 268_435_456
#: what a file is written in
BLOCK: Final = 1_048_576
#: bytes on their way to the disk at which an association has to wait, and at which it goes on
BEHIND: Final = 8 * BLOCK
CAUGHT_UP: Final = 4 * BLOCK
#: what a slice costs beside its bytes, so that a data set in single bytes is not cheap
_SLICE: Final = 200
#: what may come between two looks at the limits
_CHECK: Final = 65_536
_IOV_MAX: Final = 1024


class Flow(Protocol):
    """The connection that a data set comes from."""

    def pause_reading(self, why: str) -> None:
        """Read no further for now."""

    def resume_reading(self, why: str) -> None:
        """Read on."""


@implementer(IStaging)
class Spool:
    """What the received instances of one server share: the folder, the thread, the memory."""

    def __init__(self, writer: WriterThread, folder: Callable[[], str]) -> None:
        self.writer = writer
        self.in_memory = 0
        #: called with each C-STORE and its final status; None where the association was gone before
        self.observers: tuple[Callable[[ObservedStoreRequest, Status | None], None], ...] = ()
        self._folder = folder
        self._path = ""
        self._numbers = count(1)
        self._prefix = secrets.token_hex(4)

    def use(self, folder: str) -> None:
        """See `IStaging`."""
        self._path = folder

    def new_path(self) -> str:
        """A name for a staged file, of the form that the sweep of the staging folder knows."""
        if not self._path:
            self._path = self._folder()
        return os.path.join(self._path, f"{self._prefix}-{next(self._numbers)}.part")


class _Append:
    """Blocks on their way to a staged file."""

    __slots__ = ("buffers", "received", "size")

    def __init__(self, received: Received, buffers: list[Any], size: int) -> None:
        self.received = received
        self.buffers = buffers
        self.size = size


@implementer(IReceivedInstance)
class Received:
    """One received data set; see `IReceivedInstance`.

    `flow` is where reading from the peer is paused while the disk is behind.
    """

    def __init__(
        self,
        spool: Spool,
        sop_class: str,
        sop_instance: str,
        transfer_syntax: str,
        calling_ae: str,
        flow: Flow,
    ) -> None:
        self.sop_class = sop_class
        self.sop_instance = sop_instance
        self.transfer_syntax = transfer_syntax
        self.calling_ae = calling_ae
        self.size = 0
        self._slices: list[Any] = []  # in memory, the whole data set; else what the next block will have
        self.buffers: list[Any] | None = self._slices
        self.path: str | None = None
        self.data_offset = 0
        self.error: OSError | None = None
        self._spool = spool
        self._flow = flow
        self._cost = 0  # of `_slices`
        self._accounted = 0  # what the spool knows of that
        self._checked = 0  # the cost up to which nothing is looked at
        self._outstanding = 0
        self._waiting = False
        self._fd = -1
        self._released = False
        self._complete: Callable[[], None] | None = None

    # -- while it comes in ---------------------------------------------------------------------------------------------

    def write(self, data: memoryview) -> None:
        """A slice of the data set."""
        self._slices.append(data)
        self._cost = cost = self._cost + len(data) + _SLICE
        if cost > self._checked:
            self._check()

    def _check(self) -> None:
        """From time to time, for each slice is too often: is it too much for memory, or enough for a block?"""
        self._account()
        if self.error is not None:
            self._forget()
        elif self.buffers is None:
            if self._cost >= BLOCK:
                self._flush()
        elif self._cost > IN_MEMORY or self._spool.in_memory > ALL_IN_MEMORY:
            self._to_file()
        self._checked = self._cost + _CHECK

    def _account(self) -> None:
        self._spool.in_memory += self._cost - self._accounted
        self._accounted = self._cost

    def finish(self, complete: Callable[[], None]) -> None:
        """The data set is complete; `complete` is called when all of it is where it is to be."""
        if self.buffers is not None:
            self.size = self._cost - _SLICE * len(self.buffers)
            complete()
            return
        self._complete = complete
        self._flush()
        if not self._outstanding:
            self._done()

    def _to_file(self) -> None:
        assert self.buffers is not None
        try:
            self.path = self._spool.new_path()
        except OSError as error:
            self.error = error
            self._forget()
            return
        meta = file_meta(self.sop_class, self.sop_instance, self.transfer_syntax, source_ae=self.calling_ae)
        self.data_offset = len(meta)
        self.buffers = None
        self._flush(meta)

    def _flush(self, meta: bytes = b"") -> None:
        """Hands what has come to the writer thread."""
        slices, self._slices = self._slices, []
        if not slices:
            return
        self._account()
        append = _Append(self, [meta, *slices] if meta else slices, self._cost)
        self.size += self._cost - _SLICE * len(slices)
        self._outstanding += self._cost
        self._cost = self._accounted = self._checked = 0
        if self._outstanding > BEHIND and not self._waiting:
            self._waiting = True
            self._flow.pause_reading("spool")
        self._spool.writer.submit(_append, append, _appended)

    def appended(self, size: int) -> None:
        """A block is in the file, or cannot be (called in the reactor)."""
        self._outstanding -= size
        self._spool.in_memory -= size
        if self._waiting and self._outstanding <= CAUGHT_UP:
            self._waiting = False
            self._flow.resume_reading("spool")
        if self._released:
            if not self._outstanding:
                self._remove()
        elif not self._outstanding and not self._slices and self._complete is not None:
            self._done()

    def _done(self) -> None:
        complete, self._complete = self._complete, None
        assert complete is not None
        complete()

    def _forget(self) -> None:
        self._spool.in_memory -= self._accounted
        self._cost = self._accounted = 0
        self._slices = []
        if self.buffers is not None:
            self.buffers = self._slices

    # -- in the writer thread ------------------------------------------------------------------------------------------

    def append(self, buffers: list[Any]) -> None:
        """Writes a block at the end of the file."""
        if self.error is not None:
            return
        try:
            if self._fd < 0:
                assert self.path is not None
                self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            write_all(self._fd, buffers)
        except OSError as error:
            self.error = error

    # -- for the handler -----------------------------------------------------------------------------------------------

    def chunks(self) -> Iterator[Any]:
        """See `IReceivedInstance`."""
        self._check_there()
        if self.buffers is not None:
            yield from self.buffers
            return
        assert self.path is not None
        with open(self.path, "rb") as file:
            file.seek(self.data_offset)
            while block := file.read(BLOCK):
                yield block

    def save(self, path: str) -> None:
        """See `IReceivedInstance`."""
        self._check_there()
        with open(path, "wb") as file:
            file.write(file_meta(self.sop_class, self.sop_instance, self.transfer_syntax, source_ae=self.calling_ae))
            file.writelines(self.chunks())

    def _check_there(self) -> None:
        if self._released:
            raise ValueError("the instance is gone: it is kept until its C-STORE has been answered")
        if self.buffers is None and self.path is None:
            raise ValueError("the staged file was taken over (detach)")

    def detach(self) -> tuple[int, str]:
        """See `IReceivedInstance`."""
        if self._fd < 0 or self.path is None:
            raise ValueError("the instance is in memory")
        fd, self._fd = self._fd, -1
        path, self.path = self.path, None
        return fd, path

    def release(self) -> None:
        """Lets go of memory and file, unless the file was detached."""
        if self._released:
            return
        self._released = True
        self._forget()
        if not self._outstanding:
            self._remove()

    def _remove(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0 and self.path is not None:
            self._spool.writer.submit(_remove, (fd, self.path), _nothing)
            self.path = None


def write_all(fd: int, buffers: list[Any]) -> None:
    """Writes all of `buffers`, however many and however little the system takes at once."""
    position, total = 0, len(buffers)
    while position < total:
        group = buffers[position : position + _IOV_MAX]
        position += len(group)
        wanted = sum(map(len, group))
        written = os.writev(fd, group)
        if written < wanted:
            rest = memoryview(b"".join(group))[written:]
            while rest:
                rest = rest[os.write(fd, rest) :]


def _append(appends: list[_Append]) -> None:
    for append in appends:
        append.received.append(append.buffers)


def _appended(append: _Append) -> None:
    append.received.appended(append.size)


def _remove(files: list[tuple[int, str]]) -> None:
    for fd, path in files:
        os.close(fd)
        try:
            os.unlink(path)
        except OSError:  # the sweep at the next start finds it
            continue


def _nothing(_: object) -> None:
    pass
