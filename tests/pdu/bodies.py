"""PDU bodies put together item by item, and what `decode` makes of them."""

from __future__ import annotations

import pytest

from txdicom.errors import RemoteProtocolError
from txdicom.pdu import (
    AbortReason,
    Limits,
    PDUType,
    PresentationContextAC,
    PresentationContextRQ,
    decode,
)

INVALID = AbortReason.INVALID_PARAMETER_VALUE
UNEXPECTED = AbortReason.UNEXPECTED_PARAMETER


def item(kind, *content, second=0):
    data = b"".join(content)
    return bytes((kind, second)) + len(data).to_bytes(2, "big") + data


def counted(data):
    return len(data).to_bytes(2, "big") + data


APPLICATION = item(0x10, b"1.2.840.10008.3.1.1.1")
ABSTRACT = item(0x30, b"1.2.840.10008.1.1")
TRANSFER = item(0x40, b"1.2.840.10008.1.2")
CONTEXT_RQ = item(0x20, b"\x01\0\0\0", ABSTRACT, TRANSFER)
CONTEXT_AC = item(0x21, b"\x01\0\0\0", TRANSFER)
MAX_LENGTH = item(0x51, b"\0\0\x40\0")
CLASS_UID = item(0x52, b"1.2.3")
USER = item(0x50, MAX_LENGTH, CLASS_UID)
TITLES = b"CALLED          CALLING         "

CONTEXT_RQ_VALUE = PresentationContextRQ(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",))
CONTEXT_AC_VALUE = PresentationContextAC(1, 0, "1.2.840.10008.1.2")


def body(*items, titles=TITLES):
    return b"\0\1\0\0" + titles + bytes(32) + b"".join(items)


def read(kind, data, limits=None):
    """The PDU and the deviations it has."""
    deviations: list[str] = []
    return decode(kind, data, limits or Limits(), deviations), deviations


def rq(*items, titles=TITLES, limits=None):
    return read(PDUType.ASSOCIATE_RQ, body(*items, titles=titles), limits)


def ac(*items, titles=TITLES, limits=None):
    return read(PDUType.ASSOCIATE_AC, body(*items, titles=titles), limits)


def rq_user(*sub_items, limits=None):
    """The user information of a request that has these sub-items besides the required ones."""
    pdu, deviations = rq(APPLICATION, CONTEXT_RQ, item(0x50, MAX_LENGTH, CLASS_UID, *sub_items), limits=limits)
    return pdu.user, deviations


def ac_user(*sub_items):
    pdu, deviations = ac(APPLICATION, CONTEXT_AC, item(0x50, MAX_LENGTH, CLASS_UID, *sub_items))
    return pdu.user, deviations


def rq_context(*content, limits=None):
    pdu, deviations = rq(APPLICATION, item(0x20, *content), USER, limits=limits)
    return pdu.contexts, deviations


def ac_context(*content):
    pdu, deviations = ac(APPLICATION, item(0x21, *content), USER)
    return pdu.contexts, deviations


def refused(reason, words, function, *arguments, **keywords):
    with pytest.raises(RemoteProtocolError, match=words) as caught:
        function(*arguments, **keywords)
    assert caught.value.source == 2
    assert caught.value.reason == reason
