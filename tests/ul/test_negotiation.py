from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txdicom.errors import RemoteProtocolError
from txdicom.pdu.types import (
    AssociateAC,
    AssociateRQ,
    AsyncOperationsWindow,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    PresentationContextAC,
    PresentationContextRQ,
    RoleSelection,
    UserIdentityAC,
    UserIdentityRQ,
    UserInformation,
)
from txdicom.ul.negotiation import AcceptedContext, accept, conclude

IMPLICIT, EXPLICIT, JPEG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
CT, MR, PRIVATE, ECHO = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.3.4", "1.2.840.10008.1.1"
STORAGE_SERVICE_CLASS = "1.2.840.10008.4.2"


@dataclass(frozen=True)
class Policy:
    syntaxes: Mapping[str, Sequence[str]] = field(default_factory=lambda: {CT: (EXPLICIT, IMPLICIT)})
    allowed_roles: tuple[bool, bool] = (True, True)
    answers: Mapping[str, bytes] = field(default_factory=dict)
    max_length: int = 131_072
    max_operations: int = 16
    implementation_class_uid: str = "1.2.3"
    implementation_version_name: str = "POLICY"

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        return self.syntaxes.get(abstract_syntax)

    def roles(self, abstract_syntax: str) -> tuple[bool, bool]:
        return self.allowed_roles

    def extended(self, abstract_syntax: str, information: bytes) -> bytes | None:
        return self.answers.get(abstract_syntax)


def proposal(*contexts: PresentationContextRQ, max_length: int = 16_384, **user: object) -> AssociateRQ:
    return AssociateRQ(
        "CALLED",
        "CALLING",
        contexts or (PresentationContextRQ(1, CT, (IMPLICIT, EXPLICIT)),),
        UserInformation(max_length, "9.8.7", "PEER", **user),
    )


def answer(*contexts: PresentationContextAC, max_length: int = 32_768, **user: object) -> AssociateAC:
    return AssociateAC(
        "CALLED",
        "CALLING",
        contexts or (PresentationContextAC(1, 0, EXPLICIT),),
        UserInformation(max_length, "6.5.4", "ACCEPTOR", **user),
    )


def results(ac: AssociateAC) -> list[tuple[int, int, str]]:
    return [(context.context_id, context.result, context.transfer_syntax) for context in ac.contexts]


# -- the acceptor's side -----------------------------------------------------------------------------------


def test_accept_answers_with_the_first_of_its_own_syntaxes() -> None:
    ac, agreement = accept(proposal(), Policy())
    assert results(ac) == [(1, 0, EXPLICIT)]
    assert agreement.contexts == {1: AcceptedContext(1, CT, EXPLICIT, scu=True, scp=False, served_as="")}


def test_accept_repeats_what_the_request_has_in_the_reserved_fields() -> None:
    rq = replace(proposal(), reserved=bytes(range(32)), title_fields=b"CALLED".ljust(16) + b" CALLING".ljust(16, b"\0"))
    ac, _ = accept(rq, Policy())
    assert (ac.called_ae, ac.calling_ae, ac.reserved, ac.title_fields) == (
        "CALLED",
        "CALLING",
        bytes(range(32)),
        rq.title_fields,
    )
    assert (ac.protocol_version, ac.application_context) == (1, rq.application_context)


def test_accept_answers_every_context_with_its_result_in_order() -> None:
    rq = proposal(
        PresentationContextRQ(7, MR, (JPEG, EXPLICIT)),
        PresentationContextRQ(1, CT, (JPEG,)),
        PresentationContextRQ(255, CT, (EXPLICIT,)),
        PresentationContextRQ(3, ECHO, (EXPLICIT,)),
        PresentationContextRQ(5, CT, ()),
        PresentationContextRQ(9, "", (IMPLICIT,)),
    )
    ac, agreement = accept(rq, Policy({CT: (EXPLICIT,), ECHO: (), "": (IMPLICIT,)}))
    assert results(ac) == [
        (7, 3, JPEG),
        (1, 4, JPEG),
        (255, 0, EXPLICIT),
        (3, 1, EXPLICIT),
        (5, 4, IMPLICIT),
        (9, 3, IMPLICIT),
    ]
    assert list(agreement.contexts) == [255]


def test_accept_takes_128_contexts() -> None:
    rq = proposal(*(PresentationContextRQ(number, CT, (IMPLICIT,)) for number in range(1, 256, 2)))
    ac, agreement = accept(rq, Policy())
    assert len(ac.contexts) == len(agreement.contexts) == 128


