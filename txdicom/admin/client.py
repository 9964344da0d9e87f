"""The administrator's side: one method a command, and a function that is called with the events."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.amp import AmpBox, IResponderLocator
from zope.interface import implementer

from txdicom.admin import commands
from txdicom.admin.link import Link
from txdicom.errors import Conflict, ConnectionFailed
from txdicom.interfaces.ae_titles import VALUES, AEEntry
from txdicom.interfaces.control import (
    AddinInfo,
    AddinOptions,
    AddinReport,
    Applied,
    ConnectedClient,
    ControlEvent,
    ServerStatus,
    ServiceAnswer,
    WorkerStatus,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from twisted.protocols.amp import Command

_log = Logger()
_T = TypeVar("_T")

#: seconds for the connection, and for each answer
CONNECT_TIMEOUT: Final = 10.0
ANSWER_TIMEOUT: Final = 30.0
#: entries of the pages in which lists are fetched
_PAGE: Final = 500


def connect(
    reactor: Any, path: str, *, connect_timeout: float = CONNECT_TIMEOUT, timeout: float = ANSWER_TIMEOUT
) -> Deferred[Administrator]:
    """Connects to the server whose administrative socket is `path`; `timeout` is for each answer, in seconds.

    Errors: ConnectionFailed where no server answers, Conflict where it has as many administrators as it may.
    """

    async def run() -> Administrator:
        endpoint = UNIXClientEndpoint(reactor, path, timeout=connect_timeout)
        administrator = Administrator(reactor, timeout)
        try:
            await endpoint.connect(Factory.forProtocol(lambda: administrator.link))
        except ConnectError as error:
            raise ConnectionFailed(f"no server answers at {path}: {error}") from None
        try:
            await administrator.version()
        except BaseException:
            await administrator.close()
            raise
        return administrator

    return Deferred.fromCoroutine(run())


class Administrator:
    """A link to a running server.

    Every method returns a Deferred, which fails with `BadArgument`, `NotFound`, `Conflict`, `TooLarge` or
    `InternalError` of `txdicom.errors` as the server says, with TimeoutError where it says nothing in time, and with
    `ConnectionFailed` where the link is gone. It can be cancelled: then the answer is dropped. `locator` adds what
    answers the server to what takes its events.
    """

    def __init__(
        self,
        clock: Any,
        timeout: float = ANSWER_TIMEOUT,
        *,
        locator: Callable[[IResponderLocator], IResponderLocator] | None = None,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._on_event: Callable[[ControlEvent], object] | None = None
        self._refusal = ""
        self._ended = False
        self._waiting: list[Deferred[None]] = []
        events = _Events(self)
        self.link = Link(clock, locator(events) if locator is not None else events, self._lost)

    # -- the link ------------------------------------------------------------------------------------------------------

    def close(self) -> Deferred[None]:
        """Ends the link; fires when it is gone."""
        self.link.close()
        return self.when_lost()

    def when_lost(self) -> Deferred[None]:
        """Fires when the link is gone, whichever side has ended it."""
        done: Deferred[None] = Deferred()
        if self._ended:
            done.callback(None)
        else:
            self._waiting.append(done)
        return done

    def _lost(self, link: Link, why: str) -> None:
        self._ended = True
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            if not done.called:
                done.callback(None)

    def refused(self, why: str) -> None:
        """The server has said that it takes no further administrator."""
        self._refusal = why
        self.link.drop("")

    def happened(self, event: ControlEvent) -> None:
        """The server has told an event."""
        if self._on_event is not None:
            self._on_event(event)

    def call(self, command: type[Command], **arguments: Any) -> Deferred[dict[str, Any]]:
        """Asks for a command; the methods below do it for those that there are."""
        return Deferred.fromCoroutine(self._asked(command, arguments))

    async def _asked(self, command: type[Command], arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = maybeDeferred(self.link.call, command, **arguments)
            return await answer.addTimeout(self._timeout, self._clock)
        except TooLate:
            raise TimeoutError(f"no answer to {command.__name__} within {self._timeout:g} s") from None
        except ConnectionClosed as error:
            if self._refusal:
                raise Conflict(self._refusal) from None
            raise ConnectionFailed(f"the link to the server is gone: {error}") from None

    def _get(self, command: type[Command], take: Callable[[dict[str, Any]], _T], **arguments: Any) -> Deferred[_T]:
        return self.call(command, **arguments).addCallback(take)

    def _do(self, command: type[Command], **arguments: Any) -> Deferred[None]:
        return self._get(command, lambda answer: None, **arguments)

    def _all(self, command: type[Command], key: str, make: Callable[[dict[str, Any]], _T]) -> Deferred[list[_T]]:
        async def run() -> list[_T]:
            found: list[dict[str, Any]] = []
            more, after = True, None
            while more:
                answer = await self.call(command, after=after, limit=_PAGE)
                found += answer["page"]
                more = answer["more"] and bool(answer["page"])
                after = found[-1][key] if found else None
            return [make(values) for values in found]

        return Deferred.fromCoroutine(run())

    # -- the server ----------------------------------------------------------------------------------------------------

    def version(self) -> Deferred[dict[str, str]]:
        """The versions of txdicom, Twisted, Python and others, by name."""
        return self._get(commands.Version, lambda answer: answer["versions"])

    def status(self) -> Deferred[ServerStatus]:
        """How the server is."""
        return self._get(commands.GetStatus, lambda answer: _status(answer["status"]))

    def settings(self) -> Deferred[dict[str, dict[str, Any]]]:
        """The settings in force, by table and name."""
        return self._get(commands.GetSettings, lambda answer: answer["settings"])

    def set_settings(self, values: Mapping[str, Mapping[str, Any]]) -> Deferred[Applied]:
        """Changes settings, by table and name, in server.toml and, as far as possible, at once."""
        return self._get(commands.SetSettings, _applied, settings=_plain(values))

    def pause(self) -> Deferred[None]:
        """Has new associations rejected; those there are go on."""
        return self._do(commands.Pause)

    def resume(self) -> Deferred[None]:
        """Has associations accepted again."""
        return self._do(commands.Resume)

    def stop(self, *, force: bool = False) -> Deferred[None]:
        """Stops the server; fires when it has begun to. With `force`, running operations are aborted."""
        return self._do(commands.Stop, force=force)

    def collect_garbage(self) -> Deferred[int]:
        """Has the server look for memory that nothing uses; fires with the number of objects found."""
        return self._get(commands.CollectGarbage, lambda answer: answer["collected"])

    # -- AE titles -----------------------------------------------------------------------------------------------------

    def ae_titles(self) -> Deferred[list[AEEntry]]:
        """All AE titles, in the order of their letters."""
        return self._all(commands.GetAeTitles, "ae_title", _entry)

    def add_ae_title(self, ae_title: str, **values: Any) -> Deferred[None]:
        """Adds an AE title with these values of an `AEEntry`."""
        return self._do(commands.AddAeTitle, entry={**values, "ae_title": ae_title})

    def update_ae_title(self, ae_title: str, values: Mapping[str, Any]) -> Deferred[None]:
        """Changes these values of an AE title; `ae_title` among them renames it."""
        return self._do(commands.UpdateAeTitle, ae_title=ae_title, entry=dict(values))

    def remove_ae_title(self, ae_title: str) -> Deferred[None]:
        """Removes an AE title."""
        return self._do(commands.RemoveAeTitle, ae_title=ae_title)

    # -- clients -------------------------------------------------------------------------------------------------------

    def clients(self) -> Deferred[list[ConnectedClient]]:
        """All connections of peers, in the order of their coming."""
        return self._all(commands.GetConnectedClients, "id", lambda values: _made(ConnectedClient, values))

    def client_association(self, number: int) -> Deferred[str]:
        """What was negotiated with a client, as text of several lines."""
        return self._get(commands.GetClientAssociation, lambda answer: answer["text"], id=number)

    def total_clients(self) -> Deferred[dict[str, int]]:
        """`connections` and `associations` now, and `total`: associations since the start."""
        return self.call(commands.GetTotalClients)

    def disconnect_client(self, number: int) -> Deferred[None]:
        """Aborts a client's association and closes its connection."""
        return self._do(commands.DisconnectClient, id=number)

    # -- add-ins -------------------------------------------------------------------------------------------------------

    def addins(self) -> Deferred[list[AddinInfo]]:
        """The add-ins that take part, in the order of their names."""
        return self._all(commands.GetAddins, "name", lambda values: _made(AddinInfo, values))

    def addin_options(self, name: str) -> Deferred[AddinOptions]:
        """The settings of an add-in, and their JSON Schema."""
        return self._get(commands.GetAddinOptions, lambda answer: _made(AddinOptions, answer), name=name)

    def set_addin_options(self, name: str, values: Mapping[str, Any]) -> Deferred[Applied]:
        """Changes settings of an add-in, by key, in their file and at once; None takes one out of the file."""
        return self._get(commands.SetAddinOptions, _applied, name=name, values=dict(values))

    def addin_health(self, name: str) -> Deferred[AddinReport]:
        """Whether an add-in works."""
        return self._get(commands.IsAddinHealthy, lambda answer: _made(AddinReport, answer), name=name)

    def service_message(self, name: str, data: Any = None) -> Deferred[ServiceAnswer]:
        """Hands a private message to the add-in that takes it."""
        return self._get(commands.ServiceMessage, lambda answer: _made(ServiceAnswer, answer), name=name, data=data)

    # -- events --------------------------------------------------------------------------------------------------------

    def subscribe(
        self, on_event: Callable[[ControlEvent], object], events: Collection[str] | None = None
    ) -> Deferred[None]:
        """Has `on_event` called with each event of these names (`txdicom.interfaces.control.EVENTS`); None: all.

        It stands in the place of an earlier one. What it raises is logged.
        """
        self._on_event = on_event
        return self._do(commands.Subscribe, events=None if events is None else list(events))

    def unsubscribe(self, events: Collection[str] | None = None) -> Deferred[None]:
        """Has events of these names not told any more; None: none."""
        return self._do(commands.Unsubscribe, events=None if events is None else list(events))


