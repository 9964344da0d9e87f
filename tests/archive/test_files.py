"""Giving a file its name where nothing has that yet."""

from __future__ import annotations

import errno
import os

import pytest

from tests.archive.builders import arrival
from txdicom.archive import files as files_module
from txdicom.archive.files import FileOperations
from txdicom.archive.store import Store
from txdicom.errors import SettingsError


@pytest.fixture(params=["rename", "no such call", "not on this file system"])
def files(request, monkeypatch):
    """Operations where renaming so goes, and where it does not."""
    if request.param == "no such call":
        monkeypatch.setattr(files_module, "_renameat2", lambda: None)
    elif request.param == "not on this file system":
        monkeypatch.setattr(files_module, "rename_if_free", lambda source, target: errno.EINVAL)
    return FileOperations()


@pytest.fixture
def part(tmp_path):
    path = tmp_path / "part"
    path.write_bytes(b"new")
    return str(path)


def test_a_free_name(files, part, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "part").write_bytes(b"new")
        files.place(part, str(tmp_path / name))
        assert not os.path.lexists(part)
        assert (tmp_path / name).read_bytes() == b"new"
        assert os.stat(tmp_path / name).st_nlink == 1


def test_a_name_that_is_taken(files, part, tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("file", "folder", "dangling"):
        with pytest.raises(FileExistsError):
            files.place(part, str(tmp_path / name))
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.path.lexists(part)
    assert not os.path.lexists(tmp_path / "nowhere")


def test_a_folder_that_is_missing(files, part, tmp_path):
    with pytest.raises(FileNotFoundError):
        files.place(part, str(tmp_path / "missing" / "a"))


def test_a_store_by_links(files, tmp_path):
    store = Store(str(tmp_path / "store"), files=files)
    store.open()
    store.commit([one := arrival("1.2.3"), again := arrival("1.2.3"), other := arrival("1.2.3", pixels=bytes(2))])
    store.close()
    assert [item.status.code for item in (one, again, other)] == [0, 0, 0]
    assert other.path.endswith("~2.dcm")
    assert os.listdir(store.staging_folder) == []


def test_a_file_system_that_is_none_for_a_store(tmp_path, monkeypatch):
    def unsupported(*_args, **_more):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(files_module, "rename_if_free", lambda source, target: errno.EINVAL)
    monkeypatch.setattr(os, "link", unsupported)
    store = Store(str(tmp_path / "store"))
    with pytest.raises(SettingsError, match="neither rename without overwriting nor link"):
        store.open()
    assert os.listdir(store.staging_folder) == []


def test_a_full_disk_does_not_keep_a_store_from_opening(tmp_path, monkeypatch):
    class Full(FileOperations):
        def create(self, path):
            raise OSError(errno.ENOSPC, "No space left on device")

    store = Store(str(tmp_path / "store"), files=Full())
    store.open()
    store.commit([one := arrival("1.2.3")])
    store.close()
    assert one.status.code == 0xA700
