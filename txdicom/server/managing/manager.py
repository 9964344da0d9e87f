"""The servers of one base folder, from outside of their processes: found, made, started, asked, stopped, removed."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, fail, gatherResults

from txdicom.admin import client
from txdicom.errors import Conflict, DicomError, NotFound, SettingsError
from txdicom.server.compose import examine
from txdicom.server.folder import ServerFolder, base_folder, find_server, servers_in, socket_in
from txdicom.server.managing import creating, starting, stopping
from txdicom.server.managing.checking import answer_problems, checked, port_problems
from txdicom.server.managing.patience import AFTER_DRAIN, START_TIMEOUT
from txdicom.server.managing.unit import unit
from txdicom.server.managing.watching import Watch
from txdicom.server.settings import offline
from txdicom.server.settings.folders import with_folders
from txdicom.server.settings.shown import shown
from txdicom.server.settings.tables import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from txdicom.admin import Administrator
    from txdicom.interfaces.control import AddinOptions, Applied, ControlEvent, ServerStatus
    from txdicom.server.managing.creating import Contents
    from txdicom.server.settings.shown import ShownSetting
    from txdicom.server.settings.tables import Settings

#: seconds that a server has to answer a look at its state
_BRIEFLY: Final = {"connect_timeout": 5.0, "timeout": 5.0}


class AlreadyRuns(Conflict):
    """A server that was to be started runs."""


@dataclass(frozen=True, kw_only=True)
class FoundServer:
    """A server that has a folder in the base."""

    ae_title: str
    folder: str
    socket: str
    #: running, paused or stopping, as it says; stopped: nobody has its folder; not answering: somebody has,
    #: or that cannot be known
    state: str
    #: automatic, manual, disabled; empty where its settings cannot be used
    start_mode: str = ""
    display_name: str = ""
    #: of the server, or of what has its folder
    process: int | None = None
    #: where it listens, or would
    ports: tuple[str, ...] = ()
    status: ServerStatus | None = None
    #: what is wrong with its settings, or why it does not answer
    problems: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether it answers at its administrative socket."""
        return self.status is not None


