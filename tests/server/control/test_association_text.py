"""An association as text: who it is with, and no secrets."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.net.wire import associate_rq
from txdicom.interfaces import UserIdentity
from txdicom.pdu.types import UserIdentityRQ
from txdicom.server.control.association_text import association_text


def text_with(proposed: UserIdentityRQ | None, known: UserIdentity | None) -> list[str]:
    """The line about the user."""
    rq = associate_rq()
    association: Any = SimpleNamespace(
        number=7,
        request=replace(rq, user=replace(rq.user, user_identity=proposed)),
        answer=None,
        agreement=None,
        contexts={},
        user_identity=known,
        protocol=SimpleNamespace(bytes_received=1, bytes_sent=2),
        messages_received=0,
        outcome="",
    )
    return [line for line in association_text(association, "h:1").splitlines() if line.startswith("user identity")]


@pytest.mark.parametrize(
    ("proposed", "known", "lines"),
    [
        (None, None, []),
        (UserIdentityRQ(2, b"alice", b"secret"), None, ["user identity: user name and passcode, not checked"]),
        (
            UserIdentityRQ(2, b"alice\n", b"secret"),
            UserIdentity(2, b"alice\n", b"secret"),
            ["user identity: user name and passcode, alice?"],
        ),
        (UserIdentityRQ(1, b"\xff"), UserIdentity(1, b"\xff"), ["user identity: user name, \ufffd"]),
        (UserIdentityRQ(5, b"token"), UserIdentity(5, b"token"), ["user identity: JSON Web Token, authenticated"]),
    ],
    ids=["none", "not checked", "a name", "no UTF-8", "a token"],
)
def test_who_it_is(proposed: UserIdentityRQ | None, known: UserIdentity | None, lines: list[str]) -> None:
    assert text_with(proposed, known) == lines
