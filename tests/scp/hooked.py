"""An acceptor in memory whose add-ins take part in the negotiation and look on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.task import Clock

from tests.net.wire import Peer, associate_rq
from tests.services.serving import ManualWriter
from txdicom.net.acceptor import Acceptor
from txdicom.pdu.encode import encode
from txdicom.scp.config import ScpConfig
from txdicom.scp.hooks import Hooks
from txdicom.scp.policy import AcceptancePolicy
from txdicom.services.dispatch import Dispatcher
from txdicom.services.observed import observers_of
from txdicom.services.spool import Spool

if TYPE_CHECKING:
    from txdicom.pdu.types import PresentationContextRQ


class Hooked:
    """A server of these add-ins, without a socket."""

    def __init__(self, *addins: Any, **settings: Any) -> None:
        self.clock = Clock()
        config = ScpConfig(check_called_ae=False, **settings)
        spool = Spool(ManualWriter(), lambda: "")  # type: ignore[arg-type]
        dispatcher = Dispatcher(addins, spool, unknown_sop_classes=config.unknown_sop_classes)
        policy = AcceptancePolicy("SERVER", config, dispatcher, hooks=Hooks.of(addins))
        self.acceptor = Acceptor(config, policy, dispatcher, self.clock)
        self.acceptor.observers = observers_of(addins, pixel_data=config.copy_pixel_data_to_observers)

    def peer(self, *contexts: PresentationContextRQ, user: dict[str, Any] | None = None, **fields: Any) -> Peer:
        """A connection over which an A-ASSOCIATE-RQ with these contexts and user information has been sent."""
        rq = associate_rq(*contexts, **fields)
        peer = Peer(self.acceptor)
        peer.send(encode(replace(rq, user=replace(rq.user, **user or {}))))
        return peer

    def answer(self, *contexts: PresentationContextRQ, **fields: Any) -> Any:
        """The PDU that answers such a request."""
        (pdu,) = self.peer(*contexts, **fields).pdus()
        return pdu
