"""What an administrator may ask of a running server, what he is told of it, and how add-ins take part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Mapping

#: the names of the events that an administrator can subscribe to; what comes with each is a mapping
EVENTS: Final[Mapping[str, str]] = {
    "ClientConnected": "a peer has connected; with the values of its `ConnectedClient`",
    "ClientAssociated": "its association was accepted; with the values of its `ConnectedClient`",
    "ClientAction": "it has asked for something; with the values of its `ConnectedClient`, once a second at most",
    "ClientDisconnected": "it is gone; with the values of its `ConnectedClient`, and `outcome`, a sentence",
    "AeTitlesChanged": "AE titles have changed; with `ae_titles`, a list of those concerned",
    "SettingsChanged": "settings have changed; with the values of an `Applied`: names only",
    "ServiceShuttingDown": "the server stops, beginning now; with nothing",
}


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """How one of the processes is that do a server's work. `index` counts from 1 and stays when it is started again."""

    index: int
    #: its process id; None while there is none
    process: int | None
    #: starting, running, paused, stopping, or silent: it does not answer
    state: str
    connections: int
    #: how often it was started again since the server's start
    restarts: int


@dataclass(frozen=True, kw_only=True)
class ServerStatus:
    """How a server is. Times are in seconds since 1970."""

    ae_title: str
    display_name: str
    #: running, paused or stopping
    state: str
    process: int
    started: float
    #: where it listens, as text
    ports: list[str]
    #: connections now, those of them with an association, and associations since the start
    connections: int
    associations: int
    total: int
    #: the processes that do its work; none where it does all itself
    workers: list[WorkerStatus] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ConnectedClient:
    """A connection of a peer. Times are in seconds since 1970; `id` is the number of the association in the log."""

    id: int
    #: the calling AE title; "" before its A-ASSOCIATE-RQ has come
    ae_title: str
    address: str
    connected: float
    #: what it asked for last, such as C-STORE-RQ, and when it sent anything
    last_action: str
    last_active: float
    messages: int
    bytes_received: int
    bytes_sent: int


@dataclass(frozen=True, kw_only=True)
class AddinInfo:
    """An add-in of a running server."""

    name: str
    version: str
    description: str
    author: str
    has_options: bool


@dataclass(frozen=True, kw_only=True)
class AddinReport:
    """Whether an add-in works. `sentences` say why not, and what else there is to say of it."""

    healthy: bool
    sentences: list[str]


@dataclass(frozen=True, kw_only=True)
class AddinOptions:
    """The settings of an add-in: their values, and their JSON Schema for a form."""

    values: dict[str, Any]
    json_schema: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What became of a change of settings; the names are like server.max_clients and addins.<name>.<key>."""

    #: what is in force now
    changed: tuple[str, ...] = ()
    #: what is written, and is in force after a restart
    restart: tuple[str, ...] = ()
    #: what is written, and is not in force because the command line sets it for this run
    overridden: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ServiceMessage:
    """A private message to an add-in: its name, and data as JSON has them."""

    name: str
    data: Any = None


@dataclass(frozen=True, kw_only=True)
class ServiceAnswer:
    """What became of a `ServiceMessage`: the data of the add-in's answer, or why there is none."""

    success: bool
    error: str = ""
    data: Any = None


@dataclass(frozen=True, kw_only=True)
class ControlEvent:
    """Something that has happened: a name of `EVENTS` and what it comes with."""

    name: str
    data: Mapping[str, Any]


class IProcessServiceMessage(Interface):
    """An add-in that takes messages of administrators, and two of the server itself.

    `ServiceShuttingDown` comes when the server begins to stop. `IsAddinHealthy` comes when an administrator asks for
    the health of this add-in: it answers None where all is well, else a sentence or a list of them.
    """

    def can_process(name):  # type: ignore[no-untyped-def]  # an interface's method
        """Whether `process` takes messages of this name. The first add-in that does gets an administrator's."""

    def process(message):  # type: ignore[no-untyped-def]  # an interface's method
        """Takes a `ServiceMessage` and returns data that JSON has; plain, as a coroutine, or as a Deferred.

        An exception, no answer within `addin_timeout`, and data that JSON has not, are told to whom has asked: of a
        `txdicom.errors.DicomError` its text, of another, which is also logged, that the add-in has failed.
        """