@implementer(IResponderLocator)
class _Events:
    """Takes what a server tells by itself; what is unknown comes from a newer one, and is left alone."""

    def __init__(self, administrator: Administrator) -> None:
        self._administrator = administrator

    def locateResponder(self, name: bytes) -> Callable[[AmpBox], Deferred[AmpBox]]:  # noqa: N802 (Twisted's name)
        """See `IResponderLocator`."""
        text = name.decode("ascii", "replace")

        def take(box: AmpBox) -> Deferred[AmpBox]:
            if name == commands.Refused.commandName:
                self._administrator.refused(str(_data(commands.Refused, box)))
            elif text in commands.EVENT_COMMANDS:
                data = _data(commands.EVENT_COMMANDS[text], box)
                try:
                    self._administrator.happened(ControlEvent(name=text, data=data))
                except Exception:  # noqa: BLE001 (a mistake of who listens must not end the link)
                    _log.failure("what was to be called at {name} has failed", name=text)
            return succeed(AmpBox())

        return take


def _data(command: Any, box: AmpBox) -> Any:
    return command.parseArguments(box, None)["data"]


def _made(kind: type[_T], values: Mapping[str, Any]) -> _T:
    """A dataclass of what has come; names that it has not are a newer server's."""
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if name in names})


def _status(values: Mapping[str, Any]) -> ServerStatus:
    workers = [_made(WorkerStatus, one) for one in values.get("workers", ())]
    return _made(ServerStatus, {**values, "workers": workers})


def _plain(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {table: dict(named) for table, named in values.items()}


def _applied(answer: dict[str, Any]) -> Applied:
    return _made(Applied, {name: tuple(names) for name, names in answer["applied"].items()})


def _entry(values: Mapping[str, Any]) -> AEEntry:
    last = values.get("last_access")
    return AEEntry(
        ae_title=values["ae_title"],
        last_access=None if last is None else datetime.fromtimestamp(last, UTC),
        **{name: values[name] for name in VALUES if name in values},
    )
