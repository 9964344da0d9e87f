"""txdicom.scp.policy: who is let in, and the numbers that tell the others why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from tests.net.wire import CONTEXTS, CT, CT_ID, MPPS, Peer, acceptor, associate_rq
from tests.services.serving import EchoAddin, ManualWriter, StoreAddin
from txdicom.pdu.encode import encode
from txdicom.pdu.types import (
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    AsyncOperationsWindow,
    ExtendedNegotiation,
    PresentationContextRQ,
    RoleSelection,
)
from txdicom.scp.config import ScpConfig
from txdicom.scp.policy import AcceptancePolicy
from txdicom.services.dispatch import Dispatcher
from txdicom.services.spool import Spool
from txdicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION


def answered(rq: AssociateRQ, *, known: tuple[str, ...] = (), **settings: Any) -> Any:
    """The PDU that answers `rq`."""
    config = ScpConfig(**settings)
    dispatcher = Dispatcher([EchoAddin(), StoreAddin()], Spool(ManualWriter(), lambda: ""))  # type: ignore[arg-type]
    policy = AcceptancePolicy(
        "SERVER", config, dispatcher, lambda association: config.allow_anonymous or association.calling_ae in known
    )
    peer = Peer(acceptor(policy=policy, **settings_of_net(settings)))
    peer.send(encode(rq))
    (pdu,) = peer.pdus()
    return pdu


def settings_of_net(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name.startswith("max_")}


def triple(pdu: Any) -> tuple[int, int, int]:
    assert isinstance(pdu, AssociateRJ)
    return pdu.result, pdu.source, pdu.reason


def test_accepted() -> None:
    ac = answered(associate_rq())
    assert isinstance(ac, AssociateAC)
    assert [context.result for context in ac.contexts] == [0, 0, 3]


# CONTRACTS: which rejection has which numbers (PS3.8 Table 9-21)


def test_called_ae() -> None:
    assert triple(answered(associate_rq(called="OTHER"))) == (1, 1, 7)
    assert triple(answered(associate_rq(called="server"))) == (1, 1, 7)
    assert isinstance(answered(associate_rq(called="OTHER"), check_called_ae=False), AssociateAC)


def test_titles_are_compared_without_their_padding() -> None:
    """PS3.8 Table 9-11: leading and trailing spaces mean nothing."""
    raw = encode(associate_rq()).replace(b"SERVER".ljust(16), b"  SERVER  \0\0\0\0\0\0")
    dispatcher = Dispatcher([EchoAddin()], Spool(ManualWriter(), lambda: ""))  # type: ignore[arg-type]
    peer = Peer(acceptor(policy=AcceptancePolicy("SERVER", ScpConfig(), dispatcher)))
    peer.send(raw)
    assert isinstance(peer.pdus()[0], AssociateAC)


def test_calling_ae() -> None:
    assert triple(answered(associate_rq(), allow_anonymous=False)) == (1, 1, 3)
    assert isinstance(answered(associate_rq(), allow_anonymous=False, known=("CLIENT",)), AssociateAC)


def test_application_context() -> None:
    assert triple(answered(associate_rq(application_context="1.2.3"))) == (1, 1, 2)


@pytest.mark.parametrize(("version", "accepted"), [(1, True), (3, True), (0xFFFF, True), (0, False), (2, False)])
def test_protocol_version(version: int, accepted: bool) -> None:
    """Only bit 0 is tested (PS3.8 Table 9-11)."""
    pdu = answered(associate_rq(protocol_version=version))
    if accepted:
        assert isinstance(pdu, AssociateAC)
        assert pdu.protocol_version == 1
    else:
        assert triple(pdu) == (1, 2, 2)


def test_no_context_that_can_be_accepted() -> None:
    rq = associate_rq(CONTEXTS[2])
    assert triple(answered(rq, reject_no_context=True)) == (1, 1, 1)
    ac = answered(rq)
    assert isinstance(ac, AssociateAC)
    assert [context.result for context in ac.contexts] == [3]


def test_which_comes_first_where_several_apply() -> None:
    rq = associate_rq(called="OTHER", application_context="1.2.3")
    assert triple(answered(rq, allow_anonymous=False)) == (1, 1, 2)
    assert triple(answered(associate_rq(called="OTHER"), allow_anonymous=False)) == (1, 1, 7)


# what is negotiated


def test_contexts_are_answered_one_by_one() -> None:
    contexts = (
        PresentationContextRQ(1, VERIFICATION, ("1.2.840.10008.1.2.4.50",)),
        PresentationContextRQ(3, CT, (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)),
        PresentationContextRQ(5, CT, (IMPLICIT_VR_LITTLE_ENDIAN,)),
        PresentationContextRQ(7, MPPS, (IMPLICIT_VR_LITTLE_ENDIAN,)),
        PresentationContextRQ(255, "1.3.6.1.4.1.9999.1", (IMPLICIT_VR_LITTLE_ENDIAN,)),
    )
    ac = answered(associate_rq(*contexts))
    assert [(context.context_id, context.result) for context in ac.contexts] == [
        (1, 4),
        (3, 0),
        (5, 0),
        (7, 3),
        (255, 0),
    ]
    assert ac.contexts[1].transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN


def test_128_contexts() -> None:
    contexts = tuple(PresentationContextRQ(2 * number + 1, CT, (EXPLICIT_VR_LITTLE_ENDIAN,)) for number in range(128))
    assert [context.result for context in answered(associate_rq(*contexts)).contexts] == [0] * 128


def test_maximum_length_and_implementation() -> None:
    user = answered(
        associate_rq(),
        max_pdu_length=65_536,
        implementation_class_uid="1.2.3.4.5",
        implementation_version_name="VERSION",
    ).user
    assert (user.max_length, user.implementation_class_uid, user.implementation_version_name) == (
        65_536,
        "1.2.3.4.5",
        "VERSION",
    )


@pytest.mark.parametrize(
    ("asked", "ours", "agreed"),
    [((5, 3), 16, (5, 3)), ((50, 30), 16, (16, 16)), ((0, 0), 16, (16, 16)), ((0, 0), 0, (0, 0)), ((4, 4), 0, (4, 4))],
)
def test_operations_window(asked: tuple[int, int], ours: int, agreed: tuple[int, int]) -> None:
    ac = answered(associate_rq(window=asked), max_operations=ours)
    assert ac.user.async_window == AsyncOperationsWindow(*agreed)
    assert answered(associate_rq()).user.async_window is None


def test_roles_and_options_nobody_asked_an_add_in_about() -> None:
    rq = associate_rq(PresentationContextRQ(CT_ID, CT, (EXPLICIT_VR_LITTLE_ENDIAN,)))
    user = replace(rq.user, roles=(RoleSelection(CT, True, True),), extended=(ExtendedNegotiation(CT, b"\1\1"),))
    ac = answered(replace(rq, user=user))
    assert ac.user.roles == (RoleSelection(CT, True, False),)
    assert ac.user.extended == ()


def test_one_that_can_only_be_the_scp_is_not_accepted() -> None:
    rq = associate_rq(PresentationContextRQ(CT_ID, CT, (EXPLICIT_VR_LITTLE_ENDIAN,)))
    ac = answered(replace(rq, user=replace(rq.user, roles=(RoleSelection(CT, False, True),))))
    assert [context.result for context in ac.contexts] == [1]


# what an AE-title service of an add-in may do


def raising(error: BaseException, *, later: bool) -> Any:
    async def wait(_: Any) -> bool:
        raise error

    def now(_: Any) -> bool:
        raise error

    return wait if later else now


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(1)], ids=["an error", "exit"])
def test_a_validation_that_fails_harms_its_own_association(
    error: BaseException, later: bool, logged_failures: list[Any]
) -> None:
    dispatcher = Dispatcher([EchoAddin()], Spool(ManualWriter(), lambda: ""))  # type: ignore[arg-type]
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    try:
        policy = AcceptancePolicy("SERVER", ScpConfig(), dispatcher, raising(error, later=later))
        peer = Peer(acceptor(policy=policy))
        peer.send(encode(associate_rq()))
        assert triple(peer.pdus()[0]) == (2, 1, 1)
    finally:
        globalLogPublisher.removeObserver(events.append)
    [told] = [event for event in events if "the AE-title service failed" in str(event["log_format"])]
    assert (told["association"], told["calling_ae"]) == (peer.association.number, "CLIENT")
    logged_failures.clear()
