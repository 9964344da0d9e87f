"""What one measurement gave, and the figures and ratios over the rounds."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from benchmarks.bench import Variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(slots=True)
class Record:
    """One target in one variant of a case in one round: its figures, or the problem that it had."""

    variant: Variant
    target: str
    round: int
    values: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    problem: str = ""
    seconds: float = 0.0

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Record:
        """The record of a line that `to_json` wrote."""
        fields = json.loads(line)
        return cls(**{**fields, "variant": Variant(**fields["variant"])})


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, lowest and highest of what the rounds gave."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Spread | None:
        """The spread of `numbers`, None of none."""
        found = list(numbers)
        return cls(statistics.median(found), min(found), max(found)) if found else None

    def text(self, digits: int) -> str:
        """`median (low-high)`, or the one number there is."""
        median, low, high = (f"{number:,.{digits}f}" for number in (self.median, self.low, self.high))
        return median if low == high else f"{median} ({low}-{high})"


def figures(records: Sequence[Record], variant: Variant, target: str, key: str) -> Spread | None:
    """The spread of one figure of a target."""
    return Spread.of(
        record.values[key]
        for record in records
        if record.variant == variant and record.target == target and key in record.values
    )


def ratios(records: Sequence[Record], variant: Variant, key: str, target: str, against: str) -> Spread | None:
    """The spread of target / against, each ratio within one round."""
    rounds: dict[int, dict[str, float]] = {}
    for record in records:
        if record.variant == variant and record.values.get(key):
            rounds.setdefault(record.round, {})[record.target] = record.values[key]
    return Spread.of(
        found[target] / found[against] for found in rounds.values() if target in found and against in found
    )
