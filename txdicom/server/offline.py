"""Changes the settings of a server that does not run; one that does has its `LiveSettings`."""

from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from txdicom import private_files
from txdicom.errors import BadArgument, DicomError, NotFound, SettingsError
from txdicom.interfaces import IAddinOptions
from txdicom.interfaces.control import AddinOptions
from txdicom.server.addin_settings import check, file_of, read_given
from txdicom.server.addins import find_addins
from txdicom.server.checking import checked
from txdicom.server.settings import read_settings
from txdicom.server.toml_edit import with_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from txdicom.server.addins import Choice
    from txdicom.server.folder import ServerFolder
    from txdicom.server.settings import Settings
    from txdicom.server.toml import Path


def change_settings(folder: ServerFolder, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes these settings, by table and name, into server.toml, whose comments stay.

    SettingsError lists all that would keep the server from starting with it, and nothing is changed.
    """
    folder.check_owner()
    paths: dict[Path, Any] = {(table, name): value for table, given in values.items() for name, value in given.items()}

    def accept(text: str) -> None:
        found = checked(folder, os.path.basename(folder.path), text)
        if found.problems:
            raise SettingsError(found.problems)

    _edit(folder, folder.settings_file, paths, accept)


def _addin(folder: ServerFolder, name: str) -> tuple[Any, Settings, Choice]:
    """The add-in of that name, as it would take part, and what it was found by; NotFound."""
    settings = read_settings(folder.text_of(folder.settings_file), ae_title=os.path.basename(folder.path))
    choice = find_addins(settings, folder)
    for one in choice.addins:
        if one.name == name:
            return one.addin, settings, choice
    broken = [str(one) for one in choice.broken if one.name == name]
    if broken:
        raise SettingsError(broken)
    raise NotFound(f"there is no add-in {name}; there are {', '.join(one.name for one in choice.addins) or 'none'}")


def addin_options(folder: ServerFolder, name: str) -> AddinOptions:
    """The settings of an add-in as the files say them. NotFound; SettingsError where the files cannot be used."""
    addin, _settings, choice = _addin(folder, name)
    if not IAddinOptions.providedBy(addin):
        raise NotFound(f"add-in {name} has no options")
    options = choice.settings.get(name)
    if options is None:
        raise SettingsError(choice.problems)
    return AddinOptions(
        values=options.model_dump(mode="json"), json_schema=type(options).model_json_schema(mode="validation")
    )


def change_addin_options(folder: ServerFolder, name: str, values: Mapping[str, Any]) -> None:
    """Writes these settings of an add-in where they stand, new ones into its file in addins.d.

    BadArgument lists what its model does not take, NotFound: there is no such add-in, or it has no settings.
    """
    folder.check_owner()
    addin, settings, _choice = _addin(folder, name)
    if not IAddinOptions.providedBy(addin):
        raise NotFound(f"add-in {name} has no options")
    problems: list[str] = []
    given = read_given(name, settings, folder, problems)
    places = {path: place for path, place in given.places.items() if path[0] not in values}
    places |= {(key,): key for key in values}
    check(addin.settings_model, replace(given, values={**given.values, **values}, places=places), problems)
    if problems:
        raise BadArgument(problems)
    in_server = settings.of_addins.get(name, {})
    ours: dict[Path, Any] = {("addins", name, key): value for key, value in values.items() if key in in_server}
    its: dict[Path, Any] = {(key,): value for key, value in values.items() if key not in in_server}
    if ours:
        _edit(folder, folder.settings_file, ours, lambda text: None)
    if its:
        _edit(folder, file_of(folder, name), its, lambda text: None)


def _edit(folder: ServerFolder, path: str, values: Mapping[Path, Any], accept: Callable[[str], None]) -> None:
    try:
        with private_files.alone(path):
            text = with_values(folder.text_of(path), values)
            accept(text)
            private_files.replace(path, text.encode())
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{os.path.basename(path)}: {error}: correct that first"]) from None
    except ValueError as error:
        raise BadArgument([str(error)]) from None
    except OSError as error:
        raise DicomError(f"{path} cannot be written: {error.strerror}") from None
