"""C-FIND (PS3.4 C.4.1, K.4.1) as the SCP: an add-in's matches go out one by one, as fast as the peer takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from txdicom.dimse import messages
from txdicom.dimse.status import OUT_OF_RESOURCES, PENDING, PENDING_UNSUPPORTED_KEYS, SUCCESS, Status
from txdicom.errors import RAISED
from txdicom.interfaces import Match
from txdicom.net.sending import MemorySource
from txdicom.services.blocking import END, Steps
from txdicom.services.querying import QueryRequest


class FindRequest(QueryRequest):
    """One C-FIND: `on_c_find`, whose matches become pending responses; see `IProcessCFind`."""

    __slots__ = ()

    too_large: ClassVar[Status] = OUT_OF_RESOURCES

    async def converse(self) -> Status:
        """Sends every match (PS3.4 C.4.1.3.1); Success after the last one."""
        await self.prepare()
        matches = self._iterator(await self.asked())
        watchdog = self._addin.watchdog
        try:
            while not self._answered:
                watchdog.call = [self._addin]
                match = next(matches, END) if isinstance(matches, Iterator) else await _next(matches)
                watchdog.call = None
                self.restart_timeout()
                if match is END:
                    break
                if not self._answered:  # it may have ended while the add-in was at work
                    await self._send(match)
                    await self.give_way()
        finally:
            watchdog.call = None
            self._close(matches)
        return SUCCESS

    def _iterator(self, matches: Any) -> Any:
        """What gives the matches: an iterator, an asynchronous one, or `Steps` in the threads of a blocking handler."""
        if hasattr(matches, "__aiter__"):
            return aiter(matches)
        try:
            iterator = iter(matches)
        except TypeError:
            what = type(matches).__name__
            raise TypeError(f"on_c_find yields its matches or returns an iterable of them, not {what}") from None
        threads = self._addin.threads
        if threads is None or isinstance(matches, list | tuple):
            return iterator
        self.hold()
        return Steps(threads, iterator, self.unhold)

    async def _send(self, match: object) -> None:
        """One pending response; waits where the peer has not taken those before."""
        status, dataset = PENDING, match
        if isinstance(match, Match):
            status, dataset = (PENDING_UNSUPPORTED_KEYS if match.unsupported_keys else PENDING), match.dataset
        data = self._encoded(dataset)
        response = messages.response(self.command, status, data_set=True)
        association = self.association
        if not association.protocol.sending:
            association.send_response(self.context.context_id, response, data)
            return
        sent: Deferred[None] = Deferred()

        def done(error: Exception | None) -> None:
            # one that could not be sent ends with its association, and so does this wait
            if error is None and not sent.called:
                sent.callback(None)

        association.send_request(self.context.context_id, response, MemorySource(data), done)
        await self.outside(sent)

    def _encoded(self, dataset: Any) -> bytes:
        from pydicom import Dataset

        from txdicom.services.encoding import write_dataset

        if not isinstance(dataset, Dataset):
            raise TypeError(f"a match is a pydicom Dataset or a Match with one, not {type(dataset).__name__}")
        return write_dataset(dataset, self.transfer_syntax)

    def _close(self, matches: Any) -> None:
        """Ends a generator where it stands, so that its `finally` runs; does nothing to one that has ended."""
        try:
            if hasattr(matches, "aclose"):
                # not waited for: the answer need not wait, and a coroutine that is closed itself must not
                Deferred.fromCoroutine(_aclose(matches)).addErrback(self._log_failure)
            elif hasattr(matches, "close"):
                matches.close()
        except RAISED:
            self._log_failure(Failure())


async def _next(matches: Any) -> Any:
    if isinstance(matches, Steps):
        return await matches.next()
    try:
        return await matches.__anext__()
    except StopAsyncIteration:
        return END


async def _aclose(matches: Any) -> None:
    await matches.aclose()
