"""What add-ins have to say about an association: the hooks of its negotiation."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdicom import uids
from txdicom.errors import RAISED
from txdicom.interfaces import (
    IdentityAccepted,
    IdentityRefused,
    IExtendedNegotiation,
    IPresentationContextProvider,
    IProcessCGet,
    IRequireUserIdentity,
    IRoleSelectionProvider,
    IUserIdentity,
    Roles,
    UserIdentity,
)
from txdicom.interfaces.addin import name_of
from txdicom.pdu.types import UserIdentityRQ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from zope.interface import Interface

    from txdicom.net.association import Association

_log = Logger()

#: the types of user identity that the standard defines (PS3.7 Table D.3-14)
_IDENTITY_TYPES: Final = range(1, 6)

#: abstract syntax, transfer syntaxes, the add-in that named them
RunTimeContext = tuple[str, tuple[str, ...], Any]


class HookError(Exception):
    """A hook raised or answered rubbish; it is in the log already."""


@dataclass(frozen=True)
class Hooks:
    """The add-ins of each kind, in their order."""

    contexts: tuple[Any, ...] = ()
    extended_negotiation: tuple[Any, ...] = ()
    role_selection: tuple[Any, ...] = ()
    identities: tuple[Any, ...] = ()
    #: whether an association without a user identity is rejected
    identity_required: bool = False
    #: whether an add-in answers C-GET, for which the requestor is the SCP of what it gets
    retrieves: bool = False

    @classmethod
    def of(cls, addins: Iterable[object]) -> Hooks:
        """The hooks among `addins`."""
        found = tuple(addins)

        def those(interface: type[Interface]) -> tuple[Any, ...]:
            return tuple(addin for addin in found if interface.providedBy(addin))

        return cls(
            contexts=those(IPresentationContextProvider),
            extended_negotiation=those(IExtendedNegotiation),
            role_selection=those(IRoleSelectionProvider),
            identities=those(IUserIdentity),
            identity_required=bool(those(IRequireUserIdentity)),
            retrieves=bool(those(IProcessCGet)),
        )

    # -- asked once an association, and perhaps later ------------------------------------------------------------------

    @property
    def wait(self) -> bool:
        """Whether there is a hook that may take its time."""
        return bool(self.contexts or self.identities)

    async def authenticate(self, association: Association) -> IdentityAccepted | IdentityRefused:
        """The first answer to the user identity of the request, which is noted in the association when it is a yes."""
        proposed = association.request.user.user_identity if association.request else None
        if not isinstance(proposed, UserIdentityRQ):
            return IdentityRefused("there is none") if self.identity_required else IdentityAccepted()
        identity = UserIdentity(
            proposed.kind, proposed.primary, proposed.secondary, association.calling_ae, association.peer
        )
        for addin in self.identities if proposed.kind in _IDENTITY_TYPES else ():
            try:
                answer = await maybeDeferred(addin.authenticate, identity)
                if not isinstance(answer, IdentityAccepted | IdentityRefused | None):
                    raise TypeError
                if isinstance(answer, IdentityAccepted) and type(answer.response) is not bytes:
                    raise TypeError
            except CancelledError:
                raise
            except RAISED as error:
                self._secretly(addin, association, error)
                raise HookError from error
            if isinstance(answer, IdentityAccepted):
                association.user_identity = identity
            if answer is not None:
                return answer
        return IdentityRefused(f"nobody here knows identities of type {proposed.kind}")

    @staticmethod
    def _secretly(addin: object, association: Association, error: BaseException) -> None:
        """Logs where an authenticator failed without what it says, which may quote a password or a token."""
        frames = traceback.extract_tb(error.__traceback__)
        _log.error(
            "add-in {name}: authenticate failed with {kind} ({file}:{line});"
            " association {association} is rejected for now",
            name=name_of(addin),
            kind=type(error).__name__,
            file=os.path.basename(frames[-1].filename) if frames else "?",
            line=frames[-1].lineno if frames else 0,
            association=association.number,
        )

    async def run_time_contexts(self, association: Association) -> Sequence[RunTimeContext]:
        """What the add-ins accept on this association, each abstract syntax once."""
        contexts: dict[str, RunTimeContext] = {}
        for addin in self.contexts:
            try:
                for abstract_syntax, transfer_syntaxes in await maybeDeferred(addin.presentation_contexts, association):
                    named = (abstract_syntax, *transfer_syntaxes)
                    if isinstance(transfer_syntaxes, str) or not all(
                        type(one) is str and uids.is_uid(one) for one in named
                    ):
                        raise TypeError("a presentation context is a pair: a UID and a sequence of UIDs")
                    contexts.setdefault(abstract_syntax, (abstract_syntax, tuple(transfer_syntaxes), addin))
            except CancelledError:
                raise
            except RAISED as error:
                _failed(addin, "presentation_contexts", association)
                raise HookError from error
        return tuple(contexts.values())

    # -- asked amid the negotiation ------------------------------------------------------------------------------------

    def roles(self, association: Association, abstract_syntax: str) -> Roles | None:
        """The first answer to the roles that are proposed for this SOP class."""
        for addin in self.role_selection:
            answer = _ask(addin, association, Roles, addin.role_selection, abstract_syntax)
            if answer is not None:
                return answer  # type: ignore[no-any-return]
        return None

    def extended(self, association: Association, abstract_syntax: str, information: bytes) -> bytes | None:
        """The first answer to the extended negotiation of this SOP class."""
        for addin in self.extended_negotiation:
            answer = _ask(addin, association, bytes, addin.extended, abstract_syntax, information)
            if answer is not None:
                return answer  # type: ignore[no-any-return]
        return None


def _ask(addin: object, association: Association, kind: type, method: Callable[..., Any], *arguments: Any) -> Any:
    """An answer of this kind or None, now."""
    try:
        answer = method(*arguments)
        if type(answer) is CoroutineType:
            answer.close()
        if answer is not None and not isinstance(answer, kind):
            raise TypeError(f"{kind.__name__} or None was wanted, not {type(answer).__name__}")
    except RAISED as error:
        _failed(addin, method.__name__, association)
        raise HookError from error
    return answer


def _failed(addin: object, method: str, association: Association) -> None:
    _log.failure(
        "add-in {name}: {method} failed; association {association} is rejected for now",
        Failure(),
        name=name_of(addin),
        method=method,
        association=association.number,
    )
