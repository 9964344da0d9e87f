"""`txdicom addin show` and `set`: the settings of one add-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from txdicom.cli.managing import with_servers
from txdicom.cli.options import as_json as json_option
from txdicom.cli.options import of_a_server
from txdicom.cli.output import Output
from txdicom.cli.server_settings import say_applied
from txdicom.cli.tables import show_rows

if TYPE_CHECKING:
    from txdicom.server.managing.manager import ServiceAdministrator

_COLUMNS: Final = ("setting", "value", "default", "what it is")


@click.command(short_help="Show the settings of an add-in.")
@click.argument("name", metavar="NAME")
@of_a_server
@json_option
def show(name: str, base: str | None, ae_title: str | None, as_json: bool) -> int:
    """Show the settings of the add-in NAME: of a server that runs those in force, else those of its files.

    \b
    Examples:
      txdicom addin show my-filter
      txdicom addin show my-filter --ae-title ARCHIVE --json

    --json prints an object for each: type "setting", addin, name, value, default, doc.
    """

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        output = Output(as_json=as_json)
        options = await administrator.addin_options(reactor, ae_title, name)
        described = options.json_schema.get("properties", {})
        rows = []
        for key, value in options.values.items():
            about = described.get(key, {})
            default, doc = about.get("default"), " ".join(str(about.get("description", "")).split())
            output.record("setting", addin=name, name=key, value=value, default=default, doc=doc)
            rows.append((key, _text(value), _text(default), doc))
        if not as_json:
            show_rows(_COLUMNS, rows)
        return 0

    return with_servers(base, work)


def _text(value: Any) -> str:
    """A value as in TOML; what TOML has not, as JSON has it."""
    import json

    from txdicom.server.settings.toml import format_value

    try:
        return "" if value is None else format_value(value)
    except ValueError:
        return json.dumps(value)


@click.command("set", short_help="Change settings of an add-in.")
@click.argument("name", metavar="NAME")
@click.argument("settings", metavar="KEY=VALUE...", nargs=-1, required=True)
@of_a_server
@json_option
def set_(name: str, settings: tuple[str, ...], base: str | None, ae_title: str | None, as_json: bool) -> int:
    """Change settings of the add-in NAME, all of those given or none: in their file, whose comments stay, and in force.

    \b
    Examples:
      txdicom addin set my-filter station=CT1
      txdicom addin set my-filter 'stations=["CT1", "CT2"]' --ae-title ARCHIVE

    Values are written as in TOML; what is no TOML value is a string. The add-in's own model checks them, and an add-in
    of a server that runs is given them at once. --json prints one object: type "applied", changed, restart,
    overridden (lists of names; the last: the command line of this run goes before them), running.
    """

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        from txdicom.errors import BadArgument
        from txdicom.server.settings.toml import parse_value

        problems: list[str] = []
        values: dict[str, Any] = {}
        for text in settings:
            key, equals, value = (part.strip() for part in text.partition("="))
            try:
                if not equals or not key:
                    raise ValueError("give KEY=VALUE")
                values[key] = parse_value(value)
            except ValueError as error:
                problems.append(f"{text}: {error}")
        if problems:
            raise BadArgument(problems)
        applied = await administrator.set_addin_options(reactor, ae_title, name, values)
        say_applied(Output(as_json=as_json), applied, [f"addins.{name}.{key}" for key in values])
        return 0

    return with_servers(base, work)
