"""txdicom.scp.entity: a server's life, in order, and what becomes of it when a part fails."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as real_reactor
from twisted.internet import task
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import LogLevel, globalLogPublisher
from zope.interface import Interface, implementer

from tests.net.wire import Peer, data_set, echo_bytes, store_bytes
from tests.services.querying import CONTEXTS, QueryAddin, find_bytes
from tests.services.serving import Addin, EchoAddin, StoreAddin
from txdicom.errors import AddinError, NotConfigured, SettingsError
from txdicom.interfaces import AEEntry, IDicomAddin, IProcessCEcho, IServer, IServiceLog, IWriter, presentation_context
from txdicom.pdu.types import Abort, AssociateAC, AssociateRJ
from txdicom.scp import ApplicationEntity, ScpConfig, listen
from txdicom.uids import VERIFICATION


class Port:
    def __init__(self, reactor: Reactor, number: int) -> None:
        self.reactor = reactor
        self.number = number
        self.accepting = True

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", self.number)

    def pauseProducing(self) -> None:
        self.accepting = False
        self.reactor.log.append(f"pause {self.number}")

    def resumeProducing(self) -> None:
        self.accepting = True
        self.reactor.log.append(f"accept {self.number}")

    def stopListening(self) -> Deferred[None]:
        self.reactor.log.append(f"close {self.number}")
        return succeed(None)


class Reactor:
    """The reactor of the tests, but for its ports."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.ports: list[Port] = []
        self.busy: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(real_reactor, name)

    def listenTCP(self, number: int, factory: Any, **options: Any) -> Port:
        if number in self.busy:
            raise CannotListenError("127.0.0.1", number, OSError(98, "Address already in use"))
        self.log.append(f"listen {number}")
        port = Port(self, number)
        self.ports.append(port)
        return port


@implementer(IDicomAddin, IProcessCEcho)
class Logged(EchoAddin):
    """An add-in that says what happens to it."""

    def __init__(self, reactor: Reactor, name: str, *, error: Exception | None = None, wait: Any = None) -> None:
        super().__init__()
        self.name = name
        self.reactor, self.error, self.wait = reactor, error, wait

    def load(self, server: Any) -> Any:
        self.reactor.log.append(f"load {self.name}")
        if self.error:
            raise self.error
        return self.wait

    def unload(self) -> Any:
        self.reactor.log.append(f"unload {self.name}")
        return self.wait


@implementer(IDicomAddin)
class Quiet(Addin):
    """One that answers nothing."""


def quiet(reactor: Reactor, name: str, **settings: Any) -> Any:
    """A `Logged` add-in that answers nothing, so that several go together."""
    made = Logged(reactor, name, **settings)
    plain = Quiet()
    plain.name, plain.load, plain.unload = name, made.load, made.unload  # type: ignore[method-assign]
    return plain


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


def entity(reactor: Reactor, *addins: Any, **settings: Any) -> ApplicationEntity:
    return ApplicationEntity(reactor, "SERVER", addins, ScpConfig(**settings))


async def soon() -> None:
    await task.deferLater(real_reactor, 0, lambda: None)  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_order_of_starting_and_stopping(reactor: Reactor) -> None:
    made = entity(reactor, quiet(reactor, "one"), quiet(reactor, "two", wait=succeed(None)), EchoAddin())
    assert await made.bind("tcp:104", "tcp:105") == [port.getHost() for port in reactor.ports]
    assert not any(port.accepting for port in reactor.ports)
    await made.start()
    await made.stop()
    assert reactor.log == [
        *("listen 104", "pause 104", "listen 105", "pause 105"),
        *("load one", "load two"),
        *("accept 104", "accept 105"),
        *("unload two", "unload one"),
        *("close 104", "close 105"),
    ]


@pytest_twisted.ensureDeferred
async def test_a_busy_port_closes_the_others_and_says_which(reactor: Reactor) -> None:
    reactor.busy = {105}
    made = entity(reactor, EchoAddin())
    with pytest.raises(CannotListenError, match="105"):
        await made.bind("tcp:104", "tcp:105")
    assert reactor.log == ["listen 104", "pause 104", "close 104"]
    assert made.ports == []


