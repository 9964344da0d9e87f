"""What an add-in provides to take part in the negotiation of an association, and what it is handed.

Where several add-ins provide the same of these interfaces, they are asked in their order, and the first that gives an
answer (not None) wins; the presentation contexts of all are taken together. One that raises, answers rubbish or takes
longer than `addin_timeout` harms only the association it was asked about: that is rejected for now (PS3.8 §9.3.4:
result 2, source 1, reason 1), so that the peer may try again, and the log says which add-in failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Flag
from typing import Any

from zope.interface import Interface


class Roles(Flag):
    """Which roles the requestor may play for a SOP class (PS3.7 D.3.3.4), as far as it proposed them."""

    #: neither: the contexts of the SOP class are not accepted
    REFUSE = 0
    #: SCU, the default role
    ACCEPT_USER = 1
    #: SCP: this side may send it requests, as C-GET does with C-STORE
    ACCEPT_PROVIDER = 2
    ACCEPT_ALL = 3


class IPresentationContextProvider(Interface):
    """Decides on presentation contexts when an association is asked for."""

    def presentation_contexts(association):  # type: ignore[no-untyped-def]  # an interface's method
        """What is accepted on `association` beside what `@presentation_context` declares.

        Called once for each association that asks for one, when the caller has been let in: `association` has
        `calling_ae`, `called_ae`, `peer` (the address), `request` (the A-ASSOCIATE-RQ) and `user_identity`. Returns a
        list of pairs (abstract syntax, transfer syntaxes), the latter best first and none for the usual ones; [] for
        nothing. It may be a coroutine or return a Deferred.

        Requests on such a context go to the `on_…` methods of this add-in, and those it does not have to the add-in
        that declared the SOP class. An abstract syntax that is declared too is accepted as it is said here. Of two
        add-ins that both name one, the first counts.
        """


class IExtendedNegotiation(Interface):
    """Answers the SOP class extended negotiation (PS3.7 D.3.3.5): relational queries, fuzzy matching and so on."""

    def extended(abstract_syntax, information):  # type: ignore[no-untyped-def]  # an interface's method
        """The application information that answers `information` (bytes) for this SOP class.

        Called for each accepted SOP class that the requestor sent some for. Returns bytes, or None for no answer: if
        no other add-in has one, the defaults of the service class hold. A plain method.
        """


class IRoleSelectionProvider(Interface):
    """Decides on the roles of the requestor (PS3.7 D.3.3.4)."""

    def role_selection(abstract_syntax):  # type: ignore[no-untyped-def]  # an interface's method
        """The `Roles` that the requestor may play for this SOP class; None leaves it to others. A plain method.

        Called only where the requestor proposes roles. Without an answer it may be the SCU, and for storage classes
        the SCP too where an add-in answers C-GET.
        """


@dataclass(frozen=True)
class UserIdentity:
    """Who asks for an association (PS3.7 D.3.3.7); the secrets stay out of its repr."""

    #: 1 user name, 2 user name and passcode, 3 Kerberos service ticket, 4 SAML assertion, 5 JSON Web Token
    type: int
    #: the user name in UTF-8, the ticket, the assertion, the token
    primary: bytes = field(repr=False)
    #: the passcode, with type 2 only
    secondary: bytes = field(default=b"", repr=False)
    calling_ae: str = ""
    #: Twisted's address of the peer
    address: Any = None


@dataclass(frozen=True)
class IdentityAccepted:
    """An authenticator's yes.

    `response` is for Kerberos and SAML (types 3 and 4). It is sent only where the requestor asked for a positive
    response, and never for user names (PS3.7 D.3.3.7.2).
    """

    response: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class IdentityRefused:
    """An authenticator's no: the association is rejected (PS3.7 D.3.3.7.3); `reason` is for the log alone."""

    reason: str = ""


class IUserIdentity(Interface):
    """Authenticates the users of peers (PS3.7 D.3.3.7).

    Without such an add-in identities are not looked at and associations are accepted, without the positive response
    that would say otherwise (PS3.7 D.3.3.7). With one, an identity that none of them answers for is refused.
    """

    def authenticate(identity):  # type: ignore[no-untyped-def]  # an interface's method
        """Whether the user of `identity` (a `UserIdentity`) is let in.

        Returns `IdentityAccepted()` or `IdentityRefused("why")`, or None for a type of identity it does not know. It
        may be a coroutine or return a Deferred; what blocks belongs into a thread. What it raises is logged by the
        name of its class alone, for a message could quote a token.
        """


class IRequireUserIdentity(IUserIdentity):
    """The same, and an association without a user identity is rejected."""
