"""Known headers: they make no difference but to the time it takes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.archive.builders import CT, explicit, implicit, uid
from txdicom.archive import headers, identity
from txdicom.archive.headers import LAYOUTS, SYNTAXES
from txdicom.archive.identity import Identity, identify, known_headers
from txdicom.archive.walker import BadDataSet
from txdicom.uids import (
    DEFLATED,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


def instance(sop_instance: str = "1.2.3", *, filler: int = 8, referenced: str = "9.9", order: str = "<") -> bytes:
    """A data set with sequences of every kind before its Study Instance UID."""
    item = explicit(0x00081155, b"UI", uid(referenced), order=order)
    undefined = implicit(ITEM, item + implicit(ITEM_END, b"", order=order), UNDEFINED, order)
    defined = implicit(ITEM, item, order=order)
    unknown = implicit(ITEM, implicit(0x00081155, uid(referenced))) + implicit(SEQUENCE_END, b"")
    return b"".join((
        explicit(0x00080016, b"UI", uid(CT), order=order),
        explicit(0x00080018, b"UI", uid(sop_instance), order=order),
        explicit(0x00080060, b"CS", b"CT", order=order),
        explicit(0x00081110, b"SQ", undefined + implicit(SEQUENCE_END, b"", order=order), UNDEFINED, order),
        explicit(0x00081140, b"SQ", defined, order=order),
        explicit(0x00091010, b"UN", unknown, UNDEFINED, order),
        explicit(0x00100010, b"PN", b"A" * filler, order=order),
        explicit(0x0020000D, b"UI", uid("1.4"), order=order),
        explicit(0x0020000E, b"UI", uid("1.5"), order=order),
        explicit(0x00200010, b"SH", b"1 ", order=order),
        explicit(0x7FE00010, b"OW", bytes(64), order=order),
    ))  # fmt: skip


def outcome(data: bytes, syntax: str, known=None, cut: int = 1 << 20) -> Identity | str:
    """The identity, or what is wrong with the data set."""
    try:
        return identify([data[:cut], memoryview(data)[cut:]], len(data), syntax, known)
    except BadDataSet as error:
        return str(error)


@pytest.fixture
def walks(monkeypatch) -> list[int]:
    """One entry for each walk that is not spared."""
    walked = []
    scan = identity.scan
    monkeypatch.setattr(identity, "scan", lambda *args, **kwargs: walked.append(1) or scan(*args, **kwargs))
    return walked


@pytest.fixture
def lessons(monkeypatch) -> list[int]:
    """One entry for each layout that is learned."""
    learned = []
    trace = headers.trace
    monkeypatch.setattr(headers, "trace", lambda *args: learned.append(1) or trace(*args))
    return learned


def test_the_next_of_a_series_is_not_walked(walks):
    known = known_headers()
    for number in range(10, 99):
        one = identify([instance(f"1.2.{number}", referenced=f"9.{number}")], 400, EXPLICIT_VR_LITTLE_ENDIAN, known)
        assert one == (CT, f"1.2.{number}", "1.4", "1.5")
    assert len(walks) == 1


def test_uids_of_several_lengths_from_several_senders(walks):
    known = known_headers()
    kinds = [(sop_instance, filler) for sop_instance in ("1.2", "1.2.345", "1.2.34567") for filler in (4, 6)]
    assert len(kinds) <= LAYOUTS
    for _ in range(5):
        for sop_instance, filler in kinds:
            data = instance(sop_instance, filler=filler)
            assert outcome(data, EXPLICIT_VR_LITTLE_ENDIAN, known) == (CT, sop_instance, "1.4", "1.5")
    assert len(walks) == len(kinds)


def test_absent_ones_stay_absent(walks):
    known = known_headers()
    data = explicit(0x00080018, b"UI", uid("1.2.3")) + explicit(0x00280010, b"US", b"\1\0")
    for _ in range(3):
        assert outcome(data, EXPLICIT_VR_LITTLE_ENDIAN, known) == ("", "1.2.3", "", "")
    assert len(walks) == 1


def test_each_transfer_syntax_for_itself():
    known = known_headers()
    # as Implicit VR the first element has a length of "UI", and is taken for what it is: Explicit VR
    plain = implicit(0x00080016, uid(CT)) + implicit(0x00080018, uid("1.2.3")) + implicit(0x00280010, b"\1\0")
    for _ in range(3):
        whole = Identity(CT, "1.2.3", "1.4", "1.5")
        assert outcome(instance(), EXPLICIT_VR_LITTLE_ENDIAN, known) == whole
        assert outcome(instance(), IMPLICIT_VR_LITTLE_ENDIAN, known) == whole
        assert outcome(instance(order=">"), EXPLICIT_VR_BIG_ENDIAN, known) == whole
        assert outcome(plain, IMPLICIT_VR_LITTLE_ENDIAN, known) == (CT, "1.2.3", "", "")
        for number in range(SYNTAXES):
            assert outcome(instance(), f"1.2.3.{number}", known) == whole
    assert len(known._known) <= SYNTAXES


def test_headers_that_all_differ_are_seldom_learned(lessons):
    known = known_headers()
    count = 2000
    for number in range(count):
        outcome(instance(filler=2 * number), EXPLICIT_VR_LITTLE_ENDIAN, known)
    assert len(lessons) < 10 + LAYOUTS + count / 100
    assert len(known._known[EXPLICIT_VR_LITTLE_ENDIAN].layouts) <= LAYOUTS
    # and a series that comes later is learned after all
    for _ in range(200):
        outcome(instance("1.2"), EXPLICIT_VR_LITTLE_ENDIAN, known)
    before = len(lessons)
    for _ in range(2000):
        outcome(instance("1.2"), EXPLICIT_VR_LITTLE_ENDIAN, known)
    assert len(lessons) == before


def test_a_header_longer_than_its_first_part_is_walked():
    known = known_headers()
    for _ in range(3):
        assert outcome(instance(filler=10_000), EXPLICIT_VR_LITTLE_ENDIAN, known) == (CT, "1.2.3", "1.4", "1.5")


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_cut_and_every_byte(order):
    syntax = EXPLICIT_VR_LITTLE_ENDIAN if order == "<" else EXPLICIT_VR_BIG_ENDIAN
    data = instance(order=order)
    known = known_headers()
    outcome(data, syntax, known)
    for position in range(len(data)):
        assert outcome(data[:position], syntax, known) == outcome(data[:position], syntax)
        assert outcome(data, syntax, known, cut=position) == outcome(data, syntax)
        for change in (0x01, 0x80, 0xFF):
            changed = bytearray(data)
            changed[position] ^= change
            assert outcome(bytes(changed), syntax, known) == outcome(bytes(changed), syntax), position


def test_mutations_of_bundled_files(bundled):
    rng = random.Random(21)
    for one in bundled:
        syntax, data = one.transfer_syntax, one.data[:20_000]
        known = known_headers()
        assert outcome(one.data, syntax, known) == outcome(one.data, syntax, known) == one.identity, one.name
        assert (one.transfer_syntax in DEFLATED) == (not known._known)
        for _ in range(40):
            changed = bytearray(data)
            for _ in range(rng.choice((1, 2, 10))):
                position = rng.randrange(min(len(data), 3000))
                changed[position : position + rng.choice((0, 1, 1, 1))] = rng.randbytes(rng.choice((1, 1, 1, 2)))
            mutated = bytes(changed)
            cut = rng.randrange(len(mutated))
            assert outcome(mutated, syntax, known, cut) == outcome(mutated, syntax), one.name


@given(
    changes=st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=3), st.integers(0, 3)), max_size=4),
    syntax=st.sampled_from([EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN]),
    sop_instance=st.sampled_from(["1.2.3", "1.2.34", "1.2.3456"]),
)
def test_any_change(changes, syntax, sop_instance):
    known = known_headers()
    order = ">" if syntax == EXPLICIT_VR_BIG_ENDIAN else "<"
    outcome(instance(order=order), syntax, known)
    changed = bytearray(instance(sop_instance, order=order))
    for position, new, old in changes:
        changed[position : position + old] = new
    for _ in range(2):
        assert outcome(bytes(changed), syntax, known) == outcome(bytes(changed), syntax)
