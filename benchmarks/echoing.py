"""C-ECHO: round trips, whole associations, and what idle associations cost."""

from __future__ import annotations

import contextlib
import resource
import statistics
import time

from benchmarks import load, processes
from benchmarks.association import ECHO, Association
from benchmarks.bench import DEFAULT_PDU, SETTLE, Bench, MeasurementError, Values, Variant
from benchmarks.server import Server
from benchmarks.targets import Target

ECHO_LIMIT = 5.0
"""Longest time of a load of echoes or cycles, in seconds."""
FURTHER_ECHOES = 1000


def echo(bench: Bench, target: Target, variant: Variant, *, full: int) -> Values:
    """C-ECHO round trips on one association."""
    with (
        Server(target, bench.workplace, bench.python, DEFAULT_PDU) as server,
        Association(server.port, server.ae_title, ECHO, timeout=bench.limit) as association,
    ):
        load.echoes(association, 50, 1)
        cpu = processes.CPU.of(server.pid)
        latencies = load.echoes(association, bench.count(full, target), min(ECHO_LIMIT, bench.limit))
        used = processes.CPU.of(server.pid).since(cpu)
    return _round_trips(latencies, used)


def cycle(bench: Bench, target: Target, variant: Variant, *, full: int) -> Values:
    """Rounds of connect, associate, echo, release."""
    with Server(target, bench.workplace, bench.python, DEFAULT_PDU) as server:
        load.cycles(server.port, server.ae_title, 10, 2)
        cpu = processes.CPU.of(server.pid)
        count = bench.count(full, target)
        latencies = load.cycles(server.port, server.ae_title, count, min(ECHO_LIMIT, bench.limit))
        used = processes.CPU.of(server.pid).since(cpu)
        start = server.start_seconds
    return {**_round_trips(latencies, used), "start_s": start}


def idle(bench: Bench, target: Target, variant: Variant, *, full: int) -> Values:
    """Memory of idle associations, and the echo of a further one without and with them."""
    wanted = bench.count(full, target)
    _allow_descriptors(wanted + 200)
    if target.idle_arguments:
        bench.remarks.append(f"started with {' '.join(target.idle_arguments)}")
    with Server(target, bench.workplace, bench.python, DEFAULT_PDU, many=True) as server:
        _further_echo(server)
        without = _further_echo(server)
        time.sleep(SETTLE)
        memory = processes.proportional(server.pid)
        opened, problem = load.idle(server.port, server.ae_title, wanted, bench.limit)
        try:
            if problem:
                bench.remarks.append(problem)
            if not opened:
                raise MeasurementError(problem)
            time.sleep(1)
            cpu, begun = processes.CPU.of(server.pid), time.monotonic()
            time.sleep(2)
            used, seconds = processes.CPU.of(server.pid).since(cpu), time.monotonic() - begun
            each = (processes.proportional(server.pid) - memory) / len(opened)
            loaded = _further_echo(server)
            members = len(processes.tree(server.pid))
        finally:
            for association in opened:
                association.abort()
    return {
        "open": len(opened),
        "pss_kb": each / 1e3,
        "processes": members,
        "idle_cpu_percent": used / 1e7 / seconds,
        "echo_without_ms": without,
        "echo_with_ms": loaded,
        "echo_ratio": loaded / without,
    }


def _round_trips(latencies: list[float], used: int) -> Values:
    return {
        "rate": len(latencies) / sum(latencies),
        "p50_ms": load.median_ms(latencies),
        "p99_ms": statistics.quantiles(latencies, n=100)[98] * 1e3,
        "cpu_us": used / 1e3 / len(latencies),
    }


def _further_echo(server: Server) -> float:
    """Median milliseconds of an echo on an association of its own."""
    with Association(server.port, server.ae_title, ECHO, timeout=30) as association:
        return load.median_ms(load.echoes(association, FURTHER_ECHOES, ECHO_LIMIT))


def _allow_descriptors(wanted: int) -> None:
    """Raises our soft limit of open files; the servers that we start inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
