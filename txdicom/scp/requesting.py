"""The default of the request service: the client framework, with associations to peers of the AE table."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from zope.interface import implementer

from txdicom.dimse import messages, requests
from txdicom.errors import BadArgument, ConnectionFailed, LocalProtocolError
from txdicom.interfaces import IAETitle, IDicomRequest
from txdicom.net.invocation import SingleResponse
from txdicom.scp.calling import CallsOn, connector_for
from txdicom.scp.pool import Pool
from txdicom.scp.sendable import prepared, sendable
from txdicom.scu.contexts import Context, for_instances, for_retrieval
from txdicom.scu.receiver import Receiver
from txdicom.services.encoding import read_dataset, write_dataset
from txdicom.services.query_retrieve import sop_class_of
from txdicom.services.storage import store
from txdicom.uids import VERIFICATION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from pydicom import Dataset

    from txdicom.dimse.status import Status
    from txdicom.net.association import Association
    from txdicom.scp.calling import Server
    from txdicom.scu.operations import Calls
    from txdicom.scu.results import Results
    from txdicom.services.query_retrieve import Identifier, Retrieved
    from txdicom.ul.negotiation import AcceptedContext

T = TypeVar("T")


@implementer(IDicomRequest)
class DicomRequest:
    """See `IDicomRequest`. `stop` ends what is under way, and every association."""

    def __init__(self, reactor: Any, server: Server) -> None:
        self._reactor = reactor
        self._server = server
        self._receiver = Receiver(reactor)
        self._pools: dict[str, Pool] = {}
        self._stopped = False

    def start(self) -> None:
        """Nothing is opened before it is needed."""
        self._stopped = False

    def stop(self) -> Deferred[Any]:
        """Fires when all associations are gone; requests that come later fail."""
        self._stopped = True
        pools, self._pools = self._pools, {}
        return DeferredList([pool.stop() for pool in pools.values()]).addCallback(lambda _: self._receiver.stop())

    # -- DIMSE-C -------------------------------------------------------------------------------------------------------

    def c_echo(self, ae_title: str, *, association: Any = None, timeout: float | None = None) -> Deferred[Status]:
        """See `IDicomRequest`."""
        return self._call(ae_title, VERIFICATION, association, lambda calls: calls.echo(timeout=timeout))

    def c_store(
        self, ae_title: str, instance: Any, *, priority: int = 0, association: Any = None, timeout: float | None = None
    ) -> Deferred[Status]:
        """See `IDicomRequest`."""

        async def run() -> Status:
            one = await sendable(self._reactor, instance)
            what = one.instance

            async def send(over: Association) -> Status:
                context_id, source = await prepared(self._reactor, one, over)
                keywords = {"timeout": timeout, "priority": priority}
                command, _ = await store(over, context_id, what.sop_class, what.sop_instance, source, **keywords)  # type: ignore[arg-type]
                return messages.status_of(command)

            def fits(over: Association) -> bool:
                return over.context_for(what.sop_class, (what.transfer_syntax,)) is not None

            return await self._over(ae_title, for_instances([what]), association, fits, send)

        return Deferred.fromCoroutine(run())

    def c_find(
        self,
        ae_title: str,
        identifier: Identifier,
        *,
        level: str | None = None,
        model: str = "STUDY",
        priority: int = 0,
        most: int = 10_000,
        association: Any = None,
        timeout: float | None = None,
    ) -> Deferred[list[Dataset]]:
        """See `IDicomRequest`."""

        async def find(calls: Calls) -> list[Dataset]:
            found: list[Dataset] = []
            results = calls.find(identifier, level=level, model=model, priority=priority, timeout=timeout)
            try:
                async for match in results:
                    if len(found) == most:
                        raise BadArgument([f"over {most} matches: narrow the query, or raise `most`"])
                    found.append(match)
            finally:
                await results.aclose()
            return found

        return self._call(ae_title, sop_class_of(model, "find"), association, find)

    def c_move(
        self,
        ae_title: str,
        identifier: Identifier,
        destination: str,
        *,
        level: str | None = None,
        model: str = "STUDY",
        priority: int = 0,
        association: Any = None,
        timeout: float | None = None,
    ) -> Deferred[Retrieved]:
        """See `IDicomRequest`."""

        def move(calls: Calls) -> Awaitable[Retrieved]:
            keywords: dict[str, Any] = {"level": level, "model": model, "priority": priority, "timeout": timeout}
            return _last(calls.move(identifier, destination, **keywords))

        return self._call(ae_title, sop_class_of(model, "move"), association, move)

    def c_get(
        self,
        ae_title: str,
        identifier: Identifier,
        handler: Callable[[Any], Any],
        *,
        level: str | None = None,
        model: str = "STUDY",
        storage: Iterable[str] = (),
        priority: int = 0,
        timeout: float | None = None,
    ) -> Deferred[Retrieved]:
        """See `IDicomRequest`."""

        def get(over: Association) -> Awaitable[Retrieved]:
            calls = CallsOn(self._reactor, over, self._receiver)
            keywords: dict[str, Any] = {"level": level, "model": model, "priority": priority, "timeout": timeout}
            return _last(calls.get(identifier, handler, **keywords))

        contexts = for_retrieval(sop_class_of(model, "get"), storage)
        return Deferred.fromCoroutine(self._over(ae_title, contexts, None, bool, get))

    # -- DIMSE-N -------------------------------------------------------------------------------------------------------

    def n_event_report(
        self,
        ae_title: str,
        sop_class: str,
        sop_instance: str,
        event_type: int,
        information: Dataset | None = None,
        *,
        abstract_syntax: str = "",
        association: Any = None,
        timeout: float | None = None,
    ) -> Deferred[tuple[Status, Dataset | None]]:
        """See `IDicomRequest`."""
        syntax = abstract_syntax or sop_class
        build = partial(
            requests.n_event_report_rq,
            sop_class=sop_class,
            sop_instance=sop_instance,
            event_type=event_type,
            data_set=information is not None,
        )

        async def report(over: Association) -> tuple[Status, Dataset | None]:
            context = _as_provider(over, syntax)
            if context is None:
                raise LocalProtocolError(f"the peer did not accept us as the provider (SCP) of {syntax}")
            data = write_dataset(information, context.transfer_syntax) if information is not None else None
            command, reply = await SingleResponse(over, context.context_id, build, data, timeout).result
            return messages.status_of(command), read_dataset(reply, context.transfer_syntax) if reply else None

        def fits(over: Association) -> bool:
            return _as_provider(over, syntax) is not None

        contexts = [Context(syntax, scu=False, scp=True)]
        return Deferred.fromCoroutine(self._over(ae_title, contexts, association, fits, report))

    def n_get(
        self,
        ae_title: str,
        sop_class: str,
        sop_instance: str,
        attributes: Sequence[int] = (),
        *,
        abstract_syntax: str = "",
        association: Any = None,
        timeout: float | None = None,
    ) -> Deferred[tuple[Status, Dataset | None]]:
        """See `IDicomRequest`."""
        return self._normalized(
            ae_title, "n_get", association, sop_class, sop_instance, attributes, syntax=abstract_syntax, timeout=timeout
        )

    def n_set(
        self,
        ae_title: str,
        sop_class: str,
        sop_instance: str,
        modifications: Dataset,
        *,
        abstract_syntax: str = "",
        association: Any = None,
        timeout: float | None = None,
    ) -> Deferred[tuple[Status, Dataset | None]]:
        """See `IDicomRequest`."""
        what = (sop_class, sop_instance, modifications)
        return self._normalized(ae_title, "n_set", association, *what, syntax=abstract_syntax, timeout=timeout)

    def n_action(
        self,
        ae_title: str,
        sop_class: str,
        sop_instance: str,
        action_type: int,
        information: Dataset | None = None,
        *,
        abstract_syntax: str = "",
        association: Any = None,
        timeout: float | None = None,
    ) -> Deferred[tuple[Status, Dataset | None]]:
        """See `IDicomRequest`."""
        what = (sop_class, sop_instance, action_type, information)
        return self._normalized(ae_title, "n_action", association, *what, syntax=abstract_syntax, timeout=timeout)

    def n_create(
        self,
        ae_title: str,
        sop_class: str,
        sop_instance: str | None = None,
        attributes: Dataset | None = None,
        *,
        abstract_syntax: str = "",
        association: Any = None,
        timeout: float | None = None,
    ) -> Deferred[tuple[Status, Dataset | None]]:
        """See `IDicomRequest`."""
        what = (sop_class, sop_instance, attributes)
        return self._normalized(ae_title, "n_create", association, *what, syntax=abstract_syntax, timeout=timeout)

    def n_delete(
        self,
        ae_title: str,
        sop_class: str,
        sop_instance: str,
        *,
        abstract_syntax: str = "",
        association: Any = None,
        timeout: float | None = None,
    ) -> Deferred[tuple[Status, Dataset | None]]:
        """See `IDicomRequest`."""
        what = (sop_class, sop_instance)
        return self._normalized(ae_title, "n_delete", association, *what, syntax=abstract_syntax, timeout=timeout)

    # ------------------------------------------------------------------------------------------------------------------

    def _normalized(
        self, ae_title: str, name: str, association: Any, sop_class: str, *what: Any, syntax: str, timeout: float | None
    ) -> Deferred[tuple[Status, Dataset | None]]:
        def call(calls: Calls) -> Awaitable[tuple[Status, Dataset | None]]:
            done: Awaitable[tuple[Status, Dataset | None]]
            done = getattr(calls, name)(sop_class, *what, abstract_syntax=syntax, timeout=timeout)
            return done

        return self._call(ae_title, syntax or sop_class, association, call)

    def _call(
        self, ae_title: str, abstract_syntax: str, association: Any, call: Callable[[Calls], Awaitable[T]]
    ) -> Deferred[T]:
        """One call of the client framework, which needs one presentation context."""

        def fits(over: Association) -> bool:
            return over.context_for(abstract_syntax) is not None

        def work(over: Association) -> Awaitable[T]:
            return call(CallsOn(self._reactor, over, self._receiver))

        return Deferred.fromCoroutine(self._over(ae_title, [Context(abstract_syntax)], association, fits, work))

    async def _over(
        self,
        ae_title: str,
        contexts: Sequence[Context],
        association: Any,
        fits: Callable[[Association], bool],
        work: Callable[[Association], Awaitable[T]],
    ) -> T:
        """What `work` does over `association` where that fits, else over one with `contexts`."""
        title = ae_title.strip(" ")
        if association is not None and association.established and _peer_of(association) == title and fits(association):
            return await work(association)
        entry = await maybeDeferred(self._server.service(IAETitle).get, title)
        connector = connector_for(self._reactor, self._server, entry)
        if self._stopped:
            raise ConnectionFailed(f"{title!r}: the server stops")
        pool = self._pools.get(title)
        if pool is None:
            pool = self._pools[title] = Pool(self._reactor, repr(title))
        key = (connector.peer, entry.port_usage, entry.verify_tls_host_name, tuple(contexts))
        taken = await pool.take(key, lambda: connector.open(contexts, self._receiver))
        try:
            return await work(taken)
        finally:
            pool.give_back(taken)


async def _last(results: Results[Retrieved]) -> Retrieved:
    """The end of a retrieval."""
    last = None
    try:
        async for one in results:
            last = one
    finally:
        await results.aclose()
    assert last is not None  # there is a final response, or an error
    return last


def _peer_of(association: Association) -> str:
    return (association.called_ae if association.requestor else association.calling_ae).strip(" ")


def _as_provider(association: Association, abstract_syntax: str) -> AcceptedContext | None:
    """A context on which this side may be the SCP of `abstract_syntax`."""
    for context in association.contexts.values():
        role = context.scp if association.requestor else context.scu
        if context.abstract_syntax == abstract_syntax and role:
            return context
    return None
