"""Instances made for a test, where pydicom's own files do not have what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

if TYPE_CHECKING:
    from pathlib import Path

#: below this root every test numbers its own
ROOT = "1.2.826.0.1.3680043.10.1561"


def write(
    path: Path, sop_instance: str, pixels: bytes = b"\1\2" * 32, *, sop_class: str = CTImageStorage,
    transfer_syntax: str = ExplicitVRLittleEndian,
) -> Path:  # fmt: skip
    """A file with the least that a sender asks for; `pixels` is one frame."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance)
    meta.TransferSyntaxUID = UID(transfer_syntax)
    dataset = Dataset()
    dataset.file_meta, dataset.preamble = meta, bytes(128)
    _fill(dataset, sop_class, sop_instance)
    compressed = UID(transfer_syntax).is_encapsulated
    dataset.PixelData = encapsulate([pixels]) if compressed else pixels
    dataset["PixelData"].VR = "OB" if compressed else "OW"
    dataset.save_as(path, enforce_file_format=True)
    return path


def _fill(dataset: Dataset, sop_class: str, sop_instance: str) -> None:
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = sop_instance
    dataset.StudyInstanceUID = f"{ROOT}.1"
    dataset.SeriesInstanceUID = f"{ROOT}.2"
    dataset.Modality = "OT" if sop_class == SecondaryCaptureImageStorage else "CT"
    dataset.PatientID = "1"
    dataset.PatientName = "Test^Interop"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 8, 4, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
