"""A server's folder, `<base>/<AE TITLE>/`: found, made, kept private, and held by one process at a time."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING, Final

from txdicom.errors import NotFound, SettingsError
from txdicom.server.ae.table import EXAMPLE
from txdicom.server.settings.tables import DEFAULT_AE_TITLE, check_ae_title

if TYPE_CHECKING:
    from collections.abc import Mapping

PRIVATE_FOLDER: Final = 0o700
PRIVATE_FILE: Final = 0o600

_FOLDERS: Final = ("addins", "addins.d", "configuration", "log", "store")
_FILES: Final = ("server.toml", "aetitles.toml", ".lock")
#: attempts at the lock, and seconds between them: `holder` has it for a moment when it looks
_ATTEMPTS: Final = 4
_PAUSE: Final = 0.02


def base_folder(option: str | None, environment: Mapping[str, str]) -> str:
    """Where servers live: `option`, else $TXDICOM_HOME, else the user's data folder."""
    chosen = option or environment.get("TXDICOM_HOME")
    if not chosen:
        import platformdirs

        chosen = platformdirs.user_data_dir("txdicom", appauthor=False)
    return os.path.abspath(os.path.expanduser(chosen))


def servers_in(base: str) -> list[str]:
    """The AE titles of the servers that have a folder in `base`."""
    try:
        names = os.listdir(base)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError([f"{base} cannot be read: {error.strerror}"]) from None
    found = [name for name in names if os.path.isfile(os.path.join(base, name, "server.toml"))]
    return sorted(name for name in found if not name.startswith("."))


def choose_title(base: str, title: str | None) -> str:
    """`title`, else that of the only server in `base`, else the default; SettingsError where there are several."""
    if title is not None:
        try:
            return check_ae_title(title)
        except ValueError as error:
            raise SettingsError([f"--ae-title: {error}"]) from None
    there = servers_in(base)
    if len(there) > 1:
        names = ", ".join(there)
        raise SettingsError([f"there are several servers in {base} ({names}): name one by --ae-title"])
    return there[0] if there else DEFAULT_AE_TITLE


def find_server(base: str, title: str | None) -> str:
    """As `choose_title`, of the servers that there are; NotFound names them."""
    there = servers_in(base)
    chosen = choose_title(base, title)
    if chosen not in there:
        others = f"there {'are' if len(there) > 1 else 'is'} {', '.join(there)}" if there else "none is there"
        raise NotFound(f"there is no server {chosen} in {base}: {others}; `txdicom server create {chosen}` makes it")
    return chosen


def socket_in(folder: str, named: str) -> str:
    """The administrative socket of the server that has this folder, where its setting says `named`."""
    return os.path.join(folder, named or f"{os.path.basename(folder)}.sock")


class ServerFolder:
    """The folder of one server. Nothing is read or made before a method is called."""

    def __init__(self, base: str, ae_title: str) -> None:
        self.path = os.path.join(base, ae_title)
        self.settings_file = os.path.join(self.path, "server.toml")
        self.ae_table_file = os.path.join(self.path, "aetitles.toml")
        self.log_file = os.path.join(self.path, "log", "server.log")
        self.lock_file = os.path.join(self.path, ".lock")
        self._lock = -1

    def check_owner(self) -> None:
        """SettingsError where the folder, if there is one, is not this user's."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise SettingsError([f"{self.path} cannot be used: {error.strerror}"]) from None
        if not stat.S_ISDIR(status.st_mode):
            raise SettingsError([f"{self.path} is not a folder: move it away, or take another --base or --ae-title"])
        if status.st_uid != os.geteuid():
            us, them = os.geteuid(), status.st_uid
            remedy = "start the server as that user, or take another --base"
            raise SettingsError([f"{self.path} belongs to user {them}, not to you (user {us}): {remedy}"])

    def text_of(self, path: str) -> str:
        """The text of one of its files; empty where there is none."""
        try:
            with open(path, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise SettingsError([f"{os.path.basename(path)} cannot be read: {reason}"]) from None

    def make(self, server_toml: str) -> list[str]:
        """Makes what is missing, takes the lock, makes private what others may read; returns what it has done.

        `server_toml` is written where there is none. SettingsError where another process has the folder.
        """
        done: list[str] = []
        try:
            os.makedirs(os.path.dirname(self.path), PRIVATE_FOLDER, exist_ok=True)
            _make_folder(self.path)
            self.hold()
            if _write(self.settings_file, server_toml):
                done.append(f"first start: the server's folder is {self.path}, its settings are in server.toml there")
            _write(self.ae_table_file, EXAMPLE)
            for name in _FOLDERS:
                _make_folder(os.path.join(self.path, name))
            done += self._tighten()
        except OSError as error:
            raise SettingsError([f"{error.filename or self.path} cannot be made: {error.strerror}"]) from None
        return done

    def _tighten(self) -> list[str]:
        """Takes from others what they may do with the folder and what lies directly in it."""
        done = []
        for name in ("", *_FOLDERS, *_FILES):
            path = os.path.join(self.path, name) if name else self.path
            status = os.stat(path)
            mode = stat.S_IMODE(status.st_mode)
            wanted = mode & PRIVATE_FOLDER
            # behind a link may be what is another's
            if mode != wanted and status.st_uid == os.geteuid():
                os.chmod(path, wanted)
                done.append(f"{path} was open to other users (mode {mode:o}): its mode is {wanted:o} now")
        return done

    def hold(self) -> None:
        """Takes the lock; SettingsError where another process has it."""
        lock = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        for _ in range(_ATTEMPTS):
            if _locked(lock, fcntl.LOCK_EX) is not False:  # a file system without locks: go on without
                break
            time.sleep(_PAUSE)
        else:
            owner = _process_in(lock) or "unknown"
            os.close(lock)
            remedy = "stop it, or take another --ae-title or --base"
            raise SettingsError([f"{self.path} is in use by the server with process id {owner}: {remedy}"])
        self._lock = lock
        self.note_process()

    def holder(self) -> int | None:
        """The process id of the server that has the folder, 0 where it has not said it; None where nobody has it."""
        try:
            lock = os.open(self.lock_file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingsError([f"{self.lock_file} cannot be read: {error.strerror}"]) from None
        try:
            free = _locked(lock, fcntl.LOCK_SH)
            process = _process_in(lock)
        finally:
            os.close(lock)
        if free is None:
            return process if self.held_by(process) else None
        return None if free else process

    def held_by(self, process: int) -> bool:
        """Whether this process has the lock's file open: a process id alone may be another's by now."""
        try:
            wanted = os.stat(self.lock_file)
            opened = [f"/proc/{process}/fd/{name}" for name in os.listdir(f"/proc/{process}/fd")]
        except OSError:
            return False
        return any(_is_file(path, wanted) for path in opened)

    def note_process(self) -> None:
        """Says in the lock whose it is: a daemon has another process id than the one that took the lock."""
        if self._lock >= 0:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Lets another process have the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _locked(lock: int, kind: int) -> bool | None:
    """Takes a lock if it is free; whether it was. None where the file system has no locks."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _process_in(lock: int) -> int:
    text = os.pread(lock, 20, 0).strip()
    return int(text) if text.isdigit() else 0


def _is_file(path: str, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), wanted)
    except OSError:
        return False


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path, PRIVATE_FOLDER)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def _write(path: str, text: str) -> bool:
    """Writes a new private file; False where there is one already."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    except FileExistsError:
        return False
    with open(file, "w", encoding="utf-8") as stream:
        stream.write(text)
    return True
