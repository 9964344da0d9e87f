"""The start of a server's process: what its launcher and itself say, without a process."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from txdicom.errors import SettingsError
from txdicom.server.folder import ServerFolder
from txdicom.server.managing import starting
from txdicom.server.managing.starting import StartFailed, start, twistd
from txdicom.server.notify import notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REAL_INBOX = starting.Inbox


class Inbox:
    """Stands in the place of a socket."""

    def __init__(self) -> None:
        self.address = "@inbox"
        self.open = True
        self.messages: list[dict[str, str]] = []

    def take(self) -> list[dict[str, str]]:
        messages, self.messages = self.messages, []
        return messages

    def close(self) -> None:
        self.open = False


class Reactor(Clock):
    """Notes what is spawned, and signals to it."""

    def __init__(self, folder: ServerFolder) -> None:
        super().__init__()
        self.folder = folder
        self.words: list[str] = []
        self.environment: dict[str, str] = {}
        self.signals: list[tuple[int, int]] = []
        self.inbox = Inbox()
        self.pid = 123456789
        self.returncode: int | None = None
        self.errors: Any = None
        self.fails: OSError | None = None

    def spawn(self, words: list[str], **options: Any) -> Reactor:
        assert options["cwd"] == "/"
        assert options["start_new_session"]
        if self.fails is not None:
            raise self.fails
        self.words, self.environment, self.errors = words, options["env"], options["stderr"]
        return self

    def poll(self) -> int | None:
        return self.returncode

    def kill(self, process: int, number: int) -> None:
        self.signals.append((process, int(number)))
        if process == self.pid:
            self.launched(-int(number))
        else:
            self.folder.release()

    def says(self, text: str) -> None:
        self.inbox.messages.append(dict(line.split("=", 1) for line in text.splitlines()))

    def launched(self, status: int = 0, errors: str = "") -> None:
        self.errors.write(errors.encode())
        self.errors.flush()
        self.returncode = status


class Starting:
    """A start of a server."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = ServerFolder(str(folder), "ONE")
        self.folder.make("")
        self.folder.release()
        self.reactor = Reactor(self.folder)
        monkeypatch.setattr(starting.os, "kill", self.reactor.kill)
        monkeypatch.setattr(starting.subprocess, "Popen", self.reactor.spawn)
        monkeypatch.setattr(starting, "Inbox", self._inbox)
        monkeypatch.setattr(starting, "environment_of", self._environment)
        self.ours = True
        self.results: list[Any] = []

    def begin(self, timeout: float = 10.0) -> None:
        self.deferred = Deferred.fromCoroutine(start(self.reactor, self.folder, timeout))
        self.deferred.addBoth(self.results.append)

    def _inbox(self) -> Inbox:
        return self.reactor.inbox

    def _environment(self, process: int) -> list[bytes] | None:
        assert process == os.getpid()
        return [b"A=1", f"NOTIFY_SOCKET={self.reactor.inbox.address}".encode()] if self.ours else [b"NOTIFY_SOCKET=/x"]

    def daemon(self) -> None:
        """Has the folder, as the launcher's child does."""
        self.folder.hold()

    def turn(self, seconds: float = 0.1) -> None:
        for _ in range(round(seconds / 0.1)):
            self.reactor.advance(0.1)

    def problems(self) -> list[str]:
        [failure] = self.results
        failure.trap(StartFailed)
        assert not self.reactor.inbox.open
        assert self.reactor.getDelayedCalls() == []
        assert self.folder.holder() is None
        return list(failure.value.problems)


@pytest.fixture
def starting_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Starting]:
    made = Starting(tmp_path, monkeypatch)
    yield made
    made.folder.release()


def test_by_which_program() -> None:
    assert os.path.isfile(twistd()[0])


def test_without_a_twistd_beside_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting.sys, "executable", str(tmp_path / "python"))
    assert twistd() == [str(tmp_path / "python"), "-c", "from twisted.scripts.twistd import run; run()"]


def test_ready(starting_: Starting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "src")
    starting_.begin()
    reactor = starting_.reactor
    base = os.path.dirname(starting_.folder.path)
    assert reactor.words[-7:] == ["--pidfile=", "--rundir=/", "dicomserver", "--base", base, "--ae-title", "ONE"]
    assert reactor.environment["NOTIFY_SOCKET"] == reactor.inbox.address
    assert reactor.environment["PYTHONPATH"] == os.path.abspath("src")
    starting_.daemon()
    reactor.launched()
    starting_.turn(3)
    assert starting_.results == []
    reactor.says("STATUS=loading add-ins")
    reactor.says("READY=1\nMAINPID=5\nSTATUS=accepts associations")
    starting_.turn()
    assert starting_.results == [os.getpid()]
    assert not reactor.inbox.open
    assert reactor.signals == []


@pytest.mark.parametrize(
    ("status", "errors", "problems"),
    [
        (1, "Warning: x\nThe server was not started:\n  port in use\n", ["port in use"]),
        (1, "The server was not started, for 2 reasons:\n  one\n  two: three\n", ["one", "two: three"]),
        (1, "Traceback\n  File x\nImportError: no y\n", ["its launcher ended with status 1: ImportError: no y"]),
        (1, "", ["its launcher ended with status 1"]),
        (-9, "", ["its launcher ended by signal 9"]),
    ],
)
def test_the_launcher_fails(starting_: Starting, status: int, errors: str, problems: list[str]) -> None:
    starting_.begin()
    starting_.reactor.launched(status, errors)
    starting_.turn()
    assert starting_.problems() == problems


