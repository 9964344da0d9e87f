"""A peer's address, as people read it."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from txdicom.net.addresses import address_text


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (IPv4Address("TCP", "192.0.2.7", 104), "192.0.2.7:104"),
        (IPv6Address("TCP", "2001:db8::7", 104), "[2001:db8::7]:104"),
        (UNIXAddress("/run/dicom"), "a local socket"),
        (None, "a local socket"),
    ],
)
def test_an_address(address: object, text: str) -> None:
    assert address_text(address) == text  # type: ignore[arg-type]
