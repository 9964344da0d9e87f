"""The settings of add-ins: those of `addins.d/<name>.toml` and of `[addins.<name>]`, checked by the add-ins' models."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from txdicom.errors import NotFound, SettingsError
from txdicom.interfaces import IAddinOptions
from txdicom.scp.config import unknown_setting
from txdicom.server.settings.mistakes import is_secret, mistake
from txdicom.server.settings.toml import key_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from txdicom.server.folder import ServerFolder
    from txdicom.server.settings.tables import Settings
    from txdicom.server.settings.toml import Path


@dataclass(frozen=True)
class Given:
    """What the two places say about one add-in: values by key, and the place of each key, as deep as it is known."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Path, str] = field(default_factory=dict)

    def place(self, path: Path) -> str:
        """Where a key stands, or what is nearest to it, with the key's name."""
        for length in range(len(path), 0, -1):
            place = self.places.get(path[:length])
            if place is not None:
                return place
        return f"addins.d/{self.name}.toml: {'.'.join(path)}" if path else f"the settings of add-in {self.name}"


def no_options(name: str) -> NotFound:
    """The error where the settings of an add-in are asked for that has none."""
    return NotFound(f"add-in {name} has no options")


def file_of(folder: ServerFolder, name: str) -> str:
    """The path of an add-in's own file of settings."""
    return os.path.join(folder.path, "addins.d", f"{name}.toml")


def names_of_files(folder: ServerFolder) -> list[str]:
    """The names of the add-ins that have a file of settings."""
    try:
        names = os.listdir(os.path.join(folder.path, "addins.d"))
    except FileNotFoundError:
        return []
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml") and not name.startswith("."))


def read_given(name: str, settings: Settings, folder: ServerFolder, problems: list[str]) -> Given:
    """What the two places say; what cannot be read, and what both say, is added to `problems`."""
    given = Given(name, dict(settings.of_addins.get(name, {})))
    for path, place in settings.places.items():
        if path[:2] == ("addins", name) and len(path) > 2:
            given.places[path[2:]] = place
    file = f"addins.d/{name}.toml"
    try:
        text = folder.text_of(file_of(folder, name))
        document = tomllib.loads(text)
    except SettingsError as error:
        problems += [f"addins.d/{problem}" for problem in error.problems]
        return given
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{file}: {error}")
        return given
    places = {path: f"{file}:{line}: {'.'.join(path)}" for path, line in key_lines(text).items()}
    for key, value in document.items():
        if key in given.values:
            problems.append(f"{places[(key,)]}: it is also given in {given.place((key,))}: take one of them out")
        else:
            given.values[key] = value
            given.places.update({path: place for path, place in places.items() if path[0] == key})
    return given


def check(model: type[BaseModel], given: Given, problems: list[str]) -> BaseModel | None:
    """The settings as the add-in's model has them; every mistake is added to `problems`, and the answer is None then.

    An unknown key is a mistake, whatever the model says about it. What is wrong with a secret is said without it.
    """
    before = len(problems)
    _unknown_keys(model, given.values, (), given, problems)
    try:
        settings = model.model_validate(given.values)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            path = tuple(map(str, one["loc"]))
            if one["type"] == "extra_forbidden":
                continue
            secret = any(is_secret(model, name) for name in path[:1] or model.model_fields)
            problems.append(mistake(given.place(path), one, secret=secret))
        return None
    return settings if len(problems) == before else None


def _unknown_keys(
    model: type[BaseModel], values: Mapping[str, Any], path: Path, given: Given, problems: list[str]
) -> None:
    known = {info.alias or name: info.annotation for name, info in model.model_fields.items()}
    for key, value in values.items():
        if key not in known:
            # the place must not take part in the comparison
            meant = unknown_setting(key, set(known)).partition(": ")[2]
            problems.append(f"{given.place((*path, key))}: {meant}")
            continue
        inner = known[key]
        if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, dict):
            _unknown_keys(inner, value, (*path, key), given, problems)


def settings_of(
    addins: Iterable[Any], settings: Settings, folder: ServerFolder, problems: list[str]
) -> dict[str, BaseModel]:
    """The checked settings of those add-ins that have any, by name; every mistake is added to `problems`."""
    checked: dict[str, BaseModel] = {}
    for addin in addins:
        name = addin.name
        given = read_given(name, settings, folder, problems)
        if IAddinOptions.providedBy(addin):
            model = check(addin.settings_model, given, problems)
            if model is not None:
                checked[name] = model
        else:
            problems += [f"{given.place((key,))}: add-in {name} has no settings" for key in given.values]
    return checked
