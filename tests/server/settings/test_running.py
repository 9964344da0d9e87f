"""Settings applied to an application entity in this process: what is different afterwards, and what is not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as real_reactor
from twisted.internet.task import Clock
from twisted.logger import Logger
from zope.interface import implementer

from tests.certificates import HOSTS, Authority
from tests.net.wire import Peer
from txdicom.errors import BadArgument, SettingsError
from txdicom.interfaces import IAETitle, IDicomSecurity, Private
from txdicom.interfaces.control import Applied
from txdicom.pdu.types import AssociateAC, AssociateRJ
from txdicom.server import compose
from txdicom.server.logs.log import choose_log
from txdicom.server.settings.live import LiveSettings
from txdicom.server.settings.running import EntityTarget

reactor: Any = real_reactor
ADDIN = """
from pydantic import BaseModel
from zope.interface import implementer
from txdicom.interfaces import IAddinOptions, IDicomAddin

class Options(BaseModel):
    days: int = 3
    how: str = ""

@implementer(IDicomAddin, IAddinOptions)
class Told:
    name = "told"
    version = "1"
    description = author = ""
    settings_model = Options
    def __init__(self):
        self.taken = []
    def load(self, server): pass
    def unload(self): pass
    def apply(self, settings):
        self.taken.append(settings)
        if settings.how == "fail":
            raise ValueError("a secret")
        if settings.how == "exit":
            raise SystemExit(3)
        if settings.how == "wait":
            from twisted.internet.defer import Deferred
            return Deferred()

addin = Told()
"""
LICENSE = """
from zope.interface import implementer
from txdicom.interfaces import ILicense, IServerConfig

@implementer(IServerConfig, ILicense)
class Ten:
    name = "ten"
    limits = {"max_clients": 10}
    def check(self): pass
    def configure_server(self, server):
        server.provide(ILicense, self)

