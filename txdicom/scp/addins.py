"""The add-ins of one server and their life: checked, given their settings, registered, loaded, unloaded."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import providedBy
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from txdicom.errors import RAISED, AddinError, DicomError, NotConfigured, SettingsError
from txdicom.interfaces import IAddinOptions, IBaseServiceProvider, IDicomAddin, IRequireUserIdentity
from txdicom.interfaces.addin import name_of
from txdicom.scp.services import Offer
from txdicom.services.dispatch import undeclared

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from txdicom.interfaces import IServer
    from txdicom.scp.services import Services

_log = Logger()

#: a name is part of file names and of keys in TOML
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def problems_with(addin: object) -> list[str]:
    """A sentence for each interface that an add-in says it provides and does not fulfil; else for what it forgot."""
    problems = []
    interfaces = dict.fromkeys((IDicomAddin, *providedBy(addin)))
    for interface in interfaces:
        try:
            verifyObject(interface, addin)
        except Invalid as error:
            what, why = getattr(interface, "__name__", interface), " ".join(str(error).split())
            problems.append(f"add-in {name_of(addin)} does not fulfil {what}: {why}")
    if not problems:
        problems += [f"add-in {name_of(addin)}: {name} has no @presentation_context" for name in undeclared(addin)]
    if not problems and NAME.fullmatch(name_of(addin)) is None:
        problems.append(f"{name_of(addin)!r} cannot be an add-in's name: 1 to 64 letters, digits, '_' and '-'")
    return problems


class Addins:
    """The add-ins of one server in the order of their loading.

    `required` are the names of those whose failure ends the start, opting out too; None: all, but they may opt out.
    `settings` are those of the add-ins that have any, by name: objects of their `settings_model`, which are its
    defaults where none are given.
    """

    def __init__(
        self,
        addins: Sequence[object],
        *,
        required: Collection[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.active: tuple[Any, ...] = tuple(addins)
        self.settings = dict(settings or {})
        self._required = required
        self._loaded: list[Any] = []
        self._halted = False
        self._waited_for: Deferred[Any] | None = None
        problems = [problem for addin in addins for problem in problems_with(addin)]
        names = [name_of(addin) for addin in addins]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        problems += [f"two add-ins are called {name}: take one of them out" for name in twice]
        if not problems:
            problems += self._complete_settings()
        if problems:
            raise SettingsError(problems)

    def _complete_settings(self) -> list[str]:
        problems = []
        for addin in self.active:
            name, has_settings = addin.name, IAddinOptions.providedBy(addin)
            if has_settings and name not in self.settings:
                try:
                    self.settings[name] = addin.settings_model()
                except ValueError as error:
                    problems.append(f"add-in {name} cannot do without settings: {' '.join(str(error).split())}")
        return problems

    def halt(self) -> None:
        """Has `register` and `load` end where they are: what is waited for is cancelled, they raise CancelledError."""
        self._halted = True
        if self._waited_for is not None:
            self._waited_for.cancel()

    async def register(self, services: Services) -> None:
        """Gives every add-in its settings, then has it offer its base services."""
        for addin in self.active:
            owner = f"add-in {addin.name}"
            has_settings, offers = IAddinOptions.providedBy(addin), IBaseServiceProvider.providedBy(addin)
            taken = True
            if has_settings:
                taken = await self._do(addin, "take its settings", addin.apply, self.settings[addin.name])
            if taken and offers:
                offer = Offer(services, owner)
                taken = await self._do(addin, "offer its base services", addin.register, offer)
                if offer.conflict is not None:
                    # which of the two is wrong, only the operator knows
                    raise offer.conflict
                if not taken:
                    services.withdraw(owner)
                elif provided := services.provided_by(owner):
                    _log.info("{owner} provides {services}", owner=owner, services=", ".join(provided))
            if not taken:
                self._leave_out(addin)

    async def load(self, server: IServer, services: Services, reactor: Any) -> None:
        """Loads every add-in in order; those that fail or opt out are left out.

        AddinError where one fails that is required, or that others may rely on.
        """
        for addin in self.active:
            relied = services.provided_by(f"add-in {addin.name}")
            late = partial(self._loaded_late, addin)
            if await self._do(addin, "be loaded", addin.load, server, relied=relied, late=late):
                self._loaded.append(addin)
                _log.info("add-in {name} {version} loaded", name=addin.name, version=addin.version)
            else:
                self._leave_out(addin)
            # before the next add-in one turn of the reactor for a signal to be heard, and one for it to act
            for _ in range(2):
                self._unless_stopping()
                await self._watched(deferLater(reactor, 0))

    async def unload(self) -> None:
        """Unloads those that are loaded, in reverse order; a failure is logged."""
        while self._loaded:
            await self._unload(self._loaded.pop())

    async def _unload(self, addin: Any) -> None:
        try:
            await maybeDeferred(addin.unload)
        except RAISED:  # one add-in's mistake must not keep the others loaded
            _log.failure("add-in {name} failed to unload", name=addin.name)

    def _loaded_late(self, addin: Any) -> None:
        """Its `load` went on though it was cancelled."""
        _log.warn("add-in {name} was loaded after the stop; it is unloaded again", name=addin.name)
        Deferred.fromCoroutine(self._unload(addin))

    def _leave_out(self, addin: Any) -> None:
        self.active = tuple(one for one in self.active if one is not addin)

    async def _do(
        self,
        addin: Any,
        what: str,
        method: Callable[..., Any],
        *arguments: Any,
        relied: Sequence[str] = (),
        late: Callable[[], None] | None = None,
    ) -> bool:
        """Calls a method of an add-in; False where the add-in is to be left out.

        `late` is called where it succeeds after all when nobody waits for it any more.
        """
        name = addin.name
        guards = IRequireUserIdentity.providedBy(addin)  # without it whoever calls would be let in
        self._unless_stopping()
        try:
            await self._watched(maybeDeferred(method, *arguments), late)
        except NotConfigured as why:
            if relied:
                remedy = "a provider opts out in register"
                raise AddinError(f"add-in {name} has provided {', '.join(relied)} and opts out: {remedy}") from why
            if name in (self._required or ()) or guards:
                raise AddinError(f"add-in {name} is required, and is not configured: {why}") from why
            _log.info("add-in {name} is not configured: {why}", name=name, why=str(why))
            return False
        except RAISED as error:
            if self._halted:
                raise CancelledError from error
            if not isinstance(error, DicomError | OSError):
                _log.failure("add-in {name} cannot {what}", name=name, what=what)
            sentence = f"add-in {name} cannot {what}: {str(error) or type(error).__name__}"
            if relied or guards or self._required is None or name in self._required:
                raise AddinError(sentence) from error
            _log.error("{sentence}; the server runs without it", sentence=sentence)
            return False
        return True

    def _unless_stopping(self) -> None:
        if self._halted:
            raise CancelledError

    def _watched(self, doing: Deferred[Any], late: Callable[[], None] | None = None) -> Deferred[Any]:
        """What `doing` comes to. A cancellation is noticed whatever an add-in makes of it."""

        def cancel(_: Deferred[Any]) -> None:
            self._halted = True
            doing.cancel()

        def ended(result: Any) -> None:
            if not done.called:
                done.callback(result)
            elif late is not None and not isinstance(result, Failure):
                late()  # it has gone on in spite of it

        done: Deferred[Any] = Deferred(cancel)
        self._waited_for = done
        doing.addBoth(ended)
        return done
