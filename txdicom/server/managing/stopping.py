"""Stops a server from outside of its process, and waits until its folder is free."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.task import deferLater

from txdicom.errors import Conflict, ConnectionFailed, DicomError

if TYPE_CHECKING:
    from txdicom.server.folder import ServerFolder
    from txdicom.server.managing.manager import Session

#: seconds between two looks at whether the server is still there
INTERVAL: Final = 0.1
#: seconds between the first signal and the second, which aborts what is running
_BETWEEN: Final = 0.5


async def stop(
    reactor: Any,
    folder: ServerFolder,
    session: Session,
    *,
    force: bool,
    timeout: float,
) -> None:
    """Stops the server that has this folder; returns when it has let go of it.

    An administrator asks for it; where none is heard, SIGTERM is sent to the process that has the folder. DicomError
    where it is not free within `timeout` seconds.
    """
    deadline = reactor.seconds() + timeout
    try:
        async with session as administrator:
            await administrator.stop(force=force)
    except (ConnectionFailed, Conflict, TimeoutError):
        await _signal(reactor, folder, force=force)
    while (process := folder.holder()) is not None:
        if reactor.seconds() >= deadline:
            remedy = "its log says what it waits for" if force else "allow it more, or abort what is running by --force"
            raise DicomError(f"it has not ended within {timeout:g} s (process {process}); {remedy}")
        await deferLater(reactor, INTERVAL, lambda: None)


async def _signal(reactor: Any, folder: ServerFolder, *, force: bool) -> None:
    for number in range(2 if force else 1):
        if number:
            await deferLater(reactor, _BETWEEN, lambda: None)
        process = folder.holder()
        if process is None:
            return
        if not process or not folder.held_by(process):
            raise DicomError(
                f"no administrator is answered, and which process has {folder.path} is not known: "
                "look for it by `fuser` or `lsof` on its file .lock, and end that"
            )
        try:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        except PermissionError:
            raise DicomError(f"process {process} belongs to another user: stop it as that user, or as root") from None
