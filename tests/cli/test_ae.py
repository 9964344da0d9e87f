"""txdicom ae."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.running import Command
from txdicom.cli.main import main
from txdicom.server.ae.table import EXAMPLE

if TYPE_CHECKING:
    from pathlib import Path


class Server:
    """A server's folder, and the command that works on it."""

    def __init__(self, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.base = base
        self.capsys = capsys
        self.make("TXDICOM")

    def make(self, title: str) -> None:
        (self.base / title).mkdir()
        (self.base / title / "server.toml").touch()

    @property
    def text(self) -> str:
        return (self.base / "TXDICOM" / "aetitles.toml").read_text()

    def ae(self, *words: str, status: int = 0) -> tuple[str, str]:
        assert main(["ae", *words, "--base", str(self.base)]) == status
        captured = self.capsys.readouterr()
        assert "Traceback" not in captured.err
        return captured.out, captured.err

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.ae("list", "--json")[0].splitlines()]


@pytest.fixture
def server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Server:
    return Server(tmp_path, capsys)


def test_add_update_list_remove(server: Server) -> None:
    assert server.ae("list") == ("", "")
    assert server.ae("add", "A", "[::1]:11112", "--verify", "address", "--name", "Zürich") == ("", "")
    server.ae("add", "B C", "--verify", "mask", "--mask", "192.0.2.0/24", "--verify-tls-host-name", "no")
    assert server.text == (
        EXAMPLE + '\n[A]\nhost = "::1"\nport = 11112\nfriendly_name = "Zürich"\nverify = "address"\n'
        '\n["B C"]\nverify = "mask"\nmask = "192.0.2.0/24"\nverify_tls_host_name = false\n'
    )
    assert server.entries()[1] == {
        "type": "ae",
        "ae_title": "B C",
        "host": "",
        "port": 104,
        "secure_port": 2762,
        "port_usage": "server",
        "friendly_name": "",
        "verify": "mask",
        "mask": "192.0.2.0/24",
        "verify_tls_host_name": False,
        "character_set": "",
    }
    assert server.ae("list")[0].splitlines() == [
        "A\t::1\t11112\t2762\tserver\taddress\tZürich",
        "B C\t\t\t\tserver\tmask 192.0.2.0/24\t",
    ]
    server.ae("update", "A", "host2", "--port-usage", "secure", "--rename", "AA")
    server.ae("update", "B C", "--verify-tls-host-name", "server", "--secure-port", "5")
    first, second = server.entries()
    assert (first["ae_title"], first["host"], first["port"], first["verify"]) == ("AA", "host2", 11112, "address")
    assert (second["verify_tls_host_name"], second["secure_port"]) == (None, 5)
    server.ae("remove", "AA", "B C")
    assert server.text == EXAMPLE


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (["add", "A"], ["Error: 'A' is in the AE table already"]),
        (["update", "B", "host"], ["Error: 'B' is not in the AE table"]),
        (["remove", "A", "B"], ["Error: 'B' is not in the AE table"]),
        (
            ["add", "A\\B", "10.0.0.300", "--secure-port", "0"],
            ["Error: secure_port:", "Error: ae_title:", "Error: host:"],
        ),
        (["update", "A", "--verify", "mask"], ["Error: verify: mask needs the mask"]),
        (["list", "--ae-title", "OTHER"], ["Error: there is no server OTHER in "]),
        (["list", "--ae-title", "../x"], ["Error: --ae-title: '../x' cannot be"]),
    ],
)
def test_mistakes_are_sentences_and_change_nothing(server: Server, words: list[str], sentences: list[str]) -> None:
    server.ae("add", "A", "host")
    before = server.text
    out, err = server.ae(*words, status=1)
    assert out == ""
    assert sorted(sentences) == [
        next(sentence for sentence in sentences if line.startswith(sentence)) for line in sorted(err.splitlines())
    ]
    assert server.text == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["update", "A"], "nothing to change is given"),
        (["add", "A", "host:0"], "is no port"),
        (["add", "A", "::1"], "in brackets"),
        (["add", "A", "host", "--verify", "always"], "--verify"),
        (["remove"], "TITLE"),
        (["add", "A", "X@host"], "give one"),
    ],
)
def test_the_command_line_itself(server: Server, words: list[str], sentence: str) -> None:
    assert sentence in server.ae(*words, status=2)[1]


def test_several_servers(server: Server) -> None:
    server.make("OTHER")
    assert "there are several servers" in server.ae("add", "A", status=1)[1]
    server.ae("add", "A", "--ae-title", "OTHER")
    assert "[A]" in (server.base / "OTHER" / "aetitles.toml").read_text()


def test_a_broken_table_is_not_touched(server: Server) -> None:
    path = server.base / "TXDICOM" / "aetitles.toml"
    path.write_text("[A]\nport = 0\n")
    for words in (["add", "B"], ["list"]):
        assert server.ae(*words, status=1)[1] == (
            "Error: aetitles.toml:2: A.port: has to be a number from 1 to 65535, not 0\n"
        )
    assert path.read_text() == "[A]\nport = 0\n"


async def test_a_table_on_a_terminal(server: Server) -> None:
    server.ae("add", "WORKSTATION", "192.0.2.7", "--name", "[bold]x")
    ended = await Command("ae", "list", "--base", str(server.base), terminal=True).ended
    assert ended.status == 0
    assert "AE title" in ended.out
    assert "[bold]x" in ended.out