def test_the_server_says_why_it_cannot(starting_: Starting) -> None:
    starting_.begin()
    starting_.daemon()
    starting_.reactor.launched()
    starting_.reactor.says("STATUS=cannot start: add-in storage cannot be loaded: no space")
    starting_.turn()
    assert starting_.results == []  # it is still there
    starting_.folder.release()
    starting_.turn()
    assert starting_.problems() == ["add-in storage cannot be loaded: no space"]


def test_the_server_says_it_before_the_launcher_knows(starting_: Starting) -> None:
    starting_.begin()
    starting_.reactor.says("STATUS=the server ONE cannot start: no socket")
    starting_.reactor.launched(1, "An error has occurred: b'StartErr'\nPlease look at log file\n")
    starting_.turn()
    assert starting_.problems() == ["no socket"]


def test_the_server_dies(starting_: Starting) -> None:
    starting_.begin()
    starting_.reactor.launched()
    starting_.turn()
    assert starting_.problems() == [f"it ended before it was ready; {starting_.folder.log_file} says why"]


def test_too_late(starting_: Starting) -> None:
    starting_.begin(timeout=2)
    starting_.daemon()
    starting_.reactor.launched()
    starting_.turn(1.8)
    assert starting_.results == []
    starting_.turn(0.5)
    [problem] = starting_.problems()
    assert problem.startswith("it was not ready within 2 s, and was ended; ")
    assert starting_.reactor.signals == [(os.getpid(), 15)]


def test_one_that_does_not_end(starting_: Starting, monkeypatch: pytest.MonkeyPatch) -> None:
    starting_.begin(timeout=1)
    starting_.daemon()
    starting_.reactor.launched()

    def kill(process: int, number: int) -> None:
        starting_.reactor.signals.append((process, int(number)))
        if number == 9:
            starting_.folder.release()

    monkeypatch.setattr(starting.os, "kill", kill)
    starting_.turn(7)
    assert starting_.reactor.signals == [(os.getpid(), 15), (os.getpid(), 9)]
    assert "not ready within 1 s" in starting_.problems()[0]


def test_cancelled_while_it_launches(starting_: Starting) -> None:
    starting_.begin()
    starting_.turn()
    starting_.deferred.cancel()
    starting_.turn(0.5)
    assert starting_.reactor.signals == [(starting_.reactor.pid, 15)]
    assert len(starting_.results) == 1
    assert not starting_.reactor.inbox.open


def test_another_server_is_left_alone(starting_: Starting) -> None:
    starting_.ours = False
    starting_.begin()
    starting_.daemon()
    starting_.reactor.launched(1, "The server was not started:\n  the folder is in use\n")
    starting_.turn()
    assert starting_.reactor.signals == []
    starting_.folder.release()
    assert starting_.problems() == ["the folder is in use"]


def test_the_system_starts_no_process(starting_: Starting) -> None:
    starting_.reactor.fails = FileNotFoundError(2, "No such file or directory", "/gone/python")
    starting_.begin()
    assert starting_.problems() == ["its process cannot be started: No such file or directory (/gone/python)"]


def test_no_folder_for_temporary_files(starting_: Starting, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(starting.tempfile, "TemporaryFile", none)
    starting_.reactor.inbox.open = False
    starting_.begin()
    assert starting_.problems() == ["its process cannot be started: No usable temporary directory found"]


def test_no_socket_to_listen_at(starting_: Starting, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: socket.socket, address: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(starting, "Inbox", REAL_INBOX)
    monkeypatch.setattr(socket.socket, "bind", full, raising=False)
    starting_.reactor.inbox.open = False
    starting_.begin()  # and no descriptor is left: a fixture looks
    assert starting_.problems() == ["its process cannot be started: No space left on device"]


def test_who_has_the_folder_is_not_to_be_known(starting_: Starting, monkeypatch: pytest.MonkeyPatch) -> None:
    starting_.begin()

    def holder() -> None:
        raise SettingsError([".lock cannot be read"])

    monkeypatch.setattr(starting_.folder, "holder", holder)
    starting_.reactor.launched()
    starting_.turn()
    [failure] = starting_.results
    failure.trap(SettingsError)
    assert not starting_.reactor.inbox.open


def test_what_comes_at_the_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = REAL_INBOX()
    try:
        monkeypatch.setenv("NOTIFY_SOCKET", inbox.address)
        assert notify(READY=1, STATUS="a=b")
        assert notify(STATUS="more")
        assert inbox.take() == [{"READY": "1", "STATUS": "a=b"}, {"STATUS": "more"}]
        assert inbox.take() == []
        # another user's process
        assert notify(READY=1)
        monkeypatch.setattr(starting.os, "getuid", lambda: os.geteuid() + 1)
        assert inbox.take() == []
    finally:
        inbox.close()
    assert not notify(READY=1)


def test_descriptors_that_come_along_are_closed() -> None:
    inbox = REAL_INBOX()
    before = set(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, open(os.devnull, "rb") as file:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file.fileno()))]
        sender.sendmsg([b"READY=1\n"], rights, 0, f"\0{inbox.address[1:]}")
        inbox.take()
    assert set(os.listdir("/proc/self/fd")) == before
    inbox.close()


def test_the_environment_of_processes() -> None:
    found = starting.environment_of(os.getpid())
    assert found is not None
    assert any(one.startswith(b"PATH=") for one in found)
    assert starting.environment_of(2**30) is None