@pytest_twisted.ensureDeferred
async def test_a_coroutine_as_load_and_unload(reactor: Reactor) -> None:
    done = []

    class Coroutines(Quiet):
        async def load(self, server: Any) -> None:  # type: ignore[override]
            await soon()
            done.append("load")

        async def unload(self) -> None:  # type: ignore[override]
            await soon()
            done.append("unload")

    made = entity(reactor, Coroutines())
    await made.start()
    await made.stop()
    assert done == ["load", "unload"]


@pytest_twisted.ensureDeferred
async def test_an_addin_that_is_not_configured_is_left_out(reactor: Reactor) -> None:
    made = entity(reactor, Logged(reactor, "out", error=NotConfigured("no folder")), StoreAddin())
    await made.bind("tcp:104")
    await made.start()
    peer = Peer(made.acceptor)
    answer = peer.associate()
    assert [context.result for context in answer.contexts] == [3, 0, 3]
    peer.lose()
    await made.stop()
    assert "unload out" not in reactor.log


@pytest.mark.parametrize("error", [ValueError("a mistake"), OSError(13, "Permission denied"), SettingsError(["wrong"])])
@pytest_twisted.ensureDeferred
async def test_an_addin_that_fails_to_load_ends_the_start(reactor: Reactor, error: Exception) -> None:
    made = entity(reactor, quiet(reactor, "good"), quiet(reactor, "bad", error=error), quiet(reactor, "later"))
    await made.bind("tcp:104")
    with pytest.raises(AddinError, match="bad"):
        await made.start()
    assert reactor.log[2:] == ["load good", "load bad", "unload good", "close 104"]


@pytest_twisted.ensureDeferred
async def test_an_addin_that_fails_to_unload_does_not_keep_the_others(reactor: Reactor) -> None:
    class Sticky(Quiet):
        name = "sticky"

        def unload(self) -> None:
            raise RuntimeError("a mistake")

    made = entity(reactor, quiet(reactor, "one"), Sticky())
    await made.bind("tcp:104")
    await made.start()
    await made.stop()
    assert reactor.log[-2:] == ["unload one", "close 104"]


@pytest_twisted.ensureDeferred
async def test_addins_are_verified_and_every_mistake_told(reactor: Reactor) -> None:
    @implementer(IDicomAddin, IProcessCEcho)
    class Forgetful:
        name = "forgetful"

    @implementer(IDicomAddin)
    class Nameless:
        version = description = author = ""

        def load(self) -> None: ...
        def unload(self) -> None: ...

    with pytest.raises(SettingsError) as caught:
        entity(reactor, Forgetful(), Nameless(), object())
    problems = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 4
    assert "forgetful does not fulfil IProcessCEcho" in problems
    assert "Nameless does not fulfil IDicomAddin" in problems
    assert "object does not fulfil IDicomAddin" in problems
    await soon()


@pytest_twisted.ensureDeferred
async def test_services(reactor: Reactor) -> None:
    class IUnknown(Interface):
        """Nobody's."""

    made = entity(reactor)
    assert IServer.providedBy(made)
    assert IWriter.providedBy(made.service(IWriter))
    with pytest.raises(LookupError, match="IUnknown"):
        made.service(IUnknown)
    await made.stop()


@pytest_twisted.ensureDeferred
async def test_stopping_waits_for_operations_and_answers_newcomers(reactor: Reactor) -> None:
    waits: Deferred[int] = Deferred()
    made = entity(reactor, EchoAddin(lambda request: waits))
    await made.bind("tcp:104")
    await made.start()
    busy = Peer(made.acceptor)
    busy.associate()
    busy.send(echo_bytes())
    stopped = Deferred.fromCoroutine(made.stop())
    await soon()
    assert "close 104" not in reactor.log
    newcomer = Peer(made.acceptor)
    answer = newcomer.associate()
    assert isinstance(answer, AssociateRJ)
    assert (answer.result, answer.source, answer.reason) == (2, 3, 1)
    newcomer.lose()
    waits.callback(0)
    assert busy.statuses() == [0]
    assert [type(pdu) for pdu in busy.pdus()] == [Abort]
    busy.lose()
    await stopped
    assert reactor.log[-1] == "close 104"