@pytest.mark.parametrize(
    ("rq", "message"),
    [
        (replace(proposal(), contexts=()), "no presentation context"),
        (proposal(PresentationContextRQ(1, CT, (IMPLICIT,)), PresentationContextRQ(1, MR, (IMPLICIT,))), "used twice"),
        (proposal(PresentationContextRQ(2, CT, (IMPLICIT,))), "2 is not odd"),
        (proposal(PresentationContextRQ(0, CT, (IMPLICIT,))), "0 is not odd"),
        (proposal(max_length=1), "does not hold a fragment"),
        (proposal(max_length=7), "does not hold a fragment"),
    ],
)
def test_accept_refuses_what_breaks_the_grammar(rq: AssociateRQ, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message) as caught:
        accept(rq, Policy())
    assert (caught.value.source, caught.value.reason) == (2, 6)


@pytest.mark.parametrize("peers", [0, 8, 16_384])
@pytest.mark.parametrize("ours", [0, 131_072])
def test_accept_maximum_lengths_are_each_sides_own(peers: int, ours: int) -> None:
    ac, agreement = accept(proposal(max_length=peers), Policy(max_length=ours))
    assert ac.user.max_length == ours
    assert (agreement.max_send, agreement.max_receive) == (peers, ours)


def test_accept_exchanges_the_implementations() -> None:
    ac, agreement = accept(proposal(), Policy())
    assert (ac.user.implementation_class_uid, ac.user.implementation_version_name) == ("1.2.3", "POLICY")
    assert (agreement.peer_implementation_class_uid, agreement.peer_implementation_version_name) == ("9.8.7", "PEER")


@pytest.mark.parametrize(
    ("proposed", "allowed", "granted"),
    [
        ((True, False), (True, True), (True, False)),
        ((False, True), (True, True), (False, True)),
        ((True, True), (True, True), (True, True)),
        ((True, True), (True, False), (True, False)),
        ((True, True), (False, True), (False, True)),
        ((False, True), (False, True), (False, True)),
    ],
)
def test_accept_roles_can_only_be_lowered(
    proposed: tuple[bool, bool], allowed: tuple[bool, bool], granted: tuple[bool, bool]
) -> None:
    ac, agreement = accept(proposal(roles=(RoleSelection(CT, *proposed),)), Policy(allowed_roles=allowed))
    assert ac.user.roles == (RoleSelection(CT, *granted),)
    assert (agreement.contexts[1].scu, agreement.contexts[1].scp) == granted


@pytest.mark.parametrize(
    ("proposed", "allowed"),
    [((True, False), (False, True)), ((False, True), (True, False)), ((True, True), (False,) * 2)],
)
def test_accept_rejects_a_context_that_is_left_without_a_role(
    proposed: tuple[bool, bool], allowed: tuple[bool, bool]
) -> None:
    rq = proposal(
        PresentationContextRQ(1, CT, (IMPLICIT,)),
        PresentationContextRQ(3, MR, (IMPLICIT,)),
        roles=(RoleSelection(CT, *proposed),),
    )
    ac, agreement = accept(rq, Policy({CT: (IMPLICIT,), MR: (IMPLICIT,)}, allowed_roles=allowed))
    assert results(ac) == [(1, 1, IMPLICIT), (3, 0, IMPLICIT)]
    assert ac.user.roles == ()
    assert list(agreement.contexts) == [3]


def test_accept_without_a_proposal_the_default_roles_hold() -> None:
    ac, agreement = accept(proposal(), Policy(allowed_roles=(False, True)))
    assert ac.user.roles == ()
    assert (agreement.contexts[1].scu, agreement.contexts[1].scp) == (True, False)


def test_accept_a_proposal_of_no_role_is_none() -> None:
    ac, agreement = accept(proposal(roles=(RoleSelection(CT, False, False),)), Policy())
    assert ac.user.roles == ()
    assert (agreement.contexts[1].scu, agreement.contexts[1].scp) == (True, False)


def test_accept_answers_roles_of_accepted_classes_once() -> None:
    roles = (RoleSelection(CT, True, True), RoleSelection(MR, True, True), RoleSelection(CT, True, True))
    ac, _ = accept(proposal(roles=roles), Policy())
    assert ac.user.roles == (RoleSelection(CT, True, True),)