addin = Ten()
"""


class Stage:
    """A server without ports; its entity is not started, unless a test does."""

    def __init__(self, folder: Path, *, addin: str = "", licence: str = "", before: str = "") -> None:
        self.folder = folder / "HERE"
        made = compose.prepare(str(folder), "HERE", [], [], {})
        made.folder.release()
        for place, text in (("addins/told.py", addin), ("configuration/ten.py", licence), ("server.toml", before)):
            if text:
                (self.folder / place).write_text(text)
        self.prepared = compose.prepare(str(folder), "HERE", [], [], {})
        self.entity = compose.make_entity(self.prepared, reactor)
        file = str(self.folder / "log" / "server.log")
        self.log, _ = choose_log({"nodaemon": False}, file, self.prepared.settings.log)
        self.log.serve(self.entity, str(self.folder / "log" / "datasets"))
        self.entity.services.fill()
        target = EntityTarget(reactor, self.entity, self.log, self.prepared.security)
        prepared = self.prepared
        self.live = LiveSettings(prepared.folder, prepared.settings, prepared.text, prepared.overrides, target)

    def end(self) -> None:
        self.log.close()
        self.prepared.folder.release()

    def addin(self, name: str) -> Any:
        return next(one for one in self.entity.addins if one.name == name)


@pytest.fixture
def made(tmp_path: Path) -> Any:
    stages: list[Stage] = []

    def make(**arguments: Any) -> Stage:
        stages.append(Stage(tmp_path, **arguments))
        return stages[-1]

    yield make
    for stage in stages:
        stage.end()


async def settle(stage: Stage) -> None:
    """The AE table is read, so that the next decisions are made at once."""
    await stage.entity.service(IAETitle).reload()


@pytest_twisted.ensureDeferred
async def test_limits_hold_at_once_and_the_rest_for_associations_to_come(made: Any) -> None:
    stage = made()
    await settle(stage)
    acceptor = stage.entity.acceptor
    peers = [Peer(acceptor)]
    assert isinstance(peers[0].associate(called="HERE"), AssociateAC)
    await stage.live.set(
        {"server": {"max_clients": 1, "client_timeout": 9.0, "max_pdu_length": 8192, "check_called_ae": False}}
    )
    await settle(stage)
    peers.append(Peer(acceptor))
    assert isinstance(peers[-1].associate(called="OTHER"), AssociateRJ)
    await stage.live.set({"server": {"max_clients": 0}})
    await settle(stage)
    peers.append(Peer(acceptor))
    answer = peers[-1].associate(called="OTHER")
    assert isinstance(answer, AssociateAC)
    assert answer.user.max_length == 8192
    assert [peers[0].association.config.client_timeout, peers[-1].association.config.client_timeout] == [300.0, 9.0]
    await stage.live.set({"server": {"allow_anonymous": False}})
    await settle(stage)
    peers.append(Peer(acceptor))
    assert isinstance(peers[-1].associate(called="HERE"), AssociateRJ)
    for peer in peers:
        peer.lose()


@pytest_twisted.ensureDeferred
async def test_the_licence_still_holds(made: Any) -> None:
    stage = made(licence=LICENSE)
    assert stage.entity.config.max_clients == 10
    await stage.live.set({"server": {"max_clients": 50}})
    assert stage.entity.config.max_clients == stage.entity.acceptor.slots.config.max_clients == 10
    await stage.live.set({"server": {"max_clients": 5}})
    assert stage.entity.config.max_clients == 5


# -- add-ins -----------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_an_addin_takes_its_settings(made: Any) -> None:
    stage = made(addin=ADDIN)
    told = stage.addin("told")
    assert await stage.live.set_addin_options("told", {"days": 4}) == Applied(changed=("addins.told.days",))
    assert [one.days for one in told.taken] == [4]
    assert stage.entity.addin_settings["told"].days == 4
    # another change does not concern it
    await stage.live.set({"server": {"max_clients": 5}})
    assert len(told.taken) == 1


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("fail", r"it has failed \(ValueError\); the log says why$"),
        ("exit", r"it has failed \(SystemExit\); the log says why$"),
        ("wait", r"it has not answered within 0\.05 s$"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_addin_that_cannot_keeps_its_settings(made: Any, how: str, why: str) -> None:
    stage = made(addin=ADDIN)
    await stage.live.set({"server": {"addin_timeout": 0.05}})
    with pytest.raises(BadArgument, match="add-in told cannot take its settings: " + why):
        await stage.live.set_addin_options("told", {"days": 5, "how": how})
    assert [(one.days, one.how) for one in stage.addin("told").taken] == [(5, how), (3, "")]
    assert stage.entity.addin_settings["told"].days == 3
    assert not (stage.folder / "addins.d" / "told.toml").exists()


# -- the archive -------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_archive_keeps_to_other_settings(made: Any) -> None:
    stage = made()
    await stage.entity.start()
    store = stage.addin("storage")._store
    await stage.live.set({"archive": {"flush": False, "duplicates": "refuse"}})
    assert (store._flush, store._duplicates) == (False, "refuse")
    await stage.entity.stop()


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_tls_is_checked_before_it_is_taken(made: Any, tmp_path: Path) -> None:
    stage = made()
    pair = Authority(tmp_path).issue("server", *HOSTS)
    security = stage.entity.service(IDicomSecurity)
    before = security.client_options("localhost")
    with pytest.raises(BadArgument, match=r"tls\.certificate: .*none\.pem"):
        await stage.live.set({"tls": {"certificate": "none.pem", "key": pair.key}})
    assert stage.live.settings.tls.certificate == ""
    applied = await stage.live.set({"tls": pair.files})
    assert applied.changed == ("tls.certificate", "tls.key")
    assert stage.entity.service(IDicomSecurity) is security
    assert security.client_options("localhost") is not before
    # a key that does not fit is found when the files are read again, and nothing changes
    break_file(pair.key)
    with pytest.raises(SettingsError, match=r"tls\.key"):
        await stage.live.reload()


def break_file(path: str) -> None:
    Path(path).write_text("broken")


@implementer(IDicomSecurity)
class TheirSecurity:
    """TLS of an add-in, whose files are read again as the test says."""

    def __init__(self, outcome: Exception | None) -> None:
        self.outcome = outcome

    def server_options(self) -> Any:
        raise NotImplementedError

    def client_options(self, host: str, verify_host_name: bool | None = None) -> Any:
        raise NotImplementedError

    async def reload(self) -> None:
        if self.outcome is not None:
            raise self.outcome


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [(SettingsError(["the card is gone"]), "the card is gone"), (KeyError("x"), "TLS: the files cannot be read again")],
)
@pytest_twisted.ensureDeferred
async def test_tls_of_an_addin_that_cannot_be_read_again(outcome: Exception, sentence: str) -> None:
    security = TheirSecurity(outcome)
    entity: Any = SimpleNamespace(service=lambda interface: security)
    target = EntityTarget(Clock(), entity, None, None)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=sentence):
        await target.reload_files()
    security.outcome = None
    await target.reload_files()
    target.reopen_logs()  # somebody else's


# -- the log -----------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_log_changes(made: Any, tmp_path: Path) -> None:
    stage = made()
    logger = Logger(namespace="txdicom.here", observer=stage.log)
    audit, text = stage.folder / "log" / "audit.jsonl", stage.folder / "log" / "server.log"
    logger.debug("first")
    logger.info("second", audit="tested")
    await stage.live.set({"log": {"level": "debug", "audit": False, "patient_data": True, "rotate_size": 5}})
    logger.debug("third {name}", name=Private("DOE"))
    logger.info("fourth", audit="tested")
    assert "first" not in text.read_text()
    assert "third DOE" in (stage.folder / "log" / "server.log.1").read_text()
    assert audit.read_text().count("\n") == 1
    await stage.live.set({"log": {"audit": True, "rotate_size": 0, "level": "error"}})
    logger.info("fifth", audit="tested")
    assert audit.read_text().count("\n") == 2
    assert "fifth" not in text.read_text()
    text.rename(tmp_path / "moved")
    await stage.live.reload()
    logger.error("sixth")
    assert "sixth" in text.read_text()


@pytest_twisted.ensureDeferred
async def test_an_audit_log_that_cannot_be_opened_is_told(made: Any) -> None:
    stage = made(before="[log]\naudit = false\n")
    (stage.folder / "log" / "audit.jsonl").mkdir()
    with pytest.raises(BadArgument, match=r"audit\.jsonl cannot be written"):
        await stage.live.set({"log": {"audit": True, "level": "debug"}})
    assert stage.live.settings.log.level == "info"
    (stage.folder / "log" / "audit.jsonl").rmdir()
    await stage.live.set({"log": {"audit": True, "audit_instances": True, "datasets": "all"}})
    assert len(stage.entity._spool.observers) == 2
    await stage.live.set({"log": {"audit_instances": False, "datasets": "none"}})
    assert stage.entity._spool.observers == ()
