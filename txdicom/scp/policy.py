"""Which associations are accepted, and how: the settings, the AE table, and what the add-ins say."""

from __future__ import annotations

from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from txdicom import uids
from txdicom.errors import RAISED, LocalProtocolError
from txdicom.interfaces import IdentityRefused, Roles
from txdicom.pdu.encode import encode
from txdicom.scp.hooks import HookError, Hooks
from txdicom.uids import DICOM_APPLICATION_CONTEXT
from txdicom.ul import negotiation, rejections
from txdicom.ul.rejections import Rejection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from txdicom.net.acceptor import Decision
    from txdicom.net.association import Association
    from txdicom.pdu.types import AssociateRQ
    from txdicom.scp.config import ScpConfig
    from txdicom.services.dispatch import Dispatcher

_log = Logger()

#: A hook failed. The mistake is on this side and may be gone next time, so it is "rejected (transient)", which is for
#: callers that may try again (PS3.8 §7.1.1.7); of the reasons of a service user "no reason given" is the one that fits.
HOOK_FAILED: Final = Rejection(2, 1, 1)
_NO_HOOKS: Final = Hooks()


class AcceptancePolicy:
    """Decides about A-ASSOCIATE-RQs: a `txdicom.net.acceptor.Policy`."""

    def __init__(
        self,
        ae_title: str,
        config: ScpConfig,
        dispatcher: Dispatcher,
        validate: Callable[[Association], Any] | None = None,
        hooks: Hooks = _NO_HOOKS,
    ) -> None:
        self._ae_title = ae_title
        self._config = config
        self._validate = validate or (lambda association: config.allow_anonymous)
        self._dispatcher = dispatcher
        self._hooks = hooks

    def decide(self, association: Association, rq: AssociateRQ) -> Decision | Deferred[Decision]:
        """The answer to `rq` (PS3.8 §7.1.1.7, Table 9-21), later where an add-in has to be asked that may wait."""
        config = self._config
        if rq.application_context != DICOM_APPLICATION_CONTEXT:
            return rejections.APPLICATION_CONTEXT
        if config.check_called_ae and rq.called_ae != self._ae_title:
            return rejections.CALLED_AE
        try:
            known = self._validate(association)
        except RAISED:  # an add-in's mistake harms only the association it was asked about
            return _not_validated(association)
        if isinstance(known, Deferred) or iscoroutine(known):
            negotiation.accept(rq, Terms(association, config, self._dispatcher, _NO_HOOKS))  # as in `_negotiate`
            return self._ask(association, self._validated(known, association, rq))
        return self._negotiate(association, rq) if known else rejections.CALLING_AE

    async def _validated(self, known: Awaitable[Any], association: Association, rq: AssociateRQ) -> Decision:
        try:
            if not await known:
                return rejections.CALLING_AE
        except CancelledError:
            raise
        except RAISED:
            return _not_validated(association)
        decision = self._negotiate(association, rq)
        return await decision if isinstance(decision, Deferred) else decision

    def _negotiate(self, association: Association, rq: AssociateRQ) -> Decision | Deferred[Decision]:
        """The answer to a caller that is let in, as far as its user identity is, too."""
        if not self._hooks.wait:
            return self._answer(association, rq, self._dispatcher)
        # one that no answer can be given to is to be found now: later it could not be aborted for it
        negotiation.accept(rq, Terms(association, self._config, self._dispatcher, _NO_HOOKS))
        return self._ask(association, self._asked(association, rq))

    def _ask(self, association: Association, asking: Coroutine[Deferred[Any], Any, Decision]) -> Deferred[Decision]:
        """Fires in any case when it is cancelled or the peer is gone, whatever the add-in does."""

        def too_late(_: object) -> None:
            decision.callback(HOOK_FAILED)
            work.cancel()

        def done(result: object) -> None:
            if not decision.called:
                decision.callback(result)  # type: ignore[arg-type]  # a Failure too

        decision: Deferred[Decision] = Deferred(too_late)
        work = Deferred.fromCoroutine(asking)
        work.addBoth(done)
        association.when_lost().addCallback(lambda _: decision.cancel())
        return decision

    async def _asked(self, association: Association, rq: AssociateRQ) -> Decision:
        hooks, response = self._hooks, None
        try:
            if hooks.identities:
                result = await hooks.authenticate(association)
                if isinstance(result, IdentityRefused):
                    _log.warn(
                        "association {association}: the user identity of {calling_ae} is refused: {reason}",
                        association=association.number,
                        calling_ae=association.calling_ae,
                        reason=result.reason or "no reason given",
                    )
                    return rejections.USER_IDENTITY
                response = result.response
            dispatcher = self._dispatcher
            if hooks.contexts:
                dispatcher = dispatcher.beside(await hooks.run_time_contexts(association))
                association.performer = dispatcher
        except HookError:
            return HOOK_FAILED
        return self._answer(association, rq, dispatcher, response)

    def _answer(
        self, association: Association, rq: AssociateRQ, dispatcher: Dispatcher, identity_response: bytes | None = None
    ) -> Decision:
        try:
            terms = Terms(association, self._config, dispatcher, self._hooks)
            ac, agreement = negotiation.accept(rq, terms, identity_response=identity_response)
            if identity_response or agreement.extended:
                encode(ac)  # what add-ins gave may be too long to be sent
        except HookError:
            return HOOK_FAILED
        except LocalProtocolError as error:
            text = "association {association} cannot be accepted: {error}"
            _log.error(text, association=association.number, error=error)
            return HOOK_FAILED
        if self._config.reject_no_context and not agreement.contexts:
            return rejections.NO_REASON
        return ac, agreement