@pytest.mark.parametrize(
    ("proposed", "allowed", "answered"),
    [
        ((5, 2), 16, (5, 2)),
        ((100, 100), 16, (16, 16)),
        ((0, 0), 16, (16, 16)),
        ((0, 3), 0, (0, 3)),
        ((1, 1), 16, (1, 1)),
        ((9, 9), 1, (1, 1)),
    ],
)
def test_accept_always_answers_a_proposed_window(
    proposed: tuple[int, int], allowed: int, answered: tuple[int, int]
) -> None:
    ac, agreement = accept(proposal(async_window=AsyncOperationsWindow(*proposed)), Policy(max_operations=allowed))
    assert ac.user.async_window == AsyncOperationsWindow(*answered)
    assert (agreement.performed, agreement.invoked) == answered  # both are the requestor's in the PDU


def test_accept_without_a_window_one_operation_at_a_time() -> None:
    ac, agreement = accept(proposal(), Policy())
    assert ac.user.async_window is None
    assert (agreement.invoked, agreement.performed) == (1, 1)


def test_accept_answers_extended_negotiation_of_accepted_classes() -> None:
    rq = proposal(
        PresentationContextRQ(1, CT, (IMPLICIT,)),
        PresentationContextRQ(3, ECHO, (IMPLICIT,)),
        extended=(
            ExtendedNegotiation(CT, b"\1\1"),
            ExtendedNegotiation(MR, b"\1"),
            ExtendedNegotiation(ECHO, b"\1"),
        ),
    )
    policy = Policy({CT: (IMPLICIT,), ECHO: (IMPLICIT,)}, answers={CT: b"\1\0", MR: b"\1"})
    ac, agreement = accept(rq, policy)
    assert ac.user.extended == (ExtendedNegotiation(CT, b"\1\0"),)
    assert agreement.extended == {CT: b"\1\0"}


@pytest.mark.parametrize(
    ("supported", "served_as"), [(MR, MR), (STORAGE_SERVICE_CLASS, STORAGE_SERVICE_CLASS), (ECHO, None), (PRIVATE, "")]
)
def test_accept_takes_an_unknown_class_for_the_general_one_that_is_named(supported: str, served_as: str | None) -> None:
    rq = proposal(
        PresentationContextRQ(1, PRIVATE, (IMPLICIT,)),
        common_extended=(CommonExtendedNegotiation(PRIVATE, STORAGE_SERVICE_CLASS, (CT, MR)),),
    )
    ac, agreement = accept(rq, Policy({supported: (IMPLICIT,)}))
    assert ac.user.common_extended == ()
    if served_as is None:
        assert results(ac) == [(1, 3, IMPLICIT)]
    else:
        assert agreement.contexts[1] == AcceptedContext(1, PRIVATE, IMPLICIT, served_as=served_as)


@pytest.mark.parametrize(
    ("kind", "requested", "response", "answered"),
    [
        (1, True, b"ignored", b""),
        (2, True, b"", b""),
        (3, True, b"ticket", b"ticket"),
        (4, True, b"<saml/>", b"<saml/>"),
        (5, True, b"", b""),
        (3, True, None, None),
        (3, False, b"ticket", None),
    ],
)
def test_accept_sends_an_identity_response_when_asked_for(
    kind: int, requested: bool, response: bytes | None, answered: bytes | None
) -> None:
    rq = proposal(user_identity=UserIdentityRQ(kind, b"name", b"", requested))
    ac, agreement = accept(rq, Policy(), identity_response=response)
    assert ac.user.user_identity == (None if answered is None else UserIdentityAC(answered))
    assert agreement.user_identity_response == answered


def test_accept_sends_no_identity_response_to_none() -> None:
    ac, agreement = accept(proposal(), Policy(), identity_response=b"ticket")
    assert ac.user.user_identity is None
    assert agreement.user_identity_response is None


def test_an_agreement_keeps_the_identity_response_out_of_the_log() -> None:
    rq = proposal(user_identity=UserIdentityRQ(3, b"name", b"", response_requested=True))
    ac, agreement = accept(rq, Policy(), identity_response=b"SECRET")
    assert "SECRET" not in repr(agreement) + repr(ac)


# -- the requestor's side -----------------------------------------------------------------------------------


def test_conclude() -> None:
    deviations: list[str] = []
    agreement = conclude(proposal(), answer(), deviations)
    assert agreement.contexts == {1: AcceptedContext(1, CT, EXPLICIT)}
    assert (agreement.max_send, agreement.max_receive) == (32_768, 16_384)
    assert (agreement.invoked, agreement.performed) == (1, 1)
    assert (agreement.peer_implementation_class_uid, agreement.peer_implementation_version_name) == (
        "6.5.4",
        "ACCEPTOR",
    )
    assert agreement.extended == {}
    assert agreement.user_identity_response is None
    assert deviations == []


