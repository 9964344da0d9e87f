"""`txdicom addin`: what add-ins a server has, and a new one to begin with."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, Final

import click

from txdicom.cli import addin_options
from txdicom.cli.managing import with_files
from txdicom.cli.options import as_json as json_option
from txdicom.cli.options import of_a_server
from txdicom.cli.output import Output
from txdicom.cli.tables import show_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from txdicom.server.managing.manager import ServiceAdministrator

#: a name that a module and a class can have, too
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
#: what begins so is not looked at in the folder addins/
_IGNORED: Final = "test_"
_COLUMNS: Final = ("name", "version", "state", "from", "what it says")
_STYLES: Final = {"state": {"enabled": "green", "error": "red", "": "dim"}}


@click.group(short_help="Add-ins: list those of a server, show and change their settings, begin a new one.")
def addin() -> None:
    """Add-ins of a server: what there is, their settings, and a new one to begin with.

    \b
    Examples:
      txdicom addin list
      txdicom addin set my-filter station=CT1
      txdicom addin new my-filter
    """


addin.add_command(addin_options.show)
addin.add_command(addin_options.set_)


@addin.command("list", short_help="List the add-ins that a server finds.")
@of_a_server
@json_option
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
    from txdicom.interfaces import IServerConfig
    from txdicom.server.finding.addins import find_addins
    from txdicom.server.finding.discovery import in_folder

    def work(administrator: ServiceAdministrator) -> int:
        output = Output(as_json=as_json)
        folder, settings = administrator.folder(ae_title), administrator.settings(ae_title)
        folder.check_owner()
        configuring, misconfigured = in_folder(folder.path, "configuration", settings.server.ae_title, IServerConfig)
        choice = find_addins(settings, folder)
        # none of these may be missing: one may be the licence
        rows = [_row(one.name, "enabled", one.origin, addin=one.addin, required=True) for one in configuring]
        rows += [_row(one.name, "error", one.where, error=one.reason, required=True) for one in misconfigured]
        rows += [
            _row(one.name, "enabled", one.origin, addin=one.addin, required=one.name in choice.required)
            for one in choice.addins
        ]
        names = settings.addins.required
        rows += [
            _row(one.name, "error", one.where, error=one.reason, required=one.name in names) for one in choice.broken
        ]
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

    return with_files(base, work)


def _row(
    name: str, state: str, origin: str, *, addin: Any = None, required: bool = False, error: str = ""
) -> dict[str, Any]:
    about = {key: getattr(addin, key, "") for key in ("version", "description", "author")}
    return {"name": name, **about, "state": state, "required": required, "origin": origin, "error": error}


def _show(rows: Sequence[dict[str, Any]]) -> None:
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
    show_rows(_COLUMNS, lines, _STYLES)


@addin.command(short_help="Write a small add-in, which works, and its test.")
@click.argument("name", metavar="NAME")
@of_a_server
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
    from txdicom.errors import DicomError

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
    except DicomError as error:
        return output.fail(error)
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
    """The folder `addins/` of the server, and the server's title; DicomError where there is no such server."""
    from txdicom.server.managing.manager import ServiceAdministrator

    folder = ServiceAdministrator(base).folder(ae_title)
    folder.check_owner()
    return os.path.join(folder.path, "addins"), os.path.basename(folder.path)


def _write(folder: str, texts: dict[str, str]) -> list[str]:
    """Writes private files, all or none of them; Conflict where one is there already."""
    from txdicom.errors import Conflict

    os.makedirs(folder, 0o700, exist_ok=True)
    paths = [os.path.join(folder, name) for name in texts]
    for path in paths:
        if os.path.lexists(path):
            raise Conflict(f"{path} is there already: take another name, or move it away")
    for path, text in zip(paths, texts.values(), strict=True):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    return paths
