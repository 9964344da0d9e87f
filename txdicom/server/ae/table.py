"""`aetitles.toml`: the application entities a server knows, one table each."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Final

from txdicom.errors import BadArgument, SettingsError
from txdicom.interfaces import AEEntry
from txdicom.interfaces.ae_titles import VALUES, mistakes
from txdicom.scp.config import unknown_setting
from txdicom.server.settings.toml import key_lines, line_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from txdicom.server.settings.toml import Path

#: what a new server's table says
EXAMPLE: Final = """\
# The application entities this server knows, one table each; a title with other characters than letters, digits, - and
# _ stands in quotes. Where allow_anonymous is false in server.toml, only these may open associations. The command
# `txdicom ae` lists and changes them. What is changed, by it or by hand, holds at once, for a running server too.
#
# [WORKSTATION]
# host = "192.0.2.7"      # name or address
# port = 11112            # 104 where none is given
# verify = "address"      # who calls itself WORKSTATION has to call from there
#
# ["CT SCANNER.2"]
# host = "ct2.example.org"
"""


def read_ae_table(text: str) -> dict[str, AEEntry]:
    """The entries by AE title; SettingsError lists every mistake with its line."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"aetitles.toml: {error}"]) from None
    try:
        if all(values.keys() <= VALUES.keys() for values in document.values()):
            return {title: AEEntry(ae_title=title, **values) for title, values in document.items()}
    except (BadArgument, AttributeError):  # what is no table has no keys
        pass
    raise SettingsError(_all_mistakes(document, key_lines(text)))


def _all_mistakes(document: Mapping[str, Any], lines: dict[Path, int]) -> list[str]:
    """A sentence for each."""
    problems: list[str] = []
    for title, values in document.items():
        place = f"aetitles.toml:{line_of(lines, (title,))}"
        if not isinstance(values, dict):
            problems.append(f"{place}: an application entity is a table: write [{title}], its host and port below")
            continue
        known = {name: value for name, value in values.items() if name in VALUES}
        found = mistakes({"ae_title": title, **known})
        if "ae_title" in found:
            problems.append(f"{place}: {found.pop('ae_title')}")
        for name, value in values.items():
            where = f"aetitles.toml:{line_of(lines, (title, name))}: {title}.{name}"
            if name in found:
                problems.append(f"{where}: {found[name]}")
            elif name not in VALUES:
                quotes = "; a title with a dot stands in quotes" if isinstance(value, dict) else ""
                problems.append(unknown_setting(where, set()) + f" (there are {', '.join(VALUES)}){quotes}")
        problems += [f"{place}: {title}.{name}: {found[name]}" for name in found if name not in values]
    return problems
