"""The calls of an association but storage: Verification, Query/Retrieve, DIMSE-N, and messages by hand.

pydicom is imported by those that have a data set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from txdicom.dimse import requests
from txdicom.dimse.command import DATA_SET, NO_DATA_SET, Command
from txdicom.dimse.elements import COMMAND_DATA_SET_TYPE, MESSAGE_ID
from txdicom.net.invocation import Responses
from txdicom.services.verification import echo
from txdicom.uids import VERIFICATION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from pydicom import Dataset

    from txdicom.dimse.status import Status
    from txdicom.net import association as net
    from txdicom.scu.results import Operation, Results
    from txdicom.services.query_retrieve import Identifier, Retrieve, Retrieved
    from txdicom.ul.negotiation import AcceptedContext

T = TypeVar("T")


class Calls(ABC):
    """What an association can be asked for. `timeout` is in seconds and stands in for the association's own."""

    @abstractmethod
    async def _context(self, abstract_syntax: str) -> tuple[net.Association, AcceptedContext]:
        """An accepted context, on a further association if need be."""

    @abstractmethod
    async def _for_retrieval(
        self, get: str, storage: Iterable[str]
    ) -> tuple[net.Association, AcceptedContext, Callable[[Callable[[Any], Any]], Callable[[], None]]]:
        """An accepted context for C-GET with storage contexts beside it, and what sets the handler of instances."""

    @abstractmethod
    def _results(self, begin: Callable[[], Awaitable[Operation[T]]]) -> Results[T]:
        """The results of an operation that `begin` starts."""

    async def echo(self, *, timeout: float | None = None) -> Status:
        """C-ECHO (PS3.7 §9.1.5): the peer's status."""
        association, _ = await self._context(VERIFICATION)
        return await echo(association, timeout=timeout)

    # -- Query/Retrieve (PS3.4 Annex C) --------------------------------------------------------------------------------

    def find(
        self,
        identifier: Identifier,
        *,
        level: str | None = None,
        model: str = "STUDY",
        priority: int = 0,
        timeout: float | None = None,
    ) -> Results[Dataset]:
        """C-FIND: iterates over the matches.

        `identifier` is a data set or a mapping of keywords to values; "" or None asks for a value to be told. `level`
        (PATIENT, STUDY, SERIES, IMAGE) becomes the Query/Retrieve Level and asks for the level's unique key. `model` is
        STUDY or PATIENT (root), or the UID of another SOP class answered by C-FIND. A failure is raised as StatusError.
        """

        async def begin() -> Operation[Dataset]:
            from txdicom.services import query_retrieve as qr

            dataset = qr.identifier_of(identifier, level, unique_key=True)
            association, context = await self._context(qr.sop_class_of(model, "find"))
            return qr.Find(association, context, dataset, priority=priority, timeout=timeout)

        return self._results(begin)

    def move(
        self,
        identifier: Identifier,
        destination: str,
        *,
        level: str | None = None,
        model: str = "STUDY",
        priority: int = 0,
        timeout: float | None = None,
    ) -> Results[Retrieved]:
        """C-MOVE to the AE title `destination`: iterates over the progress; the last item has the final status.

        See `find` for the other parameters. A failure is raised as StatusError; failed sub-operations are counted.
        """

        async def begin() -> Operation[Retrieved]:
            from txdicom.services import query_retrieve as qr

            dataset = qr.identifier_of(identifier, level)
            association, context = await self._context(qr.sop_class_of(model, "move"))
            return qr.move(association, context, dataset, destination, priority=priority, timeout=timeout)

        return self._results(begin)

    def get(
        self,
        identifier: Identifier,
        handler: Callable[[Any], Any],
        *,
        level: str | None = None,
        model: str = "STUDY",
        storage: Iterable[str] = (),
        priority: int = 0,
        timeout: float | None = None,
    ) -> Results[Retrieved]:
        """C-GET: iterates over the progress as `move` does, while `handler` is called with each instance that comes.

        `handler` is what `on_c_store` is to an add-in (`txdicom.interfaces.IProcessCStore`): it gets a request with
        `received` and `dataset` and returns a status, now or later. `storage` are the SOP classes to be received, at
        most 127; without it the usual ones.
        """

        async def begin() -> Operation[Retrieved]:
            from txdicom.services import query_retrieve as qr

            dataset = qr.identifier_of(identifier, level)
            association, context, receive = await self._for_retrieval(qr.sop_class_of(model, "get"), storage)
            end = receive(handler)
            try:
                return _Get(qr.get(association, context, dataset, priority=priority, timeout=timeout), end)
            except BaseException:
                end()
                raise

        return self._results(begin)

    # -- DIMSE-N (PS3.7 §10) -------------------------------------------------------------------------------------------
    # `abstract_syntax` is for a SOP class negotiated under another's UID: a Meta SOP Class, or UPS Push. Each returns
    # the peer's status and the data set of its response, None where there is none.

    async def n_get(
        self,
        sop_class: str,
        sop_instance: str,
        attributes: Sequence[int] = (),
        *,
        abstract_syntax: str = "",
        timeout: float | None = None,
    ) -> tuple[Status, Dataset | None]:
        """N-GET of the tags `attributes`, or of all."""
        build = partial(requests.n_get_rq, sop_class=sop_class, sop_instance=sop_instance, attributes=attributes)
        return await self._normalized(abstract_syntax or sop_class, build, None, timeout)

    async def n_set(
        self,
        sop_class: str,
        sop_instance: str,
        modifications: Dataset,
        *,
        abstract_syntax: str = "",
        timeout: float | None = None,
    ) -> tuple[Status, Dataset | None]:
        """N-SET."""
        build = partial(requests.n_set_rq, sop_class=sop_class, sop_instance=sop_instance)
        return await self._normalized(abstract_syntax or sop_class, build, modifications, timeout)

    async def n_action(
        self,
        sop_class: str,
        sop_instance: str,
        action_type: int,
        information: Dataset | None = None,
        *,
        abstract_syntax: str = "",
        timeout: float | None = None,
    ) -> tuple[Status, Dataset | None]:
        """N-ACTION."""
        build = partial(
            requests.n_action_rq,
            sop_class=sop_class,
            sop_instance=sop_instance,
            action_type=action_type,
            data_set=information is not None,
        )
        return await self._normalized(abstract_syntax or sop_class, build, information, timeout)

    async def n_create(
        self,
        sop_class: str,
        sop_instance: str | None = None,
        attributes: Dataset | None = None,
        *,
        abstract_syntax: str = "",
        timeout: float | None = None,
    ) -> tuple[Status, Dataset | None]:
        """N-CREATE; without `sop_instance` the peer gives the UID, which only `send` shows."""
        build = partial(
            requests.n_create_rq, sop_class=sop_class, sop_instance=sop_instance, data_set=attributes is not None
        )
        return await self._normalized(abstract_syntax or sop_class, build, attributes, timeout)

    async def n_delete(
        self, sop_class: str, sop_instance: str, *, abstract_syntax: str = "", timeout: float | None = None
    ) -> tuple[Status, Dataset | None]:
        """N-DELETE."""
        build = partial(requests.n_delete_rq, sop_class=sop_class, sop_instance=sop_instance)
        return await self._normalized(abstract_syntax or sop_class, build, None, timeout)

    async def n_event_report(
        self,
        sop_class: str,
        sop_instance: str,
        event_type: int,
        information: Dataset | None = None,
        *,
        abstract_syntax: str = "",
        timeout: float | None = None,
    ) -> tuple[Status, Dataset | None]:
        """N-EVENT-REPORT."""
        build = partial(
            requests.n_event_report_rq,
            sop_class=sop_class,
            sop_instance=sop_instance,
            event_type=event_type,
            data_set=information is not None,
        )
        return await self._normalized(abstract_syntax or sop_class, build, information, timeout)

    async def _normalized(
        self, abstract_syntax: str, build: Callable[[int], Command], dataset: Dataset | None, timeout: float | None
    ) -> tuple[Status, Dataset | None]:
        from txdicom.services.normalized import normalized

        association, context = await self._context(abstract_syntax)
        return await normalized(association, context.abstract_syntax, build, dataset, timeout=timeout)

    # -- by hand -------------------------------------------------------------------------------------------------------

    def send(
        self,
        command: Command,
        data_set: Dataset | bytes | None = None,
        *,
        abstract_syntax: str = "",
        timeout: float | None = None,
    ) -> Results[tuple[Command, Dataset | None]]:
        """Sends a request of any kind and iterates over its responses, the final one included, failures too.

        The Message ID and Command Data Set Type are set here. `data_set` given as bytes has to be in the transfer
        syntax of the context, which is that of `abstract_syntax`, or else of the command's SOP class.
        """

        async def begin() -> Operation[tuple[Command, Dataset | None]]:
            from txdicom.services.encoding import write_dataset

            syntax = abstract_syntax or command.affected_sop_class or command.requested_sop_class or ""
            association, context = await self._context(syntax)
            data = data_set
            if data is not None and not isinstance(data, bytes):
                data = write_dataset(data, context.transfer_syntax)
            values = {**command.values, COMMAND_DATA_SET_TYPE: NO_DATA_SET if data is None else DATA_SET}
            responses = Responses(
                association,
                context.context_id,
                lambda message_id: Command({**values, MESSAGE_ID: message_id}),
                data,
                timeout,
            )
            return _Sent(responses, context.transfer_syntax)

        return self._results(begin)


class _Sent:
    """The responses to a request sent by hand, their data sets read."""

    def __init__(self, responses: Responses, transfer_syntax: str) -> None:
        self._responses = responses
        self._transfer_syntax = transfer_syntax
        self.abandon = responses.abandon
        self.aclose = responses.aclose

    async def __anext__(self) -> tuple[Command, Dataset | None]:
        from txdicom.services.encoding import read_dataset

        command, data = await self._responses.__anext__()
        return command, read_dataset(data, self._transfer_syntax) if data else None


class _Get:
    """A C-GET, which at its end takes the handler of its instances away."""

    def __init__(self, retrieve: Retrieve, end: Callable[[], None]) -> None:
        self._retrieve = retrieve
        self._end = end

    @property
    def status(self) -> Status | None:
        """The final status."""
        return self._retrieve.status

    async def __anext__(self) -> Retrieved:
        try:
            return await self._retrieve.__anext__()
        except BaseException:
            self._end()
            raise

    def abandon(self) -> None:
        """What still comes is refused."""
        self._end()
        self._retrieve.abandon()

    async def aclose(self) -> None:
        """The same, then waits for the end."""
        self.abandon()
        await self._retrieve.aclose()
