"""PDUs, items and sub-items of the DICOM upper layer, to and from bytes (PS3.8 §9.3, PS3.7 Annex D).

This floor knows neither a connection nor a state: `encode` and `decode` turn whole PDUs, `Decoder` cuts a stream.
"""

from __future__ import annotations

from txdicom.pdu.decode import decode, decode_pdata
from txdicom.pdu.decoder import Decoder, Receiver
from txdicom.pdu.encode import encode
from txdicom.pdu.limits import Limits
from txdicom.pdu.types import (
    PDU,
    PDV,
    Abort,
    AbortReason,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    AsyncOperationsWindow,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    ItemType,
    PDataTF,
    PDUType,
    PresentationContextAC,
    PresentationContextRQ,
    ReleaseRP,
    ReleaseRQ,
    RoleSelection,
    UnknownItem,
    UserIdentityAC,
    UserIdentityRQ,
    UserInformation,
)

__all__ = [
    "PDU",
    "PDV",
    "Abort",
    "AbortReason",
    "AssociateAC",
    "AssociateRJ",
    "AssociateRQ",
    "AsyncOperationsWindow",
    "CommonExtendedNegotiation",
    "Decoder",
    "ExtendedNegotiation",
    "ItemType",
    "Limits",
    "PDUType",
    "PDataTF",
    "PresentationContextAC",
    "PresentationContextRQ",
    "Receiver",
    "ReleaseRP",
    "ReleaseRQ",
    "RoleSelection",
    "UnknownItem",
    "UserIdentityAC",
    "UserIdentityRQ",
    "UserInformation",
    "decode",
    "decode_pdata",
    "encode",
]
