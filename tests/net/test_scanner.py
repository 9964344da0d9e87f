"""txdicom.net.scanner: the PDUs in a stream, however it is cut."""

from __future__ import annotations

from typing import Any

import pytest

from tests.net.wire import associate_rq, echo_bytes, pdata
from txdicom.net.scanner import Scanner
from txdicom.pdu.encode import encode
from txdicom.pdu.limits import Limits
from txdicom.pdu.types import Abort, ReleaseRP, ReleaseRQ

RQ = associate_rq()
STREAM = encode(RQ) + echo_bytes() + pdata(1, 0, b"ab" * 100) + encode(ReleaseRQ()) + encode(ReleaseRP())
WHOLE = [
    (1, len(encode(RQ)) - 6, RQ),
    (4, len(echo_bytes()) - 6, None),
    (4, 206, None),
    (5, 4, ReleaseRQ()),
    (6, 4, ReleaseRP()),
]


def scanned(*parts: Any, limit: int = 1000) -> list[Any]:
    told: list[Any] = []
    scanner = Scanner(Limits(max_associate=limit), lambda *pdu: told.append(pdu))
    for part in parts:
        scanner.feed(part)
    return told


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 64, len(STREAM)])
def test_wherever_it_is_cut(size: int) -> None:
    assert scanned(*(STREAM[at : at + size] for at in range(0, len(STREAM), size))) == WHOLE
    assert scanned(*(memoryview(STREAM)[at : at + size] for at in range(0, len(STREAM), size))) == WHOLE


def test_p_data_is_told_at_its_header() -> None:
    assert scanned(b"\4\0\0\1\0\0" + b"x") == [(4, 65_536, None)]


def test_one_that_cannot_be_read_is_told_without_its_content() -> None:
    assert scanned(b"\1\0\0\0\0\2ab" + encode(Abort(0, 0))) == [(1, 2, None), (7, 4, Abort(0, 0))]


@pytest.mark.parametrize(
    "stray", [b"GET / HTTP", b"\x09\0\0\0\0\4abcd", b"\1\0\0\0\x04\0", b"\5\0\0\0\0\0", b"\7\0\0\0\0\5"]
)
def test_what_is_no_pdu_ends_it(stray: bytes) -> None:
    """Nothing is kept for a length that is over the limit."""
    assert scanned(stray + encode(Abort(0, 0)), encode(Abort(0, 0))) == []
