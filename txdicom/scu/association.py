"""The association as its users see it: one peer, and as many associations to it as their calls need."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferTimeout

from txdicom.errors import LocalProtocolError
from txdicom.net.waiting import cancel_after
from txdicom.scu import contexts as proposals
from txdicom.scu.connect import CALLING_AE, Connector, client_config
from txdicom.scu.files import Selection, select, selected
from txdicom.scu.operations import Calls
from txdicom.scu.receiver import Receiver
from txdicom.scu.results import Results
from txdicom.scu.sender import Route, Sender, StoreResult, route_over

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from types import TracebackType

    from txdicom.net import association as net
    from txdicom.net.observing import Observers
    from txdicom.pdu.types import UserIdentityRQ
    from txdicom.scu.connect import Security
    from txdicom.scu.contexts import Context, Proposal
    from txdicom.scu.files import Instance, Paths, Unsendable
    from txdicom.scu.peer import Peer
    from txdicom.scu.receiver import Handler
    from txdicom.scu.results import Operation
    from txdicom.scu.user import User
    from txdicom.ul.negotiation import AcceptedContext

T = TypeVar("T")

#: seconds for the peer to close the connection after an A-ABORT before we do
_GRACE: Final = 1.0
#: seconds for operations that were left early to end before the association is aborted instead of released
_DRAIN: Final = 30.0


class Association(Calls):
    """An association with one peer, open within its `async with` block.

    It may stand for several: a call that needs presentation contexts that were not proposed opens a further one.
    Leaving the block normally releases them all, leaving it by an exception aborts them; afterwards no connection, no
    timer and no thread is left. `connect` makes it.

    Every call raises `AssociationAborted` when the association is lost, `DimseTimeout` when the peer does not answer
    in time, and `LocalProtocolError` when the peer did not accept the presentation context it needs.
    """

    def __init__(self, connector: Connector, contexts: Sequence[Context], files: Paths | Selection | None) -> None:
        self._connector = connector
        self._reactor = connector.reactor
        self._receiver = Receiver(connector.reactor)
        self._contexts = list(contexts)
        self._files = files
        self._associations: list[net.Association] = []
        self._asked: set[tuple[str, str]] = set()  # as the SCU: abstract syntax, transfer syntax
        self._routes: dict[tuple[str, str], Route | str] = {}
        self._open_results: WeakSet[Results[Any]] = WeakSet()
        self._trigger: Any = None

    # -- its life ------------------------------------------------------------------------------------------------------

    async def open(self) -> Association:
        """Opens it, as entering the block does.

        Raises `ConnectionFailed`, `AssociationRejected`, `AssociationAborted`; then nothing is left behind.
        """
        if self._trigger is not None:
            raise LocalProtocolError("the association is open already")
        self._associations, self._asked = [], set()
        self._trigger = self._reactor.addSystemEventTrigger("before", "shutdown", self._at_shutdown)
        try:
            contexts = self._contexts
            if self._files is not None:
                contexts = contexts + proposals.for_instances((await selected(self._reactor, self._files)).instances)
            await self._open_further(contexts or proposals.DEFAULT)
        except BaseException as error:
            await self._leave(error)
            raise
        return self

    async def __aenter__(self) -> Association:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._leave(error)

    async def release(self) -> None:
        """Waits for what is under way, then releases (A-RELEASE); returns once every connection is gone."""
        await self._leave(None)

    async def abort(self, why: str = "aborted by this side") -> None:
        """Aborts at once (A-ABORT); returns once every connection is gone."""
        await self._leave(LocalProtocolError(why))

    @property
    def associations(self) -> tuple[net.Association, ...]:
        """The associations on the wire, the first one first: agreement, contexts, counters, how they ended."""
        return tuple(self._associations)

    @property
    def bytes_sent(self) -> int:
        """Bytes handed to the connections so far."""
        return sum(association.protocol.bytes_sent for association in self._associations)

    async def _leave(self, error: BaseException | None) -> None:
        trigger, self._trigger = self._trigger, None
        if trigger is not None:
            self._reactor.removeSystemEventTrigger(trigger)
        for results in list(self._open_results):
            results.abandon()
        try:
            if isinstance(error, GeneratorExit):  # nothing can be awaited any more
                for association in self._associations:
                    association.hang_up("left")
            elif error is None and await self._quiet():
                await _all([association.release() for association in self._associations])
            else:
                await self._abort(str(error) or type(error).__name__)
        except BaseException:  # cancelled meanwhile
            for association in self._associations:
                association.give_up("left")
            raise
        finally:
            self._receiver.stop()

    async def _quiet(self) -> bool:
        """Waits until no operation of ours is under way; whether that came about in time."""
        quiet = [association.when_quiet() for association in self._associations]
        try:
            await Deferred.fromCoroutine(_all(quiet)).addTimeout(_DRAIN, self._reactor)
        except DeferTimeout:
            return False
        return True

    def _abort(self, why: str) -> Deferred[Any]:
        """A-ABORT; the peer has a moment to close the connection, then we do."""
        gone = []
        for association in self._associations:
            association.abort(why)
            lost = association.when_lost()
            if not association.lost:
                cut = self._reactor.callLater(_GRACE, association.give_up, why)
                cancel_after(lost, cut)
            gone.append(lost)
        return Deferred.fromCoroutine(_all(gone))

    def _at_shutdown(self) -> Deferred[Any]:
        """The reactor stops while the block is entered, as by Ctrl-C under `react`."""
        self._trigger = None
        return self._abort("the program ends").addBoth(lambda _: self._receiver.stop())

    # -- presentation contexts -----------------------------------------------------------------------------------------

    async def _open_further(self, contexts: Sequence[Context]) -> list[net.Association]:
        opened = []
        for group in proposals.split(contexts):
            association = await self._connector.open(group, self._receiver)
            if self._trigger is None:  # left meanwhile
                await association.hang_up("left")
                self._check_open()
            self._associations.append(association)
            opened.append(association)
            self._asked.update(
                (context.abstract_syntax, syntax)
                for context in group
                if context.scu
                for syntax in context.transfer_syntaxes
            )
        self._routes.clear()
        return opened

    async def _context(self, abstract_syntax: str) -> tuple[net.Association, AcceptedContext]:
        self._check_open()
        found = self._accepted(abstract_syntax)
        if found is None and not any(asked[0] == abstract_syntax for asked in self._asked):
            await self._open_further([proposals.Context(abstract_syntax)])
            found = self._accepted(abstract_syntax)
        if found is None:
            raise LocalProtocolError(f"the peer accepted no presentation context for {abstract_syntax}")
        return found

    async def _for_retrieval(
        self, get: str, storage: Iterable[str]
    ) -> tuple[net.Association, AcceptedContext, Callable[[Handler], Callable[[], None]]]:
        self._check_open()
        for association in self._associations:
            if association.established and not self._receiver.receives(association) and _receives(association, get):
                break
        else:
            [association] = await self._open_further(proposals.for_retrieval(get, storage))
        context = association.context_for(get)
        if context is None or not _receives(association, get):
            raise LocalProtocolError(
                f"the peer accepted no presentation context for {get}, or none for storage with us as the SCP"
            )
        return association, context, partial(self._receiver.begin, association)

    def _accepted(self, abstract_syntax: str) -> tuple[net.Association, AcceptedContext] | None:
        lost = None
        for association in self._associations:
            context = association.context_for(abstract_syntax)
            if context is not None:
                if association.established:
                    return association, context
                lost = lost or (association, context)
        return lost

    def _check_open(self) -> None:
        if self._trigger is None:
            raise LocalProtocolError("the association is not open: use it within its `async with` block")

    # -- storage -------------------------------------------------------------------------------------------------------

    def store(
        self, files: Paths | Selection, *, priority: int = 0, timeout: float | None = None
    ) -> Results[StoreResult]:
        """C-STORE of files, and of all DICOM files below folders: a result for each, as the answers come.

        A file that cannot be read or sent has a result with the reason, and the rest go on. With an asynchronous
        operations window several are under way at once. Data sets go out byte for byte (a deflated one of odd length
        with the zero byte that PS3.5 A.5 asks for); one whose uncompressed transfer syntax the peer did not accept is
        encoded anew in another uncompressed one.
        """

        async def begin() -> Operation[StoreResult]:
            selection = await selected(self._reactor, files)
            await self._prepare_for(selection)
            return self.sender(iter(selection.files), priority=priority, timeout=timeout)

        return self._results(begin)

    async def _prepare_for(self, selection: Selection) -> None:
        """Opens a further association where the files need contexts that were not proposed yet."""
        self._check_open()
        asked = self._asked
        missing = [
            context
            for context in proposals.for_instances(selection.instances)
            if (context.abstract_syntax, context.transfer_syntaxes[0]) not in asked
        ]
        if missing:
            await self._open_further(missing)

    def sender(
        self, items: Iterator[Instance | Unsendable], *, priority: int = 0, timeout: float | None = None
    ) -> Sender:
        """Sends what `items` gives, with the contexts that were proposed; `store` is the ordinary way."""
        return Sender(
            self._reactor,
            items,
            self._route,
            unlimited=self._connector.window or proposals.MOST,
            priority=priority,
            timeout=timeout,
        )

    def _results(self, begin: Callable[[], Awaitable[Operation[T]]]) -> Results[T]:
        results = Results(self._reactor, begin)
        self._open_results.add(results)
        return results

    def _route(self, instance: Instance) -> Route | str:
        key = (instance.sop_class, instance.transfer_syntax)
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = route_over(self._associations, instance)
        return route


async def _all(deferreds: Iterable[Deferred[Any]]) -> None:
    """Waits for all, none of which fails. (Cancelling a `DeferredList` does not fail where all of its parts do.)"""
    for one in deferreds:
        await one


def _receives(association: net.Association, get: str) -> bool:
    """Whether a C-GET can be done on `association`."""
    return association.context_for(get) is not None and any(one.scp for one in association.contexts.values())


def connect(
    reactor: Any,
    peer: Peer,
    *,
    calling_ae: str = CALLING_AE,
    contexts: Iterable[Proposal] | None = None,
    files: Paths | Selection | None = None,
    connect_timeout: float = 30.0,
    acse_timeout: float = 30.0,
    dimse_timeout: float = 30.0,
    write_timeout: float = 60.0,
    max_pdu: int = 131_072,
    window: int = 16,
    tls: Security | None = None,
    observers: Sequence[object] = (),
    user_identity: User | UserIdentityRQ | None = None,
) -> Association:
    """An association with `peer`, to be used by `async with`.

    `contexts` are proposed, and what sending `files` needs; without both Verification and Study Root FIND, MOVE and
    GET. More than 128 contexts take several associations. Time-outs are in seconds, 0 for no limit: `connect_timeout`
    for name and connection, `acse_timeout` for the answer to our request and for the release, `dimse_timeout` for a
    response and between two of them, `write_timeout` without progress in sending. `max_pdu` is the longest P-DATA-TF
    we take, `window` how many operations we would like to have outstanding (PS3.7 D.3.3.3).

    With `tls` the connection is secure, or there is none: a `TLS`, or a callable that gives the options for a host,
    such as the method `client_options` of the base service `IDicomSecurity`. The usual port is 2762 then.

    `observers` are shown every PDU and DIMSE message, and may change what is sent: objects that provide
    `INotifyReceiveMessage`, `INotifySendMessage` or both (`txdicom.interfaces.observers`).

    `user_identity` says who asks, on every association (PS3.7 D.3.3.7): a `User`, by name or by name and passcode; a
    Kerberos ticket, a SAML assertion or a JSON Web Token as a `UserIdentityRQ` of kind 3, 4 or 5. A peer that does not
    let the user in rejects the association with result 1, source 2, reason 1.

    Raises ValueError where a parameter makes no sense, SettingsError for files of TLS that cannot be used.
    """
    config = client_config(
        connect_timeout=connect_timeout,
        acse_timeout=acse_timeout,
        dimse_timeout=dimse_timeout,
        write_timeout=write_timeout,
        max_pdu=max_pdu,
    )
    return Association(
        Connector(reactor, peer, calling_ae, config, window, tls, _observers(observers), user_identity),
        [proposals.as_context(one) for one in contexts or ()],
        files,
    )


def _observers(objects: Sequence[object]) -> Observers | None:
    if not objects:
        return None
    from txdicom.services.observed import observers_of

    for one in objects:
        if observers_of([one]) is None:
            what = f"{one!r} provides neither INotifyReceiveMessage nor INotifySendMessage"
            raise ValueError(f"observers: {what}: say so by zope.interface.implementer")
    return observers_of(objects)


def contexts_for(files: Paths | Selection) -> list[Context]:
    """The presentation contexts that sending `files` needs. Reads the heads of the files and blocks meanwhile."""
    selection = files if isinstance(files, Selection) else select(files)
    return proposals.for_instances(selection.instances)
