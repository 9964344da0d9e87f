"""The upper layer protocol machine of one connection (PS3.8 §9.2), without a socket or a clock.

What happens is told to it by methods (`connected`, `received`, `artim_expired`, …, and the request primitives); what
Table 9-10 then asks for leaves by calls to two objects: effects to the `Driver`, primitives to the `ServiceUser`.
The state is set before either is called, so that both may call back. Role is a parameter: the only things that differ
are how a connection begins and who goes first in a release collision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from txdicom.errors import LocalProtocolError, RemoteProtocolError
from txdicom.pdu.decoder import Decoder
from txdicom.pdu.encode import encode
from txdicom.pdu.limits import DEFAULT, Limits
from txdicom.pdu.types import Abort, AssociateAC, AssociateRJ, AssociateRQ, PDataTF, ReleaseRP, ReleaseRQ
from txdicom.ul import rejections
from txdicom.ul.states import LOOKUP, Action, Event, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from txdicom.pdu.decoder import Deliver
    from txdicom.pdu.types import PDU

#: A-ABORT source (PS3.8 Table 9-26)
SERVICE_USER: Final = 0
SERVICE_PROVIDER: Final = 2
UNEXPECTED_PDU: Final = 2

_RELEASE_RQ: Final = encode(ReleaseRQ())
_RELEASE_RP: Final = encode(ReleaseRP())
#: stands for one that comes in, of which no value is ever made
_PDATA: Final = PDataTF(())
#: where the service user can abort what it cannot read
_INDICATES_DATA: Final = (State.STA6, State.STA7)


class Driver(Protocol):
    """Carries the effects out; nothing here may call back into the upper layer at once but `send`'s back-pressure."""

    def connect(self) -> None:
        """Open the transport connection (AE-1)."""

    def send(self, data: bytes) -> None:
        """Send these bytes: one whole PDU or several."""

    def start_artim(self) -> None:
        """Start the ARTIM timer, or start it again."""

    def stop_artim(self) -> None:
        """Stop the ARTIM timer, if it runs."""

    def close(self, *, at_once: bool) -> None:
        """Close the transport connection; `at_once` drops what was not sent yet."""


class ServiceUser(Protocol):
    """Receives the indication and confirmation primitives (PS3.8 §7)."""

    def associate_indication(self, rq: AssociateRQ) -> None:
        """A-ASSOCIATE indication: answer by `accept` or `reject`."""

    def associate_confirmation(self, answer: AssociateAC | AssociateRJ) -> None:
        """A-ASSOCIATE confirmation, positive or negative."""

    @property
    def pdv(self) -> Deliver:
        """P-DATA indication: what takes a slice of a PDV. It may raise RemoteProtocolError, which aborts."""

    def release_indication(self) -> None:
        """A-RELEASE indication: answer by `respond_release`."""

    def release_confirmation(self) -> None:
        """A-RELEASE confirmation: the association has ended in order."""

    def abort_indication(self, source: int, reason: int, message: str) -> None:
        """A-ABORT (source 0) or A-P-ABORT (source 2) indication; `message` says what happened.

        Called too, as for an A-P-ABORT, where this side ends the connection and Table 9-10 asks for no indication.
        """

    def deviation(self, sentence: str) -> None:
        """The peer broke a rule harmlessly."""


