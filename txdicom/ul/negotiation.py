"""What two application entities agree on when an association begins (PS3.8 §7.1 and Annex D, PS3.7 D.3).

Two pure functions: `accept` makes the acceptor's A-ASSOCIATE-AC under a policy, `conclude` reads it for the requestor.
Both give the `Agreement` that holds from then on. Whether there is an association at all (AE titles, user identity,
limits) is decided before, by whoever calls them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from txdicom.errors import RemoteProtocolError
from txdicom.pdu.types import (
    AbortReason,
    AssociateAC,
    AsyncOperationsWindow,
    ExtendedNegotiation,
    PresentationContextAC,
    RoleSelection,
    UserIdentityAC,
    UserIdentityRQ,
    UserInformation,
)
from txdicom.uids import IMPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from txdicom.pdu.types import AssociateRQ, CommonExtendedNegotiation, PresentationContextRQ

#: results of a presentation context (PS3.8 Table 9-18)
ACCEPTANCE: Final = 0
USER_REJECTION: Final = 1
NO_REASON: Final = 2
ABSTRACT_SYNTAX_NOT_SUPPORTED: Final = 3
TRANSFER_SYNTAXES_NOT_SUPPORTED: Final = 4

#: the requestor's (SCU, SCP) where nothing else was agreed (PS3.7 D.3.3.4)
DEFAULT_ROLES: Final = (True, False)
#: The least maximum length that anything can be sent under: a PDV's length, context id and message control header, and
#: a fragment of two bytes, for fragments are even (PS3.8 §9.3.5.1, E.1).
LEAST_MAX_LENGTH: Final = 8

_INVALID: Final = AbortReason.INVALID_PARAMETER_VALUE


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """A presentation context that both sides agreed on.

    `scu` and `scp` are the roles the *requestor* of the association may play under it. `served_as` is "" but where the
    acceptor's policy does not know the abstract syntax itself: there it is the general SOP class or the service class,
    named by the requestor, under which it was accepted (PS3.7 D.3.3.6).
    """

    context_id: int
    abstract_syntax: str
    transfer_syntax: str
    scu: bool = True
    scp: bool = False
    served_as: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What holds on an association, seen from one of its sides ("this side")."""

    #: the accepted presentation contexts by their id
    contexts: Mapping[int, AcceptedContext]
    #: the longest P-DATA-TF each side may send, in bytes without the six of its header; 0: no maximum (PS3.8 D.1)
    max_send: int
    max_receive: int
    #: how many operations this side may have outstanding, and how many it must perform, at once; 0: no limit
    invoked: int
    performed: int
    #: "" where the peer sent none
    peer_implementation_class_uid: str
    peer_implementation_version_name: str
    #: the acceptor's answers to the SOP class extended negotiation, by SOP class; a class without one has its defaults
    extended: Mapping[str, bytes]
    #: the acceptor's positive answer to the user identity, often empty; None: there was none (PS3.7 D.3.3.7)
    user_identity_response: bytes | None = field(default=None, repr=False)


class AcceptorPolicy(Protocol):
    """What an acceptor is ready to agree to."""

    @property
    def max_length(self) -> int:
        """The longest P-DATA-TF it takes, in bytes without the six of its header; 0: no maximum."""

    @property
    def max_operations(self) -> int:
        """The most operations at once it grants, in each direction; 0: no limit, 1: no asynchronous operations."""

    @property
    def implementation_class_uid(self) -> str:
        """Its implementation (PS3.7 D.3.3.2)."""

    @property
    def implementation_version_name(self) -> str:
        """At most 16 characters; "": not sent."""

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        """The transfer syntaxes it takes for this abstract syntax, best first.

        None: the abstract syntax is not supported (result 3). An empty sequence: it is, but not for this association
        (result 1, user rejection). Asked once a context, so this should be a look-up. An abstract syntax it answers
        None for is asked for again by the general SOP classes and at last the service class that the requestor named
        for it ("1.2.840.10008.4.2" is Storage), if it named any.
        """

    def roles(self, abstract_syntax: str) -> tuple[bool, bool]:
        """Whether the requestor may be SCU and whether it may be SCP. Asked only where it proposes roles."""

    def extended(self, abstract_syntax: str, information: bytes) -> bytes | None:
        """The answer to the application information of this SOP class; None: no answer, the defaults hold."""


