"""A deployed server with a password file: who is let in, and by the command that keeps the file."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.interop.processes import TXDICOM, Server, environment, run
from tests.scu.provider import write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALICE = ("--user", "alice", "--password", "wonderland")


def add(path: Path, name: str, password: str) -> None:
    """`txdicom user add`, which is given the password as scripts do it."""
    words = [*TXDICOM, "user", "add", "--stdin", name, "--file", str(path)]
    subprocess.run(words, env=environment(), input=f"{password}\n", text=True, check=True, timeout=60)


@pytest.mark.parametrize("required", [True, False])
def test_who_is_let_in(tmp_path: Path, dcmtk: Callable[[str], str], required: bool) -> None:
    users, image = tmp_path / "users", write(tmp_path / "a.dcm")
    add(users, "alice", "wonderland")
    settings = {"server.password_file": str(users)}
    if not required:
        settings["server.password_required"] = "false"
    server = Server(tmp_path / "base", settings)
    try:

        def let_in(*identity: str) -> bool:
            words = [dcmtk("storescu"), "-v", *identity, "-aec", "TXDICOM", "127.0.0.1", str(server.port), image]
            ended = run(words)
            assert (ended.returncode == 0) is ("Rejected Permanent" not in ended.stdout), ended.stdout
            return ended.returncode == 0

        assert let_in(*ALICE)
        assert let_in(*ALICE, "--pos-response")
        assert not let_in(*ALICE[:3], "hunter2")
        assert not let_in("-usr", "alice", "-epw")
        assert not let_in("--user", "bob", "--password", "builder")
        assert let_in() is not required
        echoed = run([*TXDICOM, "echo", f"TXDICOM@127.0.0.1:{server.port}"])
        assert (echoed.returncode == 0) is not required
        add(users, "bob", "builder")  # at once, without a restart
        assert let_in("--user", "bob", "--password", "builder")
        run([*TXDICOM, "user", "remove", "alice", "--file", users])
        assert not let_in(*ALICE)
    finally:
        server.stop()
    output = server.output()
    assert ("the user identity of TXDICOM is refused: there is none" in output) is required
    assert "hunter2" not in output
    assert "wonderland" not in output


def test_who_is_let_in_by_our_own_commands(tmp_path: Path) -> None:
    users, image = tmp_path / "users", write(tmp_path / "a.dcm")
    add(users, "alice", "wonderland")
    run([*TXDICOM, "user", "add", "--name-only", "modality", "--file", users])
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for path, password in ((right, "wonderland"), (wrong, "hunter2")):
        path.write_text(f"{password}\n")
        path.chmod(0o600)
    with Server(tmp_path / "base", {"server.password_file": str(users)}) as server:
        peer = f"TXDICOM@127.0.0.1:{server.port}"

        def ended(verb: str, *identity: str | Path) -> tuple[int, str]:
            words = [peer, image] if verb == "store" else [peer]
            done = run([*TXDICOM, verb, *identity, *words])
            assert "hunter2" not in done.stdout
            return done.returncode, done.stdout

        alice = ("--user", "alice", "--password-file")
        for verb in ("echo", "store"):
            assert ended(verb, *alice, right)[0] == 0
            assert ended(verb, "--user", "modality")[0] == 0
            status, text = ended(verb, *alice, wrong)
            assert (status, "may not know the user 'alice' by this password" in text) == (1, True), text
            status, text = ended(verb)
            assert (status, "give them with --user and --password-file" in text) == (1, True), text
        assert ended("echo", "--user", "alice")[0] == 1
        audit = [json.loads(line) for line in (server.folder / "log" / "audit.jsonl").read_text().splitlines()]
        opened = [line for line in audit if line["audit"] == "association-opened"]
        assert [line["user"] for line in opened] == ["alice", "modality"] * 2
        shown = run([*TXDICOM, "log", "query", "--audit", "--base", tmp_path / "base", "--text", "user modality"])
        assert len(shown.stdout.splitlines()) == 2, shown.stdout
    output = server.output()
    assert "hunter2" not in output
    assert "wonderland" not in output


def test_a_file_that_is_not_there_keeps_the_server_from_starting(tmp_path: Path) -> None:
    """Without it whoever calls would be let in."""
    server = Server(tmp_path / "base", {"server.password_file": "users"})
    assert server.ended() == 1
    output = server.output()
    assert f"{tmp_path}/base/TXDICOM/users cannot be read: No such file or directory" in output
    assert "txdicom user add" in output
    assert "Traceback" not in output
