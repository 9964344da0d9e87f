"""Several processes behind one port: what a second worker adds, and how associations are shared out."""

from __future__ import annotations

from benchmarks import storing
from benchmarks.bench import Bench, MeasurementError, Values, Variant
from benchmarks.targets import Target

WORKERS = 2


def gain(server: float, load: float) -> float:
    """How many times the rate of one worker two can make on two cores: at most 2.

    `server` and `load` are the CPU of the server and of the load generator for an instance, measured with one worker,
    in the same unit. One worker makes 1 / server a second, and two cores have 2 / (server + load).
    """
    return min(WORKERS, WORKERS * server / (server + load))


def store(bench: Bench, target: Target, variant: Variant, *, full: int, side: int) -> Values:
    """As `storing.store`; where one process served all, with what two would make of it at best."""
    values = storing.store(bench, target, variant, full=full, side=side)
    if target.workers > 1 and values["sharing"] != target.workers:
        raise MeasurementError(f"{values['sharing']:.0f} workers, not {target.workers}")
    if values["sharing"] == 1:
        values["two_at_best"] = values["rate"] * gain(values["cpu_us"], values["load_us"])
    return values
