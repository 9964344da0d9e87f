"""JSON of any length in values of at most 65,535 bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.protocols.amp import AmpBox

from txdicom.admin.boxes import MAX_BOX
from txdicom.admin.json_argument import MAX_JSON, Json
from txdicom.errors import BadArgument, TooLarge

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def sent(value: Any, **options: Any) -> dict[bytes, bytes]:
    strings: dict[bytes, bytes] = {}
    Json(**options).toBox(b"data", strings, {"data": value}, None)
    return strings


def received(strings: dict[bytes, bytes], **options: Any) -> Any:
    objects: dict[str, Any] = {}
    Json(**options).fromBox(b"data", strings, objects, None)
    assert strings == {}
    return objects["data"]


@given(values)
def test_there_and_back(value: Any) -> None:
    assert received(sent(value)) == value


@pytest.mark.parametrize("length", [65_532, 65_533, 65_534, 131_068, 131_069, MAX_JSON - 2])
def test_long_values_are_split(length: int) -> None:
    strings = sent("a" * length)
    assert len(strings) == -(-(length + 2) // 65_535)
    assert len(AmpBox(strings).serialize()) < MAX_BOX
    assert received(strings) == "a" * length


def test_too_long() -> None:
    with pytest.raises(TooLarge, match="data has"):
        sent("a" * (MAX_JSON - 1))


def test_absent() -> None:
    assert sent(None, optional=True) == {}
    assert received({}, optional=True) is None
    assert sent(None) == {b"data": b"null"}
    with pytest.raises(KeyError):
        received({})


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"nothing",
        b"NaN",
        b"-Infinity",
        b"\xff",
        b"[" * 60_000,
        b"1" * 60_000,
        b'"\\ud800"',
        b'{"\\udfff": 1}',
    ],
)
def test_what_is_no_json(text: bytes) -> None:
    with pytest.raises(BadArgument, match="data: it is not JSON"):
        received({b"data": text})


@pytest.mark.parametrize("value", [{1, 2}, object(), float("nan"), b"bytes"])
def test_what_has_no_json(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        sent(value)
