"""Pages of a list."""

from __future__ import annotations

from typing import Any

import pytest

from txdicom.admin import pages
from txdicom.admin.pages import page
from txdicom.errors import BadArgument


def one_page(entries: Any, **options: Any) -> dict[str, Any]:
    return page(entries, lambda one: one, lambda one: one, **options)


def test_all_pages_make_the_list() -> None:
    entries = list(range(1000, 0, -1))
    found: list[int] = []
    more = True
    while more:
        answer = one_page(entries, after=found[-1] if found else None, limit=333)
        found += answer["page"]
        more = answer["more"]
    assert found == sorted(entries)


def test_a_key_that_is_gone_is_no_obstacle() -> None:
    assert one_page(["a", "c", "e"], after="b", limit=1) == {"page": ["c"], "more": True}
    assert one_page(["a", "c", "e"], after="e") == {"page": [], "more": False}
    assert one_page([]) == {"page": [], "more": False}


def test_without_a_limit() -> None:
    assert len(one_page(range(500))["page"]) == pages.DEFAULT_LIMIT


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_that_cannot_be(limit: int) -> None:
    with pytest.raises(BadArgument, match="limit"):
        one_page([1], limit=limit)


def test_a_page_ends_before_a_box_is_full() -> None:
    answer = one_page([f"{number}{'x' * 300_000}" for number in range(9)], limit=9)
    assert len(answer["page"]) == 4
    assert answer["more"]