def accept(
    rq: AssociateRQ, policy: AcceptorPolicy, *, identity_response: bytes | None = None
) -> tuple[AssociateAC, Agreement]:
    """The acceptor's answer to `rq` under `policy`, and what is agreed by it.

    Every proposed context is answered, in the order of the request (PS3.8 §7.1.1.14); the transfer syntax is the first
    of the policy's that was proposed. A context under which the requestor could play neither role is a user rejection.
    `identity_response` is given once the user has been authenticated; it is sent where a positive response was asked
    for, and left empty for user names (PS3.7 D.3.3.7.2). Raises RemoteProtocolError when the request has no context,
    an id that is even or used twice (PS3.8 §7.1.1.13, Table 9-13), or a maximum length that holds no fragment.
    """
    user = rq.user
    _check_contexts(rq.contexts)
    _check_max_length(user.max_length)
    roles = _granted_roles(user.roles, policy) if user.roles else {}
    general = {item.sop_class: item for item in user.common_extended}
    answers = []
    accepted = {}
    for context in rq.contexts:
        context_id, abstract, proposed = context.context_id, context.abstract_syntax, context.transfer_syntaxes
        preferred = policy.transfer_syntaxes(abstract) if abstract else None
        served_as = ""
        if preferred is None and abstract in general:
            preferred, served_as = _as_general(general[abstract], policy)
        scu, scp = roles.get(abstract, DEFAULT_ROLES)
        if preferred is None:
            result = ABSTRACT_SYNTAX_NOT_SUPPORTED
        elif not preferred or not (scu or scp):
            result = USER_REJECTION
        elif chosen := _first_of(preferred, proposed):
            answers.append(PresentationContextAC(context_id, ACCEPTANCE, chosen))
            accepted[context_id] = AcceptedContext(context_id, abstract, chosen, scu, scp, served_as)
            continue
        else:
            result = TRANSFER_SYNTAXES_NOT_SUPPORTED
        # the syntax of a rejected context means nothing, but has to be there (Table 9-18)
        answers.append(
            PresentationContextAC(context_id, result, proposed[0] if proposed else IMPLICIT_VR_LITTLE_ENDIAN)
        )

    classes = {context.abstract_syntax for context in accepted.values()}
    extended = _extended_answers(user.extended, classes, policy)
    window = user.async_window
    if window is not None:
        window = AsyncOperationsWindow(
            _lower(window.invoked, policy.max_operations), _lower(window.performed, policy.max_operations)
        )
    identity = user.user_identity
    identity_answer = None
    if identity_response is not None and isinstance(identity, UserIdentityRQ) and identity.response_requested:
        identity_answer = UserIdentityAC(b"" if identity.kind in {1, 2} else identity_response)

    ac = AssociateAC(
        rq.called_ae,
        rq.calling_ae,
        tuple(answers),
        UserInformation(
            policy.max_length,
            policy.implementation_class_uid,
            policy.implementation_version_name,
            window,
            tuple(RoleSelection(uid, scu, scp) for uid, (scu, scp) in roles.items() if uid in classes),
            tuple(ExtendedNegotiation(uid, information) for uid, information in extended.items()),
            user_identity=identity_answer,
        ),
        reserved=rq.reserved,
        title_fields=rq.title_fields,
    )
    return ac, Agreement(
        accepted,
        max_send=user.max_length,
        max_receive=policy.max_length,
        invoked=window.performed if window else 1,  # what the requestor performs, this side invokes
        performed=window.invoked if window else 1,
        peer_implementation_class_uid=user.implementation_class_uid,
        peer_implementation_version_name=user.implementation_version_name,
        extended=extended,
        user_identity_response=identity_answer.response if identity_answer else None,
    )


def conclude(rq: AssociateRQ, ac: AssociateAC, deviations: list[str] | None = None) -> Agreement:
    """What the requestor of `rq` has agreed on by receiving `ac`.

    An answer can only lower what was proposed (PS3.7 D.3.3.3, D.3.3.4): what goes beyond it, and what answers nothing,
    is left out of account and put into `deviations`, a sentence each. Raises RemoteProtocolError where the two sides
    would not understand each other: a context accepted that was not proposed or twice, or with a transfer syntax that
    was not proposed for it; a maximum length that holds no fragment. That no context at all was accepted is for the
    caller to judge.
    """
    notes: list[str] = [] if deviations is None else deviations
    _check_max_length(ac.user.max_length)
    invoked, performed = _concluded_window(rq.user.async_window, ac.user.async_window, notes)
    offered = {item.sop_class for item in rq.user.extended}
    extended = {item.sop_class: item.information for item in ac.user.extended if item.sop_class in offered}
    if any(item.sop_class not in offered for item in ac.user.extended):
        notes.append("extended negotiation answered for a SOP class that it was not proposed for")
    return Agreement(
        _concluded_contexts(rq, ac, notes),
        max_send=ac.user.max_length,
        max_receive=rq.user.max_length,
        invoked=invoked,
        performed=performed,
        peer_implementation_class_uid=ac.user.implementation_class_uid,
        peer_implementation_version_name=ac.user.implementation_version_name,
        extended=extended,
        user_identity_response=_concluded_identity(rq.user, ac.user, notes),
    )


def _check_contexts(contexts: Sequence[PresentationContextRQ]) -> None:
    if not contexts:  # Table 9-11 wants one, and an answer could not be written without one (Table 9-17)
        raise RemoteProtocolError("no presentation context was proposed", reason=_INVALID)
    ids = {context.context_id for context in contexts}
    if len(ids) != len(contexts):
        raise RemoteProtocolError("a presentation context id is used twice", reason=_INVALID)
    for context_id in ids:
        if not context_id & 1:
            raise RemoteProtocolError(f"presentation context id {context_id} is not odd", reason=_INVALID)