class ServiceAdministrator:
    """The servers of a base; without `base` it is $TXDICOM_HOME or the user's own.

    Errors are `DicomError`: NotFound names the servers that there are, SettingsError and `StartFailed` have `problems`.
    A title of None is the only server in the base.
    """

    def __init__(self, base: str | None = None) -> None:
        self.base = base_folder(base, os.environ)

    # -- what there is -------------------------------------------------------------------------------------------------

    def find(self, ae_title: str | None = None) -> str:
        """The AE title of a server that there is."""
        return find_server(self.base, ae_title)

    def folder(self, ae_title: str | None = None) -> ServerFolder:
        """The folder of a server that there is."""
        return ServerFolder(self.base, self.find(ae_title))

    def servers(self, reactor: Any) -> Deferred[list[FoundServer]]:
        """All servers of the base, in the order of their AE titles. SettingsError where it cannot be read."""

        async def known(title: str) -> FoundServer | None:
            try:
                return await self._look(reactor, title)
            except NotFound:
                return None  # it was removed meanwhile
            except SettingsError as error:
                path = ServerFolder(self.base, title).path
                return FoundServer(
                    ae_title=title, folder=path, socket=socket_of(path), state="not answering", problems=error.problems
                )

        async def run() -> list[FoundServer]:
            looks = [Deferred.fromCoroutine(known(title)) for title in servers_in(self.base)]
            return [one for one in await gatherResults(looks) if one is not None]

        return Deferred.fromCoroutine(run())

    def look(self, reactor: Any, ae_title: str | None = None) -> Deferred[FoundServer]:
        """One server, and its state."""
        return Deferred.fromCoroutine(self._look(reactor, ae_title))

    async def _look(self, reactor: Any, ae_title: str | None) -> FoundServer:
        title = self.find(ae_title)
        folder = ServerFolder(self.base, title)
        known: dict[str, Any] = {"ae_title": title, "folder": folder.path, "socket": socket_of(folder.path)}
        problems: list[str] = []
        try:
            server = read_settings(folder.text_of(folder.settings_file), ae_title=title).server
        except SettingsError as error:
            problems += error.problems
        else:
            known |= {"start_mode": server.start_mode, "display_name": server.display_name}
            known |= {"ports": (*server.listen, *(f"{one} (TLS)" for one in server.secure_listen))}
        try:
            async with self.session(reactor, title, **_BRIEFLY) as administrator:
                status = await administrator.status()
        except (DicomError, TimeoutError) as error:
            process = folder.holder()
            if process is None:
                return FoundServer(state="stopped", problems=tuple(problems), **known)
            return FoundServer(
                state="not answering", process=process or None, problems=(*problems, str(error)), **known
            )
        known |= {"ports": tuple(status.ports), "display_name": status.display_name}
        return FoundServer(state=status.state, process=status.process, status=status, problems=tuple(problems), **known)

    def connect(self, reactor: Any, ae_title: str | None = None, **options: float) -> Deferred[Administrator]:
        """See `txdicom.admin.connect`. NotFound where there is no such server."""
        try:
            path = self.folder(ae_title).path
        except DicomError as error:
            return fail(error)
        return client.connect(reactor, socket_of(path), **options)

    def session(self, reactor: Any, ae_title: str | None = None, **options: float) -> Session:
        """The same for `async with`, which closes the link at its end."""
        return Session(lambda: self.connect(reactor, ae_title, **options))

    def watch(
        self,
        reactor: Any,
        listener: Callable[[str, ControlEvent], object],
        ae_titles: Collection[str] | None = None,
        events: Collection[str] | None = None,
    ) -> Watch:
        """Has `listener(ae_title, event)` called with the events of all servers, or of those named; see `Watch`."""

        def titles() -> Iterable[str]:
            return servers_in(self.base) if ae_titles is None else ae_titles

        return Watch(reactor, titles, lambda title: self.connect(reactor, title), listener, events)

    # -- folders and settings ------------------------------------------------------------------------------------------

    def create(self, ae_title: str, settings: Iterable[str] = (), listen: Sequence[str] = ()) -> Settings:
        """Makes a server: `settings` are texts table.key=value. Conflict where it is there; SettingsError."""
        return creating.create(self.base, ae_title, settings, listen)

    def contents(self, ae_title: str) -> Contents:
        """What would be lost with a server."""
        return creating.contents(self.folder(ae_title), ae_title)

    def remove(self, ae_title: str) -> None:
        """Deletes the folder of a server, stored instances and all. Conflict where it runs."""
        creating.remove(self.check_stopped(ae_title))

    def check_stopped(self, ae_title: str) -> ServerFolder:
        """The folder of a server that does not run; Conflict where it runs."""
        folder = self.folder(ae_title)
        process = folder.holder()
        if process is not None:
            raise Conflict(f"{ae_title} runs (process {process}): stop it first, `txdicom server stop {ae_title}`")
        return folder

    def check(self, ae_title: str | None = None) -> None:
        """SettingsError with all that would keep a server from starting, Conflict where it is disabled."""
        folder = self.folder(ae_title)
        folder.check_owner()
        title = os.path.basename(folder.path)
        found = checked(folder, title, folder.text_of(folder.settings_file))
        if found.problems:
            raise SettingsError(found.problems)
        if found.settings is not None and found.settings.server.start_mode == "disabled":
            raise _disabled(title)

    def warnings(self, ae_title: str | None = None) -> list[str]:
        """What may not be meant as its server.toml says it; of one that cannot be read `check` says more."""
        folder = self.folder(ae_title)
        try:
            text = folder.text_of(folder.settings_file)
        except SettingsError:
            return []
        found = examine(folder, os.path.basename(folder.path), text, (), [])
        return found.warnings if found is not None else []

    def shown_settings(
        self, reactor: Any, ae_title: str | None = None, key: str | None = None
    ) -> Deferred[list[ShownSetting]]:
        """Settings, where they come from, and what is in force: all, or those of a table, or one. NotFound."""

        async def run() -> list[ShownSetting]:
            folder = self.folder(ae_title)
            settings = with_folders(self.settings(ae_title), folder.path)
            in_force = None
            if folder.holder() is not None:
                async with self.session(reactor, ae_title) as link:
                    in_force = await link.settings()
            return shown(settings, in_force, key)

        return Deferred.fromCoroutine(run())

    def settings(self, ae_title: str | None = None) -> Settings:
        """What its server.toml says."""
        folder = self.folder(ae_title)
        return read_settings(folder.text_of(folder.settings_file), ae_title=os.path.basename(folder.path))

    def set(
        self, reactor: Any, ae_title: str | None, values: Mapping[str, Mapping[str, Any]]
    ) -> Deferred[Applied | None]:
        """Changes settings by table and name, in its server.toml and in force; None where it does not run."""

        async def run() -> Applied | None:
            folder = self.folder(ae_title)
            if folder.holder() is None:
                offline.change_settings(folder, values)
                return None
            async with self.session(reactor, ae_title) as administrator:
                return await administrator.set_settings(values)

        return Deferred.fromCoroutine(run())

    def addin_options(self, reactor: Any, ae_title: str | None, name: str) -> Deferred[AddinOptions]:
        """The settings of an add-in: those in force of a server that runs, else those of its files. NotFound."""

        async def run() -> AddinOptions:
            folder = self.folder(ae_title)
            if folder.holder() is None:
                return offline.addin_options(folder, name)
            async with self.session(reactor, ae_title) as administrator:
                return await administrator.addin_options(name)

        return Deferred.fromCoroutine(run())

    def set_addin_options(
        self, reactor: Any, ae_title: str | None, name: str, values: Mapping[str, Any]
    ) -> Deferred[Applied | None]:
        """Changes settings of an add-in by key, in their file and in force; None where the server does not run."""

        async def run() -> Applied | None:
            folder = self.folder(ae_title)
            if folder.holder() is None:
                offline.change_addin_options(folder, name, values)
                return None
            async with self.session(reactor, ae_title) as administrator:
                return await administrator.set_addin_options(name, values)

        return Deferred.fromCoroutine(run())

    def systemd(self, ae_title: str | None = None) -> str:
        """The unit by which systemd runs it."""
        return unit(self.folder(ae_title), self.settings(ae_title))

    # -- processes -----------------------------------------------------------------------------------------------------

    def start(
        self, reactor: Any, ae_title: str | None = None, *, timeout: float = START_TIMEOUT
    ) -> Deferred[FoundServer]:
        """Starts a server in the background; fires when it is ready.

        `StartFailed` says why it is not; `AlreadyRuns`; Conflict where its start_mode is disabled.
        """

        async def run() -> FoundServer:
            found = await self.look(reactor, ae_title)
            title = found.ae_title
            if found.state != "stopped":
                raise AlreadyRuns(f"{title} runs already: it is {found.state} (process {found.process})")
            if found.start_mode == "disabled":
                raise _disabled(title)
            folder = self.folder(title)
            folder.check_owner()
            await starting.start(reactor, folder, timeout)
            return await self.look(reactor, title)

        return Deferred.fromCoroutine(run())

    def stop(
        self, reactor: Any, ae_title: str | None = None, *, force: bool = False, timeout: float | None = None
    ) -> Deferred[bool]:
        """Stops a server; fires when it has let go of its folder, with whether there was anything to stop.

        With `force`, running operations are aborted. Without `timeout`, in seconds, it has its drain_timeout and some.
        """

        async def run() -> bool:
            folder = self.folder(ae_title)
            if folder.holder() is None:
                return False
            seconds = self._patience(ae_title) if timeout is None else timeout
            session = self.session(reactor, ae_title, **_BRIEFLY)
            await stopping.stop(reactor, folder, session, force=force, timeout=seconds)
            return True

        return Deferred.fromCoroutine(run())

    def test(self, reactor: Any, ae_title: str | None = None) -> Deferred[list[str]]:
        """All that is wrong with a server, as sentences: whether it answers, where it does not run whether it would."""

        async def run() -> list[str]:
            folder = self.folder(ae_title)
            folder.check_owner()
            title = os.path.basename(folder.path)
            looked_at = checked(folder, title, folder.text_of(folder.settings_file))
            settings, problems = looked_at.settings, looked_at.problems
            found = await self.look(reactor, title)
            if found.state == "stopped":
                problems += await port_problems(reactor, settings) if settings is not None else []
            elif found.status is None:
                problems.append(f"process {found.process} has the folder, but {found.problems[-1]}")
            elif found.state != "running":
                remedy = f": `txdicom server resume {title}` has it go on" if found.state == "paused" else ""
                problems.append(f"it is {found.state}{remedy}")
            else:
                problems += await answer_problems(
                    reactor, found.status, settings.server.secure_listen if settings is not None else ()
                )
            return problems

        return Deferred.fromCoroutine(run())

    def _patience(self, ae_title: str | None) -> float:
        try:
            return self.settings(ae_title).server.drain_timeout + AFTER_DRAIN
        except SettingsError:
            return 2 * AFTER_DRAIN


class Session:
    """A link to a running server, for `async with`."""

    def __init__(self, connect: Callable[[], Deferred[Administrator]]) -> None:
        self._connect = connect
        self._administrator: Administrator | None = None

    async def __aenter__(self) -> Administrator:
        self._administrator = await self._connect()
        return self._administrator

    async def __aexit__(self, *error: object) -> None:
        if self._administrator is not None:
            await self._administrator.close()


def _disabled(title: str) -> Conflict:
    remedy = f"`txdicom server set --ae-title {title} server.start_mode=manual` allows it"
    return Conflict(f"it is not to be started: its start_mode is disabled; {remedy}")


def socket_of(folder: str) -> str:
    """The administrative socket of the server that has this folder, as its server.toml says."""
    try:
        with open(os.path.join(folder, "server.toml"), "rb") as file:
            named = tomllib.load(file).get("server", {}).get("admin_socket", "")
    except (OSError, ValueError, AttributeError):
        named = ""  # a server whose settings cannot be read is not running by them
    return socket_in(folder, named if isinstance(named, str) else "")
