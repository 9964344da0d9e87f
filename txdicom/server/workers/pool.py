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

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IDelayedCall
    from twisted.protocols.amp import Command
    from twisted.python.failure import Failure

    from txdicom.archive.store import Store
    from txdicom.net.config import NetConfig
    from txdicom.server.live import LiveSettings
    from txdicom.server.workers.inside import Start

_log = Logger()

#: a worker that lived for fewer seconds than this is started again only after a while
_SHORT_LIFE: Final = 10.0
_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 60.0
#: seconds beyond `drain_timeout` until what is left is killed
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
        self._delays: dict[int, float] = {}
        self._restarts: dict[int, IDelayedCall] = {}
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
            for index in range(1, self._size + 1):
                self._spawn(index)
            await gatherResults([worker.started for worker in self.workers], consumeErrors=True)
        except BaseException as error:  # noqa: BLE001 (it is raised again)
            self._stopping = True
            for worker in self.workers:
                worker.drain()
            raise _cause_of(error) from None
        self._running = True
        self._update()

    async def stop(self) -> None:
        """Has them drain, and end; newcomers are handed over meanwhile, and rejected there (2,3,1)."""
        self._stopping = True
        for restart in self._restarts.values():
            restart.cancel()
        self._restarts.clear()
        if self.control is not None and self._running:
            self.control.shutting_down()
        seconds = self.slots.config.drain_timeout + _GRACE
        killing = self._reactor.callLater(seconds, self._kill, seconds)
        for worker in self.workers:
            worker.drain()
        await gatherResults([worker.gone for worker in self.workers])
        if killing.active():
            killing.cancel()
        self._drop_waiting()
        if self._store is not None:
            self._store.close()
        await self.ports.close()

    def abort_all(self) -> None:
        """See `Served`."""
        for worker in self.workers:
            worker.abort_all()

    def _kill(self, seconds: float) -> None:
        for worker in self.workers:
            if worker.state != "ended":
                _log.warn(
                    "worker {worker} (process {process}) has not ended within {seconds:g} s: it is killed",
                    worker=worker.index,
                    process=worker.process,
                    seconds=seconds,
                )
                worker.kill()

    def _spawn(self, index: int) -> None:
        worker = Worker(self._reactor, self, index, self._lines_of(index))
        worker.changes = self._changed  # amid one, it begins with what was before
        worker.spawn(self._start_of(index, next(self._processes) * _NUMBERS).values())
        self._workers[index] = worker
        _log.info("worker {worker} is process {process}", worker=index, process=worker.process)

    # -- what workers do -----------------------------------------------------------------------------------------------

    async def ready(self, worker: Worker) -> None:
        """See `Owner`."""
        if worker.changes != self._changes:  # since it has begun
            await worker.ask(commands.Apply, self._seconds_to_take, text=self._text)
        if self.control is not None:
            await self.control.welcome(worker)
        worker.started.addCallback(lambda _: self._update())

    def take_slot(self, worker: Worker, number: int, calling_ae: str) -> bool:
        """See `Owner`."""
        granted = self.slots.admit(number, calling_ae) is None
        self.total += granted
        return granted

    def free_slot(self, worker: Worker, number: int) -> None:
        """See `Owner`."""
        self._of_number.pop(number, None)
        self.slots.leave(number)

    def exited(self, worker: Worker, why: str) -> None:
        """See `Owner`."""
        lost = worker.connections
        for number in list(worker.numbers):
            worker.free_slot(number)
        if self.control is not None:
            self.control.lost(worker)
        self._update()
        worker.started.addErrback(self._not_started, worker)
        if self._stopping or not (self._running or worker.started.called):
            level = _log.info if why == "status 0" else _log.warn
            level("worker {worker} has ended: {why}", worker=worker.index, why=why)
            return
        delay = self._delay(worker)
        _log.error(
            "worker {worker} (process {process}) has ended: {why}; its {count} connections are lost; it is started"
            " again {when}",
            worker=worker.index,
            process=worker.process,
            why=why,
            count=lost,
            when=f"in {delay:g} s" if delay else "at once",
        )
        self._restarts[worker.index] = self._reactor.callLater(delay, self._restart, worker.index)

    def _not_started(self, failure: Failure, worker: Worker) -> None:
        """Of one that is started again; at the first start the whole server ends."""
        if not self._stopping:
            sentence = failure.getErrorMessage()
            _log.error("worker {worker} could not start: {sentence}", worker=worker.index, sentence=sentence)

    def _delay(self, worker: Worker) -> float:
        """Seconds until the next one: those that end at once must not keep the machine busy."""
        delay = 0.0
        if self._reactor.seconds() - worker.born < _SHORT_LIFE:
            delay = min(max(_FIRST_DELAY, 2 * self._delays.get(worker.index, 0.0)), _LONGEST_DELAY)
        self._delays[worker.index] = delay
        return delay

    def _restart(self, index: int) -> None:
        del self._restarts[index]
        try:
            self._spawn(index)
        except OSError as error:
            _log.error("worker {worker} cannot be started: {why}", worker=index, why=error.strerror or str(error))
            self._restarts[index] = self._reactor.callLater(_LONGEST_DELAY, self._restart, index)

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
        """Gives a connection to the worker with the fewest of those that take one."""
        number = next(self._numbers)
        for worker in sorted(self._open(), key=lambda one: one.connections):
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
