"""A server as its administrators see it: the real control over an application entity in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from pydantic import BaseModel
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.net.wire import Peer, echo_bytes
from tests.services.serving import Addin, EchoAddin, Serving
from txdicom.errors import BadArgument, Conflict, DicomError, NotFound
from txdicom.interfaces import AEEntry, IAddinOptions, IAETitle, IDicomAddin, IProcessServiceMessage, ServiceMessage
from txdicom.interfaces.control import AddinReport, Applied, ServiceAnswer
from txdicom.net.tls import SecureFactory
from txdicom.pdu.types import AssociateAC, AssociateRJ, UserIdentityRQ, UserInformation
from txdicom.scp.ae_titles import AETitles
from txdicom.scp.security import SecureOptions
from txdicom.server.ae.file import AETitleFile
from txdicom.server.control.control import ServerControl
from txdicom.server.settings.tables import Settings
from txdicom.services.blocking import BlockingPool
from txdicom.services.health import Health

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from txdicom.interfaces.control import ControlEvent


class Port:
    def __init__(self, factory: Any = None) -> None:
        self.factory = factory

    def getHost(self) -> Any:
        return SimpleNamespace(host="127.0.0.1", port=104)


class Options(BaseModel):
    days: int = 3


@implementer(IDicomAddin, IProcessServiceMessage, IAddinOptions)
class Told(Addin):
    """Takes the messages of `names`; `answer` is what it says."""

    name = "told"
    settings_model = Options

    def __init__(self, *names: str, answer: Callable[[Any], Any] = lambda message: None) -> None:
        self.names, self.answer = names, answer
        self.messages: list[ServiceMessage] = []

    def apply(self, settings: Any) -> None:
        pass

    def can_process(self, name: str) -> bool:
        if name == "bad":
            raise ValueError
        return name in self.names

    def process(self, message: ServiceMessage) -> Any:
        self.messages.append(message)
        return self.answer(message)


class FakeLive:
    """Settings that note what is asked; `listener` is who hears of changes."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.asked: list[Any] = []

    def watch(self, listener: Callable[[Applied], None]) -> None:
        self.listener = listener

    async def set(self, values: Any) -> Applied:
        self.asked.append(values)
        return Applied(changed=("server.max_clients",))

    async def set_addin_options(self, name: str, values: Any) -> Applied:
        self.asked.append((name, values))
        return Applied(changed=("addins.told.days",))


class Stage:
    def __init__(self, *addins: Any, titles: Any = None, **settings: Any) -> None:
        self.serving = Serving(EchoAddin(), **settings)
        self.clock: Clock = self.serving.clock
        self.acceptor = self.serving.acceptor
        self.titles = titles or AETitles(self.clock, [AEEntry(ae_title="CT1", host="ct1", port=104)])
        self.entity = SimpleNamespace(
            ae_title="HERE",
            config=self.acceptor.config,
            acceptor=self.acceptor,
            addins=addins,
            addin_settings={"told": Options(days=4)},
            ports=[Port()],
            health=Health(BlockingPool(None, 1, 1.0)),
            service={IAETitle: self.titles}.__getitem__,
        )
        self.stopped: list[bool] = []
        self.events: list[ControlEvent] = []
        self.live = FakeLive()
        self.control = ServerControl(self.clock, self.entity, self.live, self.stopped.append)  # type: ignore[arg-type]

    def listen(self) -> Callable[[], None]:
        return self.control.subscribe(self.events.append)

    def names(self) -> list[str]:
        return [event.name for event in self.events]


def test_status() -> None:
    stage = Stage()
    peer = stage.serving.peer()
    Peer(stage.acceptor)
    status = stage.control.status()
    assert (status.ae_title, status.state, status.ports) == ("HERE", "running", ["127.0.0.1:104"])
    assert (status.connections, status.associations, status.total) == (2, 1, 1)
    peer.lose()
    status = stage.control.status()
    assert (status.connections, status.associations, status.total) == (1, 0, 1)


def test_versions_and_settings() -> None:
    control = Stage().control
    assert {"txdicom", "python", "twisted"} <= control.version().keys()
    settings = control.settings()
    assert settings["server"]["admin_connections"] == 10
    assert settings["addins"]["required"] == ("storage",)
    assert "flush" in settings["archive"]


