"""Reading a server's log files, whether it runs or not: the last records, and those that are still coming."""

from __future__ import annotations

import json
import os
import re
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LEVELS: Final = ("debug", "info", "warning", "error")

#: bytes of a line, and of a record with its traceback; of a file that is no log the rest is not kept in memory
_LONGEST: Final = 1_048_576
_TEXT_LINE: Final = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (debug|info|warning|error) +(.*)", re.ASCII | re.DOTALL
)
#: seconds by which two files that are written together may differ
_TOGETHER: Final = 1.0


@dataclass
class Record:
    """One event of a log; `fields` are those of a JSON line, `details` the lines of a traceback."""

    time: datetime | None
    level: str
    text: str
    fields: dict[str, Any] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """As people read it."""
        stamp = self.time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if self.time else " " * 19
        return [f"{stamp} {self.level:7} {self.text}", *(f"    {line}" for line in self.details)]

    def object(self) -> dict[str, Any]:
        """As a JSON object."""
        if self.fields:
            return self.fields
        stamp = self.time.astimezone(UTC).isoformat().replace("+00:00", "Z") if self.time else None
        found = {"time": stamp, "level": self.level, "text": self.text}
        return {**found, "traceback": "\n".join(self.details)} if self.details else found


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which records are wanted; None and "debug": all."""

    level: str = "debug"
    since: datetime | None = None
    association: int | None = None
    calling_ae: str | None = None
    text: re.Pattern[str] | None = None

    def wants(self, record: Record) -> bool:
        """Whether the record is one of them."""
        if LEVELS.index(record.level) < LEVELS.index(self.level):
            return False
        if self.since is not None and (record.time is None or record.time < self.since):
            return False
        if self.association is not None and not (
            record.fields.get("association") == self.association
            or re.search(rf"\b(association|connection) {self.association}\b", record.text)
        ):
            return False
        if self.calling_ae is not None and not (
            record.fields.get("calling_ae") == self.calling_ae
            or (not record.fields and re.search(rf"(?<!\S)(?<!to ){re.escape(self.calling_ae)}(?!\S)", record.text))
        ):
            return False
        return self.text is None or any(self.text.search(line) for line in (record.text, *record.details))


def log_in(folder: str, names: tuple[str, ...] = ("server.jsonl", "server.log")) -> str | None:
    """The path of the log that was written last; of those written together the first. None where there is none."""
    paths = [os.path.join(folder, name) for name in names]
    times = {path: os.stat(path).st_mtime for path in paths if os.path.isfile(path)}
    return next((path for path, time in times.items() if time >= max(times.values()) - _TOGETHER), None)


def last(path: str, wanted: Filter, limit: int | None) -> list[Record]:
    """The last `limit` wanted records of a log and its rotated files, oldest first; None: all."""
    found: list[Record] = []
    with ExitStack() as stack:
        files: list[BinaryIO] = []
        seen: set[tuple[int, int]] = set()
        # all are opened before the first is read: one that is rotated meanwhile is neither missed nor read twice
        for name in _names(path):
            file = _opened(name)
            if file is None:
                continue
            stack.callback(file.close)
            status = os.fstat(file.fileno())
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                files.append(file)
        for file in files:
            missing = None if limit is None else limit - len(found)
            if missing == 0:
                break
            found[:0] = deque(filter(wanted.wants, records(_lines(file))), maxlen=missing)
    return found


def _names(path: str) -> Iterator[str]:
    """The newest first."""
    yield path
    for number in count(1):
        name = f"{path}.{number}"
        if not os.path.exists(name):
            return
        yield name


def _opened(path: str) -> BinaryIO | None:
    """The file, if it is there."""
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return None


def _lines(file: BinaryIO) -> Iterator[str]:
    while line := file.readline(_LONGEST):
        yield line.decode("utf-8", "backslashreplace").rstrip("\r\n")


def records(lines: Iterable[str]) -> Iterator[Record]:
    """The records in lines of text or JSON; what belongs to none, such as half a line, is passed over."""
    current: Record | None = None
    size = 0
    for line in lines:
        if line.startswith("    "):
            size += len(line)
            if current is not None and size <= _LONGEST:
                current.details.append(line[4:])
            continue
        if current is not None:
            yield current
        current = _from_json(line) if line.startswith("{") else _from_text(line)
        size = 0
    if current is not None:
        yield current


def _from_text(line: str) -> Record | None:
    match = _TEXT_LINE.fullmatch(line)
    if match is None:
        return None
    return Record(_time(match[1]), match[2], match[3])


def _from_json(line: str) -> Record | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    level, failure = fields.get("level"), fields.get("failure")
    text = str(fields.get("text", ""))
    if "audit" in fields and "level" not in fields:
        about = ("calling_ae", "peer", "sop_instance", "status")
        text = f"{fields['audit']}: {text or ' '.join(str(fields[name]) for name in about if fields.get(name))}"
    details = str(failure.get("traceback", "")).splitlines() if isinstance(failure, dict) else []
    return Record(_time(fields.get("time")), level if level in LEVELS else "info", text, fields, details)


def _time(text: object) -> datetime | None:
    """A time with its zone; one without is local."""
    try:
        return datetime.fromisoformat(str(text)).astimezone()
    except (ValueError, OverflowError):
        return None


class Follower:
    """What is added to a log from now on, also after its rotation; it may not be there yet."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._rest = b""
        self._file = _opened(path)
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def read(self) -> list[Record]:
        """The records that have come since the last call."""
        lines = []
        if self._file is None:
            self._file = _opened(self._path)
        else:
            lines = self._take(self._file)
            status = os.fstat(self._file.fileno())
            if self._file.tell() > status.st_size:  # somebody has emptied it
                self._file.seek(0)
                self._rest = b""
            for newer in self._newer(status):
                lines += self._take(self._file)  # what came before the other was begun
                self._file.close()
                self._file = newer
                self._rest = b""
                lines += self._take(newer)
        return list(records(lines))

    def _newer(self, ours: os.stat_result) -> list[BinaryIO]:
        """The files that have been begun since ours was, oldest first; none while ours is still written."""
        found: list[BinaryIO] = []
        for name in _names(self._path):
            file = _opened(name)
            if file is None:
                continue
            status = os.fstat(file.fileno())
            if (status.st_dev, status.st_ino) == (ours.st_dev, ours.st_ino):
                file.close()
                return found
            found.insert(0, file)
        # ours is gone: all but the one that is written may be older than it
        for older in found[:-1]:
            older.close()
        return found[-1:]

    def _take(self, file: BinaryIO) -> list[str]:
        """The whole lines that have come."""
        *whole, self._rest = (self._rest + file.read()).split(b"\n")
        if len(self._rest) > _LONGEST:
            self._rest = b""
        return [line.decode("utf-8", "backslashreplace") for line in whole]

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
