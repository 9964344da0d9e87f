"""Files that are replaced as a whole, by one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from txdicom import private_files

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    status = private_files.replace(str(path), b"one")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one", 0o600)
    assert (status.st_ino, status.st_mtime_ns) == (path.stat().st_ino, path.stat().st_mtime_ns)
    path.chmod(0o644)
    private_files.replace(str(path), b"two")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o600)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for others")
def test_what_root_replaces_stays_its_users(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    os.chown(path, 65534, 65533)
    private_files.replace(str(path), b"two")
    assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o777) == (65534, 65533, 0o600)


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there" / "file")
    private_files.replace(str(link), b"one")
    assert link.is_symlink()
    assert (tmp_path / "there" / "file").read_bytes() == b"one"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_where_it_fails_the_old_one_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space"):
        private_files.replace(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


ADD_ONE = """
import sys
from txdicom import private_files
path = sys.argv[1]
for _ in range(100):
    with private_files.alone(path):
        with open(path, "rb") as file:
            number = int(file.read())
        private_files.replace(path, b"%d" % (number + 1))
"""


def test_processes_follow_one_another(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0")
    runs = [subprocess.Popen([sys.executable, "-c", ADD_ONE, str(path)]) for _ in range(3)]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    assert path.read_bytes() == b"300"


def test_without_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), private_files.alone(str(tmp_path / "none" / "file")):
        pass


@pytest.mark.parametrize(
    ("made", "mode", "sentence"),
    [
        (b"secret", 0o640, "others than its owner may use {} (mode 640): chmod 600 {}"),
        (b"", 0o600, "the first line of {} is empty: the password is to stand there"),
        (b"\nsecret", 0o600, "the first line of {} is empty: the password is to stand there"),
        (bytes(65_537), 0o600, "{} is longer than 65536 bytes: it is something else"),
        (None, 0o600, "{} cannot be read: No such file or directory"),
    ],
)
def test_a_password_that_cannot_be_read(tmp_path: Path, made: bytes | None, mode: int, sentence: str) -> None:
    path = tmp_path / "password"
    if made is not None:
        path.write_bytes(made)
        path.chmod(mode)
    with pytest.raises(private_files.Unusable) as error:
        private_files.password(str(path))
    assert str(error.value) == sentence.format(path, path)


def test_what_is_no_file_holds_nobody(tmp_path: Path) -> None:
    """A pipe that nobody writes to would; a folder's descriptor must not be left open."""
    os.mkfifo(tmp_path / "pipe")
    before = os.listdir("/proc/self/fd")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(private_files.Unusable, match="is not a file"):
            private_files.content(str(path), 100)
    with pytest.raises(private_files.Unusable, match="cannot be read: embedded null byte"):
        private_files.content("a\0b", 100)
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize(("them", "fits"), [("us", True), ("root", True), ("another", False)])
def test_whose_a_secret_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, them: str, fits: bool) -> None:
    path = tmp_path / "password"
    path.write_bytes(b"secret")
    path.chmod(0o600)
    numbers = {"us": 1000, "root": 0, "another": 1001}
    fstat = os.fstat

    def theirs(fd: int) -> os.stat_result:
        return os.stat_result([*fstat(fd)[:4], numbers[them], *fstat(fd)[5:10]])

    monkeypatch.setattr(os, "fstat", theirs)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert private_files.content(str(path), 100) == b"secret"
    if fits:
        assert private_files.password(str(path)) == b"secret"
    else:
        with pytest.raises(
            private_files.Unusable, match=r"belongs to user 1001, not to this process's \(user 1000\) or"
        ):
            private_files.password(str(path))


def test_a_password_is_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(b" it is secret \r\na remark\n")
    path.chmod(0o600)
    assert private_files.password(str(path)) == b" it is secret "
