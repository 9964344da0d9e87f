"""What a handler's time costs its server: many associations whose handler takes 50 ms, observers, the dispatcher."""

from __future__ import annotations

import json
import os
import subprocess

from benchmarks import load, processes
from benchmarks.bench import DEFAULT_PDU, Bench, MeasurementError, Values, Variant
from benchmarks.crew import Crew, Outcome
from benchmarks.crowd import EchoJob
from benchmarks.server import Server, environment
from benchmarks.targets import Target

HANDLER_SECONDS = 0.05
"""What the add-ins `waits` and `blocks` take for a message with an odd ID."""
WAITS, AT_ONCE = 1, 2
"""Message IDs."""
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inside", "dispatch.py")


def ideal(associations: int, at_once: float) -> float:
    """Messages a second that a server can answer at best, whose handler takes `HANDLER_SECONDS` and no CPU.

    No more than the associations ask for, one message after the other on each; and no more than the same server and
    load make of messages that are answered at once (`at_once` a second).
    """
    return min(associations / HANDLER_SECONDS, at_once)


def handler(bench: Bench, target: Target, variant: Variant, *, full: int) -> Values:
    """`full` C-ECHO on each association to a handler that answers at once, then to one that takes 50 ms."""
    each = bench.count(full, target)
    with Server(target, bench.workplace, bench.python, DEFAULT_PDU) as server:
        _crowd(bench, server, variant.associations, 5, AT_ONCE)
        quick, _ = _crowd(bench, server, variant.associations, each, AT_ONCE)
        slow, used = _crowd(bench, server, variant.associations, each, WAITS)
    latencies = sorted(slow.latencies)
    rate, at_once = _rate(slow), _rate(quick)
    best = ideal(variant.associations, at_once)
    return {
        "rate": rate,
        "ideal": best,
        "of_ideal": rate / best,
        "at_once": at_once,
        "p50_ms": load.median_ms(latencies),
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1e3,
        "cpu_us": used / 1e3 / slow.done,
        "load_limit": quick.done / quick.cpu,
    }


def dispatch(bench: Bench, target: Target, variant: Variant, *, full: int) -> Values:
    """`full` messages from the dispatcher to the handler's first line, in the memory of one process."""
    command = [bench.python, PROGRAM, str(bench.count(full, target, 1000))]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=bench.limit,
        env=environment(target),
        cwd=bench.workplace.new(target),
    )
    if done.returncode:
        raise MeasurementError(" ".join(done.stderr[-200:].split()))
    return {
        f"{handler}_{way}_us": microseconds
        for handler, ways in json.loads(done.stdout).items()
        for way, microseconds in {**ways, "cost": ways["dispatched"] - ways["directly"]}.items()
    }


def _crowd(bench: Bench, server: Server, associations: int, each: int, message_id: int) -> tuple[Outcome, int]:
    """What the load did, and the server's CPU in nanoseconds."""
    job = EchoJob(
        server.port, server.ae_title, associations=associations, each=each, message_id=message_id, limit=bench.limit
    )
    with Crew([job], bench.limit) as crew:
        cpu = processes.CPU.of(server.pid)
        (outcome,) = crew.run()
        used = processes.CPU.of(server.pid).since(cpu)
    if outcome.problem:
        raise MeasurementError(outcome.problem)
    return outcome, used


def _rate(outcome: Outcome) -> float:
    return outcome.done / (outcome.ended - outcome.started)
