"""Two upper layers back to back over a connection in memory: a conversation without a reactor, a socket or a clock.

    pair = CorePair()
    pair.establish()
    pair.requestor.send_pdvs(PDV(1, 3, b"..."))
    pair.requestor.upper_layer.release()
    pair.pump()
    assert pair.acceptor.received == [PDV(1, 3, b"...")]
    assert pair.acceptor.primitives[-1] == ("A-RELEASE indication",)

Nothing happens by itself: bytes move when the pair is pumped, and a primitive is answered when the test answers it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from txdicom.pdu.encode import encode
from txdicom.pdu.limits import DEFAULT, Limits
from txdicom.pdu.types import (
    PDV,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    PDataTF,
    PresentationContextAC,
    PresentationContextRQ,
    UserInformation,
)
from txdicom.uids import IMPLEMENTATION_CLASS_UID, IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from txdicom.ul.connection import UpperLayer

if TYPE_CHECKING:
    from txdicom.pdu.decoder import Deliver

#: the A-ASSOCIATE-RQ of `CorePair.establish`, where none is given
REQUEST: Final = AssociateRQ(
    "ACCEPTOR",
    "REQUESTOR",
    (PresentationContextRQ(1, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,)),),
    UserInformation(max_length=16_384, implementation_class_uid=IMPLEMENTATION_CLASS_UID),
)


def acceptance(rq: AssociateRQ) -> AssociateAC:
    """The A-ASSOCIATE-AC that accepts every context of `rq` with the first of its transfer syntaxes."""
    contexts = tuple(
        PresentationContextAC(context.context_id, 0, context.transfer_syntaxes[0]) for context in rq.contexts
    )
    user = UserInformation(max_length=16_384, implementation_class_uid=IMPLEMENTATION_CLASS_UID)
    return AssociateAC(rq.called_ae, rq.calling_ae, contexts, user)


class Core:
    """One end: an upper layer and, in one object, a driver and a service user that note what they are told.

    `effects` and `primitives` have a tuple for each call in the order of the calls: what it was, then its arguments.

    =====================================  =====================================================================
    `effects`                              `("connect",)`, `("send", bytes)`, `("start ARTIM",)`, `("stop ARTIM",)`,
                                           `("close", at_once)`
    `primitives`                           `("A-ASSOCIATE indication", rq)`, `("A-ASSOCIATE confirmation", answer)`,
                                           `("P-DATA indication", pdv)`, `("A-RELEASE indication",)`,
                                           `("A-RELEASE confirmation",)`,
                                           `("A-ABORT indication", source, reason, message)`
    =====================================  =====================================================================
    """

    def __init__(self, *, requestor: bool, limits: Limits = DEFAULT) -> None:
        self.upper_layer = UpperLayer(self, self, requestor=requestor, limits=limits)
        self.effects: list[tuple[Any, ...]] = []
        self.primitives: list[tuple[Any, ...]] = []
        self.deviations: list[str] = []
        self.received: list[PDV] = []  # those that are complete, their slices joined
        self.outgoing = bytearray()  # sent, and not at the other end yet
        self.artim = False  # whether the ARTIM timer runs
        self.closing = False  # whether this end closes the connection, once `outgoing` is empty
        self._slices = bytearray()

    @property
    def pdv(self) -> Deliver:
        """P-DATA indication."""
        return self._pdv

    def send_pdvs(self, *pdvs: PDV) -> None:
        """P-DATA request: one P-DATA-TF of these PDVs."""
        self.upper_layer.send_data(encode(PDataTF(pdvs)))

    def expire_artim(self) -> None:
        """The ARTIM timer runs out; raises AssertionError where it does not run."""
        assert self.artim, "the ARTIM timer does not run"
        self.artim = False
        self.upper_layer.artim_expired()

    # -- driver --------------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """See `txdicom.ul.connection.Driver`, here and below."""
        self.effects.append(("connect",))

    def send(self, data: bytes) -> None:
        """Notes `data` and puts it into `outgoing`."""
        self.effects.append(("send", data))
        self.outgoing += data

    def start_artim(self) -> None:
        """Notes that the timer runs."""
        self.effects.append(("start ARTIM",))
        self.artim = True

    def stop_artim(self) -> None:
        """Notes that the timer does not run."""
        self.effects.append(("stop ARTIM",))
        self.artim = False

    def close(self, *, at_once: bool) -> None:
        """Notes that the connection is to be closed."""
        self.effects.append(("close", at_once))
        self.closing = True
        if at_once:
            self.outgoing.clear()

    # -- service user --------------------------------------------------------------------------------------------------

    def associate_indication(self, rq: AssociateRQ) -> None:
        """See `txdicom.ul.connection.ServiceUser`, here and below."""
        self.primitives.append(("A-ASSOCIATE indication", rq))

    def associate_confirmation(self, answer: AssociateAC | AssociateRJ) -> None:
        """Notes the answer."""
        self.primitives.append(("A-ASSOCIATE confirmation", answer))

    def release_indication(self) -> None:
        """Notes it; the test answers by `upper_layer.respond_release()`."""
        self.primitives.append(("A-RELEASE indication",))

    def release_confirmation(self) -> None:
        """Notes it."""
        self.primitives.append(("A-RELEASE confirmation",))

    def abort_indication(self, source: int, reason: int, message: str) -> None:
        """Notes it."""
        self.primitives.append(("A-ABORT indication", source, reason, message))

    def deviation(self, sentence: str) -> None:
        """Notes the sentence in `deviations`."""
        self.deviations.append(sentence)

    def _pdv(self, context_id: int, control: int, data: memoryview, end: bool) -> None:
        self._slices += data
        if end:
            pdv = PDV(context_id, control, bytes(self._slices))
            self._slices.clear()
            self.received.append(pdv)
            self.primitives.append(("P-DATA indication", pdv))


class CorePair:
    """A requestor and an acceptor, and the connection between them."""

    def __init__(self, *, limits: Limits = DEFAULT) -> None:
        self.requestor = Core(requestor=True, limits=limits)
        self.acceptor = Core(requestor=False, limits=limits)
        self.connected = False

    def connect(self) -> None:
        """The transport connection is there, after an A-ASSOCIATE request of the requestor."""
        self.connected = True
        self.acceptor.upper_layer.connected()
        self.requestor.upper_layer.connected()

    def establish(self, rq: AssociateRQ = REQUEST, ac: AssociateAC | None = None) -> None:
        """From nothing to an association; `ac` is `acceptance(rq)` unless given."""
        self.requestor.upper_layer.associate(rq)
        self.connect()
        self.pump()
        self.acceptor.upper_layer.accept(ac or acceptance(rq))
        self.pump()

    def peer(self, core: Core) -> Core:
        """The other end."""
        return self.acceptor if core is self.requestor else self.requestor

    def deliver(self, sender: Core, count: int | None = None) -> None:
        """Takes the next `count` bytes that `sender` sent to the other end, or all there are.

        When none are left of an end that closes, the connection ends.
        """
        if self.connected and sender.outgoing:
            data = bytes(sender.outgoing[:count])
            del sender.outgoing[: len(data)]
            self.peer(sender).upper_layer.received(data)
        if sender.closing and not sender.outgoing:
            self.disconnect()

    def pump(self, count: int | None = None) -> None:
        """Takes bytes both ways, at most `count` at a time, until none are left."""
        ends = (self.requestor, self.acceptor)
        while self.connected and any(core.outgoing or core.closing for core in ends):
            for core in ends:
                self.deliver(core, count)

    def disconnect(self) -> None:
        """The transport connection ends for both; what is on its way is lost."""
        if self.connected:
            self.connected = False
            for core in (self.requestor, self.acceptor):
                core.outgoing.clear()
                core.upper_layer.closed()
