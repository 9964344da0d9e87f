"""PDUs to bytes (PS3.8 §9.3): strict, so that no peer has to be liberal with us."""

from __future__ import annotations

from txdicom.errors import LocalProtocolError
from txdicom.pdu.context_items import check_id, check_ids, write_context_ac, write_context_rq
from txdicom.pdu.fields import echo, item, name, number, uid, unknown_items
from txdicom.pdu.types import (
    PDU,
    PDV,
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    ItemType,
    PDataTF,
    PDUType,
    ReleaseRP,
    ReleaseRQ,
)
from txdicom.pdu.user_items import write_user_information

_TITLE_LENGTH = 16  # PS3.8 Table 9-11
_RESERVED_LENGTH = 32


def encode(pdu: PDU) -> bytes:
    """The bytes of `pdu`, from its type to the end of its last item.

    An A-ASSOCIATE-AC repeats what came with the request as it came; everything else has to keep the standard's rules.
    Raises `LocalProtocolError` for what does not keep them or does not fit its field.
    """
    match pdu:
        case AssociateRQ():
            return _framed(PDUType.ASSOCIATE_RQ, _associate_rq(pdu))
        case AssociateAC():
            return _framed(PDUType.ASSOCIATE_AC, _associate_ac(pdu))
        case AssociateRJ():
            return _framed(PDUType.ASSOCIATE_RJ, _associate_rj(pdu))
        case PDataTF():
            return _framed(PDUType.P_DATA_TF, _pdata(pdu))
        case ReleaseRQ():
            return _framed(PDUType.RELEASE_RQ, bytes(4))
        case ReleaseRP():
            return _framed(PDUType.RELEASE_RP, bytes(4))
        case Abort():
            return _framed(PDUType.ABORT, _abort(pdu))
        case _:
            raise LocalProtocolError(f"{type(pdu).__name__} is not a PDU")


def _framed(kind: PDUType, body: bytes) -> bytes:
    return bytes((kind, 0)) + number(len(body), 4, "PDU length") + body


def _associate_rq(pdu: AssociateRQ) -> bytes:
    if not pdu.contexts:
        raise LocalProtocolError("an A-ASSOCIATE-RQ proposes at least one presentation context")
    titles = b"".join(
        name(title.strip(" "), _TITLE_LENGTH, what).ljust(_TITLE_LENGTH)
        for title, what in ((pdu.called_ae, "called AE title"), (pdu.calling_ae, "calling AE title"))
    )
    check_ids(pdu.contexts)
    items = [
        item(ItemType.APPLICATION_CONTEXT, uid(pdu.application_context, "application context"), "application context"),
        *(write_context_rq(context) for context in pdu.contexts),
        _user_item(write_user_information(pdu.user, requestor=True)),
        unknown_items(pdu.unknown),
    ]
    return _associate_head(pdu, titles) + b"".join(items)


def _associate_ac(pdu: AssociateAC) -> bytes:
    titles = pdu.title_fields or b"".join(
        _echoed_title(title, what)
        for title, what in ((pdu.called_ae, "called AE title"), (pdu.calling_ae, "calling AE title"))
    )
    if len(titles) != 2 * _TITLE_LENGTH:
        raise LocalProtocolError(f"the AE title fields have {2 * _TITLE_LENGTH} bytes, not {len(titles)}")
    check_ids(pdu.contexts)
    items = [
        item(ItemType.APPLICATION_CONTEXT, echo(pdu.application_context, "application context"), "application context"),
        *(write_context_ac(context) for context in pdu.contexts),
        _user_item(write_user_information(pdu.user, requestor=False)),
        unknown_items(pdu.unknown),
    ]
    return _associate_head(pdu, titles) + b"".join(items)


def _associate_head(pdu: AssociateRQ | AssociateAC, titles: bytes) -> bytes:
    """Bytes 7-74 of Tables 9-11 and 9-17."""
    if len(pdu.reserved) != _RESERVED_LENGTH:
        raise LocalProtocolError(f"the reserved field has {_RESERVED_LENGTH} bytes, not {len(pdu.reserved)}")
    return number(pdu.protocol_version, 2, "protocol version") + bytes(2) + titles + pdu.reserved


def _echoed_title(title: str, what: str) -> bytes:
    field = echo(title, what)
    if len(field) > _TITLE_LENGTH:
        raise LocalProtocolError(f"{what}: {len(field)} characters; the field has {_TITLE_LENGTH}")
    return field.ljust(_TITLE_LENGTH)


def _user_item(content: bytes) -> bytes:
    return item(ItemType.USER_INFORMATION, content, "user information")


def _associate_rj(pdu: AssociateRJ) -> bytes:
    if pdu.result not in {1, 2} or pdu.source not in {1, 2, 3}:
        raise LocalProtocolError(
            f"A-ASSOCIATE-RJ: result {pdu.result}, source {pdu.source} are not of PS3.8 Table 9-21"
        )
    return bytes((0, pdu.result, pdu.source)) + number(pdu.reason, 1, "reason")


def _pdata(pdu: PDataTF) -> bytes:
    if not pdu.pdvs:
        raise LocalProtocolError("a P-DATA-TF has at least one presentation data value")
    return b"".join(_pdv(pdv) for pdv in pdu.pdvs)


def _pdv(pdv: PDV) -> bytes:
    check_id(pdv.context_id)
    if not 0 <= pdv.control <= 3:
        raise LocalProtocolError(f"message control header {pdv.control}: only bits 0 and 1 are used (PS3.8 E.2)")
    return number(len(pdv.data) + 2, 4, "PDV length") + bytes((pdv.context_id, pdv.control)) + pdv.data


def _abort(pdu: Abort) -> bytes:
    if pdu.source not in {0, 2}:
        raise LocalProtocolError(f"A-ABORT: source {pdu.source} is neither the service user (0) nor the provider (2)")
    if pdu.source == 0 and pdu.reason != 0:
        raise LocalProtocolError(f"A-ABORT: a service user gives no reason (PS3.8 Table 9-26), not {pdu.reason}")
    return bytes((0, 0, pdu.source)) + number(pdu.reason, 1, "reason")
