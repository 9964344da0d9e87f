"""`txdicom server`: the servers of a base; made, looked at, changed, started, stopped, removed."""

from __future__ import annotations

import click

from txdicom.cli import server_folders, server_processes, server_settings, server_state


@click.group(short_help="Servers: create, start, stop, look at, change, remove them.")
def server() -> None:
    """The DICOM servers of this computer. Each has a folder with all that is its own, in a base folder.

    \b
    Examples:
      txdicom server create ARCHIVE --listen tcp:11112
      txdicom server start ARCHIVE
      txdicom server list
      txdicom server set --ae-title ARCHIVE server.max_clients=50
      txdicom server stop ARCHIVE
    """


for _command in (
    server_folders.create,
    server_state.list_,
    server_settings.show,
    server_settings.set_,
    server_folders.remove,
    server_processes.start,
    server_processes.stop,
    server_processes.restart,
    server_processes.pause,
    server_processes.resume,
    server_state.status,
    server_state.test,
    server_folders.systemd,
):
    server.add_command(_command)
