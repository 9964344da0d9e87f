"""The life of add-ins: checked, given their settings, registered, loaded; and what becomes of those that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from pydantic import BaseModel, Field
from twisted.internet import reactor, task
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.logger import globalLogPublisher
from zope.interface import Interface, alsoProvides, implementer

from tests.services.serving import Addin
from txdicom.errors import AddinError, NotConfigured, SettingsError
from txdicom.interfaces import (
    IAddinOptions,
    IBaseServiceProvider,
    IDicomAddin,
    IPresentationContextProvider,
    IProcessCEcho,
    IRequireUserIdentity,
)
from txdicom.scp import ApplicationEntity
from txdicom.scp.addins import problems_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class IClock(Interface):
    """A base service."""


@implementer(IClock)
class Clock:
    """One that provides it."""


class Limits(BaseModel):
    limit: int = Field(default=5, ge=0)


class Needs(BaseModel):
    key: str


@implementer(IDicomAddin)
class Told(Addin):
    """Writes down what happens to it, and does what it is told when it is loaded."""

    def __init__(self, name: str, log: list[str], load: Callable[[Any], Any] | None = None) -> None:
        self.name, self.log, self.on_load = name, log, load

    def load(self, server: Any) -> Any:
        self.log.append(f"load {self.name}")
        return self.on_load(server) if self.on_load else None

    def unload(self) -> None:
        self.log.append(f"unload {self.name}")


def offering(addin: Told, register: Callable[[Any], Any]) -> Told:
    """`addin`, which offers base services, too."""
    addin.register = register  # type: ignore[attr-defined]
    alsoProvides(addin, IBaseServiceProvider)
    return addin


def raising(error: BaseException) -> Callable[[Any], Any]:
    def does(_: Any) -> None:
        raise error

    return does


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def events() -> Iterator[list[str]]:
    """The sentences of the log."""
    texts: list[str] = []

    def observe(event: Any) -> None:
        if event["log_namespace"] == "txdicom.scp.addins":
            texts.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield texts
    globalLogPublisher.removeObserver(observe)


def made(*addins: object, **keywords: Any) -> ApplicationEntity:
    return ApplicationEntity(reactor, "HERE", addins, **keywords)


def names(entity: ApplicationEntity) -> list[str]:
    return [addin.name for addin in entity.addins]


async def soon() -> None:
    await task.deferLater(reactor, 0, lambda: None)  # type: ignore[arg-type]


# -- checked -----------------------------------------------------------------------------------------------------------


def test_every_interface_is_verified() -> None:
    class IOther(Interface):
        def something() -> None:  # type: ignore[misc]
            """What is missing."""

    addin = Told("it", [])
    assert problems_with(addin) == []
    alsoProvides(addin, IOther)
    [problem] = problems_with(addin)
    assert problem.startswith("add-in it does not fulfil IOther: ")
    assert "something" in problem


@pytest.mark.parametrize("name", ["", "../x", "a.b", "a b", "a" * 65, "é"])
def test_names_that_could_not_name_a_file(name: str) -> None:
    [problem] = problems_with(Told(name, []))
    assert "cannot be an add-in's name" in problem


def test_a_handler_without_a_presentation_context() -> None:
    addin = Told("it", [])
    addin.on_c_echo = lambda request: 0  # type: ignore[attr-defined]
    alsoProvides(addin, IProcessCEcho)
    assert problems_with(addin) == ["add-in it: on_c_echo has no @presentation_context"]


# -- settings ----------------------------------------------------------------------------------------------------------


@implementer(IAddinOptions)
class Limited(Told):
    settings_model: type[BaseModel] = Limits

    def apply(self, settings: Any) -> None:
        self.log.append(f"apply {settings.limit}")


@pytest_twisted.ensureDeferred
async def test_settings_are_applied_before_load(log: list[str]) -> None:
    first, second = Limited("first", log), offering(Limited("second", log), lambda services: log.append("register"))
    entity = made(first, second, addin_settings={"second": Limits(limit=7)})
    assert entity.addin_settings == {"first": Limits(limit=5), "second": Limits(limit=7)}
    await entity.start()
    await entity.stop()
    assert log == [
        *("apply 5", "apply 7", "register", "load first", "load second"),
        *("unload second", "unload first"),
    ]


def test_an_add_in_that_cannot_do_without_settings(log: list[str]) -> None:
    addin = Limited("it", log)
    addin.settings_model = Needs
    with pytest.raises(SettingsError, match=r"add-in it cannot do without settings: .*key"):
        made(addin)


@pytest_twisted.ensureDeferred
async def test_settings_that_are_refused_leave_it_out(log: list[str], events: list[str]) -> None:
    addin = Limited("it", log)
    addin.apply = raising(OSError("no such folder"))  # type: ignore[method-assign]
    entity = made(addin, Told("other", log), required=())
    await entity.start()
    await entity.stop()
    assert log == ["load other", "unload other"]
    assert "add-in it cannot take its settings: no such folder; the server runs without it" in events


# -- base services -----------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_base_services_are_there_in_every_load(log: list[str]) -> None:
    clock, ours = Clock(), Clock()
    found: list[Any] = []

    async def register(services: Any) -> None:
        await soon()
        services.provide(IClock, clock)

    early = Told("early", log, lambda server: found.append(server.service(IClock)))
    entity = made(early, offering(Told("late", log), register))
    entity.services.default(IClock, lambda: ours)
    await entity.start()
    await entity.stop()
    assert found == [clock]


@pytest_twisted.ensureDeferred
async def test_two_for_one_base_service_end_the_start_whatever_is_required(log: list[str]) -> None:
    def quietly(services: Any) -> None:
        try:
            services.provide(IClock, Clock())
        except AddinError:
            log.append("swallowed")

    entity = made(offering(Told("a", log), quietly), offering(Told("b", log), quietly), required=())
    with pytest.raises(AddinError, match="add-in b and add-in a both provide the base service IClock"):
        await entity.start()
    assert log == ["swallowed"]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("error", [NotConfigured("no key"), ValueError("a mistake")])
async def test_one_that_fails_to_register_leaves_a_gap_for_the_default(log: list[str], error: Exception) -> None:
    ours = Clock()

    def register(services: Any) -> None:
        services.provide(IClock, Clock())
        raise error

    entity = made(offering(Told("it", log), register), Told("other", log), required=())
    entity.services.default(IClock, lambda: ours)
    await entity.start()
    assert entity.service(IClock) is ours
    assert names(entity) == ["other"]
    await entity.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("error", [NotConfigured("no key"), ValueError("a mistake")])
async def test_one_on_which_others_rely_has_to_load(log: list[str], error: Exception) -> None:
    addin = offering(Told("it", log, raising(error)), lambda services: services.provide(IClock, Clock()))
    entity = made(addin, required=())
    with pytest.raises(AddinError, match="add-in it"):
        await entity.start()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("error", [NotConfigured("no file"), ValueError("a mistake")])
async def test_one_that_guards_has_to_load(log: list[str], error: Exception) -> None:
    """Without it, whoever calls would be let in."""
    addin = Told("it", log, raising(error))
    addin.authenticate = lambda identity: None  # type: ignore[attr-defined]
    alsoProvides(addin, IRequireUserIdentity)
    entity = made(addin, required=())
    with pytest.raises(AddinError, match="add-in it"):
        await entity.start()


# -- load --------------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("how", ["raises", "fails later", "is cancelled by itself", "exits"])
async def test_one_that_is_not_required_is_left_out(log: list[str], events: list[str], how: str) -> None:
    loads = {
        "raises": raising(ValueError("a mistake")),
        "fails later": lambda server: fail(ValueError("a mistake")),
        "is cancelled by itself": lambda server: fail(CancelledError("a mistake")),
        "exits": raising(SystemExit("a mistake")),
    }
    entity = made(Told("one", log), Told("bad", log, loads[how]), Told("two", log), required={"one", "two"})
    await entity.start()
    assert names(entity) == ["one", "two"]
    await entity.stop()
    assert log == ["load one", "load bad", "load two", "unload two", "unload one"]
    assert "add-in bad cannot be loaded: a mistake; the server runs without it" in events


@pytest_twisted.ensureDeferred
async def test_one_that_is_required_ends_the_start(log: list[str]) -> None:
    entity = made(Told("one", log), Told("bad", log, raising(OSError("no disk"))), Told("two", log), required={"bad"})
    with pytest.raises(AddinError, match="add-in bad cannot be loaded: no disk"):
        await entity.start()
    assert log == ["load one", "load bad", "unload one"]


@pytest_twisted.ensureDeferred
async def test_who_may_opt_out(log: list[str], events: list[str]) -> None:
    def addin() -> Told:
        return Told("it", log, raising(NotConfigured("no key")))

    for required in (None, ()):
        entity = made(addin(), required=required)
        await entity.start()
        assert entity.addins == ()
        await entity.stop()
    assert events == ["add-in it is not configured: no key"] * 2
    with pytest.raises(AddinError, match="add-in it is required, and is not configured: no key"):
        await made(addin(), required={"it"}).start()


@pytest_twisted.ensureDeferred
async def test_the_server_that_add_ins_see(log: list[str]) -> None:
    seen: list[Any] = []
    addin = Told("it", log, lambda server: seen.append((server.ae_title, server.folder, server.addins)))
    entity = made(addin, folder="/servers/HERE")
    await entity.start()
    with pytest.raises(AttributeError):
        entity.addins = ()  # type: ignore[misc]
    await entity.stop()
    assert seen == [("HERE", "/servers/HERE", (addin,))]
    assert made().folder is None


# -- stopped while it starts -------------------------------------------------------------------------------------------


def waiting(how: str) -> tuple[Callable[[Any], Any], Deferred[None]]:
    """A load that waits, and what it makes of being cancelled."""
    never: Deferred[None] = Deferred()
    later: Deferred[None] = Deferred()

    async def load(_: Any) -> None:
        try:
            await never
        except CancelledError:
            if how == "returns":
                return
            if how == "succeeds late":
                await later
                return
            if how == "goes on":
                await later
                raise ValueError("too late") from None
            if how == "raises another":
                raise ValueError("interrupted") from None
            raise

    return load, later


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("how", ["is cancelled", "returns", "raises another", "goes on", "succeeds late"])
async def test_cancelled_in_a_load_it_loads_no_further_one(log: list[str], how: str) -> None:
    load, later = waiting(how)
    entity = made(Told("one", log), Told("slow", log, load), Told("two", log), required=())
    starting = Deferred.fromCoroutine(entity.start())
    while "load slow" not in log:
        await soon()
    starting.cancel()
    with pytest.raises(CancelledError):
        await starting
    unloads = ["unload slow", "unload one"] if how == "returns" else ["unload one"]
    assert log == ["load one", "load slow", *unloads]
    await entity.stop()
    later.callback(None)
    assert log[-1] == ("unload slow" if how == "succeeds late" else "unload one")


@pytest_twisted.ensureDeferred
async def test_a_stop_ends_the_start_and_waits_for_its_end(log: list[str]) -> None:
    unloading: Deferred[None] = Deferred()
    one = Told("one", log)
    one.unload = lambda: log.append("unload one") or unloading  # type: ignore[func-returns-value, assignment]
    entity = made(one, Told("slow", log, lambda server: Deferred()))
    starting = Deferred.fromCoroutine(entity.start())
    while "load slow" not in log:
        await soon()
    stopping = Deferred.fromCoroutine(entity.stop())
    assert log[-1] == "unload one"
    await soon()
    assert not stopping.called
    unloading.callback(None)
    with pytest.raises(CancelledError):
        await starting
    await stopping


@pytest_twisted.ensureDeferred
async def test_stopped_while_a_load_blocks(log: list[str]) -> None:
    """As by a signal that came in a `load` that did not return to the reactor for long."""
    starting: Deferred[None]
    stopped: list[Deferred[None]] = []

    def stop() -> None:
        starting.cancel()
        stopped.append(Deferred.fromCoroutine(entity.stop()))

    def load(_: Any) -> None:
        # what is asked for from a signal handler comes at the reactor's next turn, what it causes at the one after
        reactor.callFromThread(lambda: reactor.callLater(0, stop))

    entity = made(Told("one", log), Told("slow", log, load), Told("two", log))
    starting = Deferred.fromCoroutine(entity.start())
    with pytest.raises(CancelledError):
        await starting
    await stopped[0]
    assert log == ["load one", "load slow", "unload slow", "unload one"]


@pytest_twisted.ensureDeferred
async def test_parts_are_there_for_the_add_ins(log: list[str]) -> None:
    class Part:
        def start(self) -> Deferred[None]:
            log.append("start part")
            return succeed(None)

        def stop(self) -> None:
            log.append("stop part")

    entity = made(Told("one", log))
    entity.parts.append(Part())
    await entity.start()
    await entity.stop()
    assert log == ["start part", "load one", "stop part", "unload one"]


def test_a_handler_whose_presentation_contexts_are_said_at_run_time() -> None:
    addin = Told("it", [])
    addin.on_c_echo = lambda request: 0  # type: ignore[attr-defined]
    addin.presentation_contexts = lambda association: []  # type: ignore[attr-defined]
    alsoProvides(addin, IProcessCEcho, IPresentationContextProvider)
    assert problems_with(addin) == []
