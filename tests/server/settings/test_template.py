"""The server.toml that a new server gets."""

from __future__ import annotations

import re
import tomllib

from txdicom.server.settings.tables import TABLES, Settings, declarations, read_settings
from txdicom.server.settings.template import server_toml

GIVEN = {("server", "ae_title"): ("HERE", ""), ("server", "allow_anonymous"): (False, "it is false because")}


def test_as_it_is_it_sets_only_what_is_given() -> None:
    text = server_toml(GIVEN)
    assert tomllib.loads(text) == {
        **{table: {} for table in TABLES},
        "server": {"ae_title": "HERE", "allow_anonymous": False},
    }
    assert "## It is false" not in text
    assert "## it is false because\nallow_anonymous = false" in text
    assert read_settings(text, ae_title="HERE").server.ae_title == "HERE"


def test_every_setting_is_there_and_taking_the_marks_away_changes_nothing() -> None:
    text = re.sub(r"^#(?!#)", "", server_toml({}), flags=re.MULTILINE)
    document = tomllib.loads(text)
    assert {name: set(values) for name, values in document.items()} == {
        name: set(declarations(model)) for name, model in TABLES.items()
    }
    assert read_settings(text, ae_title="TXDICOM") == Settings()


def test_every_setting_is_explained_above_it() -> None:
    lines = server_toml(GIVEN).splitlines()
    for number, line in enumerate(lines):
        if "=" in line and not line.startswith("##"):
            assert lines[number - 1].startswith("## ")
        assert len(line) <= 120


def test_limits_and_choices_are_told() -> None:
    text = server_toml({})
    assert "(4096 to 1048576)" in text
    assert "(at least 4096)" in text
    assert '("abort", "release")' in text


def test_what_is_particular_to_a_server_comes_first() -> None:
    lines = [line for line in server_toml(GIVEN).splitlines() if line and not line.startswith("##")]
    assert lines[:2] == ["[server]", 'ae_title = "HERE"']
    assert lines.index('#listen = ["tcp:11112:interface=127.0.0.1"]') < lines.index("#max_clients = 1000")


def test_settings_of_addins_come_last() -> None:
    given = {
        **GIVEN,
        ("addins", "a.b", "one"): ("x", ""),
        ("addins", "c", "limits"): ({"low": 1, "two words": [True]}, ""),
        ("addins", "a.b", "second key"): (2.5, ""),
    }
    document = tomllib.loads(server_toml(given))
    assert document["addins"] == {
        "a.b": {"one": "x", "second key": 2.5},
        "c": {"limits": {"low": 1, "two words": [True]}},
    }
