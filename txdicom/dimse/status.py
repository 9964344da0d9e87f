"""Statuses: their classes, codes and names (PS3.7 Annex C, PS3.4 by service class).

This is the one place where a status code has a name. A code of the ranges Axxx, Bxxx and Cxxx means what the service
class says, so the names below are told apart by DIMSE service.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, NamedTuple

from txdicom.dimse.command import RESPONSE, CommandField

_LO_LENGTH: Final = 64
_NOT_IN_COMMENT: Final = re.compile(r"[^ -\[\]-~]")


class Category(Enum):
    """The status classes of PS3.7 Annex C."""

    SUCCESS = "Success"
    PENDING = "Pending"
    CANCEL = "Cancel"
    WARNING = "Warning"
    FAILURE = "Failure"


def category_of(code: int) -> Category:
    """The status class of `code` (PS3.7 Annex C); Failure too for codes that no implementation may use."""
    if code == 0x0000:
        return Category.SUCCESS
    if code in {0xFF00, 0xFF01}:
        return Category.PENDING
    if code == 0xFE00:
        return Category.CANCEL
    if code in {0x0001, 0x0107, 0x0116} or 0xB000 <= code <= 0xBFFF:
        return Category.WARNING
    return Category.FAILURE


@dataclass(frozen=True, slots=True)
class Status:
    """What a DIMSE operation came to: Status (0000,0900) and the elements that explain it (PS3.7 Annex C).

    `error_comment` is an LO: cut to 64 characters here, and what the default character repertoire does not have
    becomes "?". It can speak of a patient, so neither `str` nor `repr` shows it. `offending_elements` are tags,
    group << 16 | element. Raises ValueError when a number is out of range.
    """

    code: int
    error_comment: str = field(default="", repr=False)
    offending_elements: tuple[int, ...] = ()
    error_id: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.code <= 0xFFFF:
            raise ValueError(f"{self.code} is no status code, which has 16 bits")
        if self.error_id is not None and not 0 <= self.error_id <= 0xFFFF:
            raise ValueError(f"{self.error_id} is no Error ID, which has 16 bits")
        if not all(0 <= tag <= 0xFFFFFFFF for tag in self.offending_elements):
            raise ValueError("an offending element is no tag, which has 32 bits")
        if self.error_comment:
            comment = " ".join(self.error_comment.split())[:_LO_LENGTH]
            object.__setattr__(self, "error_comment", _NOT_IN_COMMENT.sub("?", comment).rstrip())

    @classmethod
    def of(cls, value: Status | int | str | None) -> Status:
        """The status that a handler's answer stands for.

        None is Success. A name is that of a constant of this module or one of `TABLE`, in any spelling ("Success",
        "out-of-resources", "Refused: Out of Resources"), or the code in hexadecimal ("0xA700", "A700H"). Raises
        ValueError for an unknown name or a code out of range, TypeError for anything else.
        """
        if value is None:
            return SUCCESS
        if isinstance(value, Status):
            return value
        if isinstance(value, str):
            return cls._named(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"a status is a Status, a code or a name, not {type(value).__name__}")
        return SUCCESS if value == 0 else cls(int(value))

    @classmethod
    def _named(cls, name: str) -> Status:
        code = _CODES.get(_spelling(name))
        if code is None:
            hexadecimal = re.fullmatch(r"(?:0x)?([0-9a-f]{4})h?", name.strip(), re.ASCII | re.IGNORECASE)
            if hexadecimal is None:
                raise ValueError(f"no status is named {name!r}")
            code = int(hexadecimal[1], 16)
        return cls(code)

    def with_comment(self, comment: str, *offending_elements: int) -> Status:
        """The same code with this Error Comment, and Offending Elements where given."""
        return replace(self, error_comment=comment, offending_elements=offending_elements or self.offending_elements)

    @property
    def category(self) -> Category:
        """The status class."""
        return category_of(self.code)

    @property
    def is_success(self) -> bool:
        """Whether the operation succeeded without a warning."""
        return self.code == 0

    @property
    def is_pending(self) -> bool:
        """Whether further responses follow."""
        return self.code in {0xFF00, 0xFF01}

    @property
    def is_cancel(self) -> bool:
        """Whether the operation was cancelled."""
        return self.code == 0xFE00

    @property
    def is_warning(self) -> bool:
        """Whether the operation was performed, but not quite as asked."""
        return self.category is Category.WARNING

    @property
    def is_failure(self) -> bool:
        """Whether the operation was not performed."""
        return self.category is Category.FAILURE

    def __int__(self) -> int:
        return self.code

    def __str__(self) -> str:
        return f"0x{self.code:04X} {name_of(self.code)}"


class Meaning(NamedTuple):
    """One row of `TABLE`: the codes `first` to `last`, for the requests of `services`; empty: for any."""

    first: int
    last: int
    name: str
    services: frozenset[CommandField] = frozenset()


_STORE: Final = frozenset({CommandField.C_STORE_RQ})
_FIND: Final = frozenset({CommandField.C_FIND_RQ})
_MOVE: Final = frozenset({CommandField.C_MOVE_RQ})
_RETRIEVE: Final = frozenset({CommandField.C_MOVE_RQ, CommandField.C_GET_RQ})
_CREATE: Final = frozenset({CommandField.N_CREATE_RQ})
_SET: Final = frozenset({CommandField.N_SET_RQ})
_ACTION: Final = frozenset({CommandField.N_ACTION_RQ})
_CREATE_SET: Final = _CREATE | _SET
_CREATE_SET_GET: Final = _CREATE_SET | {CommandField.N_GET_RQ}
_CREATE_ACTION: Final = _CREATE | _ACTION
_NORMALIZED: Final = frozenset(one for one in CommandField if one.name.startswith("N_") and not one & RESPONSE)

#: Names of status codes. Of the rows that hold a code, one for the service asked about goes before a general one,
#: then the narrower before the wider.
TABLE: Final = (
    # PS3.7 Annex C
    Meaning(0x0000, 0x0000, "Success"),
    Meaning(0x0105, 0x0105, "No Such Attribute"),
    Meaning(0x0106, 0x0106, "Invalid Attribute Value"),
    Meaning(0x0107, 0x0107, "Attribute List Error"),
    Meaning(0x0110, 0x0110, "Processing Failure"),
    Meaning(0x0111, 0x0111, "Duplicate SOP Instance"),
    Meaning(0x0112, 0x0112, "No Such SOP Instance"),
    Meaning(0x0113, 0x0113, "No Such Event Type"),
    Meaning(0x0114, 0x0114, "No Such Argument"),
    Meaning(0x0115, 0x0115, "Invalid Argument Value"),
    Meaning(0x0116, 0x0116, "Attribute Value Out of Range"),
    Meaning(0x0117, 0x0117, "Invalid SOP Instance"),
    Meaning(0x0118, 0x0118, "No Such SOP Class"),
    Meaning(0x0119, 0x0119, "Class-Instance Conflict"),
    Meaning(0x0120, 0x0120, "Missing Attribute"),
    Meaning(0x0121, 0x0121, "Missing Attribute Value"),
    Meaning(0x0122, 0x0122, "Refused: SOP Class Not Supported"),
    Meaning(0x0123, 0x0123, "No Such Action"),
    Meaning(0x0124, 0x0124, "Refused: Not Authorized"),
    Meaning(0x0210, 0x0210, "Duplicate Invocation"),
    Meaning(0x0211, 0x0211, "Unrecognized Operation"),
    Meaning(0x0212, 0x0212, "Mistyped Argument"),
    Meaning(0x0213, 0x0213, "Resource Limitation"),
    Meaning(0xFE00, 0xFE00, "Cancel"),
    Meaning(0xFF00, 0xFF00, "Pending"),
    Meaning(0xFF01, 0xFF01, "Pending: Optional Keys Not Supported"),
    # for a code whose service is not known, what the services have in common
    Meaning(0x0001, 0x0001, "Requested Optional Attributes Not Supported"),
    Meaning(0xA700, 0xA700, "Refused: Out of Resources"),
    Meaning(0xA700, 0xA7FF, "Refused: Out of Resources"),
    Meaning(0xA900, 0xA900, "Error: Does Not Match SOP Class"),
    Meaning(0xA900, 0xA9FF, "Error: Does Not Match SOP Class"),
    Meaning(0xB000, 0xB000, "Warning: Coercion of Data Elements, or Sub-operations with Failures"),
    Meaning(0xC000, 0xC000, "Error: Cannot Understand, or Unable to Process"),
    Meaning(0xC000, 0xCFFF, "Error: Cannot Understand, or Unable to Process"),
    # PS3.4 B.2.3 (Storage), GG (Non-Patient Object Storage)
    Meaning(0xA700, 0xA7FF, "Refused: Out of Resources", _STORE),
    Meaning(0xA900, 0xA9FF, "Error: Data Set Does Not Match SOP Class", _STORE),
    Meaning(0xC000, 0xCFFF, "Error: Cannot Understand", _STORE),
    Meaning(0xB000, 0xB000, "Coercion of Data Elements", _STORE),
    Meaning(0xB006, 0xB006, "Elements Discarded", _STORE),
    Meaning(0xB007, 0xB007, "Data Set Does Not Match SOP Class", _STORE),
    # PS3.4 C.4.1.1.4 (Query), K.4.1.1.4 (Worklist), V (Substance Administration), CC.2.8.4 (UPS)
    Meaning(0xA700, 0xA700, "Refused: Out of Resources", _FIND),
    Meaning(0xA710, 0xA710, "Refused: Invalid Prior Record Key", _FIND),
    Meaning(0xA900, 0xA900, "Error: Identifier Does Not Match SOP Class", _FIND),
    Meaning(0xB001, 0xB001, "Matching Reached Response Limit", _FIND),
    Meaning(0xC000, 0xCFFF, "Failed: Unable to Process", _FIND),
    Meaning(0xFE00, 0xFE00, "Matching Terminated Due to Cancel Request", _FIND),
    Meaning(0xFF00, 0xFF00, "Matches Are Continuing", _FIND),
    Meaning(0xFF01, 0xFF01, "Matches Are Continuing: Optional Keys Not Supported", _FIND),
    # PS3.4 Q.2.1.1.4 (Relevant Patient Information)
    Meaning(0xC100, 0xC100, "More Than One Match Found", _FIND),
    Meaning(0xC200, 0xC200, "Unable to Support Requested Template", _FIND),
    # PS3.4 C.4.2.1.5, C.4.3.1.4 (Retrieve), Y.4 (Instance and Frame Level Retrieve)
    Meaning(0xA701, 0xA701, "Refused: Out of Resources, Unable to Calculate Number of Matches", _RETRIEVE),
    Meaning(0xA702, 0xA702, "Refused: Out of Resources, Unable to Perform Sub-operations", _RETRIEVE),
    Meaning(0xA801, 0xA801, "Refused: Move Destination Unknown", _MOVE),
    Meaning(0xA900, 0xA900, "Error: Identifier Does Not Match SOP Class", _RETRIEVE),
    Meaning(0xAA00, 0xAA00, "None of the Frames Requested Were Found in the SOP Instance", _RETRIEVE),
    Meaning(0xAA01, 0xAA01, "Unable to Create New Object for This SOP Class", _RETRIEVE),
    Meaning(0xAA02, 0xAA02, "Unable to Extract Frames", _RETRIEVE),
    Meaning(0xAA03, 0xAA03, "Time-Based Request for a Non-Time-Based SOP Instance", _RETRIEVE),
    Meaning(0xAA04, 0xAA04, "Invalid Request", _RETRIEVE),
    Meaning(0xB000, 0xB000, "Sub-operations Complete, One or More Failures or Warnings", _RETRIEVE),
    Meaning(0xC000, 0xCFFF, "Failed: Unable to Process", _RETRIEVE),
    Meaning(0xFE00, 0xFE00, "Sub-operations Terminated Due to Cancel Indication", _RETRIEVE),
    Meaning(0xFF00, 0xFF00, "Sub-operations Are Continuing", _RETRIEVE),
    # PS3.4 F.7.2 and F.8.2 (Modality Performed Procedure Step), S.3 (Media Creation), CC.2 (UPS)
    Meaning(0x0001, 0x0001, "Requested Optional Attributes Not Supported", _CREATE_SET_GET),
    # PS3.4 H.4 (Print Management)
    Meaning(0xB600, 0xB600, "Memory Allocation Not Supported", _CREATE_SET),
    Meaning(0xB601, 0xB601, "Film Session Printing (Collation) Is Not Supported", _ACTION),
    Meaning(0xB602, 0xB602, "Film Session Has No Image Boxes (Empty Page)", _ACTION),
    Meaning(0xB603, 0xB603, "Film Box Has No Image Boxes (Empty Page)", _ACTION),
    Meaning(0xB604, 0xB604, "Image Larger Than Image Box, Demagnified", _SET | _ACTION),
    Meaning(0xB605, 0xB605, "Requested Density Outside of the Printer's Range", _CREATE_SET),
    Meaning(0xB609, 0xB609, "Image Larger Than Image Box, Cropped", _SET | _ACTION),
    Meaning(0xB60A, 0xB60A, "Image Larger Than Image Box, Decimated", _SET | _ACTION),
    Meaning(0xC600, 0xC600, "Film Session Has No Film Boxes", _ACTION),
    Meaning(0xC601, 0xC601, "Print Queue Is Full", _ACTION),
    Meaning(0xC602, 0xC602, "Print Queue Is Full", _ACTION),
    Meaning(0xC603, 0xC603, "Image Larger Than Image Box", _SET | _ACTION),
    Meaning(0xC605, 0xC605, "Insufficient Memory in Printer", _SET),
    Meaning(0xC613, 0xC613, "Combined Print Image Larger Than Image Box", _ACTION),
    Meaning(0xC616, 0xC616, "The Previous Film Box Has Not Been Printed", _CREATE_ACTION),
    # PS3.4 P.2.2.4 (Application Event Logging)
    Meaning(0xB101, 0xB101, "Synchronization Frame of Reference Does Not Match", _ACTION),
    Meaning(0xB102, 0xB102, "Event Logged under a Different Study Instance UID", _ACTION),
    Meaning(0xB104, 0xB104, "IDs Inconsistent in Matching a Current Study; Event Logged", _ACTION),
    Meaning(0xC101, 0xC101, "Procedural Logging Not Available for Study Instance UID", _ACTION),
    Meaning(0xC102, 0xC102, "Event Information Does Not Match Template", _ACTION),
    Meaning(0xC103, 0xC103, "Cannot Match Event to a Current Study", _ACTION),
    Meaning(0xC104, 0xC104, "IDs Inconsistent in Matching a Current Study; Event Not Logged", _ACTION),
    Meaning(0xC10E, 0xC10E, "Operator Not Authorized to Add Entry", _ACTION),
    Meaning(0xC110, 0xC110, "Patient Cannot Be Identified", _ACTION),
    Meaning(0xC111, 0xC111, "Update of Medication Administration Record Failed", _ACTION),
    # PS3.4 S.3 (Media Creation Management)
    Meaning(0xA510, 0xA510, "Media Creation Already Initiated for This SOP Instance", _ACTION),
    Meaning(0xC201, 0xC201, "Media Creation Request Already Completed", _ACTION),
    Meaning(0xC202, 0xC202, "Media Creation in Progress Cannot Be Interrupted", _ACTION),
    Meaning(0xC203, 0xC203, "Cancellation Denied for Unspecified Reason", _ACTION),
    # PS3.4 DD.3.2 (RT Machine Verification)
    Meaning(0xC112, 0xC112, "Machine Verification Instance Not Found", _NORMALIZED),
    Meaning(0xC221, 0xC221, "Referenced Fraction Group Not in Referenced Plan", _NORMALIZED),
    Meaning(0xC222, 0xC222, "No Beams in Referenced Fraction Group", _NORMALIZED),
    Meaning(0xC223, 0xC223, "SCU Already Verifying", _NORMALIZED),
    Meaning(0xC224, 0xC224, "Referenced Beam Not in Referenced Fraction Group", _NORMALIZED),
    Meaning(0xC225, 0xC225, "Referenced Device or Accessory Not Supported", _NORMALIZED),
    Meaning(0xC226, 0xC226, "Referenced Device or Accessory Not Found", _NORMALIZED),
    Meaning(0xC227, 0xC227, "Referenced RT Plan Not Found", _NORMALIZED),
    # PS3.4 CC.2 (Unified Procedure Step)
    Meaning(0xB300, 0xB300, "UPS Created with Modifications", _NORMALIZED),
    Meaning(0xB301, 0xB301, "Deletion Lock Not Granted", _NORMALIZED),
    Meaning(0xB304, 0xB304, "UPS Already CANCELED", _NORMALIZED),
    Meaning(0xB305, 0xB305, "Coerced Invalid Values to Valid Values", _NORMALIZED),
    Meaning(0xB306, 0xB306, "UPS Already COMPLETED", _NORMALIZED),
    Meaning(0xC300, 0xC300, "UPS May No Longer Be Updated", _NORMALIZED),
    Meaning(0xC301, 0xC301, "Transaction UID Not Correct", _NORMALIZED),
    Meaning(0xC302, 0xC302, "UPS Already IN PROGRESS", _NORMALIZED),
    Meaning(0xC303, 0xC303, "UPS Becomes SCHEDULED Only by N-CREATE", _NORMALIZED),
    Meaning(0xC304, 0xC304, "UPS Has Not Met Final State Requirements", _NORMALIZED),
    Meaning(0xC307, 0xC307, "No Such UPS Instance", _NORMALIZED),
    Meaning(0xC308, 0xC308, "Receiving AE Title Unknown", _NORMALIZED),
    Meaning(0xC309, 0xC309, "UPS State Was Not SCHEDULED", _NORMALIZED),
    Meaning(0xC310, 0xC310, "UPS Not IN PROGRESS", _NORMALIZED),
    Meaning(0xC311, 0xC311, "UPS Already COMPLETED", _NORMALIZED),
    Meaning(0xC312, 0xC312, "Performer Cannot Be Contacted", _NORMALIZED),
    Meaning(0xC313, 0xC313, "Performer Chooses Not to Cancel", _NORMALIZED),
    Meaning(0xC314, 0xC314, "Action Not Appropriate for Instance", _NORMALIZED),
    Meaning(0xC315, 0xC315, "Event Reports Not Supported", _NORMALIZED),
    # PS3.4 KK.2.2.3 (Storage Management, Inventory)
    Meaning(0xB010, 0xB010, "Key Attributes Not Supported for Matching", _ACTION),
)


def name_of(code: int, service: CommandField | int | None = None) -> str:
    """The standard's meaning of `code` in short; without a row of `TABLE` the name of its status class.

    `service` is the Command Field of the request or the response. Left out, a name is given that holds for all services
    of the code.
    """
    request = None if service is None else service & ~RESPONSE
    rows = [
        row
        for row in TABLE
        if row.first <= code <= row.last and (request is None or not row.services or request in row.services)
    ]
    if not rows:
        return category_of(code).value
    if request is None:
        # narrow before wide, then general before special
        return min(rows, key=lambda row: (row.last - row.first, bool(row.services))).name
    return min(rows, key=lambda row: (not row.services, row.last - row.first)).name


SUCCESS: Final = Status(0x0000)
PENDING: Final = Status(0xFF00)
#: C-FIND: a match, but optional keys were left out of the matching
PENDING_UNSUPPORTED_KEYS: Final = Status(0xFF01)
CANCEL: Final = Status(0xFE00)

OPTIONAL_ATTRIBUTES_NOT_SUPPORTED: Final = Status(0x0001)
ATTRIBUTE_LIST_ERROR: Final = Status(0x0107)
ATTRIBUTE_VALUE_OUT_OF_RANGE: Final = Status(0x0116)
#: C-STORE
COERCION_OF_DATA_ELEMENTS: Final = Status(0xB000)
ELEMENTS_DISCARDED: Final = Status(0xB006)
DATA_SET_MISMATCH_WARNING: Final = Status(0xB007)
#: C-FIND
RESPONSE_LIMIT_REACHED: Final = Status(0xB001)
#: C-MOVE, C-GET
SUB_OPERATIONS_WITH_FAILURES: Final = Status(0xB000)

NO_SUCH_ATTRIBUTE: Final = Status(0x0105)
INVALID_ATTRIBUTE_VALUE: Final = Status(0x0106)
PROCESSING_FAILURE: Final = Status(0x0110)
DUPLICATE_SOP_INSTANCE: Final = Status(0x0111)
NO_SUCH_SOP_INSTANCE: Final = Status(0x0112)
NO_SUCH_EVENT_TYPE: Final = Status(0x0113)
NO_SUCH_ARGUMENT: Final = Status(0x0114)
INVALID_ARGUMENT_VALUE: Final = Status(0x0115)
INVALID_SOP_INSTANCE: Final = Status(0x0117)
NO_SUCH_SOP_CLASS: Final = Status(0x0118)
CLASS_INSTANCE_CONFLICT: Final = Status(0x0119)
MISSING_ATTRIBUTE: Final = Status(0x0120)
MISSING_ATTRIBUTE_VALUE: Final = Status(0x0121)
SOP_CLASS_NOT_SUPPORTED: Final = Status(0x0122)
NO_SUCH_ACTION: Final = Status(0x0123)
NOT_AUTHORIZED: Final = Status(0x0124)
DUPLICATE_INVOCATION: Final = Status(0x0210)
UNRECOGNIZED_OPERATION: Final = Status(0x0211)
MISTYPED_ARGUMENT: Final = Status(0x0212)
RESOURCE_LIMITATION: Final = Status(0x0213)
#: C-STORE, C-FIND
OUT_OF_RESOURCES: Final = Status(0xA700)
#: C-MOVE, C-GET
UNABLE_TO_CALCULATE_MATCHES: Final = Status(0xA701)
UNABLE_TO_PERFORM_SUB_OPERATIONS: Final = Status(0xA702)
#: C-MOVE
MOVE_DESTINATION_UNKNOWN: Final = Status(0xA801)
#: C-STORE
DATA_SET_MISMATCH: Final = Status(0xA900)
#: C-FIND, C-MOVE, C-GET
IDENTIFIER_MISMATCH: Final = Status(0xA900)
#: C-STORE
CANNOT_UNDERSTAND: Final = Status(0xC000)
#: C-FIND, C-MOVE, C-GET
UNABLE_TO_PROCESS: Final = Status(0xC000)


def _spelling(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


_CODES: Final = {
    **{_spelling(row.name): row.first for row in reversed(TABLE)},
    **{_spelling(name): value.code for name, value in list(globals().items()) if isinstance(value, Status)},
}
