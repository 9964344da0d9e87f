"""Which associations are accepted, and how: the rules of CONTRACTS that need no add-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txdicom.uids import DICOM_APPLICATION_CONTEXT
from txdicom.ul import negotiation, rejections

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from txdicom.net.acceptor import Decision
    from txdicom.net.association import Association
    from txdicom.pdu.types import AssociateRQ
    from txdicom.scp.config import ScpConfig
    from txdicom.services.dispatch import Dispatcher


class AcceptancePolicy:
    """Decides about A-ASSOCIATE-RQs by the settings, the AE table and what the add-ins answer for.

    It is a `txdicom.net.acceptor.Policy`, and to the negotiation a `txdicom.ul.negotiation.AcceptorPolicy`.
    """

    def __init__(
        self, ae_title: str, config: ScpConfig, dispatcher: Dispatcher, known_callers: Container[str] = ()
    ) -> None:
        self._ae_title = ae_title
        self._config = config
        self._known_callers = known_callers
        self._dispatcher = dispatcher
        self.max_length = config.max_pdu_length
        self.max_operations = config.max_operations
        self.implementation_class_uid = config.implementation_class_uid
        self.implementation_version_name = config.implementation_version_name

    def decide(self, association: Association, rq: AssociateRQ) -> Decision:
        """The answer to `rq` (PS3.8 §7.1.1.7, Table 9-21)."""
        config = self._config
        if rq.application_context != DICOM_APPLICATION_CONTEXT:
            return rejections.APPLICATION_CONTEXT
        if config.check_called_ae and rq.called_ae != self._ae_title:
            return rejections.CALLED_AE
        if not config.allow_anonymous and rq.calling_ae not in self._known_callers:
            return rejections.CALLING_AE
        ac, agreement = negotiation.accept(rq, self)
        if config.reject_no_context and not agreement.contexts:
            return rejections.NO_REASON
        return ac, agreement

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        """What an add-in answers for."""
        return self._dispatcher.transfer_syntaxes(abstract_syntax)

    def roles(self, abstract_syntax: str) -> tuple[bool, bool]:
        """The requestor is SCU; as SCP nothing here would call it."""
        return (True, False)

    def extended(self, abstract_syntax: str, information: bytes) -> bytes | None:
        """No service of ours has options to negotiate yet: the defaults hold (PS3.7 D.3.3.5)."""
        return None
