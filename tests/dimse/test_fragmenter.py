"""Messages to P-DATA-TF PDUs: within the peer's maximum length, even, and nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from txdicom.dimse import fragmenter
from txdicom.dimse.assembler import COMMAND, LAST
from txdicom.dimse.fragmenter import BLOCK, LONGEST, MAX_HOLES, OVERHEAD, Block, fragment_size, fragments
from txdicom.errors import LocalProtocolError
from txdicom.pdu import PDV, decode_pdata
from txdicom.pdu.limits import Limits

UNLIMITED = Limits(max_pdata=1 << 32)
LENGTHS = st.one_of(st.sampled_from((0, 7, 8, 16_384, 131_072, LONGEST, LONGEST + 1, 0xFFFFFFFF)), st.integers(7, 5000))


def split(stream: bytes | memoryview) -> list[tuple[int, list[PDV]]]:
    """The P-DATA-TF PDUs of `stream`: the length of each and its PDVs."""
    found = []
    stream = bytes(stream)
    while stream:
        assert stream[:2] == b"\4\0"
        length = int.from_bytes(stream[2:6], "big")
        assert len(stream) >= length + 6
        found.append((length, list(decode_pdata(stream[6 : length + 6], UNLIMITED).pdvs)))
        stream = stream[length + 6 :]
    return found


def checked(stream: bytes | memoryview, context_id: int, control: int, max_length: int, *, whole: bool = True) -> bytes:
    """The data in `stream`, after a look at everything else."""
    pdus = split(stream)
    data = b""
    for number, (length, pdvs) in enumerate(pdus, 1):
        (pdv,) = pdvs
        last = LAST if whole and number == len(pdus) else 0
        assert (pdv.context_id, pdv.control) == (context_id, control | last)
        assert length <= (max_length or LONGEST)
        assert length <= LONGEST
        if number < len(pdus) and max_length != 7:
            assert len(pdv.data) % 2 == 0
        data += pdv.data
    return data


# -- fragments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_length", "size"),
    [
        (7, 1),
        (8, 2),
        (9, 2),
        (10, 4),
        (16_384, 16_378),
        (131_072, 131_066),
        (0, LONGEST - 6),
        (0xFFFFFFFF, LONGEST - 6),
    ],
)
def test_fragment_size(max_length: int, size: int) -> None:
    assert fragment_size(max_length) == size


@pytest.mark.parametrize("max_length", range(1, 7))
def test_a_peer_that_leaves_no_room(max_length: int) -> None:
    for try_it in (
        lambda: fragment_size(max_length),
        lambda: fragments(1, 0, b"data", max_length),
        lambda: Block(1, max_length),
    ):
        with pytest.raises(LocalProtocolError, match=f"{max_length} bytes leaves no room"):
            try_it()


@given(st.binary(max_size=400), LENGTHS, st.sampled_from((0, COMMAND)), st.sampled_from((1, 255)))
@example(b"", 0, 0, 1)
@example(b"", 7, COMMAND, 1)
@example(bytes(10), 16, 0, 1)
@example(bytes(11), 16, 0, 1)
def test_fragments(data: bytes, max_length: int, control: int, context_id: int) -> None:
    assert checked(fragments(context_id, control, data, max_length), context_id, control, max_length) == data


@pytest.mark.parametrize("size", [0, 1, 16_377, 16_378])
def test_what_fits_is_one_pdu(size: int) -> None:
    assert len(split(fragments(1, 0, bytes(size), 16_384))) == 1


def test_what_does_not_fit_is_two() -> None:
    stream = fragments(1, COMMAND, bytes(16_379), 16_384)
    assert [(length, pdv.control, len(pdv.data)) for length, (pdv,) in split(stream)] == [
        (16_384, 1, 16_378),
        (7, 3, 1),
    ]


@pytest.mark.parametrize("max_length", [0, LONGEST + 100, 0xFFFFFFFF])
def test_a_pdu_has_a_longest_length_whatever_the_peer_allows(max_length: int) -> None:
    """A PDU-length has 32 bits, and nobody is sent more than 1 MiB at once."""
    exact = LONGEST - 6
    assert [length for length, _ in split(fragments(1, 0, bytes(exact), max_length))] == [LONGEST]
    assert [length for length, _ in split(fragments(1, 0, bytes(exact + 1), max_length))] == [LONGEST, 7]
    assert checked(fragments(1, 0, bytes(2 * exact + 5), max_length), 1, 0, max_length) == bytes(2 * exact + 5)


def test_the_bytes_on_the_wire() -> None:
    assert fragments(5, COMMAND, b"abcd", 16_384) == bytes.fromhex("04 00 0000000a 00000006 05 03") + b"abcd"
    assert fragments(5, 0, b"abcd", 8) == (
        bytes.fromhex("04 00 00000008 00000004 05 00") + b"ab" + bytes.fromhex("04 00 00000008 00000004 05 02") + b"cd"
    )


# -- blocks ------------------------------------------------------------------------------------------------------------


def fill(block: Block, data: bytes) -> None:
    """What a `preadv` does."""
    at = 0
    for hole in block.holes:
        part = data[at : at + len(hole)]
        hole[: len(part)] = part
        at += len(hole)


def sent(block: Block, data: bytes) -> bytes:
    """`data` through `block`, as a source is read into it."""
    stream = b""
    while len(data) > block.capacity:
        fill(block, data)
        stream += bytes(block.whole())
        data = data[block.capacity :]
    fill(block, data)
    stream += bytes(block.cut(len(data)))
    block.renew()
    return stream


@given(st.integers(0, 3000), st.integers(40, 600), st.data())
def test_a_block_sends_what_fragments_would(size: int, max_length: int, data: st.DataObject) -> None:
    content = bytes(data.draw(st.randoms(use_true_random=False)).randbytes(size))
    block = Block(3, max_length)
    stream = sent(block, content)
    assert checked(stream, 3, 0, max_length) == content
    assert sent(block, content) == stream  # again, after `renew`
    assert sent(block, content[: size // 2]) == sent(Block(3, max_length), content[: size // 2])


def test_several_blocks() -> None:
    block = Block(1, 4096)
    for size in (block.capacity - 1, block.capacity, block.capacity + 1, 3 * block.capacity, 2 * block.capacity + 4090):
        data = bytes(number & 0xFF for number in range(size))
        assert checked(sent(block, data), 1, 0, 4096) == data


def test_a_whole_block_has_no_last_fragment() -> None:
    block = Block(1, 4096)
    fill(block, bytes(block.capacity))
    assert checked(block.whole(), 1, 0, 4096, whole=False) == bytes(block.capacity)


def test_the_exact_end_of_a_fragment_is_its_last() -> None:
    block = Block(1, 4096)
    step = fragment_size(4096)
    assert [pdv.control for _, (pdv,) in split(block.cut(2 * step))] == [0, LAST]
    block.renew()
    assert [pdv.control for _, (pdv,) in split(block.cut(block.capacity))] == [0] * (len(block.holes) - 1) + [LAST]


def test_an_empty_data_set_is_one_empty_fragment() -> None:
    assert split(Block(1, 4096).cut(0)) == [(6, [PDV(1, LAST, b"")])]


def test_renew_without_a_cut_changes_nothing() -> None:
    block = Block(1, 4096)
    before = bytes(block.whole())
    block.renew()
    assert bytes(block.whole()) == before


@pytest.mark.parametrize(
    ("max_length", "holes"),
    [(7, MAX_HOLES), (8, MAX_HOLES), (16_384, 3), (65_536 - 6, 1), (131_072, 1), (0, 1)],
)
def test_the_size_of_a_block(max_length: int, holes: int) -> None:
    """About 64 KiB, one PDU at least, and no more holes than one `preadv` takes."""
    block = Block(1, max_length)
    step = fragment_size(max_length)
    assert len(block.holes) == holes
    assert block.capacity == holes * step == sum(map(len, block.holes))
    assert len(block.whole()) == holes * (step + OVERHEAD) <= max(BLOCK, step + OVERHEAD)


def test_holes_are_views_of_the_block() -> None:
    block = Block(1, 16)
    block.holes[0][:] = b"0123456789"
    assert bytes(block.whole())[OVERHEAD : OVERHEAD + 10] == b"0123456789"


def test_the_module_sends_p_data_only() -> None:
    assert fragmenter.fragments(1, 0, b"", 0)[0] == 4
