"""A server of several processes as its administrators see it: `IServerControl` in the parent, over all workers.

What only a worker knows it is asked, all of them at once. One that has not answered in time holds nothing up: where its
answer is needed, InternalError names it; else the answer comes without its part.
"""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.logger import Logger
from zope.interface import implementer

from txdicom.errors import ConnectionFailed, DicomError, InternalError, NotFound
from txdicom.interfaces.ae_titles import entry_of
from txdicom.interfaces.control import (
    AddinReport,
    ControlEvent,
    IServerControl,
    ServerStatus,
    ServiceAnswer,
    WorkerStatus,
)
from txdicom.server.control.clients import Listeners
from txdicom.server.control.control import settings_values, versions
from txdicom.server.workers.titles import TitlesTold

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from txdicom.interfaces import AEEntry
    from txdicom.interfaces.control import (
        AddinInfo,
        AddinOptions,
        Applied,
        ConnectedClient,
        ServiceMessage,
    )
    from txdicom.server.settings.live import LiveSettings
    from txdicom.server.workers.pool import Workers
    from txdicom.server.workers.process import Worker

_log = Logger()

#: seconds that a worker has for an answer it knows at once; an administrator waits for 30 altogether
PATIENCE: Final = 10.0
#: and for one that an add-in gives
LONG_PATIENCE: Final = 25.0
#: seconds for which the AE titles of all workers hold: who lists them asks page by page
_RECENT: Final = 1.0
#: what workers tell; the other events are the parent's
_FORWARDED: Final = ("ClientConnected", "ClientAssociated", "ClientAction", "ClientDisconnected", "AeTitlesChanged")


