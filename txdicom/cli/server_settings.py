"""`txdicom server show` and `set`: the settings of a server."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from txdicom.cli.managing import with_servers
from txdicom.cli.options import as_json as json_option
from txdicom.cli.options import of_a_server
from txdicom.cli.output import Output
from txdicom.cli.tables import show_rows

if TYPE_CHECKING:
    from txdicom.interfaces.control import Applied
    from txdicom.server.managing.manager import ServiceAdministrator

_COLUMNS: Final = ("setting", "value", "from", "in force")
_STYLES: Final = {"from": {"default": "dim"}, "in force": {"": "yellow"}}


@click.command(short_help="Show settings, and where they come from.")
@click.argument("key", metavar="[KEY]", required=False)
@of_a_server
@json_option
def show(key: str | None, base: str | None, ae_title: str | None, as_json: bool) -> int:
    """Show the settings of a server: those of server.toml, and of one that runs those in force that differ.

    KEY is one of them (server.max_clients) or a table (tls).

    \b
    Examples:
      txdicom server show
      txdicom server show server.max_clients
      txdicom server show tls --ae-title ARCHIVE --json

    --json prints an object for each: type "setting", name, value, from ("default" or "server.toml:LINE"), in_force
    (null where the server does not run), needs_restart, doc.
    """

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        output = Output(as_json=as_json)
        found = await administrator.shown_settings(reactor, ae_title, key)
        for one in found:
            output.record(
                "setting",
                name=one.name,
                value=one.value,
                **{"from": one.place},
                in_force=one.in_force,
                needs_restart=one.needs_restart,
                doc=one.doc,
            )
        if not as_json:
            show_rows(_COLUMNS, [(one.name, one.text, one.place, one.remark) for one in found], _STYLES)
            if key is not None and len(found) == 1:
                output.say(found[0].doc)
        return 0

    return with_servers(base, work)


@click.command("set", short_help="Change settings.")
@click.argument("settings", metavar="KEY=VALUE...", nargs=-1, required=True)
@of_a_server
@json_option
def set_(settings: tuple[str, ...], base: str | None, ae_title: str | None, as_json: bool) -> int:
    """Change settings of a server, all of those given or none: in server.toml, whose comments stay, and in force.

    \b
    Examples:
      txdicom server set server.max_clients=50
      txdicom server set server.listen='["tcp:11112", "tcp6:11112"]' archive.flush=false
      txdicom server set --ae-title ARCHIVE log.level=debug

    Values are written as in TOML; what is no TOML value is a string. A server that runs applies at once what it can;
    which settings wait for a restart is said. --json prints one object: type "applied", changed, restart, overridden
    (lists of names; the last: the command line of this run goes before them), running.
    """

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        from txdicom.errors import BadArgument
        from txdicom.server.settings.tables import parse_overrides

        problems: list[str] = []
        values: dict[str, dict[str, Any]] = {}
        for path, value, _origin in parse_overrides(settings, (), problems):
            if len(path) > 2:
                problems.append(f"{'.'.join(path)}: settings of add-ins are set by `txdicom addin set {path[1]}`")
            else:
                values.setdefault(path[0], {})[path[1]] = value
        if problems:
            raise BadArgument([one.removeprefix("--set ") for one in problems])
        applied = await administrator.set(reactor, ae_title, values)
        names = [f"{table}.{name}" for table, given in values.items() for name in given]
        say_applied(Output(as_json=as_json), applied, names)
        return 0

    return with_servers(base, work)


def say_applied(output: Output, applied: Applied | None, names: list[str]) -> None:
    """What has become of a change; None: the server does not run."""
    if applied is None:
        output.record("applied", changed=names, restart=[], overridden=[], running=False)
        output.say(f"set: {', '.join(names)}; the server does not run, and takes it when it starts")
        return
    output.record("applied", **asdict(applied), running=True)
    if applied.changed:
        output.say(f"in force: {', '.join(applied.changed)}")
    if applied.restart:
        output.say(f"set, needs a restart: {', '.join(applied.restart)}")
    if applied.overridden:
        output.say(f"set, but for this run the command line sets: {', '.join(applied.overridden)}")
    if not applied.changed and not applied.restart and not applied.overridden:
        output.say("nothing is different from before")