class UpperLayer:
    """One connection's walk through Table 9-10."""

    __slots__ = ("_decoder", "_driver", "_request", "_requestor", "_user", "state")

    def __init__(self, driver: Driver, user: ServiceUser, *, requestor: bool, limits: Limits = DEFAULT) -> None:
        self._driver = driver
        self._user = user
        self._requestor = requestor
        self._decoder = Decoder(self, limits)
        self._request = b""
        self.state = State.STA1

    @property
    def amid_pdu(self) -> bool:
        """Whether part of a PDU has come, its header perhaps, and the rest has not."""
        return not self._decoder.idle

    # -- from the transport ------------------------------------------------------------------------------------------

    def connected(self) -> None:
        """The transport connection is there (Evt2 for the requestor, Evt5 for the acceptor)."""
        self._on(Event.EVT2 if self._requestor else Event.EVT5, None)

    def received(self, data: bytes) -> None:
        """The next bytes from the peer. What cannot be read or may not come now ends in an A-ABORT (Evt19)."""
        try:
            self._decoder.feed(data)
        except RemoteProtocolError as error:  # the decoder has stopped
            if error.source == SERVICE_USER and self.state in _INDICATES_DATA:
                self._on(Event.EVT15, error)  # what the DIMSE service user cannot read
            elif self.state is not State.STA1:
                self._on(Event.EVT19, error)

    def closed(self, message: str = "the connection was closed") -> None:
        """The transport connection has ended (Evt17)."""
        self._decoder.stop()
        if self.state != State.STA1:
            self._on(Event.EVT17, message)

    def artim_expired(self) -> None:
        """The ARTIM timer has run out (Evt18)."""
        self._on(Event.EVT18, None)

    # -- request and response primitives of the service user ---------------------------------------------------------

    def associate(self, rq: AssociateRQ) -> None:
        """A-ASSOCIATE request (Evt1), of the requestor only."""
        if not self._requestor:
            raise LocalProtocolError("an acceptor cannot ask for an association")
        self._on(Event.EVT1, encode(rq))  # encoded first, here and below: what cannot be sent changes no state

    def accept(self, ac: AssociateAC) -> None:
        """A-ASSOCIATE response, accepting (Evt7)."""
        self._on(Event.EVT7, encode(ac))

    def reject(self, rj: AssociateRJ) -> None:
        """A-ASSOCIATE response, rejecting (Evt8)."""
        self._on(Event.EVT8, encode(rj))

    def check_may_send(self) -> None:
        """Raises LocalProtocolError unless a P-DATA request is valid in this state (Evt9)."""
        if self.state is not State.STA6:
            _entry(Event.EVT9, self.state)

    def send_data(self, pdus: bytes) -> None:
        """P-DATA request (Evt9): `pdus` is one or more whole P-DATA-TF PDUs within the peer's maximum length."""
        if self.state is not State.STA6:
            _entry(Event.EVT9, self.state)
        self._driver.send(pdus)  # DT-1 and AR-7: the state stays as it is

    def release(self) -> None:
        """A-RELEASE request (Evt11)."""
        self._on(Event.EVT11, None)

    def respond_release(self) -> None:
        """A-RELEASE response (Evt14)."""
        self._on(Event.EVT14, None)

    def abort(self) -> None:
        """A-ABORT request (Evt15)."""
        self._on(Event.EVT15, None)

    # -- from the decoder --------------------------------------------------------------------------------------------

    def pdata(self, length: int) -> Deliver:
        """A P-DATA-TF begins (Evt10): the one look-up a PDU."""
        if self.state is not State.STA6:  # there it is DT-2, which changes nothing
            self._on(Event.EVT10, _PDATA)
            if self.state is not State.STA7:
                return _ignore_pdv
        return self._user.pdv

    def pdu(self, pdu: PDU) -> None:
        """A whole PDU but P-DATA-TF."""
        self._on(_EVENT_OF[type(pdu)], pdu)

    def deviation(self, sentence: str) -> None:
        """Passed on to the user."""
        self._user.deviation(sentence)

    # -- Table 9-10 --------------------------------------------------------------------------------------------------

    def _on(self, event: Event, argument: object) -> None:
        action, state = _entry(event, self.state)
        self.state = state
        _ACTIONS[action](self, argument)

    def _ae_1(self, rq: bytes) -> None:
        self._request = rq
        self._driver.connect()

    def _ae_2(self, _: object) -> None:
        self._driver.send(self._request)

    def _ae_3(self, ac: AssociateAC) -> None:
        self._user.associate_confirmation(ac)

    def _ae_4(self, rj: AssociateRJ) -> None:
        self._end(at_once=False)
        self._user.associate_confirmation(rj)

    def _ae_5(self, _: object) -> None:
        self._driver.start_artim()

    def _ae_6(self, rq: AssociateRQ) -> None:
        self._driver.stop_artim()
        if rq.protocol_version & 1:  # PS3.8 Table 9-11: bit 0 is version 1, the others are not tested
            self._user.associate_indication(rq)
        else:
            self.state = State.STA13
            self._driver.send(encode(AssociateRJ(*rejections.PROTOCOL_VERSION)))
            self._driver.start_artim()
            self._user.abort_indication(SERVICE_PROVIDER, 0, f"rejected: protocol version {rq.protocol_version:04X}H")

    def _ae_7(self, ac: bytes) -> None:
        self._driver.send(ac)

    def _ae_8(self, rj: bytes) -> None:
        self._driver.send(rj)
        self._driver.start_artim()

    def _ar_1(self, _: object) -> None:
        self._driver.send(_RELEASE_RQ)

    def _ar_2(self, _: object) -> None:
        self._user.release_indication()

    def _ar_3(self, _: object) -> None:
        self._end(at_once=False)
        self._user.release_confirmation()

    def _ar_4(self, _: object) -> None:
        self._driver.send(_RELEASE_RP)
        self._driver.start_artim()

    def _ar_8(self, _: object) -> None:
        self.state = State.STA9 if self._requestor else State.STA10
        self._user.release_indication()

    def _ar_9(self, _: object) -> None:
        self._driver.send(_RELEASE_RP)

    def _ar_10(self, _: object) -> None:
        self._user.release_confirmation()

    def _aa_1(self, argument: object) -> None:
        self._decoder.skip()
        self._driver.send(encode(Abort(SERVICE_USER, 0)))
        self._driver.start_artim()
        if argument is not None:  # not our user's wish: it has to hear of it
            self._user.abort_indication(SERVICE_PROVIDER, _reason(argument), _what(argument))

    def _aa_2(self, argument: object) -> None:
        self._driver.stop_artim()
        self._end(at_once=argument is None)  # ARTIM ran out: the peer does not read any more

    def _aa_3(self, abort: Abort) -> None:
        self._end(at_once=False)
        self._user.abort_indication(abort.source, abort.reason, rejections.describe_abort(abort.source, abort.reason))

    def _aa_4(self, message: str) -> None:
        self._user.abort_indication(SERVICE_PROVIDER, 0, message)

    def _stop_artim(self, _: object) -> None:  # AA-5, AR-5
        self._driver.stop_artim()

    def _nothing(self, _: object) -> None:  # DT-2, AR-6: `pdata` delivers; AA-6: the PDU is ignored
        pass

    def _aa_7(self, argument: object) -> None:
        self._driver.send(encode(Abort(SERVICE_PROVIDER, _reason(argument))))

    def _aa_8(self, argument: object) -> None:
        reason = _reason(argument)
        self._driver.send(encode(Abort(SERVICE_PROVIDER, reason)))
        self._driver.start_artim()
        self._user.abort_indication(SERVICE_PROVIDER, reason, _what(argument))

    def _end(self, *, at_once: bool) -> None:
        self._decoder.stop()
        self._driver.close(at_once=at_once)