@implementer(IServerControl)
class WorkersControl:
    """See `IServerControl`. `stop` is what stops the server: called with whether operations are aborted.

    The pool calls `welcome` with each worker that has become ready and waits for it before connections go there, and
    `lost` with each that has ended. `ports` says where the server listens,
    `ae_file` is the file of the AE titles.
    """

    def __init__(
        self,
        reactor: Any,
        pool: Workers,
        live: LiveSettings,
        ports: Callable[[], list[str]],
        stop: Callable[[bool], None],
        ae_file: str,
    ) -> None:
        self._reactor = reactor
        self._pool = pool
        self._live = live
        self._ports = ports
        self._stop = stop
        self._started = time.time()
        self._paused = False
        self._stopping = False
        self._lives: Counter[int] = Counter()
        self._listeners = Listeners(on_first=self._listen, on_last=self._hush)
        #: by worker, those clients of which somebody has been told: what was said last
        self._told: dict[int, dict[int, Mapping[str, Any]]] = {}
        self._titles_told = TitlesTold(ae_file)
        self._titles: tuple[float, Deferred[list[AEEntry] | DicomError]] | None = None
        live.watch(self._settings_changed)

    # -- the workers ---------------------------------------------------------------------------------------------------

    async def welcome(self, worker: Worker) -> None:
        """A worker has begun to answer: it gets the state that the others have. InternalError where it does not."""
        self._lives[worker.index] += 1
        if self._paused:
            await self._ask(worker, "pause")
        if self._listeners:
            await self._subscribe(worker)

    def lost(self, worker: Worker) -> None:
        """A worker has ended, and with it its clients."""
        for data in self._told.pop(worker.index, {}).values():
            event = ControlEvent(name="ClientDisconnected", data={**data, "outcome": "its worker process has ended"})
            self._listeners.tell(event)

    def _ready(self) -> list[Worker]:
        return [worker for worker in self._pool.workers if worker.administrator is not None]

    def _first(self) -> Worker:
        for worker in self._ready():
            return worker
        raise InternalError("no worker is ready: they are being started; try again")

    async def _ask(
        self,
        worker: Worker,
        method: str,
        *arguments: Any,
        values: Mapping[str, Any] | None = None,
        seconds: float = PATIENCE,
    ) -> Any:
        """What a worker answers. Its own errors come as they are."""
        name = f"worker {worker.index} (process {worker.process})"
        if worker.administrator is None:
            raise InternalError(f"{name} is not there any more")
        try:
            answer = maybeDeferred(getattr(worker.administrator, method), *arguments, **(values or {}))
            return await answer.addTimeout(seconds, self._reactor)
        except (TooLate, TimeoutError):
            raise InternalError(f"{name} has not answered within {seconds:g} s") from None
        except ConnectionFailed:
            raise InternalError(f"{name} has ended meanwhile") from None
        except InternalError as error:
            raise InternalError(f"{name}: {error}") from None

    async def _each(self, method: str, *arguments: Any, seconds: float = PATIENCE) -> list[tuple[Worker, Any]]:
        """Those that are ready, and what each of them answers, or the DicomError in its place."""

        async def one(worker: Worker) -> Any:
            try:
                return await self._ask(worker, method, *arguments, seconds=seconds)
            except DicomError as error:
                return error

        ready = self._ready()
        asked = [Deferred.fromCoroutine(one(worker)) for worker in ready]
        answers: list[Any] = []
        for success, answer in await DeferredList(asked, consumeErrors=True):
            if not success:
                answer.raiseException()
            answers.append(answer)
        return list(zip(ready, answers, strict=True))

    async def _all(self, method: str, *arguments: Any, seconds: float = PATIENCE) -> list[tuple[Worker, Any]]:
        """Those that are ready, and what they answer; the first error where there is any."""
        answers = await self._each(method, *arguments, seconds=seconds)
        for _, answer in answers:
            if isinstance(answer, DicomError):
                raise answer
        return answers

    # -- the server ----------------------------------------------------------------------------------------------------

    def version(self) -> dict[str, str]:
        """See `IServerControl`."""
        return versions()

    async def status(self) -> ServerStatus:
        """See `IServerControl`."""
        silent = {worker.index for worker, answer in await self._each("status") if isinstance(answer, DicomError)}
        workers = [
            WorkerStatus(
                index=worker.index,
                process=None if worker.state == "ended" else worker.process,
                state=self._state(worker, silent),
                connections=worker.connections,
                restarts=max(0, self._lives[worker.index] - 1),
            )
            for worker in self._pool.workers
        ]
        server = self._live.settings.server
        return ServerStatus(
            ae_title=server.ae_title,
            display_name=server.display_name,
            state=self._whole_state(),
            process=os.getpid(),
            started=self._started,
            ports=self._ports(),
            connections=sum(worker.connections for worker in workers),
            associations=self._pool.associations,
            total=self._pool.total,
            workers=workers,
        )

    def _whole_state(self) -> str:
        return "stopping" if self._stopping else "paused" if self._paused else "running"

    def _state(self, worker: Worker, silent: set[int]) -> str:
        if worker.state == "draining":
            return "stopping"
        if worker.administrator is None:
            return "starting"
        return "silent" if worker.index in silent else self._whole_state()

    def settings(self) -> dict[str, dict[str, Any]]:
        """See `IServerControl`."""
        return settings_values(self._live.settings)

    def set_settings(self, values: Mapping[str, Mapping[str, Any]]) -> Awaitable[Applied]:
        """See `IServerControl`."""
        return self._live.set(values)

    async def pause(self) -> None:
        """See `IServerControl`."""
        self._paused = True
        await self._all("pause")

    async def resume(self) -> None:
        """See `IServerControl`."""
        self._paused = False
        await self._all("resume")

    def stop(self, force: bool) -> None:
        """See `IServerControl`; the answer goes out before the stop begins."""
        self._reactor.callLater(0, self._stop, force)

    async def collect_garbage(self) -> int:
        """See `IServerControl`."""
        collected: list[int] = [count for _, count in await self._all("collect_garbage")]
        return gc.collect() + sum(collected)

    def shutting_down(self) -> None:
        """The server begins to stop: administrators are told. The workers tell their add-ins."""
        self._stopping = True
        self._listeners.tell(ControlEvent(name="ServiceShuttingDown", data={}))

    # -- events --------------------------------------------------------------------------------------------------------

    def subscribe(self, listener: Callable[[ControlEvent], object]) -> Callable[[], None]:
        """See `IServerControl`."""
        return self._listeners.subscribe(listener)

    def _listen(self) -> None:
        for worker in self._ready():
            self._unasked(self._subscribe(worker))

    def _hush(self) -> None:
        self._told.clear()
        for worker in self._ready():
            self._unasked(self._ask(worker, "unsubscribe"))

    def _unasked(self, asking: Any) -> None:
        """Has a worker asked what nobody waits for."""
        Deferred.fromCoroutine(asking).addErrback(
            lambda failure: _log.warn("events of clients are missing: {why}", why=failure.getErrorMessage())
        )

    async def _subscribe(self, worker: Worker) -> None:
        await self._ask(worker, "subscribe", lambda event: self._happened(worker, event), _FORWARDED)

    def _happened(self, worker: Worker, event: ControlEvent) -> None:
        if "id" in event.data:
            told = self._told.setdefault(worker.index, {})
            if event.name == "ClientDisconnected":
                told.pop(event.data["id"], None)
            else:
                told[event.data["id"]] = event.data
        if event.name != "AeTitlesChanged" or self._titles_told.are_new(event.data["ae_titles"]):
            self._listeners.tell(event)

    def _settings_changed(self, applied: Applied) -> None:
        self._listeners.tell(ControlEvent(name="SettingsChanged", data=asdict(applied)))

    # -- AE titles -----------------------------------------------------------------------------------------------------

    async def add_ae_title(self, values: Mapping[str, Any]) -> None:
        """See `IServerControl`; a worker does it, and the others see the new table."""
        ae_title = entry_of(values).ae_title
        others = {name: value for name, value in values.items() if name != "ae_title"}
        await self._change_titles("add_ae_title", ae_title, values=others)

    async def update_ae_title(self, ae_title: str, values: Mapping[str, Any]) -> None:
        """See `IServerControl`."""
        await self._change_titles("update_ae_title", ae_title, values)

    async def remove_ae_title(self, ae_title: str) -> None:
        """See `IServerControl`."""
        await self._change_titles("remove_ae_title", ae_title)

    async def _change_titles(self, method: str, *arguments: Any, values: Mapping[str, Any] | None = None) -> None:
        try:
            await self._ask(self._first(), method, *arguments, values=values)
        finally:
            self._titles = None

    async def ae_titles(self) -> Sequence[AEEntry]:
        """See `IServerControl`; each with its last access at any of the workers."""
        self._first()
        now = self._reactor.seconds()
        if self._titles is None or now - self._titles[0] >= _RECENT:
            self._titles = now, Deferred.fromCoroutine(self._merged_titles())
        waiting: Deferred[list[AEEntry] | DicomError] = Deferred()
        self._titles[1].addBoth(_pass_on, waiting)
        answer = await waiting
        if isinstance(answer, DicomError):
            self._titles = None
            raise answer
        return answer

    async def _merged_titles(self) -> list[AEEntry] | DicomError:
        """All, or why there are none."""
        first, *others = [answer for _, answer in await self._each("ae_titles")]
        if isinstance(first, DicomError):
            return first
        accessed: dict[str, datetime] = {}
        for entries in (first, *(one for one in others if not isinstance(one, DicomError))):
            for entry in entries:
                if entry.last_access is not None:
                    accessed[entry.ae_title] = max(entry.last_access, accessed.get(entry.ae_title, entry.last_access))
        return [replace(entry, last_access=accessed.get(entry.ae_title)) for entry in first]

    # -- clients -------------------------------------------------------------------------------------------------------

    async def clients(self) -> list[ConnectedClient]:
        """See `IServerControl`."""
        found = [client for _, clients in await self._all("clients") for client in clients]
        return sorted(found, key=lambda client: client.id)

    async def client_association(self, number: int) -> str:
        """See `IServerControl`."""
        text: str = await self._ask(self._worker_of(number), "client_association", number)
        return text

    async def disconnect_client(self, number: int) -> None:
        """See `IServerControl`."""
        await self._ask(self._worker_of(number), "disconnect_client", number)

    def _worker_of(self, number: int) -> Worker:
        worker = self._pool.worker_of(number)
        if worker is None:
            raise NotFound(f"there is no client {number}")
        return worker

    # -- add-ins -------------------------------------------------------------------------------------------------------

    async def addins(self) -> list[AddinInfo]:
        """See `IServerControl`; all workers have the same."""
        found: list[AddinInfo] = await self._ask(self._first(), "addins")
        return found

    async def addin_options(self, name: str) -> AddinOptions:
        """See `IServerControl`."""
        options: AddinOptions = await self._ask(self._first(), "addin_options", name)
        return options

    def set_addin_options(self, name: str, values: Mapping[str, Any]) -> Awaitable[Applied]:
        """See `IServerControl`."""
        return self._live.set_addin_options(name, values)

    async def addin_health(self, name: str) -> AddinReport:
        """See `IServerControl`: it works if it does in every worker."""
        self._first()
        healthy, sentences = True, []
        for worker, report in await self._each("addin_health", name, seconds=LONG_PATIENCE):
            if isinstance(report, NotFound):
                raise report
            if isinstance(report, DicomError):
                healthy = False
                sentences.append(str(report))
            else:
                healthy = healthy and report.healthy
                sentences += [f"worker {worker.index}: {sentence}" for sentence in report.sentences]
        return AddinReport(healthy=healthy, sentences=sentences)

    async def service_message(self, message: ServiceMessage) -> ServiceAnswer:
        """See `IServerControl`: every worker gets it. The data are the first's; the error is that of who has one."""
        self._first()
        answers: list[tuple[Worker, ServiceAnswer]]
        answers = await self._all("service_message", message.name, message.data, seconds=LONG_PATIENCE)
        for worker, answer in answers:
            if not answer.success:
                return replace(answer, error=f"worker {worker.index}: {answer.error}")
        return answers[0][1]


def _pass_on(result: Any, waiting: Deferred[Any]) -> Any:
    """Lets one more have what several wait for."""
    waiting.callback(result)
    return result
