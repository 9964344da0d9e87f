"""Changes of aetitles.toml: what is not changed stays byte for byte."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txdicom.errors import DicomError
from txdicom.interfaces import AEEntry
from txdicom.server.ae.edit import with_added, with_removed, with_updated
from txdicom.server.ae.table import EXAMPLE, read_ae_table

TEXT = """\
# of the file

# the old one
[A]
host = "a" # where
port    =   11112
  # nothing stands here

# === scanners ===

# the second
["B.C"]   # a title with a dot
host = '''b'''
verify = "address"
'friendly_name' = \"\"\"
[A] is # no "header" \\
  here\"\"\"
[D]
"""


def test_a_new_one_stands_at_the_end() -> None:
    added = with_added(TEXT, AEEntry(ae_title="E F", host="e", verify="mask", mask="10.0.0.0/8"))
    assert added == TEXT + '\n["E F"]\nhost = "e"\nport = 104\nverify = "mask"\nmask = "10.0.0.0/8"\n'
    assert with_added("", AEEntry(ae_title="E")) == "[E]\n"
    assert with_added("[A]", AEEntry(ae_title="E")) == "[A]\n\n[E]\n"
    assert with_added("# x\r\n", AEEntry(ae_title="E")) == "# x\r\n\r\n[E]\r\n"


def test_values_are_changed_in_their_place() -> None:
    entry = AEEntry(ae_title="A", host="b", port=11112, verify="address")
    assert with_updated(TEXT, "A", entry) == TEXT.replace('host = "a" #', 'host = "b" #').replace(
        "11112\n", '11112\nverify = "address"\n'
    )
    assert with_updated(TEXT, "A", replace(entry, host="a", port=104, verify="none")) == TEXT.replace("11112", "104")


def test_a_value_over_several_lines_a_header_without_values_and_a_new_name() -> None:
    old = read_ae_table(TEXT)["B.C"]
    assert old.friendly_name == '[A] is # no "header" here'
    updated = with_updated(TEXT, "B.C", replace(old, friendly_name="x", ae_title="B"))
    start, end = TEXT.index('"""'), TEXT.rindex('"""') + 3
    assert updated == (TEXT[:start] + '"x"' + TEXT[end:]).replace('["B.C"]', "[B]")
    assert with_updated(TEXT, "D", AEEntry(ae_title="D", port=1)) == TEXT + "port = 1\n"
    assert with_updated("[D]", "D", AEEntry(ae_title="D", port=1)) == "[D]\nport = 1\n"


def test_what_is_as_the_server_says_again_goes() -> None:
    text = with_updated(TEXT, "D", AEEntry(ae_title="D", port=1, verify_tls_host_name=True))
    assert text.endswith("[D]\nport = 1\nverify_tls_host_name = true\n")
    assert with_updated(text, "D", AEEntry(ae_title="D", port=1)) == TEXT + "port = 1\n"


def test_one_goes_with_the_comment_above_it() -> None:
    assert with_removed(TEXT, "A") == "# of the file\n\n" + TEXT[TEXT.index("# ===") :]
    assert with_removed(TEXT, "B.C") == TEXT[: TEXT.index("# the second")] + "[D]\n"
    assert with_removed(TEXT, "D") == TEXT.removesuffix("[D]\n")
    assert with_removed("# of the file\n[A]\n# of B\n[B]\n", "A") == "# of the file\n# of B\n[B]\n"


def test_other_forms_of_tables() -> None:
    text = '# top\nA = {host = "a", port = 3} # inline\nB.host = "b"\nB.port = 4\n[host]\nhost = "c"\nport = 5\n'
    table = read_ae_table(text)
    assert [entry.port for entry in table.values()] == [3, 4, 5]
    updated = with_updated(text, "A", replace(table["A"], port=9))
    assert updated == text.replace('A = {host = "a", port = 3} # inline\n', "") + '\n[A]\nhost = "a"\nport = 9\n'
    assert with_removed(text, "B") == text.replace('B.host = "b"\nB.port = 4\n', "")
    assert with_removed(text, "host") == text[: text.index("[host]")]


def test_a_form_that_only_a_person_can_change() -> None:
    with pytest.raises(DicomError, match=r"aetitles\.toml:2: .*by hand"):
        with_removed("[A]\nport = [\n 1 ]\n", "A")


TITLES = st.text(st.sampled_from("AB .'\"#[]=-"), min_size=1, max_size=16).filter(lambda text: text == text.strip())
ENTRIES = st.builds(
    AEEntry,
    ae_title=TITLES,
    host=st.sampled_from(["", "host", "::1", "192.0.2.1"]),
    port=st.integers(1, 65_535),
    friendly_name=st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=20),
    verify_tls_host_name=st.sampled_from([None, True, False]),
    port_usage=st.sampled_from(["server", "none"]),
)
STARTS = st.sampled_from(["", EXAMPLE, TEXT, TEXT.replace("\n", "\r\n"), "# a\n\n[X]"])


@given(STARTS, st.lists(st.tuples(ENTRIES, st.sampled_from("aur"), st.integers(0, 100)), max_size=12))
def test_any_changes_one_after_another(text: str, changes: list[tuple[AEEntry, str, int]]) -> None:
    table = read_ae_table(text)
    for entry, kind, which in changes:
        title = [*table, entry.ae_title][which % (len(table) + 1)]
        if kind == "a" and entry.ae_title not in table:
            text, table = with_added(text, entry), {**table, entry.ae_title: entry}
        elif kind == "u" and title in table and (title == entry.ae_title or entry.ae_title not in table):
            text = with_updated(text, title, entry)
            table = {one.ae_title: one for one in (entry if old == title else kept for old, kept in table.items())}
        elif kind == "r" and title in table:
            text = with_removed(text, title)
            del table[title]
        assert read_ae_table(text) == table
