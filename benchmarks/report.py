"""The report as Markdown: the machine, the bars, then a table for each variant of each case."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks.bars import Verdict, judge
from benchmarks.cases import CASES
from benchmarks.records import Record, differences, figures, ratios
from benchmarks.targets import TARGETS, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.bench import Variant


def render(records: Sequence[Record], notes: Iterable[str] = ()) -> str:
    """The whole report; `notes` are said at its top."""
    variants = list(dict.fromkeys(record.variant for record in records))
    names = [name for name in TARGETS if any(record.target == name for record in records)]
    lines = ["# Benchmark", "", *(f"- {note}" for note in notes), ""]
    lines += _bars(judge(records))
    for variant in variants:
        lines += _case(records, variant, names)
    lines += ["", "## Targets", "", *(f"- **{name}**: {TARGETS[name].does}" for name in names), ""]
    return "\n".join(lines)


def machine(python: str, targets: Iterable[Target], file_systems: Mapping[str, str]) -> list[str]:
    """Notes on the machine and the versions in use."""
    modules = sorted({module.partition(".")[0] for target in targets for module in target.modules})
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    notes = [
        f"{now}; {os.cpu_count()} cores, {_cpu_model()}; {platform.system()} {platform.release()}",
        f"load average at the start {os.getloadavg()[0]:.1f}",
        f"harness: Python {platform.python_version()}; Python targets: {_versions(python, modules)}",
    ]
    if shutil.which("storescp"):
        first_line = _said(["storescp", "--version"]).partition("\n")[0]  # $dcmtk: storescp v3.6.7 2022-04-22 $
        notes.append(f"DCMTK: {first_line.strip('$ ').removeprefix('dcmtk: ')}")
    kinds = ", ".join(f"{folder} ({kind})" for folder, kind in file_systems.items())
    notes.append(f"instances are stored in {kinds}")
    return notes


def _bars(verdicts: Sequence[Verdict]) -> list[str]:
    if not verdicts:
        return []
    reached = sum(verdict.reached for verdict in verdicts)
    measured = sum(verdict.spread is not None for verdict in verdicts)
    counts = (
        f"{reached} of {len(verdicts)} reached, {measured - reached} missed, {len(verdicts) - measured} not measured."
    )
    lines = ["## Bars", "", counts, "Median of the rounds (lowest-highest); ratios within a round.", ""]
    rows = [
        (
            str(verdict.bar.variant),
            verdict.bar.what,
            verdict.spread.text(2) if verdict.spread else "-",
            str(verdict.bar),
            verdict.text(),
        )
        for verdict in verdicts
    ]
    return [*lines, *_table(("case", "figure", "measured", "bar", ""), rows)]


def _case(records: Sequence[Record], variant: Variant, names: Sequence[str]) -> list[str]:
    case = CASES[variant.case]
    headings = ["target", "rounds", *(column.heading for column in case.columns)]
    if case.lead:
        headings.append(f"ratio to {case.base}")
    if case.more:
        headings.append(case.more.heading)
    rows = []
    for name in names:
        ours = [record for record in records if record.variant == variant and record.target == name]
        if not ours:
            continue
        row = [name, str(sum(bool(record.values) for record in ours))]
        for column in case.columns:
            spread = figures(records, variant, name, column.key)
            row.append(spread.text(column.digits) if spread else "-")
        if case.lead:
            ratio = ratios(records, variant, case.lead, name, case.base)
            row.append(ratio.text(2) if ratio else "-")
        if case.more:
            more = differences(records, variant, case.more.key, name, case.base) if name != case.base else None
            row.append(more.text(case.more.digits) if more else "-")
        rows.append((*row, _remarks(ours)))
    return ["", f"## {variant}", "", f"{case.load}.", "", *_table((*headings, "remarks"), rows)]


def _remarks(records: Sequence[Record]) -> str:
    remarks = (remark for record in records for remark in (*record.remarks, record.problem) if remark)
    return "; ".join(dict.fromkeys(" ".join(remark.replace("|", "/").split()) for remark in remarks))


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(headings), _row(["---"] * len(headings)), *(_row(row) for row in rows)]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cpu_model() -> str:
    with open("/proc/cpuinfo") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _versions(python: str, modules: Sequence[str]) -> str:
    program = (
        "import platform, sys\nfrom importlib import metadata\nprint('Python', platform.python_version(), end='')\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(',', name, metadata.version(name), end='')\n"
        "    except metadata.PackageNotFoundError: pass"
    )
    return _said([python, "-c", program, *modules])


def _said(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.strip()
    except OSError as error:
        return str(error)