def test_ports_for_tls_are_told_apart() -> None:
    stage = Stage()
    factory = SecureFactory(SecureOptions(lambda: None), stage.acceptor, stage.clock)
    stage.entity.ports.append(Port(factory))
    assert stage.control.status().ports == ["127.0.0.1:104", "127.0.0.1:104 (TLS)"]


@pytest_twisted.ensureDeferred
async def test_settings_are_changed_and_told() -> None:
    stage = Stage()
    stage.listen()
    assert await stage.control.set_settings({"server": {"max_clients": 5}}) == Applied(changed=("server.max_clients",))
    assert await stage.control.set_addin_options("told", {"days": 5}) == Applied(changed=("addins.told.days",))
    assert stage.live.asked == [{"server": {"max_clients": 5}}, ("told", {"days": 5})]
    stage.live.listener(Applied(changed=("a.b",), restart=("c.d",)))
    [event] = stage.events
    assert event.name == "SettingsChanged"
    assert event.data == {"changed": ("a.b",), "restart": ("c.d",), "overridden": ()}


@pytest_twisted.ensureDeferred
async def test_ae_titles_changed_by_hand_are_told(tmp_path: Path) -> None:
    file = tmp_path / "aetitles.toml"
    file.write_text('[CT1]\nhost = "a"\n[CT2]\nhost = "b"\n')
    entries = {name: AEEntry(ae_title=name, host=host) for name, host in (("CT1", "a"), ("CT2", "b"))}
    titles = AETitleFile(reactor, str(file), entries)
    stage = Stage(titles=titles)
    stage.control.started()
    stage.listen()
    stage.listen()()
    await titles.reload()
    assert stage.events == []
    file.write_text('[CT1]\nhost = "a"\n[CT2]\nhost = "other"\n[CT3]\n')
    await titles.reload()
    assert [event.data for event in stage.events] == [{"ae_titles": ["CT2", "CT3"]}]
    # one told by the file is not told again
    await stage.control.add_ae_title({"ae_title": "CT4", "host": "d"})
    await stage.control.update_ae_title("CT4", {"ae_title": "CT5"})
    await stage.control.remove_ae_title("CT5")
    told = [event.data["ae_titles"] for event in stage.events]
    assert told[1:] == [["CT4"], ["CT4", "CT5"], ["CT5"]]


def test_pause_and_resume() -> None:
    stage = Stage()
    stage.control.pause()
    assert stage.control.status().state == "paused"
    answer = Peer(stage.acceptor).associate()
    assert isinstance(answer, AssociateRJ)
    assert (answer.result, answer.source, answer.reason) == (2, 3, 1)
    stage.control.resume()
    assert isinstance(Peer(stage.acceptor).associate(), AssociateAC)


def test_stop_comes_after_its_answer() -> None:
    stage = Stage()
    stage.control.stop(True)
    assert stage.stopped == []
    stage.clock.advance(0)
    assert stage.stopped == [True]


def test_garbage() -> None:
    assert Stage().control.collect_garbage() >= 0


# -- AE titles ---------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_ae_titles() -> None:
    stage = Stage()
    stage.listen()
    await stage.control.add_ae_title({"ae_title": "MR1", "host": "mr1", "port": 105})
    await stage.control.update_ae_title("MR1", {"port": 106})
    await stage.control.update_ae_title("MR1", {"ae_title": "MR2"})
    await stage.control.remove_ae_title("CT1")
    assert list(await stage.control.ae_titles()) == [AEEntry(ae_title="MR2", host="mr1", port=106)]
    assert [event.data["ae_titles"] for event in stage.events] == [["MR1"], ["MR1"], ["MR1", "MR2"], ["CT1"]]


@pytest_twisted.ensureDeferred
async def test_ae_titles_that_cannot_be() -> None:
    control = Stage().control
    with pytest.raises(BadArgument, match=r"(?s)port.*colour|colour.*port"):
        await control.add_ae_title({"ae_title": "MR1", "port": "x", "colour": "red"})
    with pytest.raises(BadArgument, match="port"):
        await control.update_ae_title("CT1", {"port": 0})
    with pytest.raises(Conflict):
        await control.add_ae_title({"ae_title": "CT1"})
    for call in (control.update_ae_title("XX", {}), control.remove_ae_title("XX")):
        with pytest.raises(NotFound):
            await call


