"""Log files: private, rotated by size, and no reason to stop for whoever logs when the disk is full."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger, LogLevel

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from twisted.logger import LogEvent

_log = Logger()

#: seconds between two attempts at what failed: opening a file, rotating it
_PATIENCE: Final = 1.0


def lost_event(count: int, why: str) -> LogEvent:
    """What a log says of itself when it works again."""
    return {
        "log_level": LogLevel.warn,
        "log_namespace": _log.namespace,
        "log_time": time.time(),
        "log_format": "{count} log events were lost before this: {why}",
        "count": count,
        "why": why,
    }


class LogStream:
    """Events on a stream that is open, such as the standard output, each at once."""

    def __init__(self, stream: IO[str], describe: Callable[[LogEvent], str]) -> None:
        self._stream = stream
        self.describe = describe

    def event(self, event: LogEvent) -> None:
        """Writes one event; where the stream has nobody left who reads it, nobody misses it."""
        self._write(self.describe(event))

    def write(self, data: bytes) -> None:
        """Writes whole lines."""
        self._write(data.decode("utf-8", "backslashreplace"))

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()

    def reopen(self) -> None:
        """A stream stays."""

    def close(self) -> None:
        """A stream is not ours to close."""


class LogFile:
    """Events in a file, behind what is there, each at once; from any thread.

    At `rotate_size` bytes (0: never) `name` becomes `name.1`, that `name.2`, up to `rotate_count`, by renaming; with
    None somebody else sees to that, whatever the settings say. All of it may change while it is used, `describe` too.
    Nothing is raised: events that cannot be written are counted, and their number is written first when it works again.
    """

    def __init__(
        self,
        path: str,
        describe: Callable[[LogEvent], str],
        *,
        rotate_size: int | None = None,
        rotate_count: int = 0,
    ) -> None:
        self.path = path
        self.lost = 0
        #: why it cannot be written, or could not the last time
        self.why = ""
        self.describe = describe
        self.rotate_size = rotate_size
        self.rotate_count = rotate_count
        self._lock = threading.Lock()
        self._fd = -1
        self._size = 0
        self._amid_line = False
        self._next_try = 0.0
        self._next_rotation = 0.0
        self._open()

    @property
    def is_open(self) -> bool:
        """Whether there is a file to write to."""
        return self._fd >= 0

    def event(self, event: LogEvent) -> None:
        """Writes one event."""
        self.write(self.describe(event).encode("utf-8", "backslashreplace"))

    def write(self, data: bytes) -> None:
        """Writes whole lines."""
        with self._lock:
            if self._fd < 0:
                self._try_open()
            if self.rotate_size and self._size and self._size + len(data) > self.rotate_size:
                self._rotate()
            if self.lost and self._fd >= 0:
                notice = self.describe(lost_event(self.lost, self.why)).encode()
                if self._append(notice):
                    self.lost = 0
                else:
                    self.lost += 1
                    return
            if not self._append(data):
                self.lost += 1

    def reopen(self) -> None:
        """Opens the file of this name anew: another program has moved the old one away."""
        with self._lock:
            self._close()
            self._open()

    def close(self) -> None:
        """Lets go of the file; an event that comes all the same opens it again."""
        with self._lock:
            self._close()

    def _append(self, data: bytes) -> bool:
        if self._fd < 0:
            return False
        if self._amid_line:
            data = b"\n" + data
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            self.why = error.strerror or str(error)
            return False
        self._size += written
        # A disk that has become full takes a part; what comes next must not continue that line
        self._amid_line = written < len(data)
        if self._amid_line:
            self.why = "only a part of a line could be written"
        return not self._amid_line

    def _try_open(self) -> None:
        now = time.monotonic()
        if now >= self._next_try:
            self._next_try = now + _PATIENCE
            self._open()

    def _open(self) -> None:
        try:
            # not blocking: a pipe without a reader has this name, perhaps
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            self._fd = os.open(self.path, flags, 0o600)
            self._size = os.fstat(self._fd).st_size
            self._amid_line = bool(self._size) and os.pread(self._fd, 1, self._size - 1) != b"\n"
        except OSError as error:
            self.why = error.strerror or str(error)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        self._amid_line = False
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _rotate(self) -> None:
        now = time.monotonic()
        if now < self._next_rotation:
            return
        try:
            if self.rotate_count:
                for number in range(self.rotate_count - 1, 0, -1):
                    with contextlib.suppress(FileNotFoundError):
                        os.rename(f"{self.path}.{number}", f"{self.path}.{number + 1}")
                os.rename(self.path, f"{self.path}.1")
            else:
                os.unlink(self.path)
        except FileNotFoundError:
            pass  # another program has moved it away
        except OSError:
            # it grows on; each line must not try again
            self._next_rotation = now + _PATIENCE
            return
        self._close()
        self._open()
