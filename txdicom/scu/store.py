"""Storage as a job: many files, several associations at once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger

from txdicom.errors import AssociationAborted, DicomError, LocalProtocolError
from txdicom.net.waiting import Waiters
from txdicom.scu.association import connect
from txdicom.scu.contexts import for_instances
from txdicom.scu.files import Instance, Unsendable, selected
from txdicom.scu.results import Results
from txdicom.scu.sender import StoreResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from txdicom.scu.association import Association
    from txdicom.scu.files import Paths, Selection
    from txdicom.scu.peer import Peer

_log = Logger()

#: results that may wait for their reader before no further file is sent
_UNREAD: Final = 64
#: seconds before a lost association is replaced: at first, twice as many after each further loss, at most
_DELAY, _LONGEST_DELAY = 0.1, 5.0
#: seconds after which the loss of an association has nothing to do with the one before
_SOUND: Final = 10.0
#: associations that may be lost in a row without a file stored over them, before no further one is opened
_FRUITLESS: Final = 3


class _Lost(Exception):
    """An open association was lost; `stored`: whether a file was stored over it."""

    def __init__(self, why: str, *, stored: bool) -> None:
        super().__init__(why)
        self.stored = stored


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: files and the bytes of their data sets, done (whatever came of them) and in all."""

    files: int
    of_files: int
    bytes: int
    of_bytes: int


class StoreScu:
    """Stores files at one peer over up to `associations` associations at once, which share the files.

    It is used by `async with`: leaving the block normally releases the associations, leaving it by an exception aborts
    them. `options` are those of `connect` but `contexts` and `files`; `progress` is called after each file.

        async with StoreScu(reactor, peer, associations=4) as scu:
            async for result in scu.store(["study"]):
                print(result.path, result.status, result.error)
    """

    def __init__(
        self,
        reactor: Any,
        peer: Peer,
        *,
        associations: int = 1,
        progress: Callable[[Progress], None] | None = None,
        **options: Any,
    ) -> None:
        if associations < 1:
            raise ValueError(f"associations is {associations}: it has to be at least 1")
        connect(reactor, peer, **options)  # says what is wrong with the options
        self.reactor = reactor
        self._peer = peer
        self._options = options
        self._entered = False
        self._jobs: list[Job] = []
        self.associations = associations
        self.progress = progress

    async def __aenter__(self) -> StoreScu:
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered = False
        for job in self._jobs:
            if error is None:
                job.abandon()
            else:
                job.cancel()
        if not isinstance(error, GeneratorExit):  # else nothing can be awaited any more
            for job in self._jobs:
                await job.ended()

    def store(self, files: Paths | Selection, *, priority: int = 0) -> Results[StoreResult]:
        """C-STORE of files, and of all DICOM files below folders: a result for each, as the answers come.

        Raises what becomes of the first association if it cannot be opened (`ConnectionFailed`, `AssociationRejected`,
        …). Where one is lost, the files that were on their way over it have failed, and after a pause, longer with
        each loss up to 5 s, a new one goes on with the rest, unless three in a row were lost without a file stored
        over them. A further or new one that cannot be
        opened leaves its files to the others; files that no association is left for have a result that says so.
        """

        async def begin() -> Job:
            selection = await selected(self.reactor, files)
            if not self._entered:
                raise LocalProtocolError("use StoreScu within its `async with` block")
            job = Job(self, selection, priority)
            self._jobs.append(job)
            await job.start()
            return job

        return Results(self.reactor, begin)

    def association(self, selection: Selection) -> Association:
        """One more association for these files, not open yet."""
        return connect(self.reactor, self._peer, contexts=for_instances(selection.instances), **self._options)

    @property
    def bytes_sent(self) -> int:
        """Bytes handed to the connections so far, those of unfinished files too."""
        return sum(job.bytes_sent for job in self._jobs)


