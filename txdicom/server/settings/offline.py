"""Changes the settings of a server that does not run; one that does has its `LiveSettings`."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from txdicom.errors import NotFound, SettingsError
from txdicom.interfaces import IAddinOptions
from txdicom.interfaces.control import AddinOptions
from txdicom.server.finding.addins import find_addins
from txdicom.server.managing.checking import checked
from txdicom.server.settings.addins import no_options
from txdicom.server.settings.file import write_addin_options, write_settings
from txdicom.server.settings.tables import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from txdicom.server.finding.addins import Choice
    from txdicom.server.folder import ServerFolder


def change_settings(folder: ServerFolder, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes these settings, by table and name, to server.toml: see `write_settings`. Add-ins are imported for it."""
    folder.check_owner()
    write_settings(folder, values, partial(checked, folder, os.path.basename(folder.path)))


def _addin(folder: ServerFolder, name: str) -> tuple[Any, Choice]:
    """The add-in of that name, as it would take part, and what it was found by; NotFound."""
    settings = read_settings(folder.text_of(folder.settings_file), ae_title=os.path.basename(folder.path))
    choice = find_addins(settings, folder)
    for one in choice.addins:
        if one.name == name:
            return one.addin, choice
    broken = [str(one) for one in choice.broken if one.name == name]
    if broken:
        raise SettingsError(broken)
    raise NotFound(f"there is no add-in {name}; there are {', '.join(one.name for one in choice.addins) or 'none'}")


def addin_options(folder: ServerFolder, name: str) -> AddinOptions:
    """The settings of an add-in as the files say them. NotFound; SettingsError where the files cannot be used."""
    addin, choice = _addin(folder, name)
    if not IAddinOptions.providedBy(addin):
        raise no_options(name)
    options = choice.settings.get(name)
    if options is None:
        raise SettingsError(choice.problems)
    return AddinOptions(
        values=options.model_dump(mode="json"), json_schema=type(options).model_json_schema(mode="validation")
    )


def change_addin_options(folder: ServerFolder, name: str, values: Mapping[str, Any]) -> None:
    """Writes these settings of an add-in: see `write_addin_options`. NotFound where there is no such add-in."""
    folder.check_owner()
    addin, choice = _addin(folder, name)
    loaded = [one.addin for one in choice.addins]  # what is wrong with its own settings may be what is to be mended
    write_addin_options(folder, addin, values, partial(checked, folder, os.path.basename(folder.path), loaded=loaded))
