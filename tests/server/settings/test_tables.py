"""The settings of server.toml and of the command line, and all that can be wrong with them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from pydantic import TypeAdapter

from txdicom.errors import SettingsError
from txdicom.scp import ScpConfig
from txdicom.server.settings.tables import (
    TABLES,
    Settings,
    check_ae_title,
    declarations,
    parse_overrides,
    read_settings,
)


def read(text: str = "", *set_options: str, listen: tuple[str, ...] = ()) -> Settings:
    problems: list[str] = []
    overrides = parse_overrides(set_options, listen, problems)
    assert problems == []
    return read_settings(text, overrides, ae_title="TXDICOM")


def problems_of(text: str = "", *set_options: str, listen: tuple[str, ...] = ()) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        read(text, *set_options, listen=listen)
    return raised.value.problems


def test_nothing_given_is_all_defaults() -> None:
    assert read() == Settings()


@pytest.mark.parametrize("table", TABLES)
def test_every_default_is_valid_and_every_setting_is_documented(table: str) -> None:
    for name, declared in declarations(TABLES[table]).items():
        assert TypeAdapter(declared.annotation).validate_python(declared.default, strict=True) == declared.default, name
        assert declared.doc, name


def test_the_server_has_every_setting_of_the_entity() -> None:
    assert {field.name for field in fields(ScpConfig)} < set(declarations(TABLES["server"]))


def test_values_are_taken() -> None:
    settings = read(
        """
        [server]
        ae_title = "TXDICOM"
        max_clients = 7
        drain_timeout = 5
        listen = ["tcp:1", "tcp6:2"]
        idle_action = "release"
        [archive]
        flush = false
        duplicates = "refuse"
        [addins]
        enabled = ["third"]
        required = ["third"]
        """
    )
    assert settings.server.max_clients == 7
    assert settings.server.drain_timeout == 5.0
    assert settings.server.listen == ("tcp:1", "tcp6:2")
    assert settings.server.idle_action == "release"
    assert (settings.archive.flush, settings.archive.duplicates) == (False, "refuse")
    assert settings.addins.enabled == settings.addins.required == ("third",)


def test_the_command_line_goes_before_the_file() -> None:
    text = "[server]\nmax_clients = 7\nlisten = ['tcp:1']\n[archive]\nstore = '/a'"
    settings = read(
        text, "server.max_clients=8", "server.max_clients = 9", "archive.store=/b c", listen=("tcp:2", "tcp:3")
    )
    assert settings.server.max_clients == 9
    assert settings.server.listen == ("tcp:2", "tcp:3")
    assert settings.archive.store == "/b c"


def test_one_word_stands_for_a_list_of_one() -> None:
    settings = read("", "server.listen=tcp:5", "addins.enabled=storage")
    assert settings.server.listen == ("tcp:5",)
    assert settings.addins.enabled == ("storage",)


def test_a_mistake_of_the_file_that_the_command_line_corrects_does_no_harm() -> None:
    assert read("[server]\nmax_clients = 'many'", "server.max_clients=3").server.max_clients == 3


def test_settings_of_an_add_in_are_kept_for_it_with_their_places() -> None:
    text = "[addins]\nenabled = ['third']\n[addins.third]\nlimit = 3\n[addins.third.deep]\nx = 1\n[addins.other]\n"
    settings = read(text, "addins.third.more=[1]", "addins.third.limit=4")
    assert settings.of_addins == {"third": {"limit": 4, "deep": {"x": 1}, "more": [1]}}
    assert settings.addins.enabled == ("third",)
    assert {path[2:]: place for path, place in settings.places.items() if path[:2] == ("addins", "third")} == {
        (): "server.toml:3: addins.third",
        ("limit",): "--set addins.third.limit",
        ("deep",): "server.toml:5: addins.third.deep",
        ("deep", "x"): "server.toml:6: addins.third.deep.x",
        ("more",): "--set addins.third.more",
    }
    assert problems_of("[addins.enabled]\nx = 1")[0].startswith("server.toml:1: addins.enabled: input should be")
    assert problems_of("addins.third = 1")[0].startswith("server.toml:1: addins.third: there is no such setting")


def test_every_mistake_is_listed_with_its_line() -> None:
    text = """\
[server]
ae_title = "OTHER"
max_clints = 4
max_pdu_length = 3
check_called_ae = 1
listen = ["tcp:1x",
  "foo:3", 7]
no_delay = "yes"
implementation_class_uid = "1.02"
implementation_version_name = "ABCDEFGHIJKLMNOPQ"

[archive]
duplicates = "perhaps"
index = "x"

[addins]
enabled = ["fourth", "storage", "storage"]
required = ["verification"]

