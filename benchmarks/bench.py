"""What all measurements share: a variant of a case, the call's options, the failure of a measurement.

Figures: `rate` operations a second, `mb_s` 10^6 bytes a second, `p50_ms`, `p95_ms`, `p99_ms` latency, `cpu_us`
microseconds of the server's (or sender's) CPU for an operation, `growth_mib` and `peak_mib` resident memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks import instances

if TYPE_CHECKING:
    from benchmarks.targets import Target
    from benchmarks.workplace import Workplace

SMALL, CT = 128, 512
"""Rows and columns: data sets of 34 KB and 526 KB."""
DEFAULT_PDU = 16384
HEADER_ROOM = 4096
SETTLE = 0.3
"""Seconds after which the process that a forking server made for a warm-up has ended."""

Values = dict[str, float]


def room(count: int, side: int) -> int:
    """Bytes that `count` images need on the disk, or a little less."""
    return count * (side * side * 2 + HEADER_ROOM)


class MeasurementError(Exception):
    """The target refused, lost or did not finish something; its figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A case with its parameters; 0 where the case has no such parameter."""

    case: str
    associations: int = 0
    pdu: int = 0

    def __str__(self) -> str:
        words = [self.case]
        if self.associations:
            words.append("1 association" if self.associations == 1 else f"{self.associations} associations")
        if self.pdu:
            words.append(f"PDU {self.pdu}")
        return ", ".join(words)


@dataclass
class Bench:
    """What all measurements share."""

    workplace: Workplace
    python: str
    limit: float
    scale: float = 1.0
    remarks: list[str] = field(default_factory=list)
    """What is to be said about the present measurement."""
    _folders: dict[tuple[int, int], tuple[str, int]] = field(default_factory=dict)

    def count(self, full: int, target: Target, least: int = 8) -> int:
        """The number of operations for this target in this call."""
        return max(least, int(full * self.scale * target.share))

    def files(self, count: int, side: int) -> tuple[str, int]:
        """A folder of `count` CT files, made once, and the bytes of a data set."""
        if (count, side) not in self._folders:
            self.workplace.make_room(room(count, side))
            folder = self.workplace.new()
            self._folders[count, side] = folder, instances.write_folder(folder, count, side)
        return self._folders[count, side]
