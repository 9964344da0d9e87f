"""The system calls by which the store touches the disk, in one place: a test can watch them or make them fail."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: the most buffers that one writev takes
IOV_MAX: Final = min(1024, os.sysconf("SC_IOV_MAX"))
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_APPEND: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
_SYNC_FILE_RANGE_WRITE: Final = 2
_RENAME_NOREPLACE: Final = 1
_AT_FDCWD: Final = -100
#: the system, or this file system, cannot rename so
_CANNOT: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


class FileOperations:
    """What the store does to files, by the operating system. All raise OSError."""

    write = staticmethod(os.writev)
    read = staticmethod(os.pread)
    fsync = staticmethod(os.fsync)
    close = staticmethod(os.close)
    rename = staticmethod(os.rename)
    unlink = staticmethod(os.unlink)
    _renames = True

    def place(self, source: str, target: str) -> None:
        """Rename where nothing has that name yet, whoever else tries at the same moment; else FileExistsError."""
        if self._renames:
            number = rename_if_free(source, target)
            if not number:
                return
            if number not in _CANNOT:
                raise OSError(number, os.strerror(number), target)
            self._renames = False
        os.link(source, target, follow_symlinks=False)
        with contextlib.suppress(OSError):  # it has its name; the other one is swept
            os.unlink(source)

    def lock(self, fd: int) -> None:
        """Wait until no other process has locked the file; closing it ends that. Without, on file systems without."""
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)

    def create(self, path: str) -> int:
        """A new file for its owner alone; an error where there is one of that name."""
        return os.open(path, _CREATE, 0o600)

    def open(self, path: str) -> int:
        """Open an existing file for reading; not through a symbolic link, and without waiting for a FIFO's writer."""
        return os.open(path, _READ)

    def open_list(self, path: str) -> int:
        """Open a file for reading and appending; made where it is missing."""
        return os.open(path, _APPEND, 0o600)

    def exists(self, path: str) -> bool:
        """Whether anything has that name, a broken symbolic link too."""
        try:
            os.lstat(path)
        except FileNotFoundError:
            return False
        return True

    def size(self, fd: int) -> int:
        """The size of an open file in bytes; -1 where it is not a regular file."""
        status = os.fstat(fd)
        return status.st_size if stat.S_ISREG(status.st_mode) else -1

    def make_folder(self, path: str) -> bool:
        """A folder for its owner alone; one that is there stays as it is. Returns whether it is new."""
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
            return False
        return True

    def fsync_folder(self, path: str) -> None:
        """Wait until the disk has the names in a folder."""
        fd = os.open(path, _FOLDER)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def start_writing(self, fd: int) -> None:
        """Let the disk begin with what was written, so that the later fsync has less to wait for. Never fails."""
        begin = _sync_file_range()
        if begin is not None:
            begin(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)


def write_all(files: FileOperations, fd: int, buffers: Sequence[bytes | memoryview]) -> None:
    """Write the whole of `buffers`, whatever a single call takes."""
    written = files.write(fd, buffers if len(buffers) <= IOV_MAX else buffers[:IOV_MAX])
    if written == sum(map(len, buffers)):
        return
    left = list(buffers)
    while left:
        done = 0
        while done < len(left) and written >= len(left[done]):
            written -= len(left[done])
            done += 1
        del left[:done]
        if left:
            left[0] = memoryview(left[0])[written:]
            written = files.write(fd, left[:IOV_MAX])


def rename_if_free(source: str, target: str) -> int:
    """Rename a file unless anything bears the new name; returns the error number, 0 where it is done."""
    rename = _renameat2()
    if rename is None:
        return errno.ENOSYS
    if rename(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
        return 0
    return ctypes.get_errno()


@cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """Linux only; Python's os has it not."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return function


@cache
def _sync_file_range() -> Callable[[int, int, int, int], Any] | None:
    """Linux only; Python's os has it not."""
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return function
