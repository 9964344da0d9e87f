"""The seven PDUs of the upper layer and everything inside them, as frozen values (PS3.8 §9.3, PS3.7 Annex D).

UIDs are `str` without padding. What may hold a secret or patient data is left out of every `repr`, so that a PDU can be
logged as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, TypeAlias

from txdicom.uids import DICOM_APPLICATION_CONTEXT

#: bytes 43-74 of both A-ASSOCIATE PDUs: sent as zeros by a requestor (PS3.8 Table 9-11)
RESERVED: Final = bytes(32)


class PDUType(IntEnum):
    """The first byte of a PDU (PS3.8 §9.3.1)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class ItemType(IntEnum):
    """The first byte of an item or sub-item (PS3.8 §9.3.2, §9.3.3 and D.1; PS3.7 D.3.3)."""

    APPLICATION_CONTEXT = 0x10
    PRESENTATION_CONTEXT_RQ = 0x20
    PRESENTATION_CONTEXT_AC = 0x21
    ABSTRACT_SYNTAX = 0x30
    TRANSFER_SYNTAX = 0x40
    USER_INFORMATION = 0x50
    MAXIMUM_LENGTH = 0x51
    IMPLEMENTATION_CLASS_UID = 0x52
    ASYNC_OPERATIONS_WINDOW = 0x53
    ROLE_SELECTION = 0x54
    IMPLEMENTATION_VERSION_NAME = 0x55
    EXTENDED_NEGOTIATION = 0x56
    COMMON_EXTENDED_NEGOTIATION = 0x57
    USER_IDENTITY_RQ = 0x58
    USER_IDENTITY_AC = 0x59


class AbortReason(IntEnum):
    """Why the provider aborts (PS3.8 Table 9-26, source 2).

    `UNRECOGNIZED_PARAMETER` is here for those received: items of unknown types are skipped, never aborted (§9.3.1).
    """

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER_VALUE = 6


@dataclass(frozen=True, slots=True)
class PresentationContextRQ:
    """A proposed presentation context (PS3.8 §9.3.2.2): an odd id of 1-255 and what may be sent under it.

    As received, `abstract_syntax` may be "" and `transfer_syntaxes` empty where the peer sent none.
    """

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PresentationContextAC:
    """The answer to a proposed presentation context (PS3.8 §9.3.3.2).

    `result` is 0 acceptance, 1 user rejection, 2 no reason, 3 abstract syntax not supported, 4 transfer syntaxes not
    supported (Table 9-18). `transfer_syntax` means something with 0 only; it is "" where the peer sent none.
    """

    context_id: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class AsyncOperationsWindow:
    """How many operations the requestor may invoke and perform at once; 0: unlimited (PS3.7 D.3.3.3)."""

    invoked: int
    performed: int


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """Roles of the requestor for one SOP class: proposed in the RQ, accepted in the AC (PS3.7 D.3.3.4)."""

    sop_class: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """Application information of one SOP class; what it means is the service class's affair (PS3.7 D.3.3.5)."""

    sop_class: str
    information: bytes


@dataclass(frozen=True, slots=True)
class CommonExtendedNegotiation:
    """The service class of a SOP class and the general SOP classes it may be taken for (PS3.7 D.3.3.6)."""

    sop_class: str
    service_class: str
    related: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserIdentityRQ:
    """Who asks for the association (PS3.7 D.3.3.7.1).

    `kind` is 1 user name, 2 user name and passcode, 3 Kerberos service ticket, 4 SAML assertion, 5 JSON Web Token.
    `secondary` is the passcode of kind 2.
    """

    kind: int
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)
    response_requested: bool = False


@dataclass(frozen=True, slots=True)
class UserIdentityAC:
    """The positive answer to a user identity: a Kerberos or SAML response, empty for the others (PS3.7 D.3.3.7.2)."""

    response: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnknownItem:
    """An item or sub-item of a type that is unknown or has no meaning here: kept as sent, otherwise skipped."""

    kind: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class UserInformation:
    """The user information item and its sub-items (PS3.8 §9.3.2.3 and Annex D, PS3.7 D.3.3).

    `max_length` is the longest P-DATA-TF its sender takes, in bytes after the PDU-length field; 0: no maximum. A
    `implementation_version_name` or UID of "" was not sent. `user_identity` is of the PDU's own kind.
    """

    max_length: int
    implementation_class_uid: str
    implementation_version_name: str = ""
    async_window: AsyncOperationsWindow | None = None
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    common_extended: tuple[CommonExtendedNegotiation, ...] = ()
    user_identity: UserIdentityRQ | UserIdentityAC | None = None
    unknown: tuple[UnknownItem, ...] = ()


@dataclass(frozen=True, slots=True)
class AssociateRQ:
    """A-ASSOCIATE-RQ (PS3.8 §9.3.2).

    AE titles come without the leading and trailing spaces that do not count, and without NULs there. `title_fields`
    are the 32 bytes of both as received: an A-ASSOCIATE-AC has to repeat them. Equality leaves them out.
    """

    called_ae: str
    calling_ae: str
    contexts: tuple[PresentationContextRQ, ...]
    user: UserInformation
    application_context: str = DICOM_APPLICATION_CONTEXT
    protocol_version: int = 1
    reserved: bytes = field(default=RESERVED, repr=False)
    unknown: tuple[UnknownItem, ...] = ()
    title_fields: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class AssociateAC:
    """A-ASSOCIATE-AC (PS3.8 §9.3.3).

    Its titles and `reserved` repeat those of the request and mean nothing to the receiver (Table 9-17). With
    `title_fields` (those of the request) they are repeated byte by byte, else written from the titles.
    """

    called_ae: str
    calling_ae: str
    contexts: tuple[PresentationContextAC, ...]
    user: UserInformation
    application_context: str = DICOM_APPLICATION_CONTEXT
    protocol_version: int = 1
    reserved: bytes = field(default=RESERVED, repr=False)
    unknown: tuple[UnknownItem, ...] = ()
    title_fields: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class AssociateRJ:
    """A-ASSOCIATE-RJ (PS3.8 §9.3.4); what the three numbers mean is in Table 9-21."""

    result: int
    source: int
    reason: int


@dataclass(frozen=True, slots=True)
class PDV:
    """One presentation data value: a fragment of a message (PS3.8 §9.3.5.1).

    Of `control`, the message control header of PS3.8 E.2, bit 0 is set for a command and bit 1 for the last fragment.
    """

    context_id: int
    control: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PDataTF:
    """P-DATA-TF (PS3.8 §9.3.5). Received ones do not become this value: `Decoder` passes their fragments on."""

    pdvs: tuple[PDV, ...]


@dataclass(frozen=True, slots=True)
class ReleaseRQ:
    """A-RELEASE-RQ (PS3.8 §9.3.6)."""


@dataclass(frozen=True, slots=True)
class ReleaseRP:
    """A-RELEASE-RP (PS3.8 §9.3.7)."""


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (PS3.8 §9.3.8): `source` 0 the service user, 2 the service provider; `reason` counts with 2 only."""

    source: int
    reason: int


PDU: TypeAlias = AssociateRQ | AssociateAC | AssociateRJ | PDataTF | ReleaseRQ | ReleaseRP | Abort
