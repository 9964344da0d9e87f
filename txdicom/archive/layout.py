"""Where an instance lies in the store. Only what is a UID names a file or a folder; nothing else of a data set does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from txdicom.uids import is_uid

if TYPE_CHECKING:
    from txdicom.archive.identity import Identity

#: the folder of instances without a Study or Series Instance UID; it can be no UID's
UNKNOWN: Final = "unknown"
SUFFIX: Final = ".dcm"


def folder_of(store: str, identity: Identity) -> str:
    """The folder under `store` for an instance: its study's and series', or that for those without."""
    if is_uid(identity.study) and is_uid(identity.series):
        return f"{store}/{identity.study}/{identity.series}"
    return f"{store}/{UNKNOWN}"


def final_path(store: str, identity: Identity) -> str:
    """Where an instance lies for good. Raises ValueError where its SOP Instance UID is not a UID."""
    if not is_uid(identity.sop_instance):
        raise ValueError("the SOP Instance UID is not a UID")
    return f"{folder_of(store, identity)}/{identity.sop_instance}{SUFFIX}"


def beside(path: str, number: int) -> str:
    """Where the `number`-th (2, 3 …) different instance with the SOP Instance UID of `path` lies."""
    return f"{path.removesuffix(SUFFIX)}~{number}{SUFFIX}"
