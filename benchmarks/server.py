"""A target that runs: started afresh on an empty store, ended by its process id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks import processes, wire
from benchmarks.association import ECHO, HOST, Association
from benchmarks.targets import Target, fill

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from benchmarks.workplace import Workplace

START_LIMIT = 30.0
STOP_LIMIT = 10.0
HERE = os.path.dirname(os.path.abspath(__file__))
SERVERS, ADDINS = os.path.join(HERE, "servers"), os.path.join(HERE, "addins")
TUNING = ("TCP_NODELAY", "MALLOC_", "GLIBC_TUNABLES", "PYTHONMALLOC", "LD_PRELOAD")
"""Environment that would make a program faster than a user has it; a target gets only what its data say."""


class StartError(Exception):
    """The target did not answer a C-ECHO in time; the text ends with the last lines of its output."""


def environment(target: Target) -> dict[str, str]:
    """The environment of the target's programs."""
    kept: Mapping[str, str] = {name: value for name, value in os.environ.items() if not name.startswith(TUNING)}
    return {**kept, **dict(target.environment)}


class Server:
    """A running target, as a context manager. Raises StartError on entering."""

    def __init__(
        self, target: Target, workplace: Workplace, python: str, max_length: int, *, many: bool = False
    ) -> None:
        self.target = target
        self.ae_title = target.ae_title
        self.port = _free_port()
        self.work = workplace.new(target)
        self.store = os.path.join(self.work, "store")
        os.mkdir(self.store)
        _copy_addins(target, self.work)
        values = {
            "python": python,
            "servers": SERVERS,
            "port": str(self.port),
            "ae_title": target.ae_title,
            "pdu": str(max_length),
            "store": self.store,
            "work": self.work,
        }
        self._command = fill(target.start + (target.idle_arguments if many else ()), values)
        self._log = os.path.join(self.work, "log")

    def __enter__(self) -> Server:
        begun = time.monotonic()
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.work,
                env=environment(self.target),
                start_new_session=True,
            )
        try:
            self._wait(begun + START_LIMIT)
        except BaseException:
            self._stop()
            raise
        self.start_seconds = time.monotonic() - begun
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """The id of the process that was started; its children are found from it."""
        return self._process.pid

    def instances(self, size: int) -> tuple[int, int]:
        """Number and bytes of the files in the store that are large enough for a data set of `size` bytes."""
        found = total = 0
        for folder, subfolders, names in os.walk(self.store):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            for name in names:
                length = os.stat(os.path.join(folder, name)).st_size
                if length >= size:
                    found += 1
                    total += length
        return found, total

    def _wait(self, deadline: float) -> None:
        """Returns when a C-ECHO is answered."""
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with Association(self.port, self.ae_title, ECHO, timeout=5) as association:
                    association.request(wire.echo_rq(1))
            except (OSError, wire.WireError):
                time.sleep(0.05)
            else:
                return
        with open(self._log, errors="replace") as log:
            last = log.read()[-200:]
        raise StartError(f"did not start: {' '.join(last.split()) or 'no output'}")

    def _stop(self) -> None:
        """Asks the process to end, then ends what is left of its session."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
        processes.end(self.pid, processes.session(self.pid))
        self._process.wait()


def _copy_addins(target: Target, work: str) -> None:
    """Puts the target's add-ins where its server finds them; it takes no file that others may write to."""
    folder = os.path.join(work, "base", target.ae_title, "addins")
    for name in target.addins:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        shutil.copyfile(os.path.join(ADDINS, name), os.path.join(folder, name))
        os.chmod(os.path.join(folder, name), 0o600)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
