"""How an add-in says for which presentation contexts it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

F = TypeVar("F", bound="Callable[..., Any]")

_ATTRIBUTE: Final = "__presentation_contexts__"


def presentation_context(abstract_syntax: str, *transfer_syntaxes: str) -> Callable[[F], F]:
    """Declares that the decorated `on_…` method answers for `abstract_syntax` (a SOP class UID, or `ANY_STORAGE`).

    The transfer syntaxes are in order of preference; without any, the uncompressed ones are accepted, and for a
    storage class every one that a data set can be stored in. Repeatable; a context named exactly wins over
    `ANY_STORAGE`.
    """

    def declare(method: F) -> F:
        declared = (*declared_contexts(method), (abstract_syntax, transfer_syntaxes))
        setattr(method, _ATTRIBUTE, declared)
        return method

    return declare


def declared_contexts(method: object) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What `presentation_context` declared on `method`: pairs of an abstract syntax and its transfer syntaxes."""
    contexts: tuple[tuple[str, tuple[str, ...]], ...] = getattr(method, _ATTRIBUTE, ())
    return contexts
