"""txdicom.scp.hooks: what add-ins say about an association, and what becomes of it where they fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import formatEvent, globalLogPublisher
from zope.interface import implementer

from tests.net.wire import CT, CT_ID, ECHO_ID, MPPS, MPPS_ID, Peer, associate_rq, echo_bytes, message_bytes, pdata
from tests.scp.hooked import Hooked
from tests.services.serving import Addin, EchoAddin, NormalizedAddin, StoreAddin
from txdicom.dimse import requests
from txdicom.interfaces import (
    IdentityAccepted,
    IdentityRefused,
    IDicomAddin,
    IExtendedNegotiation,
    IPresentationContextProvider,
    IProcessCEcho,
    IProcessCGet,
    IRequireUserIdentity,
    IRoleSelectionProvider,
    IUserIdentity,
    Roles,
    presentation_context,
)
from txdicom.pdu.encode import encode
from txdicom.pdu.types import (
    Abort,
    AssociateAC,
    AssociateRJ,
    ExtendedNegotiation,
    PresentationContextRQ,
    RoleSelection,
    UserIdentityAC,
    UserIdentityRQ,
)
from txdicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, STUDY_ROOT_GET, VERIFICATION

CT_CONTEXT = PresentationContextRQ(CT_ID, CT, (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN))
MR = "1.2.840.10008.5.1.4.1.1.4"
PRIVATE = "1.3.6.1.4.1.9999.1"
#: for now: a retry may be answered otherwise (PS3.8 §7.1.1.7)
FAILED = (2, 1, 1)
#: PS3.7 D.3.3.7.3
UNAUTHORIZED = (1, 2, 1)


def triple(pdu: Any) -> tuple[int, int, int]:
    assert isinstance(pdu, AssociateRJ)
    return pdu.result, pdu.source, pdu.reason


@pytest.fixture
def logged() -> Any:
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def texts(events: list[Any]) -> str:
    return "\n".join(formatEvent(event) + str(event.get("log_failure", "")) for event in events)


class Hook(Addin):
    """One that answers its hook by what it was made with."""

    def __init__(self, answer: Any = None, name: str = "hook") -> None:
        self.answer = answer
        self.name = name
        self.asked: list[Any] = []

    def ask(self, *arguments: Any) -> Any:
        self.asked.append(arguments)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(*arguments) if callable(self.answer) else self.answer


@implementer(IDicomAddin, IPresentationContextProvider)
class Provider(Hook):
    def presentation_contexts(self, association: Any) -> Any:
        return self.ask(association)


@implementer(IDicomAddin, IPresentationContextProvider, IProcessCEcho)
class EchoProvider(Provider):
    """Answers C-ECHO on what it provides, and on a class of its own."""

    requests = 0

    def presentation_contexts(self, association: Any) -> Any:
        return self.ask(association)

    @presentation_context(PRIVATE)
    def on_c_echo(self, request: Any) -> int:
        self.requests += 1
        return 0


@implementer(IDicomAddin, IExtendedNegotiation)
class Extender(Hook):
    def extended(self, abstract_syntax: str, information: bytes) -> Any:
        return self.ask(abstract_syntax, information)


@implementer(IDicomAddin, IRoleSelectionProvider)
class Selector(Hook):
    def role_selection(self, abstract_syntax: str) -> Any:
        return self.ask(abstract_syntax)


@implementer(IDicomAddin, IUserIdentity)
class Authenticator(Hook):
    def authenticate(self, identity: Any) -> Any:
        return self.ask(identity)


@implementer(IRequireUserIdentity)
class Strict(Authenticator):
    pass


@implementer(IDicomAddin, IProcessCGet)
class Getter(Addin):
    @presentation_context(STUDY_ROOT_GET)
    def on_c_get(self, request: Any) -> int:
        return 0


# presentation contexts


def results(ac: Any) -> list[tuple[int, int]]:
    assert isinstance(ac, AssociateAC)
    return [(context.context_id, context.result) for context in ac.contexts]


def test_contexts_decided_at_run_time_are_accepted_beside_the_declared_ones() -> None:
    provider = Provider(
        lambda association: [(CT, [IMPLICIT_VR_LITTLE_ENDIAN])] if association.calling_ae == "A" else []
    )
    made = Hooked(EchoAddin(), provider)
    accepted = made.answer(calling="A")
    assert results(accepted) == [(ECHO_ID, 0), (CT_ID, 0), (MPPS_ID, 3)]
    assert accepted.contexts[1].transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    assert results(made.answer(calling="B")) == [(ECHO_ID, 0), (CT_ID, 3), (MPPS_ID, 3)]
    assert len(provider.asked) == 2


def test_a_context_named_at_run_time_is_accepted_as_it_is_said_there() -> None:
    made = Hooked(StoreAddin(), Provider([(CT, (IMPLICIT_VR_LITTLE_ENDIAN,))]))
    assert made.answer(CT_CONTEXT).contexts[0].transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN


def test_without_transfer_syntaxes_it_is_the_usual_ones() -> None:
    made = Hooked(StoreAddin(), Provider([(CT, ())]))
    assert made.answer(CT_CONTEXT).contexts[0].transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN


def test_of_two_add_ins_that_name_one_the_first_counts() -> None:
    first, second = Provider([(CT, (IMPLICIT_VR_LITTLE_ENDIAN,))]), Provider([(CT, (EXPLICIT_VR_LITTLE_ENDIAN,))])
    made = Hooked(StoreAddin(), first, second)
    assert made.answer(CT_CONTEXT).contexts[0].transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN


def test_requests_go_to_the_add_in_that_named_the_context() -> None:
    declared, provider = EchoAddin(), EchoProvider([(VERIFICATION, ())])
    peer = Hooked(declared, provider).peer()
    peer.send(echo_bytes())
    assert peer.statuses() == [0]
    assert (len(declared.requests), provider.requests) == (0, 1)


def test_requests_it_has_no_method_for_go_to_whoever_declared_the_class() -> None:
    declared = EchoAddin()
    peer = Hooked(declared, Provider([(VERIFICATION, ())])).peer()
    peer.send(echo_bytes())
    assert peer.statuses() == [0]
    assert len(declared.requests) == 1


def test_one_association_s_contexts_are_not_another_s() -> None:
    provider = EchoProvider(lambda association: [(VERIFICATION, ())] if association.calling_ae == "A" else [])
    declared = EchoAddin()
    made = Hooked(declared, provider)
    one, other = made.peer(calling="A"), made.peer(calling="B")
    for peer in (one, other):
        peer.send(echo_bytes())
        assert peer.statuses() == [0]
    assert (len(declared.requests), provider.requests) == (1, 1)


def test_nobody_answers_what_only_a_provider_accepted() -> None:
    made = Hooked(EchoAddin(), Provider([(MPPS, ())]))
    peer = made.peer()
    peer.send(message_bytes(MPPS_ID, requests.n_delete_rq(1, MPPS, "1.2.3")))
    assert peer.statuses() == [0x0211]


async def slowly(value: Any, wait: Deferred[Any]) -> Any:
    await wait
    return value


@pytest.mark.parametrize("coroutine", [True, False])
def test_an_answer_may_come_later(coroutine: bool) -> None:
    wait: Deferred[Any] = Deferred()
    contexts = [(VERIFICATION, ())]
    answer = (lambda _: slowly(contexts, wait)) if coroutine else (lambda _: wait)
    peer = Hooked(Provider(answer)).peer()
    assert peer.pdus() == []
    wait.callback(contexts)
    assert results(peer.pdus()[0])[0] == (ECHO_ID, 0)


RUBBISH = [None, 5, "text", [None], [(CT,)], [(CT, "1.2")], [("no uid", ())], [(CT, (5,))], [(CT, ("../x",))]]


@pytest.mark.parametrize("answer", [ValueError("mine"), SystemExit(1), *RUBBISH], ids=repr)
def test_a_provider_that_fails_harms_its_association_alone(answer: Any, logged: list[Any]) -> None:
    made = Hooked(
        EchoAddin(), Provider(lambda association: answer if association.calling_ae == "BAD" else [], "faulty")
    )
    if isinstance(answer, BaseException):
        made = Hooked(EchoAddin(), Provider(answer, "faulty"))
    assert triple(made.answer(calling="BAD")) == FAILED
    assert "add-in faulty: presentation_contexts failed; association" in texts(logged)
    if not isinstance(answer, BaseException):
        assert isinstance(made.answer(), AssociateAC)


def test_a_request_that_has_no_answer_is_aborted_as_without_hooks() -> None:
    peer = Hooked(EchoAddin(), Provider([])).peer(max_length=3)
    assert peer.pdus() == [Abort(2, 6)]


def test_a_hook_that_never_answers(logged: list[Any]) -> None:
    cancelled = []
    made = Hooked(EchoAddin(), Provider(lambda _: Deferred(cancelled.append)), addin_timeout=5)
    peer = made.peer()
    made.clock.advance(4.9)
    assert peer.pdus() == []
    made.clock.advance(0.2)
    assert triple(peer.pdus()[0]) == FAILED
    assert len(cancelled) == 1
    assert "addin_timeout" in texts(logged)
    peer.lose()
    assert not made.clock.getDelayedCalls()


def test_a_hook_that_does_not_let_itself_be_cancelled() -> None:
    wait: Deferred[Any] = Deferred()

    async def stubborn(_: Any) -> Any:
        while True:
            try:
                return await wait
            except CancelledError:
                pass

    made = Hooked(EchoAddin(), Provider(stubborn), addin_timeout=5)
    peer = made.peer()
    made.clock.advance(6)
    assert triple(peer.pdus()[0]) == FAILED
    wait.cancel()


def test_the_peer_leaves_while_a_hook_thinks() -> None:
    cancelled = []
    made = Hooked(EchoAddin(), Provider(lambda _: Deferred(cancelled.append)))
    peer = made.peer()
    peer.lose()
    assert len(cancelled) == 1
    assert not made.clock.getDelayedCalls()
    assert not made.acceptor.associations


# roles


def roles(made: Hooked, *proposed: RoleSelection, abstract: str = CT) -> Any:
    context = PresentationContextRQ(CT_ID, abstract, (EXPLICIT_VR_LITTLE_ENDIAN,))
    return made.answer(context, user={"roles": proposed})


@pytest.mark.parametrize(
    ("answer", "granted"),
    [
        (Roles.ACCEPT_USER, (True, False)),
        (Roles.ACCEPT_PROVIDER, (False, True)),
        (Roles.ACCEPT_ALL, (True, True)),
        (None, (True, False)),
    ],
)
def test_roles_as_an_add_in_says(answer: Roles | None, granted: tuple[bool, bool]) -> None:
    ac = roles(Hooked(StoreAddin(), Selector(answer)), RoleSelection(CT, True, True))
    assert ac.user.roles == (RoleSelection(CT, *granted),)
    assert results(ac) == [(CT_ID, 0)]


def test_refusing_both_roles_refuses_the_contexts() -> None:
    assert results(roles(Hooked(StoreAddin(), Selector(Roles.REFUSE)), RoleSelection(CT, True, True))) == [(CT_ID, 1)]


def test_a_role_that_was_not_proposed_is_not_granted() -> None:
    """PS3.7 D.3.3.4."""
    ac = roles(Hooked(StoreAddin(), Selector(Roles.ACCEPT_ALL)), RoleSelection(CT, True, False))
    assert ac.user.roles == (RoleSelection(CT, True, False),)


def test_nobody_is_asked_about_roles_that_are_not_proposed() -> None:
    selector = Selector(Roles.REFUSE)
    assert results(roles(Hooked(StoreAddin(), selector))) == [(CT_ID, 0)]
    assert selector.asked == []


def test_the_first_answer_about_roles_wins() -> None:
    silent, first, second = Selector(None), Selector(Roles.ACCEPT_PROVIDER), Selector(Roles.ACCEPT_USER)
    ac = roles(Hooked(StoreAddin(), silent, first, second), RoleSelection(CT, True, True))
    assert ac.user.roles == (RoleSelection(CT, False, True),)
    assert (silent.asked, first.asked, second.asked) == ([(CT,)], [(CT,)], [])


@pytest.mark.parametrize(
    "answer", [ValueError("mine"), SystemExit(1), 3, "all", lambda _: slowly(1, Deferred())], ids=repr
)
def test_a_selector_that_fails(answer: Any, logged: list[Any]) -> None:
    made = Hooked(StoreAddin(), Selector(answer, "faulty"))
    assert triple(roles(made, RoleSelection(CT, True, True))) == FAILED
    assert "add-in faulty: role_selection failed; association" in texts(logged)
    assert results(made.answer(CT_CONTEXT)) == [(CT_ID, 0)]


def test_who_gets_is_the_scp_of_storage() -> None:
    """The requestor of a C-GET receives C-STORE requests (PS3.4 C.4.3)."""
    for abstract in (CT, PRIVATE):
        ac = roles(Hooked(StoreAddin(), Getter()), RoleSelection(abstract, True, True), abstract=abstract)
        assert ac.user.roles == (RoleSelection(abstract, True, True),)
        assert results(ac) == [(CT_ID, 0)]
    assert roles(Hooked(StoreAddin()), RoleSelection(CT, True, True)).user.roles == (RoleSelection(CT, True, False),)


def test_what_only_goes_out_is_accepted_for_the_scp_alone() -> None:
    """A server that stores nothing may send what it has."""
    made = Hooked(Getter())
    assert roles(made, RoleSelection(CT, True, True)).user.roles == (RoleSelection(CT, False, True),)
    assert results(roles(made, RoleSelection(CT, False, True))) == [(CT_ID, 0)]
    assert results(roles(made)) == [(CT_ID, 3)]
    assert results(roles(made, RoleSelection(CT, True, False))) == [(CT_ID, 3)]
    assert results(roles(made, RoleSelection(MPPS, True, True), abstract=MPPS)) == [(CT_ID, 3)]
    private = roles(Hooked(Getter(), unknown_sop_classes=False), RoleSelection(PRIVATE, True, True), abstract=PRIVATE)
    assert results(private) == [(CT_ID, 3)]


# extended negotiation


def extended(made: Hooked, *proposed: ExtendedNegotiation) -> Any:
    return made.answer(CT_CONTEXT, user={"extended": proposed})


def test_extended_negotiation_is_answered_by_the_first_that_has_an_answer() -> None:
    silent, first, second = Extender(None), Extender(lambda _, information: information[::-1]), Extender(b"no")
    ac = extended(Hooked(StoreAddin(), silent, first, second), ExtendedNegotiation(CT, b"\1\2"))
    assert ac.user.extended == (ExtendedNegotiation(CT, b"\2\1"),)
    assert (silent.asked, second.asked) == ([(CT, b"\1\2")], [])


def test_an_empty_answer_is_one_and_none_is_none() -> None:
    ac = extended(Hooked(StoreAddin(), Extender(b"")), ExtendedNegotiation(CT, b"\1"))
    assert ac.user.extended == (ExtendedNegotiation(CT, b""),)
    assert extended(Hooked(StoreAddin(), Extender(None)), ExtendedNegotiation(CT, b"\1")).user.extended == ()


def test_only_accepted_classes_are_asked_about() -> None:
    extender = Extender(b"\1")
    ac = extended(Hooked(StoreAddin(), extender), ExtendedNegotiation(MR, b"\1"))
    assert (ac.user.extended, extender.asked) == ((), [])


@pytest.mark.parametrize(
    "answer", [ValueError("mine"), SystemExit(1), "text", 1, b"x" * 70_000], ids=lambda one: repr(one)[:20]
)
def test_an_extender_that_fails(answer: Any, logged: list[Any]) -> None:
    made = Hooked(StoreAddin(), Extender(answer, "faulty"))
    assert triple(extended(made, ExtendedNegotiation(CT, b"\1"))) == FAILED
    assert "association" in texts(logged)
    assert results(made.answer(CT_CONTEXT)) == [(CT_ID, 0)]


# user identity

SECRET = b"hunter2-primary"
PASSCODE = b"hunter2-passcode"


def identified(
    made: Hooked, kind: int = 2, *, ask: bool = False, primary: bytes = SECRET, secondary: bytes | None = None
) -> Peer:
    if secondary is None:
        secondary = PASSCODE if kind == 2 else b""
    return made.peer(user={"user_identity": UserIdentityRQ(kind, primary, secondary, ask)})


def test_without_an_authenticator_it_is_accepted_without_a_positive_response() -> None:
    """PS3.7 D.3.3.7."""
    (ac,) = identified(Hooked(EchoAddin()), ask=True).pdus()
    assert isinstance(ac, AssociateAC)
    assert ac.user.user_identity is None


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
def test_what_an_authenticator_is_given(kind: int) -> None:
    authenticator = Authenticator(IdentityAccepted())
    peer = identified(Hooked(EchoAddin(), authenticator), kind)
    assert isinstance(peer.pdus()[0], AssociateAC)
    ((identity,),) = authenticator.asked
    assert (identity.type, identity.primary) == (kind, SECRET)
    assert identity.secondary == (PASSCODE if kind == 2 else b"")
    assert identity.calling_ae == "CLIENT"
    assert identity.address.host == "192.0.2.7"
    assert peer.association.user_identity is identity
    assert "hunter2" not in repr(identity) + repr(peer.association)


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
def test_the_positive_response_comes_where_it_was_asked_for(kind: int) -> None:
    """Empty for user names (PS3.7 D.3.3.7.2)."""
    made = Hooked(EchoAddin(), Authenticator(IdentityAccepted(b"ticket")))
    (ac,) = identified(made, kind, ask=True).pdus()
    assert ac.user.user_identity == UserIdentityAC(b"" if kind < 3 else b"ticket")
    (ac,) = identified(made, kind).pdus()
    assert ac.user.user_identity is None


def test_a_user_who_is_refused(logged: list[Any]) -> None:
    made = Hooked(EchoAddin(), Authenticator(IdentityRefused("no such user")))
    peer = identified(made, ask=True)
    assert triple(peer.pdus()[0]) == UNAUTHORIZED
    assert peer.association.user_identity is None
    assert "no such user" in texts(logged)
    assert "hunter2" not in texts(logged)


def test_the_first_answer_about_an_identity_wins() -> None:
    silent, first, second = Authenticator(None), Authenticator(IdentityRefused()), Authenticator(IdentityAccepted())
    assert triple(identified(Hooked(silent, first, second, EchoAddin())).pdus()[0]) == UNAUTHORIZED
    assert (len(silent.asked), len(first.asked), len(second.asked)) == (1, 1, 0)


def test_an_identity_that_nobody_answers_for_is_refused(logged: list[Any]) -> None:
    made = Hooked(EchoAddin(), Authenticator(None))
    assert triple(identified(made, 5).pdus()[0]) == UNAUTHORIZED
    assert "type 5" in texts(logged)


def test_nobody_is_asked_about_a_type_that_does_not_exist() -> None:
    authenticator = Authenticator(IdentityAccepted())
    made = Hooked(EchoAddin(), authenticator)
    rq = associate_rq()
    raw = encode(replace(rq, user=replace(rq.user, user_identity=UserIdentityRQ(1, SECRET))))
    peer = Peer(made.acceptor)
    at = raw.index(b"\x58\0" + (6 + len(SECRET)).to_bytes(2, "big"))
    peer.send(raw[: at + 4] + b"\x09" + raw[at + 5 :])
    assert triple(peer.pdus()[0]) == UNAUTHORIZED
    assert authenticator.asked == []


def test_an_association_without_identity_is_let_in_unless_one_is_required(logged: list[Any]) -> None:
    authenticator = Authenticator(IdentityRefused())
    assert isinstance(Hooked(EchoAddin(), authenticator).answer(), AssociateAC)
    assert authenticator.asked == []
    assert triple(Hooked(EchoAddin(), Strict(IdentityAccepted())).answer()) == UNAUTHORIZED
    assert "there is none" in texts(logged)


def test_a_required_identity() -> None:
    assert isinstance(identified(Hooked(EchoAddin(), Strict(IdentityAccepted()))).pdus()[0], AssociateAC)


def test_who_the_user_is_is_known_when_contexts_are_asked_for() -> None:
    users = []
    provider = Provider(lambda association: users.append(association.user_identity.primary) or [])
    identified(Hooked(EchoAddin(), provider, Authenticator(IdentityAccepted())))
    assert users == [SECRET]


def test_an_authenticator_may_answer_later() -> None:
    wait: Deferred[Any] = Deferred()
    peer = identified(Hooked(EchoAddin(), Authenticator(lambda _: slowly(IdentityAccepted(), wait))))
    assert peer.pdus() == []
    wait.callback(None)
    assert isinstance(peer.pdus()[0], AssociateAC)


async def fails_later(identity: Any) -> Any:
    raise ValueError(f"cannot read {identity.primary!r}")


@pytest.mark.parametrize(
    "answer",
    [
        ValueError(f"bad {PASSCODE!r}"),
        SystemExit(f"bad {PASSCODE!r}"),
        fails_later,
        True,
        "yes",
        IdentityAccepted("text"),
        IdentityAccepted(b"x" * 70_000),
    ],  # type: ignore[arg-type]
    ids=lambda one: repr(one)[:20],
)
def test_an_authenticator_that_fails_tells_no_secret(answer: Any, logged: list[Any]) -> None:
    made = Hooked(EchoAddin(), Authenticator(answer, "faulty"))
    assert triple(identified(made, 3, ask=True).pdus()[0]) == FAILED
    assert "association" in texts(logged)
    assert "hunter2" not in texts(logged)
    assert isinstance(made.answer(), AssociateAC)


def test_others_are_served_while_an_authenticator_thinks() -> None:
    wait: Deferred[Any] = Deferred()
    made = Hooked(EchoAddin(), Authenticator(lambda _: slowly(IdentityAccepted(), wait)))
    slow = identified(made)
    other = made.peer()
    other.send(echo_bytes())
    assert [type(pdu) for pdu in other.pdus()] == [AssociateAC]
    wait.callback(None)
    assert isinstance(slow.pdus()[0], AssociateAC)


def test_data_before_the_answer_is_against_the_protocol() -> None:
    wait: Deferred[Any] = Deferred()
    made = Hooked(EchoAddin(), Authenticator(lambda _: slowly(IdentityAccepted(), wait)))
    peer = identified(made)
    peer.send(pdata(ECHO_ID, 3, b"\0\0"))
    assert isinstance(peer.pdus()[0], Abort)
    wait.callback(None)
    assert peer.pdus() == []


def test_several_on_one_object() -> None:
    @implementer(IDicomAddin, IUserIdentity, IRoleSelectionProvider, IExtendedNegotiation)
    class All(Addin):
        def authenticate(self, identity: Any) -> Any:
            return IdentityAccepted()

        def role_selection(self, abstract_syntax: str) -> Any:
            return Roles.ACCEPT_ALL

        def extended(self, abstract_syntax: str, information: bytes) -> Any:
            return b"\1"

    ac = Hooked(StoreAddin(), NormalizedAddin(), All()).answer(
        CT_CONTEXT,
        user={
            "user_identity": UserIdentityRQ(1, b"me", b"", True),
            "roles": (RoleSelection(CT, True, True),),
            "extended": (ExtendedNegotiation(CT, b"\0"),),
        },
    )
    assert ac.user.user_identity == UserIdentityAC(b"")
    assert ac.user.roles == (RoleSelection(CT, True, True),)
    assert ac.user.extended == (ExtendedNegotiation(CT, b"\1"),)
