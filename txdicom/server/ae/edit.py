"""Changes the text of `aetitles.toml`: what is not changed stays as it is, comments, order and spaces too.

tomlkit does the same for any TOML, and takes 3 s to read a table of 10,000 entries; this reads lines of the few forms
that such a table has.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from txdicom.errors import DicomError
from txdicom.interfaces import AEEntry
from txdicom.interfaces.ae_titles import VALUES
from txdicom.server.settings.toml import format_value

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY: Final = rf"{_WORD}(?:[ \t]*\.[ \t]*{_WORD})*"
_STRING: Final = r"""(?:\"{3}(?:[^\\]|\\.)*?\"{3,5}|'{3}.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_INLINE: Final = rf"""\{{(?:[^"'\n{{}}]|{_STRING})*\}}"""
_END: Final = r"[ \t]*(?:\#[^\n]*)?(?:\r?\n|\Z)"
_HEADER: Final = re.compile(rf"[ \t]*\[[ \t]*(?P<key>{_KEY})[ \t]*\]{_END}", re.DOTALL)
_PAIR: Final = re.compile(
    rf"[ \t]*(?P<key>{_KEY})[ \t]*=[ \t]*(?P<value>{_STRING}|{_INLINE}|[A-Za-z0-9_+.:-]+){_END}",
    re.DOTALL,
)
_COMMENT: Final = re.compile(r"[ \t]*\#[^\n]*(?:\n|\Z)")
_BLANK: Final = re.compile(r"[ \t]*(?:\r?\n|\Z)")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class _Line(NamedTuple):
    """One line, or the lines of one value; with the key of a header or pair, and where key or value stands."""

    kind: str
    start: int
    end: int
    key: tuple[str, ...] = ()
    span: tuple[int, int] = (0, 0)


class _Table(NamedTuple):
    """Where an entry stands: the indices of its header and of what follows it."""

    header: int
    stop: int


def with_added(text: str, entry: AEEntry) -> str:
    """The text with a new entry at its end."""
    end = _newline(text)
    if text and not text.endswith("\n"):
        text += end
    gap = end if text.strip() else ""
    return text + gap + _checked(_written(entry, end), entry)


def with_updated(text: str, ae_title: str, entry: AEEntry) -> str:
    """The text with `entry` in the place of the entry `ae_title`, which is there."""
    lines = list(_lines(text))
    table = _find(lines, ae_title)
    if table is None:  # an inline table, or dotted keys
        return with_added(with_removed(text, ae_title), entry)
    header, end = lines[table.header], _newline(text)
    start, stop = header.start, lines[table.stop].start if table.stop < len(lines) else len(text)
    section = text[start:stop]
    old = tomllib.loads(section)[ae_title]
    pairs = {line.key[0]: line for line in lines[table.header + 1 : table.stop] if line.kind == "pair"}
    edits = [(*header.span, _name(entry.ae_title))] if entry.ae_title != ae_title else []
    added = ""
    for name in VALUES:
        value, pair = getattr(entry, name), pairs.get(name)
        if pair is None:
            if value != getattr(_DEFAULT, name):
                added += f"{name} = {format_value(value)}{end}"
        elif value is None:
            edits.append((pair.start, pair.end, ""))
        elif value != old[name]:
            edits.append((*pair.span, format_value(value)))
    behind = max([header.end, *(pair.end for pair in pairs.values())])
    edits.append((behind, behind, added if text[behind - 1] == "\n" else end + added))
    for first, last, replacement in sorted(edits, reverse=True):
        section = section[: first - start] + replacement + section[last - start :]
    return text[:start] + _checked(section, entry) + text[stop:]


def with_removed(text: str, ae_title: str) -> str:
    """The text without the entry `ae_title`, which is there, and without the comment that stands right above it."""
    lines = list(_lines(text))
    table = _find(lines, ae_title)
    if table is None:
        kept = (line for line in lines if line.kind != "pair" or line.key[0] != ae_title or _inside(lines, line))
        return "".join(text[line.start : line.end] for line in kept)
    first = _lead(lines, table.header)
    last = max(number for number in range(table.header, table.stop) if lines[number].kind in {"header", "pair"}) + 1
    while last < _lead(lines, table.stop) and lines[last].kind == "comment":
        last += 1
    while last < len(lines) and lines[last].kind == "blank":
        last += 1
    if last < len(lines):
        return text[: lines[first].start] + text[lines[last].start :]
    while first and lines[first - 1].kind == "blank":  # it was the last one
        first -= 1
    return text[: lines[first].start]


_DEFAULT: Final = AEEntry(ae_title="DEFAULT")


def _lines(text: str) -> Iterator[_Line]:
    here = 0
    while here < len(text):
        kind, found = next(
            ((kind, found) for kind, form in _FORMS if (found := form.match(text, here)) is not None), ("", None)
        )
        if found is None:
            number = text.count("\n", 0, here) + 1
            raise DicomError(
                f"aetitles.toml:{number}: this line has a form that only a person can change: edit it by hand"
            )
        key = _path(found["key"]) if kind in {"header", "pair"} else ()
        span = found.span(_SPANS.get(kind, 0))
        yield _Line(kind, here, found.end(), key, span)
        here = found.end()


#: what of a line may be replaced
_SPANS: Final = {"pair": "value", "header": "key"}
_FORMS: Final = (("pair", _PAIR), ("blank", _BLANK), ("comment", _COMMENT), ("header", _HEADER))


def _path(key: str) -> tuple[str, ...]:
    if _BARE.fullmatch(key):
        return (key,)
    path: list[str] = []
    here: Any = tomllib.loads(f"{key} = 0")
    while isinstance(here, dict):
        [(name, here)] = here.items()
        path.append(name)
    return tuple(path)


def _find(lines: list[_Line], ae_title: str) -> _Table | None:
    headers = [number for number, line in enumerate(lines) if line.kind == "header"]
    for number, following in zip(headers, [*headers[1:], len(lines)], strict=True):
        if lines[number].key == (ae_title,):
            return _Table(number, following)
    return None


def _lead(lines: list[_Line], header: int) -> int:
    """Where the comment right above a header begins; what the file begins with is about the file."""
    first = header
    while first and header < len(lines) and lines[first - 1].kind == "comment":
        first -= 1
    return first or header


def _inside(lines: list[_Line], pair: _Line) -> bool:
    """Whether a pair belongs to a table with a header."""
    return any(line.kind == "header" and line.start < pair.start for line in lines)


def _written(entry: AEEntry, end: str) -> str:
    lines = [f"[{_name(entry.ae_title)}]"]
    for name in VALUES:
        value = getattr(entry, name)
        if value != getattr(_DEFAULT, name) or (name == "port" and entry.host):
            lines.append(f"{name} = {format_value(value)}")
    return "".join(line + end for line in lines)


def _checked(section: str, entry: AEEntry) -> str:
    """`section`, of which it is certain that it says just this."""
    [(title, values)] = tomllib.loads(section).items()
    if AEEntry(ae_title=title, **values) != entry:
        raise DicomError(f"the entry {entry.ae_title!r} of aetitles.toml cannot be changed: edit it by hand")
    return section


def _name(ae_title: str) -> str:
    return ae_title if _BARE.fullmatch(ae_title) else format_value(ae_title)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
