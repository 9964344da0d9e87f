"""Changes of AE titles are told once, though each worker sees them for itself, and some much later than others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txdicom.server.ae.file import stamp_of

if TYPE_CHECKING:
    from collections.abc import Iterable


class TitlesTold:
    """What has been told of the present version of the file `path`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp: object = None
        self._titles: set[str] = set()

    def are_new(self, ae_titles: Iterable[str]) -> bool:
        """Whether any of these has not been told of yet; from now on they have all been."""
        stamp = stamp_of(self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            self._titles = set()
        before = len(self._titles)
        self._titles.update(ae_titles)
        return len(self._titles) > before