@pytest_twisted.ensureDeferred
async def test_stopping_twice_at_once_and_once_more(reactor: Reactor) -> None:
    waits: Deferred[int] = Deferred()
    made = entity(reactor, EchoAddin(lambda request: waits), quiet(reactor, "one"))
    await made.bind("tcp:104")
    await made.start()
    busy = Peer(made.acceptor)
    busy.associate()
    busy.send(echo_bytes())
    first, second = Deferred.fromCoroutine(made.stop()), Deferred.fromCoroutine(made.stop())
    waits.callback(0)
    busy.lose()
    await first
    await second
    await made.stop()
    assert reactor.log.count("unload one") == 1


@pytest_twisted.ensureDeferred
async def test_whoever_comes_while_addins_unload_does_not_stay(reactor: Reactor) -> None:
    unloading: Deferred[None] = Deferred()
    slow = quiet(reactor, "slow")
    slow.unload = lambda: reactor.log.append("unloading") or unloading
    made = entity(reactor, slow, EchoAddin())
    await made.bind("tcp:104")
    await made.start()
    stopped = Deferred.fromCoroutine(made.stop())
    while not reactor.log.count("unloading"):
        await soon()
    late = Peer(made.acceptor)
    assert isinstance(late.associate(), AssociateRJ)
    unloading.callback(None)
    while not late.wire.closed:
        await soon()
    assert not stopped.called
    late.lose()
    await stopped


@pytest_twisted.ensureDeferred
async def test_stopping_one_that_never_started(reactor: Reactor) -> None:
    made = entity(reactor, quiet(reactor, "one"))
    await made.bind("tcp:104")
    await made.stop()
    assert reactor.log == ["listen 104", "pause 104", "close 104"]


@pytest_twisted.ensureDeferred
async def test_a_large_data_set_is_staged_and_nothing_of_it_stays(reactor: Reactor) -> None:
    folders = []

    def handler(request: Any) -> int:
        folders.append(os.path.dirname(request.received.path))
        return 0

    made = entity(reactor, StoreAddin(handler))
    await made.start()
    peer = Peer(made.acceptor)
    peer.associate()
    peer.send(store_bytes(data=data_set(pixels=3_000_000), max_length=131_072))
    while not (statuses := peer.statuses()):
        await soon()
    assert statuses == [0]
    assert os.stat(folders[0]).st_mode & 0o777 == 0o700
    peer.lose()
    await made.stop()
    assert not Path(folders[0]).exists()  # noqa: ASYNC240


@pytest_twisted.ensureDeferred
async def test_a_half_received_large_data_set_is_gone_after_the_stop(reactor: Reactor, tmp_path: Any) -> None:
    before = len(os.listdir("/proc/self/fd"))
    made = entity(reactor, StoreAddin(), temporary_directory=str(tmp_path / "made" / "when needed"))
    await made.start()
    peer = Peer(made.acceptor)
    peer.associate()
    stream = store_bytes(data=data_set(pixels=3_000_000), max_length=131_072)
    peer.send(stream[:-10])
    await soon()
    stopped = Deferred.fromCoroutine(made.stop())
    peer.association.abort("enough")
    peer.lose()
    await stopped
    await soon()
    assert os.listdir(tmp_path / "made" / "when needed") == []
    assert len(os.listdir("/proc/self/fd")) == before


# -- listen ------------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_listen(reactor: Reactor) -> None:
    running = await listen(reactor, "tcp:104", ae_title="SERVER", addins=[EchoAddin()], max_clients=5)  # type: ignore[arg-type]
    assert reactor.ports[0].accepting
    assert running.config.max_clients == 5
    peer = Peer(running.acceptor)
    assert isinstance(peer.associate(), AssociateAC)
    peer.send(echo_bytes())
    assert peer.statuses() == [0]
    peer.lose()
    await running.stop()


