"""`python -m benchmarks`: measures this project and its peers, and prints a report."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING, TextIO

from benchmarks import report, schedule
from benchmarks.bench import Bench
from benchmarks.cases import CASES
from benchmarks.records import Record
from benchmarks.targets import TARGETS, Target, missing, prefer_dcmtk
from benchmarks.workplace import Workplace, default_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

QUICK = 0.1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = arguments.add_argument
    add("--case", action="append", choices=CASES, help="only this case; may be repeated")
    add("--target", action="append", choices=TARGETS, help="only this target; may be repeated")
    add("--associations", type=int, action="append", help="only store variants with this many associations")
    add("--pdu", type=int, action="append", help="only variants with this maximum length")
    add("--rounds", type=int, help="rounds of each variant (3, with --quick 1)")
    add("--quick", action="store_true", help="a tenth of each count, one round: a look, not a measurement")
    add("--workdir", default=default_folder(), metavar="DIR", help="where instances are stored (%(default)s)")
    add("--disk", metavar="DIR", help="where targets that flush store theirs (as --workdir)")
    add("--python", default=sys.executable, metavar="FILE", help="interpreter of Python targets (this one)")
    add("--limit", type=float, default=60, metavar="SECONDS", help="longest load (%(default)s)")
    add("--minutes", type=float, default=90, help="start no measurement after this time (%(default)s)")
    add("--json", metavar="FILE", help="append each record to this file, a line each")
    add("--md", metavar="FILE", help="write the report to this file too")
    add("--report", metavar="FILE", nargs="+", help="measure nothing: the report of records of earlier runs")
    add("--list", action="store_true", help="list cases and targets")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0: everything asked for was measured; 1: something failed or was left out for want of time."""
    command_line = parser()
    options = command_line.parse_args(argv)
    for folder in filter(None, (options.workdir, options.disk)):
        if not os.access(folder, os.W_OK):
            command_line.error(f"{folder} is no folder that we can write to")
    signal.signal(signal.SIGTERM, _ended)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as in the background
        signal.signal(signal.SIGINT, _ended)
    if options.list:
        print("\n".join(f"{case.name:<16} {case.load}" for case in CASES.values()), end="\n\n")
        print("\n".join(f"{target.name:<16} {target.does}" for target in TARGETS.values()))
        return 0
    if options.report:
        _publish(report.render(_read(options.report)), options.md)
        return 0
    prefer_dcmtk()
    records, notes, left = _measure(options)
    _publish(report.render(records, [*notes, left] if left else notes), options.md)
    return int(bool(left) or any(record.problem for record in records))


def _measure(options: argparse.Namespace) -> tuple[list[Record], list[str], str]:
    """The records, what is to be said about the run, and why it is not complete, or nothing."""
    targets, absent = _present([TARGETS[name] for name in options.target or TARGETS], options.python)
    plan = [
        (case, variant)
        for case in (CASES[name] for name in dict.fromkeys(options.case or CASES))
        for variant in case.variants
        if not variant.associations or not options.associations or variant.associations in options.associations
        if not variant.pdu or not options.pdu or variant.pdu in options.pdu
    ]
    records: list[Record] = []
    with contextlib.ExitStack() as stack:
        workplace = stack.enter_context(Workplace(options.workdir, options.disk))
        log = stack.enter_context(open(options.json, "a")) if options.json else None
        notes = report.machine(options.python, targets, workplace.file_systems())
        notes += absent + _absent_programs(options)
        if options.quick:
            notes.append(f"a quick look: counts are multiplied by {QUICK:g}, the figures are no measurement")
        bench = Bench(workplace, options.python, options.limit, QUICK if options.quick else 1.0)

        def done(record: Record) -> None:
            records.append(record)
            _log(record, log)

        count = options.rounds or (1 if options.quick else 3)
        try:
            left = schedule.run(bench, plan, targets, count=count, seconds=options.minutes * 60, done=done)
        except KeyboardInterrupt:
            left = "interrupted: what follows is what there was until then"
    return records, notes, left


def _present(targets: Sequence[Target], python: str) -> tuple[list[Target], list[str]]:
    """Those that this machine can run, and a note on each of the others."""
    present, notes = [], []
    for target in targets:
        if lack := missing(target, python):
            notes.append(f"**{target.name} left out**: {lack}")
        else:
            present.append(target)
    return present, notes


def _absent_programs(options: argparse.Namespace) -> list[str]:
    return [
        f"**case {name} left out**: `{program}` is not on the PATH"
        for name in options.case or CASES
        for program in CASES[name].programs
        if shutil.which(program) is None
    ]


def _log(record: Record, file: TextIO | None) -> None:
    if file:
        print(record.to_json(), file=file, flush=True)


def _read(paths: Sequence[str]) -> list[Record]:
    """The records of several files; the rounds of each file are rounds of their own."""
    records: list[Record] = []
    for path in paths:
        first = max((record.round for record in records), default=-1) + 1
        with open(path) as file:
            for line in file:
                record = Record.from_json(line)
                record.round += first
                records.append(record)
    return records


def _publish(text: str, path: str | None) -> None:
    print(text)
    if path:
        with open(path, "w") as file:
            file.write(text)


def _ended(number: int, frame: FrameType | None) -> None:
    """Lets the context managers end the servers and delete the stores; a second signal does not keep them from it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
