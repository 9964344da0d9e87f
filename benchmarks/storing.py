"""The receiving side: C-STORE of small, of CT and of very large instances.

A measurement starts the target, warms it up, loads it, reads its figures, and checks what it has stored.
"""

from __future__ import annotations

import time

from benchmarks import load, processes
from benchmarks.bench import SETTLE, SMALL, Bench, MeasurementError, Values, Variant, room
from benchmarks.crew import Crew, Outcome
from benchmarks.server import Server
from benchmarks.targets import Target

WARM_UP = 10
MIB = 1 << 20


def store(bench: Bench, target: Target, variant: Variant, *, full: int, side: int) -> Values:
    """C-STORE of `full` instances over all associations."""
    each = max(1, bench.count(full, target) // variant.associations)
    needed = room(each * variant.associations + WARM_UP * target.workers, side)
    bench.workplace.make_room(needed)
    with Server(target, bench.workplace, bench.python, variant.pdu) as server:
        bench.workplace.keep(server.work, needed)
        warm_up(server, side, variant.pdu, target.workers)
        size = side * side * 2
        before, _ = server.instances(size)
        jobs = [_store_job(server, each, side, variant.pdu, bench.limit) for _ in range(variant.associations)]
        with Crew(jobs, bench.limit) as crew:
            outcomes, values = _watched(server, crew)
            values.update(_sharing(server))
        found = server.instances(size)[0] - before
    done = sum(outcome.done for outcome in outcomes)
    _check(outcomes, done, found)
    if done < each * variant.associations:
        bench.remarks.append(f"{done} of {each * variant.associations} in {bench.limit:.0f} s")
    latencies = sorted(latency for outcome in outcomes for latency in outcome.latencies)
    seconds = max(outcome.ended for outcome in outcomes) - min(outcome.started for outcome in outcomes)
    return {
        "rate": done / seconds,
        "mb_s": done * size / 1e6 / seconds,
        "p50_ms": load.median_ms(latencies),
        "p95_ms": latencies[int(len(latencies) * 0.95)] * 1e3,
        "cpu_us": values.pop("cpu_us") / done,
        "load_us": sum(outcome.cpu for outcome in outcomes) * 1e6 / done,
        **values,
    }


def store_big(bench: Bench, target: Target, variant: Variant, *, size: int) -> Values:
    """C-STORE of one instance with `size` bytes of pixels."""
    frame = load.BIG_FRAME_SIDE**2 * 2
    size = max(1, int(size * bench.scale) // frame) * frame
    bench.workplace.make_room(3 * size)  # a target may hold it twice in memory beside the file
    with Server(target, bench.workplace, bench.python, variant.pdu) as server:
        bench.workplace.keep(server.work, size)
        warm_up(server, SMALL, variant.pdu)
        job = load.BigJob(server.port, server.ae_title, size=size, max_length=variant.pdu, limit=bench.limit)
        with Crew([job], bench.limit) as crew:
            (outcome,), values = _watched(server, crew)
        found, _ = server.instances(size)
    _check([outcome], outcome.done, found)
    return {"mb_s": size / 1e6 / (outcome.ended - outcome.started), "cpu_s": values.pop("cpu_us") / 1e6, **values}


def warm_up(server: Server, side: int, pdu: int, associations: int = 1) -> None:
    """A few instances on each association, so that imports, caches and code paths are hot, in each worker too."""
    with Crew([_store_job(server, WARM_UP, side, pdu, 20) for _ in range(associations)], 20) as crew:
        outcomes = crew.run()
    for outcome in outcomes:
        if outcome.problem:
            raise MeasurementError(f"warm-up: {outcome.problem}")
    time.sleep(SETTLE)


def _store_job(server: Server, count: int, side: int, pdu: int, limit: float) -> load.StoreJob:
    return load.StoreJob(server.port, server.ae_title, count=count, side=side, max_length=pdu, limit=limit)


def _watched(server: Server, crew: Crew) -> tuple[list[Outcome], Values]:
    """Runs the crew and reads the server's CPU and memory while the associations are open."""
    processes.forget_peak(server.pid)
    base = processes.resident(server.pid)
    cpu = processes.CPU.of(server.pid)
    outcomes = crew.run()
    used = processes.CPU.of(server.pid).since(cpu)
    peak = processes.peak_resident(server.pid)
    return outcomes, {"cpu_us": used / 1e3, "peak_mib": peak / MIB, "growth_mib": (peak - base) / MIB}


def _sharing(server: Server) -> Values:
    """How the open associations are shared out among the server's processes.

    The one that was started counts only where it is alone: beside others it accepts and hands over.
    """
    counts = processes.connections(server.pid, server.port)
    parent = counts.pop(server.pid, 0)
    shares = list(counts.values()) or [parent]
    return {"sharing": len(shares), "fewest": min(shares), "most": max(shares)}


def _check(outcomes: list[Outcome], done: int, found: int) -> None:
    if problems := sorted({outcome.problem for outcome in outcomes if outcome.problem}):
        raise MeasurementError("; ".join(problems))
    if found != done:
        raise MeasurementError(f"{found} new files for {done} instances")
