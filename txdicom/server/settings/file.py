"""Writes settings to their files, comments kept: checked as at a start before, and taken back where that is asked.

All of it blocks. Of two that write at once, the second does when the first has written.
"""

from __future__ import annotations

import os
import tomllib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from txdicom import private_files
from txdicom.errors import BadArgument, DicomError, SettingsError
from txdicom.interfaces import IAddinOptions
from txdicom.server.settings.addins import Given, check, file_of, no_options, read_given
from txdicom.server.settings.tables import AddinSettings, Override, declarations, read_settings
from txdicom.server.settings.toml_edit import with_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from txdicom.server.folder import ServerFolder
    from txdicom.server.managing.checking import Checked
    from txdicom.server.settings.toml import Path

    #: what is to be said of a server.toml of this text
    Look = Callable[[str], Checked]


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written, by the path of the file: `before` and `after` are texts; None: there was none.

    `text` is that of server.toml now, written or not.
    """

    text: str
    before: Mapping[str, str | None]
    after: Mapping[str, str]

    def take_back(self) -> None:
        """Puts the old texts in their places, unless somebody else has written since; DicomError where it cannot."""
        with ExitStack() as held:
            _hold(held, self.before)
            _put_back({path: old for path, old in self.before.items() if _text(path) == self.after[path]})


def write_settings(folder: ServerFolder, values: Mapping[str, Mapping[str, Any]], look: Look) -> Written:
    """Writes these settings, by table and name, to server.toml; `look` says what is wrong with a text of it.

    BadArgument where the server could not start with them; SettingsError where it could not before, and still cannot;
    DicomError where the change takes a person, or the file cannot be written.
    """
    given = _by_path(values)
    path = folder.settings_file
    with ExitStack() as held:
        _hold(held, [path])
        text = settings_text(folder)
        _check_values(given, os.path.basename(folder.path))
        new = _edited(path, text, given)
        problems = look(new).problems
        if problems:
            raise SettingsError(problems) if look(text).problems else BadArgument(problems)
        return _write({path: new}, {path: text}, new)


def write_addin_options(folder: ServerFolder, addin: Any, values: Mapping[str, Any], look: Look) -> Written:
    """Writes these settings of an add-in, by key; None takes one out. What stands in server.toml is changed there.

    BadArgument where the add-in's model does not take them, NotFound where it has no settings; SettingsError where
    `look` finds server.toml wrong; DicomError as with `write_settings`, and then neither file is changed.
    """
    name = addin.name
    if not IAddinOptions.providedBy(addin):
        raise no_options(name)
    path, own_path = folder.settings_file, file_of(folder, name)
    with ExitStack() as held:
        _hold(held, [path, own_path])
        text, own = settings_text(folder), _text(own_path)
        there = look(text)
        problems = list(there.problems)
        given = Given(name) if there.settings is None else read_given(name, there.settings, folder, problems)
        if problems:
            raise SettingsError(problems)
        merged = {key: value for key, value in {**given.values, **values}.items() if value is not None}
        places = {place: where for place, where in given.places.items() if place[0] not in values}
        if check(addin.settings_model, Given(name, merged, places | {(key,): key for key in values}), problems) is None:
            raise BadArgument(problems)
        in_table = tomllib.loads(text).get("addins", {}).get(name)
        others = own is None and in_table is not None  # where a key goes that stands nowhere yet: to the table?
        table_keys = {key for key in values if key in (in_table or {}) or others}
        after = {
            path: _edited(path, text, {("addins", name, key): values[key] for key in values if key in table_keys}),
            own_path: _edited(own_path, own or "", {(key,): values[key] for key in values if key not in table_keys}),
        }
        return _write(after, {path: text, own_path: own}, after[path])


def settings_text(folder: ServerFolder) -> str:
    """What server.toml says, with its line ends. Without the file a running server must not go back to defaults."""
    text = _text(folder.settings_file)
    if text is None:
        raise SettingsError([f"{folder.settings_file} is not there: put it back"])
    return text


def _by_path(values: Mapping[str, Mapping[str, Any]]) -> dict[Path, Any]:
    given: dict[Path, Any] = {}
    problems = []
    for table, named in values.items():
        if not isinstance(named, dict):
            problems.append(f"{table}: it has to be an object of settings by name")
            continue
        for name, value in named.items():
            if table == "addins" and name not in declarations(AddinSettings) and isinstance(value, dict):
                problems.append(f"addins.{name}: the settings of an add-in are set by themselves (SetAddinOptions)")
            given[table, name] = value
    if problems:
        raise BadArgument(problems)
    return given


def _check_values(given: Mapping[Path, Any], ae_title: str) -> None:
    """BadArgument with every mistake that is in the values themselves."""
    try:
        read_settings("", [Override(path, value, "") for path, value in given.items()], ae_title=ae_title)
    except SettingsError as error:
        raise BadArgument(error.problems) from None


def _edited(path: str, text: str, values: Mapping[Path, Any]) -> str:
    try:
        return with_values(text, values)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{os.path.basename(path)}: {error}: correct that first"]) from None
    except ValueError as error:
        raise BadArgument([str(error)]) from None


def _hold(held: ExitStack, paths: Iterable[str]) -> None:
    folders = {os.path.dirname(os.path.realpath(path)): path for path in paths}
    try:
        for folder in sorted(folders):  # in one order, or two would wait for each other
            held.enter_context(private_files.alone(folders[folder]))
    except OSError as error:
        raise DicomError(f"{error.filename} cannot be used: {error.strerror}") from None


def _text(path: str) -> str | None:
    """The text as it is, with its line ends; None where there is no file."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError([f"{os.path.basename(path)} cannot be read: {reason}"]) from None


def _write(after: Mapping[str, str], before: Mapping[str, str | None], text: str) -> Written:
    """Writes those that are different, all or none; `text` is that of server.toml then."""
    changed = [path for path in after if after[path] != (before[path] or "")]
    for number, path in enumerate(changed):
        try:
            private_files.replace(path, after[path].encode())
        except OSError as error:
            _put_back({one: before[one] for one in changed[:number]})
            raise DicomError(f"{path} cannot be written: {error.strerror}") from error
    return Written(text=text, before={one: before[one] for one in changed}, after={one: after[one] for one in changed})


def _put_back(before: Mapping[str, str | None]) -> None:
    for path, old in before.items():
        try:
            if old is not None:
                private_files.replace(path, old.encode())
            elif os.path.lexists(path):
                os.unlink(path)
        except OSError as error:
            raise DicomError(f"{path} cannot be written: {error.strerror}") from error
