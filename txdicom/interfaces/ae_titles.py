"""The AE-title service: which application entities a server knows, and whether a caller is the one it says it is."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from zope.interface import Interface

from txdicom.errors import BadArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

#: which of its ports an application entity is called on
PORT_USAGES: Final = ("server", "plain", "secure", "none")
#: what is compared with the peer's address before its AE title is believed
VERIFICATIONS: Final = ("none", "address", "host-name", "mask")

_HOST_NAME: Final = re.compile(r"[^\W_]([\w.-]*\w)?\.?")
#: the form of the defined terms of Specific Character Set (0008,0005); several make one value with backslashes
_CHARACTER_SET: Final = re.compile(r"ISO_IR [0-9]{1,3}|ISO 2022 IR [0-9]{1,3}|GB18030|GBK", re.ASCII)
_LONGEST_NAME: Final = 253


def _field(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, kw_only=True, slots=True)
class AEEntry:
    """One application entity. BadArgument lists every value that cannot be: an entry that exists is a valid one."""

    ae_title: str
    host: str = _field("", "name or address; empty for one that only calls")
    port: int = _field(104, "TCP port")
    secure_port: int = _field(2762, "TCP port with TLS")
    port_usage: str = _field(
        "server",
        "which port it is called on: plain, secure, none (it is never called), server (as this server is: secure"
        " where it has secure ports only)",
    )
    friendly_name: str = _field("", "a name for people")
    verify: str = _field(
        "none",
        "which address of a caller is believed: address (the host's), host-name (that, and the host is its name),"
        " mask (it is in the mask), none (any)",
    )
    mask: str = _field("", "addresses for verify = mask: 192.0.2.0/24, 192.0.2.0/255.255.255.0, 2001:db8::/32")
    verify_tls_host_name: bool | None = _field(
        None, "whether its certificate has to name the host; not given: as the server's [tls] says"
    )
    character_set: str = _field("", "Specific Character Set where a data set of it says none, such as ISO_IR 192")
    last_access: datetime | None = field(default=None, compare=False)
    """When it last opened an association; kept in memory."""

    def __post_init__(self) -> None:
        given = {name: value for name, default in _DEFAULTS if (value := getattr(self, name)) is not default}
        problems = mistakes({"ae_title": self.ae_title, **given})
        if problems:
            raise BadArgument([f"{name}: {sentence}" for name, sentence in problems.items()])


#: the values of an entry beside its AE title, with what each is for; the order of the file and the tables
VALUES: Final[Mapping[str, str]] = {
    one.name: one.metadata["doc"] for one in fields(AEEntry) if one.name not in {"ae_title", "last_access"}
}
_DEFAULTS: Final = [(one.name, one.default) for one in fields(AEEntry) if one.name in VALUES]


class IAETitle(Interface):
    """Base service: the application entities that a server knows, by AE title.

    Every method may be a plain one, a coroutine, or return a Deferred: callers use `maybeDeferred`. Spaces around an
    AE title are not significant (PS3.5 §6.2), everything else is, upper and lower case too.
    """

    def add(entry):  # type: ignore[no-untyped-def]  # an interface's method
        """Takes a new `AEEntry`. Raises `Conflict` where its AE title is there already."""

    def update(ae_title, entry):  # type: ignore[no-untyped-def]  # an interface's method
        """Puts `entry` in the place of the entry `ae_title`; with another title in it, renames that.

        Raises `NotFound`, and `Conflict` where the new title is there already.
        """

    def remove(ae_title):  # type: ignore[no-untyped-def]  # an interface's method
        """Forgets the entry. Raises `NotFound`."""

    def get(ae_title):  # type: ignore[no-untyped-def]  # an interface's method
        """The `AEEntry` of that title. Raises `NotFound`."""

    def get_all():  # type: ignore[no-untyped-def]  # an interface's method
        """All entries, a sequence of `AEEntry` in the order in which they are kept."""

    def validate(association):  # type: ignore[no-untyped-def]  # an interface's method
        """Whether the caller may open this association; False is answered by A-ASSOCIATE-RJ (1,1,3).

        `association` is as `IRequest.association`: `calling_ae`, `peer` (its Twisted address), `config` with the
        server's settings, `config.allow_anonymous` among them. It is asked before anything is negotiated, for every
        association, and says itself in the log why it refuses. An exception, and no answer within `addin_timeout`,
        refuse too.
        """


def is_ae_title(text: object) -> bool:
    """Whether a peer may have this title (VR AE, PS3.5 §6.2), written without spaces around it."""
    return (
        isinstance(text, str)
        and 0 < len(text) <= 16
        and text.isascii()
        and text.isprintable()
        and "\\" not in text
        and text == text.strip()
    )


def entry_of(values: Mapping[str, Any]) -> AEEntry:
    """An entry of what a program or a form gives; BadArgument lists every mistake, unknown names too."""
    problems = mistakes(values)
    if problems:
        raise BadArgument([f"{name}: {sentence}" for name, sentence in problems.items()])
    return AEEntry(**values)


def mistakes(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the values of an entry: a sentence by the name of the value."""
    problems: dict[str, str] = {}
    for name, value in values.items():
        check = _CHECKS.get(name)
        if check is None:
            problems[name] = f"there is no such value; there are {', '.join(VALUES)}"
        elif sentence := check(value):
            problems[name] = f"{sentence}, not {value!r}"
    if "ae_title" not in values:
        problems["ae_title"] = "an entry needs one"
    host, verify = values.get("host", ""), values.get("verify", "none")
    if problems.keys() & {"host", "verify", "mask"}:
        return problems
    if verify in {"address", "host-name"} and not host:
        problems["verify"] = f"{verify} needs the host"
    elif verify == "host-name" and _address(host):
        problems["verify"] = f"host-name needs a host with a name, and {host} is an address: say address"
    elif verify == "mask" and not values.get("mask"):
        problems["verify"] = "mask needs the mask"
    return problems


