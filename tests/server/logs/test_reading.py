"""Log files as they are read: the last records, filters, following."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from txdicom.server.logs.files import LogFile
from txdicom.server.logs.json_lines import format_json
from txdicom.server.logs.lines import format_line
from txdicom.server.logs.reading import Filter, Follower, last, log_in, records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ALL = Filter()
FORMS = {"server.log": format_line, "server.jsonl": format_json}


def event(number: int, level: Any = LogLevel.info, text: str = "event {number}", **fields: Any) -> dict[str, Any]:
    return {"log_time": 1.75e9 + number, "log_level": level, "log_format": text, "number": number, **fields}


@pytest.fixture(params=FORMS)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., LogFile]]:
    """Makes a log of either form."""
    made: list[LogFile] = []

    def make(**rotation: int) -> LogFile:
        made.append(LogFile(str(tmp_path / request.param), FORMS[request.param], **rotation))
        return made[-1]

    yield make
    for one in made:
        one.close()


def texts(path: str, wanted: Filter = ALL, limit: int | None = None) -> list[str]:
    return [record.text for record in last(path, wanted, limit)]


def test_the_last_across_rotated_files(log: Callable[..., LogFile]) -> None:
    file = log(rotate_size=300, rotate_count=50)
    for number in range(40):
        file.event(event(number))
    assert texts(file.path) == [f"event {number}" for number in range(40)]
    assert texts(file.path, limit=25) == [f"event {number}" for number in range(15, 40)]
    assert texts(file.path, limit=1) == ["event 39"]


def test_a_record(log: Callable[..., LogFile]) -> None:
    file = log()
    try:
        raise LookupError("gone")
    except LookupError:
        file.event(event(1, LogLevel.error, "it failed", log_failure=Failure()))
    file.event(event(2))
    first, second = last(file.path, ALL, None)
    assert (first.level, first.text, first.details[-1]) == ("error", "it failed", "builtins.LookupError: [redacted]")
    assert first.time == datetime.fromtimestamp(1.75e9 + 1).astimezone()
    assert second.details == []
    stamp = datetime.fromtimestamp(1.75e9 + 1).strftime("%Y-%m-%d %H:%M:%S")
    assert first.lines()[0] == f"{stamp} error   it failed"
    assert first.lines()[-1] == "    builtins.LookupError: [redacted]"
    assert first.object()["text"] == "it failed"
    assert datetime.fromisoformat(first.object()["time"]) == first.time


def test_filters(log: Callable[..., LogFile]) -> None:
    file = log()
    opened = "association {association}: {calling_ae} at {peer} to HERE"
    file.event(event(1, text=opened, association=12, calling_ae="MODALITY", peer="h:1"))
    file.event(event(2, text=opened, association=120, calling_ae="MODALITY2", peer="h:2"))
    file.event(event(3, LogLevel.warn, "association {association} is aborted", association=12))
    file.event(event(4, LogLevel.critical, "the end"))

    def found(**wanted: Any) -> list[int]:
        every = texts(file.path)
        return [every.index(text) + 1 for text in texts(file.path, Filter(**wanted))]

    assert found() == [1, 2, 3, 4]
    assert found(level="warning") == [3, 4]
    assert found(level="error") == [4]
    assert found(association=12) == [1, 3]
    assert found(association=1) == []
    assert found(calling_ae="MODALITY") == [1]
    assert found(calling_ae="HERE") == []
    assert found(text=re.compile("abort|end$")) == [3, 4]
    assert found(since=datetime.fromtimestamp(1.75e9 + 3).astimezone()) == [3, 4]
    assert found(since=datetime.now().astimezone() + timedelta(days=1)) == []
    assert found(level="warning", association=12) == [3]


def test_a_traceback_is_searched_too() -> None:
    [record] = records(["2026-01-01 00:00:00 error   it failed", "    KeyError: 'x'"])
    assert Filter(text=re.compile("KeyError")).wants(record)


def test_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "server.jsonl"
    good = format_json(event(1)).encode()
    path.write_bytes(
        b'ing"}\n'
        + good
        + b"{\n[1]\n{"
        + b"[" * 100_000
        + b"\n\xff\xfe\n    stray\n2026-99-99 00:00:00 info    odd\n"
        + good[:-9]
    )
    assert [record.text for record in last(str(path), ALL, None)] == ["event 1", "odd"]
    assert not Filter(since=datetime.fromtimestamp(0).astimezone()).wants(last(str(path), ALL, None)[1])


def test_records_of_the_audit_log() -> None:
    line = '{"audit":"instance-stored","calling_ae":"A","sop_instance":"1.2","status":"0000"}'
    [record] = records([line])
    assert (record.level, record.text) == ("info", "instance-stored: A 1.2 0000")
    assert Filter(calling_ae="A").wants(record)


def test_which_log_is_read(tmp_path: Path) -> None:
    assert log_in(str(tmp_path)) is None
    text, machine = tmp_path / "server.log", tmp_path / "server.jsonl"
    text.touch()
    assert log_in(str(tmp_path)) == str(text)
    machine.touch()
    assert log_in(str(tmp_path)) == str(machine)
    os.utime(machine, (1, 1))
    assert log_in(str(tmp_path)) == str(text)


# --- following --------------------------------------------------------------------------------------------------------


@pytest.fixture
def follow() -> Iterator[Callable[[str], Follower]]:
    made: list[Follower] = []

    def begin(path: str) -> Follower:
        made.append(Follower(path))
        return made[-1]

    yield begin
    for one in made:
        one.close()


def read(follower: Follower) -> list[str]:
    return [record.text for record in follower.read()]


def test_following(log: Callable[..., LogFile], follow: Callable[[str], Follower]) -> None:
    file = log()
    file.event(event(1))
    follower = follow(file.path)
    assert read(follower) == []
    file.event(event(2))
    file.event(event(3))
    assert read(follower) == ["event 2", "event 3"]
    assert read(follower) == []


def test_following_across_rotations(log: Callable[..., LogFile], follow: Callable[[str], Follower]) -> None:
    file = log(rotate_size=300, rotate_count=50)
    follower = follow(file.path)
    seen: list[str] = []
    for number in range(60):
        file.event(event(number))
        if number % 7 == 0 or number > 50:
            seen += read(follower)
    assert seen + read(follower) == [f"event {number}" for number in range(60)]


def test_following_where_older_files_go(log: Callable[..., LogFile], follow: Callable[[str], Follower]) -> None:
    file = log(rotate_size=100, rotate_count=0)
    follower = follow(file.path)
    for number in range(9):
        file.event(event(number))
    found = read(follower)
    assert found[0] == "event 0"
    assert found[-1] == "event 8"


def test_following_half_a_line(tmp_path: Path, follow: Callable[[str], Follower]) -> None:
    path = tmp_path / "server.log"
    line = format_line(event(1))
    path.write_text("")
    follower = follow(str(path))
    with path.open("a") as file:
        file.write(line[:30])
        file.flush()
        assert read(follower) == []
        file.write(line[30:])
        file.flush()
        assert read(follower) == ["event 1"]
    path.write_text("")
    assert read(follower) == []
    path.write_text(line)
    assert read(follower) == ["event 1"]


def test_following_what_is_not_there_yet(tmp_path: Path, follow: Callable[[str], Follower]) -> None:
    path = tmp_path / "server.log"
    follower = follow(str(path))
    assert read(follower) == []
    path.write_text(format_line(event(1)))
    assert read(follower) + read(follower) == ["event 1"]


def test_following_what_was_written_just_before_a_rotation(
    log: Callable[..., LogFile], follow: Callable[[str], Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = log(rotate_size=250, rotate_count=5)
    file.event(event(1))
    follower = follow(file.path)
    newer = follower._newer

    def meanwhile(status: os.stat_result) -> Any:
        for number in range(2, 8):
            file.event(event(number))
        return newer(status)

    with monkeypatch.context() as patched:
        patched.setattr(follower, "_newer", meanwhile)
        found = read(follower)
    assert found + read(follower) == [f"event {number}" for number in range(2, 8)]
