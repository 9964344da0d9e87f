"""txdicom.services.observed: data sets for those who look on, without pixel data."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence

from txdicom.services.encoding import write_dataset
from txdicom.services.observed import WITHOUT_PIXELS, ObservedDataSets
from txdicom.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

SYNTAXES = [
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
]


def image(pixels: int = 64) -> Dataset:
    icon = Dataset()
    icon.Rows = 4
    icon.PixelData = bytes(16)
    icon["PixelData"].VR = "OW"
    dataset = Dataset()
    dataset.SOPInstanceUID = "1.2.3"
    dataset.IconImageSequence = Sequence([icon])
    dataset.PixelData = bytes(pixels)
    dataset["PixelData"].VR = "OW"
    dataset.add(DataElement(0xFFFCFFFC, "OB", b"\0\0"))
    return dataset


def tags(dataset: Any) -> list[str]:
    return [element.keyword for element in dataset]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_without_pixel_data_at_any_depth(syntax: str) -> None:
    shown = ObservedDataSets(pixel_data=False).read(write_dataset(image(), syntax), syntax, whole=True)
    assert shown is not None
    assert tags(shown) == ["SOPInstanceUID", "IconImageSequence"]
    assert tags(shown.IconImageSequence[0]) == ["Rows"]


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable"])
def test_what_is_like_pixel_data(keyword: str) -> None:
    dataset = Dataset()
    dataset.Rows = 1
    setattr(dataset, keyword, bytes(16))
    data = write_dataset(dataset, EXPLICIT_VR_LITTLE_ENDIAN)
    shown = ObservedDataSets(pixel_data=False).read(data, EXPLICIT_VR_LITTLE_ENDIAN, whole=True)
    assert tags(shown) == ["Rows"]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_with_it_where_the_operator_wants_it(syntax: str) -> None:
    shown = ObservedDataSets(pixel_data=True).read(write_dataset(image(), syntax), syntax, whole=True)
    assert shown is not None
    assert shown == image()


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_the_beginning_is_enough_where_it_reaches_the_pixel_data(syntax: str) -> None:
    data_sets = ObservedDataSets(pixel_data=False)
    data = write_dataset(image(WITHOUT_PIXELS), syntax)
    shown = data_sets.read(data[: data_sets.limit], syntax, whole=False)
    assert tags(shown) == ["SOPInstanceUID", "IconImageSequence"]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_beginning_that_does_not_reach_it_is_not_shown(syntax: str) -> None:
    """Part of a data set could be taken for all of it."""
    data = write_dataset(image(), syntax)
    for end in range(0, 30 if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN else 70, 2):
        assert ObservedDataSets(pixel_data=False).read(data[:end], syntax, whole=False) is None
    assert ObservedDataSets(pixel_data=True).read(data[:-2], syntax, whole=False) is None


def test_no_bomb_is_inflated() -> None:
    dataset = Dataset()
    dataset.EncapsulatedDocument = bytes(8 * WITHOUT_PIXELS)
    data = write_dataset(dataset, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    shown = ObservedDataSets(pixel_data=False).read(data, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, whole=True)
    assert shown is None


def test_a_data_set_for_a_change() -> None:
    dataset = Dataset()
    dataset.PatientID = "1"
    data = ObservedDataSets(pixel_data=False).write(dataset, IMPLICIT_VR_LITTLE_ENDIAN)
    assert data == b"\x10\0\x20\0\2\0\0\0" + b"1 "
