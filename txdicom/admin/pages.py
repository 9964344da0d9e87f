"""A page of a list: so many entries behind a key, and no more than a box carries well."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from txdicom.admin.json_argument import encode
from txdicom.errors import BadArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: entries of a page at most, and where nothing is said
MAX_LIMIT: Final = 1_000
DEFAULT_LIMIT: Final = 200
#: bytes of JSON after which a page ends
_PAGE_BYTES: Final = 1 << 20


def page(
    entries: Sequence[Any],
    key: Callable[[Any], Any],
    values: Callable[[Any], Any],
    *,
    after: Any = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """The response of a list command: `values` of the entries with keys behind `after`. Keys are unique."""
    count = DEFAULT_LIMIT if limit is None else limit
    if not 1 <= count <= MAX_LIMIT:
        raise BadArgument([f"limit: it has to be from 1 to {MAX_LIMIT}, not {count}"])
    ordered = sorted(entries, key=key)
    start = 0 if after is None else bisect_right(ordered, after, key=key)
    found: list[Any] = []
    size = 0
    for one in islice(ordered, start, start + count):
        found.append(values(one))
        size += len(encode(found[-1]))
        if size >= _PAGE_BYTES:
            break
    return {"page": found, "more": start + len(found) < len(ordered)}
