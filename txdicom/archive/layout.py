"""Where an instance lies in the store. Only what is a UID names a file or a folder; nothing else of a data set does."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from txdicom.uids import is_uid

if TYPE_CHECKING:
    from txdicom.archive.identity import Identity

#: the folder of instances without a Study or Series Instance UID; it can be no UID's
UNKNOWN: Final = "unknown"
SUFFIX: Final = ".dcm"


def final_path(store: str, identity: Identity) -> str:
    """Where an instance lies for good: in its study's and series' folder, or in that of those without.

    Raises ValueError where its SOP Instance UID is not a UID.
    """
    sop_instance, study, series = identity.sop_instance, identity.study, identity.series
    if not is_uid(sop_instance):
        raise ValueError("the SOP Instance UID is not a UID")
    # nothing longer than a UID is remembered
    known = len(study) <= 64 and len(series) <= 64 and _are_uids(study, series)
    return f"{store}/{study}/{series}/{sop_instance}{SUFFIX}" if known else f"{store}/{UNKNOWN}/{sop_instance}{SUFFIX}"


@lru_cache(maxsize=256)
def _are_uids(study: str, series: str) -> bool:
    return is_uid(study) and is_uid(series)


def beside(path: str, number: int) -> str:
    """Where the `number`-th (2, 3 …) different instance with the SOP Instance UID of `path` lies."""
    return f"{path.removesuffix(SUFFIX)}~{number}{SUFFIX}"
