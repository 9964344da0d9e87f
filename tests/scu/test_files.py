from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.scu.provider import CT, EXPLICIT, IMPLICIT, MR, data_set, write
from txdicom import uids
from txdicom.part10 import file_meta
from txdicom.scu import Instance, Unsendable, contexts_for, select
from txdicom.scu.files import open_instance

if TYPE_CHECKING:
    from pathlib import Path


def only(path: str) -> Instance:
    [found] = select(path).files
    assert isinstance(found, Instance), found
    return found


def reason(path: object) -> str:
    [found] = select(str(path)).files
    assert isinstance(found, Unsendable), found
    return found.reason


def test_a_file_is_what_its_data_set_says(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(file_meta(MR, "9.9", EXPLICIT) + data_set(CT, "1.2.3"))
    found = only(str(path))
    assert (found.sop_class, found.sop_instance, found.transfer_syntax) == (CT, "1.2.3", EXPLICIT)
    assert path.read_bytes()[found.data_offset :] == data_set(CT, "1.2.3")
    assert found.size == len(data_set(CT, "1.2.3"))


def test_what_the_data_set_lacks_its_meta_information_has(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(file_meta(MR, "9.9", EXPLICIT) + b"\x10\x00\x20\x00LO\x02\x00ID")
    assert (only(str(path)).sop_class, only(str(path)).sop_instance) == (MR, "9.9")


def test_a_data_set_that_cannot_be_walked_is_the_receivers_to_judge(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(file_meta(MR, "9.9", EXPLICIT) + b"\x08\x00\x05\x00SQ\0\0\xff\xff\xff\xff" + b"no item.")
    assert only(str(path)).sop_instance == "9.9"


def test_a_data_set_that_is_not_all_there_is_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "a"
    whole = file_meta(CT, "1.2.3", EXPLICIT) + data_set(CT, "1.2.3") + b"\xe0\x7f\x10\x00OW\0\0" + bytes([0, 0, 1, 0])
    path.write_bytes(whole + bytes(65_536))
    assert only(str(path)).sop_instance == "1.2.3"
    path.write_bytes(whole + bytes(3000))
    assert reason(path) == "the data set ends amid element (7FE0,0010): 3,000 of 65,536 bytes are there"


def test_a_long_head_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "a"
    long = b"\x08\x00\x05\x00UN\x00\x00" + (20_000).to_bytes(4, "little") + bytes(20_000)
    path.write_bytes(file_meta(MR, "9.9", EXPLICIT) + long + data_set(CT, "1.2.3"))
    assert only(str(path)).sop_instance == "1.2.3"


def test_long_meta_information_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "a"
    private = b"\x02\x00\x02\x01OB\x00\x00" + (20_000).to_bytes(4, "little") + bytes(20_000)
    path.write_bytes(file_meta(CT, "1.2.3", EXPLICIT) + private + data_set(CT, "1.2.3"))
    assert only(str(path)).data_offset == len(file_meta(CT, "1.2.3", EXPLICIT)) + len(private)


def test_a_deflated_data_set_is_looked_into(tmp_path: Path) -> None:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = machine.compress(data_set(CT, "1.2.3")) + machine.flush()
    path = tmp_path / "a"
    path.write_bytes(file_meta(MR, "9.9", uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN) + deflated)
    assert only(str(path)).sop_instance == "1.2.3"


@pytest.mark.parametrize("preamble", [True, False])
def test_a_data_set_without_a_transfer_syntax_is_pydicoms_to_find(tmp_path: Path, preamble: bool) -> None:
    path = tmp_path / "a"
    meta = bytes(128) + b"DICM" if preamble else b""
    path.write_bytes(meta + data_set(CT, "1.2.3"))
    found = only(str(path))
    assert (found.sop_class, found.sop_instance, found.transfer_syntax) == (CT, "1.2.3", EXPLICIT)
    assert found.data_offset == len(meta)


def test_an_implicit_data_set_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    explicit = data_set(CT, "1.2.34")
    path.write_bytes(explicit.replace(b"UI\x1a\x00", b"\x1a\0\0\0").replace(b"UI\x06\x00", b"\x06\0\0\0"))
    assert only(str(path)).transfer_syntax == IMPLICIT


def test_meta_information_without_its_preamble(tmp_path: Path) -> None:
    path = tmp_path / "a"
    meta = file_meta(CT, "1.2.3", EXPLICIT)[132:]
    path.write_bytes(meta + data_set(CT, "1.2.3"))
    assert only(str(path)).data_offset == len(meta)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not a DICOM file"),
        (b"hello", "not a DICOM file"),
        (file_meta(CT, "1.2.3", EXPLICIT), "no data set"),
        (file_meta(CT, "1.2.3", EXPLICIT)[:200], "ends inside an element"),
        (file_meta("1.2.840.10008.1.3.10", "1.2.3", EXPLICIT) + b"\x04\0", "DICOMDIR"),
        (file_meta(CT, "one", EXPLICIT) + b"\x10\x00\x20\x00LO\x02\x00ID", "is no UID"),
        (file_meta("", "1.2.3", EXPLICIT) + b"\x10\x00\x20\x00LO\x02\x00ID", "there is no SOP Class UID"),
        (bytes(128) + b"DICM" + b"\x08\x00\x05", "cannot be read|no SOP Class"),
    ],
)
def test_what_cannot_be_sent_has_a_reason(tmp_path: Path, content: bytes, expected: str) -> None:
    import re

    path = tmp_path / "a"
    path.write_bytes(content)
    assert re.search(expected, reason(path))


def test_files_that_cannot_be_read_have_a_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert reason(tmp_path / "fifo") == "not a regular file"
    assert reason(tmp_path / "none") == "No such file or directory"


def test_folders_are_walked_in_order_and_what_is_no_dicom_file_is_passed_over(tmp_path: Path) -> None:
    paths = [write(tmp_path / name) for name in ("b/2.dcm", "a.dcm", "b/1.dcm", "c/d/3.dcm")]
    (tmp_path / "b" / "DICOMDIR").write_bytes(file_meta("1.2.840.10008.1.3.10", "1.2", EXPLICIT) + b"\x04\0")
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "broken.dcm").write_bytes(file_meta(CT, "1.2.3", EXPLICIT))
    selection = select(tmp_path)
    assert [one.path for one in selection.files] == [
        paths[1], str(tmp_path / "broken.dcm"), paths[2], paths[0], paths[3],
    ]  # fmt: skip
    assert isinstance(selection.files[1], Unsendable)
    assert selection.skipped == 2


def test_the_order_given_is_kept(tmp_path: Path) -> None:
    paths = [write(tmp_path / name) for name in ("b", "a")]
    assert [one.path for one in select(paths).files] == paths


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0)
    [found] = select(tmp_path).files
    assert "folder cannot be read" in found.reason


def test_it_can_be_cancelled(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a"), write(tmp_path / "b")]
    assert select(paths, lambda: True).files == []
    assert select(tmp_path, lambda: True).files == []


def test_a_file_changed_meanwhile_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a", 1)
    before = only(path)
    write(tmp_path / "a", 22)
    fd, now = open_instance(before)
    os.close(fd)
    assert now.sop_instance == "1.2.3.22"
    (tmp_path / "a").write_text("hello")
    with pytest.raises(ValueError, match="not a DICOM file"):
        open_instance(before)


def test_contexts_for_files(tmp_path: Path) -> None:
    write(tmp_path / "a")
    assert [context.transfer_syntaxes for context in contexts_for(tmp_path)] == [(EXPLICIT,), (IMPLICIT,)]
    assert contexts_for(select(tmp_path)) == contexts_for(str(tmp_path))
