"""The first `server.toml` of a server: every setting with its default and documentation, so that it explains itself."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_origin

from annotated_types import Ge, Le

from txdicom.server.settings.live_names import RESTART
from txdicom.server.settings.tables import TABLES, declarations
from txdicom.server.settings.toml import format_key, format_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from txdicom.server.settings.tables import Declaration
    from txdicom.server.settings.toml import Path

_HEAD: Final = """\
## Settings of a txdicom server. A line that begins with a single # is a setting at its default: take the # away and
## change it. The whole file is checked when the server starts, and every mistake is reported with its line. A running
## server reads it again on SIGHUP, or is changed by `txdicom server set`; what needs a restart says so here.
"""


def server_toml(given: Mapping[Path, tuple[Any, str]]) -> str:
    """The text of a new server.toml; `given` are the settings (table, name) that it sets, each with a word on why.

    Those of an add-in are (addins, its name, name).
    """
    lines = [_HEAD]
    for table, model in TABLES.items():
        lines += [f"[{table}]", ""]
        for name, (annotation, default, doc) in in_order(model):
            text = _sentence(doc) + _choice(annotation) + _restart(table, name)
            lines += [f"## {line}" for line in textwrap.wrap(text, 116)]
            if (table, name) in given:
                value, why = given[table, name]
                lines += [f"## {line}" for line in textwrap.wrap(why, 116)]
                lines += [f"{name} = {format_value(value)}", ""]
            else:
                lines += [f"#{name} = {format_value(default)}", ""]
    of_addins = [path for path in given if len(path) > 2]
    for addin in dict.fromkeys(path[1] for path in of_addins):
        lines += [f"[addins.{format_key(addin)}]", ""]
        lines += [f"{format_key(path[2])} = {format_value(given[path][0])}" for path in of_addins if path[1] == addin]
        lines += [""]
    return "\n".join(lines)


def in_order(model: Any) -> list[tuple[str, Declaration]]:
    """The settings of a table: what is particular to a server comes before what it has in common with others."""
    return sorted(declarations(model).items(), key=lambda one: one[0] not in model.__annotations__)


def _sentence(doc: str) -> str:
    return f"{doc[0].upper()}{doc[1:]}".rstrip(".")


def _restart(table: str, name: str) -> str:
    """A word on a setting that cannot change while the server runs."""
    return ". Needs a restart" if name in RESTART[table] and name != "ae_title" else ""


def _choice(annotation: Any) -> str:
    """What a setting may be, as its annotation says it."""
    if get_origin(annotation) is Literal:
        return f" ({', '.join(map(format_value, get_args(annotation)))})"
    if get_origin(annotation) is not Annotated:
        return ""
    low = next((one.ge for one in annotation.__metadata__ if isinstance(one, Ge)), 0)
    high = next((one.le for one in annotation.__metadata__ if isinstance(one, Le)), None)
    if high is not None:
        return f" ({low} to {high})"
    return f" (at least {low})" if low else ""
