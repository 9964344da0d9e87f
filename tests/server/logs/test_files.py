"""Log files: private, rotated, and never in the way."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest

from txdicom.server.logs import files as log_files
from txdicom.server.logs.files import LogFile, LogStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def describe(event: dict[str, Any]) -> str:
    if "count" in event:
        return f"lost {event['count']}: {event['why']}\n"
    return f"{event['text']}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.log"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., LogFile]]:
    made: list[LogFile] = []

    def make(**rotation: int) -> LogFile:
        made.append(LogFile(str(path), describe, **rotation))
        return made[-1]

    yield make
    for log in made:
        log.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(log_files.time, "monotonic", lambda: now[0])
    return now


def test_it_is_private_and_goes_on(opened: Callable[..., LogFile], path: Path) -> None:
    for text in ("one", "two \udcff"):
        log = opened()
        log.event({"text": text})
        log.close()
    assert path.read_text() == "one\ntwo \\udcff\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_rotation(opened: Callable[..., LogFile], path: Path) -> None:
    log = opened(rotate_size=20, rotate_count=2)
    for number in range(10):
        log.event({"text": f"line {number:4}"})  # two of them are 20 bytes
    assert path.read_text() == "line    8\nline    9\n"
    assert path.with_name("server.log.1").read_text() == "line    6\nline    7\n"
    assert path.with_name("server.log.2").read_text() == "line    4\nline    5\n"
    assert sorted(one.name for one in path.parent.iterdir()) == ["server.log", "server.log.1", "server.log.2"]
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}


def test_rotation_counts_what_is_there(opened: Callable[..., LogFile], path: Path) -> None:
    path.write_text("x" * 20 + "\n")
    opened(rotate_size=20, rotate_count=1).event({"text": "new"})
    assert path.read_text() == "new\n"


def test_without_older_files(opened: Callable[..., LogFile], path: Path) -> None:
    log = opened(rotate_size=5, rotate_count=0)
    log.event({"text": "one"})
    log.event({"text": "two"})
    assert [one.name for one in path.parent.iterdir()] == ["server.log"]
    assert path.read_text() == "two\n"


def test_a_line_longer_than_a_file_has_one_of_its_own(opened: Callable[..., LogFile], path: Path) -> None:
    log = opened(rotate_size=5, rotate_count=3)
    for text in ("long enough", "this too"):
        log.event({"text": text})
    assert path.with_name("server.log.1").read_text() == "long enough\n"


def test_zero_is_never(opened: Callable[..., LogFile], path: Path) -> None:
    log = opened(rotate_size=0, rotate_count=3)
    for _ in range(100):
        log.event({"text": "x" * 1000})
    assert path.stat().st_size == 100_100


@pytest.mark.usefixtures("clock")
def test_a_rotation_that_fails_is_tried_again_later(
    opened: Callable[..., LogFile], path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[str] = []

    def rename(old: str, new: str) -> None:
        attempts.append(new)
        raise PermissionError(errno.EACCES, "no")

    log = opened(rotate_size=5, rotate_count=1)
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", rename)
        for text in ("one", "two", "three"):
            log.event({"text": text})
    assert len(attempts) == 1
    assert path.read_text() == "one\ntwo\nthree\n"
    clock[0] += 2
    log.event({"text": "four"})
    assert path.read_text() == "four\n"


def test_it_moved_away_and_was_reopened(opened: Callable[..., LogFile], path: Path) -> None:
    log = opened()
    log.event({"text": "one"})
    path.rename(path.with_name("old"))
    log.event({"text": "two"})
    log.reopen()
    log.event({"text": "three"})
    assert path.with_name("old").read_text() == "one\ntwo\n"
    assert path.read_text() == "three\n"


def test_a_full_disk_costs_events_and_nothing_else(
    opened: Callable[..., LogFile], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened()
    log.event({"text": "before"})

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        for _ in range(3):
            log.event({"text": "lost"})
    assert log.lost == 3
    log.event({"text": "after"})
    log.event({"text": "and on"})
    assert path.read_text() == "before\nlost 3: No space left on device\nafter\nand on\n"


def test_half_a_line_does_not_spoil_the_next(
    opened: Callable[..., LogFile], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    log = opened()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
        log.event({"text": "abcdef"})
    log.event({"text": "next"})
    assert path.read_text() == "abc\nlost 1: only a part of a line could be written\nnext\n"
    log.close()
    path.write_text("cut by a cra")
    opened().event({"text": "next"})
    assert path.read_text() == "cut by a cra\nnext\n"


def test_a_folder_that_comes_later(tmp_path: Path, clock: list[float]) -> None:
    path = tmp_path / "log" / "server.log"
    log = LogFile(str(path), describe)
    assert not log.is_open
    assert log.why == "No such file or directory"
    clock[0] += 2
    log.event({"text": "lost"})
    path.parent.mkdir()
    log.event({"text": "lost too, for it is not tried each time"})
    clock[0] += 2
    log.event({"text": "here"})
    log.close()
    assert path.read_text() == "lost 2: No such file or directory\nhere\n"


def test_lines_of_many_threads_stay_whole(opened: Callable[..., LogFile], path: Path) -> None:
    log = opened(rotate_size=2000, rotate_count=1000)

    def write(name: str) -> None:
        for _ in range(200):
            log.event({"text": name * 50})

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [line for one in path.parent.iterdir() for line in one.read_text().splitlines()]
    assert sorted(lines) == [name * 50 for name in "abcd" for _ in range(200)]


def test_a_stream() -> None:
    stream = io.StringIO()
    log = LogStream(stream, describe)
    log.event({"text": "one"})
    log.reopen()
    log.close()
    assert stream.getvalue() == "one\n"
    stream.close()
    log.event({"text": "nobody reads it"})
