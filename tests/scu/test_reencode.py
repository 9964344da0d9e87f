from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from tests.scu.provider import EXPLICIT, IMPLICIT
from txdicom.part10 import file_meta
from txdicom.scu.reencode import reencoded
from txdicom.services.encoding import read_dataset, write_dataset
from txdicom.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN

if TYPE_CHECKING:
    from pathlib import Path


def bundled(name: str) -> str:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return path


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "rtplan.dcm", "image_dfl.dcm"])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_every_element_stays_what_it_was(name: str, syntax: str) -> None:
    before = dcmread(bundled(name))
    after = read_dataset(reencoded(bundled(name), syntax), syntax)
    assert {element.tag: element.value for element in after} == {element.tag: element.value for element in before}


def test_pixels_in_the_other_byte_order() -> None:
    # the same image in both byte orders comes with pydicom
    little = dcmread(bundled("MR_small.dcm"))
    after = read_dataset(reencoded(bundled("MR_small_bigendian.dcm"), EXPLICIT), EXPLICIT)
    assert after.PixelData == little.PixelData
    assert after.Rows == little.Rows


@pytest.mark.parametrize(("vr", "size"), [("OW", 2), ("OL", 4), ("OF", 4), ("OD", 8), ("OV", 8), ("OB", 1)])
def test_the_items_of_values_are_turned_in_sequences_too(tmp_path: Path, vr: str, size: int) -> None:
    value = bytes(range(16))
    item = Dataset()
    item.add_new(0x00091001, vr, value)
    dataset = Dataset()
    dataset.add_new(0x00081140, "SQ", [item])
    path = tmp_path / "a"
    meta = file_meta("1.2", "1.3", EXPLICIT_VR_BIG_ENDIAN)
    path.write_bytes(meta + write_dataset(dataset, EXPLICIT_VR_BIG_ENDIAN))
    after = read_dataset(reencoded(str(path), EXPLICIT), EXPLICIT)
    turned = b"".join(value[start : start + size][::-1] for start in range(0, 16, size))
    assert after[0x00081140].value[0][0x00091001].value == turned


@pytest.mark.parametrize(("vr", "value"), [("UN", b"\x01\x02"), ("OL", b"\x01\x02")])
def test_values_whose_items_are_not_known_are_not_turned(tmp_path: Path, vr: str, value: bytes) -> None:
    dataset = Dataset()
    dataset.add_new(0x00091001, vr, value)
    path = tmp_path / "a"
    meta = file_meta("1.2", "1.3", EXPLICIT_VR_BIG_ENDIAN)
    path.write_bytes(meta + write_dataset(dataset, EXPLICIT_VR_BIG_ENDIAN))
    with pytest.raises(ValueError, match="cannot be encoded anew"):
        reencoded(str(path), EXPLICIT)


def test_a_deflated_file_is_inflated() -> None:
    path = bundled("image_dfl.dcm")
    assert dcmread(path).file_meta.TransferSyntaxUID == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
    data = reencoded(path, EXPLICIT)
    assert dcmread(BytesIO(file_meta("1.2", "1.3", EXPLICIT) + data)).PixelData == dcmread(path).PixelData
