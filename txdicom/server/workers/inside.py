"""What a worker does: it serves as its parent says, on the connections that come through the channel."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger, globalLogBeginner
from twisted.protocols.amp import CommandLocator

from txdicom.admin.errors import to_wire
from txdicom.admin.link import Link
from txdicom.admin.responder import Responder
from txdicom.admin.subscriptions import Subscriptions
from txdicom.archive.staging import in_use
from txdicom.errors import BadArgument, DicomError, SettingsError
from txdicom.net.association import Association
from txdicom.server import compose, launch
from txdicom.server.serving import OneProcess, reason_of
from txdicom.server.settings.live import LiveSettings
from txdicom.server.settings.running import EntityTarget
from txdicom.server.settings.tables import Override
from txdicom.server.settings.toml import format_value, parse_value
from txdicom.server.workers import commands
from txdicom.server.workers.arrivals import Arrivals
from txdicom.server.workers.logs import remote_log
from txdicom.server.workers.remote import RemoteSlots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from twisted.protocols.amp import AmpBox, Command
    from twisted.python.failure import Failure


_log = Logger()

#: seconds that running operations have where the parent is gone: its successor waits for what this worker has
_ORPHAN_DRAINS: Final = 5.0
#: whole seconds until an orphan that still is there is ended by the system: nobody else would
_ORPHAN_ENDS: Final = 8
#: seconds in which the orphan of a server before has to let the staging folder go
_FREE_IN: Final = 10.0
_LOOK_AGAIN: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a worker begins with, as JSON has it."""

    #: of which server, and its server.toml in force
    base: str
    ae_title: str
    text: str
    #: each a path, a value in TOML's syntax, and an origin: JSON has no dates
    overrides: list[Any]
    index: int
    #: the number of the first association that this worker requests
    first_number: int

    @classmethod
    def of(cls, path: str, text: str, overrides: Iterable[Override], index: int, first_number: int) -> Start:
        """For the server whose folder is `path`."""
        base, ae_title = os.path.split(path)
        written = [[list(one.path), format_value(one.value), one.origin] for one in overrides]
        return cls(base=base, ae_title=ae_title, text=text, overrides=written, index=index, first_number=first_number)

    def values(self) -> dict[str, Any]:
        """As they are sent."""
        return asdict(self)

    def prepared(self) -> compose.Prepared:
        """The server."""
        overrides = [Override(tuple(path), parse_value(value), origin) for path, value, origin in self.overrides]
        return compose.prepare_worker(self.base, self.ae_title, self.text, overrides, self.index)


class Serving:
    """One worker. It ends by stopping the reactor; `status` is that of the process then."""

    def __init__(self, reactor: Any, channel: socket.socket, log_fd: int) -> None:
        self.status = 0
        self.responder: Responder | None = None
        self.link = _ParentLink(reactor, _Answers(self), self._lost)
        self._reactor = reactor
        self._log_fd = log_fd
        self._arrivals = Arrivals(reactor, channel, self.drain, lambda: self._tell(commands.Exhausted))
        self._starting: Deferred[None] | None = None
        self._served: OneProcess | None = None
        self._live: LiveSettings | None = None
        self._target: EntityTarget | None = None
        self._ending = False
        self._ended = False

    def connect(self, link_fd: int) -> None:
        """The link to the parent is this descriptor."""
        self._reactor.adoptStreamConnection(link_fd, socket.AF_UNIX, Factory.forProtocol(lambda: self.link))
        os.close(link_fd)

    # -- what the parent says ------------------------------------------------------------------------------------------

    def begin(self, values: Mapping[str, Any]) -> None:
        """See `commands.Begin`."""
        self._starting = Deferred.fromCoroutine(self._start(Start(**values)))

    async def _start(self, start: Start) -> None:
        try:
            await self._run(start)
        except CancelledError:
            return
        except Exception as error:  # noqa: BLE001 (an add-in's load raises what it likes)
            if not isinstance(error, DicomError | OSError):
                _log.failure("the start failed")
            self._tell(commands.Failed, sentence=reason_of(error))
            self.status = 1
            self.drain()
        else:
            launch.settle()
            self._tell(commands.Ready)

    async def _run(self, start: Start) -> None:
        prepared = start.prepared()
        log = remote_log(self._log_fd, prepared.settings.log)
        globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False)
        Association.numbers = count(start.first_number)
        entity = compose.make_entity(prepared, self._reactor)
        entity.acceptor.slots = RemoteSlots(self.link)
        compose.connect_log(prepared, entity, log)
        self._target = EntityTarget(self._reactor, entity, log, prepared.security)
        self._live = LiveSettings(prepared.folder, prepared.settings, prepared.text, prepared.overrides, self._target)
        served = self._served = OneProcess(entity, log)
        control = served.administered(self._reactor, self._live, lambda force: self.drain())
        self.responder = _Responder(control, Subscriptions(control))
        self.responder.link = self.link  # type: ignore[assignment]  # it does what is asked of a ServerLink
        await wait_for_folder(self._reactor, prepared.settings.server.temporary_directory)
        await served.start()
        self._arrivals.begin(entity)

    def drain(self) -> None:
        """See `commands.Drain`."""
        if not self._ending:
            self._ending = True
            Deferred.fromCoroutine(self._stop()).addErrback(self._failed).addCallback(lambda _: self._end())

    async def _stop(self) -> None:
        if self._starting is not None and not self._starting.called:
            self._starting.cancel()
        if self._served is not None:
            await self._served.stop()

    def _failed(self, failure: Failure) -> None:
        _log.failure("the stop failed", failure)
        self.status = 1

    def _end(self) -> None:
        self._ended = True
        self._arrivals.close()
        if self.link.open:
            self.link.close()  # what was said last has to arrive
        else:
            self._reactor.stop()

    def _lost(self, link: Link, why: str) -> None:
        """The parent is gone, or has been told all."""
        if not self._ended:
            signal.alarm(_ORPHAN_ENDS)
        if self._ending:
            self._stop_reactor()
        else:
            _log.error("the parent process is gone: this worker ends")
            if self._served is not None:
                entity = self._served.entity
                seconds = min(entity.config.drain_timeout, _ORPHAN_DRAINS)
                entity.reconfigure(replace(entity.config, drain_timeout=seconds), {})
            self.drain()

    def _stop_reactor(self) -> None:
        if self._reactor.running:
            self._reactor.stop()

    def abort_all(self) -> None:
        """See `commands.AbortAll`."""
        if self._served is not None:
            self._served.abort_all()

    async def apply(self, text: str) -> dict[str, Any]:
        """See `commands.Apply`."""
        assert self._live is not None
        try:
            applied = await self._live.take(text)
        except SettingsError as error:
            raise BadArgument(error.problems) from None  # which the link knows
        return {"changed": list(applied.changed), "restart": list(applied.restart)}

    async def reload_files(self) -> dict[str, Any]:
        """See `commands.ReloadFiles`."""
        assert self._target is not None
        try:
            await self._target.reload_files()
        except SettingsError as error:
            raise BadArgument(error.problems) from None
        return {}

    def _tell(self, command: type[Command], **arguments: Any) -> None:
        if self.link.open:
            self.link.call(command, **arguments)


