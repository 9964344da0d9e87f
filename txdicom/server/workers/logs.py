"""The log lines of workers, on their way to the parent: it alone has the log files, rotates them and opens them anew.

A worker writes its lines out and sends them through a pipe, which is all that is ever buffered. In it are pieces, each
no longer than what a pipe takes whole or not at all, so that no thread waits for another, and a worker that is killed
leaves none by halves: the number of bytes (2, little endian), which log, whether it begins and ends a line or several
(1 each); then the bytes.

A service log of an add-in (`IServiceLog`) is used in each worker, for what happens there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import threading
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from txdicom.server.logs.audit import format_audit
from txdicom.server.logs.files import lost_event
from txdicom.server.logs.json_lines import format_json
from txdicom.server.logs.lines import format_line
from txdicom.server.logs.log import Form, ServerLog, ServiceLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.logger import LogEvent

    from txdicom.server.settings.log import LogSettings

_log = Logger()

#: the logs there are
NAMES: Final = ("text", "json", "audit")
#: bytes of what is written at once; a longer one is not sent
MAX_LENGTH: Final = 1 << 19
#: bytes that may wait for the parent, where the system lets us have as many
_PIPE: Final = 1 << 20

_HEAD: Final = struct.Struct("<HBB")
_BEGINS: Final = 1
_ENDS: Final = 2
#: bytes of a piece
_PIECE: Final = select.PIPE_BUF - _HEAD.size
#: pieces of what is written at once
_MOST: Final = -(-MAX_LENGTH // _PIECE)


class RemoteLog:
    """In a worker, stands for a log file of the parent's: events go through the pipe `fd`; from any thread.

    Nothing is waited for and nothing raised: events for which there is no room are counted, and their number is written
    first when there is some again.
    """

    def __init__(self, fd: int, name: str, describe: Callable[[LogEvent], str]) -> None:
        self.path = f"the parent's {name} log"
        self.lost = 0
        #: why it could not be written the last time
        self.why = ""
        self.describe = describe
        self._fd = fd
        self._name = NAMES.index(name)
        self._lock = threading.Lock()
        os.set_blocking(fd, False)

    @property
    def is_open(self) -> bool:
        """Whether there is something to write to; the parent sees to that."""
        return True

    def event(self, event: LogEvent) -> None:
        """Writes one event."""
        self.write(self.describe(event).encode("utf-8", "backslashreplace"))

    def write(self, data: bytes) -> None:
        """Writes whole lines."""
        with self._lock:
            if self.lost:
                if not self._send(self.describe(lost_event(self.lost, self.why)).encode()):
                    self.lost += 1
                    return
                self.lost = 0
            if not self._send(data):
                self.lost += 1

    def reopen(self) -> None:
        """The parent does so."""

    def close(self) -> None:
        """The pipe is not ours to close: the process's other logs use it."""

    def _send(self, data: bytes) -> bool:
        if len(data) > MAX_LENGTH:
            self.why = f"it was longer than {MAX_LENGTH} bytes"
            return False
        last = max(0, len(data) - 1) // _PIECE * _PIECE
        try:
            for start in range(0, last + 1, _PIECE):
                piece = data[start : start + _PIECE]
                place = (_BEGINS if start == 0 else 0) | (_ENDS if start == last else 0)
                os.write(self._fd, _HEAD.pack(len(piece), self._name, place) + piece)
        except BlockingIOError:
            self.why = "the parent process did not read them fast enough"
        except OSError as error:
            self.why = error.strerror or str(error)
        else:
            return True
        return False


def remote_log(fd: int, settings: LogSettings) -> ServerLog:
    """The log of a worker process, whose lines go through the pipe `fd`."""
    resize = getattr(fcntl, "F_SETPIPE_SZ", None)
    if resize is not None:
        with contextlib.suppress(OSError):  # the user has so many pipes already that it stays as small as it is
            fcntl.fcntl(fd, resize, _PIPE)
    forms = {"text": format_line, "json": format_json}
    logs: list[Any] = [RemoteLog(fd, name, Form(forms[name], settings)) for name in _names(settings)]

    def open_audit(settings: LogSettings) -> Any:
        return RemoteLog(fd, "audit", Form(format_audit, settings))

    return ServerLog(settings, ServiceLog(logs), open_audit(settings) if settings.audit else None, open_audit)


class LogLines:
    """In the parent, takes what one worker sends by its `remote_log`, and writes it to the logs of the parent's.

    Where twistd has its own log, the lines become events for that. `worker` is what the worker is called in sentences.
    """

    def __init__(self, log: ServerLog, settings: LogSettings, worker: str) -> None:
        self._log = log
        self._names = _names(settings)
        self._worker = worker
        self._rest = b""
        self._pieces: dict[str, list[bytes]] = {name: [] for name in NAMES}
        self._broken = False

    def feed(self, data: bytes) -> None:
        """The next bytes of the pipe. What is still missing when the worker is gone is lost with it."""
        if self._broken:
            return
        data = self._rest + data
        position, end = 0, len(data)
        while end - position >= _HEAD.size:
            size, name, place = _HEAD.unpack_from(data, position)
            if size > _PIECE or name >= len(NAMES) or place > _BEGINS | _ENDS:
                self._broken = True
                self._rest = b""
                _log.error("{worker} sends no log lines that can be read; its log ends here", worker=self._worker)
                return
            start = position + _HEAD.size
            if end - start < size:
                break
            position = start + size
            self._take(NAMES[name], place, data[start:position])
        self._rest = data[position:]

    def _take(self, name: str, place: int, piece: bytes) -> None:
        pieces = self._pieces[name]
        if place & _BEGINS:
            pieces.clear()  # for the rest of the one before there was no room
        elif not 0 < len(pieces) < _MOST:
            pieces.clear()
            return
        pieces.append(piece)
        if place & _ENDS:
            self._write(name, b"".join(pieces))
            pieces.clear()

    def _write(self, name: str, data: bytes) -> None:
        if name == "audit":
            # without one they have it before we know that it is not wanted any more
            if self._log.audit is not None:
                self._log.audit.write(data)
            return
        logs = dict(zip(self._names, self._log.own.logs, strict=False))
        if name in logs:
            logs[name].write(data)
        elif not logs and name == self._names[0]:
            _log.info("{lines}", lines=data.decode("utf-8", "backslashreplace").rstrip())


def _names(settings: LogSettings) -> tuple[str, ...]:
    """The logs of a server beside the audit log, in their order."""
    return ("text", "json") if settings.format == "both" else (settings.format,)
