"""Options that commands have in common: which server; those of an SCU are named as DCMTK's users know them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from txdicom.net.tls import TLS
    from txdicom.scu.peer import Peer
    from txdicom.scu.user import User

F = TypeVar("F", bound="Callable[..., Any]")

_SECONDS = click.FloatRange(min=0)


def of_a_base(command: F) -> F:
    """The option that says where the servers are."""
    return click.option(
        "-b", "--base", metavar="DIR", help="Folder of the servers; else $TXDICOM_HOME, else the user's data folder."
    )(command)


def of_a_server(command: F) -> F:
    """The options that say which server."""
    title = click.option("-a", "--ae-title", metavar="AE", help="The server's AE title; else the only one in the base.")
    return of_a_base(title(command))


def of_servers(command: F) -> F:
    """The options that say which servers, where all may be meant."""
    title = click.option("-a", "--ae-title", metavar="AE", help="The server's AE title; else all servers of the base.")
    return of_a_base(title(command))


def as_json(command: F) -> F:
    """The option of those who have programs read what is said."""
    return click.option("--json", "as_json", is_flag=True, help="JSON Lines on standard output: one object a line.")(
        command
    )


@dataclass(frozen=True, kw_only=True)
class Connection:
    """What the common options say."""

    peer: Peer
    aetitle: str
    max_pdu: int
    acse_timeout: float
    dimse_timeout: float
    timeout: float
    tls: TLS | None = None
    user: User | None = None

    def options(self) -> dict[str, Any]:
        """As keywords of `txdicom.scu.connect`."""
        return {
            "calling_ae": self.aetitle,
            "max_pdu": self.max_pdu,
            "acse_timeout": self.acse_timeout,
            "dimse_timeout": self.dimse_timeout,
            "connect_timeout": self.timeout,
            "tls": self.tls,
            "user_identity": self.user,
        }


def _title(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from txdicom.scu.peer import check_ae_title

    try:
        return None if value is None else check_ae_title(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _profile(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    from txdicom.net.tls_profiles import PROFILES

    if value not in PROFILES:
        raise click.BadParameter(f"there is no profile {value!r}; there are {', '.join(PROFILES)}")
    return value


def connection_of(values: dict[str, Any]) -> Connection:
    """Takes the common options out of a command's values."""
    from txdicom.scu.peer import Peer

    called = values.pop("call") or ""
    try:
        peer = Peer.parse(values.pop("peer"), called)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'PEER'") from None
    user = _user(values)
    tls = _tls(values)
    names = ("aetitle", "max_pdu", "acse_timeout", "dimse_timeout", "timeout")
    peer = peer.with_port(tls=tls is not None)
    return Connection(peer=peer, tls=tls, user=user, **{name: values.pop(name) for name in names})


def _user(values: dict[str, Any]) -> User | None:
    """Takes the options of the user identity out of a command's values; the file is read."""
    name, path = values.pop("user"), values.pop("password_file")
    if name is None:
        if path is not None:
            raise click.UsageError("--password-file needs --user: a password is sent with the user's name only")
        return None
    from txdicom import private_files
    from txdicom.scu.user import User

    try:
        return User(name, None if path is None else private_files.password(path).decode())
    except UnicodeDecodeError:
        raise click.UsageError(f"--password-file: the first line of {path} is not in UTF-8") from None
    except private_files.Unusable as error:
        raise click.UsageError(f"--password-file: {error}") from None
    except ValueError as error:
        raise click.UsageError(f"--user: {error}") from None


#: the options of TLS but its profile, and the settings they give
_TLS_FILES: Final = {
    "certificate": "--tls-cert",
    "key": "--tls-key",
    "key_password_file": "--tls-key-password-file",
    "ca": "--tls-ca",
}


def _tls(values: dict[str, Any]) -> TLS | None:
    """Takes the options of TLS out of a command's values; the files are checked."""
    wanted = values.pop("tls")
    given = {name: values.pop(f"tls_{name}") for name in (*_TLS_FILES, "profile")}
    given = {name: value for name, value in given.items() if value}
    if not wanted:
        if given:
            raise click.UsageError("the options --tls-… need --tls: without it nothing would be encrypted")
        return None
    from txdicom.errors import SettingsError
    from txdicom.net.tls import TLS, ClientTls

    tls = TLS(**given)
    try:
        ClientTls(tls, lambda name: _TLS_FILES.get(name, name))
    except SettingsError as error:
        raise click.UsageError("; ".join(error.problems)) from None
    return tls


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
        click.option(
            "--user",
            metavar="NAME",
            help="The user who asks, for a peer that lets users in by name (PS3.7 D.3.3.7).",
        ),
        click.option(
            "--password-file",
            metavar="FILE",
            help="File with the user's password in its first line, open to you alone; without --tls it can be read "
            "on its way.",
        ),
        click.option(
            "--tls",
            is_flag=True,
            help="Connect over TLS; nothing is ever sent without it then. The usual port is 2762.",
        ),
        click.option(
            "--tls-ca",
            metavar="PATH",
            help="File (PEM) with the certificates of the issuers that we trust, or a folder of such files; "
            "else those that the system trusts.",
        ),
        click.option(
            "--tls-cert",
            "tls_certificate",
            metavar="FILE",
            help="Our certificate (PEM), then those of its issuers, for a peer that wants one.",
        ),
        click.option("--tls-key", metavar="FILE", help="The private key of our certificate (PEM), open to you alone."),
        click.option(
            "--tls-key-password-file",
            metavar="FILE",
            help="File with the key's password in its first line, if it has one; open to you alone.",
        ),
        click.option(
            "--tls-profile",
            metavar="NAME",
            callback=_profile,
            help="Versions and cipher suites (PS3.15 Annex B): bcp195-rfc8996-9325, the default, or "
            "modified-bcp195-rfc8996-9325; for old peers extended-bcp195, non-downgrading-bcp195, bcp195, aes.",
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