class IServerControl(Interface):
    """A running server as its administrators see it.

    Every method may be plain, a coroutine, or return a Deferred. They raise `NotFound`, `Conflict` and `BadArgument` of
    `txdicom.errors`; any other exception is a mistake of the server and is logged.
    """

    def version():  # type: ignore[no-untyped-def]  # an interface's method
        """The versions of txdicom and of what it runs on: a mapping of texts by name."""

    def status():  # type: ignore[no-untyped-def]  # an interface's method
        """How the server is, a `ServerStatus`."""

    def settings():  # type: ignore[no-untyped-def]  # an interface's method
        """The settings in force: a mapping of the values by name, by table."""

    def set_settings(values):  # type: ignore[no-untyped-def]  # an interface's method
        """Changes settings, a mapping like that of `settings`, in server.toml and, as far as possible, at once.

        Returns an `Applied`. BadArgument has every mistake; then nothing is changed.
        """

    def set_addin_options(name, values):  # type: ignore[no-untyped-def]  # an interface's method
        """Changes these settings of an add-in, by key, in their file and at once; None takes one out of the file.

        Returns an `Applied`. BadArgument has every mistake, and what the add-in says that cannot take them; then
        nothing is changed. NotFound where there is no such add-in, or it has no settings.
        """

    def pause():  # type: ignore[no-untyped-def]  # an interface's method
        """Has new associations rejected (2,3,1) from now on; those there are go on."""

    def resume():  # type: ignore[no-untyped-def]  # an interface's method
        """Has associations accepted again."""

    def stop(force):  # type: ignore[no-untyped-def]  # an interface's method
        """Stops the server, beginning soon; with `force`, running operations are aborted instead of finished."""

    def add_ae_title(values):  # type: ignore[no-untyped-def]  # an interface's method
        """Adds an AE title; `values` are those of an `AEEntry` by name."""

    def update_ae_title(ae_title, values):  # type: ignore[no-untyped-def]  # an interface's method
        """Changes these values of an AE title, which `ae_title` among them renames; the others stay as they are."""

    def remove_ae_title(ae_title):  # type: ignore[no-untyped-def]  # an interface's method
        """Removes an AE title."""

    def ae_titles():  # type: ignore[no-untyped-def]  # an interface's method
        """All AE titles, a sequence of `AEEntry`."""

    def clients():  # type: ignore[no-untyped-def]  # an interface's method
        """All connections of peers, a sequence of `ConnectedClient` in the order of their coming."""

    def client_association(number):  # type: ignore[no-untyped-def]  # an interface's method
        """What was negotiated with the client of this id, as text of several lines."""

    def disconnect_client(number):  # type: ignore[no-untyped-def]  # an interface's method
        """Aborts the association of this client and closes its connection."""

    def addins():  # type: ignore[no-untyped-def]  # an interface's method
        """The add-ins that take part, a sequence of `AddinInfo` in the order of their loading."""

    def addin_options(name):  # type: ignore[no-untyped-def]  # an interface's method
        """The settings of an add-in, `AddinOptions`; NotFound where it has none."""

    def addin_health(name):  # type: ignore[no-untyped-def]  # an interface's method
        """Whether an add-in works, an `AddinReport`."""

    def service_message(message):  # type: ignore[no-untyped-def]  # an interface's method
        """Hands a `ServiceMessage` to the add-in that takes it, and returns its `ServiceAnswer`.

        NotFound where none does.
        """

    def collect_garbage():  # type: ignore[no-untyped-def]  # an interface's method
        """Has Python look for memory that nothing uses; returns the number of objects found."""

    def subscribe(listener):  # type: ignore[no-untyped-def]  # an interface's method
        """Has `listener(ControlEvent)` called at each event; returns a function that ends it."""