# -- clients -----------------------------------------------------------------------------------------------------------


def test_clients() -> None:
    stage = Stage()
    peer = stage.serving.peer(calling="CT1")
    stage.clock.advance(10)
    [before] = stage.control.clients()
    assert (before.ae_title, before.address, before.last_action) == ("CT1", "192.0.2.7:50000", "")
    peer.send(echo_bytes())
    [client] = stage.control.clients()
    assert client.last_action == "C-ECHO-RQ"
    assert client.messages == 1
    assert client.bytes_received > before.bytes_received > 0
    assert client.bytes_sent > before.bytes_sent > 0
    assert client.last_active - before.last_active == pytest.approx(10, abs=1)
    assert peer.statuses() == [0]


def test_the_association_as_text() -> None:
    stage = Stage()
    user = UserInformation(16_384, "1.2.3.4", "OTHER 1", user_identity=UserIdentityRQ(2, b"jekyll", b"a passcode"))
    peer = Peer(stage.acceptor)
    number = peer.association.number
    assert "no A-ASSOCIATE-RQ yet" in stage.control.client_association(number)
    from dataclasses import replace

    from tests.net.wire import associate_rq
    from txdicom.pdu.encode import encode

    peer.send(encode(replace(associate_rq(calling="CT1"), user=user)))
    text = stage.control.client_association(number)
    for part in ("192.0.2.7:50000", "CT1", "OTHER 1", "1 of 3 accepted", "Verification SOP Class", "not supported"):
        assert part in text
    assert "user name and passcode" in text
    assert "jekyll" not in text
    assert "a passcode" not in text


def test_disconnecting() -> None:
    stage = Stage()
    peer = stage.serving.peer()
    stage.control.disconnect_client(peer.association.number)
    assert peer.wire.closed
    peer.lose()
    for method in (stage.control.disconnect_client, stage.control.client_association):
        with pytest.raises(NotFound, match="there is no client"):
            method(peer.association.number)


def test_the_events_of_a_client() -> None:
    stage = Stage()
    stage.listen()
    peer = stage.serving.peer(calling="CT1")
    for number in range(1, 6):
        peer.send(echo_bytes(number))
    assert stage.names() == ["ClientConnected", "ClientAssociated"]
    stage.clock.advance(1)
    peer.lose()
    assert stage.names() == ["ClientConnected", "ClientAssociated", "ClientAction", "ClientDisconnected"]
    assert stage.events[1].data["ae_title"] == "CT1"
    assert stage.events[2].data["messages"] == 5
    assert stage.events[2].data["last_action"] == "C-ECHO-RQ"
    assert stage.events[3].data["outcome"].startswith("aborted: ")


def test_nothing_is_kept_for_events_that_nobody_wants() -> None:
    stage = Stage()
    end = stage.listen()
    peer = stage.serving.peer()
    peer.send(echo_bytes())
    end()
    end()
    peer.send(echo_bytes(2))
    peer.lose()
    assert stage.serving.clean()
    assert stage.names() == ["ClientConnected", "ClientAssociated"]
    assert stage.control._clients._records == {}


def test_a_client_that_is_gone_has_no_action() -> None:
    stage = Stage()
    stage.listen()
    peer = stage.serving.peer()
    peer.send(echo_bytes())
    peer.lose()
    stage.clock.advance(2)
    assert stage.names()[-1] == "ClientDisconnected"


def test_one_who_listens_and_fails_harms_nobody() -> None:
    stage = Stage()

    def fail(event: Any) -> None:
        raise ValueError

    stage.control.subscribe(fail)
    stage.listen()
    peer = stage.serving.peer()
    peer.send(echo_bytes())
    assert peer.statuses() == [0]
    assert stage.names() == ["ClientConnected", "ClientAssociated"]


# -- add-ins -----------------------------------------------------------------------------------------------------------


