"""A received instance on its way into the store."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from txdicom.dimse.status import Status


class StagedFile:
    """A file in the staging folder, open for writing and reading, that is to become an instance of the store.

    It holds the File Meta Information and, from `data_offset` on, as much of the data set as has come.
    """

    __slots__ = ("data_offset", "fd", "path")

    def __init__(self, path: str, fd: int, data_offset: int) -> None:
        self.path = path
        self.fd = fd
        self.data_offset = data_offset

    def discard(self) -> None:
        """Close and remove the file; harmless where that is done already."""
        self.close()
        if self.path:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            self.path = ""

    def close(self) -> None:
        """Close the file and leave it where it is."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            with contextlib.suppress(OSError):
                os.close(fd)


class Arrival:
    """What `Store.commit` is given, and where it puts its answer.

    The data set of `size` bytes is either in memory (`buffers`, in order) or in a file (`staged`). `sop_class` and
    `sop_instance` are those of the command set, without padding. `status` is None until the instance is safe or
    refused; `path` is then where it lies, None where it is not kept.
    """

    __slots__ = (
        "buffers", "calling_ae", "path", "size", "sop_class", "sop_instance", "staged", "status", "transfer_syntax",
    )  # fmt: skip

    def __init__(
        self,
        sop_class: str,
        sop_instance: str,
        transfer_syntax: str,
        calling_ae: str,
        size: int,
        *,
        buffers: Sequence[bytes | memoryview] = (),
        staged: StagedFile | None = None,
    ) -> None:
        self.sop_class = sop_class
        self.sop_instance = sop_instance
        self.transfer_syntax = transfer_syntax
        self.calling_ae = calling_ae
        self.size = size
        self.buffers = buffers
        self.staged = staged
        self.status: Status | None = None
        self.path: str | None = None

    def discard(self) -> None:
        """Drop the data set: for an instance that will not be committed. `Store.commit` does so itself."""
        self.buffers = ()
        if self.staged is not None:
            self.staged.discard()
            self.staged = None
