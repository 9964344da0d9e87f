"""What tomllib does not tell and not do: the line of a key, and writing a value."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

#: a key as a path of names, tables first
Path = tuple[str, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_NAME: Final = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*(\.?)""")
_STRING: Final = re.compile(
    r"""
    \"{3}(?:[^\\]|\\.)*?\"{3,5} | '{3}.*?'{3,5}   # over several lines
    | "(?:[^"\\\n]|\\.)*" | '[^'\n]*'
    """,
    re.DOTALL | re.VERBOSE,
)
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def key_lines(text: str) -> dict[Path, int]:
    """The line, from 1, of every table and key of a valid TOML document; not of keys inside inline tables."""
    lines: dict[Path, int] = {}
    table: Path = ()
    here = _blank_end(text, 0)
    line, counted = 1, 0
    while here < len(text):
        line, counted = line + text.count("\n", counted, here), here
        if text[here] == "[":
            brackets = 2 if text.startswith("[[", here) else 1
            table, here = _key(text, here + brackets)
            lines.setdefault(table, line)
            here += brackets
        else:
            key, here = _key(text, here)
            lines.setdefault(table + key, line)
            # a dotted key makes tables
            for length in range(1, len(key)):
                lines.setdefault(table + key[:length], line)
            here = _value_end(text, here + 1)
        here = _blank_end(text, here)
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of a key, or of the nearest table around it; 0 where there is none."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 0


def parse_value(text: str) -> Any:
    """A value of the command line in TOML's syntax; what is no TOML value is a string, without quotes.

    Raises ValueError for what begins as a string, an array or an inline table, and does not end as one.
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        if text.startswith(('"', "'", "[", "{")):
            raise ValueError(f"{text} is not a value of TOML") from None
        return text
    # a line break in the text would begin a second key
    return parsed["value"] if parsed.keys() == {"value"} else text


def format_value(value: Any) -> str:
    """`value` in TOML's syntax: bool, int, float, str, and lists or tuples of these."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(one) or (one if one.isprintable() else _escape(one)) for one in value) + '"'
    return "[" + ", ".join(map(format_value, value)) + "]"


def _escape(character: str) -> str:
    return f"\\U{ord(character):08X}"


def _blank_end(text: str, here: int) -> int:
    found = _BLANK.match(text, here)
    assert found is not None
    return found.end()


def _key(text: str, here: int) -> tuple[Path, int]:
    names: list[str] = []
    while (found := _NAME.match(text, here)) is not None:
        name, here = found[1], found.end()
        names.append(tomllib.loads(f"v = {name}")["v"] if name[0] in "\"'" else name)
        if not found[2]:
            break
    return tuple(names), here


def _value_end(text: str, here: int) -> int:
    """Behind a value that begins at or after `here`: the end of its line."""
    depth = 0
    while here < len(text):
        character = text[here]
        if character in "\"'" and (found := _STRING.match(text, here)) is not None:
            here = found.end()
            continue
        if character == "#":
            end = text.find("\n", here)
            here = len(text) if end < 0 else end
            continue
        if character == "\n" and not depth:
            break
        depth += (character in "[{") - (character in "]}")
        here += 1
    return here
