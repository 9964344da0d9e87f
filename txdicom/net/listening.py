"""How ports are opened: by Twisted's endpoint strings, with room for a burst of connections."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.endpoints import serverFromString

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory


async def listen(reactor: Any, endpoint: str, factory: IProtocolFactory) -> Any:
    """The opened port, which does not accept yet. CannotListenError, and whatever the endpoint's parser raises.

    Twisted has the system keep 50 connections until they are accepted; of a burst of more the system lets the rest try
    again after a second. Where the endpoint says nothing of it (`backlog=`), as many are kept as the system allows.
    """
    port: Any = await serverFromString(reactor, endpoint).listen(factory)
    port.pauseProducing()
    listening = getattr(port, "socket", None)
    if isinstance(listening, socket.socket) and ":backlog=" not in endpoint:
        listening.listen(socket.SOMAXCONN)
    return port
