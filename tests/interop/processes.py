"""Programs as their users start them: the server by twistd, DCMTK's tools, scripts for pynetdicom."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
AE_TITLE = "TXDICOM"
#: seconds until a program that was just started must be ready, and until one that was told to stop must have ended
START, STOP = 60.0, 30.0
TWISTD = (sys.executable, "-bb", "-c", "from twisted.scripts.twistd import run; run()")
TXDICOM = (sys.executable, "-bb", "-m", "txdicom")


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what tunes a peer or names a user's servers; the sources come first."""
    dropped = ("TCP_NODELAY", "TCP_BUFFER_LENGTH", "DCMDICTPATH", "TXDICOM_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH", "")]))
    return {**kept, "PYTHONPATH": path, **more}


def run(command: Sequence[str | Path], seconds: float = 120.0, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end; `stdout` has all that it wrote."""
    return subprocess.run(
        [str(word) for word in command],
        env=environment(**env),
        timeout=seconds,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


class Background:
    """A program that runs beside the test; on leaving the `with` block it is told to end."""

    def __init__(self, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                env=environment(**(env or {})),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str, seconds: float = START) -> re.Match[str]:
        """The first match of `pattern` in what the program has written so far."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None
            if (found := re.search(pattern, self.output())) is not None:
                return found
            if ended or time.monotonic() > deadline:
                state = f"ended with {self.process.returncode}" if ended else f"has not said it after {seconds:g} s"
                pytest.fail(f"waiting for {pattern!r}, the program {state}:\n{self.output()[-4000:]}")
            time.sleep(0.02)

    def stop(self) -> int:
        """Tells the program to end; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(STOP)

    def ended(self) -> int:
        try:
            return self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP)
            pytest.fail(f"the program did not end:\n{self.output()[-4000:]}")


class Server(Background):
    """`twistd -n dicomserver` on a free port, everything under `base`; a further one on the same base goes on there.

    `settings` are those of `--set`: `{"archive.flush": "false"}`; `through` is a program that starts it.
    """

    def __init__(self, base: Path, settings: Mapping[str, str] | None = None, *, through: Sequence[str] = ()) -> None:
        base.mkdir(parents=True, exist_ok=True)
        self.folder = base / AE_TITLE
        self.store = Path((settings or {}).get("archive.store", self.folder / "store"))
        self._port = 0
        self._begin = 0
        log = base / "log"
        if log.exists():
            self._begin = log.stat().st_size
        options = [word for name, value in (settings or {}).items() for word in ("--set", f"{name}={value}")]
        options += ["--base", str(base), "--ae-title", AE_TITLE, "--listen", f"tcp:0:interface={HOST}"]
        super().__init__([*through, *TWISTD, "-n", "--pidfile=", "dicomserver", *options], log)

    def output(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._begin)
            return log.read().decode(errors="replace")

    @property
    def port(self) -> int:
        """Where it listens, once it accepts."""
        if not self._port:
            self._port = int(self.wait_for(r"listens on [0-9.]+:([0-9]+)")[1])
        self.wait_for("ready: ")
        return self._port

    def stop(self) -> int:
        status = super().stop()
        output = self.output()
        assert "Traceback" not in output, output
        return status

    def peak_memory(self) -> int:
        """Bytes of the highest resident memory since `forget_peak`."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+([0-9]+) kB", text)
        assert found is not None
        return int(found[1]) * 1024

    def forget_peak(self) -> None:
        """Sets the kernel's high-water mark to what is resident now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


class StoreScp(Background):
    """DCMTK's storescp on a port; `options` go to its command line."""

    def __init__(self, program: str, folder: Path, port: int, *options: str) -> None:
        self.port = port
        self.store = folder / "received"
        self.store.mkdir(parents=True)
        command = [program, "-v", "-aet", "STORESCP", "-od", self.store, "-pm", *options, str(port)]
        # Nagle's algorithm waits for delayed acknowledgements: 40 ms an instance in which nothing is tested
        super().__init__(command, folder / "storescp.log", {"TCP_NODELAY": "1"})
        self._await_listening()

    def _await_listening(self) -> None:
        wanted = f"{self.port:04X}"
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self.process.poll() is None:
            lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
            if any(line.split()[1].endswith(f":{wanted}") and line.split()[3] == "0A" for line in lines):
                return
            time.sleep(0.02)
        pytest.fail(f"storescp does not listen:\n{self.output()}")
