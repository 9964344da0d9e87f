"""Log lines of workers, through real pipes."""

from __future__ import annotations

import io
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from twisted.logger import Logger, LogLevel, globalLogPublisher
from zope.interface import implementer

from txdicom.interfaces import IServiceLog
from txdicom.server.logs.files import LogFile, LogStream
from txdicom.server.logs.lines import format_line
from txdicom.server.logs.log import Form, ServerLog, ServiceLog
from txdicom.server.settings.log import LogSettings
from txdicom.server.workers import logs
from txdicom.server.workers.logs import MAX_LENGTH, LogLines, RemoteLog, remote_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from twisted.logger import LogEvent

SETTINGS = LogSettings(format="both")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The parent's end and the worker's."""
    ends = os.pipe()
    os.set_blocking(ends[0], False)
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[ServerLog]:
    """The logs of the parent: text, json, audit."""
    made = [LogFile(str(tmp_path / name), Form(format_line, SETTINGS)) for name in ("text", "json", "audit")]
    log = ServerLog(SETTINGS, ServiceLog(made[:2]), made[2])
    yield log
    log.close()


@pytest.fixture
def lines(parent: ServerLog) -> LogLines:
    return LogLines(parent, SETTINGS, "worker 1")


@pytest.fixture
def said() -> Iterator[list[LogEvent]]:
    """What the parent itself logs."""
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., str]:
    return lambda name="text": (tmp_path / name).read_text()


def drained(fd: int) -> bytes:
    found = b""
    while True:
        try:
            data = os.read(fd, 1 << 20)
        except BlockingIOError:
            return found
        if not data:
            return found
        found += data


def event(text: str, **fields: Any) -> LogEvent:
    return {"log_level": LogLevel.info, "log_format": text, "log_time": 0.0, **fields}


def remote(fd: int, name: str = "text") -> RemoteLog:
    return RemoteLog(fd, name, Form(format_line, SETTINGS))


def test_each_log_gets_its_lines(pipe: Any, lines: LogLines, read: Callable[..., str]) -> None:
    log = remote_log(pipe[1], SETTINGS)
    ours = Logger(namespace="txdicom.here", observer=log)
    ours.info("one {what}", what="thing")
    ours.debug("not wanted")
    ours.info("two", audit="somebody-came")
    lines.feed(drained(pipe[0]))
    assert [line[20:] for line in read().splitlines()] == ["info    one thing", "info    two"]
    assert [json.loads(line)["text"] for line in read("json").splitlines()] == ["one thing", "two"]
    assert [json.loads(line)["audit"] for line in read("audit").splitlines()] == ["somebody-came"]


@pytest.mark.parametrize("size", [0, 1, 4091, 4092, 4093, 8184, 100_000, MAX_LENGTH - 1])
@pytest.mark.parametrize("step", [1, 4096, 1 << 22])
def test_lines_of_any_length_in_parts_of_any_length(
    pipe: Any, lines: LogLines, read: Callable[..., str], size: int, step: int
) -> None:
    if step == 1 and size > 10_000:
        return
    log, other = remote_log(pipe[1], SETTINGS).own.logs
    log.write(b"x" * size + b"\n")
    data = drained(pipe[0])
    other.write(b"between\n")
    # pieces of two logs may come mixed
    head = 4 + min(size + 1, 4092)
    data = data[:head] + drained(pipe[0]) + data[head:]
    for start in range(0, len(data), step):
        lines.feed(data[start : start + step])
    assert read() == "x" * size + "\n"
    assert read("json") == "between\n"


def test_nothing_waits_where_nobody_reads(pipe: Any, lines: LogLines, read: Callable[..., str]) -> None:
    log = remote(pipe[1])
    while not log.lost:
        log.write(b"x" * 999 + b"\n")
    for _ in range(9):
        log.write(b"x" * 999 + b"\n")
    assert log.lost == 10
    assert "fast enough" in log.why
    lines.feed(drained(pipe[0]))
    log.write(b"after\n")
    lines.feed(drained(pipe[0]))
    *before, notice, after = read().splitlines()
    assert set(before) == {"x" * 999}
    assert "10 log events were lost before this: the parent process did not read them fast enough" in notice
    assert after == "after"
    assert log.lost == 0


def test_a_line_that_does_not_fit_leaves_no_half(pipe: Any, lines: LogLines, read: Callable[..., str]) -> None:
    log = remote(pipe[1])
    log.write(b"x" * (MAX_LENGTH - 1) + b"\n")  # the pipe has its first size
    assert log.lost == 1
    lines.feed(drained(pipe[0]))
    log.event(event("after"))
    lines.feed(drained(pipe[0]))
    notice, after = read().splitlines()
    assert "1 log events were lost" in notice
    assert after.endswith("after")


def test_a_line_that_is_too_long_is_not_sent(pipe: Any, lines: LogLines, read: Callable[..., str]) -> None:
    log = remote_log(pipe[1], SETTINGS).own.logs[0]
    log.write(b"x" * (MAX_LENGTH + 1))
    assert drained(pipe[0]) == b""
    log.write(b"after\n")
    lines.feed(drained(pipe[0]))
    assert f"it was longer than {MAX_LENGTH} bytes" in read()


def test_more_than_may_wait_is_never_kept(lines: LogLines, read: Callable[..., str]) -> None:
    head = logs._HEAD.pack
    lines.feed(head(4, 0, 1) + b"more")
    for _ in range(2 * MAX_LENGTH // 4092):
        lines.feed(head(4092, 0, 0) + bytes(4092))
        assert sum(map(len, lines._pieces["text"])) <= MAX_LENGTH + 4092
    lines.feed(head(4, 0, 2) + b"end\n")
    lines.feed(head(4, 0, 3) + b"one\n")
    assert read() == "one\n"


@pytest.mark.parametrize("left", range(1, 12))
def test_what_a_worker_that_was_killed_leaves(
    pipe: Any, parent: ServerLog, read: Callable[..., str], left: int
) -> None:
    log = remote(pipe[1])
    log.write(b"whole\n")
    log.write(b"x" * 8184)
    data = drained(pipe[0])
    first = LogLines(parent, SETTINGS, "worker 1")
    first.feed(data[: 10 + left] if left < 11 else data[:-1])
    second = LogLines(parent, SETTINGS, "worker 1")
    log.write(b"again\n")
    second.feed(drained(pipe[0]))
    assert read() == "whole\nagain\n"


@pytest.mark.parametrize("data", [b"\xff\xff\x00\x03", b"\x01\x00\x07\x03", b"\x01\x00\x00\x09"])
def test_what_is_no_log_line_ends_the_log_of_that_worker(
    lines: LogLines, read: Callable[..., str], said: list[LogEvent], data: bytes
) -> None:
    good = logs._HEAD.pack(4, 0, 3) + b"one\n"
    lines.feed(good + data + good)
    lines.feed(good)
    assert read() == "one\n"
    [told] = said
    assert "worker 1" in Form(format_line, SETTINGS)(told)


def test_a_parent_that_is_gone(parent: ServerLog) -> None:
    ours, theirs = os.pipe()
    log = remote(theirs)
    os.close(ours)
    log.event(event("nobody reads it"))
    assert log.lost == 1
    assert log.why == "Broken pipe"
    assert log.is_open
    log.reopen()
    log.close()
    os.close(theirs)


def test_lines_of_many_threads_stay_whole(pipe: Any, lines: LogLines, read: Callable[..., str]) -> None:
    text, other = remote_log(pipe[1], SETTINGS).own.logs
    wanted = [bytes([65 + number]) * size + b"\n" for number, size in enumerate((10, 4092, 9000))]

    def write(data: bytes) -> None:
        for _ in range(10):
            text.write(data)
            other.write(data)

    threads = [threading.Thread(target=write, args=(data,)) for data in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines.feed(drained(pipe[0]))
    for name in ("text", "json"):
        assert sorted(read(name).encode().splitlines(keepends=True)) == sorted(wanted * 10)


def test_the_standard_output(pipe: Any) -> None:
    settings = LogSettings(format="json", audit=False)
    stream = io.StringIO()
    parent = ServerLog(settings, ServiceLog([LogStream(stream, format_line)]))
    log = remote_log(pipe[1], settings)
    assert log.audit is None
    Logger(namespace="txdicom.here", observer=log).info("Grüße \N{SNOWMAN}", audit="not-wanted")
    LogLines(parent, settings, "worker 1").feed(drained(pipe[0]))
    assert json.loads(stream.getvalue())["text"] == "Grüße \N{SNOWMAN}"


def test_where_twistd_has_its_own_log(pipe: Any, said: list[LogEvent]) -> None:
    log = remote_log(pipe[1], SETTINGS)
    Logger(namespace="txdicom.here", observer=log).info("one", audit="dropped-without-an-audit-log")
    LogLines(ServerLog(SETTINGS, ServiceLog([])), SETTINGS, "worker 1").feed(drained(pipe[0]))
    [told] = said  # in one form, not in all
    assert told["lines"].endswith("one")


def test_an_audit_log_that_is_wanted_later(pipe: Any, lines: LogLines, read: Callable[..., str]) -> None:
    log = remote_log(pipe[1], LogSettings(audit=False))
    log.configure(LogSettings(audit=True))
    Logger(namespace="txdicom.here", observer=log).info("one", audit="somebody-came")
    lines.feed(drained(pipe[0]))
    assert json.loads(read("audit"))["text"] == "one"


def test_the_service_log_of_an_add_in_is_used_in_the_worker(pipe: Any) -> None:
    taken: list[LogEvent] = []

    @implementer(IServiceLog)
    class Theirs:
        def event(self, event: LogEvent) -> None:
            taken.append(event)

    log = remote_log(pipe[1], LogSettings())
    log.use(Theirs())
    Logger(namespace="txdicom.here", observer=log).info("one")
    assert [one["log_format"] for one in taken] == ["one"]
    assert drained(pipe[0]) == b""