def _ignore_pdv(context_id: int, control: int, data: memoryview, end: bool) -> None:
    """Takes the P-DATA-TF of a state in which none is indicated."""


def _reason(argument: object) -> int:
    return argument.reason if isinstance(argument, RemoteProtocolError) else UNEXPECTED_PDU


def _what(argument: object) -> str:
    if isinstance(argument, RemoteProtocolError):
        return str(argument)
    return f"unexpected PDU: {type(argument).__name__}"


def _entry(event: Event, state: State) -> tuple[Action, State]:
    entry = LOOKUP[event][state]
    if entry is None:
        raise LocalProtocolError(f"{event.name} ({event.text}) is not valid in {state.name} ({state.text})")
    return entry


_EVENT_OF: Final[dict[type, Event]] = {
    AssociateAC: Event.EVT3,
    AssociateRJ: Event.EVT4,
    AssociateRQ: Event.EVT6,
    ReleaseRQ: Event.EVT12,
    ReleaseRP: Event.EVT13,
    Abort: Event.EVT16,
}
_ACTIONS: Final[dict[Action, Callable[[UpperLayer, Any], None]]] = {
    Action.AE_1: UpperLayer._ae_1,
    Action.AE_2: UpperLayer._ae_2,
    Action.AE_3: UpperLayer._ae_3,
    Action.AE_4: UpperLayer._ae_4,
    Action.AE_5: UpperLayer._ae_5,
    Action.AE_6: UpperLayer._ae_6,
    Action.AE_7: UpperLayer._ae_7,
    Action.AE_8: UpperLayer._ae_8,
    Action.DT_2: UpperLayer._nothing,
    Action.AR_1: UpperLayer._ar_1,
    Action.AR_2: UpperLayer._ar_2,
    Action.AR_3: UpperLayer._ar_3,
    Action.AR_4: UpperLayer._ar_4,
    Action.AR_5: UpperLayer._stop_artim,
    Action.AR_6: UpperLayer._nothing,
    Action.AR_8: UpperLayer._ar_8,
    Action.AR_9: UpperLayer._ar_9,
    Action.AR_10: UpperLayer._ar_10,
    Action.AA_1: UpperLayer._aa_1,
    Action.AA_2: UpperLayer._aa_2,
    Action.AA_3: UpperLayer._aa_3,
    Action.AA_4: UpperLayer._aa_4,
    Action.AA_5: UpperLayer._stop_artim,
    Action.AA_6: UpperLayer._nothing,
    Action.AA_7: UpperLayer._aa_7,
    Action.AA_8: UpperLayer._aa_8,
}
