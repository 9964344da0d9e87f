"""Hypothesis strategies for the values of the protocol, shared by the tests of all floors.

What they draw keeps the standard's rules, so that it can be encoded and comes back equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st

from txdicom.pdu.types import (
    PDU,
    PDV,
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    AsyncOperationsWindow,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    PDataTF,
    PresentationContextAC,
    PresentationContextRQ,
    ReleaseRP,
    ReleaseRQ,
    RoleSelection,
    UnknownItem,
    UserIdentityAC,
    UserIdentityRQ,
    UserInformation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_STANDARD_UIDS = (
    "1.2.840.10008.1.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.3.1.1.1",
    "1.2.840.10008.4.2",
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.88.22",
    "1.2.840.10008.5.1.4.1.2.2.1",
)
_COMPONENTS = st.integers(0, 10**6).map(str)
_BYTES = st.integers(0, 255)
_SHORTS = st.integers(0, 0xFFFF)

#: types that no item or sub-item of the standard has
unknown_kinds = st.sampled_from((0x01, 0x11, 0x22, 0x41, 0x5A, 0x60, 0xFF))


def uids() -> st.SearchStrategy[str]:
    """UIDs: those of the standard and any others (PS3.5 §9.1)."""
    others = st.lists(_COMPONENTS, min_size=1, max_size=8).map(".".join).filter(lambda uid: len(uid) <= 64)
    longest = st.just("2.25." + "9" * 59)
    return st.one_of(st.sampled_from(_STANDARD_UIDS), others, longest)


def names() -> st.SearchStrategy[str]:
    """AE titles and version names: 1 to 16 printable ASCII characters, no space at either end."""
    printable = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
    return st.text(printable, min_size=1, max_size=16).filter(lambda text: text == text.strip(" "))


def context_ids() -> st.SearchStrategy[int]:
    """Presentation context identifiers: odd, 1 to 255."""
    return st.integers(0, 127).map(lambda half: 2 * half + 1)


def unknown_items() -> st.SearchStrategy[tuple[UnknownItem, ...]]:
    """Items of types the standard does not have."""
    return st.lists(st.builds(UnknownItem, unknown_kinds, st.binary(max_size=20)), max_size=3).map(tuple)


def presentation_contexts_rq() -> st.SearchStrategy[PresentationContextRQ]:
    """Proposed presentation contexts with distinct transfer syntaxes."""
    transfer = st.lists(uids(), min_size=1, max_size=5, unique=True).map(tuple)
    return st.builds(PresentationContextRQ, context_ids(), uids(), transfer)


def presentation_contexts_ac() -> st.SearchStrategy[PresentationContextAC]:
    """Answered presentation contexts; rejected ones with and without a transfer syntax."""
    accepted = st.builds(PresentationContextAC, context_ids(), st.just(0), uids())
    rejected = st.builds(PresentationContextAC, context_ids(), st.integers(1, 4), st.one_of(st.just(""), uids()))
    return st.one_of(accepted, rejected)


def user_identities_rq() -> st.SearchStrategy[UserIdentityRQ]:
    """User identities of all five types; a secondary field with type 2 only."""
    plain = st.builds(
        UserIdentityRQ,
        st.sampled_from((1, 3, 4, 5)),
        st.binary(max_size=40),
        response_requested=st.booleans(),
    )
    passcode = st.builds(UserIdentityRQ, st.just(2), st.binary(max_size=40), st.binary(max_size=40), st.booleans())
    return st.one_of(plain, passcode)


def user_information(*, requestor: bool) -> st.SearchStrategy[UserInformation]:
    """User information items of a requestor or an acceptor, with every sub-item there is."""
    roles = st.builds(RoleSelection, uids(), st.booleans(), st.booleans())
    extended = st.builds(ExtendedNegotiation, uids(), st.binary(max_size=20))
    common = st.builds(CommonExtendedNegotiation, uids(), uids(), st.lists(uids(), max_size=3).map(tuple))
    identity: st.SearchStrategy[UserIdentityRQ | UserIdentityAC] = (
        user_identities_rq() if requestor else st.builds(UserIdentityAC, st.binary(max_size=40))
    )
    return st.builds(
        UserInformation,
        max_length=st.integers(0, 0xFFFFFFFF),
        implementation_class_uid=uids(),
        implementation_version_name=st.one_of(st.just(""), names()),
        async_window=st.one_of(st.none(), st.builds(AsyncOperationsWindow, _SHORTS, _SHORTS)),
        roles=_distinct(roles, lambda role: role.sop_class),
        extended=_distinct(extended, lambda each: each.sop_class),
        common_extended=_distinct(common, lambda each: each.sop_class) if requestor else st.just(()),
        user_identity=st.one_of(st.none(), identity),
        unknown=unknown_items(),
    )


def _distinct(values: st.SearchStrategy[T], key: Callable[[T], object]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(values, max_size=3, unique_by=key).map(tuple)


def associate_rqs() -> st.SearchStrategy[AssociateRQ]:
    """A-ASSOCIATE-RQ PDUs."""
    return st.builds(
        AssociateRQ,
        called_ae=names(),
        calling_ae=names(),
        contexts=st.lists(presentation_contexts_rq(), min_size=1, max_size=6, unique_by=_context_id).map(tuple),
        user=user_information(requestor=True),
        application_context=uids(),
        protocol_version=_SHORTS,
        reserved=st.binary(min_size=32, max_size=32),
        unknown=unknown_items(),
        title_fields=st.just(b""),
    )


def associate_acs() -> st.SearchStrategy[AssociateAC]:
    """A-ASSOCIATE-AC PDUs."""
    return st.builds(
        AssociateAC,
        called_ae=names(),
        calling_ae=names(),
        contexts=st.lists(presentation_contexts_ac(), max_size=6, unique_by=_context_id).map(tuple),
        user=user_information(requestor=False),
        application_context=uids(),
        protocol_version=_SHORTS,
        reserved=st.binary(min_size=32, max_size=32),
        unknown=unknown_items(),
        title_fields=st.just(b""),
    )


def _context_id(context: PresentationContextRQ | PresentationContextAC) -> int:
    return context.context_id


def associate_rjs() -> st.SearchStrategy[AssociateRJ]:
    """A-ASSOCIATE-RJ PDUs."""
    return st.builds(AssociateRJ, st.integers(1, 2), st.integers(1, 3), _BYTES)


def aborts() -> st.SearchStrategy[Abort]:
    """A-ABORT PDUs: of the user without a reason, of the provider with any."""
    return st.one_of(st.just(Abort(0, 0)), st.builds(Abort, st.just(2), _BYTES))


def pdvs() -> st.SearchStrategy[PDV]:
    """Presentation data values, empty ones too."""
    return st.builds(PDV, context_ids(), st.integers(0, 3), st.binary(max_size=200))


def pdata() -> st.SearchStrategy[PDataTF]:
    """P-DATA-TF PDUs."""
    return st.builds(PDataTF, st.lists(pdvs(), min_size=1, max_size=4).map(tuple))


def pdus() -> st.SearchStrategy[PDU]:
    """PDUs of all seven types."""
    return st.one_of(
        associate_rqs(),
        associate_acs(),
        associate_rjs(),
        pdata(),
        st.just(ReleaseRQ()),
        st.just(ReleaseRP()),
        aborts(),
    )
