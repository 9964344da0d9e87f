"""From a message to the add-in that answers it: (command, abstract syntax, transfer syntax) -> handler.

The same table says which presentation contexts are accepted, so that nothing is accepted that nobody answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from zope.interface import Interface

from txdicom import uids
from txdicom.dimse import messages
from txdicom.dimse.command import CommandField
from txdicom.dimse.elements import COMMAND_FIELD
from txdicom.dimse.status import (
    INVALID_SOP_INSTANCE,
    NO_SUCH_SOP_CLASS,
    SOP_CLASS_NOT_SUPPORTED,
    UNRECOGNIZED_OPERATION,
    Status,
)
from txdicom.errors import RemoteProtocolError, SettingsError
from txdicom.interfaces import (
    IProcessCEcho,
    IProcessCStore,
    IProcessNAction,
    IProcessNCreate,
    IProcessNDelete,
    IProcessNEventReport,
    IProcessNGet,
    IProcessNSet,
    declared_contexts,
)
from txdicom.services.normalized import NormalizedRequest
from txdicom.services.request import Request
from txdicom.services.storage import StoreRequest
from txdicom.services.verification import EchoRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from txdicom.dimse.command import Command
    from txdicom.net.association import Association
    from txdicom.services.spool import Spool
    from txdicom.ul.negotiation import AcceptedContext

#: which method of which interface answers which request
METHODS: Final[dict[int, tuple[type[Interface], str]]] = {
    CommandField.C_ECHO_RQ: (IProcessCEcho, "on_c_echo"),
    CommandField.C_STORE_RQ: (IProcessCStore, "on_c_store"),
    CommandField.N_EVENT_REPORT_RQ: (IProcessNEventReport, "on_n_event_report"),
    CommandField.N_GET_RQ: (IProcessNGet, "on_n_get"),
    CommandField.N_SET_RQ: (IProcessNSet, "on_n_set"),
    CommandField.N_ACTION_RQ: (IProcessNAction, "on_n_action"),
    CommandField.N_CREATE_RQ: (IProcessNCreate, "on_n_create"),
    CommandField.N_DELETE_RQ: (IProcessNDelete, "on_n_delete"),
}


class Entry(NamedTuple):
    """One handler for one command on one abstract syntax."""

    handler: Callable[[Any], Any]
    transfer_syntaxes: frozenset[str]
    owner: str


class Dispatcher:
    """Finds the handler of each request among the add-ins it was built from, and checks what can be checked for all."""

    def __init__(self, addins: Iterable[object], spool: Spool, *, unknown_sop_classes: bool = True) -> None:
        self._spool = spool
        self._unknown = unknown_sop_classes
        self._exact: dict[tuple[int, str], Entry] = {}
        self._storage: dict[int, Entry] = {}
        self._preferences: dict[str, tuple[str, ...]] = {}
        self._storage_preference: tuple[str, ...] = ()
        problems: list[str] = []
        for addin in addins:
            self._register(addin, problems)
        if problems:
            raise SettingsError(problems)

    def _register(self, addin: object, problems: list[str]) -> None:
        owner = str(getattr(addin, "name", type(addin).__name__))
        for field, (interface, name) in METHODS.items():
            if not interface.providedBy(addin):
                continue
            method = getattr(addin, name)
            declared = declared_contexts(method)
            if not declared:
                problems.append(f"add-in {owner}: {name} has no @presentation_context")
            for abstract_syntax, transfer_syntaxes in declared:
                self._add(field, abstract_syntax, transfer_syntaxes, method, owner, problems)

    def _add(
        self,
        field: int,
        abstract_syntax: str,
        transfer_syntaxes: tuple[str, ...],
        method: Callable[[Any], Any],
        owner: str,
        problems: list[str],
    ) -> None:
        preferred = transfer_syntaxes or self._usual(abstract_syntax)
        entry = Entry(method, frozenset(preferred), owner)
        if abstract_syntax == uids.ANY_STORAGE:
            other = self._storage.setdefault(field, entry)
            self._storage_preference = preferred
        else:
            other = self._exact.setdefault((field, abstract_syntax), entry)
            known = self._preferences.get(abstract_syntax, ())
            self._preferences[abstract_syntax] = (*known, *(one for one in preferred if one not in known))
        if other is not entry:
            problems.append(
                f"add-ins {other.owner} and {owner} both answer {CommandField(field).name} for {abstract_syntax}:"
                " take one of them out of addins.enabled"
            )

    @staticmethod
    def _usual(abstract_syntax: str) -> tuple[str, ...]:
        if abstract_syntax == uids.ANY_STORAGE or abstract_syntax in uids.storage_sop_classes():
            return uids.storage_transfer_syntaxes()
        return uids.UNCOMPRESSED

    # -- negotiation ---------------------------------------------------------------------------------------------------

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        """The transfer syntaxes in which `abstract_syntax` is accepted, best first; None where it is not."""
        preferred = self._preferences.get(abstract_syntax)
        if preferred is None and self._storage_preference and self._is_storage(abstract_syntax):
            return self._storage_preference
        return preferred

    def _is_storage(self, abstract_syntax: str) -> bool:
        if abstract_syntax in uids.storage_sop_classes():
            return True
        return self._unknown and abstract_syntax not in uids.known_sop_classes() and uids.is_uid(abstract_syntax)

    def _entry(self, field: int, abstract_syntax: str) -> Entry | None:
        entry = self._exact.get((field, abstract_syntax))
        if entry is None and field in self._storage and self._is_storage(abstract_syntax):
            return self._storage[field]
        return entry

    # -- messages ------------------------------------------------------------------------------------------------------

    def perform(self, association: Association, context: AcceptedContext, command: Command) -> Request:
        """The request object for a command set that has come; see `txdicom.net.association.Performer`."""
        field = command.values.get(COMMAND_FIELD, 0)
        abstract_syntax = context.abstract_syntax
        entry = self._entry(field, context.served_as or abstract_syntax)
        refusal: Status | None = None
        if messages.check(command):
            refusal = messages.fault(command)
            if refusal is None:
                raise RemoteProtocolError(f"a {command.name} that cannot be answered", source=0)
        elif entry is None or context.transfer_syntax not in entry.transfer_syntaxes:
            refusal = UNRECOGNIZED_OPERATION
        handler = entry.handler if entry else None
        if field == CommandField.C_STORE_RQ:
            if refusal is None:
                refusal = _storable(abstract_syntax, command)
            return StoreRequest(association, context, command, handler, refusal, self._spool)
        if field == CommandField.C_ECHO_RQ:
            if refusal is None and command.affected_sop_class != abstract_syntax:
                refusal = SOP_CLASS_NOT_SUPPORTED
            return EchoRequest(association, context, command, handler, refusal)
        if refusal is None and (command.affected_sop_class or command.requested_sop_class) != abstract_syntax:
            refusal = NO_SUCH_SOP_CLASS
        return NormalizedRequest(association, context, command, handler, refusal)


def _storable(abstract_syntax: str, command: Command) -> Status | None:
    """What is wrong with a C-STORE that its command set already shows."""
    if command.affected_sop_class != abstract_syntax:
        return SOP_CLASS_NOT_SUPPORTED
    if not uids.is_uid(command.affected_sop_instance or ""):
        return INVALID_SOP_INSTANCE
    return None
