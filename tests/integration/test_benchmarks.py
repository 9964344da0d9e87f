"""benchmarks: what is read from the kernel, and what is left when `python -m benchmarks` is interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks import processes
from benchmarks.targets import TARGETS
from txdicom.interfaces import IDicomAddin
from txdicom.scp.addins import problems_with
from txdicom.server.finding.discovery import in_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
#: seconds: an interrupted bench stops its server, which drains
SOON = 30


def test_connections_are_counted_for_each_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        port = listener.getsockname()[1]
        accepted = []
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            accepted.append(stack.enter_context(listener.accept()[0]))
        stack.enter_context(accepted[0].dup())
        # one that was handed over is counted where it went, and here as long as it is open here
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[accepted[2].fileno()]
        )
        try:
            assert processes.connections(os.getpid(), port)[os.getpid()] == 3
            assert processes.connections(os.getpid(), port)[child.pid] == 1
            accepted[2].close()
            assert processes.connections(os.getpid(), port)[os.getpid()] == 2
        finally:
            child.communicate(b"\n", timeout=SOON)
        assert child.pid not in processes.connections(os.getpid(), port)
        assert processes.connections(os.getpid(), port + 1)[os.getpid()] == 0


@pytest.mark.parametrize("name", sorted({name for target in TARGETS.values() for name in target.addins}))
def test_add_ins_are_in_order(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "addins"
    folder.mkdir(0o700)
    shutil.copyfile(ROOT / "benchmarks" / "addins" / name, folder / name)
    (folder / name).chmod(0o600)
    found, broken = in_folder(str(tmp_path), "addins", "BENCH", IDicomAddin)
    assert not broken
    assert [problems_with(one.addin) for one in found] == [[]]


@pytest.fixture
def workdir() -> Iterator[Path]:
    """A folder whose path is short: the sockets of servers are in it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)


def test_a_quick_look(workdir: Path) -> None:
    cases = ["--case", "dispatch", "--case", "observer-echo", "--target", "txdicom", "--target", "txdicom-observed"]
    records = workdir / "records"
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--quick",
        *cases,
        "--workdir",
        str(workdir),
        "--json",
        str(records),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=4 * SOON)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in workdir.iterdir()] == ["records"]
    taken = [json.loads(line) for line in records.read_text().splitlines()]
    assert [one["target"] for one in taken] == ["txdicom", "txdicom", "txdicom-observed"]
    assert all(one["values"]["cpu_us"] > 0 for one in taken[1:])
    assert taken[0]["values"]["plain_cost_us"] > 0
    assert "CPU µs/echo more" in done.stdout


def of(folder: Path) -> list[str]:
    """The commands of the processes that work in `folder`, or were told of it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(folder) in command or Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                    found.append(command)
    return found


@pytest.mark.soak
@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM]])
@pytest.mark.parametrize("delay", [0.0, 0.2, 0.7, 1.5, 3.0])
@pytest.mark.parametrize("case", ["workers-ct", "handler", "store-ct"])
def test_an_interrupted_bench_leaves_nothing(
    workdir: Path, case: str, delay: float, signals: list[signal.Signals]
) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--rounds", "9", "--case", case]
    bench = subprocess.Popen(
        [*command, "--workdir", str(workdir)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + SOON
        while len(of(workdir)) < 2:  # the bench itself, and a server
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(delay)
        for one in signals:
            os.killpg(bench.pid, one)  # as a terminal does, to all that are in the foreground
            time.sleep(0.1)
        assert bench.wait(SOON) != 0
    finally:
        if bench.poll() is None:  # the test has failed: its servers have sessions of their own, only it can end them
            bench.terminate()
            try:
                bench.wait(SOON)
            except subprocess.TimeoutExpired:
                bench.kill()
                bench.wait()
    time.sleep(0.5)
    assert not of(workdir)
    assert not list(workdir.iterdir())
