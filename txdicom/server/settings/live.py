"""The settings of a running server: changed by administrators, read again from their files, applied where they can be.

A server has one `LiveSettings`, made when it is ready to start, and each of its workers one of its own:

    live = LiveSettings(folder, settings, text, overrides, target)

`settings` are those in force (of `Prepared`), `text` is that of the server.toml they were read from, `overrides` are
what the command line says, and `target` is what they are applied to: an `EntityTarget` of
`txdicom.server.settings.running` where the application entity is in this process, in the parent of workers the pool. A
worker is given the parent's `live.text` and `live.overrides` when it begins, and by `take` what it is from then on.

Which settings can change while the server runs is in `txdicom.server.settings.live_names`. What an association asks its
settings for holds for associations to come: those there are go on with what they began with. Limits of connections and
associations hold at once, for those who come; nobody is sent away for them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic import BaseModel
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from txdicom.errors import BadArgument, NotFound, SettingsError
from txdicom.interfaces.control import Applied
from txdicom.server.managing.checking import checked
from txdicom.server.settings.addins import settings_of
from txdicom.server.settings.file import settings_text, write_addin_options, write_settings
from txdicom.server.settings.live_names import LIVE, RESTART
from txdicom.server.settings.mistakes import for_log
from txdicom.server.settings.tables import TABLES, Override, Settings, declarations, read_settings
from txdicom.server.settings.tls import make_security
from txdicom.services.shield import shielded

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from txdicom.server.folder import ServerFolder
    from txdicom.server.managing.checking import Checked
    from txdicom.server.settings.file import Written
    from txdicom.server.settings.toml import Path

_log = Logger()


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of the settings in force; what needs a restart is the same in `old` and `new`."""

    old: Settings
    new: Settings
    text: str
    """The new server.toml, for workers: `LiveSettings.take`."""
    addins: Mapping[str, BaseModel]
    """The new settings of those add-ins whose settings change, by name."""


class Target(Protocol):
    """What settings are applied to."""

    @property
    def addins(self) -> Sequence[Any]:
        """The add-ins that take part: their models check their settings."""

    @property
    def addin_settings(self) -> Mapping[str, BaseModel]:
        """The settings in force of the add-ins that have any, by name."""

    async def apply(self, change: Change) -> None:
        """Has the new settings be those in force, those of the add-ins too.

        SettingsError with sentences where that cannot be. Whatever it raises, the files are as before then, and it is
        asked to apply the old settings again.
        """

    def reopen_logs(self) -> None:
        """Opens the log files anew, after another program has moved them away."""

    async def reload_files(self) -> None:
        """Reads again what settings name: certificates and keys, for connections to come, and the AE titles.

        SettingsError with sentences for what cannot be used; what was read of it before stays. The parent of workers
        has each of them do the same.
        """


