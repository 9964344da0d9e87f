"""Writes settings to their files, comments kept: checked as at a start before, and taken back where that is asked.

All of it blocks. Of two that write at once, the second does when the first has written.
"""

from __future__ import annotations

import os
import tomllib
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from txdicom import private_files
from txdicom.errors import BadArgument, DicomError, NotFound, SettingsError
from txdicom.interfaces import IAddinOptions
from txdicom.server.addin_settings import Given, check, file_of, read_given
from txdicom.server.compose import examine
from txdicom.server.settings import AddinSettings, Override, declarations, read_settings
from txdicom.server.toml_edit import with_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from txdicom.server.compose import Prepared
    from txdicom.server.folder import ServerFolder
    from txdicom.server.toml import Path


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
            for path, old in self.before.items():
                if _text(path) != self.after[path]:
                    continue
                if old is None:
                    with suppress(FileNotFoundError):
                        os.unlink(path)
                else:
                    _write(path, old)


def write_settings(
    folder: ServerFolder, values: Mapping[str, Mapping[str, Any]], overrides: Sequence[Override] = ()
) -> Written:
    """Writes these settings, by table and name, to server.toml.

    BadArgument where the server could not start with them; SettingsError where it could not with the file that is there
    before, DicomError where that takes a person, or the file cannot be written. `overrides` go before the file.
    """
    given = _by_path(values)
    path = folder.settings_file
    with ExitStack() as held:
        _hold(held, [path])
        text = settings_text(folder)
        examined(folder, text, overrides)
        _check_values(given, os.path.basename(folder.path))
        new = _edited(text, given)
        try:
            examined(folder, new, overrides)
        except SettingsError as error:
            raise BadArgument(error.problems) from None
        _write(path, new)
        return Written(text=new, before={path: text}, after={path: new})


def write_addin_options(
    folder: ServerFolder, addin: Any, values: Mapping[str, Any], overrides: Sequence[Override] = ()
) -> Written:
    """Writes these settings of an add-in, by key; None takes one out. What stands in server.toml is changed there.

    Errors as with `write_settings`; NotFound where the add-in has no settings.
    """
    name = addin.name
    if not IAddinOptions.providedBy(addin):
        raise NotFound(f"add-in {name} has no options")
    path, own_path = folder.settings_file, file_of(folder, name)
    with ExitStack() as held:
        _hold(held, [path, own_path])
        text, own = settings_text(folder), _text(own_path)
        there = examined(folder, text, overrides)
        problems: list[str] = []
        given = read_given(name, there.settings, folder, problems)
        if problems:
            raise SettingsError(problems)
        merged = {key: value for key, value in {**given.values, **values}.items() if value is not None}
        if check(addin.settings_model, Given(name, merged, {(key,): key for key in merged}), problems) is None:
            raise BadArgument(problems)
        in_table = tomllib.loads(text).get("addins", {}).get(name)
        others = own is None and in_table is not None  # where a key goes that stands nowhere yet: to the table?
        table_keys = {key for key in values if key in (in_table or {}) or others}
        after = {
            path: _edited(text, {("addins", name, key): values[key] for key in values if key in table_keys}),
            own_path: _edited(own or "", {(key,): values[key] for key in values if key not in table_keys}),
        }
        before = {path: text, own_path: own}
        changed = [one for one in after if after[one] != (before[one] or "")]
        for one in changed:
            _write(one, after[one])
        return Written(
            text=after[path],
            before={one: before[one] for one in changed},
            after={one: after[one] for one in changed},
        )


def settings_text(folder: ServerFolder) -> str:
    """What server.toml says, with its line ends. Without the file a running server must not go back to defaults."""
    text = _text(folder.settings_file)
    if text is None:
        raise SettingsError([f"{folder.settings_file} is not there: put it back"])
    return text


def examined(folder: ServerFolder, text: str, overrides: Sequence[Override]) -> Prepared:
    """The server with this server.toml, checked as at a start; SettingsError with every mistake."""
    problems: list[str] = []
    prepared = examine(folder, os.path.basename(folder.path), text, overrides, problems)
    if prepared is None or problems:
        raise SettingsError(problems)
    return prepared


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


def _edited(text: str, values: Mapping[Path, Any]) -> str:
    try:
        return with_values(text, values)
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


def _write(path: str, text: str) -> None:
    try:
        private_files.replace(path, text.encode())
    except OSError as error:
        raise DicomError(f"{path} cannot be written: {error.strerror}") from error
