"""pydicom's own DICOM files: those that carry a SOP Instance UID, in groups in which each UID occurs once."""

from __future__ import annotations

import functools
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import pydicom

FOLDER = Path(os.path.dirname(pydicom.__file__)) / "data"
#: pydicom's program text and its compiled form lie in the same folder
NOT_DATA = {".py", ".pyc"}


@dataclass(frozen=True)
class Sample:
    """One file, with what pydicom reads from its data set and its File Meta Information; "" where it has none."""

    path: Path
    sop_class: str
    sop_instance: str
    study: str
    transfer_syntax: str

    @property
    def name(self) -> str:
        return name_of(self.path)


@functools.cache
def samples() -> tuple[Sample, ...]:
    """All of them, in the order of their names. Never downloads."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some files are there because they are wrong
        for path in sorted(FOLDER.rglob("*")):
            if path.is_file() and path.suffix not in NOT_DATA:
                sample = _sample(path)
                if sample is not None:
                    found.append(sample)
    return tuple(found)


def _sample(path: Path) -> Sample | None:
    tags = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"]
    dataset = pydicom.dcmread(path, force=True, specific_tags=tags, stop_before_pixels=True)
    sop_instance = dataset.get("SOPInstanceUID")
    if not sop_instance:
        return None
    return Sample(
        path,
        str(dataset.get("SOPClassUID", "")),
        str(sop_instance),
        str(dataset.get("StudyInstanceUID", "")),
        str(dataset.file_meta.get("TransferSyntaxUID", "")),
    )


@functools.cache
def groups() -> tuple[tuple[Sample, ...], ...]:
    """The files so divided that no group has a SOP Instance UID twice: the first of each, the second of each …"""
    seen: dict[str, int] = {}
    divided: dict[int, list[Sample]] = {}
    for sample in samples():
        number = seen.get(sample.sop_instance, 0)
        seen[sample.sop_instance] = number + 1
        divided.setdefault(number, []).append(sample)
    return tuple(tuple(divided[number]) for number in sorted(divided))


def by_name(name: str) -> Sample:
    """The file with this name below pydicom's data folder."""
    return next(sample for sample in samples() if sample.name == name)


def name_of(path: Path) -> str:
    """What a file is called below pydicom's data folder."""
    return str(path.relative_to(FOLDER))
