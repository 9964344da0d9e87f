"""The staging folder: where an instance is written before it gets its name, on the file system of the store."""

from __future__ import annotations

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
        lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise SettingsError([f"the store {store} is in use: another process has {self.folder}"]) from None
        except OSError:
            # a file system without locks: go on without
            os.close(lock)
            lock = -1
        self._lock = lock
        leftovers = [name for name in os.listdir(self.folder) if _OURS.fullmatch(name)]
        for name in leftovers:
            os.unlink(f"{self.folder}/{name}")
        return len(leftovers)

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def create(self) -> tuple[str, int]:
        """A new file, open for writing and reading: its path and descriptor."""
        path = f"{self._prefix}{next(self._numbers)}.part"
        return path, self._files.create(path)
