"""`txdicom addin`: what there is, and a new one that works."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from tests.cli.running import ROOT, command
from tests.server.managing.servers import Servers
from txdicom.cli.commands import txdicom
from txdicom.interfaces.control import AddinOptions, Applied
from txdicom.server.finding.discovery import PACKAGES
from txdicom.server.folder import ServerFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a server that does not run."""
    server = ServerFolder(str(tmp_path / "base"), "HERE")
    server.make("")
    server.release()
    yield Path(server.path)
    for name in [one for one in sys.modules if one.partition(".")[0] in PACKAGES.values()]:
        del sys.modules[name]


def call(folder: Path, *arguments: object) -> Result:
    environment = {"TXDICOM_HOME": str(folder.parent)}
    return CliRunner().invoke(txdicom, ["addin", *map(str, arguments)], env=environment, standalone_mode=False)


# -- new ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["my-filter", "x", "A_b-2c"])
def test_a_new_one_passes_its_test_as_written(folder: Path, name: str) -> None:
    result = call(folder, "new", name)
    assert result.return_value == 0, result.output
    module = name.replace("-", "_")
    files = [folder / "addins" / f"{module}.py", folder / "addins" / f"test_{module}.py"]
    assert sorted((folder / "addins").iterdir()) == sorted(files)
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600, 0o600]
    assert result.output.splitlines() == [
        *(f"written: {path}" for path in files),
        f"test it: python -m pytest {files[1]}",
        "run it: restart the server HERE; `txdicom addin list` shows whether it will find it",
    ]
    program = [sys.executable, "-bb", "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(files[1])]
    run = subprocess.run(program, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 passed" in run.stdout
    # and the server finds it, its test not being in the way
    rows = [json.loads(line) for line in call(folder, "list", "--json").output.splitlines()]
    assert [(row["name"], row["state"]) for row in rows if row["origin"].startswith("addins/")] == [(name, "enabled")]


def test_nothing_is_overwritten(folder: Path) -> None:
    kept = folder / "addins" / "test_mine.py"
    kept.write_text("# kept\n")
    result = call(folder, "new", "mine")
    assert result.return_value == 1
    assert f"Error: {kept} is there already: take another name, or move it away" in result.output
    assert [path.name for path in (folder / "addins").iterdir()] == ["test_mine.py"]
    assert kept.read_text() == "# kept\n"


def test_into_another_folder(folder: Path, tmp_path: Path) -> None:
    result = call(folder, "new", "mine", "--directory", tmp_path / "src")
    assert result.return_value == 0
    assert (tmp_path / "src" / "mine.py").is_file()
    assert "run it: copy" in result.output
    (tmp_path / "file").touch()
    result = call(folder, "new", "mine", "--directory", tmp_path / "file")
    assert result.return_value == 1
    assert result.output.startswith("Error: ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a b"], "cannot name an add-in"),
        (["../x"], "cannot name an add-in"),
        (["test-x"], "cannot name an add-in"),
        (["class"], "cannot name an add-in"),
        (["json"], "there is a module json already"),
        (["txdicom"], "there is a module txdicom already"),
        (["mine", "--directory", "x", "--base", "y"], "--directory does not go with --base and --ae-title"),
    ],
)
def test_what_cannot_be_new(folder: Path, arguments: list[str], sentence: str) -> None:
    result = call(folder, "new", *arguments)
    assert sentence in str(result.exception)
    assert list((folder / "addins").iterdir()) == []


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    for arguments in (["new", "mine"], ["list"]):
        result = call(tmp_path / "none" / "HERE", *arguments)
        assert result.return_value == 1
        assert f"Error: there is no server TXDICOM in {tmp_path}/none: none is there" in result.output
    assert not (tmp_path / "none").exists()


# -- list --------------------------------------------------------------------------------------------------------------


def fill(folder: Path) -> None:
    assert call(folder, "new", "mine").return_value == 0
    (folder / "addins" / "bad.py").write_text("\n1 +\n")
    text = '[addins]\nenabled = ["storage"]\nrequired = ["mine"]\n'
    (folder / "server.toml").write_text(text)


def test_what_there_is(folder: Path) -> None:
    fill(folder)
    result = call(folder, "list")
    assert result.return_value == 1
    rows = [line.split("\t") for line in result.output.splitlines()]
    assert [(row[0], *row[2:4]) for row in rows] == [
        ("storage", "enabled", "txdicom"),
        ("mine", "enabled, required", "addins/mine.py"),
        ("bad", "error", "addins/bad.py:2"),
        ("verification", "not enabled", "installed"),
    ]
    assert rows[2][4] == "SyntaxError: invalid syntax"
    # nothing was made, and no lock is held
    assert "__pycache__" not in os.listdir(folder / "addins")
    ServerFolder(str(folder.parent), "HERE").check_owner()


def test_as_json(folder: Path) -> None:
    fill(folder)
    rows: list[dict[str, Any]] = [json.loads(line) for line in call(folder, "list", "--json").output.splitlines()]
    assert {row["type"] for row in rows} == {"addin"}
    assert rows[2] == {
        "type": "addin", "name": "bad", "version": "", "description": "", "author": "", "state": "error",
        "required": False, "origin": "addins/bad.py:2", "error": "SyntaxError: invalid syntax",
    }  # fmt: skip
    (folder / "addins" / "bad.py").unlink()
    assert call(folder, "list", "--json").return_value == 0


