"""From a message to the add-in that answers it: (command, abstract syntax, transfer syntax) -> handler.

The same table says which presentation contexts are accepted, so that nothing is accepted that nobody answers.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Final, TypeAlias

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
    IPresentationContextProvider,
    IProcessCEcho,
    IProcessCFind,
    IProcessCGet,
    IProcessCMove,
    IProcessCStore,
    IProcessNAction,
    IProcessNCreate,
    IProcessNDelete,
    IProcessNEventReport,
    IProcessNGet,
    IProcessNSet,
    declared_contexts,
)
from txdicom.interfaces.addin import name_of
from txdicom.services.calls import AddinCalls
from txdicom.services.find import FindRequest
from txdicom.services.normalized import NormalizedRequest
from txdicom.services.request import Request
from txdicom.services.retrieve import GetRequest, MoveRequest
from txdicom.services.storage import ObservedStoreRequest, StoreRequest
from txdicom.services.verification import EchoRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from txdicom.dimse.command import Command
    from txdicom.net.association import Association
    from txdicom.services.calls import Handler
    from txdicom.services.retrieve import Destinations
    from txdicom.services.spool import Spool
    from txdicom.ul.negotiation import AcceptedContext

#: which method of which interface answers which request
METHODS: Final[dict[int, tuple[type[Interface], str]]] = {
    CommandField.C_ECHO_RQ: (IProcessCEcho, "on_c_echo"),
    CommandField.C_STORE_RQ: (IProcessCStore, "on_c_store"),
    CommandField.C_FIND_RQ: (IProcessCFind, "on_c_find"),
    CommandField.C_GET_RQ: (IProcessCGet, "on_c_get"),
    CommandField.C_MOVE_RQ: (IProcessCMove, "on_c_move"),
    CommandField.N_EVENT_REPORT_RQ: (IProcessNEventReport, "on_n_event_report"),
    CommandField.N_GET_RQ: (IProcessNGet, "on_n_get"),
    CommandField.N_SET_RQ: (IProcessNSet, "on_n_set"),
    CommandField.N_ACTION_RQ: (IProcessNAction, "on_n_action"),
    CommandField.N_CREATE_RQ: (IProcessNCreate, "on_n_create"),
    CommandField.N_DELETE_RQ: (IProcessNDelete, "on_n_delete"),
}

#: what performs the requests of DIMSE-C but C-STORE
_OTHERS_OF_C: Final[dict[int, type[Request]]] = {
    CommandField.C_ECHO_RQ: EchoRequest,
    CommandField.C_FIND_RQ: FindRequest,
    CommandField.C_GET_RQ: GetRequest,
    CommandField.C_MOVE_RQ: MoveRequest,
}
_NONE: Final[dict[str, Any]] = {}
#: keys whose handler is remembered
_REMEMBERED: Final = 4096


#: what a message is dispatched by: Command Field, abstract syntax, transfer syntax
Key: TypeAlias = tuple[int, str, str]


class Found(dict[Key, "Handler | None"]):
    """What was found before, so that a message costs one look."""

    def __init__(self, find: Callable[[int, str, str], Handler | None]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: Key) -> Handler | None:
        if len(self) >= _REMEMBERED:  # private classes are as many as peers make up
            self.clear()
        handler = self[key] = self._find(*key)
        return handler


class Dispatcher:
    """Finds the handler of each request among the add-ins it was built from, and checks what can be checked for all.

    `calls` is what their handlers share; without it none can be blocking, and none is watched. `character_set_of` gives
    the Specific Character Set of Identifiers that say none on an association, or "", at once or later.
    """

    def __init__(
        self,
        addins: Iterable[object],
        spool: Spool,
        *,
        unknown_sop_classes: bool = True,
        destinations: Destinations | None = None,
        calls: AddinCalls | None = None,
        character_set_of: Callable[[Association], Any] | None = None,
    ) -> None:
        self._spool = spool
        query = {"character_set_of": character_set_of}
        self._keywords: dict[int, dict[str, Any]] = {
            CommandField.C_FIND_RQ: query,
            CommandField.C_GET_RQ: query,
            CommandField.C_MOVE_RQ: {**query, "destinations": destinations},
        }
        self._unknown = unknown_sop_classes
        self._calls = calls or AddinCalls(None)
        self._exact: dict[Key, Handler] = {}
        self._storage: dict[tuple[int, str], Handler] = {}
        self._found = Found(self._handler)
        self._preferences: dict[str, tuple[str, ...]] = {}
        problems: list[str] = []
        for addin in addins:
            self._register(addin, problems)
        if problems:
            raise SettingsError(problems)
        storage = self._storage_preference = self._preferences.pop(uids.ANY_STORAGE, ())
        for abstract_syntax, exact in self._preferences.items():
            if self._is_storage(abstract_syntax):
                self._preferences[abstract_syntax] = (*exact, *(one for one in storage if one not in exact))

    def _register(self, addin: object, problems: list[str]) -> None:
        problems += [f"add-in {name_of(addin)}: {name} has no @presentation_context" for name in undeclared(addin)]
        for field, (interface, name) in METHODS.items():
            if not interface.providedBy(addin):
                continue
            handler = self._calls.handler(addin, name)
            if handler.threads is not None and self._calls.pool.reactor is None:
                problems.append(f"add-in {handler.addin}: {name} is @blocking, and there are no threads for it here")
            for abstract_syntax, transfer_syntaxes in declared_contexts(getattr(addin, name)):
                preferred = transfer_syntaxes or self._usual(abstract_syntax)
                self._add(field, abstract_syntax, preferred, handler, problems)

    def _add(
        self, field: int, abstract_syntax: str, preferred: tuple[str, ...], handler: Handler, problems: list[str]
    ) -> None:
        taken: dict[str, list[str]] = {}  # transfer syntaxes by the other add-in that has them
        for transfer_syntax in preferred:
            if abstract_syntax == uids.ANY_STORAGE:
                other = self._storage.setdefault((field, transfer_syntax), handler)
            else:
                other = self._exact.setdefault((field, abstract_syntax, transfer_syntax), handler)
            if other is not handler:
                taken.setdefault(other.addin, []).append(transfer_syntax)
        known = self._preferences.get(abstract_syntax, ())
        self._preferences[abstract_syntax] = (*known, *(one for one in preferred if one not in known))
        problems += [_conflict(field, abstract_syntax, same, other, handler.addin) for other, same in taken.items()]

    @staticmethod
    def _usual(abstract_syntax: str) -> tuple[str, ...]:
        if abstract_syntax == uids.ANY_STORAGE or abstract_syntax in uids.storage_sop_classes():
            return uids.storage_transfer_syntaxes()
        return uids.UNCOMPRESSED

    # -- negotiation ---------------------------------------------------------------------------------------------------

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        """The transfer syntaxes in which `abstract_syntax` is accepted, best first; None where it is not.

        Those that an add-in declared for this very class come before those of any storage class.
        """
        preferred = self._preferences.get(abstract_syntax)
        if preferred is None and self._storage_preference and self._is_storage(abstract_syntax):
            return self._storage_preference
        return preferred

    def _is_storage(self, abstract_syntax: str) -> bool:
        if abstract_syntax in uids.storage_sop_classes():
            return True
        return self._unknown and abstract_syntax not in uids.known_sop_classes() and uids.is_uid(abstract_syntax)

    def _handler(self, field: int, abstract_syntax: str, transfer_syntax: str) -> Handler | None:
        """Who answers; where a class was declared exactly and as any storage class, whoever declared it exactly."""
        handler = self._exact.get((field, abstract_syntax, transfer_syntax))
        if handler is None and self._is_storage(abstract_syntax):
            return self._storage.get((field, transfer_syntax))
        return handler

    def beside(self, contexts: Iterable[tuple[str, tuple[str, ...], Any]]) -> Dispatcher:
        """One for an association on which add-ins accept presentation contexts beside the declared ones, or instead.

        These are (abstract syntax, transfer syntaxes, add-in): requests go to the methods that the add-in has, others
        to whoever declared the abstract syntax.
        """
        other = copy(self)
        other._exact, other._preferences = dict(self._exact), dict(self._preferences)
        other._found = Found(other._handler)
        for abstract_syntax, transfer_syntaxes, addin in contexts:
            preferred = other._preferences[abstract_syntax] = transfer_syntaxes or self._usual(abstract_syntax)
            for field, (interface, name) in METHODS.items():
                if interface.providedBy(addin):
                    handler = self._calls.handler(addin, name)
                    other._exact |= {(field, abstract_syntax, one): handler for one in preferred}
        return other

    # -- messages ------------------------------------------------------------------------------------------------------

    def perform(self, association: Association, context: AcceptedContext, command: Command) -> Request:
        """The request object for a command set that has come; see `txdicom.net.association.Performer`."""
        field = command.values.get(COMMAND_FIELD, 0)
        abstract_syntax = context.abstract_syntax
        handler = self._found[field, context.served_as or abstract_syntax, context.transfer_syntax]
        refusal: Status | None = None
        if messages.check(command):
            refusal = messages.fault(command)
            if refusal is None:
                raise RemoteProtocolError(f"a {command.name} that cannot be answered", source=0)
        elif handler is None:
            refusal = UNRECOGNIZED_OPERATION
        if field == CommandField.C_STORE_RQ:
            if refusal is None:
                refusal = _storable(abstract_syntax, command)
            kind = ObservedStoreRequest if self._spool.observers else StoreRequest
            return kind(association, context, command, handler, refusal, self._spool)
        if field in _OTHERS_OF_C:
            if refusal is None and command.affected_sop_class != abstract_syntax:
                refusal = SOP_CLASS_NOT_SUPPORTED
            keywords = self._keywords.get(field, _NONE)
            return _OTHERS_OF_C[field](association, context, command, handler, refusal, **keywords)
        if refusal is None and (command.affected_sop_class or command.requested_sop_class) != abstract_syntax:
            refusal = NO_SUCH_SOP_CLASS
        return NormalizedRequest(association, context, command, handler, refusal)


def undeclared(addin: object) -> list[str]:
    """The `on_…` methods of an add-in that say for nothing that they answer it, at run time neither."""
    if IPresentationContextProvider.providedBy(addin):
        return []
    provided = [name for interface, name in METHODS.values() if interface.providedBy(addin)]
    return [name for name in provided if not declared_contexts(getattr(addin, name))]


def _conflict(field: int, abstract_syntax: str, transfer_syntaxes: Sequence[str], one: str, other: str) -> str:
    """What two add-ins both answer, and what helps."""
    command = CommandField(field).name.replace("_", "-")
    what = f"{uids.name_of(abstract_syntax)} ({abstract_syntax})"
    if abstract_syntax == uids.ANY_STORAGE:
        what = "any storage class"
    name = uids.name_of(transfer_syntaxes[0])
    more = f" and {len(transfer_syntaxes) - 1} more transfer syntaxes" if len(transfer_syntaxes) > 1 else ""
    return (
        f"add-ins {one} and {other} both answer {command} for {what} in {name}{more}:"
        " take one of them out of addins.enabled"
    )


def _storable(abstract_syntax: str, command: Command) -> Status | None:
    """What is wrong with a C-STORE that its command set already shows."""
    if command.affected_sop_class != abstract_syntax:
        return SOP_CLASS_NOT_SUPPORTED
    if not uids.is_uid(command.affected_sop_instance or ""):
        return INVALID_SOP_INSTANCE
    return None
