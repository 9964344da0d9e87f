"""txdicom.interfaces.handlers: what blocks is marked so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from txdicom.interfaces import blocking, declared_contexts, is_blocking, presentation_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Addin:
    @blocking
    @presentation_context("1.2.3", "1.2")
    def one(self, request: Any) -> int:
        return 0

    @presentation_context("1.2.3", "1.2")
    @blocking
    def other(self, request: Any) -> int:
        return 0

    @presentation_context("1.2.3", "1.2")
    def neither(self, request: Any) -> int:
        return 0


def test_together_with_presentation_contexts_in_either_order() -> None:
    addin = Addin()
    for method, marked in ((addin.one, True), (addin.other, True), (addin.neither, False)):
        assert is_blocking(method) is marked
        assert declared_contexts(method) == (("1.2.3", ("1.2",)),)
        assert method(None) == 0


async def coroutine(request: Any) -> int:
    return 0


async def generator(request: Any) -> AsyncIterator[int]:
    yield 0


@pytest.mark.parametrize("method", [coroutine, generator])
def test_what_waits_by_itself_cannot_be_marked(method: Any) -> None:
    with pytest.raises(TypeError, match=f"^{method.__name__} is a coroutine function: it cannot be @blocking"):
        blocking(method)
