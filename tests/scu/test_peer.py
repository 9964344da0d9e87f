from __future__ import annotations

import pytest

from txdicom.scu import Peer


@pytest.mark.parametrize(
    ("text", "called", "expected"),
    [
        ("PACS@host:11112", "", Peer("PACS", "host", 11112)),
        ("PACS@host", "", Peer("PACS", "host")),
        ("A@B@host:1", "", Peer("A@B", "host", 1)),
        ("PACS@[::1]:104", "", Peer("PACS", "::1", 104)),
        ("PACS@[fe80::1%eth0]", "", Peer("PACS", "fe80::1%eth0")),
        ("host:11112", "PACS", Peer("PACS", "host", 11112)),
        ("[::1]:11112", "PACS", Peer("PACS", "::1", 11112)),
        ("host", "PACS", Peer("PACS", "host")),
        ("PACS@host:104", "PACS", Peer("PACS", "host", 104)),
        ("MY PACS@10.0.0.1:65535", "", Peer("MY PACS", "10.0.0.1", 65535)),
    ],
)
def test_what_a_peer_can_be_written_as(text: str, called: str, expected: Peer) -> None:
    assert Peer.parse(text, called) == expected


@pytest.mark.parametrize("peer", [Peer("PACS", "host"), Peer("A@B", "::1", 1)])
def test_what_is_printed_can_be_read(peer: Peer) -> None:
    assert Peer.parse(str(peer)) == peer


@pytest.mark.parametrize(
    ("text", "called", "sentence"),
    [
        ("host:104", "", "has no AE title"),
        ("PACS@host", "OTHER", "give one"),
        ("PACS@host:", "", "is no port"),
        ("PACS@host:0", "", "is no port"),
        ("PACS@host:65536", "", "is no port"),
        ("PACS@host:99999999999999999999", "", "is no port"),
        ("PACS@host:1a", "", "is no port"),
        ("PACS@host:\u0661", "", "is no port"),
        ("PACS@::1", "", "in brackets"),
        ("PACS@[::1", "", "IPv6"),
        ("PACS@[::1]104", "", "IPv6"),
        ("PACS@", "", "host is missing"),
        ("PACS@:104", "", "host is missing"),
        ("@host", "", "has no AE title"),
        ("12345678901234567@host", "", "1 to 16"),
        ("A\\B@host", "", "backslash"),
        ("  @host", "", "only spaces"),
        ("PÄCS@host", "", "ASCII"),
        ("PACS@ho st", "", "neither the name"),
    ],
)
def test_what_it_cannot(text: str, called: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Peer.parse(text, called)


def test_a_port_is_checked_by_the_peer_itself() -> None:
    with pytest.raises(ValueError, match="is no port"):
        Peer("PACS", "host", 70000)


def test_the_usual_port_depends_on_tls() -> None:
    assert Peer("PACS", "host").with_port(tls=False).port == 104
    assert Peer("PACS", "host").with_port(tls=True).port == 2762
    assert Peer("PACS", "host", 104).with_port(tls=True).port == 104
