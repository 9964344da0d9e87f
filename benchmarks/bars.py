"""The bars that this project has set itself, as data, and whether a run reached them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.bench import Variant
from benchmarks.cases import CASES, CROWDS, MANY, OF_WORKERS, PDUS
from benchmarks.records import Record, Spread, figures, ratios

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS = "txdicom"


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure of ours, or its ratio to that of `against` in the same round, must be at least or below `limit`.

    `against_key` is their figure where it is another one, `ours` the target where it is not the plain one.
    """

    variant: Variant
    key: str
    limit: float
    against: str = ""
    at_least: bool = True
    unit: str = ""
    ours: str = OURS
    against_key: str = ""

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '<'} {self.limit:g}{' ' + self.unit if self.unit else ''}"

    @property
    def what(self) -> str:
        """The figure in words."""
        if not self.against:
            heading = self._heading(self.key)
            return heading if self.ours == OURS else f"{self.ours}, {heading}"
        ratio = f"{self.ours} / {self.against}"
        if self.against_key:
            return f"{ratio}, {self._heading(self.key)} / {self._heading(self.against_key)}"
        return ratio if self.key == CASES[self.variant.case].lead else f"{ratio}, {self._heading(self.key)}"

    def _heading(self, key: str) -> str:
        return next(column.heading for column in CASES[self.variant.case].columns if column.key == key)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar beside what was measured; `spread` is None when it was not."""

    bar: Bar
    spread: Spread | None
    reason: str = ""

    @property
    def reached(self) -> bool:
        """Whether the median is on the right side."""
        if self.spread is None:
            return False
        return self.spread.median >= self.bar.limit if self.bar.at_least else self.spread.median < self.bar.limit

    def text(self) -> str:
        """`reached`, or by how much it is missed."""
        if self.spread is None:
            return f"not measured: {self.reason}"
        if self.reached:
            return "reached"
        off = abs(self.spread.median - self.bar.limit)
        return f"**{'short' if self.bar.at_least else 'over'} by {off:.2f} ({off / self.bar.limit:.0%})**"


def _stores() -> list[Bar]:
    bars = []
    for case in ("store-small", "store-ct"):
        for variant in (Variant(case, associations, pdu) for associations in CROWDS for pdu in PDUS):
            crowded = case == "store-ct" and variant.associations > 1
            bars += [
                Bar(variant, "rate", 0.9 if crowded else 1.0, "dcmtk"),
                Bar(variant, "rate", 0.6, "dcmtk-bp"),
                Bar(variant, "rate", 10, "pynetdicom"),
            ]
    return bars


def _big() -> list[Bar]:
    bars = []
    for pdu, against_plain in zip(PDUS, (0.8, 0.7), strict=True):
        variant = Variant("store-big", 0, pdu)
        bars += [
            Bar(variant, "mb_s", 1.0, "dcmtk"),
            Bar(variant, "mb_s", against_plain, "dcmtk-bp"),
            Bar(variant, "growth_mib", 32, at_least=False, unit="MiB"),
        ]
    return bars


def _workers() -> list[Bar]:
    bars = []
    two = "txdicom-workers"
    for case in ("workers-small", "workers-ct"):
        for variant in (Variant(case, associations, PDUS[1]) for associations in OF_WORKERS):
            bars += [
                Bar(variant, "rate", 0.9, OURS, ours=two, against_key="two_at_best"),
                Bar(variant, "cpu_us", 1.1, OURS, at_least=False, ours=two),
                Bar(variant, "fewest", variant.associations / 2, ours=two),
                Bar(variant, "rate", 0.9, "dcmtk-bp", ours=two),
            ]
    return bars


BARS = (
    *_stores(),
    *_big(),
    Bar(Variant("storescu-stock", 0, PDUS[0]), "rate", 20, "dcmtk-nagle"),
    Bar(Variant("echo"), "rate", 0.5, "dcmtk"),
    Bar(Variant("echo"), "rate", 10, "pynetdicom"),
    Bar(Variant("cycle"), "rate", 3, "dcmtk"),
    *(Bar(Variant("send", 0, pdu), "rate", 1.0, "dcmtk") for pdu in PDUS),
    Bar(Variant("idle"), "pss_kb", 20, at_least=False, unit="KB"),
    # "No effect on a further echo": two medians of 1,000 echoes differ by up to a quarter when nothing has changed.
    Bar(Variant("idle"), "echo_ratio", 1.25, at_least=False),
    *_workers(),
    *(Bar(Variant("handler", MANY), "of_ideal", 0.9, ours=ours) for ours in ("txdicom-waits", "txdicom-blocks")),
)


def judge(records: Sequence[Record]) -> list[Verdict]:
    """A verdict on each bar whose variant was among those measured."""
    measured = {record.variant for record in records}
    return [Verdict(bar, _spread(records, bar), _reason(records, bar)) for bar in BARS if bar.variant in measured]


def _reason(records: Sequence[Record], bar: Bar) -> str:
    """What to say if there is no figure."""
    for target in filter(None, (bar.ours, bar.against)):
        found = [record for record in records if record.variant == bar.variant and record.target == target]
        if not found:
            return f"{target} did not take part"
        if not any(record.values for record in found):
            return f"{target}: {' '.join(found[-1].problem.split())}"
    return "no round with both"


def _spread(records: Sequence[Record], bar: Bar) -> Spread | None:
    if bar.against:
        return ratios(records, bar.variant, bar.key, bar.ours, bar.against, bar.against_key)
    return figures(records, bar.variant, bar.ours, bar.key)
