"""File Meta Information: written and read (PS3.10 §7.1)."""

from __future__ import annotations

import io
import os

import pydicom
import pytest

from txdicom.part10 import MAX_META, FileMeta, NeedMoreBytes, file_meta, read_meta, read_meta_from
from txdicom.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
DATA = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
HEAD = bytes(128) + b"DICM"


def element(number: int, vr: bytes, value: bytes) -> bytes:
    return b"\x02\x00" + number.to_bytes(2, "little") + vr + len(value).to_bytes(2, "little") + value


@pytest.mark.parametrize("instance", ["1.2.3", "1.2.34", "1." * 31 + "22"])
@pytest.mark.parametrize("source", ["", "STORESCU", "ODD"])
def test_pydicom_reads_what_we_write(instance, source):
    data = file_meta(CT, instance, EXPLICIT_VR_LITTLE_ENDIAN, source_ae=source)
    meta = pydicom.dcmread(io.BytesIO(data + DATA)).file_meta
    assert data[:132] == HEAD
    assert meta.FileMetaInformationGroupLength == len(data) - 144
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.MediaStorageSOPClassUID == CT
    assert meta.MediaStorageSOPInstanceUID == instance
    assert meta.TransferSyntaxUID == EXPLICIT_VR_LITTLE_ENDIAN
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert meta.get("SourceApplicationEntityTitle", "") == source
    assert read_meta(data + DATA) == FileMeta(CT, instance, EXPLICIT_VR_LITTLE_ENDIAN, len(data))


@pytest.mark.parametrize("title", ["A" * 17, "A\\B", "A\tB", "ÄÖ", "  ", "\0"])
def test_a_title_that_is_none_is_left_out(title):
    assert file_meta(CT, "1.2", EXPLICIT_VR_LITTLE_ENDIAN, source_ae=title) == file_meta(
        CT, "1.2", EXPLICIT_VR_LITTLE_ENDIAN
    )


def test_a_uid_that_is_not_ascii_is_refused():
    with pytest.raises(ValueError, match="ascii"):
        file_meta(CT, "1.2.\u0663", EXPLICIT_VR_LITTLE_ENDIAN)


def test_every_cut_says_how_much_more_is_wanted():
    whole = file_meta(CT, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN) + DATA
    offset = len(whole) - len(DATA)
    for cut in range(len(whole)):
        if cut < offset + 2:
            with pytest.raises(NeedMoreBytes) as need:
                read_meta(whole[:cut])
            assert cut < need.value.count <= offset + 2
        else:
            assert read_meta(whole[:cut]).data_offset == offset


def test_a_file_without_a_data_set():
    whole = file_meta(CT, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN)
    assert read_meta(whole, complete=True).data_offset == len(whole)
    assert read_meta(whole + b"\x08", complete=True).data_offset == len(whole)
    with pytest.raises(ValueError, match="ends inside"):
        read_meta(whole[:-1], complete=True)


@pytest.mark.parametrize("head", [b"", bytes(128) + b"DIC", bytes(200), bytes(128) + b"DICX" + DATA])
def test_what_is_no_dicom_file(head):
    assert read_meta(head, complete=True) is None


def test_another_magic_is_seen_before_the_head_is_whole():
    assert read_meta(bytes(128) + b"X") is None


@pytest.mark.parametrize("length", [b"", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x1a\0\0\0", b"\0\0"])
def test_a_wrong_or_missing_group_length_does_not_matter(length):
    group_length = element(0, b"UL", length) if length else b""
    body = element(0x10, b"UI", b"1.2.840.10008.1.2\0") + element(0x16, b"AE", b"SOME")
    head = HEAD + group_length + body
    assert read_meta(head + DATA) == FileMeta("", "", "1.2.840.10008.1.2", len(head))


def test_a_deflated_data_set_may_begin_like_group_2():
    head = file_meta(CT, "1.2.3", DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    assert read_meta(head + b"\x02\x00rest").data_offset == len(head)


def test_meta_elements_without_vr_are_understood():
    head = HEAD + b"\x02\x00\x10\x00\x12\x00\x00\x001.2.840.10008.1.2\0"
    assert read_meta(head + DATA) == FileMeta("", "", "1.2.840.10008.1.2", len(head))


def test_padding_is_stripped():
    head = HEAD + element(2, b"UI", b" 1.2 \0") + element(3, b"UI", b"1.3\0\0\0")
    meta = read_meta(head + DATA)
    assert (meta.sop_class, meta.sop_instance) == ("1.2", "1.3")


def test_a_huge_length_is_not_read(tmp_path):
    path = tmp_path / "huge"
    path.write_bytes(HEAD + b"\x02\x00\x01\x00OB\0\0\xf0\xff\xff\xff" + bytes(1000))
    with open(path, "rb") as file, pytest.raises(ValueError, match="too long"):
        read_meta_from(file.fileno())


def test_reading_from_a_file_grows_as_needed_and_leaves_the_position(tmp_path):
    private = b"\x02\x00\x02\x01OB\0\0" + (300_000).to_bytes(4, "little") + bytes(300_000)
    head = HEAD + element(0x10, b"UI", b"1.2.840.10008.1.2\0") + private
    path = tmp_path / "file"
    path.write_bytes(head + DATA)
    with open(path, "rb") as file:
        assert read_meta_from(file.fileno()) == FileMeta("", "", "1.2.840.10008.1.2", len(head))
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
    assert len(head) < MAX_META
