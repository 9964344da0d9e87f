"""What an operator wants to know about an endpoint string before and after it is opened."""

from __future__ import annotations

import errno
import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

from txdicom.net.tls import SecureFactory

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

_PART: Final = re.compile(r"(?:[^:\\]|\\.)*", re.DOTALL)
_ANYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (compared, not bound)

_REMEDIES: Final = {
    errno.EADDRINUSE: "another program has this port: stop it, or take another port",
    errno.EADDRNOTAVAIL: "this computer has no such address: take one that it has",
    errno.EACCES: "ports below 1024 need the privilege CAP_NET_BIND_SERVICE: grant it, or take a port above",
}


def check_endpoint(text: str) -> str:
    """`text`, where it is an endpoint that can be listened on; ValueError with a sentence where not."""
    from twisted.internet import reactor
    from twisted.internet.endpoints import serverFromString

    try:
        serverFromString(reactor, text)
        kind, (port,) = _arguments(text, "port")
        if kind in {"tcp", "tcp6", "ssl"} and not 0 <= int(port) <= 65_535:
            raise ValueError(f"{port} is not a port")
    except Exception as error:  # noqa: BLE001 (endpoints come from plugins, whose parsers raise what they like)
        example = "one looks like tcp:11112:interface=127.0.0.1"
        raise ValueError(f"{text!r} is not an endpoint ({error}); {example}") from None
    return text


def check_secure_endpoint(text: str) -> str:
    """`text`, where TLS can be done over it by us; ValueError with a sentence where not."""
    kind = _parts(text)[0]
    if kind in {"ssl", "unix"}:
        raise ValueError(f"{text!r} is not for TLS by the table [tls]: write tcp:2762, or tcp6:2762")
    return text


def is_local(text: str) -> bool:
    """Whether an endpoint can be reached from this computer only."""
    kind, (_port, interface) = _arguments(text, "port", "interface")
    if kind == "unix":
        return True
    if interface == "localhost":
        return True
    try:
        return ipaddress.ip_address(interface.partition("%")[0]).is_loopback
    except ValueError:
        return False


def is_secure(port: Any) -> bool:
    """Whether an open port of Twisted's is for TLS."""
    return isinstance(getattr(port, "factory", None), SecureFactory)


def is_unix(text: str) -> bool:
    """Whether an endpoint is a socket in the file system."""
    return _arguments(text)[0] == "unix"


def port_of(text: str) -> int:
    """The number of the port of an endpoint; 0 where the system chooses it, or it has none."""
    _kind, (port,) = _arguments(text, "port")
    return int(port) if port.isascii() and port.isdigit() else 0


def describe(address: IAddress, *, secure: bool = False) -> str:
    """An opened port as a log line shows it."""
    return f"{_place(address)} (TLS)" if secure else _place(address)


def _place(address: IAddress) -> str:
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return _socket_path(address)
    if not host or host in _ANYWHERE:
        return f"port {port} of all addresses"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def invitation(ae_title: str, address: Any, *, anonymous: bool, secure: bool = False) -> str:
    """How to try the server from this computer by one of its opened ports; empty for a socket in the file system."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return ""
    host = _ANYWHERE.get(host, host)
    peer = f"{ae_title}@[{host}]:{port}" if ":" in host else f"{ae_title}@{host}:{port}"
    calling = "" if anonymous else "-aet A_TITLE_OF_AETITLES_TOML "
    if secure:
        return f"txdicom echo --tls --tls-ca CA.pem --tls-cert CERTIFICATE.pem --tls-key KEY.pem {calling}{peer}"
    return f"txdicom echo {calling}{peer}, or with DCMTK: echoscu {calling}-aec {ae_title} {host} {port}"


def why_not(endpoint: str, error: Exception, *, secure: bool = False) -> str:
    """A sentence on an endpoint that could not be opened, with what helps."""
    cause = getattr(error, "socketError", error)
    number = getattr(cause, "errno", None)
    reason = getattr(cause, "strerror", None) or str(cause)
    remedy = _REMEDIES.get(number or 0, "correct it")
    where = "secure_listen in server.toml" if secure else "--listen for one run, listen in server.toml for all"
    return f"cannot listen on {endpoint}: {reason}; {remedy} ({where})"


def _socket_path(address: Any) -> str:
    name = getattr(address, "name", None)
    return f"the socket {name.decode(errors='replace')}" if isinstance(name, bytes) else str(address)


def _arguments(text: str, *names: str) -> tuple[str, list[str]]:
    """The kind of an endpoint, and those of its arguments that may stand first or be named; empty where not given."""
    kind, *arguments = _parts(text)
    named = dict(one.split("=", 1) for one in arguments if "=" in one)
    positional = [one for one in arguments if "=" not in one]
    positional += [""] * len(names)
    return kind, [named[name] if name in named else positional[index] for index, name in enumerate(names)]


def _parts(text: str) -> list[str]:
    """The colon-separated parts of an endpoint string, unescaped."""
    parts, here = [], 0
    while here <= len(text):
        found = _PART.match(text, here)
        assert found is not None
        parts.append(re.sub(r"\\(.)", r"\1", found[0], flags=re.DOTALL))
        here = found.end() + 1
    return parts
