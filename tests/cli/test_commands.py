from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from tests.cli.running import ROOT, command
from txdicom import __version__
from txdicom.cli.commands import COMMANDS, txdicom
from txdicom.cli.main import main
from txdicom.cli.output import printable


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    for flag in ("-h", "--help"):
        result = CliRunner().invoke(txdicom, [name, flag])
        assert result.exit_code == 0
        assert f"  txdicom {name} " in result.output
        assert "Example" in result.output


def test_the_group_lists_them() -> None:
    result = CliRunner().invoke(txdicom, ["--help"])
    assert result.exit_code == 0
    assert all(f"  {name} " in result.output for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--version"], 0), (["--help"], 0), (["nonsense"], 2), (["echo"], 2), (["store", "A@b"], 2), (["echo", "-x"], 2)],
)
def test_the_exit_status_of_the_command_line(
    arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == status
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert bool(captured.err) is bool(status)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["echo", "host:104"], "has no AE title"),
        (["echo", "PACS@host:0"], "is no port"),
        (["echo", "-aet", "much too long a title", "PACS@host"], "is no AE title"),
        (["echo", "-aec", "A\\B", "host"], "is no AE title"),
        (["echo", "-aec", "OTHER", "PACS@host"], "give one"),
        (["echo", "-pdu", "100", "PACS@host"], "--max-pdu"),
        (["echo", "-td", "-1", "PACS@host"], "--dimse-timeout"),
        (["store", "--associations", "0", "PACS@host", "a"], "--associations"),
    ],
)
def test_mistakes_are_named(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert sentence in capsys.readouterr().err


async def test_python_dash_m() -> None:
    ended = await command("--version")
    assert (ended.status, ended.err) == (0, "")
    assert __version__ in ended.out


def test_help_needs_no_reactor_and_commands_no_heavy_packages() -> None:
    program = (
        "import sys; from txdicom.cli.main import main; main(['store', '--help']);"
        "early = set(sys.modules); import txdicom.cli.running, txdicom.cli.explain, txdicom.scu;"
        "print('twisted' in early, {'pydicom', 'pydantic', 'rich', 'numpy', 'sqlalchemy'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.splitlines()[-1] == "False set()"


def test_nothing_that_a_terminal_obeys_is_printed() -> None:
    assert printable("a\x1b[31m\nb\x07ä\udcff") == "a\\x1b[31m\\nb\\x07ä\\udcff"
