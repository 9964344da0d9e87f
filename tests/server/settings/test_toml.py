"""Lines of keys, and values written and read."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txdicom.server.settings.toml import format_value, key_lines, line_of, parse_value

DOCUMENT = '''\
# a comment with [brackets] and = signs
top = 1

[server]   # the table
ae_title = "A # no comment"
listen = [
  "tcp:1",  # one ] here
  'tcp:2',
  """a
  b = 3""",
]
"quoted.key" = { inline = [1, 2], other = "}" }
dotted.below = 2
text = """
[not_a_table]
key = "no key" \\"""
"""
raw = \'\'\'
also = no key\'\'\'
after = true

[archive."a b".'c']
x = 1
[[many]]
y = 2
'''


def flattened(value: object, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if not isinstance(value, dict):
        return {path}
    return {path, *(one for name, below in value.items() for one in flattened(below, (*path, name)))}


def test_every_key_has_its_line() -> None:
    lines = key_lines(DOCUMENT)
    shown = DOCUMENT.splitlines()
    assert shown[lines["server",] - 1].startswith("[server]")
    for path, beginning in {
        ("top",): "top",
        ("server", "ae_title"): "ae_title",
        ("server", "listen"): "listen",
        ("server", "quoted.key"): '"quoted.key"',
        ("server", "dotted", "below"): "dotted.below",
        ("server", "dotted"): "dotted.below",
        ("server", "text"): "text",
        ("server", "raw"): "raw",
        ("server", "after"): "after",
        ("archive", "a b", "c", "x"): "x",
        ("many", "y"): "y",
    }.items():
        assert shown[lines[path] - 1].startswith(beginning), path


def test_nothing_else_is_taken_for_a_key() -> None:
    document = tomllib.loads(DOCUMENT)
    document["many"] = document["many"][0]
    inline = {path for path in flattened(document) if path[:2] == ("server", "quoted.key") and len(path) > 2}
    # the tables around a table have no line of their own
    around = {(), ("archive",), ("archive", "a b")}
    assert set(key_lines(DOCUMENT)) == flattened(document) - inline - around


def test_a_key_without_a_line_has_that_of_its_table() -> None:
    lines = key_lines(DOCUMENT)
    assert line_of(lines, ("server", "quoted.key", "inline")) == lines["server", "quoted.key"]
    assert line_of(lines, ("server", "nowhere")) == lines["server",]
    assert line_of(lines, ("nowhere", "at", "all")) == 0


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "a = 1", 'a = "x"  # end', "[a]", "a = [ # c\n1]"])
def test_short_documents(text: str) -> None:
    assert set(key_lines(text)) == flattened(tomllib.loads(text)) - {()}


VALUES = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())


@given(st.one_of(VALUES, st.lists(VALUES)))
def test_what_is_written_is_read_again(value: object) -> None:
    assert parse_value(format_value(value)) == value


@given(st.dictionaries(st.from_regex(r"[a-z_-]{1,5}", fullmatch=True), st.one_of(VALUES, st.lists(VALUES))))
def test_lines_of_any_document(document: dict[str, object]) -> None:
    text = "\n".join(f"{name} = {format_value(value)}" for name, value in document.items())
    assert key_lines(text) == {(name,): number for number, name in enumerate(document, 1)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("1.5", 1.5),
        ("true", True),
        ('"5"', "5"),
        ("['a', 'b']", ["a", "b"]),
        ("keep", "keep"),
        ("/a path/with blanks", "/a path/with blanks"),
        ("tcp:11112:interface=127.0.0.1", "tcp:11112:interface=127.0.0.1"),
        ("True", "True"),
        ("", ""),
        ("1\nother = 2", "1\nother = 2"),
    ],
)
def test_values_of_the_command_line(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("text", ['"open', "'open", "[1, 2", "{a = "])
def test_a_broken_value_is_not_taken_for_a_word(text: str) -> None:
    with pytest.raises(ValueError, match="is not a value of TOML"):
        parse_value(text)
