"""Bytes to PDUs (PS3.8 §9.3): liberal in what harms nothing, and each liberty is reported.

Read on, and reported: padded names and UIDs, characters that do not belong there, missing items, values outside the
tables, items out of order, more than one of an item that may come once (the first counts), items of unknown types
(§9.3.1 has them skipped; they are kept). Refused: what does not fit its length, what is past a limit, and what two
sides could take for different things, as an identifier that is used twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from txdicom.errors import RemoteProtocolError
from txdicom.pdu.context_items import read_contexts_ac, read_contexts_rq
from txdicom.pdu.fields import Cursor, Reading, invalid, shown, unexpected
from txdicom.pdu.limits import DEFAULT
from txdicom.pdu.types import (
    PDU,
    PDV,
    Abort,
    AbortReason,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    ItemType,
    PDataTF,
    PDUType,
    ReleaseRP,
    ReleaseRQ,
    UnknownItem,
    UserInformation,
)
from txdicom.pdu.user_items import read_user_information

if TYPE_CHECKING:
    from txdicom.pdu.limits import Limits

_FIXED_LENGTH = 4  # of every PDU but three (PS3.8 Tables 9-21, 9-24 to 9-26)
_PDV_HEADER = 6


def decode(kind: int, body: bytes | memoryview, limits: Limits = DEFAULT, deviations: list[str] | None = None) -> PDU:
    """The PDU of type `kind` whose `body` follows the six bytes of type, reserved byte and PDU-length.

    What the peer did against the rules without harm is appended to `deviations`, a sentence each. Raises
    `RemoteProtocolError` for everything else, and nothing but that, whatever the bytes are.
    """
    reading = Reading(limits, deviations)
    view = memoryview(body)
    match kind:
        case PDUType.ASSOCIATE_RQ:
            return _associate_rq(view, reading)
        case PDUType.ASSOCIATE_AC:
            return _associate_ac(view, reading)
        case PDUType.ASSOCIATE_RJ:
            return _associate_rj(view, reading)
        case PDUType.P_DATA_TF:
            return decode_pdata(body, limits, deviations)
        case PDUType.RELEASE_RQ:
            _fixed(view, "A-RELEASE-RQ")
            return ReleaseRQ()
        case PDUType.RELEASE_RP:
            _fixed(view, "A-RELEASE-RP")
            return ReleaseRP()
        case PDUType.ABORT:
            return _abort(view, reading)
        case _:
            raise RemoteProtocolError(f"unrecognized PDU type {kind:02X}H", reason=AbortReason.UNRECOGNIZED_PDU)


def decode_pdata(body: bytes | memoryview, limits: Limits = DEFAULT, deviations: list[str] | None = None) -> PDataTF:
    """The body of a P-DATA-TF as a value, its data copied: for tools and tests, where `Decoder` streams.

    Raises `RemoteProtocolError` as `decode` does.
    """
    reading = Reading(limits, deviations)
    view = memoryview(body)
    what = "P-DATA-TF"
    if len(view) > limits.max_pdata:
        raise invalid(f"{what}: {len(view)} bytes; at most {limits.max_pdata} may be sent")
    if len(view) < _PDV_HEADER:
        raise invalid(f"{what}: {len(view)} bytes hold no presentation data value")
    cursor = Cursor(view, what)
    pdvs: list[PDV] = []
    while cursor.left:
        item = Cursor(cursor.take(cursor.number(4)), "presentation data value")
        context_id, control = item.number(1), item.number(1)
        if control > 3:
            reading.note(f"{what}: message control header {control:02X}H has bits set that are not used")
        pdvs.append(PDV(context_id, control, bytes(item.rest())))
    return PDataTF(tuple(pdvs))


def _fixed(view: memoryview, what: str) -> memoryview:
    if len(view) != _FIXED_LENGTH:
        raise invalid(f"{what}: {len(view)} bytes, not {_FIXED_LENGTH}")
    return view


def _associate_rj(view: memoryview, reading: Reading) -> AssociateRJ:
    _, result, source, reason = _fixed(view, "A-ASSOCIATE-RJ")
    if result not in {1, 2} or source not in {1, 2, 3}:
        reading.note(f"A-ASSOCIATE-RJ: result {result}, source {source} are not of the table")
    return AssociateRJ(result, source, reason)


def _abort(view: memoryview, reading: Reading) -> Abort:
    _, _, source, reason = _fixed(view, "A-ABORT")
    if source not in {0, 2}:
        reading.note(f"A-ABORT: the unknown source {source}")
    return Abort(source, reason)


def _associate_rq(view: memoryview, reading: Reading) -> AssociateRQ:
    what = "A-ASSOCIATE-RQ"
    version, titles, reserved, rest = _associate_head(view, reading, what)
    items = _Items(reading, what, ItemType.PRESENTATION_CONTEXT_RQ, ItemType.PRESENTATION_CONTEXT_AC)
    items.read(rest)
    return AssociateRQ(
        _title(titles[:16], reading, "called AE title"),
        _title(titles[16:], reading, "calling AE title"),
        read_contexts_rq(items.contexts, reading),
        items.user(requestor=True),
        items.application(),
        version,
        reserved,
        tuple(items.unknown),
        titles,
    )


def _associate_ac(view: memoryview, reading: Reading) -> AssociateAC:
    what = "A-ASSOCIATE-AC"
    version, titles, reserved, rest = _associate_head(view, reading, what)
    items = _Items(reading, what, ItemType.PRESENTATION_CONTEXT_AC, ItemType.PRESENTATION_CONTEXT_RQ)
    items.read(rest)
    return AssociateAC(
        # not to be tested (Table 9-17), so nothing about them is reported
        str(titles[:16], "latin-1").strip(" \0"),
        str(titles[16:], "latin-1").strip(" \0"),
        read_contexts_ac(items.contexts, reading),
        items.user(requestor=False),
        items.application(),
        version,
        reserved,
        tuple(items.unknown),
        titles,
    )


def _associate_head(view: memoryview, reading: Reading, what: str) -> tuple[int, bytes, bytes, memoryview]:
    """Protocol version, both AE title fields, the reserved field and the variable items (Tables 9-11 and 9-17)."""
    if len(view) > reading.limits.max_associate:
        raise invalid(f"{what}: {len(view)} bytes; the limit is {reading.limits.max_associate}")
    cursor = Cursor(view, what)
    version = cursor.number(2)
    cursor.take(2)
    return version, bytes(cursor.take(32)), bytes(cursor.take(32)), cursor.rest()


def _title(field: bytes, reading: Reading, what: str) -> str:
    """An AE title: 16 characters, the spaces around it do not count. Peers fill it with NULs (fo-dicom#543)."""
    text = str(field, "latin-1").strip(" \0")
    if b"\0" in field:
        reading.note(f"{what}: NULs in it")
    if not text:
        reading.note(f"{what}: empty")
    elif not text.replace("\0", "").isascii() or not text.replace("\0", "").isprintable():
        reading.note(f"{what}: {shown(text)} has characters that are not printable ASCII")
    return text


class _Items:
    """The variable items of an A-ASSOCIATE-RQ or -AC, sorted by what they are."""

    def __init__(self, reading: Reading, what: str, context: ItemType, other_context: ItemType) -> None:
        self._reading = reading
        self._what = what
        self._context = context
        self._other_context = other_context
        self._single: dict[int, memoryview] = {}
        self.contexts: list[memoryview] = []
        self.unknown: list[UnknownItem] = []

    def read(self, view: memoryview) -> None:
        last = 0
        for kind, _, data in self._reading.items(view, self._reading.limits.max_items, self._what):
            if kind < last:
                self._reading.note(f"{self._what}: an item of type {kind:02X}H after one of type {last:02X}H")
            last = kind
            if kind == self._context:
                self._add_context(data)
            elif kind == self._other_context:
                raise unexpected(f"{self._what}: a presentation context item of type {kind:02X}H")
            elif kind not in {ItemType.APPLICATION_CONTEXT, ItemType.USER_INFORMATION}:
                self._reading.note(f"{self._what}: item of the unknown type {kind:02X}H skipped")
                self.unknown.append(UnknownItem(kind, bytes(data)))
            elif kind in self._single:
                self._reading.note(f"{self._what}: more than one item of type {kind:02X}H; the first counts")
            else:
                self._single[kind] = data

    def _add_context(self, data: memoryview) -> None:
        if len(self.contexts) == self._reading.limits.max_contexts:
            raise invalid(f"{self._what}: more than {len(self.contexts)} presentation contexts")
        self.contexts.append(data)

    def application(self) -> str:
        """The application context name, "" where there is none."""
        data = self._single.get(ItemType.APPLICATION_CONTEXT)
        if data is None:
            self._reading.note(f"{self._what}: no application context")
            return ""
        return self._reading.uid(data, "application context")

    def user(self, *, requestor: bool) -> UserInformation:
        data = self._single.get(ItemType.USER_INFORMATION)
        if data is None:
            self._reading.note(f"{self._what}: no user information item")
        return read_user_information(data or memoryview(b""), self._reading, requestor=requestor)