def test_addins() -> None:
    stage = Stage(Told(), EchoAddin())
    assert [(one.name, one.has_options) for one in stage.control.addins()] == [("told", True), ("echo", False)]
    options = stage.control.addin_options("told")
    assert options.values == {"days": 4}
    assert options.json_schema["properties"]["days"]["type"] == "integer"
    with pytest.raises(NotFound, match="has no options"):
        stage.control.addin_options("echo")
    with pytest.raises(NotFound, match="there is no add-in other"):
        stage.control.addin_options("other")


async def later(value: Any) -> Any:
    return value


def failing(error: BaseException) -> Callable[[Any], Any]:
    def fail(message: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda message: {"swept": message.data}, ServiceAnswer(success=True, data={"swept": 3})),
        (lambda message: later([1]), ServiceAnswer(success=True, data=[1])),
        (failing(DicomError("the disk is full")), ServiceAnswer(success=False, error="the disk is full")),
        (
            failing(ValueError("a secret")),
            ServiceAnswer(success=False, error="add-in told has failed (ValueError); the log says why"),
        ),
        (
            failing(SystemExit(1)),
            ServiceAnswer(success=False, error="add-in told has failed (SystemExit); the log says why"),
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_service_messages(answer: Any, expected: Any) -> None:
    stage = Stage(EchoAddin(), Told("other"), Told("sweep", answer=answer))
    assert await stage.control.service_message(ServiceMessage(name="sweep", data=3)) == expected


@pytest_twisted.ensureDeferred
async def test_service_messages_that_nobody_takes() -> None:
    stage = Stage(Told("sweep", "ServiceShuttingDown"))
    for name in ("rain", "bad"):
        with pytest.raises(NotFound, match="no add-in takes"):
            await stage.control.service_message(ServiceMessage(name=name))
    with pytest.raises(BadArgument, match="of the server itself"):
        await stage.control.service_message(ServiceMessage(name="ServiceShuttingDown"))


def test_an_addin_that_does_not_answer() -> None:
    stage = Stage(Told("sweep", answer=lambda message: Deferred()), addin_timeout=20)
    answers: list[Any] = []
    Deferred.fromCoroutine(stage.control.service_message(ServiceMessage(name="sweep"))).addCallback(answers.append)
    stage.clock.advance(19)
    assert answers == []
    stage.clock.advance(2)
    assert answers == [ServiceAnswer(success=False, error="add-in told has not answered within 20 s")]


@pytest.mark.parametrize(
    ("answer", "report"),
    [
        (lambda message: None, AddinReport(healthy=True, sentences=[])),
        (lambda message: "it is slow", AddinReport(healthy=False, sentences=["it is slow"])),
        (lambda message: ["a", "b"], AddinReport(healthy=False, sentences=["a", "b"])),
        (failing(DicomError("no disk")), AddinReport(healthy=False, sentences=["no disk"])),
    ],
)
@pytest_twisted.ensureDeferred
async def test_health(answer: Any, report: Any) -> None:
    stage = Stage(Told("IsAddinHealthy", answer=answer), EchoAddin())
    assert await stage.control.addin_health("told") == report
    assert await stage.control.addin_health("echo") == AddinReport(healthy=True, sentences=[])
    with pytest.raises(NotFound):
        await stage.control.addin_health("other")


@pytest_twisted.ensureDeferred
async def test_what_the_server_knows_of_an_addin() -> None:
    stage = Stage(Told("IsAddinHealthy", answer=lambda message: "it is slow"))
    stage.entity.health.failed("told", "ValueError")
    first, second = (await stage.control.addin_health("told")).sentences
    assert "1 messages failed" in first
    assert second == "it is slow"


def test_shutting_down_is_told_and_not_waited_for() -> None:
    told = Told("ServiceShuttingDown", answer=lambda message: Deferred())
    stage = Stage(Told(), told)
    stage.listen()
    stage.control.shutting_down()
    assert [message.name for message in told.messages] == ["ServiceShuttingDown"]
    assert stage.names() == ["ServiceShuttingDown"]
    assert stage.control.status().state == "stopping"
    stage.control.ended()
    assert stage.clock.getDelayedCalls() == []