[nothing]
key = "x"
"""
    found = problems_of(text, "server.x=1", "nowhere.at=2", "archive.flush=maybe", "server.ae_title=THIRD")
    beginnings = [
        "server.toml:20: nothing: there is no such table; the tables are server, ",
        "--set nowhere.at: there is no such table",
        "server.toml:3: server.max_clints: there is no such setting; did you mean max_clients?",
        "server.toml:4: server.max_pdu_length: input should be greater than or equal to 4096, not 3",
        "server.toml:5: server.check_called_ae: input should be a valid boolean, not 1",
        "server.toml:6: server.listen[0]: 'tcp:1x' is not an endpoint",
        "server.toml:6: server.listen[1]: 'foo:3' is not an endpoint",
        "server.toml:6: server.listen[2]: input should be a valid string, not 7",
        "server.toml:8: server.no_delay: input should be a valid boolean, not 'yes'",
        "server.toml:9: server.implementation_class_uid: '1.02' cannot be: Implementation Class UID",
        "server.toml:10: server.implementation_version_name: string should have at most 16 characters, not 'ABC",
        "server.toml:13: archive.duplicates: input should be 'keep', 'replace' or 'refuse', not 'perhaps'",
        "server.toml:14: archive.index: there is no such setting",
        "--set server.x: there is no such setting",
        "--set archive.flush: input should be a valid boolean, not 'maybe'",
        "--set server.ae_title: this is the server TXDICOM",
        "server.toml:17: addins.enabled: 'storage' is there twice",
    ]
    for beginning in beginnings:
        assert len([one for one in found if one.startswith(beginning)]) == 1, beginning
    assert len(found) == len(beginnings)


def test_a_file_that_is_no_toml_hides_no_mistake_of_the_command_line() -> None:
    first, second = problems_of("[server]\nmax_clients = \n", "server.max_clients=x")
    assert first.startswith("server.toml: ")
    assert "line 2" in first
    assert second.startswith("--set server.max_clients: ")


def test_a_table_that_is_none() -> None:
    assert problems_of("server = 3") == (
        "server.toml:1: server: this is a table: write [server] and its settings below",
    )
    assert problems_of("[[server]]\nmax_clients=1")[0].startswith("server.toml:1: server: this is a table")


def test_options_that_cannot_be_read_are_all_listed() -> None:
    problems: list[str] = []
    overrides = parse_overrides(
        ["foo", "a=b", "a.b.c=1", "addins.b.c.d=1", ".x=1", "x.=1", "a.b=[1", "a.b=1"], (), problems
    )
    assert [problem.partition(": ")[0] for problem in problems] == [
        "--set foo",
        "--set a=b",
        "--set a.b.c=1",
        "--set addins.b.c.d=1",
        "--set .x=1",
        "--set x.=1",
        "--set a.b",
    ]
    assert [one.path for one in overrides] == [("a", "b")]


def test_an_endpoint_of_the_command_line_is_checked_as_one_of_the_file() -> None:
    (problem,) = problems_of(listen=("11112",))
    assert problem.startswith("--listen server.listen[0]: '11112' is not an endpoint")


@pytest.mark.parametrize("title", ["A", "TXDICOM", "_x-1.b", "-", "ABCDEFGHIJKLMNOP", "9"])
def test_ae_titles_of_servers(title: str) -> None:
    assert check_ae_title(title) == title


@pytest.mark.parametrize("title", ["", ".", "..", ".a", "a b", "a/b", "ABCDEFGHIJKLMNOPQ", "A\n", "Ä", "a\\b", "A*"])
def test_what_may_not_name_a_folder(title: str) -> None:
    with pytest.raises(ValueError, match="cannot be a server's AE title"):
        check_ae_title(title)


def test_places_are_known_for_messages() -> None:
    settings = read("[archive]\nstore = '/a'", "server.temporary_directory=/b")
    assert settings.place("archive", "store") == "server.toml:2: archive.store"
    assert settings.place("server", "temporary_directory") == "--set server.temporary_directory"
    assert settings.place("archive", "flush") == "archive.flush"


def test_settings_are_frozen() -> None:
    settings: Any = read()
    for table, name in (("server", "max_clients"), ("archive", "flush"), ("addins", "enabled")):
        with pytest.raises((AttributeError, ValueError)):
            setattr(getattr(settings, table), name, 1)


@pytest.mark.parametrize("table", ["archive.store", "server.temporary_directory", "tls.ca", "server.display_name"])
def test_a_nul_character(table: str) -> None:
    problems: list[str] = []
    with pytest.raises(SettingsError) as raised:
        read_settings("", parse_overrides([f'{table}="a\\u0000b"'], (), problems), ae_title="TXDICOM")
    assert raised.value.problems == (f"--set {table}: it has a NUL character in it: take that out",)


def test_a_name_without_end() -> None:
    with pytest.raises(SettingsError, match="display_name"):
        read_settings(f'[server]\ndisplay_name = "{"x" * 257}"\n', ae_title="TXDICOM")
