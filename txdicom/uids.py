"""UIDs of our own, the few of the standard that the core names, and groups of SOP classes over `pydicom.uid`.

pydicom is imported by the functions that need its dictionary, so that the commands start fast.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from txdicom import __version__

#: (0000/0002,0012): drawn once for this implementation (PS3.7 D.3.3.2, PS3.5 B.2)
IMPLEMENTATION_CLASS_UID: Final = "2.25.147051206306264230142061957782493973346"
#: at most 16 characters (PS3.7 D.3.3.2)
IMPLEMENTATION_VERSION_NAME: Final = f"TXDICOM_{__version__}"[:16]

#: PS3.7 A.2.1
DICOM_APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"

VERIFICATION: Final = "1.2.840.10008.1.1"
STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
PATIENT_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.1.1"
PATIENT_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.1.2"
PATIENT_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.1.3"

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
#: what a data set of Verification, queries and DIMSE-N is proposed in, best first
UNCOMPRESSED: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)
#: those whose data sets begin with a deflated stream (PS3.5 A.5, A.7)
DEFLATED: Final = frozenset({DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})

#: stands for every storage SOP class where an add-in declares its presentation contexts
ANY_STORAGE: Final = "any-storage"

_UID: Final = re.compile(r"[0-9]++(?:\.[0-9]++)*+", re.ASCII)
_STRICT_UID: Final = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*", re.ASCII)
_NOT_STORED: Final = ("MediaStorageDirectoryStorage",)


def is_uid(text: str) -> bool:
    """Whether `text` may name a file: digits and dots, at most 64 characters (PS3.5 §9.1 but leading zeros)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def is_strict_uid(text: str) -> bool:
    """Whether `text` keeps every rule of PS3.5 §9.1, that of no leading zero too."""
    return len(text) <= 64 and _STRICT_UID.fullmatch(text) is not None


@cache
def storage_sop_classes() -> frozenset[str]:
    """Every storage SOP class of the standard that pydicom knows, retired ones too (PS3.4 B.5, PS3.6 A)."""
    from pydicom._uid_dict import UID_dictionary

    return frozenset(
        uid
        for uid, (name, kind, _info, _retired, keyword) in UID_dictionary.items()
        if kind == "SOP Class" and " Storage" in name and "Commitment" not in name and keyword not in _NOT_STORED
    )


@cache
def known_sop_classes() -> frozenset[str]:
    """Every SOP class and meta SOP class of the standard that pydicom knows."""
    from pydicom._uid_dict import UID_dictionary

    return frozenset(uid for uid, entry in UID_dictionary.items() if entry[1] in {"SOP Class", "Meta SOP Class"})


@cache
def storage_transfer_syntaxes() -> tuple[str, ...]:
    """Every transfer syntax a data set can be stored in as received: the uncompressed ones first, then as in PS3.6 A.

    Left out are those that describe no encoding of a data set for DIMSE (MIME, XML, SMPTE ST 2110, Papyrus).
    """
    from pydicom._uid_dict import UID_dictionary

    others = [
        uid
        for uid, entry in UID_dictionary.items()
        if entry[1] == "Transfer Syntax"
        and uid not in UNCOMPRESSED
        and not uid.startswith(("1.2.840.10008.1.2.6.", "1.2.840.10008.1.2.7.", "1.2.840.10008.1.20"))
    ]
    return (*UNCOMPRESSED, *others)


def name_of(uid: str) -> str:
    """The standard's name of `uid`, or the UID itself."""
    from pydicom._uid_dict import UID_dictionary

    entry = UID_dictionary.get(uid)
    return entry[0] if entry else uid
