"""What a process and its children cost: CPU from the process CPU clock, resident and proportional memory.

Linux only. A server that forks for each association is measured with its children; they are found by /proc, and their
clocks stay readable until the parent has waited for them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass

NANOSECONDS = 1_000_000_000
TICK = NANOSECONDS // os.sysconf("SC_CLK_TCK")
KIB = 1024
ESTABLISHED = "01"
"""A state in /proc/net/tcp."""


def tree(root: int) -> list[int]:
    """`root` and all its descendants; those that go while we look are left out."""
    found = [root]
    for pid in found:  # grows while it is walked
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children") as file:
                    found.extend(int(child) for child in file.read().split())
    return found


def session(leader: int) -> list[int]:
    """All processes of the session that `leader` founded, also those that lost their parent."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            fields = _stat(int(name))
            if fields and int(fields[3]) == leader:
                found.append(int(name))
    return found


@dataclass(frozen=True, slots=True)
class CPU:
    """A reading of the CPU clocks of a process tree, in nanoseconds."""

    clocks: dict[int, int]
    reaped: int
    """Time of children that the root has waited for; the kernel tells it in ticks of 10 ms."""

    @classmethod
    def of(cls, root: int) -> CPU:
        clocks = {}
        for pid in tree(root):
            with contextlib.suppress(OSError):
                clocks[pid] = time.clock_gettime_ns(_cpu_clock(pid))
        fields = _stat(root)
        return cls(clocks, (int(fields[13]) + int(fields[14])) * TICK if fields else 0)

    def since(self, earlier: CPU) -> int:
        """Nanoseconds used since `earlier` by processes that live or lived between the two readings."""
        used = sum(clock - earlier.clocks.get(pid, 0) for pid, clock in self.clocks.items())
        counted = sum(clock for pid, clock in earlier.clocks.items() if pid not in self.clocks)
        reaped = self.reaped - earlier.reaped - counted
        # User and system time are cut to ticks apart, so less than two ticks says nothing.
        return used + (reaped if reaped >= 2 * TICK else 0)


def resident(root: int) -> int:
    """Bytes of resident memory of the tree, pages that processes share counted for each."""
    return sum(_kib(f"/proc/{pid}/status", "VmRSS:") for pid in tree(root)) * KIB


def peak_resident(root: int) -> int:
    """Bytes of the highest resident memory since `forget_peak`, summed over the processes that still live."""
    return sum(_kib(f"/proc/{pid}/status", "VmHWM:") for pid in tree(root)) * KIB


def forget_peak(root: int) -> None:
    """Sets the kernel's high-water marks to what is resident now."""
    for pid in tree(root):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/clear_refs", "w") as file:
            file.write("5")


def proportional(root: int) -> int:
    """Bytes of anonymous memory of the tree, shared pages divided by the number of processes that share them (PSS).

    Mapped files are left out: their part of the PSS changes with other programs that use the same libraries.
    """
    return sum(_kib(f"/proc/{pid}/smaps_rollup", "Pss_Anon:") for pid in tree(root)) * KIB


def connections(root: int, port: int) -> dict[int, int]:
    """{process of the tree: connections at the local TCP `port` that it holds}, those that hold none included."""
    established = _established(port)
    found = {}
    for pid in tree(root):
        fields = _stat(pid)
        if fields and fields[0] != "Z":
            with contextlib.suppress(OSError):
                found[pid] = len(established & _sockets(pid))
    return found


def end(leader: int, pids: list[int]) -> None:
    """Kills those of `pids` that still belong to the session of `leader`; an id used again by others is spared."""
    for pid in pids:
        fields = _stat(pid)
        if fields and int(fields[3]) == leader and fields[0] != "Z":
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _cpu_clock(pid: int) -> int:
    """The clock id of a process's CPU clock, as clock_getcpuclockid(3) makes it on Linux."""
    return ~pid << 3 | 2


def _established(port: int) -> set[str]:
    """The inodes of the sockets that are connected at the local `port`."""
    inodes = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/net/{name}") as file:
            next(file)
            for line in file:
                fields = line.split()
                if fields[3] == ESTABLISHED and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes


def _sockets(pid: int) -> set[str]:
    """The inodes of the sockets that a process holds, each once. Raises OSError where it has gone."""
    inodes = set()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            kind, _, inode = os.readlink(f"/proc/{pid}/fd/{descriptor}").partition(":")
            if kind == "socket":
                inodes.add(inode.strip("[]"))
    return inodes


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on, or nothing."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()
    except OSError:
        return []


def _kib(path: str, name: str) -> int:
    with contextlib.suppress(OSError), open(path) as file:
        for line in file:
            if line.startswith(name):
                return int(line.split()[1])
    return 0