class LiveSettings:
    """The settings in force, and the ways to change them. Changes follow one another.

    What is in the files is what is applied: a change by an administrator also applies what was changed by hand since.
    Every method raises with all mistakes at once, and then nothing is changed; see `reload` for its last step.
    """

    def __init__(
        self, folder: ServerFolder, settings: Settings, text: str, overrides: Sequence[Override], target: Target
    ) -> None:
        #: those in force
        self.settings = settings
        #: server.toml as it was read last
        self.text = text
        self._folder = folder
        self._command_line = tuple(overrides)
        self._target = target
        self._listeners: list[Callable[[Applied], object]] = []
        self._lock = DeferredLock()
        # as the text has them: those in force may be adapted to a worker
        self._first = self._read = self._settings_in(text)

    @property
    def overrides(self) -> list[Override]:
        """What goes before `text` in this run: the command line, and the values of what has changed in the file and
        needs a restart. A worker that begins now has the same settings as the others by them.
        """
        kept = [
            Override((table, name), getattr(getattr(self._first, table), name), "until the restart")
            for table, name in _differing(self._first, self._read, RESTART)
        ]
        return [*self._command_line, *kept]

    def watch(self, listener: Callable[[Applied], object]) -> None:
        """Has `listener` called after each change but those of `take`."""
        self._listeners.append(listener)

    async def set(self, values: Mapping[str, Mapping[str, Any]]) -> Applied:
        """Changes settings by table and name: writes them to server.toml, then applies them.

        BadArgument for values that cannot be, or that the server cannot take; SettingsError where the file that is
        there is broken, DicomError where it cannot be written.
        """
        return await self._in_turn(self._write, write_settings, values)

    async def set_addin_options(self, name: str, values: Mapping[str, Any]) -> Applied:
        """Changes settings of an add-in, by key; None takes a key out of its file.

        Errors as with `set`; NotFound where there is no such add-in, or it has no settings.
        """
        addin = next((one for one in self._target.addins if one.name == name), None)
        if addin is None:
            raise NotFound(f"there is no add-in {name}")
        return await self._in_turn(self._write, write_addin_options, addin, values)

    async def reload(self) -> Applied:
        """Reads all files again: settings, those of add-ins, certificates, AE titles; opens the log files anew.

        Every mistake is logged, without the values that stand in the files; SettingsError has them too. The settings
        are applied where only the files that they name cannot be read again: then what was read of these stays.
        """
        return await self._in_turn(self._reload)

    async def take(self, text: str) -> Applied:
        """In a worker: applies what the parent has found right; `text` is that of server.toml.

        SettingsError where it cannot be.
        """
        return await self._in_turn(self._take, text)

    # -- how -----------------------------------------------------------------------------------------------------------

    def _in_turn(self, change: Callable[..., Coroutine[Any, Any, Applied]], *arguments: Any) -> Deferred[Applied]:
        """What a change comes to. Whoever asked may be gone meanwhile: it is made all the same."""
        return shielded(self._lock.run, lambda: Deferred.fromCoroutine(change(*arguments)))

    async def _write(self, write: Callable[..., Written], *arguments: Any) -> Applied:
        written: Written = await deferToThread(write, self._folder, *arguments, self._look)
        try:
            applied = await self._apply(written.text, written.take_back)
        except SettingsError as error:
            raise BadArgument(error.problems) from None
        self._tell(applied)
        return applied

    async def _reload(self) -> Applied:
        self._target.reopen_logs()
        try:
            applied = await self._apply(await deferToThread(settings_text, self._folder), again=True)
        except SettingsError as error:
            _log_all(error, "the files were read again and cannot be used: what was in force before still is")
            raise
        self._tell(applied)
        try:
            await self._target.reload_files()
        except SettingsError as error:
            _log_all(error, "the settings were read again and are in force, but not all of the files that they name")
            raise
        return applied

    async def _take(self, text: str) -> Applied:
        return await self._apply(text)

    def _look(self, text: str) -> Checked:
        """What would keep the server from starting again with a server.toml of this text."""
        title = self.settings.server.ae_title
        return checked(self._folder, title, text, self._command_line, self._target.addins)

    def _settings_in(self, text: str) -> Settings:
        return read_settings(text, self._command_line, ae_title=self.settings.server.ae_title)

    def _prepare(self, text: str, *, files: bool) -> _New:
        """What `text` and the files of the add-ins say, checked; with `files`, so is all else that a start reads."""
        problems = self._look(text).problems if files else []
        try:
            read = self._settings_in(text)
        except SettingsError as error:
            raise SettingsError(problems or error.problems) from None
        in_force = self._in_force(read)
        addins = settings_of(self._target.addins, read, self._folder, problems)
        if problems:
            raise SettingsError(problems)
        if files or in_force.tls != self.settings.tls:
            make_security(in_force, self._folder.path)
        known = self._target.addin_settings
        return _New(read, in_force, {name: one for name, one in addins.items() if one != known.get(name)})

    def _in_force(self, read: Settings) -> Settings:
        """`read` as far as it needs no restart."""
        tables: dict[str, Any] = {}
        for table, names in RESTART.items():
            now, new = getattr(self.settings, table), getattr(read, table)
            kept = {name: getattr(now, name) for name in names}
            tables[table] = new.model_copy(update=kept) if isinstance(new, BaseModel) else replace(new, **kept)
        return replace(read, **tables)

    async def _apply(self, text: str, take_back: Callable[[], None] | None = None, *, again: bool = False) -> Applied:
        """Has it be in force. Where that fails, `take_back` is called in a thread, and all is as before.

        `again`: all files are read anew, and all that waits for a restart is said again.
        """
        change: Change | None = None
        before: Mapping[str, BaseModel] = {}
        try:
            new = await deferToThread(self._prepare, text, files=again)
            known = self._target.addin_settings
            before = {name: known[name] for name in new.addins}
            changed = [*_differing(self.settings, new.in_force, LIVE), *_keys(before, new.addins)]
            if changed:
                change = Change(old=self.settings, new=new.in_force, text=text, addins=new.addins)
                await self._target.apply(change)
        except BaseException:
            try:
                if take_back is not None:
                    await deferToThread(take_back)  # first: workers read the files of add-ins
            finally:
                if change is not None:
                    await self._undo(Change(old=change.new, new=change.old, text=self.text, addins=before))
            raise
        pending = _differing(self._first, new.read, RESTART)
        if not again:
            written = _differing(self._read, new.read, RESTART)
            pending = [path for path in pending if path in written]
        overridden = _overridden(self._command_line, self.text, text)
        self.settings, self.text, self._read = new.in_force, text, new.read
        return Applied(changed=_joined(changed), restart=_joined(pending), overridden=_joined(overridden))

    async def _undo(self, change: Change) -> None:
        try:
            await self._target.apply(change)
        except Exception:  # noqa: BLE001 (whatever it is: what failed before is what is told)
            _log.failure("the settings of before cannot be applied again")

    def _tell(self, applied: Applied) -> None:
        if applied != Applied():
            for listener in self._listeners:
                listener(applied)


class _New(NamedTuple):
    """Settings that are about to be in force."""

    read: Settings
    in_force: Settings
    addins: Mapping[str, BaseModel]


def _log_all(error: SettingsError, sentence: str) -> None:
    for problem in for_log(error.problems):
        _log.error("{problem}", problem=problem)
    _log.error(sentence)


def _differing(one: Settings, other: Settings, names: Mapping[str, frozenset[str]]) -> list[Path]:
    """Those of `names` that are not the same in both."""
    return [
        (table, name)
        for table, model in TABLES.items()
        for name in declarations(model)
        if name in names[table] and getattr(getattr(one, table), name) != getattr(getattr(other, table), name)
    ]


def _keys(before: Mapping[str, BaseModel], after: Mapping[str, BaseModel]) -> list[Path]:
    """The keys of add-ins' settings that are not the same in both."""
    return [
        ("addins", name, key)
        for name, settings in after.items()
        for key in type(settings).model_fields
        if getattr(settings, key) != getattr(before[name], key)
    ]


def _overridden(overrides: Iterable[Override], before: str, after: str) -> list[Path]:
    """What the file says otherwise than before, and is not asked."""
    old, new = tomllib.loads(before), tomllib.loads(after)
    paths = dict.fromkeys(one.path for one in overrides)
    return [path for path in paths if _value_at(old, path) != _value_at(new, path)]


def _value_at(document: Any, path: Path) -> Any:
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _joined(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(".".join(path) for path in paths)
