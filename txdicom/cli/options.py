"""Options that the commands of an SCU have in common, named as DCMTK's users know them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from txdicom.scu.peer import Peer

F = TypeVar("F", bound="Callable[..., Any]")

_SECONDS = click.FloatRange(min=0)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """What the common options say."""

    peer: Peer
    aetitle: str
    max_pdu: int
    acse_timeout: float
    dimse_timeout: float
    timeout: float

    def options(self) -> dict[str, Any]:
        """As keywords of `txdicom.scu.connect`."""
        return {
            "calling_ae": self.aetitle,
            "max_pdu": self.max_pdu,
            "acse_timeout": self.acse_timeout,
            "dimse_timeout": self.dimse_timeout,
            "connect_timeout": self.timeout,
        }


def _title(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from txdicom.scu.peer import check_ae_title

    try:
        return None if value is None else check_ae_title(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def connection_of(values: dict[str, Any]) -> Connection:
    """Takes the common options out of a command's values."""
    from txdicom.scu.peer import Peer

    called = values.pop("call") or ""
    try:
        peer = Peer.parse(values.pop("peer"), called)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'PEER'") from None
    names = ("aetitle", "max_pdu", "acse_timeout", "dimse_timeout", "timeout")
    return Connection(peer=peer, **{name: values.pop(name) for name in names})


def connecting(command: F) -> F:
    """The argument PEER and the options of the association."""
    decorators = (
        click.argument("peer", metavar="PEER"),
        click.option(
            "-aet",
            "--aetitle",
            metavar="AET",
            default="TXDICOM",
            show_default=True,
            callback=_title,
            help="Our AE title: what the peer knows us by.",
        ),
        click.option(
            "-aec",
            "--call",
            metavar="AET",
            callback=_title,
            help="The peer's AE title, where PEER has none: host:port.",
        ),
        click.option(
            "-pdu",
            "--max-pdu",
            metavar="BYTES",
            type=click.IntRange(4096, 1_048_576),
            default=131_072,
            show_default=True,
            help="The longest PDU that we receive; how long ours are is for the peer to say.",
        ),
        click.option(
            "-to",
            "--timeout",
            metavar="SECONDS",
            type=_SECONDS,
            default=30.0,
            show_default=True,
            help="For the connection, name resolution included; 0: no limit.",
        ),
        click.option(
            "-ta",
            "--acse-timeout",
            metavar="SECONDS",
            type=_SECONDS,
            default=30.0,
            show_default=True,
            help="For the peer to accept and to release the association; 0: no limit.",
        ),
        click.option(
            "-td",
            "--dimse-timeout",
            metavar="SECONDS",
            type=_SECONDS,
            default=30.0,
            show_default=True,
            help="For each answer of the peer; 0: no limit.",
        ),
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def reporting(command: F) -> F:
    """How much is said, and in which form."""
    decorators = (
        click.option("-v", "--verbose", is_flag=True, help="Say what was negotiated and what is done."),
        click.option("-d", "--debug", is_flag=True, help="The same, and the log of the library, on standard error."),
        click.option("--json", "as_json", is_flag=True, help="JSON Lines on standard output: one object a line."),
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command
