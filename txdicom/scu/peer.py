"""Whom to talk to: an application entity and where it listens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

#: the port of DICOM without TLS (PS3.8 §9.1.1)
DEFAULT_PORT: Final = 104
#: and with TLS (PS3.15 B.12)
TLS_PORT: Final = 2762


@dataclass(frozen=True, slots=True)
class Peer:
    """An application entity: its AE title, the name or address of its host, its port.

    Port 0 is the usual one: 104, with TLS 2762. Raises ValueError, with a sentence, for what cannot be one.
    """

    ae_title: str
    host: str
    port: int = 0

    def __post_init__(self) -> None:
        check_ae_title(self.ae_title)
        if not self.host or not self.host.isprintable() or " " in self.host:
            raise ValueError(f"{self.host!r} is neither the name nor the address of a host")
        if not 0 <= self.port < 65536:
            raise ValueError(f"{self.port} is no port: it has to be 1 to 65535, or 0 for the usual one")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.ae_title}@{host}:{self.port}" if self.port else f"{self.ae_title}@{host}"

    def with_port(self, *, tls: bool) -> Peer:
        """With the usual port where none is given."""
        return self if self.port else replace(self, port=TLS_PORT if tls else DEFAULT_PORT)

    @classmethod
    def parse(cls, text: str, called_ae: str = "") -> Peer:
        """`AET@host:port`, `AET@host`, or with the AE title given as `called_ae`, `host:port` and `host`.

        AE titles may hold "@": the last one counts. An IPv6 address stands in brackets: `AET@[::1]:104`. Raises
        ValueError with a sentence that says what to write instead.
        """
        ae_title, at, place = text.rpartition("@")
        if at and called_ae and ae_title != called_ae:
            raise ValueError(f"{text!r} names the AE title {ae_title!r}, and {called_ae!r} is given too: give one")
        host, port = _host_and_port(place, text)
        if not (ae_title or called_ae):
            raise ValueError(f"{text!r} has no AE title: write AET@{place}, or give the title with -aec")
        return cls(ae_title or called_ae, host, port)


def check_ae_title(title: str) -> str:
    """`title`; ValueError where it is no AE title (PS3.5 §6.2)."""
    if not 0 < len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title or not title.strip():
        raise ValueError(
            f"{title!r} is no AE title: it has to be 1 to 16 ASCII characters, not only spaces, without a backslash"
        )
    return title


def _host_and_port(place: str, text: str) -> tuple[str, int]:
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is no peer: after [ an IPv6 address, ] and perhaps :port are expected")
        colon, port = rest[:1], rest[1:]
    elif place.count(":") > 1:
        raise ValueError(f"{text!r} is no peer: an IPv6 address has to stand in brackets, as in AET@[::1]:104")
    else:
        host, colon, port = place.partition(":")
    if not host:
        raise ValueError(f"{text!r} is no peer: the host is missing, as in AET@host:port")
    if not colon:
        return host, 0
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        raise ValueError(f"{text!r} is no peer: {port!r} is no port, which is a number from 1 to 65535")
    return host, int(port)
