"""The client framework: an association with a peer, and what can be asked for on it (SCU)."""

from txdicom.net.tls import TLS
from txdicom.pdu.types import UserIdentityRQ
from txdicom.scu.association import Association, connect, contexts_for
from txdicom.scu.contexts import Context
from txdicom.scu.files import Instance, Selection, Unsendable, select
from txdicom.scu.peer import Peer
from txdicom.scu.results import Results
from txdicom.scu.sender import StoreResult
from txdicom.scu.store import Progress, StoreScu
from txdicom.scu.user import User

__all__ = [
    "TLS",
    "Association",
    "Context",
    "Instance",
    "Peer",
    "Progress",
    "Results",
    "Selection",
    "StoreResult",
    "StoreScu",
    "Unsendable",
    "User",
    "UserIdentityRQ",
    "connect",
    "contexts_for",
    "select",
]
