"""Loads that a command makes: the sending side of the targets, and a stock storescu into their receiving side."""

from __future__ import annotations

import resource
import subprocess
import time

from benchmarks import processes
from benchmarks.association import HOST
from benchmarks.bench import SMALL, Bench, MeasurementError, Values, Variant, room
from benchmarks.null_scp import AE_TITLE, NullSCP
from benchmarks.server import Server, environment
from benchmarks.storing import warm_up
from benchmarks.targets import TARGETS, Target, fill


def storescu_stock(bench: Bench, target: Target, variant: Variant, *, full: int) -> Values:
    """DCMTK's storescu as shipped (Nagle on) sends a folder of small files."""
    sender = TARGETS["dcmtk-nagle"]
    count = max(8, int(full * bench.scale))
    folder, _ = bench.files(count, SMALL)
    needed = room(count, SMALL)
    bench.workplace.make_room(needed)
    with Server(target, bench.workplace, bench.python, variant.pdu) as server:
        bench.workplace.keep(server.work, needed)
        warm_up(server, SMALL, variant.pdu)
        before, _ = server.instances(SMALL * SMALL * 2)
        cpu = processes.CPU.of(server.pid)
        seconds, sender_cpu = _command(bench, sender, variant.pdu, server.ae_title, server.port, folder)
        used = processes.CPU.of(server.pid).since(cpu)
        found = server.instances(SMALL * SMALL * 2)[0] - before
    if found != count:
        raise MeasurementError(f"{found} new files for {count} instances")
    return {
        "rate": count / seconds,
        "seconds": seconds,
        "cpu_us": used / 1e3 / count,
        "send_cpu_us": sender_cpu / count,
    }


def send(bench: Bench, target: Target, variant: Variant, *, full: int, side: int) -> Values:
    """The target's own sender sends a folder of files to the null SCP."""
    count = bench.count(full, target)
    folder, size = bench.files(count, side)
    single, _ = bench.files(1, side)
    with NullSCP(variant.pdu) as sink:
        _command(bench, target, variant.pdu, AE_TITLE, sink.port, single)
    with NullSCP(variant.pdu) as sink:
        seconds, cpu = _command(bench, target, variant.pdu, AE_TITLE, sink.port, folder)
        received = sink.received()
    if received.instances != count or received.seconds <= 0:
        raise MeasurementError(f"{received.instances} of {count} instances arrived")
    return {
        "rate": count / received.seconds,
        "mb_s": count * size / 1e6 / received.seconds,
        "command_rate": count / seconds,
        "rest_s": seconds - received.seconds,
        "cpu_us": cpu / count,
    }


def _command(bench: Bench, target: Target, pdu: int, called: str, port: int, folder: str) -> tuple[float, float]:
    """Runs the target's send command; its wall time in seconds and its CPU in microseconds."""
    values = {
        "python": bench.python,
        "pdu": str(pdu),
        "ae_title": called,
        "host": HOST,
        "port": str(port),
        "folder": folder,
    }
    used, begun = _children_cpu(), time.monotonic()
    try:
        ended = subprocess.run(
            fill(target.send, values),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=bench.limit,
            env=environment(target),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"the send command did not end in {bench.limit:.0f} s") from None
    seconds = time.monotonic() - begun
    if ended.returncode:
        said = (ended.stderr or ended.stdout).decode(errors="replace").strip()[-300:]
        raise MeasurementError(f"the send command ended with {ended.returncode}: {said}")
    return seconds, (_children_cpu() - used) * 1e6


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
