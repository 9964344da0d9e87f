"""The listening side: `listen` makes a server out of add-ins."""

from txdicom.scp.config import ScpConfig
from txdicom.scp.entity import ApplicationEntity, listen

__all__ = ["ApplicationEntity", "ScpConfig", "listen"]
