"""The administrative interface: AMP over a socket in the server's folder, for its user and root only."""

from txdicom.admin.client import Administrator, connect

__all__ = ["Administrator", "connect"]
