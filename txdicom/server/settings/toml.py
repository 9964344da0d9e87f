"""What tomllib does not tell and not do: where a key stands, and writing a value."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import date, time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: a key as a path of names, tables first
Path = tuple[str, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_NAME: Final = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*(\.?)""")
_STRING: Final = re.compile(
    r"""
    \"{3}(?:[^\\]|\\.)*?\"{3,5} | '{3}.*?'{3,5}   # over several lines
    | "(?:[^"\\\n]|\\.)*" | '[^'\n]*'
    """,
    re.DOTALL | re.VERBOSE,
)
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


class Entry(NamedTuple):
    """A key with its value, or the header of a table; positions are those of characters in the text."""

    path: Path
    """The whole key, tables first."""
    table: Path
    """The header that it stands below; of a header, its own path."""
    start: int
    """Where the key, or the bracket of a header, begins."""
    end: int
    """Behind what it says, before spaces and a comment."""
    value: int = -1
    """Where the value begins; -1: it is a header."""
    comments: tuple[str, ...] = ()
    """Those inside the value, which is an array over several lines then."""
    is_array: bool = False
    """Whether it is the header of one of several tables: `[[name]]`."""


def entries(text: str) -> Iterator[Entry]:
    """What a valid TOML document says, in its order; not what is inside inline tables."""
    table: Path = ()
    here = _blank_end(text, 0)
    while here < len(text):
        start = here
        if text[here] == "[":
            brackets = 2 if text.startswith("[[", here) else 1
            table, here = _key(text, here + brackets)
            here += brackets
            yield Entry(table, table, start, here, is_array=brackets == 2)
        else:
            key, here = _key(text, here)
            value, here, comments = _value(text, here + 1)
            yield Entry(table + key, table, start, here, value, comments)
        here = _blank_end(text, here)


def key_lines(text: str) -> dict[Path, int]:
    """The line, from 1, of every table and key of a valid TOML document; not of keys inside inline tables."""
    lines: dict[Path, int] = {}
    line, counted = 1, 0
    for entry in entries(text):
        line, counted = line + text.count("\n", counted, entry.start), entry.start
        lines.setdefault(entry.path, line)
        # a dotted key makes tables
        for length in range(len(entry.table) + 1, len(entry.path)):
            lines.setdefault(entry.path[:length], line)
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
    """`value` in TOML's syntax: bool, int, float, str, dates and times, and mappings, lists and tuples of these.

    ValueError for anything else.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(one) or (one if one.isprintable() else _escape(one)) for one in value) + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{format_key(name)} = {format_value(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(format_value, value)) + "]"
    raise ValueError(f"TOML has no {type(value).__name__}")


def format_key(name: str) -> str:
    """One part of a key in TOML's syntax."""
    return name if _BARE.fullmatch(name) else format_value(name)


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


def _value(text: str, here: int) -> tuple[int, int, tuple[str, ...]]:
    """The first value at or after `here`: where it begins, where it ends, and the comments inside it."""
    depth, begin, end = 0, -1, here
    comments: list[str] = []
    while here < len(text):
        character = text[here]
        if character == "#":
            if not depth:
                break
            stop = text.find("\n", here)
            comments.append(text[here:stop].rstrip("\r"))
            here = stop
            continue
        if character == "\n" and not depth:
            break
        found = _STRING.match(text, here) if character in "\"'" else None
        stop = found.end() if found is not None else here + 1
        if not character.isspace():
            begin, end = here if begin < 0 else begin, stop
        depth += (character in "[{") - (character in "]}")
        here = stop
    return begin, end, tuple(comments)
