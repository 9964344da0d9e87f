"""`txdicom addin`: what add-ins a server has, and a new one to begin with."""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from txdicom.cli.output import Output, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

F = TypeVar("F", bound="Callable[..., Any]")

#: a name that a module and a class can have, too
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
#: what begins so is not looked at in the folder addins/
_IGNORED: Final = "test_"
_COLUMNS: Final = ("name", "version", "state", "from", "what it says")


def _of_a_server(command: F) -> F:
    """The options that say which server."""
    for decorator in (
        click.option("-a", "--ae-title", metavar="AE", help="The server's AE title; else the only one in the base."),
        click.option(
            "-b",
            "--base",
            metavar="DIR",
            help="Folder of the servers; else $TXDICOM_HOME, else the user's data folder.",
        ),
    ):
        command = decorator(command)
    return command


@click.group(short_help="Add-ins: list those of a server, begin a new one.")
def addin() -> None:
    """Add-ins of a server: what there is, and a new one to begin with.

    \b
    Examples:
      txdicom addin list
      txdicom addin new my-filter
    """


@addin.command("list", short_help="List the add-ins that a server finds.")
@_of_a_server
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on standard output: one object a line.")
def list_(base: str | None, ae_title: str | None, as_json: bool) -> int:
    """List the add-ins that a server finds, whether it runs or not: they are imported here as at its start.

    \b
    Examples:
      txdicom addin list
      txdicom addin list --base /srv/dicom --ae-title ARCHIVE
      txdicom addin list --json | jq -r 'select(.state == "error") | .error'

    --json prints an object for each: type "addin", name, version, description, author, state ("enabled", "not enabled"
    or "error"), required, origin, error. The exit status is 0 only if the server would start with all of them.
    """
    from txdicom.errors import SettingsError
    from txdicom.interfaces import IServerConfig
    from txdicom.server.addins import find_addins
    from txdicom.server.compose import look
    from txdicom.server.discovery import in_folder

    output = Output(as_json=as_json)
    try:
        folder, settings = look(base, ae_title, os.environ)
        configuring, misconfigured = in_folder(folder.path, "configuration", settings.server.ae_title, IServerConfig)
        choice = find_addins(settings, folder)
    except SettingsError as error:
        for problem in error.problems:
            output.complain(f"Error: {problem}")
        return 1
    # none of these may be missing: one may be the licence
    rows = [_row(one.name, "enabled", one.origin, addin=one.addin, required=True) for one in configuring]
    rows += [_row(one.name, "error", one.where, error=one.reason, required=True) for one in misconfigured]
    rows += [
        _row(one.name, "enabled", one.origin, addin=one.addin, required=one.name in choice.required)
        for one in choice.addins
    ]
    names = settings.addins.required
    rows += [_row(one.name, "error", one.where, error=one.reason, required=one.name in names) for one in choice.broken]
    rows += [_row(name, "not enabled", "installed") for name in choice.others]
    for row in rows:
        output.record("addin", **row)
    if not as_json:
        _show(rows)
    for sentence in choice.problems:
        output.complain(f"Error: {sentence}")
    for sentence in choice.warnings:
        output.complain(f"Warning: {sentence}")
    return 1 if choice.problems or choice.broken or misconfigured else 0


def _row(
    name: str, state: str, origin: str, *, addin: Any = None, required: bool = False, error: str = ""
) -> dict[str, Any]:
    about = {key: getattr(addin, key, "") for key in ("version", "description", "author")}
    return {"name": name, **about, "state": state, "required": required, "origin": origin, "error": error}


def _show(rows: Sequence[dict[str, Any]]) -> None:
    """A table on a terminal, else a line for each with tabs between."""
    lines = [
        (
            row["name"],
            row["version"],
            row["state"] + (", required" if row["required"] else ""),
            row["origin"],
            row["error"] or row["description"],
        )
        for row in rows
    ]
    if not sys.stdout.isatty():
        for line in lines:
            click.echo("\t".join(map(printable, line)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for row, line in zip(rows, lines, strict=True):
        style = {"enabled": "green", "error": "red"}.get(row["state"], "dim")
        # of an add-in's text nothing is markup
        cells = [Text(printable(cell), style if index == 2 else "") for index, cell in enumerate(line)]
        table.add_row(*cells)
    Console().print(table)


@addin.command(short_help="Write a small add-in, which works, and its test.")
@click.argument("name", metavar="NAME")
@_of_a_server
@click.option("--directory", metavar="DIR", help="Write to this folder instead of the server's.")
def new(name: str, base: str | None, ae_title: str | None, directory: str | None) -> int:
    """Write a small add-in called NAME, which works as it is, and its test, into the folder addins/ of a server.

    \b
    Examples:
      txdicom addin new my-filter
      txdicom addin new my-filter --directory ~/src/my-filter

    Nothing is overwritten. What the file says in its comments is where to go on; the interfaces are explained in
    txdicom.interfaces.
    """
    from txdicom.cli.addin_template import files_of

    _check_name(name)
    if directory is not None and (base or ae_title):
        raise click.UsageError("--directory does not go with --base and --ae-title: it is the place itself")
    output = Output()
    try:
        folder, server = (directory, "") if directory is not None else _addins_folder(base, ae_title)
        paths = _write(folder, files_of(name))
    except OSError as error:
        output.complain(f"Error: {error.filename}: {error.strerror}")
        return 1
    except ValueError as error:
        output.complain(f"Error: {error}")
        return 1
    for path in paths:
        output.say(f"written: {path}")
    output.say(f"test it: python -m pytest {paths[1]}")
    if server:
        output.say(f"run it: restart the server {server}; `txdicom addin list` shows whether it will find it")
    else:
        output.say(f"run it: copy {paths[0]} into the folder addins/ of a server, and restart the server")
    return 0


def _check_name(name: str) -> None:
    module = name.replace("-", "_")
    if _NAME.fullmatch(name) is None or module.startswith(_IGNORED) or iskeyword(module):
        rule = f"a letter, then up to 63 letters, digits, - and _; not {_IGNORED}… at the beginning, no word of Python"
        raise click.BadParameter(f"{name!r} cannot name an add-in: {rule}", param_hint="'NAME'")
    if find_spec(module) is not None:
        sentence = f"there is a module {module} already, which its test would import instead"
        raise click.BadParameter(sentence, param_hint="'NAME'")


def _addins_folder(base: str | None, ae_title: str | None) -> tuple[str, str]:
    """The folder `addins/` of the server, and the server's title; ValueError where there is no such server."""
    from txdicom.errors import SettingsError
    from txdicom.server.compose import look

    try:
        folder, settings = look(base, ae_title, os.environ)
    except SettingsError as error:
        raise ValueError("; ".join(error.problems)) from None
    return os.path.join(folder.path, "addins"), settings.server.ae_title


def _write(folder: str, texts: dict[str, str]) -> list[str]:
    """Writes private files, all or none of them; ValueError where one is there already."""
    os.makedirs(folder, 0o700, exist_ok=True)
    paths = [os.path.join(folder, name) for name in texts]
    for path in paths:
        if os.path.lexists(path):
            raise ValueError(f"{path} is there already: take another name, or move it away")
    for path, text in zip(paths, texts.values(), strict=True):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    return paths
