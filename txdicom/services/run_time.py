"""The dispatcher of one association on which add-ins decided about presentation contexts at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from txdicom.services.dispatch import METHODS, Dispatcher, Found

if TYPE_CHECKING:
    from collections.abc import Iterable


class RunTimeDispatcher(Dispatcher):
    """What `declared` does, and beside it, or instead, what is named in `contexts`.

    These are (abstract syntax, transfer syntaxes, add-in): requests go to the methods that the add-in has, others to
    whoever declared the abstract syntax.
    """

    def __init__(self, declared: Dispatcher, contexts: Iterable[tuple[str, tuple[str, ...], Any]]) -> None:
        vars(self).update(vars(declared))
        self._exact = dict(self._exact)
        self._found = Found(self._handler)
        self._preferences = dict(self._preferences)
        for abstract_syntax, transfer_syntaxes, addin in contexts:
            preferred = transfer_syntaxes or self._usual(abstract_syntax)
            self._preferences[abstract_syntax] = preferred
            for field, (interface, name) in METHODS.items():
                if interface.providedBy(addin):
                    handler = self._calls.handler(addin, name)
                    self._exact |= {(field, abstract_syntax, one): handler for one in preferred}
