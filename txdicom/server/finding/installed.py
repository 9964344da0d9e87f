"""Installed add-ins: those that come with txdicom, those of the entry-point group `txdicom.addins`, Twisted plugins."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from txdicom.addins.storage import StorageAddin
from txdicom.addins.verification import VerificationAddin
from txdicom.archive.store import Store
from txdicom.interfaces import IDicomAddin
from txdicom.server.finding.discovery import Broken, Found

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.metadata import EntryPoint

    from txdicom.server.settings.tables import Settings

GROUP: Final = "txdicom.addins"

#: the add-ins that come with txdicom: they are made from the server's own settings
SHIPPED: Final[Mapping[str, Callable[[Settings], object]]] = {
    "verification": lambda settings: VerificationAddin(),
    "storage": lambda settings: StorageAddin(
        Store(
            settings.archive.store,
            staging=settings.server.temporary_directory,
            flush=settings.archive.flush,
            duplicates=settings.archive.duplicates,
        )
    ),
}


class Installed:
    """The installed add-ins, by name; one that is not asked for is not imported, if it is no Twisted plugin."""

    def __init__(self) -> None:
        self._entry_points = {(one.name, one.value): one for one in entry_points(group=GROUP)}
        self._plugins = list(_plugins())

    @property
    def names(self) -> list[str]:
        """The names there are, those of txdicom's own first."""
        names = [name for name, _ in self._entry_points]
        return list(dict.fromkeys([*SHIPPED, *sorted([*names, *(one.name for one in self._plugins)])]))

    def get(self, name: str, settings: Settings) -> tuple[list[Found], list[Broken]]:
        """What is called so: one add-in, unless two packages have the same name for theirs."""
        found = [one for one in self._plugins if one.name == name]
        broken: list[Broken] = []
        if name in SHIPPED:
            found.insert(0, Found(addin=SHIPPED[name](settings), origin="txdicom"))
        for (other, _), entry_point in self._entry_points.items():
            if other == name:
                try:
                    found.append(Found(addin=_made(entry_point), origin=_origin(entry_point)))
                except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a package does when it is imported)
                    reason = f"{type(error).__name__}: {error}"
                    broken.append(Broken(name=name, where=_origin(entry_point), reason=reason))
        return found, broken


def _made(entry_point: EntryPoint) -> Any:
    """The add-in of an entry point, which is an add-in, or a class or function that makes one without arguments."""
    thing = entry_point.load()
    addin = thing if IDicomAddin.providedBy(thing) else thing()
    name = getattr(addin, "name", None)
    if name != entry_point.name:
        raise ValueError(f"its add-in is called {name!r}; the entry point has to have the same name")
    return addin


def _origin(entry_point: EntryPoint) -> str:
    package = f"{entry_point.dist.name} {entry_point.dist.version}" if entry_point.dist else "a package"
    return f"{package} ({entry_point.value})"


def _plugins() -> list[Found]:
    from twisted.plugin import getPlugins

    return [Found(addin=one, origin=f"Twisted plugin {type(one).__module__}") for one in getPlugins(IDicomAddin)]
