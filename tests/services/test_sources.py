"""txdicom.services.sources and txdicom.interfaces.answers: whatever an instance is opened as, its bytes come out."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from array import array
from pathlib import Path
from typing import Any

import pytest

from tests.net.wire import data_set
from txdicom.interfaces import InstanceRef
from txdicom.net.sending import FileSource, MemorySource
from txdicom.part10 import file_meta
from txdicom.services.sources import StreamSource, source_of
from txdicom.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN

CT = "1.2.840.10008.5.1.4.1.1.2"
DATA = bytes(range(251)) * 3  # of odd length


def content(source: Any, hole: int = 100) -> bytes:
    """All that it gives, in holes as the sender has them, which never ask for more than its size."""
    out, left = b"", source.size
    while left:
        wanted = min(left, 2 * hole)
        buffer = bytearray(wanted)
        view = memoryview(buffer)
        holes = [view[:hole], view[hole:]] if wanted > hole else [view]
        count = source.read_into(holes)
        assert count
        out += buffer[:count]
        left -= count
    source.close()
    return out


def opened(folder: Path, how: str) -> Any:
    path = folder / "file"
    path.write_bytes(b"head" + DATA)
    if how == "gzip":
        path.write_bytes(gzip.compress(b"head" + DATA))
        file: Any = gzip.open(path)  # noqa: SIM115
    elif how == "raw":
        file = path.open("rb", buffering=0)
    elif how == "update":
        file = path.open("r+b")
    elif how == "memory":
        file = io.BytesIO(b"head" + DATA)
    elif how == "spooled":
        file = tempfile.SpooledTemporaryFile()  # noqa: SIM115
        file.write(b"head" + DATA)
    else:
        file = path.open("rb")
    file.seek(0)
    assert file.read(4) == b"head"
    return file


@pytest.mark.parametrize("how", ["file", "raw", "update", "gzip", "memory", "spooled"])
@pytest.mark.parametrize("deflated", [False, True])
def test_files_of_every_kind(tmp_path: Path, how: str, deflated: bool) -> None:
    """PS3.5 A.5: a deflated data set is padded to an even length."""
    before = len(os.listdir("/proc/self/fd"))
    source = source_of(
        opened(tmp_path, how), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN if deflated else EXPLICIT_VR_LITTLE_ENDIAN
    )
    assert isinstance(source, FileSource) is (how in {"file", "raw", "update"})
    assert source.size == len(DATA) + deflated
    assert content(source) == DATA + b"\0" * deflated
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: array("B", data)])
def test_bytes_of_every_kind(kind: Any) -> None:
    assert content(source_of(kind(DATA), EXPLICIT_VR_LITTLE_ENDIAN)) == DATA
    assert content(source_of(kind(DATA), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)) == DATA + b"\0"
    assert content(source_of(kind(DATA[1:]), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)) == DATA[1:]
    words = array("H", DATA[1:])
    assert content(source_of(words, EXPLICIT_VR_LITTLE_ENDIAN)) == DATA[1:]


def test_a_source_stays_what_it_is() -> None:
    source = MemorySource(DATA)
    assert source_of(source, EXPLICIT_VR_LITTLE_ENDIAN) is source


def test_a_stream_that_gives_little_at_a_time() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 7))

    assert content(StreamSource(Slow(DATA), pad=True)) == DATA + b"\0"


@pytest.mark.parametrize("rubbish", [None, 3, "text", object()])
def test_what_is_no_source(rubbish: Any) -> None:
    with pytest.raises(TypeError, match="an InstanceRef opens a binary file, bytes or a DataSource, not "):
        source_of(rubbish, EXPLICIT_VR_LITTLE_ENDIAN)


def test_a_stream_that_cannot_seek() -> None:
    read, write = os.pipe()
    os.close(write)
    with open(read, "rb") as file, pytest.raises(OSError, match="seek"):
        source_of(file, EXPLICIT_VR_LITTLE_ENDIAN)


class Wrong:
    """No source, but it wants closing."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.closed = 0

    def close(self) -> None:
        self.closed += 1
        if self.error is not None:
            raise self.error


def test_a_source_of_an_add_ins_own_that_cannot_be_closed() -> None:
    class Own(Wrong):
        size = len(DATA)
        read_into = MemorySource(DATA).read_into

    own = Own(SystemExit(1))
    assert content(source_of(own, EXPLICIT_VR_LITTLE_ENDIAN)) == DATA
    assert own.closed == 1


@pytest.mark.parametrize("error", [None, ValueError("of its own"), SystemExit(1)])
def test_what_is_no_source_is_closed(error: BaseException | None) -> None:
    wrong = Wrong(error)
    with pytest.raises(TypeError, match="not Wrong"):
        source_of(wrong, EXPLICIT_VR_LITTLE_ENDIAN)
    assert wrong.closed == 1


def test_an_instance_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(file_meta(CT, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN) + DATA)
    instance = InstanceRef.of_file(path)
    assert (instance.sop_class, instance.sop_instance, instance.transfer_syntax) == (
        CT, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN,
    )  # fmt: skip
    assert content(source_of(instance.open(), instance.transfer_syntax)) == DATA
    path.write_bytes(file_meta(CT, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN) + data_set("1.2.4"))
    assert InstanceRef.of_file(path).sop_instance == "1.2.4"  # what is sent
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="not a DICOM file"):
        InstanceRef.of_file(path)
    with pytest.raises(FileNotFoundError):
        InstanceRef.of_file(tmp_path / "b.dcm")


@pytest.mark.parametrize("uids", [("", "1.2", "1.2"), ("1.2", "../x", "1.2"), ("1.2", "1.2", "Explicit")])
def test_an_instance_with_what_is_no_uid(uids: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match="is no UID"):
        InstanceRef(*uids, open=lambda: b"")
