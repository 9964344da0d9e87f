"""The cases as data: what is loaded with how much, and what its table shows."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from benchmarks import commands, echoing, handling, storing, workers
from benchmarks.bench import CT, SMALL, Bench, Values, Variant

if TYPE_CHECKING:
    from benchmarks.targets import Target

PDUS = (16384, 131072)
CROWDS = (1, 8)
OF_WORKERS = (2, 8)
"""Associations beside several workers."""
MANY = 200
"""Associations beside a handler that takes its time."""


class Run(Protocol):
    """One measurement."""

    def __call__(self, bench: Bench, target: Target, variant: Variant, /) -> Values:
        """The figures of `target`. Raises what its module says."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a case's table: `digits` after the decimal point."""

    heading: str
    key: str
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """A case; targets are compared by the figure `lead` with the target `base`.

    The ratio is shown, and by `more` the difference too, where the cost of something is what the case is about.
    """

    name: str
    load: str
    variants: tuple[Variant, ...]
    run: Run
    lead: str
    columns: tuple[Column, ...]
    base: str = "dcmtk"
    more: Column | None = None
    programs: tuple[str, ...] = ()


def _variants(name: str, *, crowds: tuple[int, ...] = (0,), pdus: tuple[int, ...] = (0,)) -> tuple[Variant, ...]:
    return tuple(Variant(name, associations, pdu) for associations in crowds for pdu in pdus)


STORE_COLUMNS = (
    Column("instances/s", "rate"),
    Column("MB/s", "mb_s"),
    Column("p50 ms", "p50_ms", 2),
    Column("p95 ms", "p95_ms", 2),
    Column("server CPU µs/instance", "cpu_us"),
    Column("load CPU µs/instance", "load_us"),
    Column("peak RSS MiB", "peak_mib"),
    Column("RSS growth MiB", "growth_mib", 1),
)

WORKERS_COLUMNS = (
    *STORE_COLUMNS[:2],
    *STORE_COLUMNS[4:6],
    Column("processes", "sharing"),
    Column("associations each, fewest", "fewest"),
    Column("most", "most"),
    Column("two workers at best/s", "two_at_best"),
    Column("p95 ms", "p95_ms", 2),
)
ECHO_COLUMNS = (
    Column("round trips/s", "rate"),
    Column("p50 ms", "p50_ms", 3),
    Column("p99 ms", "p99_ms", 3),
    Column("server CPU µs/echo", "cpu_us"),
)

