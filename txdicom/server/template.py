"""The first `server.toml` of a server: every setting with its default and documentation, so that it explains itself."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_origin

from annotated_types import Ge, Le

from txdicom.server.settings import TABLES, declarations
from txdicom.server.toml import format_value

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD: Final = """\
## Settings of a txdicom server. A line that begins with a single # is a setting at its default: take the # away and
## change it. The whole file is checked when the server starts, and every mistake is reported with its line.
"""


def server_toml(given: Mapping[tuple[str, str], tuple[Any, str]]) -> str:
    """The text of a new server.toml; `given` are the settings (table, name) that it sets, each with a word on why."""
    lines = [_HEAD]
    for table, model in TABLES.items():
        lines += [f"[{table}]", ""]
        # what is particular to a server comes before what it has in common with others
        declared = declarations(model).items()
        for name, (annotation, default, doc) in sorted(declared, key=lambda one: one[0] not in model.__annotations__):
            lines += [f"## {line}" for line in textwrap.wrap(_sentence(doc) + _choice(annotation), 116)]
            if (table, name) in given:
                value, why = given[table, name]
                lines += [f"## {line}" for line in textwrap.wrap(why, 116)]
                lines += [f"{name} = {format_value(value)}", ""]
            else:
                lines += [f"#{name} = {format_value(default)}", ""]
    return "\n".join(lines)


def _sentence(doc: str) -> str:
    return f"{doc[0].upper()}{doc[1:]}".rstrip(".")


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
