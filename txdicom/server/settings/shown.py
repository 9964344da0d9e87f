"""Settings as an operator looks at them: each with its value, where that comes from, and what is in force instead."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from txdicom.errors import NotFound
from txdicom.server.settings.live_names import RESTART
from txdicom.server.settings.tables import TABLES
from txdicom.server.settings.template import in_order
from txdicom.server.settings.toml import format_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from txdicom.server.settings.tables import Settings


@dataclass(frozen=True, kw_only=True)
class ShownSetting:
    """One setting. Values are as JSON has them."""

    name: str
    value: Any
    #: `default`, or file and line
    place: str
    doc: str
    #: in the server that runs; None where none does
    in_force: Any
    needs_restart: bool

    @property
    def text(self) -> str:
        """The value as in TOML."""
        return format_value(self.value)

    @property
    def remark(self) -> str:
        """On what is in force, where that is something else."""
        if self.in_force is None or self.in_force == self.value:
            return ""
        # the command line has set it, or server.toml was changed by hand
        until = "until a restart" if self.needs_restart else "for this run, or until server.toml is read again"
        return f"{format_value(self.in_force)}, {until}"


def shown(
    settings: Settings, in_force: Mapping[str, Mapping[str, Any]] | None, key: str | None = None
) -> list[ShownSetting]:
    """All settings, those of the table `key`, or the one of that name; NotFound. `in_force`: of a server that runs."""
    found = []
    for table, model in TABLES.items():
        for name, declared in in_order(model):
            value = _plain(getattr(getattr(settings, table), name))
            # a name that the server does not know is a newer one's
            running = None if in_force is None else in_force.get(table, {}).get(name, value)
            place = settings.places.get((table, name), "default").partition(": ")[0]
            found.append(
                ShownSetting(
                    name=f"{table}.{name}",
                    value=value,
                    place=place,
                    doc=declared.doc,
                    in_force=running,
                    needs_restart=in_force is not None and running != value and name in RESTART[table],
                )
            )
    if key is None:
        return found
    wanted = [one for one in found if one.name == key or one.name.startswith(f"{key}.")]
    if not wanted:
        near = get_close_matches(key, [one.name for one in found], n=1) or [f"one of {', '.join(TABLES)}"]
        raise NotFound(f"there is no setting {key}; did you mean {near[0]}?")
    return wanted


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