@pytest_twisted.ensureDeferred
async def test_queries_are_read_in_the_character_set_of_the_table(reactor: Reactor) -> None:
    names: list[str] = []

    def answer(request: Any) -> list[Any]:
        names.append(str(request.identifier.PatientName))
        return []

    known = AEEntry(ae_title="CALLER", character_set="ISO_IR 144")
    addins = [QueryAddin(answer)]
    server = await listen(reactor, "tcp:11112", ae_title="SERVER", addins=addins, known_callers=[known])  # type: ignore[arg-type]
    for title in ("CALLER", "OTHER"):
        peer = Peer(server.acceptor)
        peer.associate(*CONTEXTS, calling=title, called="SERVER")
        peer.send(find_bytes(identifier=b"\x10\0\x10\0PN\4\0" + "Жора".encode("iso8859_5")))
        assert peer.statuses() == [0]
        peer.lose()
    await server.stop()
    assert names == ["Жора", "Жора".encode("iso8859_5").decode("latin_1")]


@pytest_twisted.ensureDeferred
async def test_a_script_has_a_service_log(reactor: Reactor) -> None:
    server = await listen(reactor, "tcp:11112", ae_title="SERVER", addins=[EchoAddin()])  # type: ignore[arg-type]
    seen: list[Any] = []
    globalLogPublisher.addObserver(seen.append)
    try:
        server.service(IServiceLog).event({"log_format": "hello", "log_namespace": "a", "log_level": LogLevel.info})
    finally:
        globalLogPublisher.removeObserver(seen.append)
        await server.stop()
    assert [event["log_format"] for event in seen] == ["hello"]


@pytest_twisted.ensureDeferred
async def test_listen_with_wrong_settings_opens_nothing(reactor: Reactor) -> None:
    with pytest.raises(SettingsError, match="did you mean max_clients"):
        await listen(reactor, "tcp:104", ae_title="SERVER", addins=[], max_client=5)  # type: ignore[arg-type]
    assert reactor.log == []


@pytest_twisted.ensureDeferred
async def test_listen_with_addins_that_collide(reactor: Reactor) -> None:
    other = EchoAddin()
    other.name = "other"
    with pytest.raises(SettingsError, match="both answer"):
        await listen(reactor, ["tcp:104"], ae_title="SERVER", addins=[EchoAddin(), other])  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="two add-ins are called echo"):
        await listen(reactor, ["tcp:104"], ae_title="SERVER", addins=[EchoAddin(), EchoAddin()])  # type: ignore[arg-type]
    assert reactor.log == []


@pytest_twisted.ensureDeferred
async def test_listen_on_a_busy_port(reactor: Reactor) -> None:
    reactor.busy = {104}
    with pytest.raises(CannotListenError):
        await listen(reactor, "tcp:104", ae_title="SERVER", addins=[])  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_cancelling_listen_closes_what_is_open(reactor: Reactor) -> None:
    from twisted.internet.defer import CancelledError

    starting = listen(
        reactor,  # type: ignore[arg-type]
        "tcp:104",
        ae_title="SERVER",
        addins=[quiet(reactor, "one"), quiet(reactor, "two", wait=Deferred())],
    )
    await soon()
    starting.cancel()
    with pytest.raises(CancelledError):
        await starting
    assert reactor.log[-2:] == ["unload one", "close 104"]


def test_presentation_contexts_are_kept_in_order() -> None:
    from txdicom.interfaces import declared_contexts

    @presentation_context("1.2.3", "1.2.840.10008.1.2")
    @presentation_context(VERIFICATION)
    def method(self: Any, request: Any) -> None: ...

    assert declared_contexts(method) == ((VERIFICATION, ()), ("1.2.3", ("1.2.840.10008.1.2",)))
    assert declared_contexts(len) == ()
