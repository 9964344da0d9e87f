"""AEEntry: what one can be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from txdicom.errors import BadArgument
from txdicom.interfaces import AEEntry
from txdicom.interfaces.ae_titles import VALUES, entry_of, network_of, plain_address


def test_the_least_and_the_most() -> None:
    assert entry_of({"ae_title": "A"}) == AEEntry(ae_title="A")
    full = AEEntry(
        ae_title="CT SCANNER.2",
        host="2001:db8::1",
        port=1,
        secure_port=65_535,
        port_usage="secure",
        friendly_name="Zürich, 2. Stock",
        verify="mask",
        mask="192.0.2.0/255.255.255.0",
        verify_tls_host_name=False,
        character_set="\\ISO 2022 IR 87",
    )
    assert entry_of({"ae_title": full.ae_title, **{name: getattr(full, name) for name in VALUES}}) == full


def test_the_last_access_makes_no_other_entry() -> None:
    entry = AEEntry(ae_title="A")
    assert replace(entry, last_access=datetime.now(UTC)) == entry


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("ae_title", value) for value in ("", " A", "A ", "A\\B", "A" * 17, "Ä", "A\n", 3, None)),
        *(("host", value) for value in ("a b", "10.0.0.300", "[::1]", "-a", "a" * 254, "a/b", "a\n", 3, None, b"a")),
        *(("port", value) for value in (0, 65_536, True, "104", 1.0, None)),
        *(("port_usage", value) for value in ("both", "", None, [])),
        *(("friendly_name", value) for value in ("a\nb", "a" * 65, None)),
        *(("mask", value) for value in ("192.0.2.1", "192.0.2.0/33", "a/8", 8)),
        *(("verify_tls_host_name", value) for value in ("yes", 1)),
        *(("character_set", value) for value in ("UTF-8", "utf8", "ISO_IR 192 ", "ISO_IR 192\\", 192)),
        ("nonsense", 1),
        ("last_access", None),
    ],
)
def test_what_cannot_be(name: str, value: Any) -> None:
    values = {"ae_title": "A", name: value}
    with pytest.raises(BadArgument) as caught:
        entry_of(values)
    [problem] = caught.value.problems
    assert problem.startswith(f"{name}: ")
    if name not in {"nonsense", "last_access"}:
        with pytest.raises(BadArgument):
            AEEntry(**values)


def test_every_mistake_at_once() -> None:
    with pytest.raises(BadArgument) as caught:
        entry_of({"port": 0, "secure_port": 0, "verify": "address"})
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "port", "secure_port", "ae_title", "verify",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [{"verify": "host-name"}, {"verify": "host-name", "host": "::1"}, {"verify": "mask"}, {"verify": "address"}],
)
def test_a_rule_needs_what_it_compares_with(values: dict[str, str]) -> None:
    with pytest.raises(BadArgument, match="verify"):
        AEEntry(ae_title="A", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("name", "None"),
        ("", "None"),
    ],
)
def test_addresses_for_comparing(text: str, plain: str) -> None:
    assert str(plain_address(text)) == plain


@pytest.mark.parametrize(
    ("mask", "network"),
    [
        ("192.0.2.9/24", "192.0.2.0/24"),
        ("192.0.2.9/255.255.255.0", "192.0.2.0/24"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:db8::/96", "2001:db8::/96"),
        ("::/0", "::/0"),
    ],
)
def test_masks(mask: str, network: str) -> None:
    assert str(network_of(mask)) == network