def test_configuration_add_ins_are_there_too(folder: Path) -> None:
    text = (ROOT / "examples" / "licence.py").read_text()
    (folder / "configuration" / "licence.py").write_text(text)
    rows = [line.split("\t") for line in call(folder, "list").output.splitlines()]
    assert [rows[0][0], *rows[0][2:4]] == ["licence", "enabled, required", "configuration/licence.py"]
    (folder / "configuration" / "licence.py").write_text("1 +")
    result = call(folder, "list")
    assert result.return_value == 1
    assert "error, required\tconfiguration/licence.py:1\tSyntaxError" in result.output


def test_what_would_not_start(folder: Path) -> None:
    fill(folder)
    (folder / "server.toml").write_text('addins.required = ["bad"]\n')
    result = call(folder, "list")
    assert result.return_value == 1
    assert "Error: addins/bad.py:2: SyntaxError: invalid syntax (add-in bad is required: server.toml:1" in result.output
    (folder / "server.toml").write_text("[server]\nx = 1\n")
    result = call(folder, "list")
    assert result.return_value == 1
    assert "Error: server.toml:2: server.x: there is no such setting" in result.output


async def test_a_table_on_a_terminal(folder: Path) -> None:
    fill(folder)
    ended = await command("addin", "list", "--base", folder.parent, terminal=True)
    assert ended.status == 1
    first, *rows = ended.out.splitlines()
    assert [title for title in ("name", "version", "state", "from", "what it says") if title not in first] == []
    assert "\x1b[32menabled" in "".join(rows)
    assert "\x1b[31merror" in "".join(rows)


# -- settings ----------------------------------------------------------------------------------------------------------

WITH_OPTIONS = """
from pydantic import BaseModel, Field
from zope.interface import implementer
from txdicom.interfaces import IAddinOptions, IDicomAddin

class Model(BaseModel):
    station: str = Field("", description="whose images it takes")
    limit: int = Field(5, ge=1, description="of them at once")
    names: list[str] = []

@implementer(IDicomAddin, IAddinOptions)
class Optional:
    name = "optional"
    version = "1"
    description = author = ""
    settings_model = Model
    def load(self, server): pass
    def unload(self): pass
    def apply(self, settings): pass
"""


@pytest.fixture
def optional(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Servers:
    (folder / "addins" / "optional.py").write_text(WITH_OPTIONS)
    return Servers(tmp_path / "base", monkeypatch)


def test_show_settings(folder: Path, optional: Servers) -> None:
    (folder / "addins.d" / "optional.toml").write_text('station = "CT1"\n')
    result = call(folder, "show", "optional")
    assert [line.split("\t") for line in result.output.splitlines()] == [
        ["station", '"CT1"', '""', "whose images it takes"],
        ["limit", "5", "5", "of them at once"],
        ["names", "[]", "[]", ""],
    ]
    rows = [json.loads(line) for line in call(folder, "show", "optional", "--json").output.splitlines()]
    assert rows[1] == {
        "type": "setting", "addin": "optional", "name": "limit", "value": 5, "default": 5, "doc": "of them at once",
    }  # fmt: skip
    result = call(folder, "show", "other")
    assert result.return_value == 1
    assert "Error: there is no add-in other; there are " in result.output
    assert "Error: add-in storage has no options" in call(folder, "show", "storage").output
    (folder / "addins.d" / "optional.toml").write_text("limit = 0\n")
    assert "Error: addins.d/optional.toml:1: limit: " in call(folder, "show", "optional").output


def test_set_settings(folder: Path, optional: Servers) -> None:
    path = folder / "addins.d" / "optional.toml"
    path.write_text('# ours\nstation = "CT1"  # the old one\n')
    with (folder / "server.toml").open("a") as file:
        file.write("[addins.optional]\nlimit = 7 # not more\n")
    result = call(folder, "set", "optional", "station=CT2", "limit=3", 'names=["a"]')
    assert result.output == (
        "set: addins.optional.station, addins.optional.limit, addins.optional.names; "
        "the server does not run, and takes it when it starts\n"
    )
    assert path.read_text() == '# ours\nstation = "CT2"  # the old one\nnames = ["a"]\n'
    assert (folder / "server.toml").read_text().endswith("[addins.optional]\nlimit = 3 # not more\n")
    before = path.read_text()
    result = call(folder, "set", "optional", "limit=0", "names=x", "stations=1")
    assert result.return_value == 1
    assert sorted(line.split(": ")[1] for line in result.output.splitlines()) == ["limit", "names", "stations"]
    assert "Error: limit: give KEY=VALUE" in call(folder, "set", "optional", "limit").output
    assert "has no options" in call(folder, "set", "storage", "a=1").output
    assert path.read_text() == before


def test_settings_of_a_server_that_runs(folder: Path, optional: Servers) -> None:
    control: Any = optional.start("HERE").control
    asked: list[Any] = []

    def set_addin_options(name: str, values: Any) -> Applied:
        asked.append((name, values))
        return Applied(changed=("addins.optional.limit",))

    control.set_addin_options = set_addin_options
    assert call(folder, "set", "optional", "limit=3").output == "in force: addins.optional.limit\n"
    assert asked == [("optional", {"limit": 3})]
    control.results["addin_options"] = AddinOptions(values={"a": None, "b": [None]}, json_schema={})
    assert call(folder, "show", "optional").output == "a\t\t\t\nb\t[null]\t\t\n"
    optional.end()
