"""Rows as people read them: a table on a terminal, else a line for each with tabs between."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from txdicom.cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def show_rows(
    columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Mapping[str, Mapping[str, str]] | None = None
) -> None:
    """Prints rows with a cell for each column; `styles` gives the colour of a cell by its column and its first word."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(map(printable, row)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = []
        for column, cell in zip(columns, row, strict=True):
            colours = (styles or {}).get(column, {})
            # of what others have written nothing is markup
            cells.append(Text(printable(cell), colours.get(cell.partition(",")[0], colours.get("", ""))))
        table.add_row(*cells)
    Console().print(table)


def duration(seconds: float) -> str:
    """A time in the largest two units that say something: `3 d 4 h`, `12 s`."""
    rest = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or (parts and len(parts) < 2) or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        if len(parts) == 2:
            break
    return " ".join(parts)


def size(count: int) -> str:
    """A number of bytes: `512 B`, `1.5 MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
