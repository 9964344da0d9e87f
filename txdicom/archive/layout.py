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


def folder_of(store: str, identity: Identity) -> str:
    """The folder of an instance in the store: that of its study and series, or that of those without."""
    study, series = identity.study, identity.series
    # nothing longer than a UID is remembered
    return _folder(store, study, series) if len(study) <= 64 and len(series) <= 64 else f"{store}/{UNKNOWN}"


@lru_cache(maxsize=256)
def _folder(store: str, study: str, series: str) -> str:
    return f"{store}/{study}/{series}" if is_uid(study) and is_uid(series) else f"{store}/{UNKNOWN}"


def file_in(folder: str, sop_instance: str) -> str:
    """Where an instance lies in its folder. The caller has made sure that its SOP Instance UID is a UID (`is_uid`)."""
    return f"{folder}/{sop_instance}{SUFFIX}"


def beside(path: str, number: int) -> str:
    """Where the `number`-th (2, 3 …) different instance with the SOP Instance UID of `path` lies."""
    return f"{path.removesuffix(SUFFIX)}~{number}{SUFFIX}"
