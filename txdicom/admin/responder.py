"""Answers the commands of one administrator out of an `IServerControl`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.protocols.amp import ASK, AmpBox, IResponderLocator
from zope.interface import implementer

from txdicom.admin import commands
from txdicom.admin.errors import to_wire
from txdicom.admin.pages import page
from txdicom.errors import BadArgument, DicomError, InternalError, NotFound
from txdicom.interfaces.ae_titles import VALUES
from txdicom.interfaces.control import EVENTS, ServiceMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.protocols.amp import Command

    from txdicom.admin.link import ServerLink
    from txdicom.admin.subscriptions import Subscriptions
    from txdicom.interfaces.ae_titles import AEEntry

_log = Logger()

#: what the audit log tells of
_AUDITED: Final = {
    command.commandName
    for command in (
        commands.Pause,
        commands.Resume,
        commands.Stop,
        commands.AddAeTitle,
        commands.UpdateAeTitle,
        commands.RemoveAeTitle,
        commands.DisconnectClient,
        commands.ServiceMessage,
        commands.SetSettings,
        commands.SetAddinOptions,
    )
}

_CONTROLS: Final = dict.fromkeys((*range(32), 127), "?")

_Method = Any
#: the method of `Responder` for each command
_ANSWERS: Final[dict[bytes, tuple[type[Command], _Method]]] = {}


def _answers(command: type[Command]) -> Callable[[_Method], _Method]:
    def register(method: _Method) -> _Method:
        _ANSWERS[command.commandName] = (command, method)
        return method

    return register


@implementer(IResponderLocator)
class Responder:
    """Finds and runs what answers a command. Whatever goes wrong is answered by one of the errors there are."""

    def __init__(self, control: Any, subscriptions: Subscriptions) -> None:
        self.link: ServerLink
        self._control = control
        self._subscriptions = subscriptions

    def locateResponder(self, name: bytes) -> Callable[[AmpBox], Deferred[AmpBox]]:  # noqa: N802 (Twisted's name)
        """See `IResponderLocator`."""
        return lambda box: Deferred.fromCoroutine(self._respond(name, box))

    async def _respond(self, name: bytes, box: AmpBox) -> AmpBox:
        self.link.begun()
        try:
            return await self._answer(name, box)
        except Exception as error:
            if ASK not in box:
                return AmpBox()
            wire = to_wire(error)
            if wire is None:
                wire = to_wire(InternalError(f"{_text(name)} failed in the server; its log says why"))
                assert wire is not None
            raise wire from error
        finally:
            self.link.done()

    async def _answer(self, name: bytes, box: AmpBox) -> AmpBox:
        try:
            command, method = _ANSWERS[name]
        except KeyError:
            raise NotFound(f"there is no command {_text(name)}") from None
        arguments = _arguments(command, box)
        try:
            response = await method(self, **arguments)
            if name in _AUDITED:
                self._audit(command, arguments)
            return cast("AmpBox", command.makeResponse(response or {}, None))
        except Exception as error:
            if not isinstance(error, DicomError):
                _log.failure("the administrator's command {name} failed", name=_text(name))
            raise

    def _audit(self, command: type[Command], arguments: dict[str, Any]) -> None:
        """Names only: a value may be a secret, and data is what only an add-in knows."""
        entry = arguments.get("entry", {})
        given = [arguments.get(name, entry.get(name)) for name in ("ae_title", "id", "name")]
        what = [str(one) for one in given if one is not None]
        what += [f"{table}.{name}" for table, named in arguments.get("settings", {}).items() for name in named]
        what += arguments.get("values", {})
        text = "user {user} has asked for {command}"
        _log.info(
            f"{text} {{what}}" if what else text,
            audit="administrator",
            user=self.link.user,
            command=command.__name__,
            what=" ".join(what),
        )

    def _ask(self, method: str, *arguments: Any) -> Awaitable[Any]:
        return maybeDeferred(getattr(self._control, method), *arguments)

    # -- the server ----------------------------------------------------------------------------------------------------

    @_answers(commands.Version)
    async def _version(self) -> dict[str, Any]:
        return {"versions": await self._ask("version")}

    @_answers(commands.GetStatus)
    async def _get_status(self) -> dict[str, Any]:
        return {"status": asdict(await self._ask("status"))}

    @_answers(commands.GetSettings)
    async def _get_settings(self) -> dict[str, Any]:
        return {"settings": await self._ask("settings")}

    @_answers(commands.SetSettings)
    async def _set_settings(self, settings: Any) -> dict[str, Any]:
        values = {table: _mapping(table, one) for table, one in _mapping("settings", settings).items()}
        return {"applied": asdict(await self._ask("set_settings", values))}

    @_answers(commands.Pause)
    async def _pause(self) -> None:
        await self._ask("pause")

    @_answers(commands.Resume)
    async def _resume(self) -> None:
        await self._ask("resume")

    @_answers(commands.Stop)
    async def _stop(self, force: bool | None) -> None:
        await self._ask("stop", bool(force))

    @_answers(commands.CollectGarbage)
    async def _collect_garbage(self) -> dict[str, Any]:
        return {"collected": await self._ask("collect_garbage")}

    # -- AE titles -----------------------------------------------------------------------------------------------------

    @_answers(commands.AddAeTitle)
    async def _add_ae_title(self, entry: Any) -> None:
        await self._ask("add_ae_title", _mapping("entry", entry))

    @_answers(commands.UpdateAeTitle)
    async def _update_ae_title(self, ae_title: str, entry: Any) -> None:
        await self._ask("update_ae_title", ae_title, _mapping("entry", entry))

    @_answers(commands.RemoveAeTitle)
    async def _remove_ae_title(self, ae_title: str) -> None:
        await self._ask("remove_ae_title", ae_title)

    @_answers(commands.GetAeTitles)
    async def _get_ae_titles(self, after: str | None, limit: int | None) -> dict[str, Any]:
        entries = await self._ask("ae_titles")
        return page(entries, lambda one: one.ae_title, _entry_values, after=after, limit=limit)

    # -- clients -------------------------------------------------------------------------------------------------------

    @_answers(commands.GetConnectedClients)
    async def _get_connected_clients(self, after: int | None, limit: int | None) -> dict[str, Any]:
        return page(await self._ask("clients"), lambda one: one.id, asdict, after=after, limit=limit)

    @_answers(commands.GetClientAssociation)
    async def _get_client_association(self, id: int) -> dict[str, Any]:  # noqa: A002 (the argument's name)
        return {"text": await self._ask("client_association", id)}

    @_answers(commands.GetTotalClients)
    async def _get_total_clients(self) -> dict[str, Any]:
        status = await self._ask("status")
        return {name: getattr(status, name) for name in ("connections", "associations", "total")}

    @_answers(commands.DisconnectClient)
    async def _disconnect_client(self, id: int) -> None:  # noqa: A002 (the argument's name)
        await self._ask("disconnect_client", id)

    # -- add-ins -------------------------------------------------------------------------------------------------------

    @_answers(commands.GetAddins)
    async def _get_addins(self, after: str | None, limit: int | None) -> dict[str, Any]:
        return page(await self._ask("addins"), lambda one: one.name, asdict, after=after, limit=limit)

    @_answers(commands.GetAddinOptions)
    async def _get_addin_options(self, name: str) -> dict[str, Any]:
        return asdict(await self._ask("addin_options", name))

    @_answers(commands.SetAddinOptions)
    async def _set_addin_options(self, name: str, values: Any) -> dict[str, Any]:
        return {"applied": asdict(await self._ask("set_addin_options", name, _mapping("values", values)))}

    @_answers(commands.IsAddinHealthy)
    async def _is_addin_healthy(self, name: str) -> dict[str, Any]:
        return asdict(await self._ask("addin_health", name))

    @_answers(commands.ServiceMessage)
    async def _service_message(self, name: str, data: Any) -> dict[str, Any]:
        return asdict(await self._ask("service_message", ServiceMessage(name=name, data=data)))

    # -- events --------------------------------------------------------------------------------------------------------

    @_answers(commands.Subscribe)
    async def _subscribe(self, events: Any) -> None:
        self._subscriptions.add(self.link, _events(events))

    @_answers(commands.Unsubscribe)
    async def _unsubscribe(self, events: Any) -> None:
        self._subscriptions.remove(self.link, _events(events))


def _arguments(command: type[Command], box: AmpBox) -> dict[str, Any]:
    """The arguments in a box; BadArgument has a sentence for each that is missing, wrong, or unknown."""
    strings = {name: value for name, value in box.items() if not name.startswith(b"_")}
    found: dict[str, Any] = {}
    problems: list[str] = []
    for name, argument in command.arguments:
        try:
            argument.fromBox(name, strings, found, None)
        except KeyError:
            problems.append(f"{_text(name)}: it is missing")
        except BadArgument as error:
            problems += error.problems
        except (ValueError, TypeError):
            problems.append(f"{_text(name)}: it is no {type(argument).__name__}")
    problems += [f"{_text(name)}: {_text(command.commandName)} has no such argument" for name in strings]
    if problems:
        raise BadArgument(problems)
    return found


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadArgument([f"{name}: it has to be an object of values by name"])
    return value


def _events(names: Any) -> frozenset[str]:
    if names is None:
        return frozenset(EVENTS)
    if not isinstance(names, list) or not all(isinstance(one, str) and one in EVENTS for one in names):
        raise BadArgument([f"events: it has to be a list of some of {', '.join(EVENTS)}"])
    return frozenset(names)


def _entry_values(entry: AEEntry) -> dict[str, Any]:
    values = {name: getattr(entry, name) for name in ("ae_title", *VALUES)}
    last = entry.last_access
    return {**values, "last_access": None if last is None else last.timestamp()}


def _text(name: bytes) -> str:
    """A name of the link in a sentence: printable and short."""
    return name[:64].decode("ascii", "backslashreplace").translate(_CONTROLS)
