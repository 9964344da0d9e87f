"""User names and passwords in a file: the authenticator for user identities of types 1 and 2 (PS3.7 D.3.3.7)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from zope.interface import alsoProvides, implementer

from txdicom import __version__, private_files
from txdicom.errors import SettingsError
from txdicom.interfaces import (
    IdentityAccepted,
    IdentityRefused,
    IDicomAddin,
    IRequireUserIdentity,
    IUserIdentity,
    UserIdentity,
)
from txdicom.services.shield import shielded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.defer import Deferred

_log = Logger()

#: what a file may have: more of either is an error
MAX_ENTRIES: Final = 10_000
MAX_BYTES: Final = 4 * 1024 * 1024
#: characters of a name and of a password
MAX_NAME: Final = 128
MAX_PASSWORD: Final = 1024
#: n, r and p of new entries (RFC 7914 §2): 16 MiB, gone through five times as long as it has to be
COST: Final = (2**14, 8, 5)
#: checks at once: each takes 16 MiB and a good part of a core
AT_ONCE: Final = 2

_NAME_ONLY: Final = "name-only"
_USER_NAME: Final = 1
_USER_NAME_AND_PASSCODE: Final = 2
#: what a line may ask of scrypt: bytes, and rounds
_MOST_MEMORY: Final = 64 * 1024 * 1024
_MOST_ROUNDS: Final = 16


class _Entry(NamedTuple):
    """A line of the file: scrypt's parameters (RFC 7914), the salt, the hash."""

    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: bytes) -> _Entry:
        """A new one."""
        (n, r, p), salt = COST, secrets.token_bytes(16)
        return cls(n, r, p, salt, _scrypt(password, n, r, p, salt))

    def fits(self, password: bytes) -> bool:
        """Whether it is the password; takes as long whether it is or not."""
        return hmac.compare_digest(self.digest, _scrypt(password, self.n, self.r, self.p, self.salt))

    def __repr__(self) -> str:
        return "<entry>"


@implementer(IDicomAddin, IUserIdentity)
class PasswordFile:
    """An add-in that lets the users of a file in, and the commands to keep that file.

    Each line is `name:scrypt:n:r:p:salt:hash`, the latter two in Base64, or `name:name-only` for a user who has no
    password and gives none (type 1); lines that begin with # are comments. A user with a password has to give it
    (type 2). The file must belong to the user of this process or to root and be readable by nobody else. It is read
    again when it has changed; a line that cannot be read lets nobody in, and the log says which.

    An association without a user identity is rejected, unless `required` is false.
    """

    name = "passwords"
    version = __version__
    description = "Lets users in by name and password"
    author = "txdicom contributors"

    def __init__(self, path: str | os.PathLike[str], *, required: bool = True) -> None:
        self.path = os.fspath(path)
        self.required = required
        self._seen: tuple[int, ...] = ()  # what the file looked like when it was read
        self._users: dict[bytes, _Entry | None] = {}
        self._turns = DeferredSemaphore(AT_ONCE)
        self._nobody = _Entry.of(secrets.token_bytes(16))
        if required:
            alsoProvides(self, IRequireUserIdentity)

    # -- IDicomAddin ---------------------------------------------------------------------------------------------------

    def load(self, server: Any) -> None:
        """Reads the file; SettingsError says what is wrong with it, OSError why it cannot be read."""
        problems: list[str] = []
        self._users = _users(_read(self.path)[1], problems)
        if problems:
            raise SettingsError([f"{self.path}: {problem}" for problem in problems])

    def unload(self) -> None:
        """Holds nothing."""

    # -- IUserIdentity -------------------------------------------------------------------------------------------------

    def authenticate(self, identity: UserIdentity) -> Deferred[IdentityAccepted | IdentityRefused] | None:
        """See `IUserIdentity`; tickets, assertions and tokens are for others."""
        if identity.type not in (_USER_NAME, _USER_NAME_AND_PASSCODE):
            return None
        return shielded(self._turns.run, lambda: deferToThread(self._check, identity))

    def _check(self, identity: UserIdentity) -> IdentityAccepted | IdentityRefused:
        """In a thread. It takes the same time for a name that is not there as for a wrong password."""
        users = self._current()
        there = identity.primary in users
        entry = users.get(identity.primary)
        if identity.type == _USER_NAME:
            fits = there and entry is None
        else:
            fits = (entry or self._nobody).fits(identity.secondary) and entry is not None
        return IdentityAccepted() if fits else IdentityRefused("no such user, or another password")

    def _current(self) -> dict[bytes, _Entry | None]:
        """The users of the file as it is now; OSError and SettingsError where it lets nobody in."""
        if _look(os.stat(self.path)) != self._seen:
            seen, text = _read(self.path)
            problems: list[str] = []
            self._users = _users(text, problems)
            self._seen = seen
            for problem in problems:
                _log.error("{path}: {problem}", path=self.path, problem=problem)
        return self._users

    # -- keeping the file ----------------------------------------------------------------------------------------------

    def add(self, name: str, password: str | None) -> None:
        """Adds a user, or gives one another password; None for one who gives none. Makes the file.

        ValueError for a name or a password that cannot be. It blocks while it works.
        """
        if not 0 < len(name) <= MAX_NAME or name[0] in "# " or ":" in name or not name.isprintable():
            raise ValueError(f"a name has 1 to {MAX_NAME} printable characters, none of them a colon, the first not #")
        value = _NAME_ONLY
        if password is not None:
            if not 0 < len(password) <= MAX_PASSWORD:
                raise ValueError(f"a password has 1 to {MAX_PASSWORD} characters")
            entry = _Entry.of(password.encode())
            salt, digest = (base64.b64encode(one).decode() for one in (entry.salt, entry.digest))
            value = f"scrypt:{entry.n}:{entry.r}:{entry.p}:{salt}:{digest}"
        with self._changing() as lines:
            lines[:] = [*_others(lines, name), f"{name}:{value}"]

    def users(self, problems: list[str]) -> dict[str, bool]:
        """Who is in the file, in its order, and whether with a password; a sentence in `problems` for each bad line.

        SettingsError and OSError where the file cannot be read. It blocks while it works.
        """
        return {name.decode(): entry is not None for name, entry in _users(_read(self.path)[1], problems).items()}

    def remove(self, name: str) -> None:
        """Takes a user out; LookupError where there is none of that name. It blocks while it works."""
        with self._changing() as lines:
            others = _others(lines, name)
            if len(others) == len(lines):
                raise LookupError(f"{self.path} has no user {name!r}")
            lines[:] = others

    @contextmanager
    def _changing(self) -> Iterator[list[str]]:
        """The lines of the file, to be changed in place: one process at a time, and never half a file."""
        with private_files.alone(self.path):
            try:
                lines = _read(self.path)[1].splitlines()
            except FileNotFoundError:
                lines = []
            yield lines
            data = "".join(f"{line}\n" for line in lines).encode()
            if len(data) > MAX_BYTES or len(lines) > MAX_ENTRIES:
                raise ValueError(f"a password file has at most {MAX_ENTRIES} lines and {MAX_BYTES} bytes")
            private_files.replace(self.path, data)


