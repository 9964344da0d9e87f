"""Values changed in the text of a TOML file, with all comments kept."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txdicom.errors import DicomError
from txdicom.server.settings.tables import TABLES, declarations
from txdicom.server.settings.template import server_toml
from txdicom.server.settings.toml_edit import with_values


def test_a_value_takes_the_place_of_its_commented_default() -> None:
    text = server_toml({})
    new = with_values(text, {("server", "max_clients"): 50})
    changed = [(old, one) for old, one in zip(text.splitlines(), new.splitlines(), strict=True) if old != one]
    assert changed == [("#max_clients = 1000", "max_clients = 50")]


def test_every_setting_of_a_new_file_has_its_place() -> None:
    text = server_toml({})
    for table, model in TABLES.items():
        for name, declared in declarations(model).items():
            new = with_values(text, {(table, name): declared.default})
            assert len(new.splitlines()) == len(text.splitlines())
            assert new.count("\n#") == text.count("\n#") - 1


@pytest.mark.parametrize(
    ("text", "path", "value", "wanted"),
    [
        ("", ("server", "a"), 1, "[server]\na = 1\n"),
        ("x = 1", ("a",), True, "x = 1\na = true\n"),
        ("# head\n", ("a",), "b", '# head\na = "b"\n'),
        ("# head\n\n# of t\n[t]\n", ("a",), 1, "# head\n\na = 1\n# of t\n[t]\n"),
        ("[t]", ("t", "a"), 1, "[t]\na = 1\n"),
        ("[t]\n\n# of u\n[u]\n", ("t", "a"), 1, "[t]\na = 1\n\n# of u\n[u]\n"),
        ("[t] # it\nb = 2 # two\n\n[u]\n", ("t", "a"), 1, "[t] # it\nb = 2 # two\na = 1\n\n[u]\n"),
        ("[t]\na = 1 # one\nb = 2\n", ("t", "a"), 3, "[t]\na = 3 # one\nb = 2\n"),
        ("[t]\r\na = 1 # one\r\n", ("t", "a"), "x", '[t]\r\na = "x" # one\r\n'),
        ("[t]\r\na = 1\r\n", ("t", "b"), 2, "[t]\r\na = 1\r\nb = 2\r\n"),
        ("[t]\na = 1", ("t", "a"), 2, "[t]\na = 2"),
        ("[t]\na = 1", ("t", "b"), 2, "[t]\na = 1\nb = 2\n"),
        ("[t]\na = 1", ("u", "b"), 2, "[t]\na = 1\n\n[u]\nb = 2\n"),
        ("[t]\n#a = 1  # why\n", ("t", "a"), 2, "[t]\na = 2  # why\n"),
        ("[t]\n#a = 1\r\n", ("t", "a"), 2, "[t]\na = 2\r\n"),
        ("[t]\n# a = 1\n", ("t", "a"), 2, "[t]\na = 2\n"),
        ("[t]\n## a = 1\n", ("t", "a"), 2, "[t]\na = 2\n## a = 1\n"),
        ("[t]\n#a = [\n#  1]\n", ("t", "a"), 2, "[t]\na = 2\n#a = [\n#  1]\n"),
        ("[u]\n#a = 1\n[t]\n#a = 2\n", ("t", "a"), 3, "[u]\n#a = 1\n[t]\na = 3\n"),
        ('[t]\ns = """\n#a = 1\n"""\n', ("t", "a"), 2, '[t]\ns = """\n#a = 1\n"""\na = 2\n'),
        ("t.a = 1\n", ("t", "a"), 2, "t.a = 2\n"),
        ("t.a = 1 # c\nz = 1\n", ("t", "b"), 2, "t.a = 1 # c\nt.b = 2\nz = 1\n"),
        ("[t]\nx.a = 1\n", ("t", "x", "b"), 2, "[t]\nx.a = 1\nx.b = 2\n"),
        ("t = { a = 1 } # c\n", ("t", "b"), 2, "t = {a = 1, b = 2} # c\n"),
        ("t = { a = 1 } # c\n", ("t", "a"), None, "t = {} # c\n"),
        ("[t]\na = [ # why\n  1, # one\n  2,\n] # end\n", ("t", "a"), [3], "[t]\n# why\n# one\na = [3] # end\n"),
        ("[t]\n  a = [ # why\r\n  1]\n", ("t", "a"), [3], "[t]\n  # why\r\n  a = [3]\n"),
        ("[t]\na = 1 # one\n", ("t", "a"), None, "[t]\n#a = 1 # one\n"),
        ("[t]\na = [\n 1,\n]\nb = 2\n", ("t", "a"), None, "[t]\n#a = [\n# 1,\n#]\nb = 2\n"),
        ("[t]\na = 1\n", ("t", "b"), None, "[t]\na = 1\n"),
        ("[t]\n[t.x]\na = 1\nb = 2\n", ("t", "x"), {"b": 3}, "[t]\n[t.x]\n#a = 1\nb = 3\n"),
        ("[t]\n[t.x]\na = 1\n", ("t", "x"), None, "[t]\n#[t.x]\n#a = 1\n"),
        ("[t]\n[[t.x]]\na = 1\n", ("t", "x"), [{"a": 2}], "[t]\nx = [{a = 2}]\n#[[t.x]]\n#a = 1\n"),
        ("[t]\nx.a = 1 # c\n", ("t", "x"), 2, "[t]\nx = 2\n#x.a = 1 # c\n"),
        ("[t]\n", ("t", "x"), {"a b": [1, {"c": "\n"}]}, '[t]\nx = {"a b" = [1, {c = "\\U0000000A"}]}\n'),
        ("", ("t", "a.b"), 1, '[t]\n"a.b" = 1\n'),
    ],
)
def test_a_value_is_put(text: str, path: tuple[str, ...], value: Any, wanted: str) -> None:
    assert with_values(text, {path: value}) == wanted.replace("\\U0000000A", "\\n")


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("[[t]]\na = 1\n", ("t", "a"), 2),
        ("t = 1\n", ("t", "a"), 2),
    ],
)
def test_what_takes_a_person_is_said(text: str, path: tuple[str, ...], value: Any) -> None:
    with pytest.raises(DicomError, match="only a person can change: edit it by hand"):
        with_values(text, {path: value})


