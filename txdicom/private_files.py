"""Files that only their user reads: read if they are private, replaced as a whole, by one process at a time.

All of it blocks.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: bytes of a file with a password in its first line
_MOST_OF_PASSWORD: Final = 65_536


class Unusable(Exception):
    """A file that cannot be used; the text, without a full stop, is the rest of a sentence on what names it."""


def content(path: str, most: int, *, secret: bool = False) -> bytes:
    """The bytes of a file, at most `most`. Raises `Unusable`.

    A secret one must be usable by its owner alone, and that be this process's user or root: another could change it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not hold who reads
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise Unusable(f"{path} is not a file")
            mode = stat.S_IMODE(status.st_mode)
            if secret and mode & 0o077:
                raise Unusable(f"others than its owner may use {path} (mode {mode:03o}): chmod 600 {path}")
            if secret and status.st_uid not in (os.geteuid(), 0):
                us, them = os.geteuid(), status.st_uid
                raise Unusable(f"{path} belongs to user {them}, not to this process's (user {us}) or root")
            with open(fd, "rb", closefd=False) as file:
                found = file.read(most + 1)
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:  # a NUL in a path is a ValueError
        raise Unusable(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(found) > most:
        raise Unusable(f"{path} is longer than {most} bytes: it is something else")
    return found


def password(path: str) -> bytes:
    """The first line of a secret file of at most 64 KiB; raises `Unusable`."""
    lines = content(path, _MOST_OF_PASSWORD, secret=True).splitlines()
    if not lines or not lines[0]:
        raise Unusable(f"the first line of {path} is empty: the password is to stand there")
    return lines[0]


def replace(path: str, data: bytes) -> os.stat_result:
    """Writes the file so that at any moment, and after a power cut, either the old or the new one is there, mode 0600.

    What a link points to is replaced, not the link. One of another user's that root replaces stays that user's.
    Returns the status of the new file; OSError where it cannot be written, and then the old one is there.
    """
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    fd, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)  # its mode is 0600
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            with suppress(FileNotFoundError):
                _give_to_owner(fd, os.stat(path))
            os.fsync(fd)
            status = os.fstat(fd)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
    return status


def _give_to_owner(fd: int, old: os.stat_result) -> None:
    if os.geteuid() == 0 and old.st_uid != 0:
        os.fchown(fd, old.st_uid, old.st_gid)


@contextmanager
def alone(path: str) -> Iterator[None]:
    """No other process changes the file meanwhile, if it asks here too; OSError where its folder cannot be used.

    Where the file system has no locks it goes on without.
    """
    folder = os.path.dirname(os.path.realpath(path))
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
