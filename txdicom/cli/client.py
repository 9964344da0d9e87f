"""`txdicom client`: the peers that are connected to servers, now and as they come and go."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from txdicom.cli.managing import with_servers
from txdicom.cli.options import as_json as json_option
from txdicom.cli.options import of_a_server, of_servers
from txdicom.cli.output import Output
from txdicom.cli.tables import duration, show_rows, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from txdicom.interfaces.control import ConnectedClient, ControlEvent
    from txdicom.server.managing.manager import ServiceAdministrator

_COLUMNS: Final = ("server", "id", "AE title", "address", "for", "last action", "idle", "messages", "in", "out")


@click.group(short_help="Connected clients: list, watch, disconnect them.")
def client() -> None:
    """The peers that are connected to running servers.

    \b
    Examples:
      txdicom client list
      txdicom client watch
      txdicom client disconnect 12 --ae-title ARCHIVE
    """


@client.command("list", short_help="List the peers that are connected now.")
@of_servers
@json_option
def list_(base: str | None, ae_title: str | None, as_json: bool) -> int:
    """List the peers that are connected: to the server named by --ae-title, else to all that run.

    \b
    Examples:
      txdicom client list
      txdicom client list --ae-title ARCHIVE --json | jq .address

    --json prints an object for each: type "client", server, id, ae_title, address, connected, last_action, last_active
    (seconds since 1970), messages, bytes_received, bytes_sent.
    """

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        output = Output(as_json=as_json)
        if ae_title is not None:
            titles = [administrator.find(ae_title)]
        else:
            titles = [one.ae_title for one in await administrator.servers(reactor) if one.running]
        rows = []
        for title in titles:
            async with administrator.session(reactor, title) as link:
                clients = await link.clients()
            for one in clients:
                output.record("client", server=title, **asdict(one))
                rows.append(_row(title, one, time.time()))
        if not as_json:
            show_rows(_COLUMNS, rows)
        return 0

    return with_servers(base, work)


def _row(server: str, one: ConnectedClient, now: float) -> tuple[str, ...]:
    return (
        server,
        str(one.id),
        one.ae_title,
        one.address,
        duration(now - one.connected),
        one.last_action,
        duration(now - one.last_active),
        str(one.messages),
        size(one.bytes_received),
        size(one.bytes_sent),
    )


@client.command(short_help="Abort a client's association and close its connection.")
@click.argument("number", metavar="ID", type=click.IntRange(min=1))
@of_a_server
@json_option
def disconnect(number: int, base: str | None, ae_title: str | None, as_json: bool) -> int:
    """Abort the association of the client ID, as `txdicom client list` shows it, and close its connection.

    \b
    Example:
      txdicom client disconnect 12

    --json prints one object: type "disconnected", server, id.
    """

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        output = Output(as_json=as_json)
        title = administrator.find(ae_title)
        async with administrator.session(reactor, title) as link:
            await link.disconnect_client(number)
        output.record("disconnected", server=title, id=number)
        output.say(f"disconnected: client {number} of {title}")
        return 0

    return with_servers(base, work)


@client.command(short_help="Show what clients do as it happens, until Ctrl-C.")
@of_servers
@json_option
def watch(base: str | None, ae_title: str | None, as_json: bool) -> int:
    """Show who connects, what they ask for, and how they end, as it happens, until Ctrl-C.

    It is of the server named by --ae-title, else of all of the base, those that start meanwhile included.

    \b
    Examples:
      txdicom client watch
      txdicom client watch --ae-title ARCHIVE --json | jq 'select(.event == "ClientDisconnected")'

    --json prints an object for each event: type "event", time (seconds since 1970), server, event (a name of
    txdicom.interfaces.control.EVENTS, or ServerFound, ServerLost), data.
    """

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        from twisted.internet.defer import Deferred

        ended: Deferred[int] = Deferred()
        output = Output(as_json=as_json)
        titles = None if ae_title is None else [administrator.find(ae_title)]

        def show(server: str, event: ControlEvent) -> None:
            try:
                output.record("event", time=time.time(), server=server, event=event.name, data=dict(event.data))
                sentence = _sentence(event.name, event.data)
                output.say(f"{time.strftime('%H:%M:%S')}  {server}  {sentence}")
                sys.stdout.flush()
            except BrokenPipeError:  # whoever read our output has gone
                if not ended.called:
                    ended.errback()

        watching = administrator.watch(reactor, show, titles)
        try:
            await watching.begun
            watching.ended.addErrback(lambda failure: None if ended.called else ended.errback(failure))
            return await ended
        finally:
            await watching.close()

    return with_servers(base, work)


def _sentence(name: str, data: Mapping[str, Any]) -> str:
    """What has happened."""
    who = f"{data['ae_title'] or 'client'} ({data['id']}, {data['address']})" if "address" in data else ""
    if name == "ClientConnected":
        return f"{who} has connected"
    if name == "ClientAssociated":
        return f"{who} has an association"
    if name == "ClientAction":
        return f"{who} {data['last_action']}, {data['messages']} messages, {size(data['bytes_received'])} received"
    if name == "ClientDisconnected":
        return f"{who} is gone: {data['outcome']}"
    if name == "AeTitlesChanged":
        return f"AE titles have changed: {', '.join(data['ae_titles'])}"
    if name == "SettingsChanged":
        later = f"; after a restart: {', '.join(data['restart'])}" if data["restart"] else ""
        return f"settings have changed: {', '.join(data['changed']) or 'none at once'}{later}"
    if name == "ServiceShuttingDown":
        return "the server stops"
    if name == "ServerFound":
        return f"the server is {data['state']}, with {data['connections']} connections"
    if name == "ServerLost":
        return "the server has gone"
    return name
