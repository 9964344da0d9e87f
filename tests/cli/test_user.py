"""txdicom user."""

from __future__ import annotations

import io
import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from twisted.internet import reactor, task

from tests.cli.running import Command
from txdicom.cli.main import main
from txdicom.scp import passwords
from txdicom.scp.passwords import PasswordFile

if TYPE_CHECKING:
    from pathlib import Path


class Server:
    """A server's folder, and the command that works on it."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.base = base
        self.folder = base / "TXDICOM"
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.folder.mkdir(0o700)
        self.set('password_file = "users"')

    def set(self, line: str) -> None:
        (self.folder / "server.toml").write_text(f"[server]\n{line}\n")

    def user(self, *words: str, stdin: bytes = b"", status: int = 0) -> tuple[str, str]:
        given = SimpleNamespace(buffer=io.BytesIO(stdin), isatty=lambda: False)
        self._monkeypatch.setattr("sys.stdin", given)
        assert main(["user", *words, "--base", str(self.base)]) == status
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return captured.out, captured.err

    def fits(self, name: str, password: str, file: str = "users") -> bool:
        users = passwords._users(passwords._read(str(self.folder / file))[1], [])
        entry = users[name.encode()]
        return entry is not None and entry.fits(password.encode())


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash that costs little."""
    monkeypatch.setattr(passwords, "COST", (2, 1, 1))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Server:
    return Server(tmp_path, monkeypatch, capsys)


def test_add_list_remove(server: Server) -> None:
    path = server.folder / "users"
    assert server.user("add", "--stdin", "alice", stdin=b"wonderland\r\nmore\n") == (f"alice is added to {path}\n", "")
    server.user("add", "--name-only", "modality 2")
    assert path.stat().st_mode & 0o777 == 0o600
    assert server.fits("alice", "wonderland")
    assert server.user("list") == ("alice\tpassword\nmodality 2\tname only\n", "")
    assert [json.loads(line) for line in server.user("list", "--json")[0].splitlines()] == [
        {"type": "user", "name": "alice", "password": True},
        {"type": "user", "name": "modality 2", "password": False},
    ]
    assert server.user("remove", "modality 2") == ("", "")
    assert server.user("list") == ("alice\tpassword\n", "")


def test_another_password(server: Server) -> None:
    server.user("add", "--stdin", "alice", stdin=b"one\n")
    assert server.user("add", "--stdin", "alice", stdin="zwei ß".encode())[0] == "alice has another password now\n"
    assert server.fits("alice", "zwei ß")
    assert server.user("add", "--name-only", "alice")[0] == "alice needs no password now\n"
    assert server.user("list") == ("alice\tname only\n", "")


def test_a_server_that_has_no_password_file_yet(server: Server) -> None:
    """The file comes first: a server whose file is missing does not start."""
    server.set("")
    out, err = server.user("add", "--stdin", "alice", stdin=b"wonderland\n")
    assert out == f"alice is added to {server.folder}/passwords\n"
    assert "does not ask for users yet" in err
    assert "`txdicom server set --ae-title TXDICOM server.password_file=passwords`" in err
    assert server.fits("alice", "wonderland", "passwords")
    assert server.user("list") == ("alice\tpassword\n", "")


def test_a_file_by_its_path(server: Server, tmp_path: Path) -> None:
    path = str(tmp_path / "other")
    assert server.user("add", "--name-only", "alice", "--file", path) == (f"alice is added to {path}\n", "")
    assert server.user("list", "--file", path)[0] == "alice\tname only\n"
    assert not (server.folder / "users").exists()


@pytest.mark.parametrize(
    ("words", "stdin", "status", "sentence"),
    [
        (("list",), b"", 1, "users: No such file or directory"),
        (("add", "a:b", "--name-only"), b"", 1, "none of them a colon"),
        (("add", "alice", "--stdin"), b"\n", 1, "a password has 1 to 1024 characters"),
        (("add", "alice", "--stdin"), b"x" * 9000, 1, "a password has 1 to 1024 characters"),
        (("add", "alice", "--stdin"), b"\xff\n", 1, "not in UTF-8"),
        (("add", "alice", "--stdin", "--name-only"), b"", 2, "exclude each other"),
        (("add", "alice"), b"wonderland\n", 2, "there is no terminal"),
        (("remove", "carol"), b"", 1, "has no user 'carol'"),
        (("list", "--ae-title", "OTHER"), b"", 1, "there is no server OTHER"),
    ],
)
def test_what_cannot_be_done(server: Server, words: tuple[str, ...], stdin: bytes, status: int, sentence: str) -> None:
    if words[0] == "remove":
        PasswordFile(server.folder / "users").add("alice", None)
    out, err = server.user(*words, stdin=stdin, status=status)
    assert out == ""
    assert sentence in err


def test_broken_lines_are_named_and_the_others_listed(server: Server) -> None:
    path = server.folder / "users"
    path.write_text("alice:name-only\nbob:letmein\n")
    path.chmod(0o600)
    assert server.user("list", status=1) == (
        "alice\tname only\n",
        f"{path}: line 2 is not as PasswordFile writes it\n",
    )
    path.chmod(0o644)
    assert "chmod 600" in server.user("list", status=1)[1]


async def test_the_password_is_asked_for_twice_and_not_shown(tmp_path: Path) -> None:
    path = str(tmp_path / "users")
    command = Command("user", "add", "alice", "--file", path, terminal=True)

    async def answered(question: bytes, answer: bytes) -> None:
        while question not in command.out:
            await task.deferLater(reactor, 0.02)
        await task.deferLater(reactor, 0.2)  # it has to have turned the echo off
        command.out = b""
        command.process.write(answer + b"\n")

    await answered(b"Password of alice", b"wonderland")
    await answered(b"The same again", b"wonderful")
    await answered(b"Password of alice", b"wonderland")
    await answered(b"The same again", b"wonderland")
    ended = await command.ended
    assert ended.status == 0
    assert f"alice is added to {path}" in ended.out
    assert "wonder" not in ended.out
    assert PasswordFile(path).users([]) == {"alice": True}


async def test_ctrl_c_at_the_question(tmp_path: Path) -> None:
    command = Command("user", "add", "alice", "--file", str(tmp_path / "users"), terminal=True)
    while b"Password of alice" not in command.out:
        await task.deferLater(reactor, 0.02)
    command.process.write(b"\x03")
    ended = await command.ended
    assert ended.status == 130
    assert "Traceback" not in ended.out
    assert os.listdir(tmp_path) == []
