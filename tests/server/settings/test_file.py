"""Settings written to their files: of a server that runs, and of one that does not, in one way."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.server.finding.test_addins import ONE
from txdicom import private_files
from txdicom.errors import BadArgument, DicomError, SettingsError
from txdicom.server.folder import ServerFolder
from txdicom.server.managing.checking import checked
from txdicom.server.managing.creating import create
from txdicom.server.settings import offline
from txdicom.server.settings.file import write_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Set = Callable[[dict[str, dict[str, Any]]], Any]


@pytest.fixture
def folder(tmp_path: Path) -> ServerFolder:
    made = ServerFolder(str(tmp_path), "HERE")
    create(str(tmp_path), "HERE")
    with open(os.path.join(made.path, "addins", "it.py"), "w", encoding="utf-8") as file:
        file.write(ONE)
    return made


@pytest.fixture(params=["stopped", "running"])
def set_(request: pytest.FixtureRequest, folder: ServerFolder) -> Set:
    if request.param == "stopped":
        return lambda values: offline.change_settings(folder, values)
    return lambda values: write_settings(folder, values, lambda text: checked(folder, "HERE", text, loaded=[]))


def read(folder: ServerFolder, path: str = "") -> bytes:
    with open(path or folder.settings_file, "rb") as file:
        return file.read()


def write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def test_what_keeps_a_server_from_starting(set_: Set, folder: ServerFolder) -> None:
    before = read(folder)
    values: dict[str, dict[str, Any]] = {
        "server": {"admin_socket": "s" * 108},
        "addins": {"enabled": ["nope", "it"], "required": ["none"]},
    }
    with pytest.raises(BadArgument) as raised:
        set_(values)
    first, second, third = raised.value.problems
    assert "is too long for the administrative socket" in first
    assert ": addins.enabled: there is no add-in 'nope'; there are storage, verification, it" in second.replace(
        "verification, storage", "storage, verification"
    )
    assert ": addins.required: 'none' is not among the add-ins that take part: " in third
    assert read(folder) == before
    set_({"addins": {"enabled": ["verification", "it"], "required": ["it"]}})


def test_no_value_is_no_setting(set_: Set, folder: ServerFolder) -> None:
    before = read(folder)
    with pytest.raises(BadArgument, match=r"log\.level"):
        set_({"log": {"level": None}})
    assert read(folder) == before


def test_line_ends_stay(set_: Set, folder: ServerFolder) -> None:
    before = read(folder).replace(b"\n", b"\r\n")
    write(folder.settings_file, before)
    set_({"server": {"max_clients": 50}})
    assert read(folder) == before.replace(b"#max_clients = 1000\r\n", b"max_clients = 50\r\n")


def test_a_mistake_of_before_can_be_mended(set_: Set, folder: ServerFolder) -> None:
    write(folder.settings_file, b"[server]\nmax_clients = 1.5\n")
    with pytest.raises(SettingsError, match=r"server\.toml:2: server\.max_clients"):
        set_({"server": {"max_half_open": 5}})
    set_({"server": {"max_clients": 5}})
    assert read(folder) == b"[server]\nmax_clients = 5\n"
    write(folder.settings_file, b"[server\n")
    with pytest.raises(SettingsError, match=r"server\.toml: .*correct that first"):
        set_({"server": {"max_clients": 5}})


# -- of add-ins --------------------------------------------------------------------------------------------------------


def test_both_files_or_none(folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.path.join(folder.path, "addins.d", "one.toml")
    write(own, b"limit = 3\r\n")
    with open(folder.settings_file, "ab") as file:
        file.write(b"[addins.one]\ntext = 'a'\n")
    before = read(folder)
    replace = private_files.replace

    def full(path: str, data: bytes) -> Any:
        if path == own:
            raise OSError(28, "No space left on device")
        return replace(path, data)

    monkeypatch.setattr(private_files, "replace", full)
    with pytest.raises(DicomError, match=r"one\.toml cannot be written: No space left on device"):
        offline.change_addin_options(folder, "one", {"limit": 4, "text": "b"})
    assert read(folder) == before
    monkeypatch.undo()
    offline.change_addin_options(folder, "one", {"limit": 4, "text": "b"})
    assert read(folder) == before.replace(b"'a'", b'"b"')
    assert read(folder, own) == b"limit = 4\r\n"


def test_settings_of_an_addin_can_be_mended(folder: ServerFolder) -> None:
    own = os.path.join(folder.path, "addins.d", "one.toml")
    write(own, b"limit = -3\n")
    with pytest.raises(BadArgument, match=r"^addins\.d/one\.toml:1: limit: input should be greater"):
        offline.change_addin_options(folder, "one", {"text": "b"})
    offline.change_addin_options(folder, "one", {"limit": 3, "text": None})
    assert read(folder, own) == b"limit = 3\n"
