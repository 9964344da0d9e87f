"""`txdicom ae`: the application entities that a server knows; it works on the server's aetitles.toml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from txdicom.cli.managing import with_files
from txdicom.cli.options import as_json as json_option
from txdicom.cli.options import of_a_server
from txdicom.cli.output import Output
from txdicom.cli.tables import show_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from txdicom.interfaces import AEEntry
    from txdicom.server.ae.file import Table
    from txdicom.server.managing.manager import ServiceAdministrator

F = TypeVar("F", bound="Callable[..., Any]")

_TLS_CHOICES: Final = {"yes": True, "no": False, "server": None}
_COLUMNS: Final = ("AE title", "host", "port", "secure port", "port usage", "verify", "name")


def _values(command: F) -> F:
    """The options that say what is known of an application entity."""
    decorators = (
        click.option("--secure-port", metavar="PORT", type=int, help="Its port with TLS; 2762 where none is given."),
        click.option(
            "--port-usage",
            type=click.Choice(("server", "plain", "secure", "none")),
            help="Which port it is called on; server: secure where the server itself has secure ports only.",
        ),
        click.option("--name", "friendly_name", metavar="TEXT", help="A name for people."),
        click.option(
            "--verify",
            type=click.Choice(("none", "address", "host-name", "mask")),
            help="From where it may call. none: from anywhere. address: from an address of its host. host-name: the "
            "same, and that address has the host's name. mask: from an address in --mask.",
        ),
        click.option("--mask", metavar="MASK", help="For --verify mask: 192.0.2.0/24 or 192.0.2.0/255.255.255.0."),
        click.option(
            "--verify-tls-host-name",
            type=click.Choice(tuple(_TLS_CHOICES)),
            help="Whether its certificate has to name the host; server: as the server's [tls] says.",
        ),
        click.option("--character-set", metavar="TERM", help="Specific Character Set where none is said: ISO_IR 192."),
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


@click.group(short_help="AE titles: list, add, update, remove those that a server knows.")
def ae() -> None:
    """The application entities that a server knows: who may call, and where they are called.

    A server that runs notices a change at once. Comments in aetitles.toml stay.

    \b
    Examples:
      txdicom ae list
      txdicom ae add WORKSTATION 192.0.2.7:11112 --verify address
    """


@ae.command("list", short_help="List the AE titles that a server knows.")
@of_a_server
@json_option
def list_(base: str | None, ae_title: str | None, as_json: bool) -> int:
    """List the application entities that a server knows.

    \b
    Examples:
      txdicom ae list
      txdicom ae list --base /srv/dicom --ae-title ARCHIVE
      txdicom ae list --json | jq -r 'select(.verify == "none") | .ae_title'

    --json prints an object for each: type "ae", ae_title, host, port, secure_port, port_usage, friendly_name, verify,
    mask, verify_tls_host_name (null: as the server), character_set.
    """

    def show(path: str) -> None:
        from txdicom.interfaces.ae_titles import VALUES
        from txdicom.server.ae.file import read

        output = Output(as_json=as_json)
        entries = read(path).entries.values()
        for entry in entries:
            output.record("ae", ae_title=entry.ae_title, **{name: getattr(entry, name) for name in VALUES})
        if not as_json:
            _show(list(entries))

    return _with_table(base, ae_title, show)


@ae.command(short_help="Add an AE title: who it is and where it listens.")
@click.argument("title", metavar="TITLE")
@click.argument("place", metavar="[HOST[:PORT]]", required=False)
@_values
@of_a_server
def add(title: str, place: str | None, base: str | None, ae_title: str | None, **values: Any) -> int:
    """Add the application entity TITLE, which listens on HOST:PORT (port 104 where none is given), or only calls.

    \b
    Examples:
      txdicom ae add WORKSTATION 192.0.2.7:11112
      txdicom ae add "CT SCANNER.2" ct2.example.org --verify host-name --name "CT, second floor"
      txdicom ae add MOBILE --verify mask --mask 192.0.2.0/24
    """
    given = _given(values, title, place)

    def edit(path: str) -> None:
        from txdicom.interfaces.ae_titles import entry_of
        from txdicom.server.ae.file import adding, change

        change(path, adding(entry_of({"ae_title": title, **given})))

    return _with_table(base, ae_title, edit)


@ae.command(short_help="Change what is known of an AE title, or rename it.")
@click.argument("title", metavar="TITLE")
@click.argument("place", metavar="[HOST[:PORT]]", required=False)
@_values
@click.option("--rename", metavar="TITLE", help="Give it another AE title.")
@of_a_server
def update(
    title: str, place: str | None, rename: str | None, base: str | None, ae_title: str | None, **values: Any
) -> int:
    """Change what is known of the application entity TITLE; what is not given stays. HOST without a port keeps it.

    \b
    Examples:
      txdicom ae update WORKSTATION 192.0.2.8
      txdicom ae update WORKSTATION --verify address --port-usage secure
      txdicom ae update WORKSTATION --rename VIEWER
    """
    given = _given(values, title, place)
    if rename is not None:
        given["ae_title"] = rename
    if not given:
        raise click.UsageError("nothing to change is given: HOST[:PORT], or an option (--help lists them)")

    def edit(path: str) -> None:
        from txdicom.interfaces.ae_titles import VALUES, entry_of
        from txdicom.scp.ae_titles import find
        from txdicom.server.ae.file import change, updating

        def changed(table: Table) -> Table:
            old = find(table.entries, title)
            known = {name: getattr(old, name) for name in ("ae_title", *VALUES)}
            return updating(title, entry_of({**known, **given}))(table)

        change(path, changed)

    return _with_table(base, ae_title, edit)


@ae.command(short_help="Remove AE titles.")
@click.argument("titles", metavar="TITLE...", nargs=-1, required=True)
@of_a_server
def remove(titles: tuple[str, ...], base: str | None, ae_title: str | None) -> int:
    """Remove application entities, all of those given or none.

    \b
    Example:
      txdicom ae remove WORKSTATION "CT SCANNER.2"
    """

    def edit(path: str) -> None:
        from txdicom.server.ae.file import change, removing

        def without(table: Table) -> Table:
            for title in dict.fromkeys(titles):
                table = removing(title)(table)
            return table

        change(path, without)

    return _with_table(base, ae_title, edit)


def _given(values: dict[str, Any], title: str, place: str | None) -> dict[str, Any]:
    """What the command line says of an entry."""
    given = {name: value for name, value in values.items() if value is not None}
    if "verify_tls_host_name" in given:
        given["verify_tls_host_name"] = _TLS_CHOICES[given["verify_tls_host_name"]]
    if place is not None:
        from txdicom.interfaces.ae_titles import is_ae_title
        from txdicom.scu.peer import Peer

        try:
            peer = Peer.parse(place, title if is_ae_title(title) else "TITLE")  # what is wrong with it is said later
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="'HOST[:PORT]'") from None
        given["host"] = peer.host
        if peer.port:
            given["port"] = peer.port
    return given


def _with_table(base: str | None, ae_title: str | None, work: Callable[[str], None]) -> int:
    """Does `work` on the file of the server; the exit status. What is wrong is said in sentences."""

    def with_folder(administrator: ServiceAdministrator) -> int:
        folder = administrator.folder(ae_title)
        folder.check_owner()
        work(folder.ae_table_file)
        return 0

    return with_files(base, with_folder)


def _show(entries: Sequence[AEEntry]) -> None:
    """A table on a terminal, else a line for each with tabs between."""
    lines = [
        (
            one.ae_title,
            one.host,
            str(one.port) if one.host else "",
            str(one.secure_port) if one.host else "",
            one.port_usage,
            f"mask {one.mask}" if one.verify == "mask" else one.verify,
            one.friendly_name,
        )
        for one in entries
    ]
    show_rows(_COLUMNS, lines)
