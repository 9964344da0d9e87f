"""What is said about endpoint strings."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError

from txdicom.server.endpoints import (
    check_endpoint,
    check_secure_endpoint,
    describe,
    invitation,
    is_local,
    is_unix,
    why_not,
)

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress


@pytest.mark.parametrize(
    "text",
    [
        "tcp:11112:interface=127.0.0.1",
        "tcp:11112:interface=127.9.9.9",
        "tcp:11112:127.0.0.1",
        "tcp:interface=127.0.0.1:port=11112",
        "tcp6:11112:interface=\\:\\:1",
        "tcp:11112:interface=localhost",
        "unix:/run/server.sock",
    ],
)
def test_local_endpoints(text: str) -> None:
    assert is_local(text)


@pytest.mark.parametrize(
    "text",
    [
        "tcp:11112",
        "tcp:11112:interface=0.0.0.0",
        "tcp:11112:interface=192.0.2.7",
        "tcp:11112:interface=",
        "tcp6:11112",
        "tcp6:11112:interface=\\:\\:",
        "tcp6:11112:interface=fe80\\:\\:1%lo",
        "tcp:11112:interface=server.example.org",
        "systemd:domain=INET:index=0",
    ],
)
def test_endpoints_that_others_may_reach(text: str) -> None:
    assert not is_local(text)


def test_sockets_in_the_file_system() -> None:
    assert is_unix("unix:/a")
    assert not is_unix("tcp:1")


def test_what_can_be_listened_on() -> None:
    assert check_endpoint("tcp:11112") == "tcp:11112"
    for text in ("tcp", "tcp:x", "11112", "nothing:1", "tcp:1:a=b", "tcp:65536", "tcp6:-1"):
        with pytest.raises(ValueError, match="one looks like tcp:11112"):
            check_endpoint(text)


@pytest.mark.parametrize(
    ("address", "shown", "tried"),
    [
        (IPv4Address("TCP", "127.0.0.1", 4), "127.0.0.1:4", ("127.0.0.1:4", "127.0.0.1 4")),
        (IPv4Address("TCP", "0.0.0.0", 4), "port 4 of all addresses", ("127.0.0.1:4", "127.0.0.1 4")),
        (IPv6Address("TCP", "::1", 4), "[::1]:4", ("[::1]:4", "::1 4")),
        (IPv6Address("TCP", "::", 4), "port 4 of all addresses", ("[::1]:4", "::1 4")),
    ],
)
def test_words_for_the_operator(address: IAddress, shown: str, tried: tuple[str, str]) -> None:
    assert describe(address) == shown
    ours, theirs = tried
    expected = f"txdicom echo AE@{ours}, or with DCMTK: echoscu -aec AE {theirs}"
    assert invitation("AE", address, anonymous=True) == expected


def test_a_socket_in_the_file_system_is_not_tried() -> None:
    address = UNIXAddress(b"/a/b")
    assert describe(address) == "the socket /a/b"
    assert invitation("AE", address, anonymous=True) == ""


def test_whoever_must_be_known_says_who_it_is() -> None:
    text = invitation("AE", IPv4Address("TCP", "127.0.0.1", 4), anonymous=False)
    assert text.count("-aet A_TITLE_OF_AETITLES_TOML ") == 2


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EADDRINUSE, "another program has this port"),
        (errno.EADDRNOTAVAIL, "this computer has no such address"),
        (errno.EACCES, "CAP_NET_BIND_SERVICE"),
        (errno.EMFILE, "--listen for one run"),
    ],
)
def test_a_port_that_cannot_be_opened(number: int, remedy: str) -> None:
    text = why_not("tcp:1", CannotListenError("", 1, OSError(number, "the reason")))
    assert text.startswith("cannot listen on tcp:1: the reason")
    assert remedy in text
    assert "\n" not in text


def test_any_other_failure_to_listen() -> None:
    assert "port must be 0-65535" in why_not("tcp:99999", OverflowError("port must be 0-65535"))


def test_secure_ports() -> None:
    address = IPv4Address("TCP", "127.0.0.1", 4)
    assert describe(address, secure=True) == "127.0.0.1:4 (TLS)"
    text = invitation("AE", address, anonymous=False, secure=True)
    assert text.startswith("txdicom echo --tls --tls-ca CA.pem --tls-cert ")
    assert text.endswith(" -aet A_TITLE_OF_AETITLES_TOML AE@127.0.0.1:4")
    assert "(secure_listen in server.toml)" in why_not("tcp:1", OSError("x"), secure=True)


def test_what_tls_can_be_done_over() -> None:
    assert check_secure_endpoint("tcp6:2762") == "tcp6:2762"
    for text in ("ssl:2762:privateKey=a", "unix:/a"):
        with pytest.raises(ValueError, match="is not for TLS by the table"):
            check_secure_endpoint(text)