def plain_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address for comparing: without its zone, and IPv4 where it is IPv4 mapped into IPv6; None for a name."""
    found = _address(text.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped or found


def network_of(mask: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The addresses of a mask. Raises ValueError; one without "/" would be a single address, which nobody means."""
    if "/" not in mask:
        raise ValueError(mask)
    network = ipaddress.ip_network(mask, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _title(value: object) -> str:
    rule = "has to be 1 to 16 characters of ASCII, no backslash, no control character, no space around"
    return "" if is_ae_title(value) else rule


def _host(value: object) -> str:
    if isinstance(value, str) and len(value) <= _LONGEST_NAME:
        # digits and dots are meant as an address, which may be mistyped
        is_name = _HOST_NAME.fullmatch(value) and not value.replace(".", "").isdigit()
        if not value or is_name or _address(value):
            return ""
    return "has to be the name or the address of a host"


def _port(value: object) -> str:
    is_port = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65_536
    return "" if is_port else "has to be a number from 1 to 65535"


def _one_of(names: tuple[str, ...]) -> Callable[[object], str]:
    return lambda value: "" if value in names else f"has to be one of {', '.join(names)}"


def _name(value: object) -> str:
    fits = isinstance(value, str) and len(value) <= 64 and (value.isprintable() or not value)
    return "" if fits else "has to be text, at most 64 characters, none of them a control character"


def _mask(value: object) -> str:
    try:
        if isinstance(value, str) and (not value or network_of(value)):
            return ""
    except ValueError:
        pass
    return "has to be an address and how many of its bits count, such as 192.0.2.0/24 or 192.0.2.0/255.255.255.0"


def _tristate(value: object) -> str:
    return "" if value is None or isinstance(value, bool) else "has to be true or false"


def _character_set(value: object) -> str:
    if isinstance(value, str):
        first, *others = value.split("\\")
        terms = [*others, *([first] if first else [])]  # the first of several may be left empty: ISO_IR 6
        if all(map(_CHARACTER_SET.fullmatch, terms)):
            return ""
    return "has to be Specific Character Set as in a data set, such as ISO_IR 192 for UTF-8"


_CHECKS: Final[Mapping[str, Callable[[Any], str]]] = {
    "ae_title": _title,
    "host": _host,
    "port": _port,
    "secure_port": _port,
    "port_usage": _one_of(PORT_USAGES),
    "friendly_name": _name,
    "verify": _one_of(VERIFICATIONS),
    "mask": _mask,
    "verify_tls_host_name": _tristate,
    "character_set": _character_set,
}