def _check_max_length(max_length: int) -> None:
    if 0 < max_length < LEAST_MAX_LENGTH:
        raise RemoteProtocolError(f"a maximum length of {max_length} bytes does not hold a fragment", reason=_INVALID)


def _first_of(preferred: Sequence[str], proposed: tuple[str, ...]) -> str:
    for transfer_syntax in preferred:
        if transfer_syntax in proposed:
            return transfer_syntax
    return ""


def _lower(offered: int, allowed: int) -> int:
    """The lower of two numbers of operations of which 0 is the highest."""
    return min(offered, allowed) if offered and allowed else offered or allowed


def _as_general(
    item: CommonExtendedNegotiation, policy: AcceptorPolicy
) -> tuple[Sequence[str] | None, str]:  # PS3.4 B.4.1.2
    for uid in (*item.related, item.service_class):
        preferred = policy.transfer_syntaxes(uid)
        if preferred is not None:
            return preferred, uid
    return None, ""


def _granted_roles(proposed: Iterable[RoleSelection], policy: AcceptorPolicy) -> dict[str, tuple[bool, bool]]:
    roles = {}
    for item in proposed:
        if item.scu or item.scp:  # neither is not a proposal: the default roles hold
            scu, scp = policy.roles(item.sop_class)
            roles[item.sop_class] = (item.scu and scu, item.scp and scp)
    return roles


def _extended_answers(
    proposed: Iterable[ExtendedNegotiation], classes: set[str], policy: AcceptorPolicy
) -> dict[str, bytes]:
    answers = {}
    for item in proposed:
        if item.sop_class in classes:
            information = policy.extended(item.sop_class, item.information)
            if information is not None:
                answers[item.sop_class] = information
    return answers


def _concluded_contexts(rq: AssociateRQ, ac: AssociateAC, notes: list[str]) -> dict[int, AcceptedContext]:
    roles = _concluded_roles(rq.user.roles, ac.user.roles, notes)
    open_contexts = {context.context_id: context for context in rq.contexts}
    accepted = {}
    for answer in ac.contexts:
        context = open_contexts.pop(answer.context_id, None)
        if context is None:
            sentence = f"presentation context {answer.context_id} was answered but not proposed, or answered twice"
            if answer.result == ACCEPTANCE:
                raise RemoteProtocolError(sentence, reason=_INVALID)
            notes.append(sentence)
        elif answer.result == ACCEPTANCE:
            transfer_syntax = _concluded_syntax(context, answer.transfer_syntax, notes)
            scu, scp = roles.get(context.abstract_syntax, DEFAULT_ROLES)
            accepted[context.context_id] = AcceptedContext(
                context.context_id, context.abstract_syntax, transfer_syntax, scu, scp
            )
    if open_contexts:
        notes.append(f"{len(open_contexts)} of {len(rq.contexts)} presentation contexts were not answered")
    return accepted


def _concluded_syntax(context: PresentationContextRQ, answered: str, notes: list[str]) -> str:
    if answered in context.transfer_syntaxes:
        return answered
    if not answered and len(context.transfer_syntaxes) == 1:
        notes.append(f"presentation context {context.context_id} was accepted without its transfer syntax")
        return context.transfer_syntaxes[0]
    raise RemoteProtocolError(
        f"presentation context {context.context_id} was accepted with a transfer syntax that was not proposed for it",
        reason=_INVALID,
    )


def _concluded_roles(
    proposed: Iterable[RoleSelection], answered: Iterable[RoleSelection], notes: list[str]
) -> dict[str, tuple[bool, bool]]:
    offers = {item.sop_class: item for item in proposed}
    roles = {}
    for item in answered:
        offer = offers.get(item.sop_class)
        if offer is None:
            notes.append("roles answered for a SOP class that they were not proposed for")
            continue
        if item.scu > offer.scu or item.scp > offer.scp:
            notes.append("a role was accepted that was not proposed")
        roles[item.sop_class] = (offer.scu and item.scu, offer.scp and item.scp)
    return roles


def _concluded_window(
    offered: AsyncOperationsWindow | None, answered: AsyncOperationsWindow | None, notes: list[str]
) -> tuple[int, int]:
    if answered is None:
        return 1, 1
    if offered is None:
        notes.append("an asynchronous operations window was answered that was not proposed")
        return 1, 1
    agreed = _lower(offered.invoked, answered.invoked), _lower(offered.performed, answered.performed)
    if agreed != (answered.invoked, answered.performed):
        notes.append("the asynchronous operations window was answered larger than proposed")
    return agreed


def _concluded_identity(offered: UserInformation, answered: UserInformation, notes: list[str]) -> bytes | None:
    if not isinstance(answered.user_identity, UserIdentityAC):
        return None
    if isinstance(offered.user_identity, UserIdentityRQ) and offered.user_identity.response_requested:
        return answered.user_identity.response
    notes.append("a user identity response came that was not asked for")
    return None