def test_what_toml_has_not_is_said() -> None:
    with pytest.raises(ValueError, match="TOML has no NoneType"):
        with_values("", {("a",): [None]})


# -- any file, any change ----------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c d", "e"])
SCALARS = st.one_of(st.booleans(), st.integers(-9, 9), st.text(max_size=4), st.floats(allow_nan=False, width=16))
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3))


def key(name: str) -> str:
    return f'"{name}"' if " " in name else name


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A file as people write them: each comment in it is one of its own."""
    count = 0

    def comment() -> str:
        nonlocal count
        count += 1
        return f"# note {count} = [\"'"

    def spaces() -> str:
        return draw(st.sampled_from(["", " ", "\t"]))

    def value() -> str:
        kind = draw(st.integers(0, 4))
        if kind == 0:
            return f"[ {comment()}\n  1,{spaces()}{comment()}\n\n]"
        if kind == 1:
            return '"""\n#a = 1\n[t]\n"""'
        if kind == 2:
            return '{ a = 1, "c d" = [1, 2] }'
        return draw(st.sampled_from(["1", "'x#y'", "[1, 2]", "true", '"\\""']))

    lines: list[str] = []
    tables = draw(st.lists(st.sampled_from(["t", "u", "t.a", "v"]), unique=True, max_size=4))
    for table in ["", *tables]:
        if table:
            lines.append(f"{spaces()}[{table}]{spaces()}{draw(st.sampled_from(['', comment()]))}")
        for name in draw(st.lists(NAMES, unique=True, max_size=4)):
            if draw(st.booleans()):
                lines.append(comment())
            form = draw(st.integers(0, 3))
            if form == 0:
                lines.append(f"#{key(name)} = 7")
            elif form == 1 and name != "a":
                lines += [f"{key(name)}.b = 1", f"{key(name)}.x = 2"]
            elif table != "t" or name != "a" or "t.a" not in tables:
                lines.append(f"{spaces()}{key(name)} = {value()}{spaces()}{draw(st.sampled_from(['', comment()]))}")
        lines += draw(st.sampled_from([[], [""]]))
    text = draw(st.sampled_from(["\n", "\r\n"])).join("\n".join(lines).split("\n"))
    return text + draw(st.sampled_from(["", "\n"]))


def comments(text: str) -> list[str]:
    return re.findall(r"# note \d+ = \[\"'", text)


@given(
    documents(),
    st.dictionaries(
        st.one_of(st.tuples(NAMES), st.tuples(st.sampled_from(["t", "u", "v", "w"]), NAMES)),
        st.one_of(VALUES, st.none()),
        min_size=1,
        max_size=3,
    ),
)
def test_the_file_says_what_is_wanted_and_keeps_its_comments(text: str, values: dict[tuple[str, ...], Any]) -> None:
    document = tomllib.loads(text)
    new = with_values(text, values)
    for path, value in values.items():
        here: Any = tomllib.loads(new)
        for name in path[:-1]:
            here = here.get(name, {})
        assert here.get(path[-1]) == value
    assert sorted(comments(new)) == sorted(comments(text))
    touched = {path[0] for path in values}
    assert {name: one for name, one in tomllib.loads(new).items() if name not in touched} == {
        name: one for name, one in document.items() if name not in touched
    }
