"""Where the instances of a C-MOVE go: the application entities of the AE-title service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from txdicom.errors import BadArgument, NotFound
from txdicom.interfaces import AEEntry, IAETitle
from txdicom.scp.calling import connector_for
from txdicom.scu.contexts import for_instances, split
from txdicom.services.querying import resolved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from txdicom.interfaces import InstanceRef
    from txdicom.net.association import Association
    from txdicom.scp.calling import Server


class TableDestination:
    """One application entity by its entry."""

    def __init__(self, reactor: Any, server: Server, entry: AEEntry) -> None:
        self._reactor = reactor
        self._server = server
        self._entry = entry

    def open(self, instances: Sequence[InstanceRef]) -> Deferred[Association]:
        """See `txdicom.services.retrieve.Destination`; ConnectionFailed where the entry says not to call it."""
        window = self._server.config.max_operations
        connector = connector_for(self._reactor, self._server, self._entry, window=window)
        contexts = split(for_instances(cast("Any", instances)))[0]  # an InstanceRef has what is asked for
        return connector.open(contexts, cast("Any", None))  # whatever the destination asks for is refused


class TableDestinations:
    """The Move Destinations of an application entity: a `txdicom.services.retrieve.Destinations`.

    `anonymous_port`: a caller that is not in the table gets instances itself, under the title and at the address it
    calls from and at this port, with TLS where it calls with TLS; 0: it does not.
    """

    def __init__(self, reactor: Any, server: Server, *, anonymous_port: int = 0) -> None:
        self._reactor = reactor
        self._server = server
        self._anonymous_port = anonymous_port

    async def resolve(self, ae_title: str, association: Association) -> TableDestination:
        """See `txdicom.services.retrieve.Destinations`."""
        try:
            entry = await resolved(self._server.service(IAETitle).get(ae_title))
        except NotFound:
            entry = self._anonymous(ae_title, association)
        return TableDestination(self._reactor, self._server, entry)

    def _anonymous(self, ae_title: str, association: Association) -> AEEntry:
        title, host, port = ae_title.strip(" "), getattr(association.peer, "host", ""), self._anonymous_port
        try:
            if port and host and title == association.calling_ae.strip(" "):
                usage = "plain" if association.tls is None else "secure"
                return AEEntry(ae_title=title, host=host, port=port, secure_port=port, port_usage=usage)
        except BadArgument:  # a title that cannot be called
            pass
        raise NotFound(f"{ae_title} is no AE title that is known here")
