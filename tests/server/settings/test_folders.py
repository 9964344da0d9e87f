"""The folders that settings name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from txdicom.errors import SettingsError
from txdicom.server.compose import prepare
from txdicom.server.settings import folders as settings_folders
from txdicom.server.settings.folders import folder_problems
from txdicom.server.settings.tables import parse_overrides, read_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "base"


def test_folders_that_cannot_be_used(base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda path, how: not str(path).endswith("locked"))
    with pytest.raises(SettingsError) as raised:
        prepare(
            str(base),
            None,
            [f"archive.store={tmp_path}/file/x", f"server.temporary_directory={tmp_path}/locked"],
            (),
            {},
        )
    assert raised.value.problems == (
        f"--set archive.store: {tmp_path}/file is not a folder",
        f"--set server.temporary_directory: you may not write to {tmp_path}/locked",
    )
    assert not base.exists()


def test_a_temporary_directory_on_another_file_system(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_folders, "_device", lambda path: path == "/nowhere")
    overrides = parse_overrides(["server.temporary_directory=/nowhere"], (), [])
    settings = read_settings("", overrides, ae_title="TXDICOM")
    store = str(base / "store")
    assert folder_problems(settings, str(base)) == [
        f"--set server.temporary_directory: /nowhere is not on the file system of the store {store}; leave it empty"
    ]


def test_a_server_folder_that_is_a_link_to_nothing(base: Path) -> None:
    base.mkdir()
    (base / "TXDICOM").symlink_to(base / "nothing")
    with pytest.raises(SettingsError) as raised:
        prepare(str(base), None, [], (), {})
    assert str(base / "TXDICOM") in str(raised.value)
