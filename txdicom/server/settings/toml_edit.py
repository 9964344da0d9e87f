"""Changes values in the text of a TOML file: what is not changed stays as it is, comments, order and spaces too.

A value that the file has in a comment of its own, `#name = value`, is put there: that is how a new server.toml is
written. tomlkit (tried with 0.13.0 and 0.15.2) knows no such place, drops the comments inside an array that it
replaces, puts a new key below the comment of the next table, and moves or refuses some tables that are out of order
(`[[v]]`, `[u]`, `[v.b]`; its issues 295, 571, 588); with the steps that stay ours it would save no lines.
"""

from __future__ import annotations

import re
import tomllib
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from txdicom.errors import DicomError
from txdicom.server.settings.toml import entries, format_key, format_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from txdicom.server.settings.toml import Entry, Path


def with_values(text: str, values: Mapping[Path, Any]) -> str:
    """`text`, a valid TOML document, with these values by their keys; None: without the key, which becomes a comment.

    DicomError where that takes a person; ValueError where TOML has no such value.
    """
    wanted = tomllib.loads(text)
    for path, value in values.items():
        _put(wanted, path, value)
        text = _with_value(text, path, value)
    try:
        same = _without_empty(tomllib.loads(text)) == _without_empty(wanted)
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        names = ", ".join(".".join(path) for path in values)
        raise _by_hand(names)
    return text


def _by_hand(names: str) -> DicomError:
    return DicomError(f"{names}: the file says this in a form that only a person can change: edit it by hand")


def _put(document: dict[str, Any], path: Path, value: Any) -> None:
    *tables, name = path
    for table in tables:
        document = document.setdefault(table, {})
        if not isinstance(document, dict):
            raise _by_hand(".".join(path))
    if value is None:
        document.pop(name, None)
    else:
        document[name] = deepcopy(value)


def _without_empty(value: Any) -> Any:
    """Without tables that say nothing, which are there or not by the way they are written; tuples are lists."""
    if isinstance(value, dict):
        inner = {name: _without_empty(one) for name, one in value.items()}
        return {name: one for name, one in inner.items() if one != {}}
    return [_without_empty(one) for one in value] if isinstance(value, list | tuple) else value


def _with_value(text: str, path: Path, value: Any) -> str:
    there = list(entries(text))
    pairs = [one for one in there if one.value >= 0]
    for pair in pairs:
        if pair.path == path:
            return _taken_out(text, pair) if value is None else _replaced(text, pair, format_value(value))
        if pair.path == path[: len(pair.path)]:  # an inline table
            inner = tomllib.loads(f"v = {text[pair.value : pair.end]}")["v"]
            _put(inner, path[len(pair.path) :], value)
            return _replaced(text, pair, format_value(inner))
    below = [one for one in there if one.path[: len(path)] == path]
    if value is None:
        return _all_taken_out(text, below)
    if below and isinstance(value, dict) and not any(one.is_array for one in below):  # a table with lines of its own
        gone = {one.path for one in below if one.value >= 0 and one.path[len(path)] not in value}
        for one in gone:
            text = _with_value(text, one, None)
        for name, inner_value in value.items():
            text = _with_value(text, (*path, name), inner_value)
        return text
    if below:
        text = _all_taken_out(text, below)
        there = list(entries(text))
    return _added(text, there, path, format_value(value))


def _replaced(text: str, pair: Entry, written: str) -> str:
    """With another value; comments inside the old one go above the line."""
    line = _line_start(text, pair.start)
    indent = text[line : pair.start]
    above = "".join(f"{indent}{comment}{_newline(text)}" for comment in pair.comments)
    return text[:line] + above + text[line : pair.value] + written + text[pair.end :]


def _taken_out(text: str, entry: Entry) -> str:
    """With its lines as comments."""
    start, end = _line_start(text, entry.start), _line_end(text, entry.end)
    return text[:start] + "".join(f"#{line}" for line in text[start:end].splitlines(keepends=True)) + text[end:]


def _all_taken_out(text: str, below: Iterable[Entry]) -> str:
    for entry in sorted(below, key=lambda one: one.start, reverse=True):
        text = _taken_out(text, entry)
    return text


def _added(text: str, there: list[Entry], path: Path, written: str) -> str:
    """With a key that it does not have: in the place of its comment, else behind what its table has."""
    table, name = path[:-1], path[-1]
    headers = [number for number, one in enumerate(there) if one.value < 0]
    if not table:
        first = headers[0] if headers else len(there)
        stop = there[first].start if headers else len(text)
        return _into(text, (0, stop), there[:first], name, written)
    for number in headers:
        if there[number].path == table and not there[number].is_array:
            following = next((one for one in headers if one > number), len(there))
            stop = there[following].start if following < len(there) else len(text)
            start = _line_end(text, there[number].end)
            return _into(text, (start, stop), there[number + 1 : following], name, written)
    # a table made by dotted keys goes on with them
    dotted = [one for one in there if one.path[: len(table)] == table and len(one.table) < len(table)]
    if dotted:
        last = dotted[-1]
        key = ".".join(map(format_key, path[len(last.table) :]))
        return _line_at(text, _line_end(text, last.end), f"{key} = {written}", there)
    head = f"[{'.'.join(map(format_key, table))}]"
    end = _newline(text)
    if text and not text.endswith("\n"):
        text += end
    gap = end if text.strip() else ""
    return f"{text}{gap}{head}{end}{format_key(name)} = {written}{end}"


def _into(text: str, region: tuple[int, int], inside: list[Entry], name: str, written: str) -> str:
    """Into the part of the text that is one table's, whose keys are `inside`."""
    key = format_key(name)
    start, stop = region
    for found in re.finditer(rf"(?m)^#([ \t]*{re.escape(key)}[ \t]*=[^\n]*)$", text[start:stop]):
        here = start + found.start()
        line = found[1].rstrip("\r")
        if any(one.start < here < one.end for one in inside) or not _says(line, name):
            continue
        [commented] = entries(line)
        line = line[: commented.value] + written + line[commented.end :]
        return text[:here] + line.lstrip(" \t") + text[here + 1 + len(found[1].rstrip("\r")) :]
    if inside:
        here = _line_end(text, inside[-1].end)
    elif start:
        here = start
    else:
        here = _above(text, stop)
    return _line_at(text, here, f"{key} = {written}", inside)


def _says(line: str, name: str) -> bool:
    """Whether a line gives a value to just this name."""
    try:
        return tomllib.loads(line).keys() == {name}
    except tomllib.TOMLDecodeError:
        return False


def _line_at(text: str, here: int, line: str, inside: list[Entry]) -> str:
    end = _newline(text)
    if here and text[here - 1] != "\n":
        return f"{text[:here]}{end}{line}{end}{text[here:]}"
    return f"{text[:here]}{line}{end}{text[here:]}"


def _above(text: str, stop: int) -> int:
    """Where the comment right above a header begins; `stop` at the end of the text."""
    here = stop
    while here and stop < len(text):
        before = _line_start(text, here - 1)
        if not text[before:here].lstrip(" \t").startswith("#"):
            break
        here = before
    return here


def _line_start(text: str, here: int) -> int:
    return text.rfind("\n", 0, here) + 1


def _line_end(text: str, here: int) -> int:
    """Behind the line break."""
    end = text.find("\n", here)
    return len(text) if end < 0 else end + 1


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
