"""Where instances go while the bench runs: one folder of ours, on tmpfs if there is one, deleted at the end.

Stores are kept while others are measured, because a file system may pay for deleted files later (an ext4 without
journal creates files six to eight times slower for minutes after a deletion). Memory is finite, though: beyond a budget
the oldest stores go, between two measurements.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.targets import Target

GIB = 1 << 30
KEEP = 4 * GIB
RESERVE = GIB // 2
"""Free space that is left to others."""


class NoRoomError(Exception):
    """The measurement would fill the file system, or the memory behind a tmpfs."""


class Workplace:
    """The folder of one call of the bench, as a context manager; `disk` is where targets that flush have theirs."""

    def __init__(self, folder: str, disk: str | None = None) -> None:
        self._parents = {False: folder, True: disk or folder}
        self._roots: dict[str, str] = {}
        self._kept: list[tuple[str, int]] = []
        self._count = 0

    def __enter__(self) -> Workplace:
        for parent in set(self._parents.values()):
            self._roots[parent] = tempfile.mkdtemp(prefix="txdicom-bench-", dir=parent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for root in self._roots.values():
            shutil.rmtree(root, ignore_errors=True)

    def new(self, target: Target | None = None) -> str:
        """A new empty folder, for a run of `target` or for files to send."""
        parent = self._parents[target is not None and target.flushes]
        self._count += 1
        name = f"{self._count:04d}-{target.name if target else 'files'}"
        path = os.path.join(self._roots[parent], name)
        os.mkdir(path)
        return path

    def keep(self, path: str, size: int) -> None:
        """Takes note that `path` holds `size` bytes that are no longer needed."""
        self._kept.append((path, size))

    def make_room(self, size: int) -> None:
        """Deletes the oldest kept stores until `size` bytes more are within the budget. Raises NoRoomError."""
        while self._kept and (sum(kept for _, kept in self._kept) + size > KEEP or size + RESERVE > self._free()):
            path, _ = self._kept.pop(0)
            shutil.rmtree(path, ignore_errors=True)
        if size + RESERVE > self._free():
            raise NoRoomError(f"{size / GIB:.1f} GiB (and {RESERVE / GIB} to spare) do not fit into the working folder")

    def file_systems(self) -> dict[str, str]:
        """{working folder: type of its file system}."""
        return {parent: file_system(parent) for parent in self._roots}

    def _free(self) -> int:
        return min(_free(parent) for parent in self._roots)


def default_folder() -> str:
    """/dev/shm where it exists, else the folder for temporary files."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()


def file_system(path: str) -> str:
    """The type of the file system that holds `path`."""
    path = os.path.realpath(path)
    best, kind = "", "unknown"
    with open("/proc/mounts") as mounts:
        for line in mounts:
            _, point, this, *_ = line.split()
            inside = path == point or path.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, kind = point, this
    return kind


def _free(path: str) -> int:
    usage = shutil.disk_usage(path).free
    if file_system(path) != "tmpfs":
        return usage
    with open("/proc/meminfo") as file:
        available = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    return min(usage, available)
