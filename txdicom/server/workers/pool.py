"""The workers of a server as one: who gets a connection, how many there may be, what happens when one ends."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults
from twisted.logger import Logger

from txdicom.errors import ConnectionFailed, InternalError
from txdicom.net.limits import Slots
from txdicom.server.endpoints import describe
from txdicom.server.workers import commands
from txdicom.server.workers.channel import ChannelClosed, ChannelFull
from txdicom.server.workers.control import WorkersControl
from txdicom.server.workers.ports import Ports
from txdicom.server.workers.process import Worker
from txdicom.server.workers.restarts import Restarts

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IDelayedCall
    from twisted.protocols.amp import Command
    from twisted.python.failure import Failure

    from txdicom.archive.store import Store
    from txdicom.net.config import NetConfig
    from txdicom.server.settings.live import LiveSettings
    from txdicom.server.workers.inside import Start

_log = Logger()

#: seconds beyond `drain_timeout` until what is left is killed; all there are where operations are aborted
_GRACE: Final = 5.0
#: seconds for a worker to take settings, beside what its add-ins have for theirs
_TO_TAKE: Final = 30.0
#: seconds until a worker whose channel is full is asked again
_FULL: Final = 0.01
#: the numbers of the associations that a worker requests begin at this times the number of its process
_NUMBERS: Final = 1_000_000_000


class Workers:
    """The parent's side: `size` workers, their connections, and the limits that hold over all of them.

    See `txdicom.server.serving.Served`. `start_of` gives what the worker of an index, whose requested associations have
    numbers from another on, begins with; `lines_of` gives what takes the bytes of its log lines; `ae_file` is the file
    of the AE titles. `store` is what they store in, if they do: it is held meanwhile, so that no other server takes it,
    and swept. `addins` is how many add-ins have settings: each may take its time for them.
    """

    def __init__(
        self,
        reactor: Any,
        ae_title: str,
        config: NetConfig,
        size: int,
        *,
        start_of: Callable[[int, int], Start],
        lines_of: Callable[[int], Callable[[bytes], None]],
        ae_file: str,
        store: Store | None = None,
        addins: int = 0,
    ) -> None:
        self.ae_title = ae_title
        self.slots = Slots(config)
        self.ports = Ports(reactor, self._came)
        #: associations since the start
        self.total = 0
        #: hears of each worker that has become ready, before it gets connections, and of each that has ended
        self.control: WorkersControl | None = None
        self._reactor = reactor
        self._size = size
        self._start_of = start_of
        self._lines_of = lines_of
        self._store = store
        self._addins = addins
        self._ae_file = ae_file
        self._workers: dict[int, Worker] = {}
        self._of_number: dict[int, Worker] = {}
        #: how many changes of settings have been begun, and how many are over; what the last one made of server.toml
        self._changes = 0
        self._changed = 0
        self._text = ""
        self._numbers = count(1)
        self._processes = count(1)
        self._restarts = Restarts(reactor, self._start_again, self._alive)
        #: the indices of those that have not been ready yet: the start fails where one of these ends
        self._awaited = set(range(1, size + 1))
        self._killing: IDelayedCall | None = None
        self._aborted = False
        self._waiting: tuple[socket.socket, bool] | None = None
        self._retry: IDelayedCall | None = None
        self._running = False
        self._stopping = False

    @property
    def workers(self) -> list[Worker]:
        """The present ones, in the order of their indices."""
        return [self._workers[index] for index in sorted(self._workers)]

    @property
    def associations(self) -> int:
        """Connections with an association."""
        return self.slots.clients

    def worker_of(self, number: int) -> Worker | None:
        """Whose connection has this number."""
        return self._of_number.get(number)

    # -- life ----------------------------------------------------------------------------------------------------------

    @property
    def addresses(self) -> list[tuple[IAddress, bool]]:
        """See `Served`."""
        return self.ports.addresses

    def administered(self, reactor: Any, live: LiveSettings, stop: Callable[[bool], None]) -> WorkersControl:
        """See `Served`."""

        def ports() -> list[str]:
            return [describe(address, secure=secure) for address, secure in self.addresses]

        self.control = WorkersControl(reactor, self, live, ports, stop, self._ae_file)
        return self.control

    async def bind(self, endpoint: str, *, secure: bool = False) -> None:
        """See `Served`."""
        await self.ports.bind(endpoint, secure=secure)

    async def start(self) -> None:
        """Starts them all, then accepts. WorkerFailed, OSError where one cannot start: then none is left."""
        if self._store is not None:
            self._store.open()
        try:
            started = [self._spawn(index).started for index in range(1, self._size + 1)]
            await gatherResults(started, consumeErrors=True)
        except BaseException as error:  # noqa: BLE001 (it is raised again)
            self._stopping = True
            for worker in self.workers:
                worker.started.addErrback(self._not_started, worker)
                worker.drain()
            raise _cause_of(error) from None
        self._running = True
        self._update()

    async def stop(self) -> None:
        """Has them drain, and end; newcomers are handed over meanwhile, and rejected there (2,3,1)."""
        self._stopping = True
        self._restarts.cancel()
        if self.control is not None and self._running:
            self.control.shutting_down()
        self._kill_in(_GRACE if self._aborted else self.slots.config.drain_timeout + _GRACE)
        for worker in self.workers:
            worker.drain()
        await gatherResults([worker.gone for worker in self.workers])
        self._kill_not()
        self._drop_waiting()
        if self._store is not None:
            self._store.close()
        await self.ports.close()

    def abort_all(self) -> None:
        """See `Served`."""
        for worker in self.workers:
            worker.abort_all()
        if not self._aborted:
            self._aborted = True
            if self._killing is not None:
                self._kill_in(_GRACE)

    def _kill_in(self, seconds: float) -> None:
        self._kill_not()
        self._killing = self._reactor.callLater(seconds, self._kill, seconds)

    def _kill_not(self) -> None:
        if self._killing is not None:
            self._killing.cancel()
            self._killing = None

    def _kill(self, seconds: float) -> None:
        self._killing = None
        for worker in self.workers:
            if worker.state != "ended":
                _log.warn(
                    "worker {worker} (process {process}) has not ended within {seconds:g} s: it is killed",
                    worker=worker.index,
                    process=worker.process,
                    seconds=seconds,
                )
                worker.kill()

    def _spawn(self, index: int) -> Worker:
        worker = Worker(self._reactor, self, index, self._lines_of(index))
        worker.changes = self._changed  # amid one, it begins with what was before
        worker.spawn(self._start_of(index, next(self._processes) * _NUMBERS).values())
        self._workers[index] = worker
        _log.info("worker {worker} is process {process}", worker=index, process=worker.process)
        return worker

    def _start_again(self, index: int) -> None:
        worker = self._spawn(index)
        worker.started.addErrback(self._not_started, worker)

    # -- what workers do -----------------------------------------------------------------------------------------------

    async def ready(self, worker: Worker) -> None:
        """See `Owner`."""
        if worker.changes != self._changes:  # since it has begun
            await worker.ask(commands.Apply, self._seconds_to_take, text=self._text)
        if self.control is not None:
            await self.control.welcome(worker)
        worker.started.addCallback(lambda _: self._is_ready(worker))

    def _is_ready(self, worker: Worker) -> None:
        self._awaited.discard(worker.index)
        _log.info("worker {worker} is ready", worker=worker.index)
        self._update()

    def take_slot(self, worker: Worker, number: int, calling_ae: str) -> bool:
        """See `Owner`."""
        granted = self.slots.admit(number, calling_ae) is None
        self.total += granted
        return granted

    def free_slot(self, worker: Worker, number: int) -> None:
        """See `Owner`."""
        self._of_number.pop(number, None)
        self.slots.leave(number)

    def silence_changed(self, worker: Worker) -> None:
        """See `Owner`: those of one that does not answer must not keep the others out."""
        change = self.slots.leave if worker.silent else self.slots.enter
        for number in worker.half_open:
            change(number)

    def exited(self, worker: Worker, why: str) -> None:
        """See `Owner`."""
        lost = worker.connections
        for number in list(worker.numbers):
            worker.free_slot(number)
        if self.control is not None:
            self.control.lost(worker)
        self._update()
        if self._stopping or worker.index in self._awaited:
            level = _log.info if why == "status 0" else _log.warn
            level("worker {worker} has ended: {why}", worker=worker.index, why=why)
            return
        lived = self._reactor.seconds() - worker.born
        delay = self._restarts.after(worker.index, ready=worker.started.called, lived=lived)
        _log.error(
            "worker {worker} (process {process}) has ended: {why}; its {count} connections are lost; it is started"
            " again {when}",
            worker=worker.index,
            process=worker.process,
            why=why,
            count=lost,
            when=f"in {delay:g} s" if delay else "at once",
        )

    def _not_started(self, failure: Failure, worker: Worker) -> None:
        """Of one that is started again; at the first start the whole server ends."""
        if not self._stopping:
            sentence = failure.getErrorMessage()
            _log.error("worker {worker} could not start: {sentence}", worker=worker.index, sentence=sentence)

    def _alive(self) -> bool:
        return any(worker.state in {"starting", "ready"} for worker in self.workers)

    async def apply(self, text: str) -> None:
        """Has all workers take this text of server.toml, those that start meanwhile too.

        Their own errors; InternalError where one does not answer, or none has lived through it.
        """
        self._changes += 1
        self._text = text
        try:
            await self._ask_all(commands.Apply, text=text)
        finally:
            self._changed = self._changes

    async def reload_files(self) -> None:
        """Has all workers read their files again. Errors as with `apply`."""
        await self._ask_all(commands.ReloadFiles)

    @property
    def _seconds_to_take(self) -> float:
        """For settings or files; 0: no limit."""
        seconds = self.slots.config.addin_timeout
        return seconds * max(1, self._addins) + _TO_TAKE if seconds else 0.0

    async def _ask_all(self, command: type[Command], **arguments: Any) -> None:
        """Has those do something that are ready. The successor of one that ends meanwhile begins with it done."""
        ready = [worker for worker in self.workers if worker.administrator is not None]
        asked = [Deferred.fromCoroutine(one.ask(command, self._seconds_to_take, **arguments)) for one in ready]
        answers: list[tuple[bool, Any]] = await DeferredList(asked, consumeErrors=True)
        failures = [answer for success, answer in answers if not success]
        refusals = [failure for failure in failures if not failure.check(ConnectionFailed)]
        if len(failures) == len(ready) > 0 and not refusals:
            error = InternalError(f"all workers have ended at {command.__name__}: the log says how")
            _log.error("{why}", why=str(error))
            raise error
        for failure in refusals:
            if failure.check(InternalError):
                _log.error("{command}: {why}", command=command.__name__, why=failure.getErrorMessage())
            failure.raiseException()

    # -- connections ---------------------------------------------------------------------------------------------------

    def _came(self, connection: socket.socket, peer: IAddress | None, secure: bool) -> None:
        if self.slots.room_for(peer):
            if self._deliver(connection, secure):
                connection.close()
            else:
                self._waiting = connection, secure
                self._retry = self._reactor.callLater(_FULL, self._try_again)
                self._update()
        else:
            connection.close()

    def _deliver(self, connection: socket.socket, secure: bool) -> bool:
        """Gives a connection to the worker with the fewest of those that take one.

        One that does not answer gets some only where there is no other, one without file descriptors none.
        """
        number = next(self._numbers)
        takers = [worker for worker in self._open() if not worker.silent] or self._open()
        for worker in sorted(takers, key=lambda one: one.connections):
            if worker.rests:
                continue
            try:
                worker.hand_over(number, secure, connection)
            except (ChannelFull, ChannelClosed):  # of one that is ending, its end comes soon
                continue
            self._of_number[number] = worker
            self.slots.enter(number)
            return True
        return False

    def _open(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.takes_connections]

    def _try_again(self) -> None:
        self._retry = None
        assert self._waiting is not None
        connection, secure = self._waiting
        if self._deliver(connection, secure):
            self._waiting = None
            connection.close()
            self._update()
        else:
            self._retry = self._reactor.callLater(_FULL, self._try_again)

    def _drop_waiting(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._waiting is not None:
            self._waiting[0].close()
            self._waiting = None

    def _update(self) -> None:
        """Accepts while there is somebody to hand over to."""
        self.ports.accept(self._running and self._waiting is None and bool(self._open()))


def _cause_of(error: BaseException) -> BaseException:
    """The error of the first that has failed, where several were waited for."""
    cause = error.subFailure.value if isinstance(error, FirstError) else None
    return cause or error
