"""`txdicom log`: what a server has logged, read from its folder; the server need not run."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from txdicom.cli.options import as_json as json_option
from txdicom.cli.options import of_a_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from txdicom.server.logs.reading import Record

F = TypeVar("F", bound="Callable[..., Any]")

#: seconds between two looks at a log that is followed
_INTERVAL: Final = 0.25
_AGE: Final = re.compile(r"([0-9]{1,6})([smhdw])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_COLOURS: Final = {"warning": "yellow", "error": "red"}
_LEVELS: Final = ("debug", "info", "warning", "error")


def _since(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """An age, or a point in time."""
    if value is None:
        return None
    try:
        if match := _AGE.fullmatch(value):
            return datetime.now().astimezone() - timedelta(**{_UNITS[match[2]]: int(match[1])})
        return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        ways = "give an age (90s, 30m, 1h, 2d, 1w) or a time (2026-01-31, 2026-01-31T08:30)"
        raise click.BadParameter(f"{value!r} is no time: {ways}") from None


def _pattern(context: click.Context, parameter: click.Parameter, value: str | None) -> re.Pattern[str] | None:
    """A regular expression."""
    try:
        return None if value is None else re.compile(value)
    except re.error as error:
        raise click.BadParameter(f"{value!r} is no regular expression: {error}") from None


def _of_a_log(command: F) -> F:
    """Which server's log, and how it is shown."""
    decorators = (
        of_a_server,
        click.option("--audit", is_flag=True, help="The audit log: who did what."),
        click.option("--level", type=click.Choice(_LEVELS), default="debug", help="Only this level, and worse."),
        json_option,
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


@click.group(short_help="Read a server's log.")
def log() -> None:
    """Read what a server has logged. It need not run.

    \b
    Examples:
      txdicom log show --level warning
      txdicom log follow
      txdicom log query --since 1h --calling-ae MODALITY
      txdicom log query --audit --association 12 --json

    A server in the foreground logs to its standard output, not to its folder; its audit log is there in any case.

    --json prints an object for each record: time, level and text; of logs in JSON (log.format, the audit log) also what
    else is known, such as association, calling_ae, peer.
    """


@log.command()
@_of_a_log
@click.option(
    "-n", "count", metavar="COUNT", type=click.IntRange(min=1), default=50, show_default=True, help="How many records."
)
def show(base: str | None, ae_title: str | None, audit: bool, level: str, as_json: bool, count: int) -> int:
    """Show the last records.

    \b
    Example:
      txdicom log show -n 20 --level warning
    """
    from txdicom.server.logs.reading import Filter, last

    _print(last(_path(base, ae_title, audit=audit), Filter(level=level), count), as_json=as_json)
    return 0


@log.command()
@_of_a_log
def follow(base: str | None, ae_title: str | None, audit: bool, level: str, as_json: bool) -> int:
    """Show the last ten records, then what comes, until Ctrl-C.

    \b
    Example:
      txdicom log follow --ae-title ARCHIVE
    """
    from txdicom.server.logs.reading import Filter, Follower, last

    path = _path(base, ae_title, audit=audit)
    follower = Follower(path)
    wanted = Filter(level=level)
    try:
        before, new = last(path, wanted, 10), follower.read()
        _print([record for record in before if record not in new], as_json=as_json)
        while True:
            _print(filter(wanted.wants, new), as_json=as_json)
            time.sleep(_INTERVAL)
            new = follower.read()
    finally:
        follower.close()


@log.command()
@_of_a_log
@click.option("--since", callback=_since, metavar="WHEN", help="Not older than this: 30m, 1h, 2d, or 2026-01-31T08:30.")
@click.option("--association", type=click.IntRange(min=1), metavar="NUMBER", help="About this association.")
@click.option("--calling-ae", metavar="AE", help="About associations of this caller.")
@click.option("--text", callback=_pattern, metavar="PATTERN", help="Text in which this regular expression is found.")
@click.option("-n", "count", metavar="COUNT", type=click.IntRange(min=1), help="Only the last so many.")
def query(base: str | None, ae_title: str | None, audit: bool, as_json: bool, count: int | None, **wanted: Any) -> int:
    """Show the records that meet all conditions, older files included. The exit status is 1 if there are none.

    \b
    Examples:
      txdicom log query --since 1h --calling-ae MODALITY
      txdicom log query --text 'rejected|aborted' --level info
    """
    from txdicom.server.logs.reading import Filter, last

    found = last(_path(base, ae_title, audit=audit), Filter(**wanted), count)
    _print(found, as_json=as_json)
    return 0 if found else 1


def _path(base: str | None, ae_title: str | None, *, audit: bool) -> str:
    """The log of the server that is meant."""
    from txdicom.errors import SettingsError
    from txdicom.server.folder import ServerFolder, base_folder, choose_title
    from txdicom.server.logs.reading import log_in

    base = base_folder(base, os.environ)
    try:
        folder = ServerFolder(base, choose_title(base, ae_title))
    except SettingsError as error:
        raise click.ClickException("\n".join(error.problems)) from None
    logs = os.path.dirname(folder.log_file)
    try:
        path = log_in(logs, ("audit.jsonl",)) if audit else log_in(logs)
        if path is not None:
            open(path, "rb").close()
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be read: {error.strerror}") from None
    if path is None:
        kind = "no audit log" if audit else "no log"
        why = "" if audit else ": a server in the foreground logs to its standard output"
        there = f"there is {kind} in {logs}{why}" if os.path.isdir(folder.path) else f"there is no server {folder.path}"
        raise click.ClickException(there)
    return path


def _print(records: Iterable[Record], *, as_json: bool) -> None:
    from txdicom.cli.output import printable

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    for record in records:
        if as_json:
            print(json.dumps(record.object()))
        else:
            for line in record.lines():
                click.secho(printable(line), fg=_COLOURS.get(record.level))
    sys.stdout.flush()
