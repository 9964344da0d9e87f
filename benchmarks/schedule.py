"""The order of things: targets take turns within each round, in reverse order every second round."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.bench import Bench, MeasurementError, Variant
from benchmarks.records import Record
from benchmarks.server import StartError
from benchmarks.wire import WireError
from benchmarks.workplace import NoRoomError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.cases import Case
    from benchmarks.targets import Target

Plan = list[tuple["Case", Variant]]


def rounds(plan: Plan, targets: Sequence[Target], count: int) -> Iterator[tuple[Case, Variant, Target, int]]:
    """Every measurement in its order: all rounds of a variant, then the next variant."""
    for case, variant in plan:
        taking_part = [target for target in targets if case.name in target.cases]
        for number in range(count):
            for target in taking_part if number % 2 == 0 else reversed(taking_part):
                yield case, variant, target, number


def run(
    bench: Bench,
    plan: Plan,
    targets: Sequence[Target],
    *,
    count: int,
    seconds: float,
    done: Callable[[Record], None],
) -> str:
    """Makes the measurements and hands each record to `done`; why some were left out, or nothing."""
    deadline = time.monotonic() + seconds
    left = 0
    for case, variant, target, number in rounds(plan, targets, count):
        if any(shutil.which(program) is None for program in case.programs):
            continue
        if time.monotonic() > deadline:
            left += 1
            continue
        done(_one(bench, case, variant, target, number))
    return f"{left} measurements left out: {seconds / 60:.0f} minutes were over" if left else ""


def _one(bench: Bench, case: Case, variant: Variant, target: Target, number: int) -> Record:
    record = Record(variant, target.name, number)
    bench.remarks = record.remarks
    begun = time.monotonic()
    try:
        record.values = case.run(bench, target, variant)
    except (MeasurementError, NoRoomError, StartError, WireError, OSError) as error:
        record.problem = f"{type(error).__name__}: {error}"
    record.seconds = time.monotonic() - begun
    _tell(record, case)
    return record


def _tell(record: Record, case: Case) -> None:
    """A line of progress, on standard error so that the report stays clean."""
    shown = ", ".join(
        f"{column.heading} {record.values[column.key]:.{column.digits}f}"
        for column in case.columns[:5]
        if column.key in record.values
    )
    said = " ".join(record.problem.split()) or "; ".join([shown, *record.remarks])
    print(f"round {record.round + 1}  {record.variant!s:<44} {record.target:<14} {said}", file=sys.stderr, flush=True)
