"""`txdicom log`, on the folder of a server that does not run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from tests.cli.running import Command
from txdicom.cli.main import main
from txdicom.server.logs.audit import format_audit
from txdicom.server.logs.files import LogFile
from txdicom.server.logs.json_lines import format_json
from txdicom.server.logs.lines import format_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Server:
    """The folder of a server, and logs in it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.folder = base / "HERE" / "log"
        self.folder.mkdir(parents=True)
        (base / "HERE" / "server.toml").touch()
        self._open: list[LogFile] = []

    def log(self, name: str = "server.log", **rotation: int) -> LogFile:
        describe: Any = {"server.log": format_line, "server.jsonl": format_json, "audit.jsonl": format_audit}[name]
        self._open.append(LogFile(str(self.folder / name), describe, **rotation))
        return self._open[-1]

    def close(self) -> None:
        for log in self._open:
            log.close()


def event(text: str, level: Any = LogLevel.info, *, age: float = 0, **fields: Any) -> dict[str, Any]:
    return {"log_time": time.time() - age, "log_level": level, "log_format": text, **fields}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.close()


@pytest.fixture
def run(server: Server, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Runs `txdicom log`; the exit status and the lines without their times."""

    def call(*words: str) -> tuple[int, list[str]]:
        command, *options = words
        status = main(["log", command, "--base", str(server.base), *options])
        captured = capsys.readouterr()
        assert captured.err == ""
        return status, [line if line.startswith("{") else line[20:] for line in captured.out.splitlines()]

    return call


@pytest.mark.parametrize("name", ["server.log", "server.jsonl"])
def test_show(name: str, server: Server, run: Callable[..., tuple[int, list[str]]]) -> None:
    log = server.log(name, rotate_size=1000, rotate_count=20)
    for number in range(60):
        log.event(event(f"event {number}", LogLevel.warn if number % 10 == 0 else LogLevel.info))
    assert run("show") == (0, [f"{'warning' if n % 10 == 0 else 'info':7} event {n}" for n in range(10, 60)])
    assert run("show", "-n", "2", "--level", "warning") == (0, ["warning event 40", "warning event 50"])
    status, [line] = run("show", "-n", "1", "--json")
    assert status == 0
    assert json.loads(line)["text"] == "event 59"
    assert json.loads(line)["time"].endswith("Z")


def test_nothing_that_a_terminal_obeys_is_shown(server: Server, run: Callable[..., tuple[int, list[str]]]) -> None:
    server.log("server.jsonl").event(event("{it}", it="\x1b[2J\u202e"))
    assert run("show")[1] == ["info    \\x1b[2J\\u202e"]


@pytest.mark.parametrize("name", ["server.log", "server.jsonl"])
def test_query(name: str, server: Server, run: Callable[..., tuple[int, list[str]]]) -> None:
    log = server.log(name)
    log.event(
        event("association 12: MODALITY at h:1 to HERE, accepted", age=7200, association=12, calling_ae="MODALITY")
    )
    log.event(event("association 12 with MODALITY at h:1 ended", association=12, calling_ae="MODALITY"))
    log.event(event("association 13 with OTHER at h:1 ended", association=13, calling_ae="OTHER"))
    first, second, third = run("query")[1]
    assert run("query", "--since", "1h") == (0, [second, third])
    assert run("query", "--since", "1w", "-n", "1") == (0, [third])
    assert run("query", "--association", "12") == (0, [first, second])
    assert run("query", "--calling-ae", "OTHER") == (0, [third])
    assert run("query", "--text", "^association 1. with") == (0, [second, third])
    assert run("query", "--association", "12", "--text", "ended") == (0, [second])
    assert run("query", "--level", "error") == (1, [])


def test_the_audit_log(server: Server, run: Callable[..., tuple[int, list[str]]]) -> None:
    server.log().event(event("not this"))
    server.log("audit.jsonl").event(event("opened", audit="association-opened", calling_ae="A"))
    assert run("show", "--audit") == (0, ["info    association-opened: opened"])
    assert run("query", "--audit", "--calling-ae", "B") == (1, [])


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["show"], 1, "there is no log in {base}/HERE/log: a server in the foreground logs to its standard output"),
        (["show", "--audit"], 1, "there is no audit log in {base}/HERE/log"),
        (["follow", "--ae-title", "NOBODY"], 1, "there is no server {base}/NOBODY"),
        (["show", "--ae-title", "../x"], 1, "cannot be a server's AE title"),
        (["query", "--since", "yesterday"], 2, "'yesterday' is no time: give an age"),
        (["query", "--since", "999999w"], 2, "is no time"),
        (["query", "--text", "("], 2, "'(' is no regular expression"),
        (["query", "--association", "0"], 2, "--association"),
        (["show", "-n", "0"], 2, "-n"),
    ],
)
def test_mistakes_are_named(
    words: list[str], status: int, sentence: str, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *options = words
    assert main(["log", command, "--base", str(server.base), *options]) == status
    said = " ".join(capsys.readouterr().err.split())
    assert sentence.format(base=server.base) in said


def test_which_of_several_servers(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    (server.base / "OTHER").mkdir()
    (server.base / "OTHER" / "server.toml").touch()
    server.log().event(event("here"))
    assert main(["log", "show", "--base", str(server.base)]) == 1
    assert "(HERE, OTHER): name one by --ae-title" in capsys.readouterr().err
    assert main(["log", "show", "--base", str(server.base), "--ae-title", "HERE"]) == 0
    assert capsys.readouterr().out.endswith("info    here\n")


async def test_follow_across_a_rotation_until_ctrl_c(server: Server) -> None:
    log = server.log(rotate_size=200, rotate_count=30)
    for number in range(15):
        log.event(event(f"event {number}"))
    before = {path.name for path in server.folder.iterdir()}
    command = Command("log", "follow", "--base", str(server.base))
    while b"event 14" not in command.out:
        await deferLater(reactor, 0.02)
    for number in range(15, 40):
        log.event(event(f"event {number}"))
        await deferLater(reactor, 0.02)
    while b"event 39" not in command.out:
        await deferLater(reactor, 0.02)
    command.signal("INT")
    ended = await command.ended
    assert [line.rpartition("info    ")[2] for line in ended.out.splitlines()] == [f"event {n}" for n in range(5, 40)]
    assert ended.status == 130
    assert "Traceback" not in ended.err
    assert before <= {path.name for path in server.folder.iterdir()}
    assert {path.name for path in server.folder.iterdir()} - before <= {f"server.log.{n}" for n in range(1, 31)}