@pytest.mark.parametrize("result", [1, 2, 3, 4, 9])
def test_conclude_leaves_rejected_contexts_out(result: int) -> None:
    deviations: list[str] = []
    agreement = conclude(proposal(), answer(PresentationContextAC(1, result, "not tested")), deviations)
    assert agreement.contexts == {}
    assert deviations == []


def test_conclude_takes_results_in_any_order() -> None:
    rq = proposal(PresentationContextRQ(1, CT, (IMPLICIT,)), PresentationContextRQ(3, MR, (IMPLICIT,)))
    ac = answer(PresentationContextAC(3, 0, IMPLICIT), PresentationContextAC(1, 0, IMPLICIT))
    assert {number: context.abstract_syntax for number, context in conclude(rq, ac).contexts.items()} == {1: CT, 3: MR}


@pytest.mark.parametrize(
    ("ac", "message"),
    [
        (answer(PresentationContextAC(3, 0, IMPLICIT)), "3 was answered but not proposed, or answered twice"),
        (answer(PresentationContextAC(1, 0, IMPLICIT), PresentationContextAC(1, 0, IMPLICIT)), "answered twice"),
        (answer(PresentationContextAC(1, 0, JPEG)), "1 was accepted with a transfer syntax that was not proposed"),
        (answer(PresentationContextAC(1, 0, "")), "1 was accepted with a transfer syntax that was not proposed"),
        (answer(max_length=6), "does not hold a fragment"),
    ],
)
def test_conclude_refuses_what_cannot_be_understood(ac: AssociateAC, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message) as caught:
        conclude(proposal(), ac)
    assert (caught.value.source, caught.value.reason) == (2, 6)


def test_conclude_notes_results_of_no_context_and_contexts_of_no_result() -> None:
    deviations: list[str] = []
    rq = proposal(PresentationContextRQ(1, CT, (IMPLICIT,)), PresentationContextRQ(3, MR, (IMPLICIT,)))
    ac = answer(PresentationContextAC(1, 0, IMPLICIT), PresentationContextAC(5, 3, ""))
    assert list(conclude(rq, ac, deviations).contexts) == [1]
    assert deviations == [
        "presentation context 5 was answered but not proposed, or answered twice",
        "1 of 2 presentation contexts were not answered",
    ]


def test_conclude_takes_the_only_transfer_syntax_for_a_missing_one() -> None:
    deviations: list[str] = []
    rq = proposal(PresentationContextRQ(1, CT, (JPEG,)))
    assert conclude(rq, answer(PresentationContextAC(1, 0, "")), deviations).contexts[1].transfer_syntax == JPEG
    assert deviations == ["presentation context 1 was accepted without its transfer syntax"]


@pytest.mark.parametrize(
    ("proposed", "answered", "agreed", "noted"),
    [
        ((True, True), (True, True), (True, True), 0),
        ((True, True), (False, True), (False, True), 0),
        ((False, True), (False, True), (False, True), 0),
        ((False, True), (False, False), (False, False), 0),
        ((True, False), (True, True), (True, False), 1),
        ((False, True), (True, True), (False, True), 1),
        ((False, True), None, (True, False), 0),
        (None, (True, True), (True, False), 1),
    ],
)
def test_conclude_roles_can_only_be_lowered(
    proposed: tuple[bool, bool] | None, answered: tuple[bool, bool] | None, agreed: tuple[bool, bool], noted: int
) -> None:
    deviations: list[str] = []
    rq = proposal(roles=() if proposed is None else (RoleSelection(CT, *proposed),))
    ac = answer(roles=() if answered is None else (RoleSelection(CT, *answered),))
    context = conclude(rq, ac, deviations).contexts[1]
    assert (context.scu, context.scp) == agreed
    assert len(deviations) == noted


