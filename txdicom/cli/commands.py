"""The commands by name. Each lives in a module of its own, which is imported when it is called or listed."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

from txdicom import __version__

#: name -> module and attribute, in the order of the help
COMMANDS: Final = {
    "echo": "txdicom.cli.echo:echo",
    "store": "txdicom.cli.store:store",
    "server": "txdicom.cli.server:server",
    "addin": "txdicom.cli.addin:addin",
    "ae": "txdicom.cli.ae:ae",
    "user": "txdicom.cli.user:user",
    "client": "txdicom.cli.client:client",
    "log": "txdicom.cli.log:log",
}


class Commands(click.Group):
    """A group that imports a command when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version")
def txdicom() -> None:
    """DICOM from the command line.

    \b
    Examples:
      txdicom echo PACS@192.168.1.20:11112
      txdicom store PACS@192.168.1.20:11112 study/
      txdicom server create ARCHIVE --listen tcp:11112
      txdicom server start ARCHIVE
    """
