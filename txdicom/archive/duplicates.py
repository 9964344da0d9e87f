"""Instances that come again: whether they are the same, where different ones go, and the list of those."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from txdicom.archive.files import write_all
from txdicom.archive.layout import beside
from txdicom.part10 import read_meta_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from txdicom.archive.arrival import Arrival
    from txdicom.archive.files import FileOperations

#: the list of instances that were filed beside another, a JSON object a line, in the store's folder
LIST_NAME: Final = "duplicates.jsonl"
#: the most instances kept with one SOP Instance UID
MAX_KEPT: Final = 1000

_BLOCK: Final = 256 << 10


class Match(NamedTuple):
    """An existing file with the same data set: `fd` is open for reading."""

    path: str
    fd: int


def open_same(files: FileOperations, path: str, arrival: Arrival) -> Match | None:
    """The file at `path` if its data set and transfer syntax are those of `arrival`; its File Meta may differ."""
    try:
        fd = files.open(path)
    except OSError:
        # a symbolic link, or not ours to read: certainly not something that we stored
        return None
    same = False
    try:
        same = _is_same(files, fd, arrival)
    finally:
        if not same:
            files.close(fd)
    return Match(path, fd) if same else None


def _is_same(files: FileOperations, fd: int, arrival: Arrival) -> bool:
    total = files.size(fd)
    try:
        meta = read_meta_from(fd) if total >= 0 else None
    except ValueError:
        return False
    if meta is None or meta.transfer_syntax != arrival.transfer_syntax or total - meta.data_offset != arrival.size:
        return False
    offset = meta.data_offset
    staged = arrival.staged
    if staged is not None:
        # it is closed when it is flushed
        other = staged.fd if staged.fd >= 0 else files.open(staged.path)
        try:
            return all(
                files.read(fd, _BLOCK, offset + done) == files.read(other, _BLOCK, staged.data_offset + done)
                for done in range(0, arrival.size, _BLOCK)
            )
        finally:
            if other != staged.fd:
                files.close(other)
    for buffer in arrival.buffers:
        for start in range(0, len(buffer), _BLOCK):
            # comparing memoryviews goes byte by byte; bytes are compared at once
            block = bytes(buffer[start : start + _BLOCK])
            if files.read(fd, len(block), offset) != block:
                return False
            offset += len(block)
    return True


def find_same_or_free(files: FileOperations, path: str, arrival: Arrival) -> Match | str | None:
    """Among the files beside `path`: one with the same data set, else the first free path; None where it is full."""
    for number in range(2, MAX_KEPT + 1):
        candidate = beside(path, number)
        if not files.exists(candidate):
            return candidate
        match = open_same(files, candidate, arrival)
        if match is not None:
            return match
    return None


class DuplicateList:
    """The list of the instances that are filed beside another."""

    def __init__(self, files: FileOperations, store: str) -> None:
        self.path = f"{store}/{LIST_NAME}"
        self._files = files

    @contextmanager
    def held(self) -> Iterator[int]:
        """The list, open for appending. No other process files an instance beside another meanwhile."""
        fd = self._files.open_list(self.path)
        try:
            self._files.lock(fd)
            yield fd
        finally:
            self._files.close(fd)

    def append(self, fd: int, entries: list[bytes], *, flush: bool) -> None:
        """More lines; where a crash has torn the last one, they begin behind it."""
        if not entries:
            return
        size = self._files.size(fd)
        torn = size > 0 and self._files.read(fd, 1, size - 1) != b"\n"
        write_all(self._files, fd, [b"\n" * torn, *entries])
        if flush:
            self._files.fsync(fd)


def list_entry(store: str, path: str, first: str, arrival: Arrival) -> bytes:
    """A line of the list: `path` will hold an instance beside the `first` one."""
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "path": path.removeprefix(f"{store}/"),
        "first": first.removeprefix(f"{store}/"),
        "sop_instance": arrival.sop_instance,
        "calling_ae": arrival.calling_ae,
    }
    return json.dumps(entry).encode() + b"\n"
