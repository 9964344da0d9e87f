"""The user identity that goes with an association (PS3.7 D.3.3.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from twisted.internet import reactor

from tests.scu.provider import CT, providing, success, write_many
from txdicom import uids
from txdicom.errors import AssociationRejected, LocalProtocolError
from txdicom.scu import StoreScu, User, UserIdentityRQ, connect
from txdicom.ul import rejections

if TYPE_CHECKING:
    from pathlib import Path

ALICE = User("alice", "wonderländ")


def test_what_is_sent() -> None:
    assert User("älice").item() == UserIdentityRQ(1, "älice".encode())
    assert ALICE.item() == UserIdentityRQ(2, b"alice", "wonderländ".encode())


def test_a_repr_hides_the_passcode() -> None:
    assert repr(ALICE) == "User(name='alice')"
    assert "wonder" not in repr(ALICE.item())


@pytest.mark.parametrize(
    ("name", "passcode"),
    [("", None), ("alice", ""), ("a" * 65_536, None), ("alice", "ä" * 32_768), ("alice", "p\udcff")],
)
def test_what_cannot_be_sent(name: str, passcode: str | None) -> None:
    with pytest.raises(ValueError, match="a user") as error:
        User(name, passcode)
    assert error.value.__suppress_context__ or error.value.__context__ is None
    assert "\\udcff" not in str(error.value)


@pytest.mark.parametrize("identity", [User("alice"), ALICE, UserIdentityRQ(5, b"a.b.c", response_requested=True)])
async def test_every_association_has_it(identity: User | UserIdentityRQ) -> None:
    sent = identity.item() if isinstance(identity, User) else identity
    async with providing(success) as provider:
        async with connect(reactor, provider.peer, contexts=[CT], user_identity=identity) as association:
            assert (await association.echo()).is_success
        assert [one.contexts[0].abstract_syntax for one in provider.requests] == [CT, uids.VERIFICATION]
        assert [one.user.user_identity for one in provider.requests] == [sent, sent]
        async with connect(reactor, provider.peer):
            assert provider.requests[-1].user.user_identity is None


async def test_those_of_a_job_too(tmp_path: Path) -> None:
    write_many(tmp_path, 8)
    async with providing(success) as provider:
        async with StoreScu(reactor, provider.peer, associations=2, user_identity=ALICE) as scu:
            assert [result.stored async for result in scu.store(tmp_path)] == [True] * 8
        assert {one.user.user_identity for one in provider.requests} == {ALICE.item()}


async def test_a_peer_that_does_not_let_the_user_in() -> None:
    async with providing(success, decide=lambda _: rejections.USER_IDENTITY) as provider:
        with pytest.raises(AssociationRejected) as error:
            await connect(reactor, provider.peer, user_identity=ALICE).open()
    assert (error.value.result, error.value.source, error.value.reason) == (1, 2, 1)


async def test_a_token_that_is_too_long_is_not_sent() -> None:
    async with providing(success) as provider:
        with pytest.raises(LocalProtocolError):
            await connect(reactor, provider.peer, user_identity=UserIdentityRQ(5, bytes(65_536))).open()
        assert not provider.requests