class Job:
    """One series of files on its way over several associations: an `Operation` whose results are `StoreResult`s."""

    def __init__(self, scu: StoreScu, selection: Selection, priority: int) -> None:
        self._scu = scu
        self._reactor = scu.reactor
        self._selection = selection
        self._priority = priority
        self._queue: deque[Instance | Unsendable] = deque(selection.files)
        self._ready: deque[StoreResult] = deque()
        self._workers: list[Deferred[None]] = []
        self._working = 0
        self._waiters = Waiters()
        self._lost = ""  # how the last lost association ended
        sizes = [one.size for one in selection.files if isinstance(one, Instance)]
        self._of_files, self._of_bytes = len(selection.files), sum(sizes)
        self._files = self._bytes = 0
        self._stopped = self._cancelled = False
        self._open: list[Association] = []
        self._bytes_sent = 0  # over associations that are gone
        self._count = min(scu.associations, len(sizes))

    async def start(self) -> None:
        """Opens the first association, whose errors are the caller's, then lets all begin."""
        if not self._count:
            return
        first: Deferred[None] = Deferred()
        self._begin_worker(first)
        try:
            await first
        except BaseException:
            self.cancel()
            await self.ended()
            raise
        for _ in range(self._count - 1):
            self._begin_worker(None)

    def _begin_worker(self, opened: Deferred[None] | None) -> None:
        self._working += 1
        worker = Deferred.fromCoroutine(self._work(opened))
        worker.addErrback(self._worker_failed, opened)
        worker.addBoth(self._worker_ended)
        self._workers.append(worker)

    async def _work(self, opened: Deferred[None] | None) -> None:
        """One association's share; where it is lost, a new one goes on with what is left."""
        why, fruitless, delay = "", 0, _DELAY
        while True:
            began = self._reactor.seconds()
            try:
                async with self._scu.association(self._selection) as association:
                    if opened is not None and not opened.called:
                        opened.callback(None)
                    await self._send_over(association)
                return
            except _Lost as lost:
                why, fruitless = str(lost), 0 if lost.stored else fruitless + 1
            except DicomError as error:
                if not why:
                    raise
                raise AssociationAborted(f"{why}; then {error}") from error
            if self._stopped or not self._queue:
                return
            if fruitless == _FRUITLESS:
                raise AssociationAborted(f"{fruitless} in a row were lost without a file stored, the last one: {why}")
            if self._reactor.seconds() - began > _SOUND:
                delay = _DELAY
            text = "an association for storage was lost, a new one goes on in {delay:g} s: {why}"
            _log.warn(text, delay=delay, why=why)
            if not await self._pause(delay):
                return
            delay = min(2 * delay, _LONGEST_DELAY)

    async def _pause(self, seconds: float) -> bool:
        """Waits so long, or until there is nothing left to do; whether there is something left."""
        over = self._reactor.callLater(seconds, self._waiters.wake)
        try:
            while over.active() and not self._stopped and self._queue:
                await self._waiters.wait()
        finally:
            if over.active():
                over.cancel()
        return not self._stopped and bool(self._queue)

    async def _send_over(self, association: Association) -> None:
        """Sends until nothing is left; raises `_Lost`."""
        self._open.append(association)
        sender = association.sender(self._items(), priority=self._priority)
        stored = False
        try:
            while True:
                try:
                    result = await sender.__anext__()
                except StopAsyncIteration:
                    return
                except DicomError as error:
                    raise _Lost(str(error), stored=stored) from error
                stored = stored or result.stored
                self._put(result)
                while len(self._ready) >= _UNREAD and not self._stopped:
                    await self._waiters.wait()
                if self._cancelled:  # by whoever was told of this result: `cancel` does not stop what runs
                    raise CancelledError
        finally:
            self._queue.extendleft(sender.unsent())
            self._open.remove(association)
            self._bytes_sent += association.bytes_sent

    @property
    def bytes_sent(self) -> int:
        """Bytes handed to the connections so far."""
        return self._bytes_sent + sum(association.bytes_sent for association in self._open)

    def _items(self) -> Iterator[Instance | Unsendable]:
        while self._queue:
            yield self._queue.popleft()

    def _worker_failed(self, failure: Any, opened: Deferred[None] | None) -> None:
        if opened is not None and not opened.called:
            opened.errback(failure)
            return
        failure.trap(DicomError, CancelledError)
        if not self._stopped:
            self._lost = failure.getErrorMessage()
            _log.warn("one of the associations for storage has ended: {why}", why=self._lost)

    def _worker_ended(self, result: Any) -> Any:
        self._working -= 1
        self._waiters.wake()
        return result

    def _put(self, result: StoreResult) -> None:
        self._files += 1
        self._bytes += result.size
        self._ready.append(result)
        if self._scu.progress is not None:
            self._scu.progress(Progress(self._files, self._of_files, self._bytes, self._of_bytes))
        self._waiters.wake()

    # -- Operation -----------------------------------------------------------------------------------------------------

    async def __anext__(self) -> StoreResult:
        while not self._ready:
            if not self._working:
                if not self._queue:
                    await self.ended()
                    raise StopAsyncIteration
                self._leave_over(self._queue.popleft())
            else:
                await self._waiters.wait()
        result = self._ready.popleft()
        if len(self._ready) == _UNREAD // 2:
            self._waiters.wake()
        return result

    def _leave_over(self, item: Instance | Unsendable) -> None:
        if isinstance(item, Unsendable):
            self._put(StoreResult(item.path, error=item.reason))
        else:
            error = f"not sent: no association is left ({self._lost})"
            self._put(StoreResult(item.path, item.sop_class, item.sop_instance, error=error, size=item.size))

    def abandon(self) -> None:
        """Sends no further file; what is on its way is not interrupted."""
        self._stopped = True
        self._queue.clear()
        self._ready.clear()
        self._waiters.wake()

    async def aclose(self) -> None:
        """The same, then waits until the associations are released."""
        self.abandon()
        await self.ended()

    def cancel(self) -> None:
        """Aborts the associations."""
        self._stopped = self._cancelled = True
        for worker in self._workers:
            worker.cancel()
        self.abandon()

    async def ended(self) -> None:
        """Returns once no association is left; raises what no worker should have raised."""
        results: list[tuple[bool, Any]] = await DeferredList(self._workers, consumeErrors=True)
        for succeeded, result in results:
            if not succeeded:
                result.raiseException()
