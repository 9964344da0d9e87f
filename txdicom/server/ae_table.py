"""`aetitles.toml`: the application entities a server knows, one table each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError

from txdicom.errors import SettingsError
from txdicom.net.config import setting
from txdicom.scp.config import unknown_setting
from txdicom.server.toml import key_lines, line_of

#: what a new server's table says
EXAMPLE = """\
# The application entities this server knows, one table each; a title with other characters than letters, digits, - and
# _ stands in quotes. Where allow_anonymous is false in server.toml, only these may open associations.
#
# [WORKSTATION]
# host = "192.0.2.7"      # name or address
# port = 11112            # 104 where none is given
#
# ["CT SCANNER.2"]
# host = "ct2.example.org"
"""


@dataclass(frozen=True, kw_only=True)
class AEEntry:
    """One application entity of the table; `host` and `port` are where it listens, if it does."""

    host: str = setting("", "name or address")
    port: Annotated[int, Ge(1), Le(65_535)] = setting(104, "TCP port")


def read_ae_table(text: str) -> dict[str, AEEntry]:
    """The entries by AE title; SettingsError lists every mistake with its line."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"aetitles.toml: {error}"]) from None
    lines = key_lines(text)
    entries: dict[str, AEEntry] = {}
    problems: list[str] = []
    for title, values in document.items():
        place = f"aetitles.toml:{line_of(lines, (title,))}"
        if not _is_ae_title(title):
            rule = "1 to 16 characters, no backslash, no control character, no space around"
            problems.append(f"{place}: {title!r} is not an AE title ({rule})")
        elif not isinstance(values, dict):
            problems.append(f"{place}: an application entity is a table: write [{title}], its host and port below")
        else:
            where = {name: f"aetitles.toml:{line_of(lines, (title, name))}: {title}.{name}" for name in values}
            entries[title] = _entry(values, where, problems)
    if problems:
        raise SettingsError(problems)
    return entries


def _entry(values: dict[str, Any], where: dict[str, str], problems: list[str]) -> AEEntry:
    checked: dict[str, Any] = {}
    for name, value in values.items():
        adapter = _adapters().get(name)
        if adapter is None:
            quotes = "; a title with a dot stands in quotes" if isinstance(value, dict) else ""
            problems.append(unknown_setting(where[name], set()) + f" (there are {', '.join(_adapters())}){quotes}")
            continue
        try:
            checked[name] = adapter.validate_python(value, strict=True)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            problems.append(f"{where[name]}: {message[0].lower()}{message[1:]}, not {value!r}")
    return AEEntry(**checked)


@cache
def _adapters() -> dict[str, TypeAdapter[Any]]:
    from typing import get_type_hints

    hints = get_type_hints(AEEntry, include_extras=True)
    return {one.name: TypeAdapter(hints[one.name]) for one in fields(AEEntry)}


def _is_ae_title(text: str) -> bool:
    """Whether a peer may have this title (VR AE, PS3.5 §6.2); spaces around it would not be significant."""
    return 0 < len(text) <= 16 and text.isascii() and text.isprintable() and "\\" not in text and text == text.strip()
