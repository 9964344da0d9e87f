"""What one measurement gave, and the figures and ratios over the rounds."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from benchmarks.bench import Variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


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


def ratios(
    records: Sequence[Record], variant: Variant, key: str, target: str, against: str, against_key: str = ""
) -> Spread | None:
    """The spread of target / against, each ratio within one round; `against_key` if theirs is another figure."""
    pairs = _pairs(records, variant, (target, key), (against, against_key or key))
    return Spread.of(ours / theirs for ours, theirs in pairs if ours and theirs)


def differences(records: Sequence[Record], variant: Variant, key: str, target: str, against: str) -> Spread | None:
    """The spread of target - against, each difference within one round."""
    return Spread.of(ours - theirs for ours, theirs in _pairs(records, variant, (target, key), (against, key)))


def _pairs(
    records: Sequence[Record], variant: Variant, one: tuple[str, str], other: tuple[str, str]
) -> Iterator[tuple[float, float]]:
    """The figures of both, each a (target, key), in the rounds that have both."""
    rounds: dict[int, dict[str, dict[str, float]]] = {}
    for record in records:
        if record.variant == variant:
            rounds.setdefault(record.round, {})[record.target] = record.values
    for found in rounds.values():
        ours, theirs = found.get(one[0], {}).get(one[1]), found.get(other[0], {}).get(other[1])
        if ours is not None and theirs is not None:
            yield ours, theirs
