"""aetitles.toml."""

from __future__ import annotations

import tomllib

import pytest

from txdicom.errors import SettingsError
from txdicom.interfaces import AEEntry
from txdicom.interfaces.ae_titles import VALUES
from txdicom.server.ae.table import EXAMPLE, read_ae_table

RULE = "has to be 1 to 16 characters of ASCII, no backslash, no control character, no space around"
THERE_ARE = f"(there are {', '.join(VALUES)})"


def test_entries() -> None:
    table = read_ae_table('[NULLSCP]\nhost = "127.0.0.1"\nport = 11113\n[CALLER]\n["CT SCANNER.2"]\nhost = "ct2"\n')
    assert table == {
        "NULLSCP": AEEntry(ae_title="NULLSCP", host="127.0.0.1", port=11113),
        "CALLER": AEEntry(ae_title="CALLER"),
        "CT SCANNER.2": AEEntry(ae_title="CT SCANNER.2", host="ct2", port=104),
    }


def test_the_example_is_empty_and_becomes_valid_without_its_marks() -> None:
    assert read_ae_table(EXAMPLE) == {}
    text = (
        EXAMPLE[EXAMPLE.index("# [WORK") :]
        .replace("# [", "[")
        .replace("# host", "host")
        .replace("# port", "port")
        .replace("# verify", "verify")
    )
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
        f"aetitles.toml:2: A.B: there is no such setting {THERE_ARE}; a title with a dot stands in quotes",
        *(
            f"aetitles.toml:{line}: {RULE}, not {title!r}"
            for line, title in ((4, "bad\\x"), (5, "ABCDEFGHIJKLMNOPQ"), (6, "  "), (7, " A"))
        ),
        "aetitles.toml:9: C.port: has to be a number from 1 to 65535, not 0",
        f"aetitles.toml:10: C.hots: there is no such setting {THERE_ARE}",
        "aetitles.toml:11: C.host: has to be the name or the address of a host, not True",
    )


def test_no_toml() -> None:
    with pytest.raises(SettingsError, match=r"aetitles\.toml: .*line 2"):
        read_ae_table("[A]\n=")


def test_what_only_the_program_knows_is_no_setting() -> None:
    for name in ("last_access", "ae_title"):
        with pytest.raises(SettingsError, match=f"A.{name}: there is no such setting"):
            read_ae_table(f'[A]\n{name} = "x"\n')


def test_a_rule_that_lacks_something_is_told_with_its_line() -> None:
    with pytest.raises(SettingsError) as raised:
        read_ae_table('[A]\nverify = "address"\n\n[B]\nhost = "192.0.2.1"\nverify = "host-name"\n[[C]]\n')
    assert raised.value.problems == (
        "aetitles.toml:2: A.verify: address needs the host",
        "aetitles.toml:6: B.verify: host-name needs a host with a name, and 192.0.2.1 is an address: say address",
        "aetitles.toml:7: an application entity is a table: write [C], its host and port below",
    )


def test_ten_thousand_entries() -> None:
    text = "".join(f'[AE{number}]\nhost = "host{number}"\n' for number in range(10_000))
    assert len(read_ae_table(text)) == 10_000
