"""A peer's address, as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress


def address_text(address: IAddress | None) -> str:
    """An address as log lines and administrators see it: `192.0.2.7:104`, `[2001:db8::7]:104`."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return "a local socket"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
