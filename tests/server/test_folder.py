"""A server's folder: found, made, private, held once."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
import time
from typing import TYPE_CHECKING

import pytest

from txdicom.errors import NotFound, SettingsError
from txdicom.server.folder import ServerFolder, base_folder, choose_title, find_server, servers_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = {"server.toml", "aetitles.toml", ".lock", "addins", "addins.d", "configuration", "log", "store"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[ServerFolder]:
    made = ServerFolder(str(tmp_path / "base"), "HERE")
    yield made
    made.release()


def mode(path: str | os.PathLike[str]) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def make_server(base: Path, name: str) -> None:
    (base / name).mkdir(parents=True)
    (base / name / "server.toml").touch()


def test_where_servers_live(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/of/somebody")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert base_folder("var", {"TXDICOM_HOME": "/x"}) == str(tmp_path / "var")
    assert base_folder(None, {"TXDICOM_HOME": "/x"}) == "/x"
    assert base_folder("~/servers", {}) == "/home/of/somebody/servers"
    assert base_folder(None, {"TXDICOM_HOME": ""}).endswith("/txdicom")


def test_which_server(tmp_path: Path) -> None:
    base = tmp_path / "base"
    assert servers_in(str(base)) == []
    assert choose_title(str(base), None) == "TXDICOM"
    assert choose_title(str(base), "OTHER") == "OTHER"
    (base / "no_server").mkdir(parents=True)
    assert choose_title(str(base), None) == "TXDICOM"
    make_server(base, "FIRST")
    assert choose_title(str(base), None) == "FIRST"
    assert choose_title(str(base), "OTHER") == "OTHER"
    make_server(base, "SECOND")
    with pytest.raises(SettingsError, match=r"several servers in .* \(FIRST, SECOND\): name one by --ae-title"):
        choose_title(str(base), None)
    assert choose_title(str(base), "SECOND") == "SECOND"


def test_a_title_that_would_leave_the_base() -> None:
    with pytest.raises(SettingsError, match=r"--ae-title: '\.\./x' cannot be"):
        choose_title("/base", "../x")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_folder_is_private_whatever_the_umask(folder: ServerFolder, umask: int) -> None:
    before = os.umask(umask)
    try:
        done = folder.make("# settings\n")
    finally:
        os.umask(before)
    assert done == [f"first start: the server's folder is {folder.path}, its settings are in server.toml there"]
    assert set(os.listdir(folder.path)) == NAMES
    assert mode(folder.path) == 0o700
    for name in NAMES:
        path = os.path.join(folder.path, name)
        assert mode(path) == (0o700 if os.path.isdir(path) else 0o600), name
    assert folder.text_of(folder.settings_file) == "# settings\n"
    assert folder.text_of(folder.ae_table_file).startswith("# The application entities")


def test_what_is_there_stays(folder: ServerFolder) -> None:
    os.makedirs(folder.path, 0o700)
    for path, text in ((folder.ae_table_file, "[A]\n"), (folder.settings_file, "[server]\n")):
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)
    assert folder.make("# other") == []
    assert folder.text_of(folder.ae_table_file) == "[A]\n"
    assert folder.text_of(folder.settings_file) == "[server]\n"
    assert set(os.listdir(folder.path)) == NAMES


def test_what_is_open_to_others_is_closed_and_told(folder: ServerFolder) -> None:
    folder.make("")
    folder.release()
    os.chmod(folder.path, 0o755)
    os.chmod(folder.ae_table_file, 0o664)
    os.chmod(os.path.join(folder.path, "addins"), 0o777)
    done = folder.make("")
    assert done == [
        f"{folder.path} was open to other users (mode 755): its mode is 700 now",
        f"{folder.path}/addins was open to other users (mode 777): its mode is 700 now",
        f"{folder.ae_table_file} was open to other users (mode 664): its mode is 600 now",
    ]
    folder.release()
    assert folder.make("") == []


def test_two_servers_never_share_a_folder(folder: ServerFolder) -> None:
    folder.make("")
    other = ServerFolder(os.path.dirname(folder.path), "HERE")
    with pytest.raises(SettingsError, match=rf"in use by the server with process id {os.getpid()}: stop it, or"):
        other.make("")
    folder.release()
    other.make("")
    other.release()


def test_a_long_process_id_leaves_nothing_of_itself_in_the_lock(folder: ServerFolder) -> None:
    folder.make("")
    with open(os.path.join(folder.path, ".lock"), "w") as lock:
        lock.write("123456789012345\n")
    folder.note_process()
    assert folder.text_of(os.path.join(folder.path, ".lock")) == f"{os.getpid()}\n"


def test_a_folder_of_another_user(folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.check_owner()
    folder.make("")
    folder.check_owner()
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(SettingsError, match=rf"belongs to user {uid}, not to you \(user {uid + 1}\): start the server"):
        folder.check_owner()


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "HERE").touch()
    with pytest.raises(SettingsError, match="HERE is not a folder"):
        ServerFolder(str(tmp_path), "HERE").check_owner()
    with pytest.raises(SettingsError, match="cannot be used: Not a directory"):
        ServerFolder(str(tmp_path / "HERE"), "HERE").check_owner()
    with pytest.raises(SettingsError, match="cannot be made"):
        ServerFolder(str(tmp_path), "HERE").make("")
    with pytest.raises(SettingsError, match="cannot be read: Not a directory"):
        servers_in(str(tmp_path / "HERE"))


def test_a_file_that_cannot_be_read(folder: ServerFolder) -> None:
    assert folder.text_of(folder.settings_file) == ""
    folder.make("")
    with open(folder.settings_file, "wb") as file:
        file.write(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"server\.toml cannot be read: it is not UTF-8"):
        folder.text_of(folder.settings_file)
    with pytest.raises(SettingsError, match="log cannot be read: Is a directory"):
        folder.text_of(os.path.join(folder.path, "log"))


# -- who has it --------------------------------------------------------------------------------------------------------


def test_servers_that_there_are(tmp_path: Path) -> None:
    make_server(tmp_path, "FIRST")
    make_server(tmp_path, ".FIRST.removed")
    assert find_server(str(tmp_path), None) == "FIRST"
    with pytest.raises(NotFound, match=r"there is no server OTHER in .*: there is FIRST; "):
        find_server(str(tmp_path), "OTHER")


def test_who_has_the_folder(folder: ServerFolder) -> None:
    looking = ServerFolder(os.path.dirname(folder.path), "HERE")
    assert looking.holder() is None
    folder.make("")
    assert looking.holder() == os.getpid()
    assert looking.held_by(os.getpid())
    assert not looking.held_by(1 << 30)
    with open(folder.lock_file, "w", encoding="ascii") as lock:
        lock.write("nonsense")
    assert looking.holder() == 0
    folder.release()
    assert looking.holder() is None
    assert not looking.held_by(os.getpid())


def test_without_locks_it_is_who_has_the_file_open(folder: ServerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(lock: int, kind: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    folder.make("")
    assert folder.holder() == os.getpid()
    folder.release()
    assert folder.holder() is None


def test_a_look_does_not_keep_a_server_from_starting(folder: ServerFolder) -> None:
    folder.make("")
    folder.release()
    looking = os.open(folder.lock_file, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    ending = threading.Thread(target=lambda: (time.sleep(0.01), os.close(looking)))
    ending.start()
    folder.hold()
    ending.join()
    assert folder.holder() == os.getpid()
