"""The header walker: it finds what pydicom finds, whatever is cut off, and never runs away."""

from __future__ import annotations

import contextlib
import os
import random
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.archive.builders import CT, data_set, explicit, implicit, uid
from txdicom.archive import walker
from txdicom.archive.identity import Identity, identify, identify_file
from txdicom.archive.walker import FIRST_READ, MAX_DEPTH, MAX_HEADER, BadDataSet, NeedMore, scan, trace
from txdicom.uids import (
    DEFLATED,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

CLASS, INSTANCE, STUDY, SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
WANTED = frozenset({CLASS, INSTANCE, STUDY, SERIES})
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PRIVATE_SYNTAX = "1.2.3.4.5"

HEAD = explicit(CLASS, b"UI", uid(CT)) + explicit(INSTANCE, b"UI", uid("1.2.3"))
TAIL = explicit(STUDY, b"UI", uid("1.4")) + explicit(SERIES, b"UI", uid("1.5"))
IMPLICIT_TAIL = implicit(STUDY, uid("1.4")) + implicit(SERIES, uid("1.5"))
WHOLE = Identity(CT, "1.2.3", "1.4", "1.5")


def deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


def found(data: bytes, transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> Identity:
    return identify([data], len(data), transfer_syntax)


def attempt(data: bytes, syntax: str, complete: bool = False) -> dict[int, bytes] | NeedMore:
    """What `scan` returns, or its wish for more."""
    try:
        return scan(data, syntax, WANTED, complete=complete)
    except NeedMore as need:
        return need


# --- real files -------------------------------------------------------------------------------------------------------


def test_every_bundled_file_has_the_identity_that_pydicom_finds(bundled):
    syntaxes = set()
    for one in bundled:
        view = memoryview(one.data)
        pieces = [view[start : start + 1000] for start in range(0, len(view), 1000)]
        assert identify([one.data], len(one.data), one.transfer_syntax) == one.identity, one.name
        assert identify(pieces, len(one.data), one.transfer_syntax) == one.identity, one.name
        syntaxes.add(one.transfer_syntax)
    assert len(bundled) > 120
    assert {IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN} < syntaxes


def test_every_bundled_file_is_identified_on_disk(bundled, tmp_path):
    path = tmp_path / "file"
    for one in bundled:
        path.write_bytes(b"before" + one.data)
        with open(path, "rb") as file:
            assert identify_file(file.fileno(), 6, len(one.data), one.transfer_syntax) == one.identity, one.name


def test_no_cut_of_a_bundled_file_gives_another_result(bundled):
    for one in bundled:
        whole = scan(one.data, one.transfer_syntax, WANTED, complete=True)
        cuts = range(len(one.data)) if len(one.data) < 1500 else _cuts(one.data)
        enough = None
        wanted = set()
        for cut in cuts:
            values = attempt(one.data[:cut], one.transfer_syntax)
            if isinstance(values, NeedMore):
                assert enough is None, (one.name, cut, "a longer prefix must do where a shorter one did")
                assert values.at_least > cut
                wanted.add(values.at_least)
            else:
                assert values == whole, (one.name, cut)
                enough = cut if enough is None else enough
        if enough is not None and one.transfer_syntax not in DEFLATED:
            # nothing was asked for in vain; the cuts are not all tried, so the next one tried may be further on
            assert max(wanted) <= enough, one.name


def _cuts(data: bytes) -> list[int]:
    rng = random.Random(len(data))
    head = min(len(data), 12_000)
    return sorted({*rng.sample(range(head), min(head, 150)), *range(min(200, head)), *range(0, len(data), 50_000)})


def test_every_cut_of_a_nested_data_set():
    inner = implicit(ITEM, implicit(0x00100010, b"A^B ") + implicit(ITEM_END, b""), UNDEFINED)
    nested = explicit(0x00091001, b"UN", inner + implicit(SEQUENCE_END, b""), UNDEFINED)
    item = implicit(ITEM, nested + explicit(0x00081150, b"UI", b"9.9\0") + implicit(ITEM_END, b""), UNDEFINED)
    sequence = explicit(0x00081140, b"SQ", item + implicit(ITEM, b"\0" * 10) + implicit(SEQUENCE_END, b""), UNDEFINED)
    data = HEAD + sequence + TAIL + explicit(0x7FE00010, b"OW", bytes(100))
    enough = len(HEAD + sequence + TAIL)
    # the walk knows that it has passed the last wanted tag when it sees the header of the next
    enough += 8
    for cut in range(len(data)):
        if cut < enough:
            with pytest.raises(NeedMore) as need:
                scan(data[:cut], EXPLICIT_VR_LITTLE_ENDIAN, WANTED, complete=False)
            assert cut < need.value.at_least <= enough
        else:
            assert scan(data[:cut], EXPLICIT_VR_LITTLE_ENDIAN, WANTED, complete=False)[SERIES] == b"1.5\0"


# --- layouts ----------------------------------------------------------------------------------------------------------


def test_no_data_set_at_all():
    assert identify([], 0, EXPLICIT_VR_LITTLE_ENDIAN) == Identity("", "", "", "")
    assert identify([], 0, IMPLICIT_VR_LITTLE_ENDIAN) == Identity("", "", "", "")


@pytest.mark.parametrize("syntax", [EXPLICIT_VR_LITTLE_ENDIAN, PRIVATE_SYNTAX, "1.2.840.10008.1.2.4.50"])
def test_all_other_syntaxes_are_explicit_little_endian(syntax):
    assert found(HEAD + TAIL, syntax) == WHOLE


def test_big_endian():
    parts = [(CLASS, uid(CT)), (INSTANCE, uid("1.2.3"))]
    item = implicit(ITEM, implicit(ITEM_END, b"", order=">"), UNDEFINED, ">")
    sequence = explicit(0x00081140, b"SQ", item + implicit(SEQUENCE_END, b"", order=">"), UNDEFINED, ">")
    # UN is Implicit VR Little Endian inside, in big endian too
    unknown = explicit(0x00191010, b"UN", implicit(ITEM, b"1234") + implicit(SEQUENCE_END, b""), UNDEFINED, ">")
    parts_after = [(STUDY, uid("1.4")), (SERIES, uid("1.5"))]
    data = b"".join(explicit(tag, b"UI", value, order=">") for tag, value in parts) + sequence + unknown
    data += b"".join(explicit(tag, b"UI", value, order=">") for tag, value in parts_after)
    assert found(data, EXPLICIT_VR_BIG_ENDIAN) == WHOLE


def test_implicit():
    head = implicit(CLASS, uid(CT)) + implicit(INSTANCE, uid("1.2.3"))
    item = implicit(ITEM, implicit(0x00081150, b"9.9\0") + implicit(ITEM_END, b""), UNDEFINED)
    sequence = implicit(0x00081140, item + implicit(SEQUENCE_END, b""), UNDEFINED)
    data = head + sequence + IMPLICIT_TAIL
    assert found(data, IMPLICIT_VR_LITTLE_ENDIAN) == WHOLE
    for cut in range(len(data)):
        with pytest.raises(NeedMore):
            scan(data[:cut], IMPLICIT_VR_LITTLE_ENDIAN, WANTED, complete=False)


def test_explicit_sent_where_implicit_was_agreed():
    assert found(HEAD + TAIL, IMPLICIT_VR_LITTLE_ENDIAN) == WHOLE


def test_an_element_without_vr_inside_explicit():
    assert found(HEAD + implicit(0x00100010, b"A^B ") + TAIL) == WHOLE


def test_new_vrs_have_the_long_form_and_odd_ones_the_short():
    assert found(HEAD + explicit(0x00100011, b"ZZ", b"1234") + TAIL) == WHOLE
    assert found(HEAD + explicit(0x00100011, b"XY", b"1234") + TAIL) == WHOLE


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_few_bytes_of_padding_at_the_end_are_let_pass(cut):
    assert found(HEAD + TAIL + bytes(cut)) == WHOLE


def test_values_inside_sequences_do_not_count():
    other = explicit(INSTANCE, b"UI", b"6.6\0") + explicit(STUDY, b"UI", b"7.7\0")
    for item in (implicit(ITEM, other), implicit(ITEM, other + implicit(ITEM_END, b""), UNDEFINED)):
        sequence = explicit(0x00081140, b"SQ", item + implicit(SEQUENCE_END, b""), UNDEFINED)
        assert found(HEAD + sequence + TAIL) == WHOLE


def test_fragments_are_skipped():
    fragments = implicit(ITEM, b"") + implicit(ITEM, b"\xff\xd8" * 9) + implicit(SEQUENCE_END, b"")
    assert found(HEAD + explicit(0x00191010, b"OB", fragments, UNDEFINED) + TAIL) == WHOLE


def test_tags_out_of_order_and_absent_ones():
    before = explicit(0x0020000E, b"UI", uid("1.5")) + HEAD + explicit(STUDY, b"UI", uid("1.4"))
    assert found(before) == WHOLE
    assert found(HEAD) == Identity(CT, "1.2.3", "", "")
    assert found(explicit(0x00280010, b"US", b"\1\0") + HEAD) == Identity("", "", "", "")


def test_padding_around_uids_is_stripped():
    data = explicit(CLASS, b"UI", b" 1.2\0\0") + explicit(INSTANCE, b"UI", b"1.2.3 ")
    assert found(data)[:2] == ("1.2", "1.2.3")


# --- what is remembered of elements -----------------------------------------------------------------------------------


def test_what_one_search_passes_over_another_may_want():
    data = HEAD + explicit(0x00100020, b"LO", b"ID") + TAIL
    for _ in range(2):
        assert scan(data, EXPLICIT_VR_LITTLE_ENDIAN, WANTED, complete=True)[STUDY] == b"1.4\0"
        both = scan(data, EXPLICIT_VR_LITTLE_ENDIAN, frozenset({INSTANCE, 0x00100020}), complete=True)
        assert both == {INSTANCE: b"1.2.3\0", 0x00100020: b"ID"}
        assert scan(data, EXPLICIT_VR_LITTLE_ENDIAN, frozenset({CLASS}), complete=True) == {CLASS: uid(CT)}


def test_the_same_bytes_in_another_encoding_are_another_element():
    # "LT" and a length of 4 are a length of 0x4544C without VR
    data = HEAD + explicit(0x00100020, b"LT", b"1234") + TAIL
    assert found(data) == WHOLE
    head = implicit(CLASS, uid(CT)) + implicit(INSTANCE, uid("1.2.3"))
    length = int.from_bytes(b"LT\4\0", "little")
    assert found(head + implicit(0x00100020, bytes(length)) + IMPLICIT_TAIL, IMPLICIT_VR_LITTLE_ENDIAN) == WHOLE


def test_a_value_that_goes_past_the_prefix_does_so_again():
    data = HEAD + explicit(0x00100020, b"LO", bytes(200)) + TAIL
    assert found(data) == WHOLE
    for _ in range(2):
        with pytest.raises(NeedMore) as need:
            scan(data[: len(HEAD) + 50], EXPLICIT_VR_LITTLE_ENDIAN, WANTED, complete=False)
        assert need.value.at_least == len(HEAD) + 216
        with pytest.raises(BadDataSet):
            scan(data[: len(HEAD) + 50], EXPLICIT_VR_LITTLE_ENDIAN, WANTED, complete=True)


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(walker, "_STEPS", 5)
    wanted = WANTED | {0x00080001}
    for length in range(0, 40, 2):
        assert scan(HEAD + explicit(0x00100020, b"LO", bytes(length)) + TAIL, "", wanted, complete=True)[STUDY]
    steps = walker._search(walker._EXPLICIT_LITTLE, wanted).steps
    assert 0 < len(steps) <= 5


# --- what a walk depends on -------------------------------------------------------------------------------------------


def test_a_trace_has_all_that_matters(bundled):
    rng = random.Random(7)
    traced = 0
    for one in bundled:
        if one.transfer_syntax in DEFLATED or (found_by := trace(one.data[:4096], one.transfer_syntax, WANTED)) is None:
            continue
        traced += 1
        places, reads = found_by
        matters = {offset + index for offset, size in reads for index in range(size)}
        assert not matters & {index for start, end in places.values() for index in range(start, end)}
        end = max(matters) + 1
        # whatever stands elsewhere, the same walk is taken
        other = bytearray(rng.randbytes(end + 8))
        for index in matters:
            other[index] = one.data[index]
        values = scan(bytes(other), one.transfer_syntax, WANTED, complete=False)
        assert values == {tag: bytes(other[start:stop]) for tag, (start, stop) in places.items()}, one.name
    assert traced > 80


def test_no_trace_of_what_is_not_walked_to_its_end():
    for data in (HEAD + TAIL, *BROKEN.values()):
        assert trace(data, EXPLICIT_VR_LITTLE_ENDIAN, WANTED) is None


# --- what cannot be walked --------------------------------------------------------------------------------------------

BROKEN = {
    "a value past the end": HEAD + explicit(STUDY, b"UI", b"1.4\0", 400),
    "an unwanted value past the end": HEAD + explicit(0x00100010, b"PN", b"A^B", 400),
    "a header cut off": HEAD + explicit(0x00191010, b"OB", b"")[:9],
    "a sequence that does not end": HEAD + explicit(0x00081140, b"SQ", implicit(ITEM, b"12"), UNDEFINED),
    "a sequence of elements": HEAD + explicit(0x00081140, b"SQ", explicit(0x00081150, b"UI", b"9.9\0"), UNDEFINED),
    "an item inside an item": HEAD
    + explicit(0x00081140, b"SQ", implicit(ITEM, implicit(ITEM, b""), UNDEFINED), UNDEFINED),
    "an item that is not ended": HEAD
    + explicit(0x00081140, b"SQ", implicit(ITEM, implicit(SEQUENCE_END, b""), UNDEFINED), UNDEFINED),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name, tmp_path):
    data = BROKEN[name]
    with pytest.raises(BadDataSet):
        scan(data, EXPLICIT_VR_LITTLE_ENDIAN, WANTED, complete=True)
    with pytest.raises(BadDataSet):
        found(data)
    with pytest.raises(BadDataSet):
        found(deflate(data), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    path = tmp_path / "file"
    path.write_bytes(data)
    with open(path, "rb") as file, pytest.raises(BadDataSet):
        identify_file(file.fileno(), 0, len(data), EXPLICIT_VR_LITTLE_ENDIAN)


def bomb(depth: int) -> bytes:
    opened = explicit(0x00081140, b"SQ", implicit(ITEM, b"", UNDEFINED), UNDEFINED) * depth
    return HEAD + opened + (implicit(ITEM_END, b"") + implicit(SEQUENCE_END, b"")) * depth + TAIL


def test_nesting_is_limited():
    assert found(bomb(MAX_DEPTH)) == WHOLE
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(BadDataSet, match="deep"):
            found(bomb(depth))


@pytest.mark.parametrize("kind", ["items", "elements", "implicit"])
def test_work_is_limited(kind, tmp_path):
    unit = {
        "items": implicit(ITEM, b""),
        "elements": explicit(0x00080001, b"US", b""),
        "implicit": implicit(0x00080001, b""),
    }[kind]
    start = explicit(0x00081140, b"SQ", b"", UNDEFINED) if kind == "items" else b""
    path = tmp_path / "file"
    path.write_bytes(start + unit * (2 * MAX_HEADER // len(unit)))
    size = path.stat().st_size
    begin = time.process_time()
    syntax = IMPLICIT_VR_LITTLE_ENDIAN if kind == "implicit" else EXPLICIT_VR_LITTLE_ENDIAN
    with open(path, "rb") as file, pytest.raises(BadDataSet, match="MiB"):
        identify_file(file.fileno(), 0, size, syntax)
    assert time.process_time() - begin < 20


def test_large_values_are_skipped_without_being_read(tmp_path, monkeypatch):
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: read.append(count) or pread(fd, count, offset))
    path = tmp_path / "file"
    private = explicit(0x00191010, b"OB", b"", 3 << 30)
    with open(path, "wb+") as file:
        file.write(HEAD + private)
        file.seek(3 << 30, os.SEEK_CUR)
        file.write(TAIL)
        file.flush()
        assert identify_file(file.fileno(), 0, file.tell(), EXPLICIT_VR_LITTLE_ENDIAN) == WHOLE
    assert sum(read) <= 4 * FIRST_READ


@pytest.mark.parametrize("filler", [300, 3 * FIRST_READ, 40 * FIRST_READ])
@pytest.mark.parametrize("sequence", [False, True])
def test_a_long_header(filler, sequence):
    if sequence:
        item = implicit(ITEM, explicit(0x00081150, b"UI", b"9.9\0") + implicit(ITEM_END, b""), UNDEFINED)
        value = item * (filler // len(item)) + implicit(SEQUENCE_END, b"")
        data = HEAD + explicit(0x00081140, b"SQ", value, UNDEFINED) + TAIL
    else:
        data = HEAD + explicit(0x00090010, b"OB", bytes(filler)) + TAIL
    assert identify([data[:100], data[100:101], memoryview(data)[101:]], len(data), PRIVATE_SYNTAX) == WHOLE
    assert found(deflate(data), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN) == WHOLE


# --- deflated ---------------------------------------------------------------------------------------------------------


def test_every_cut_of_a_deflated_data_set():
    noise = random.Random(1).randbytes(2000)
    data = deflate(HEAD + explicit(0x00090010, b"OB", noise) + TAIL + explicit(0x7FE00010, b"OB", noise))
    done = False
    for cut in range(len(data)):
        values = attempt(data[:cut], DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
        if isinstance(values, NeedMore):
            assert not done
            assert values.at_least == cut + 1
        else:
            done = True
            assert values[SERIES] == b"1.5\0"
    assert done


def test_a_deflated_data_set_cut_after_its_header_is_still_identified():
    data = deflate(HEAD + TAIL + explicit(0x7FE00010, b"OB", random.Random(1).randbytes(50_000)))
    assert found(data[:20_000], DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN) == WHOLE
    with pytest.raises(BadDataSet, match="ends"):
        found(data[:40], DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)


def test_a_value_past_the_end_of_a_deflated_data_set():
    data = HEAD + explicit(0x00090010, b"OB", bytes(10), 100_000)
    with pytest.raises(BadDataSet, match="ends"):
        found(deflate(data), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    with pytest.raises(NeedMore):
        scan(deflate(data)[:-4], DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, WANTED, complete=False)


def test_what_is_not_deflated():
    with pytest.raises(BadDataSet, match="damaged"):
        found(HEAD + TAIL, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)


@pytest.mark.parametrize("length", [MAX_HEADER + 1, 0xFFFFFFF0])
def test_a_zlib_bomb_is_not_inflated(length):
    private = explicit(0x00090010, b"OB", b"", length)
    bombed = deflate(HEAD + private + bytes(2 * MAX_HEADER))
    begin = time.process_time()
    with pytest.raises(BadDataSet, match="MiB"):
        found(bombed, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    assert time.process_time() - begin < 5


# --- fuzzing ----------------------------------------------------------------------------------------------------------


@given(data=st.binary(max_size=400), syntax=st.sampled_from(sorted({
    EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
})), complete=st.booleans())  # fmt: skip
def test_any_bytes_are_walked_or_refused(data, syntax, complete):
    with contextlib.suppress(BadDataSet):
        values = attempt(data, syntax, complete)
        if isinstance(values, NeedMore):
            assert not complete
            assert values.at_least > len(data)


def test_mutated_files_are_walked_or_refused(bundled):
    rng = random.Random(20)
    for one in bundled:
        for _ in range(25):
            data = bytearray(one.data[:30_000])
            for _ in range(rng.choice((1, 3, 20))):
                if data:
                    data[rng.randrange(min(len(data), 4000))] = rng.choice((0, 0xFF, 0xFE, rng.randrange(256)))
            cut = rng.randrange(len(data) + 1)
            pieces = [bytes(data[:cut]), memoryview(data)[cut:]]
            begin = time.process_time()
            try:
                identity = identify(pieces, len(data), one.transfer_syntax)
            except BadDataSet:
                continue
            finally:
                assert time.process_time() - begin < 2
            assert identity == identify([bytes(data)], len(data), one.transfer_syntax)


def test_the_hand_made_data_set_of_the_store_tests_is_sound():
    assert found(data_set("1.9")) == Identity(CT, "1.9", "1.2", "1.3")