@pytest.mark.parametrize(
    ("proposed", "answered", "agreed", "noted"),
    [
        ((5, 5), (3, 2), (3, 2), 0),
        ((0, 0), (0, 0), (0, 0), 0),
        ((0, 4), (7, 4), (7, 4), 0),
        ((5, 5), (9, 5), (5, 5), 1),
        ((5, 5), (0, 0), (5, 5), 1),
        ((5, 5), None, (1, 1), 0),
        (None, (5, 5), (1, 1), 1),
        (None, None, (1, 1), 0),
    ],
)
def test_conclude_window_can_only_be_lowered(
    proposed: tuple[int, int] | None, answered: tuple[int, int] | None, agreed: tuple[int, int], noted: int
) -> None:
    deviations: list[str] = []
    rq = proposal(async_window=proposed and AsyncOperationsWindow(*proposed))
    ac = answer(async_window=answered and AsyncOperationsWindow(*answered))
    agreement = conclude(rq, ac, deviations)
    assert (agreement.invoked, agreement.performed) == agreed
    assert len(deviations) == noted


def test_conclude_keeps_extended_answers_to_what_was_proposed() -> None:
    deviations: list[str] = []
    rq = proposal(extended=(ExtendedNegotiation(CT, b"\1\1"),))
    ac = answer(extended=(ExtendedNegotiation(CT, b"\1\0"), ExtendedNegotiation(MR, b"\1")))
    assert conclude(rq, ac, deviations).extended == {CT: b"\1\0"}
    assert deviations == ["extended negotiation answered for a SOP class that it was not proposed for"]


@pytest.mark.parametrize(
    ("offered", "answered", "agreed", "noted"),
    [
        (UserIdentityRQ(1, b"name", response_requested=True), UserIdentityAC(b""), b"", 0),
        (UserIdentityRQ(3, b"ticket", response_requested=True), UserIdentityAC(b"server"), b"server", 0),
        (UserIdentityRQ(1, b"name", response_requested=True), None, None, 0),
        (UserIdentityRQ(1, b"name"), UserIdentityAC(b""), None, 1),
        (None, UserIdentityAC(b""), None, 1),
        (None, None, None, 0),
    ],
)
def test_conclude_identity_response(
    offered: UserIdentityRQ | None, answered: UserIdentityAC | None, agreed: bytes | None, noted: int
) -> None:
    deviations: list[str] = []
    agreement = conclude(proposal(user_identity=offered), answer(user_identity=answered), deviations)
    assert agreement.user_identity_response == agreed
    assert len(deviations) == noted


# -- both -----------------------------------------------------------------------------------

classes = st.sampled_from([CT, MR, PRIVATE, ECHO])
syntaxes = st.lists(st.sampled_from([IMPLICIT, EXPLICIT, JPEG]), max_size=3, unique=True).map(tuple)
lengths = st.sampled_from([0, 8, 16_384, 131_072])
operations = st.integers(0, 3)


@st.composite
def requests(draw: st.DrawFn) -> AssociateRQ:
    ids = draw(st.lists(st.integers(0, 127).map(lambda number: 2 * number + 1), min_size=1, max_size=6, unique=True))
    return proposal(
        *(PresentationContextRQ(number, draw(classes), draw(syntaxes)) for number in ids),
        max_length=draw(lengths),
        async_window=draw(st.none() | st.builds(AsyncOperationsWindow, operations, operations)),
        roles=tuple(
            RoleSelection(uid, *roles)
            for uid, roles in draw(st.dictionaries(classes, st.tuples(st.booleans(), st.booleans()))).items()
        ),
        extended=tuple(ExtendedNegotiation(*item) for item in draw(st.dictionaries(classes, st.binary())).items()),
        user_identity=draw(
            st.none()
            | st.builds(UserIdentityRQ, st.integers(1, 5), st.binary(), st.binary(), response_requested=st.booleans())
        ),
    )


policies = st.builds(
    Policy,
    syntaxes=st.dictionaries(classes, syntaxes),
    allowed_roles=st.tuples(st.booleans(), st.booleans()),
    answers=st.dictionaries(classes, st.binary()),
    max_length=lengths,
    max_operations=operations,
)


@given(requests(), policies, st.none() | st.binary())
def test_both_sides_agree(rq: AssociateRQ, policy: Policy, response: bytes | None) -> None:
    ac, theirs = accept(rq, policy, identity_response=response)
    deviations: list[str] = []
    ours = conclude(rq, ac, deviations)
    assert deviations == []
    assert [context.context_id for context in ac.contexts] == [context.context_id for context in rq.contexts]
    assert ours.contexts == theirs.contexts
    assert ours.extended == theirs.extended
    assert ours.user_identity_response == theirs.user_identity_response
    assert (ours.max_send, ours.max_receive) == (theirs.max_receive, theirs.max_send)
    assert (ours.invoked, ours.performed) == (theirs.performed, theirs.invoked)
