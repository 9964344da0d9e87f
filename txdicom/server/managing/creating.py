"""Makes the folder of a new server, and removes that of one that is not wanted any more."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from txdicom.archive.layout import SUFFIX
from txdicom.errors import Conflict, DicomError, SettingsError
from txdicom.server.compose import first_settings
from txdicom.server.folder import ServerFolder, choose_title
from txdicom.server.managing.checking import checked
from txdicom.server.settings.folders import with_folders
from txdicom.server.settings.tables import parse_overrides, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from txdicom.server.settings.tables import Settings


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What is lost with a server's folder."""

    folder: str
    instances: int
    """Stored instances in it."""
    elsewhere: str
    """The store, where that is another folder: it is not removed."""


def create(base: str, ae_title: str, set_options: Iterable[str] = (), listen: Sequence[str] = ()) -> Settings:
    """Makes the folder of a new server with these settings; its settings as they are read again.

    Conflict where there is something of this name already; SettingsError lists every mistake, and nothing is made.
    """
    folder = ServerFolder(base, choose_title(base, ae_title))
    if os.path.lexists(folder.settings_file):
        raise Conflict(f"there is a server {ae_title} already: its folder is {folder.path}")
    folder.check_owner()
    problems: list[str] = []
    overrides = parse_overrides(set_options, listen, problems)
    found = checked(folder, ae_title, "", overrides)
    if found.prepared is None or problems or found.problems:
        raise SettingsError([*problems, *found.problems])
    folder.make(first_settings(found.prepared.settings, overrides))
    folder.release()
    return read_settings(folder.text_of(folder.settings_file), ae_title=ae_title)


def contents(folder: ServerFolder, ae_title: str) -> Contents:
    """What is in the folder of a server; all of it is looked at."""
    store = os.path.join(folder.path, "store")
    try:
        settings = read_settings(folder.text_of(folder.settings_file), ae_title=ae_title)
        store = with_folders(settings, folder.path).archive.store
    except SettingsError:
        pass  # what cannot be read cannot have been used lately
    inside = os.path.realpath(folder.path)
    apart = os.path.commonpath([inside, os.path.realpath(store)]) != inside
    count = sum(name.endswith(SUFFIX) for _, _, names in os.walk(folder.path) for name in names)
    return Contents(folder=folder.path, instances=count, elsewhere=store if apart else "")


def remove(folder: ServerFolder) -> None:
    """Deletes the folder of a server that does not run, with all that is in it; links are not followed.

    What an earlier removal of that title has left goes too. SettingsError where it runs, or is not this user's;
    DicomError where it cannot be removed, or not all of it.
    """
    folder.check_owner()
    if os.path.islink(folder.path):
        raise DicomError(f"{folder.path} is a link to {os.path.realpath(folder.path)}: remove that yourself, and it")
    folder.hold()
    try:
        doomed = _put_aside(folder)
        try:
            shutil.rmtree(doomed)
        except OSError as error:
            left = f"{error.filename or doomed} cannot be removed: {error.strerror}"
            raise DicomError(f"the server is removed, but not all of its files: {left}; delete {doomed}") from None
    finally:
        folder.release()


def _put_aside(folder: ServerFolder) -> str:
    """Renames the folder: at once it is no server any more, whatever becomes of the rest. Where it is then."""
    base, title = os.path.split(folder.path)
    mark = f".{title}.removed"
    try:
        for name in os.listdir(base):
            if name.startswith(mark):
                shutil.rmtree(os.path.join(base, name), ignore_errors=True)  # what stays is in nobody's way
        doomed = tempfile.mkdtemp(prefix=f"{mark}-", dir=base)
        try:
            os.rename(folder.path, doomed)
        except OSError:
            with suppress(OSError):
                os.rmdir(doomed)
            raise
    except OSError as error:
        raise DicomError(f"{folder.path} cannot be removed: {error.strerror}") from None
    return doomed
