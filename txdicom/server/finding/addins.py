"""Which add-ins a server runs with: found in three places, checked one by one and together, with their settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from txdicom.errors import SettingsError
from txdicom.interfaces import IDicomAddin, IServerConfig
from txdicom.scp.addins import problems_with
from txdicom.server.finding.discovery import Broken, Found, in_folder, names_in_folder
from txdicom.server.finding.installed import Installed
from txdicom.server.settings.addins import names_of_files, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from txdicom.server.folder import ServerFolder
    from txdicom.server.settings.tables import Settings


@dataclass(kw_only=True)
class Choice:
    """The add-ins of a server in the order of their loading, what is wrong with others, and what is not enabled."""

    addins: list[Found] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    required: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)
    others: Sequence[str] = ()
    """The names of the installed add-ins that are not enabled."""
    problems: list[str] = field(default_factory=list)
    """What must not be, in sentences: with any of them the server does not start."""
    warnings: list[str] = field(default_factory=list)


def configuration_addins(ae_title: str, folder: ServerFolder) -> list[Any]:
    """The objects of `configuration/`; SettingsError where one of its files cannot be used: it may be the licence."""
    found, broken = in_folder(folder.path, "configuration", ae_title, IServerConfig)
    if broken:
        raise SettingsError([str(one) for one in broken])
    return [one.addin for one in found]


def find_addins(settings: Settings, folder: ServerFolder) -> Choice:
    """Looks in the three places, and at the settings of what is there."""
    choice = Choice()
    installed = Installed()
    enabled = settings.addins.enabled
    choice.others = [name for name in installed.names if name not in enabled]
    for name in enabled:
        found, broken = installed.get(name, settings)
        choice.addins += found
        choice.broken += broken
    found, broken = in_folder(folder.path, "addins", settings.server.ae_title, IDicomAddin)
    choice.addins += found
    choice.broken += broken
    _leave_out_what_is_wrong(choice)
    known = [*installed.names, *(one.stem for one in found), *(one.name for one in broken)]
    choice.problems += _unknown(settings, [*known, *(one.name for one in choice.addins)])
    _in_order(choice, enabled)
    _twice(choice)
    _required(choice, settings)
    choice.settings = settings_of([one.addin for one in choice.addins], settings, folder, choice.problems)
    _strays(choice, settings, folder, installed)
    return choice


def wrong_names(settings: Settings, folder: ServerFolder, loaded: Iterable[Any]) -> list[str]:
    """What is wrong with the names of add-ins in settings, as `find_addins` says it, but nothing is imported.

    `loaded` are the add-ins that take part already. A new one of the folder is known by the name of its file only.
    """
    installed, modules = Installed().names, names_in_folder(folder.path, "addins")
    names = [one.name for one in loaded]
    problems = _unknown(settings, [*installed, *modules, *names])
    if ("addins", "required") in settings.places:
        part = dict.fromkeys([*settings.addins.enabled, *modules, *(one for one in names if one not in installed)])
        problems += [
            _not_there(settings, name, ", ".join(part) or "there are none")
            for name in settings.addins.required
            if name not in part
        ]
    return problems


def _leave_out_what_is_wrong(choice: Choice) -> None:
    good = []
    for one in choice.addins:
        reasons = problems_with(one.addin)
        if IServerConfig.providedBy(one.addin):
            reasons.append("it provides IServerConfig, for which its place is the folder configuration/")
        if reasons:
            choice.broken += [Broken(name=one.stem or one.name, where=one.origin, reason=reason) for reason in reasons]
        else:
            good.append(one)
    choice.addins = good


def _called(one: Found) -> set[str]:
    """What the settings may call an add-in."""
    return {one.name, one.stem} - {""}


def _unknown(settings: Settings, names: Sequence[str]) -> list[str]:
    there = ", ".join(dict.fromkeys(names))
    return [
        f"{settings.place('addins', 'enabled')}: there is no add-in {name!r}; there are {there}"
        for name in settings.addins.enabled
        if name not in names
    ]


def _in_order(choice: Choice, enabled: Sequence[str]) -> None:
    """Those that `enabled` names come first, in its order."""
    ranks = {name: rank for rank, name in enumerate(enabled)}
    choice.addins.sort(key=lambda one: min((ranks[name] for name in _called(one) if name in ranks), default=len(ranks)))


def _twice(choice: Choice) -> None:
    for name in dict.fromkeys(one.name for one in choice.addins):
        origins = [one.origin for one in choice.addins if one.name == name]
        if len(origins) > 1:
            choice.problems.append(f"{' and '.join(origins)} both have an add-in called {name}: take one of them out")


def _required(choice: Choice, settings: Settings) -> None:
    place = settings.place("addins", "required")
    required = set()
    for name in settings.addins.required:
        broken = [one for one in choice.broken if one.name == name]
        chosen = [one.name for one in choice.addins if name in _called(one)]
        choice.problems += [f"{one} (add-in {name} is required: {place})" for one in broken]
        required.update(chosen)
        # the default names what is enabled by default
        if not broken and not chosen and ("addins", "required") in settings.places:
            choice.problems += map(str, [one for one in choice.broken if one.name == one.where])
            choice.problems.append(_not_there(settings, name, _names(choice)))
    choice.required = frozenset(required)


def _not_there(settings: Settings, name: str, names: str) -> str:
    return f"{settings.place('addins', 'required')}: {name!r} is not among the add-ins that take part: {names}"


def _names(choice: Choice) -> str:
    return ", ".join(one.name for one in choice.addins) or "there are none"


def _strays(choice: Choice, settings: Settings, folder: ServerFolder, installed: Installed) -> None:
    """Settings of what is not there. A file that cannot be imported may be what they are for."""
    known = {*installed.names, *(one.name for one in choice.addins), *(one.name for one in choice.broken)}
    for name in settings.of_addins:
        if name not in known:
            place = settings.place("addins", name)
            sentence = f"{place}: there is no add-in {name}; there are {', '.join(sorted(known))}"
            (choice.warnings if choice.broken else choice.problems).append(sentence)
    choice.warnings += [
        f"addins.d/{name}.toml is for no add-in that there is" for name in names_of_files(folder) if name not in known
    ]
