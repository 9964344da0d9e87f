"""A deployed server: its folder, its settings, its start and stop as a service of `twistd dicomserver`.

`ServiceAdministrator` is for programs that manage servers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from txdicom.server.managing.manager import ServiceAdministrator

__all__ = ["ServiceAdministrator"]


def __getattr__(name: str) -> object:
    """Imports what is asked for when it is: `twistd` looks at every plugin at each of its starts."""
    if name == "ServiceAdministrator":
        from txdicom.server.managing.manager import ServiceAdministrator

        return ServiceAdministrator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
