"""Copies of received instances in log/datasets, to find out what is wrong with a sender. They are patient data."""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.logger import Logger

from txdicom.part10 import file_meta
from txdicom.services.spool import write_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from txdicom.dimse.status import Status
    from txdicom.services.storage import ObservedStoreRequest

_log = Logger()

#: copies that may wait for the disk, in memory; further ones are not made
_WAITING: Final = 16
_NAME: Final = re.compile(r"\d{8}T\d{6}\.\d{6}Z-\d+-\d+\.dcm", re.ASCII)


class _Copy(NamedTuple):
    name: str
    meta: bytes
    buffers: Sequence[Any]


class DatasetLog:
    """Has the writer thread keep copies of what peers store, `count` at most; `which` is "failed" or "all".

    What a peer's request was refused for before its data set was kept, and what is too large for memory, is left out.
    """

    def __init__(self, folder: str, writer: Any, which: str, count: int) -> None:
        self._folder = folder
        self._writer = writer
        self._all = which == "all"
        self._count = count
        self._waiting = 0
        self._said = ""

    def __call__(self, request: ObservedStoreRequest, status: Status | None) -> None:
        """See `txdicom.services.spool.Spool.observers`."""
        if status is None or not (self._all or status.is_failure):
            return
        if not request.buffers or self._waiting >= _WAITING:
            return
        self._waiting += 1
        now = time.time()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
        name = f"{stamp}.{int(now % 1 * 1e6):06}Z-{request.association.number}-{request.message_id}.dcm"
        meta = file_meta(
            request.sop_class,
            request.sop_instance,
            request.transfer_syntax,
            source_ae=request.association.calling_ae,
        )
        self._writer.submit(self._write, _Copy(name, meta, request.buffers), self._written)

    def _written(self, _: _Copy) -> None:
        self._waiting -= 1

    def _write(self, copies: list[_Copy]) -> None:
        """Writes the copies, then removes the oldest files (in the writer thread)."""
        try:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            for copy in copies:
                self._write_one(copy)
            names = sorted(name for name in os.listdir(self._folder) if _NAME.fullmatch(name))
            for name in names[: -self._count]:
                with contextlib.suppress(FileNotFoundError):  # another worker has done so
                    os.unlink(os.path.join(self._folder, name))
        except OSError as error:
            why = error.strerror or str(error)
            if why != self._said:  # once: the next instances will have it, too
                self._said = why
                _log.error("received instances cannot be copied to {folder}: {why}", folder=self._folder, why=why)
        else:
            self._said = ""

    def _write_one(self, copy: _Copy) -> None:
        path = os.path.join(self._folder, copy.name)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, [copy.meta, *copy.buffers])
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(fd)
