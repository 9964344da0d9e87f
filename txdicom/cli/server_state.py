"""`txdicom server list`, `status` and `test`: how servers are."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from txdicom.cli.managing import with_servers
from txdicom.cli.options import as_json as json_option
from txdicom.cli.options import of_a_base
from txdicom.cli.output import Output
from txdicom.cli.tables import duration, show_rows

if TYPE_CHECKING:
    from txdicom.admin import Administrator
    from txdicom.server.managing.manager import FoundServer, ServiceAdministrator

_COLUMNS: Final = ("AE title", "state", "start mode", "ports", "process", "folder")
_STATES: Final = {"running": "green", "paused": "yellow", "stopping": "yellow", "stopped": "dim", "": "red"}
_STYLES: Final = {"state": _STATES, "health": {"healthy": "green", "": "red"}}


@click.command("list", short_help="List the servers.")
@of_a_base
@json_option
def list_(base: str | None, as_json: bool) -> int:
    """List the servers of the base.

    \b
    Examples:
      txdicom server list
      txdicom server list --json | jq -r 'select(.state != "running") | .ae_title'

    --json prints an object for each: type "server", ae_title, display_name, state ("running", "paused", "stopping",
    "stopped", "not answering"), start_mode, ports, process (null where there is none), folder, problems.
    """

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        output = Output(as_json=as_json)
        found = await administrator.servers(reactor)
        for one in found:
            output.record("server", **_values(one))
        if not as_json:
            show_rows(
                _COLUMNS,
                [
                    (
                        one.ae_title,
                        one.state,
                        one.start_mode or "?",
                        ", ".join(one.ports),
                        "" if one.process is None else str(one.process),
                        one.folder,
                    )
                    for one in found
                ],
                _STYLES,
            )
        for one in found:
            for problem in one.problems:
                output.complain(f"Warning: {one.ae_title}: {problem}")
        return 0

    return with_servers(base, work)


def _values(one: FoundServer) -> dict[str, Any]:
    names = ("ae_title", "display_name", "state", "start_mode", "ports", "process", "folder", "problems")
    return {name: getattr(one, name) for name in names}


@click.command(short_help="Show how servers are: connections, workers, add-ins.")
@click.argument("title", metavar="[AE]", required=False)
@of_a_base
@json_option
def status(title: str | None, base: str | None, as_json: bool) -> int:
    """Show how the server AE is, or all servers: state, time since the start, ports, connections, workers, add-ins.

    \b
    Examples:
      txdicom server status
      txdicom server status ARCHIVE --json

    The exit status is 0 only if all of them run and are healthy. --json prints an object for each: type "status", what
    `list` has, started (seconds since 1970), connections, associations, total (since the start), workers (index,
    process, state, connections, restarts of each), addins (name, version, healthy, sentences of each), warnings.
    """

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        output = Output(as_json=as_json)
        if title is None:
            found = await administrator.servers(reactor)
        else:
            found = [await administrator.look(reactor, title)]
        if not found:
            output.complain(f"there is no server in {administrator.base}")
        good = True
        for one in found:
            addins = []
            if one.running:
                async with administrator.session(reactor, one.ae_title) as link:
                    addins = await _addins(link)
            warnings = [*one.problems, *administrator.warnings(one.ae_title)]
            state = asdict(one.status) if one.status is not None else {}
            good = good and one.state == "running" and not one.problems and all(addin["healthy"] for addin in addins)
            good = good and all(worker["state"] == "running" for worker in state.get("workers", ()))
            names = ("started", "connections", "associations", "total", "workers")
            output.record(
                "status",
                **_values(one),
                **{name: state.get(name) for name in names},
                addins=addins,
                warnings=warnings,
            )
            if not as_json:
                _show(output, one, state, addins, warnings)
        return 0 if good and found else 1

    return with_servers(base, work)


async def _addins(link: Administrator) -> list[dict[str, Any]]:
    """The add-ins of a running server, and whether they work."""
    found = []
    for info in await link.addins():
        report = await link.addin_health(info.name)
        found.append({"name": info.name, "version": info.version, **asdict(report)})
    return found


def _show(
    output: Output, one: FoundServer, state: dict[str, Any], addins: list[dict[str, Any]], warnings: list[str]
) -> None:
    name = f"{one.ae_title} ({one.display_name})" if one.display_name else one.ae_title
    rows = [("server", name), ("state", one.state), ("folder", one.folder)]
    rows.append(("listens on" if state else "would listen on", ", ".join(one.ports) or "nothing"))
    if one.process is not None:
        rows.append(("process", str(one.process)))
    if state:
        rows += [
            ("up for", duration(time.time() - state["started"])),
            ("connections", f"{state['connections']}, {state['associations']} of them with an association"),
            ("associations", f"{state['total']} since the start"),
        ]
    for worker in state.get("workers", ()):
        again = f", started again {worker['restarts']} times" if worker["restarts"] else ""
        what = f"{worker['state']}, process {worker['process']}, {worker['connections']} connections{again}"
        rows.append((f"worker {worker['index']}", what))
    for addin in addins:
        health = ["healthy" if addin["healthy"] else "not healthy", *addin["sentences"]]
        rows.append((f"add-in {addin['name']}", ", ".join(health)))
    rows += [("warning", warning) for warning in warnings]
    show_rows(("", ""), rows)
    output.say("")


@click.command(short_help="Say in one line what is wrong with a server, or that it is in order.")
@click.argument("title", metavar="[AE]", required=False)
@of_a_base
@json_option
def test(title: str | None, base: str | None, as_json: bool) -> int:
    """Test the server AE and say in one line what is wrong, or that it is in order; the exit status says the same.

    \b
    Examples:
      txdicom server test
      txdicom server test ARCHIVE --json

    Of a server that runs: its settings and folders, its administrative socket, a C-ECHO on each of its ports from here.
    Of one that does not: its settings, folders and add-ins, and whether its ports can be opened.
    --json prints one object: type "test", ae_title, in_order, problems.
    """

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        output = Output(as_json=as_json)
        found = administrator.find(title)
        problems = await administrator.test(reactor, found)
        output.record("test", ae_title=found, in_order=not problems, problems=problems)
        output.say(f"{found}: {'; '.join(problems)}" if problems else f"{found} is in order")
        return 1 if problems else 0

    return with_servers(base, work)