_ALL = (
    Case(
        "store-small",
        "2,000 instances of 34 KB",
        _variants("store-small", crowds=CROWDS, pdus=PDUS),
        functools.partial(storing.store, full=2000, side=SMALL),
        "rate",
        STORE_COLUMNS,
    ),
    Case(
        "store-ct",
        "1,000 CT instances of 526 KB",
        _variants("store-ct", crowds=CROWDS, pdus=PDUS),
        functools.partial(storing.store, full=1000, side=CT),
        "rate",
        STORE_COLUMNS,
    ),
    Case(
        "store-big",
        "one multi-frame instance with 1 GiB of pixels",
        _variants("store-big", pdus=PDUS),
        functools.partial(storing.store_big, size=1 << 30),
        "mb_s",
        (
            Column("MB/s", "mb_s"),
            Column("RSS growth MiB", "growth_mib", 1),
            Column("peak RSS MiB", "peak_mib"),
            Column("server CPU s", "cpu_s", 2),
        ),
    ),
    Case(
        "storescu-stock",
        "200 files of 34 KB sent by DCMTK's storescu as shipped (Nagle on)",
        _variants("storescu-stock", pdus=PDUS[:1]),
        functools.partial(commands.storescu_stock, full=200),
        "rate",
        (
            Column("instances/s", "rate", 1),
            Column("whole command s", "seconds", 2),
            Column("server CPU µs/instance", "cpu_us"),
        ),
        base="dcmtk-nagle",
        programs=("storescu",),
    ),
    Case(
        "echo",
        "5,000 C-ECHO on one association, at most 5 s",
        _variants("echo"),
        functools.partial(echoing.echo, full=5000),
        "rate",
        ECHO_COLUMNS,
    ),
    Case(
        "cycle",
        "1,000 times connect, associate, echo, release, at most 5 s",
        _variants("cycle"),
        functools.partial(echoing.cycle, full=1000),
        "rate",
        (
            Column("cycles/s", "rate"),
            Column("p50 ms", "p50_ms", 2),
            Column("p99 ms", "p99_ms", 2),
            Column("server CPU µs/cycle", "cpu_us"),
            Column("server start s", "start_s", 2),
        ),
    ),
    Case(
        "idle",
        "2,000 idle associations, and 1,000 echoes on a further one without and with them",
        _variants("idle"),
        functools.partial(echoing.idle, full=2000),
        "",
        (
            Column("open", "open"),
            Column("PSS KB each", "pss_kb", 1),
            Column("processes", "processes"),
            Column("CPU while idle %", "idle_cpu_percent", 1),
            Column("further echo ms, without", "echo_without_ms", 3),
            Column("with", "echo_with_ms", 3),
            Column("with / without", "echo_ratio", 2),
        ),
    ),
    Case(
        "send",
        "1,000 CT files of 526 KB sent by the target's own command to a null SCP in a process of its own",
        _variants("send", pdus=PDUS),
        functools.partial(commands.send, full=1000, side=CT),
        "rate",
        (
            Column("instances/s on the wire", "rate"),
            Column("MB/s on the wire", "mb_s"),
            Column("instances/s, whole command", "command_rate"),
            Column("start and end of the command s", "rest_s", 2),
            Column("sender CPU µs/instance", "cpu_us"),
        ),
    ),
    Case(
        "workers-small",
        "2,000 instances of 34 KB; two workers beside one, and beside storescp +B, a process for each association",
        _variants("workers-small", crowds=OF_WORKERS, pdus=PDUS[1:]),
        functools.partial(workers.store, full=2000, side=SMALL),
        "rate",
        WORKERS_COLUMNS,
        base="txdicom",
    ),
    Case(
        "workers-ct",
        "1,000 CT instances of 526 KB; the same",
        _variants("workers-ct", crowds=OF_WORKERS, pdus=PDUS[1:]),
        functools.partial(workers.store, full=1000, side=CT),
        "rate",
        WORKERS_COLUMNS,
        base="txdicom",
    ),
    Case(
        "handler",
        "100 C-ECHO on each of 200 associations, to a handler that takes 50 ms; before that to one that takes none",
        _variants("handler", crowds=(MANY,)),
        functools.partial(handling.handler, full=100),
        "",
        (
            Column("echoes/s", "rate"),
            Column("ideal/s", "ideal"),
            Column("of the ideal", "of_ideal", 2),
            Column("handler of 0 ms, echoes/s", "at_once"),
            Column("p50 ms", "p50_ms", 1),
            Column("p99 ms", "p99_ms", 1),
            Column("server CPU µs/echo", "cpu_us"),
            Column("the load alone, echoes/s", "load_limit"),
        ),
    ),
    Case(
        "observer-echo",
        "5,000 C-ECHO on one association, at most 5 s, without and with an observer that does nothing",
        _variants("observer-echo"),
        functools.partial(echoing.echo, full=5000),
        "cpu_us",
        ECHO_COLUMNS,
        base="txdicom",
        more=Column("CPU µs/echo more", "cpu_us", 1),
    ),
    Case(
        "observer-store",
        "2,000 instances of 34 KB on one association, without and with an observer that does nothing",
        _variants("observer-store", crowds=CROWDS[:1], pdus=PDUS[1:]),
        functools.partial(storing.store, full=2000, side=SMALL),
        "cpu_us",
        STORE_COLUMNS,
        base="txdicom",
        more=Column("CPU µs/instance more", "cpu_us", 1),
    ),
    Case(
        "dispatch",
        "20,000 C-ECHO-RQ in memory, from Dispatcher.perform to the first line of the handler, beside a direct call",
        _variants("dispatch"),
        functools.partial(handling.dispatch, full=20_000),
        "",
        (
            Column("plain handler µs", "plain_dispatched_us", 2),
            Column("called directly", "plain_directly_us", 2),
            Column("cost of dispatch", "plain_cost_us", 2),
            Column("coroutine µs", "coroutine_dispatched_us", 2),
            Column("called directly", "coroutine_directly_us", 2),
            Column("cost of dispatch", "coroutine_cost_us", 2),
        ),
    ),
)

CASES = {case.name: case for case in _ALL}