async def wait_for_folder(reactor: Any, folder: str) -> None:
    """Lets a worker whose parent is gone finish: it has the staging folder until then.

    One that takes too long, or is no such worker, is told of by whoever takes the folder.
    """
    until = reactor.seconds() + _FREE_IN
    while in_use(folder) and reactor.seconds() < until:
        await deferLater(reactor, _LOOK_AGAIN)


class _ParentLink(Link):
    """The worker's end of the link: the parent reads, so that nothing needs a limit."""

    #: whose commands these are is in the parent's audit log
    user = None

    def begun(self) -> None:
        """A command is being answered."""

    def done(self) -> None:
        """A command is answered."""

    def send_event(self, data: bytes) -> None:
        """A serialized box that nobody answers."""
        if self.open:
            self.transport.write(data)  # type: ignore[union-attr]


class _Responder(Responder):
    """Answers what the parent asks as an administrator."""

    def _audit(self, command: type[Command], arguments: dict[str, Any]) -> None:
        """The parent has done so."""


class _Answers(CommandLocator):
    """Finds what answers the parent: to its own commands, and to those of administrators."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def locateResponder(self, name: bytes) -> Callable[[AmpBox], Deferred[AmpBox]] | None:  # noqa: N802 (Twisted's name)
        """See `IResponderLocator`."""
        found: Any = super().locateResponder(name)  # type: ignore[no-untyped-call]
        if found is None and self._serving.responder is not None:
            found = self._serving.responder.locateResponder(name)
        return found  # type: ignore[no-any-return]

    @commands.Begin.responder
    def _begin(self, start: Any) -> dict[str, Any]:
        self._serving.begin(start)
        return {}

    @commands.Drain.responder
    def _drain(self) -> dict[str, Any]:
        self._serving.drain()
        return {}

    @commands.AbortAll.responder
    def _abort_all(self) -> dict[str, Any]:
        self._serving.abort_all()
        return {}

    @commands.Ping.responder
    def _ping(self) -> dict[str, Any]:
        return {}

    @commands.Apply.responder
    def _apply(self, text: Any) -> Deferred[dict[str, Any]]:
        return Deferred.fromCoroutine(_on_the_wire(self._serving.apply(str(text))))

    @commands.ReloadFiles.responder
    def _reload_files(self) -> Deferred[dict[str, Any]]:
        return Deferred.fromCoroutine(_on_the_wire(self._serving.reload_files()))


async def _on_the_wire(asked: Any) -> dict[str, Any]:
    """What a command answers; an error of ours keeps its text."""
    try:
        answer: dict[str, Any] = await asked
    except DicomError as error:
        wire = to_wire(error)
        assert wire is not None
        raise wire from error
    return answer
