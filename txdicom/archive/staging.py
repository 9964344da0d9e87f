"""The staging folder: where an instance is written before it gets its name, on the file system of the store.

Every process that stores has one of its own. Those of workers are the folders 1, 2 … in that of their server, which its
parent process holds; so a server sweeps what its workers, or those it once had, left there.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import secrets
from typing import TYPE_CHECKING, Final

from txdicom.errors import SettingsError

if TYPE_CHECKING:
    from txdicom.archive.files import FileOperations

_OURS: Final = re.compile(r"[0-9a-f]{8}-[0-9]+\.part", re.ASCII)
_OF_WORKER: Final = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Staging:
    """A folder of unfinished files, held by one process at a time."""

    def __init__(self, folder: str, files: FileOperations) -> None:
        self.folder = folder
        self._files = files
        self._prefix = f"{folder}/{secrets.token_hex(4)}-"
        self._numbers = itertools.count()
        self._lock = -1

    def open(self, store: str) -> int:
        """Take the folder, which must be on the file system of `store`; returns how many leftovers were removed.

        Raises SettingsError where it is on another file system or another process has it, and OSError.
        """
        os.makedirs(self.folder, 0o700, exist_ok=True)
        if os.stat(self.folder).st_dev != os.stat(store).st_dev:
            raise SettingsError([f"{self.folder} is not on the file system of the store {store}"])
        try:
            self._lock = _locked(self.folder)
        except BlockingIOError:
            raise SettingsError([f"the store {store} is in use: another process has {self.folder}"]) from None
        swept = _sweep(self.folder)
        for name in os.listdir(self.folder):
            if _OF_WORKER.fullmatch(name):
                swept += _sweep_worker(f"{self.folder}/{name}")
        return swept

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def new_path(self) -> str:
        """A name that no file of the folder has."""
        return f"{self._prefix}{next(self._numbers)}.part"

    def create(self) -> tuple[str, int]:
        """A new file, open for writing and reading: its path and descriptor."""
        path = self.new_path()
        return path, self._files.create(path)


def in_use(folder: str) -> bool:
    """Whether a process has this staging folder; one that is not there, or cannot be looked at, none has."""
    try:
        lock = _locked(folder)
    except BlockingIOError:
        return True
    except OSError:
        return False
    if lock >= 0:
        os.close(lock)
    return False


def _locked(folder: str, flags: int = 0) -> int:
    """A descriptor that keeps other processes from having the folder; -1 on a file system without locks.

    BlockingIOError where one has it.
    """
    lock = os.open(folder, _FOLDER | flags)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise
    except OSError:
        os.close(lock)
        return -1
    return lock


def _sweep(folder: str) -> int:
    leftovers = [name for name in os.listdir(folder) if _OURS.fullmatch(name)]
    for name in leftovers:
        os.unlink(f"{folder}/{name}")
    return len(leftovers)


def _sweep_worker(folder: str) -> int:
    """Empty and remove a worker's folder; one whose worker still runs, its parent gone, is left to that."""
    try:
        lock = _locked(folder, os.O_NOFOLLOW)
    except OSError:
        return 0
    try:
        swept = _sweep(folder)
        with contextlib.suppress(OSError):  # something else is in it
            os.rmdir(folder)
    finally:
        if lock >= 0:
            os.close(lock)
    return swept
