"""Starts a server's process in the background, and waits until the server is ready or says what has failed."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from txdicom.errors import DicomError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from txdicom.server.folder import ServerFolder

#: seconds between two looks at whether the server is still there
INTERVAL: Final = 0.1
#: seconds that a process has to end after a signal, when its start is given up
_MERCY: Final = 5.0
#: what a launcher says before its problems, and a server before the reason
_HEAD: Final = "The server was not started"
_CANNOT: Final = "cannot start: "
_LONGEST_OUTPUT: Final = 65_536
#: who has sent a message: process, user and group (unix(7))
_CREDENTIALS: Final = struct.Struct("iII")


class StartFailed(DicomError):
    """A server that was to be started does not run; `problems` has a sentence for every reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def twistd() -> list[str]:
    """The words by which the interpreter that runs this runs its `twistd`."""
    beside = os.path.join(os.path.dirname(sys.executable), "twistd")
    if os.access(beside, os.X_OK):
        return [sys.executable, beside]
    return [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


async def start(reactor: Any, folder: ServerFolder, timeout: float) -> int:
    """Starts the server of this folder; its process id, once it is ready.

    StartFailed where it is not ready within `timeout` seconds: then, and where this is cancelled, no process is left.
    """
    with ExitStack() as opened:
        try:
            errors = opened.enter_context(tempfile.TemporaryFile())
            inbox = Inbox()
        except OSError as error:
            raise _not_begun(error) from None
        opened.callback(inbox.close)
        await _wait(reactor, _Launch(errors, inbox, folder), timeout)
    return folder.holder() or 0


async def _wait(reactor: Any, launch: _Launch, timeout: float) -> None:
    deadline = reactor.seconds() + timeout
    try:
        launch.spawn()
        while True:
            launch.check()
            if launch.ready and not launch.launching:
                return
            if reactor.seconds() >= deadline:
                late = f"it was not ready within {timeout:g} s, and was ended"
                raise StartFailed([f"{late}; {launch.log_file} says how far it was"])
            await deferLater(reactor, INTERVAL, lambda: None)
    except (DicomError, CancelledError):
        await _end(reactor, launch)
        raise


async def _end(reactor: Any, launch: _Launch) -> None:
    """Leaves no process of a start that has come to nothing."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = reactor.seconds() + _MERCY
        while launch.alive() and reactor.seconds() < deadline:
            launch.signal(number)  # the launcher may be gone, and what it has made not
            await deferLater(reactor, INTERVAL, lambda: None)


class _Launch:
    """The launcher, which ends when its daemon has begun, and what the two have said.

    It is looked at, not waited for: not every reactor that this is used in hears of children that end.
    """

    def __init__(self, errors: IO[bytes], inbox: Inbox, folder: ServerFolder) -> None:
        self.log_file = folder.log_file
        self.ready = False
        self._errors = errors
        self._inbox = inbox
        self._folder = folder
        self._status = ""
        self._launcher: subprocess.Popen[bytes] | None = None
        self._signalled: set[tuple[int, int]] = set()

    def spawn(self) -> None:
        """Starts the launcher; StartFailed where the system does not."""
        base, title = os.path.split(self._folder.path)
        words = [*twistd(), "--pidfile=", "--rundir=/", "dicomserver", "--base", base, "--ae-title", title]
        paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        environment = {**os.environ, "NOTIFY_SOCKET": self._inbox.address}
        if any(paths):  # they are meant from here, and the server has another current folder
            environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(one) for one in paths if one)
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": self._errors}
        try:
            # in a session of its own: Ctrl-C is for us alone, and we end it
            self._launcher = subprocess.Popen(  # noqa: S603 (words of ours, and a checked title)
                words, env=environment, cwd="/", start_new_session=True, **streams
            )
        except OSError as error:
            raise _not_begun(error) from None

    @property
    def launching(self) -> bool:
        """Whether the launcher is still there."""
        return self._launcher is not None and self._launcher.poll() is None

    def alive(self) -> bool:
        """Whether the launcher or its server runs."""
        return self.launching or self._daemon() is not None

    def _daemon(self) -> int | None:
        """The process id of its server, 0 where that has not said it yet; None: nobody has the folder, or another."""
        process = self._folder.holder()
        if not process:
            return process
        environment = environment_of(process)
        if environment is None:
            return 0  # the launcher's, which is gone: the server says its own at once
        return process if os.fsencode(f"NOTIFY_SOCKET={self._inbox.address}") in environment else None

    def check(self) -> None:
        """Hears what the server has said; StartFailed where nothing can come of it any more."""
        launching = self.launching
        gone = not launching and self._folder.holder() is None  # what it has said is there by then
        for fields in self._inbox.take():
            self._status = fields.get("STATUS", self._status)
            self.ready = self.ready or fields.get("READY") == "1"
        if launching or self._launcher is None:
            return
        status = self._launcher.returncode
        if status:
            said = os.pread(self._errors.fileno(), _LONGEST_OUTPUT, 0).decode("utf-8", "replace")
            raise StartFailed(self._reasons() or _problems(said, status))
        if gone and not self.ready:
            raise StartFailed(self._reasons() or [f"it ended before it was ready; {self.log_file} says why"])

    def _reasons(self) -> list[str]:
        """What the server itself has said of its failure."""
        before, found, reason = self._status.partition(_CANNOT)
        return [reason or before] if found else []

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to what runs, once to each process."""
        if self.launching and self._launcher is not None:
            process: int | None = self._launcher.pid
        else:
            process = self._daemon()
        if process and (process, number) not in self._signalled:
            self._signalled.add((process, number))
            with suppress(ProcessLookupError):
                os.kill(process, number)


def environment_of(process: int) -> list[bytes] | None:
    """What a process was started with; None where there is none, or it is not to be known."""
    try:
        with open(f"/proc/{process}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return None


class Inbox:
    """A socket at which messages of sd_notify(3) come; `address` is what $NOTIFY_SOCKET says.

    It has no path, which might be too long, but a name in Linux's abstract namespace (unix(7)). Others can find that,
    so only what this user's processes send is heard. OSError where there can be none.
    """

    def __init__(self) -> None:
        name = f"txdicom-{secrets.token_hex(16)}"
        self.address = f"@{name}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(f"\0{name}")
        except OSError:
            self._socket.close()
            raise

    def take(self) -> list[dict[str, str]]:
        """The fields of those that have come."""
        found = []
        with suppress(BlockingIOError):
            while True:
                # no room for descriptors: they are closed
                data, told, _flags, _ = self._socket.recvmsg(_LONGEST_OUTPUT, socket.CMSG_SPACE(_CREDENTIALS.size))
                if _user(told) == os.getuid():
                    lines = data.decode("utf-8", "replace").split("\n")
                    found.append(dict(line.split("=", 1) for line in lines if "=" in line))
        return found

    def close(self) -> None:
        """No more come."""
        self._socket.close()


def _user(told: list[tuple[int, int, bytes]]) -> int | None:
    """Whose process has sent a message, as the kernel says."""
    for level, kind, data in told:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            _process, user, _group = _CREDENTIALS.unpack(data)
            return int(user)
    return None


def _not_begun(error: OSError) -> StartFailed:
    of_what = f" ({error.filename})" if error.filename else ""
    return StartFailed([f"its process cannot be started: {error.strerror or error}{of_what}"])


def _problems(text: str, status: int) -> list[str]:
    """The sentences of a launcher that has failed."""
    lines = [line for line in text.splitlines() if line.strip()]
    heads = [number for number, line in enumerate(lines) if line.startswith(_HEAD)]
    if heads:
        return [line.strip() for line in lines[heads[-1] + 1 :]]
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    return [f"its launcher ended {how}" + (f": {lines[-1].strip()}" if lines else "")]