def _look(status: os.stat_result) -> tuple[int, ...]:
    """What is different of a file that has changed."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _read(path: str) -> tuple[tuple[int, ...], str]:
    """What the file looks like, and its text. OSError where there is none, SettingsError where it cannot be used."""
    seen = _look(os.stat(path))  # before: a file that comes in between looks different the next time
    try:
        return seen, private_files.content(path, MAX_BYTES, secret=True).decode()
    except private_files.Unusable as error:
        raise SettingsError([str(error)]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"{path} is not in UTF-8"]) from None


def _users(text: str, problems: list[str]) -> dict[bytes, _Entry | None]:
    """The users by name; a sentence in `problems` for each line that cannot be read."""
    users: dict[bytes, _Entry | None] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if len(users) >= MAX_ENTRIES:
            problems.append(f"line {number} and what follows: over {MAX_ENTRIES} users")
            break
        name, _, value = line.partition(":")
        key = name.encode()
        try:
            entry = None if value == _NAME_ONLY else _entry(value)
        except ValueError:
            problems.append(f"line {number} is not as PasswordFile writes it")
            continue
        if key in users:
            problems.append(f"line {number} names a user again; the first line counts")
        users.setdefault(key, entry)
    return users


def _entry(value: str) -> _Entry:
    kind, *numbers, salt, digest = value.split(":")
    n, r, p = map(int, numbers)
    entry = _Entry(n, r, p, base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True))
    sound = n > 1 and not n & (n - 1) and r > 0 and 128 * n * r <= _MOST_MEMORY and 0 < p <= _MOST_ROUNDS
    if kind != "scrypt" or not sound or len(entry.salt) < 8 or len(entry.digest) != 32:
        raise ValueError
    return entry


def _others(lines: list[str], name: str) -> list[str]:
    """The lines that are not about `name`."""
    return [line for line in lines if line.startswith("#") or line.partition(":")[0] != name]


def _scrypt(password: bytes, n: int, r: int, p: int, salt: bytes) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=2 * _MOST_MEMORY, dklen=32)
