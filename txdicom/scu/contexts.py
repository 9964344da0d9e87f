"""Which presentation contexts an SCU proposes (PS3.8 §7.1.1.13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from txdicom import uids
from txdicom.pdu.types import PresentationContextRQ, RoleSelection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from txdicom.scu.files import Instance

#: presentation contexts of one association: the odd numbers from 1 to 255 (PS3.8 §9.3.2.2)
MOST: Final = 128

#: transfer syntaxes of a data set that can be encoded anew without touching its pixels
NATIVE: Final = (*uids.UNCOMPRESSED, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)


@dataclass(frozen=True, slots=True)
class Context:
    """A presentation context to propose: an abstract syntax, its transfer syntaxes, our roles under it.

    The acceptor chooses one of the transfer syntaxes. `scp` is for what comes to us on the association we opened: the
    instances of a C-GET.
    """

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...] = uids.UNCOMPRESSED
    scu: bool = True
    scp: bool = False


#: a context, an abstract syntax, or an abstract syntax with transfer syntaxes
Proposal: TypeAlias = "Context | str | tuple[str, Sequence[str]]"

#: what is proposed where nothing was asked for
DEFAULT: Final = tuple(
    Context(one) for one in (uids.VERIFICATION, uids.STUDY_ROOT_FIND, uids.STUDY_ROOT_MOVE, uids.STUDY_ROOT_GET)
)


def as_context(proposal: Proposal) -> Context:
    """`proposal` as a context; ValueError where it holds no UID."""
    if isinstance(proposal, str):
        proposal = Context(proposal)
    elif not isinstance(proposal, Context):
        abstract_syntax, transfer_syntaxes = proposal
        proposal = Context(abstract_syntax, tuple(transfer_syntaxes))
    for uid in (proposal.abstract_syntax, *proposal.transfer_syntaxes):
        if not uids.is_uid(uid):
            raise ValueError(f"{uid!r} is no UID")
    if not proposal.transfer_syntaxes:
        raise ValueError(f"a presentation context for {proposal.abstract_syntax} needs a transfer syntax")
    return proposal


def for_instances(instances: Iterable[Instance]) -> list[Context]:
    """What is needed to send `instances`, those of one SOP class side by side.

    Each SOP class is proposed in every transfer syntax of its files, each syntax in a context of its own, so that the
    acceptor cannot pick another than the file's. Where a file is not compressed there is a context with the default
    transfer syntax too (PS3.5 §10.1).
    """
    syntaxes: dict[str, dict[str, None]] = {}
    for instance in instances:
        of_class = syntaxes.setdefault(instance.sop_class, {})
        of_class[instance.transfer_syntax] = None
    contexts = []
    for sop_class, of_class in syntaxes.items():
        if not of_class.keys().isdisjoint(NATIVE):
            of_class[uids.IMPLICIT_VR_LITTLE_ENDIAN] = None
        contexts += [Context(sop_class, (syntax,)) for syntax in of_class]
    return contexts


def for_retrieval(get: str, storage: Iterable[str] = ()) -> list[Context]:
    """What is needed for a C-GET of the SOP class `get`: that, and storage with us as the SCP.

    Without `storage` as many classes of the standard as an association has room for, retired ones last.
    """
    classes = list(dict.fromkeys(storage)) or _usual_storage()
    return [
        Context(get),
        *(Context(one, uids.storage_transfer_syntaxes(), scu=False, scp=True) for one in classes[: MOST - 1]),
    ]


def _usual_storage() -> list[str]:
    from pydicom._uid_dict import UID_dictionary

    def rank(uid: str) -> tuple[bool, bool, int, str]:
        name, _kind, _info, retired, _keyword = UID_dictionary[uid]
        # images first; then the short UIDs, which are the old and common classes
        return bool(retired), "Image" not in name, len(uid), uid

    return sorted(uids.storage_sop_classes(), key=rank)


def split(contexts: Iterable[Context]) -> list[list[Context]]:
    """`contexts` without repetitions, in groups that fit one association each; a SOP class is not torn apart."""
    by_class: dict[str, dict[Context, None]] = {}
    for context in contexts:
        by_class.setdefault(context.abstract_syntax, {})[context] = None
    groups: list[list[Context]] = [[]]
    for of_class in by_class.values():
        if groups[-1] and len(groups[-1]) + len(of_class) > MOST:
            groups.append([])
        for context in of_class:
            if len(groups[-1]) == MOST:
                groups.append([])
            groups[-1].append(context)
    return [group for group in groups if group]


def proposed(contexts: Iterable[Context]) -> tuple[list[PresentationContextRQ], list[RoleSelection]]:
    """`contexts`, at most 128, for an A-ASSOCIATE-RQ, with the role selections they need (PS3.7 D.3.3.4)."""
    requests = []
    roles: dict[str, tuple[bool, bool]] = {}
    for number, context in enumerate(contexts):
        requests.append(PresentationContextRQ(2 * number + 1, context.abstract_syntax, context.transfer_syntaxes))
        scu, scp = roles.get(context.abstract_syntax, (False, False))
        roles[context.abstract_syntax] = (scu or context.scu, scp or context.scp)
    return requests, [RoleSelection(uid, scu, scp) for uid, (scu, scp) in roles.items() if scp]
