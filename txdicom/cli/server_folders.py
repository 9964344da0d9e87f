"""`txdicom server create`, `remove` and `systemd`: what is about a server's folder, not about its process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from txdicom.cli.managing import with_files
from txdicom.cli.options import as_json as json_option
from txdicom.cli.options import of_a_base
from txdicom.cli.output import Output

if TYPE_CHECKING:
    from txdicom.server.managing.creating import Contents
    from txdicom.server.managing.manager import ServiceAdministrator


@click.command(short_help="Make a server: its folder and its settings.")
@click.argument("title", metavar="AE")
@click.option(
    "-s", "--set", "settings", metavar="TABLE.KEY=VALUE", multiple=True, help="A setting of server.toml; repeatable."
)
@click.option("-l", "--listen", metavar="ENDPOINT", multiple=True, help="Where it accepts associations; repeatable.")
@of_a_base
@json_option
def create(title: str, settings: tuple[str, ...], listen: tuple[str, ...], base: str | None, as_json: bool) -> int:
    """Make the server whose AE title is AE. It is not started yet.

    \b
    Examples:
      txdicom server create ARCHIVE
      txdicom server create ARCHIVE --listen tcp:11112 --listen tcp6:11112 --set server.max_clients=50
      txdicom server create TEST --base /srv/dicom --set addins.enabled='["verification"]'

    --json prints one object: type "server", ae_title, folder, listen, secure_listen, allow_anonymous.
    """

    def work(administrator: ServiceAdministrator) -> int:
        output = Output(as_json=as_json)
        made = administrator.create(title, settings, listen).server
        folder = administrator.folder(title)
        output.record(
            "server",
            ae_title=title,
            folder=folder.path,
            listen=list(made.listen),
            secure_listen=list(made.secure_listen),
            allow_anonymous=made.allow_anonymous,
        )
        more = f" --base {administrator.base}" if base else ""
        output.say(f"made: {folder.path}; its settings are in server.toml there")
        if not made.allow_anonymous:
            output.say(
                "only callers that it knows are let in (allow_anonymous = false), as other computers can reach it; "
                f"for each: txdicom ae add TITLE HOST:PORT --ae-title {title}{more}"
            )
        if made.start_mode != "disabled":
            output.say(f"start it: txdicom server start {title}{more}")
        return 0

    return with_files(base, work)


@click.command(short_help="Delete a server, with all that is in its folder.")
@click.argument("title", metavar="AE")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--with-images", is_flag=True, help="Delete stored instances, too.")
@of_a_base
@json_option
def remove(title: str, yes: bool, with_images: bool, base: str | None, as_json: bool) -> int:
    """Delete the server AE: its settings, its AE titles, its logs, its add-ins. It must not be running.

    What would be deleted is said first, and it is asked whether that is meant; where there is no terminal to ask on,
    --yes has to say so. Stored instances are deleted with --with-images only.

    \b
    Examples:
      txdicom server remove TEST
      txdicom server remove TEST --with-images --yes

    --json prints one object: type "removed", ae_title, folder, instances.
    """

    def work(administrator: ServiceAdministrator) -> int:
        output = Output(as_json=as_json)
        administrator.check_stopped(title)
        lost = administrator.contents(title)
        for sentence in _losses(lost):
            output.complain(sentence)
        if lost.instances and not with_images:
            output.complain("Error: there are stored instances in it: --with-images deletes them with it")
            return 1
        if not yes:
            if as_json or not sys.stdin.isatty():
                output.complain("Error: nobody can be asked whether that is meant: --yes says so")
                return 1
            if not click.confirm(f"Delete the server {title}?", err=True):
                return 1
        administrator.remove(title)
        output.record("removed", ae_title=title, folder=lost.folder, instances=lost.instances)
        output.say(f"removed: {title}")
        return 0

    return with_files(base, work)


def _losses(lost: Contents) -> list[str]:
    count = lost.instances
    what = f"{count} stored instance{'s' * (count != 1)}" if count else "no stored instance"
    sentences = [f"{lost.folder} is deleted, with settings, AE titles, logs and add-ins, and {what} in it"]
    if lost.elsewhere:
        sentences.append(f"its store is elsewhere, and stays: {lost.elsewhere}")
    return sentences


@click.command(short_help="Print a unit by which systemd runs a server.")
@click.argument("title", metavar="[AE]", required=False)
@of_a_base
@json_option
def systemd(title: str | None, base: str | None, as_json: bool) -> int:
    """Print a unit by which systemd runs the server AE, as the user to whom its folder belongs.

    systemd then knows when the server is ready, and shows why where it is not; `systemctl reload` has the settings read
    again. Do not start such a server by `txdicom server start`, nor restart it by `txdicom server restart`.

    \b
    Example:
      txdicom server systemd ARCHIVE | sudo tee /etc/systemd/system/txdicom-ARCHIVE.service

    --json prints one object: type "unit", ae_title, text.
    """

    def work(administrator: ServiceAdministrator) -> int:
        found = administrator.find(title)
        text = administrator.systemd(found)
        Output(as_json=as_json).record("unit", ae_title=found, text=text)
        if not as_json:
            click.echo(text, nl=False)
        return 0

    return with_files(base, work)
