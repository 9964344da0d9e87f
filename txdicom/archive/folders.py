"""The folders of a store: made where they are missing, and flushed where their names may not be on the disk yet."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from txdicom.archive.files import FileOperations

#: how many names are remembered as being on the disk for certain
_REMEMBERED: Final = 10_000


class Folders:
    """The folders below `top`."""

    def __init__(self, files: FileOperations, top: str) -> None:
        self._files = files
        self._top = top
        self._durable: set[str] = set()

    def make_top(self, *, flush: bool) -> None:
        """Make the store's own folder, and those that it lies in."""
        missing = []
        folder = self._top
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for made in reversed(missing):
            self._files.make_folder(made)
            if flush:
                self._files.fsync_folder(os.path.dirname(made))

    def make(self, folder: str) -> None:
        """Make the folder of a series, and that of its study; another process may do so at the same moment."""
        parent = os.path.dirname(folder)
        for needed in (parent, folder) if parent != self._top else (folder,):
            if self._files.make_folder(needed):
                self._durable.discard(needed)

    def to_flush(self, folder: str, listed: str = "") -> list[str]:
        """What to flush for a new name in `folder`: that, and upwards as far as names may not be on the disk yet.

        `listed` is a file of the store's folder that has got a line.
        """
        folders = [folder]
        while folder != self._top and folder not in self._durable:
            folder = os.path.dirname(folder)
            folders.append(folder)
        if listed and listed not in self._durable and self._top not in folders:
            folders.append(self._top)
        return folders

    def remember(self, flushed: list[str], listed: str = "") -> None:
        """What `to_flush` gave is flushed: the names of all but the last of them, and of `listed`, are on the disk."""
        if len(flushed) > 1 or listed:
            if len(self._durable) > _REMEMBERED:
                self._durable.clear()
            self._durable.update(flushed[:-1])
            if listed:
                self._durable.add(listed)
