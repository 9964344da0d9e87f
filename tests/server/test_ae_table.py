"""aetitles.toml."""

from __future__ import annotations

import tomllib

import pytest

from txdicom.errors import SettingsError
from txdicom.server.ae_table import EXAMPLE, AEEntry, read_ae_table

RULE = "1 to 16 characters, no backslash, no control character, no space around"


def test_entries() -> None:
    table = read_ae_table('[NULLSCP]\nhost = "127.0.0.1"\nport = 11113\n[CALLER]\n["CT SCANNER.2"]\nhost = "ct2"\n')
    assert table == {
        "NULLSCP": AEEntry(host="127.0.0.1", port=11113),
        "CALLER": AEEntry(),
        "CT SCANNER.2": AEEntry(host="ct2", port=104),
    }


def test_the_example_is_empty_and_becomes_valid_without_its_marks() -> None:
    assert read_ae_table(EXAMPLE) == {}
    text = EXAMPLE[EXAMPLE.index("# [WORK") :].replace("# [", "[").replace("# host", "host").replace("# port", "port")
    assert set(read_ae_table(text.replace('# ["', '["'))) == {"WORKSTATION", "CT SCANNER.2"}
    assert tomllib.loads(EXAMPLE) == {}


def test_every_mistake_is_listed_with_its_line() -> None:
    text = """\
[A.B]
host = 3
["bad\\\\x"]
["ABCDEFGHIJKLMNOPQ"]
["  "]
[" A"]
[C]
port = 0
hots = "x"
host = true
"""
    with pytest.raises(SettingsError) as raised:
        read_ae_table("D = 1\n" + text)
    assert raised.value.problems == (
        "aetitles.toml:1: an application entity is a table: write [D], its host and port below",
        "aetitles.toml:2: A.B: there is no such setting (there are host, port); a title with a dot stands in quotes",
        *(
            f"aetitles.toml:{line}: {title!r} is not an AE title ({RULE})"
            for line, title in ((4, "bad\\x"), (5, "ABCDEFGHIJKLMNOPQ"), (6, "  "), (7, " A"))
        ),
        "aetitles.toml:9: C.port: input should be greater than or equal to 1, not 0",
        "aetitles.toml:10: C.hots: there is no such setting (there are host, port)",
        "aetitles.toml:11: C.host: input should be a valid string, not True",
    )


def test_no_toml() -> None:
    with pytest.raises(SettingsError, match=r"aetitles\.toml: .*line 2"):
        read_ae_table("[A]\n=")