def _not_validated(association: Association) -> Rejection:
    _log.failure(
        "association {association}: the AE-title service failed on {calling_ae}",
        association=association.number,
        calling_ae=association.calling_ae,
    )
    return HOOK_FAILED


class Terms:
    """What one association is accepted on, to the negotiation: a `txdicom.ul.negotiation.AcceptorPolicy`."""

    def __init__(self, association: Association, config: ScpConfig, dispatcher: Dispatcher, hooks: Hooks) -> None:
        self._association = association
        self._config = config
        self._dispatcher = dispatcher
        self._hooks = hooks
        self.max_length = config.max_pdu_length
        self.max_operations = config.max_operations
        self.implementation_class_uid = config.implementation_class_uid
        self.implementation_version_name = config.implementation_version_name

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        """What an add-in answers for, and what C-GET may send to a requestor that offers to be the SCP of it."""
        preferred = self._dispatcher.transfer_syntaxes(abstract_syntax)
        if preferred is None and self._to_be_sent(abstract_syntax) and self._offered_as_scp(abstract_syntax):
            return uids.storage_transfer_syntaxes()
        return preferred

    def roles(self, abstract_syntax: str) -> tuple[bool, bool]:
        """What an add-in says. Else the requestor is the SCU of what is answered here, and the SCP of what it gets."""
        answer = self._hooks.roles(self._association, abstract_syntax)
        if answer is not None:
            return Roles.ACCEPT_USER in answer, Roles.ACCEPT_PROVIDER in answer
        if self._to_be_sent(abstract_syntax):
            return self._dispatcher.transfer_syntaxes(abstract_syntax) is not None, True
        return True, False

    def extended(self, abstract_syntax: str, information: bytes) -> bytes | None:
        """What an add-in says; else no answer, so that the defaults hold (PS3.7 D.3.3.5)."""
        return self._hooks.extended(self._association, abstract_syntax, information)

    def _to_be_sent(self, abstract_syntax: str) -> bool:
        """Whether C-GET sends instances of it (PS3.4 C.4.3)."""
        return self._hooks.retrieves and (
            abstract_syntax in uids.storage_sop_classes()
            or (
                self._config.unknown_sop_classes
                and abstract_syntax not in uids.known_sop_classes()
                and uids.is_uid(abstract_syntax)
            )
        )

    def _offered_as_scp(self, abstract_syntax: str) -> bool:
        request = self._association.request
        return request is not None and any(one.scp for one in request.user.roles if one.sop_class == abstract_syntax)
