"""The settings of a running server, changed and read again, with a target that does as it is told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from pydantic import BaseModel, Field, SecretStr
from twisted.internet.defer import Deferred
from zope.interface import implementer

from tests.services.serving import Addin
from txdicom.errors import BadArgument, DicomError, NotFound, SettingsError
from txdicom.interfaces import IAddinOptions, IDicomAddin
from txdicom.interfaces.control import Applied
from txdicom.server import compose
from txdicom.server.settings.file import Written
from txdicom.server.settings.live import LiveSettings
from txdicom.server.settings.mistakes import for_log
from txdicom.server.settings.tables import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from twisted.logger import LogEvent

    from txdicom.server.settings.live import Change


class Options(BaseModel):
    days: int = Field(default=3, ge=1)
    name: str | None = None
    password: SecretStr = Field(default=SecretStr(""), min_length=8)
    routes: list[str | None] = []


@implementer(IDicomAddin, IAddinOptions)
class Told(Addin):
    name = "told"
    settings_model = Options

    def apply(self, settings: Any) -> None:
        pass


class Quiet(Addin):
    name = "quiet"


class Target:
    """Notes what it is asked; `refuses` is raised at the next change."""

    def __init__(self) -> None:
        self.addins = [Told(), Quiet()]
        self.addin_settings: dict[str, BaseModel] = {"told": Options()}
        self.calls: list[Any] = []
        self.refuses: BaseException | None = None
        self.unreadable: list[str] = []
        self.waits: Deferred[None] | None = None

    async def apply(self, change: Change) -> None:
        self.calls.append(change)
        if self.waits is not None:
            await self.waits
        refuses, self.refuses = self.refuses, None
        if refuses is not None:
            raise refuses
        self.addin_settings.update(change.addins)

    def reopen_logs(self) -> None:
        self.calls.append("reopen_logs")

    async def reload_files(self) -> None:
        self.calls.append("reload_files")
        if self.unreadable:
            raise SettingsError(self.unreadable)


class Stage:
    def __init__(self, folder: Path, *sets: str) -> None:
        self.prepared = compose.prepare(str(folder), "HERE", sets, [], {})
        self.prepared.folder.release()
        self.folder = folder / "HERE"
        self.file = self.folder / "server.toml"
        self.own = self.folder / "addins.d" / "told.toml"
        self.target = Target()
        self.told: list[Applied] = []
        prepared = self.prepared
        self.live = LiveSettings(prepared.folder, prepared.settings, prepared.text, prepared.overrides, self.target)
        self.live.watch(self.told.append)

    def add(self, text: str) -> None:
        """At the end, where the table [addins] is."""
        self.file.write_text(self.file.read_text() + text)

    def replace(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert text.count(old) == 1
        self.file.write_text(text.replace(old, new))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    from twisted.logger import formatEvent, globalLogPublisher

    found: list[str] = []

    def take(event: LogEvent) -> None:
        found.append(formatEvent(event))

    globalLogPublisher.addObserver(take)
    yield found
    globalLogPublisher.removeObserver(take)


# -- by an administrator -----------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_setting_is_written_and_applied(stage: Stage) -> None:
    before = stage.file.read_text()
    applied = await stage.live.set({"server": {"max_clients": 50}})
    assert applied == Applied(changed=("server.max_clients",))
    assert stage.file.read_text() == before.replace("#max_clients = 1000\n", "max_clients = 50\n")
    assert stage.file.stat().st_mode & 0o777 == 0o600
    [change] = stage.target.calls
    assert (change.old.server.max_clients, change.new.server.max_clients) == (1000, 50)
    assert change.text == stage.live.text == stage.file.read_text()
    assert stage.live.settings.server.max_clients == 50
    assert stage.told == [applied]


@pytest_twisted.ensureDeferred
async def test_what_needs_a_restart_is_written_and_said(stage: Stage) -> None:
    values = {"server": {"listen": "tcp:104", "display_name": "A name"}, "log": {"format": "json"}}
    applied = await stage.live.set(values)
    assert applied == Applied(changed=("server.display_name",), restart=("server.listen", "log.format"))
    assert "tcp:11112" in stage.live.settings.server.listen[0]
    assert read_settings(stage.live.text, ae_title="HERE").server.listen == ("tcp:104",)
    # a worker that begins now has what the others have
    again = read_settings(stage.live.text, stage.live.overrides, ae_title="HERE")
    assert again.server == stage.prepared.settings.server.__class__(
        **{**vars(read_settings("", ae_title="HERE").server), "display_name": "A name"}
    )
    assert again.log.format == "text"
    back = await stage.live.set({"server": {"listen": ["tcp:11112:interface=127.0.0.1"]}})
    assert back == Applied()
    assert [one.path for one in stage.live.overrides] == [("log", "format")]
    assert len(stage.told) == 1


@pytest_twisted.ensureDeferred
async def test_what_the_command_line_sets_is_said(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "server.max_clients=7", "server.listen=[]")
    applied = await stage.live.set({"server": {"max_clients": 50, "max_half_open": 9}})
    assert applied == Applied(changed=("server.max_half_open",), overridden=("server.max_clients",))
    assert stage.live.settings.server.max_clients == 7
    assert "\nmax_clients = 50\n" in stage.file.read_text()
    with pytest.raises(BadArgument, match=r"server\.max_clients: input should be greater"):
        await stage.live.set({"server": {"max_clients": -1}})


@pytest_twisted.ensureDeferred
async def test_every_mistake_is_said_and_nothing_changes(stage: Stage) -> None:
    before = stage.file.read_text()
    with pytest.raises(BadArgument) as raised:
        await stage.live.set(
            {
                "server": {"max_clients": "many", "max_cliens": 5, "ae_title": "OTHER", "listen": ["nowhere:1"]},
                "sever": {"a": 1},
                "log": {"level": None},
            }
        )
    text = "\n".join(raised.value.problems)
    for piece in (
        "server.max_clients: input should be a valid integer, not 'many'",
        "server.max_cliens: there is no such setting; did you mean max_clients?",
        "server.ae_title: this is the server HERE",
        "server.listen[0]: ",
        "sever.a: there is no such table",
        "log.level: input should be",
    ):
        assert piece in text
    with pytest.raises(BadArgument, match=r"addins\.told: the settings of an add-in are set by themselves"):
        await stage.live.set({"addins": {"told": {"days": 2}}})
    with pytest.raises(BadArgument, match=r"too long for the admin(?s:.*)addins\.enabled: there is no add-in 'nope'"):
        await stage.live.set({"server": {"admin_socket": "s" * 108}, "addins": {"enabled": ["nope"]}})
    with pytest.raises(BadArgument, match="server: it has to be an object"):
        await stage.live.set({"server": 3})  # type: ignore[dict-item]
    with pytest.raises(BadArgument, match=r"TLS cannot be done without"):
        await stage.live.set({"server": {"secure_listen": ["tcp:2762"]}})
    assert stage.file.read_text() == before
    assert (stage.target.calls, stage.told) == ([], [])


@pytest_twisted.ensureDeferred
async def test_a_file_broken_by_hand_is_said_with_its_line(stage: Stage) -> None:
    stage.replace("#max_clients = 1000", "max_clients = 1.5")
    with pytest.raises(SettingsError, match=r"server\.toml:\d+: server\.max_clients") as raised:
        await stage.live.set({"server": {"max_half_open": 5}})
    assert not isinstance(raised.value, BadArgument)
    assert "max_half_open = 5" not in stage.file.read_text()


@pytest_twisted.ensureDeferred
async def test_what_was_changed_by_hand_is_applied_too(stage: Stage) -> None:
    stage.replace("#max_clients = 1000", "max_clients = 15")
    applied = await stage.live.set({"server": {"max_half_open": 5}})
    assert set(applied.changed) == {"server.max_clients", "server.max_half_open"}
    stage.replace("max_clients = 15", "max_clients = 16")
    applied = await stage.live.set_addin_options("told", {"days": 4})
    assert set(applied.changed) == {"server.max_clients", "addins.told.days"}


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_applied_is_taken_back(stage: Stage) -> None:
    before = stage.file.read_text()
    stage.target.refuses = SettingsError(["no"])
    with pytest.raises(BadArgument, match="no"):
        await stage.live.set({"server": {"max_clients": 50}})
    assert stage.file.read_text() == stage.live.text == before
    first, back = stage.target.calls
    assert (back.old, back.new) == (first.new, first.old)
    assert back.text == before
    assert stage.live.settings.server.max_clients == 1000
    assert stage.told == []
    stage.target.refuses = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await stage.live.set({"server": {"max_clients": 50}})
    assert stage.file.read_text() == before
    assert await stage.live.set({"server": {"max_clients": 50}}) == Applied(changed=("server.max_clients",))


@pytest_twisted.ensureDeferred
async def test_it_is_taken_back_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Written] = []
    take_back = Written.take_back

    def note(written: Written) -> None:
        taken.append(written)
        take_back(written)

    monkeypatch.setattr(Written, "take_back", note)
    stage.target.refuses = SettingsError(["no"])
    with pytest.raises(BadArgument, match="no"):
        await stage.live.set({"server": {"max_clients": 50}})
    assert len(taken) == 1


@pytest_twisted.ensureDeferred
async def test_changes_follow_one_another_and_go_on_alone(stage: Stage) -> None:
    stage.target.waits = Deferred()
    first = Deferred.fromCoroutine(stage.live.set({"server": {"max_clients": 50}}))
    second = Deferred.fromCoroutine(stage.live.set({"server": {"max_clients": 60}}))
    first.addErrback(lambda failure: None)
    while not stage.target.calls:
        await wait()
    first.cancel()
    await wait()
    assert len(stage.target.calls) == 1
    stage.target.waits.callback(None)
    assert await second == Applied(changed=("server.max_clients",))
    assert [one.new.server.max_clients for one in stage.target.calls] == [50, 60]


async def wait() -> None:
    from twisted.internet import reactor, task

    await task.deferLater(reactor, 0.01)  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_a_file_that_cannot_be_written(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DicomError, match=r"server\.toml cannot be written: No space left on device"):
        await stage.live.set({"server": {"max_clients": 50}})
    assert "\nmax_clients" not in stage.file.read_text()
    assert [name for name in os.listdir(stage.folder) if name.startswith(".server")] == []


@pytest_twisted.ensureDeferred
async def test_line_ends_stay(stage: Stage) -> None:
    before = stage.file.read_bytes().replace(b"\n", b"\r\n")
    stage.file.write_bytes(before)
    await stage.live.set({"server": {"max_clients": 50}})
    assert stage.file.read_bytes() == before.replace(b"#max_clients = 1000\r\n", b"max_clients = 50\r\n")


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_gone_is_no_file_of_defaults(stage: Stage) -> None:
    await stage.live.set({"server": {"max_clients": 50}})
    stage.file.unlink()
    for change in (stage.live.reload(), stage.live.set({"server": {"max_half_open": 5}})):
        with pytest.raises(SettingsError, match="is not there: put it back"):
            await change
    assert stage.live.settings.server.max_clients == 50
    assert not stage.file.exists()


@pytest_twisted.ensureDeferred
async def test_a_link_stays_one(stage: Stage, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    stage.file.rename(elsewhere)
    stage.file.symlink_to(elsewhere)
    await stage.live.set({"server": {"max_clients": 50}})
    assert stage.file.is_symlink()
    assert "\nmax_clients = 50\n" in elsewhere.read_text()


# -- add-ins -----------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_an_addins_settings_go_to_its_own_file(stage: Stage) -> None:
    applied = await stage.live.set_addin_options("told", {"days": 4, "name": None})
    assert applied == Applied(changed=("addins.told.days",))
    assert stage.own.read_text() == "days = 4\n"
    assert stage.own.stat().st_mode & 0o777 == 0o600
    [change] = stage.target.calls
    assert change.addins == {"told": Options(days=4)}
    await stage.live.set_addin_options("told", {"name": "x", "routes": ["a", "b"]})
    assert stage.own.read_text() == 'days = 4\nname = "x"\nroutes = ["a", "b"]\n'
    assert stage.target.addin_settings["told"] == Options(days=4, name="x", routes=["a", "b"])
    assert await stage.live.set_addin_options("told", {"name": None}) == Applied(changed=("addins.told.name",))
    assert stage.own.read_text() == 'days = 4\n#name = "x"\nroutes = ["a", "b"]\n'


@pytest_twisted.ensureDeferred
async def test_an_addins_settings_stay_where_they_stand(stage: Stage) -> None:
    stage.add("\n[addins.told] # its own\ndays = 5 # five\n")
    stage.own.write_text("# this one too\n")
    await stage.live.set_addin_options("told", {"days": 6, "name": "x"})
    assert stage.file.read_text().endswith("\n[addins.told] # its own\ndays = 6 # five\n")
    assert stage.own.read_text() == '# this one too\nname = "x"\n'
    stage.own.unlink()
    await stage.live.set_addin_options("told", {"name": "y"})
    assert stage.file.read_text().endswith('days = 6 # five\nname = "y"\n')
    assert not stage.own.exists()


@pytest_twisted.ensureDeferred
async def test_mistakes_in_an_addins_settings(stage: Stage) -> None:
    with pytest.raises(BadArgument) as raised:
        await stage.live.set_addin_options("told", {"days": 0, "nme": "x"})
    assert set(raised.value.problems) == {
        "nme: there is no such setting; did you mean name?",
        "days: input should be greater than or equal to 1, not 0",
    }
    with pytest.raises(BadArgument, match="TOML has no NoneType"):
        await stage.live.set_addin_options("told", {"routes": [None]})
    with pytest.raises(NotFound, match="there is no add-in other"):
        await stage.live.set_addin_options("other", {})
    with pytest.raises(NotFound, match="add-in quiet has no options"):
        await stage.live.set_addin_options("quiet", {"a": 1})
    assert not stage.own.exists()
    assert stage.target.calls == []


@pytest_twisted.ensureDeferred
async def test_an_addin_that_cannot_take_its_settings(stage: Stage) -> None:
    stage.add("\n[addins.told]\ndays = 5\n")
    await stage.live.reload()
    before, stage.target.calls = stage.file.read_text(), []
    stage.target.refuses = SettingsError(["add-in told cannot take its settings: no"])
    with pytest.raises(BadArgument, match="add-in told cannot take its settings: no"):
        await stage.live.set_addin_options("told", {"days": 6, "name": "x"})
    assert stage.file.read_text() == before
    assert not stage.own.exists()
    given = [one.addins["told"] for one in stage.target.calls]
    assert given == [Options(days=6, name="x"), Options(days=5)]
    assert stage.target.addin_settings["told"] == Options(days=5)


@pytest_twisted.ensureDeferred
async def test_an_addins_setting_of_the_command_line(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "addins.told.days=9")
    stage.target.addin_settings["told"] = Options(days=9)
    assert await stage.live.set_addin_options("told", {"name": "x"}) == Applied(changed=("addins.told.name",))


# -- read again --------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_files_are_read_again(stage: Stage) -> None:
    stage.replace("#max_clients = 1000", "max_clients = 15")
    stage.replace("#workers = 1", "workers = 2")
    stage.own.write_text("days = 8\n")
    applied = await stage.live.reload()
    assert applied == Applied(changed=("server.max_clients", "addins.told.days"), restart=("server.workers",))
    logs, change, files = stage.target.calls
    assert (logs, files) == ("reopen_logs", "reload_files")
    assert change.addins == {"told": Options(days=8)}
    assert change.new.server.workers == 1
    assert stage.told == [applied]
    # what waits for a restart is said each time
    assert await stage.live.reload() == Applied(restart=("server.workers",))
    assert stage.target.calls[3:] == ["reopen_logs", "reload_files"]


@pytest_twisted.ensureDeferred
async def test_mistakes_are_logged_and_nothing_is_applied(stage: Stage, lines: list[str]) -> None:
    stage.replace("#max_clients = 1000", "max_clients = -1")
    stage.replace('#level = "info"', 'level = "loud"')
    (stage.folder / "aetitles.toml").write_text("[CT1]\nprot = 1\n")
    stage.own.write_text("days = 0\nsecret = 'swordfish'\n")
    with pytest.raises(SettingsError) as raised:
        await stage.live.reload()
    assert set(for_log(raised.value.problems)) <= set(lines)
    text = "\n".join(lines)
    assert "loud" not in text
    for place in ("server.max_clients: ", "log.level: ", "aetitles.toml:2: "):
        assert place in text
    assert stage.target.calls == ["reopen_logs"]
    stage.replace("max_clients = -1", "max_clients = 5")
    stage.replace('level = "loud"', 'level = "debug"')
    (stage.folder / "aetitles.toml").write_text("")
    with pytest.raises(SettingsError) as raised:
        await stage.live.reload()
    assert {one.partition(": ")[0] for one in raised.value.problems} == {"addins.d/told.toml:1", "addins.d/told.toml:2"}
    assert stage.live.settings.server.max_clients == 1000
    assert stage.target.calls == ["reopen_logs"] * 2
    assert "swordfish" not in "\n".join(lines)


@pytest_twisted.ensureDeferred
async def test_no_value_of_a_file_is_logged_and_no_secret_said(stage: Stage, lines: list[str]) -> None:
    stage.own.write_text("days = 'fortnight'\npassword = 'tiger'\n")
    with pytest.raises(SettingsError) as raised:
        await stage.live.reload()
    said = str(raised.value)
    assert "not 'fortnight'" in said
    assert "addins.d/told.toml:2: password: value should have at least 8 items" in said
    assert "tiger" not in said
    assert "addins.d/told.toml:1: days: input should be a valid integer" in "\n".join(lines)
    assert not [line for line in lines if "fortnight" in line or "tiger" in line]
    stage.own.unlink()
    with pytest.raises(BadArgument, match=r"^password: value should have at least 8 items after validation, not 5$"):
        await stage.live.set_addin_options("told", {"password": "tiger"})


@pytest_twisted.ensureDeferred
async def test_files_that_cannot_be_read_again_are_told_apart(stage: Stage, lines: list[str]) -> None:
    stage.replace("#max_clients = 1000", "max_clients = 15")
    stage.target.unreadable = ["the card is gone"]
    with pytest.raises(SettingsError, match="the card is gone"):
        await stage.live.reload()
    assert stage.live.settings.server.max_clients == 15
    assert stage.told == [Applied(changed=("server.max_clients",))]
    assert lines[-2:] == [
        "the card is gone",
        "the settings were read again and are in force, but not all of the files that they name",
    ]


@pytest_twisted.ensureDeferred
async def test_what_a_start_would_refuse_is_read_in_vain(stage: Stage) -> None:
    stage.replace('#enabled = ["verification", "storage"]', 'enabled = ["nope"]')
    with pytest.raises(SettingsError, match="there is no add-in 'nope'"):
        await stage.live.reload()


@pytest_twisted.ensureDeferred
async def test_certificates_that_cannot_be_used(stage: Stage) -> None:
    stage.replace('#certificate = ""', 'certificate = "none.pem"')
    with pytest.raises(SettingsError, match=r"server\.toml:\d+: tls\.certificate"):
        await stage.live.reload()
    assert stage.target.calls == ["reopen_logs"]


# -- in a worker -------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_worker_takes_what_its_parent_gives(stage: Stage) -> None:
    stage.own.write_text("days = 8\n")
    before = stage.file.read_text()
    applied = await stage.live.take("[server]\nmax_clients = 5\nworkers = 3\n")
    assert applied == Applied(changed=("server.max_clients", "addins.told.days"), restart=("server.workers",))
    assert stage.file.read_text() == before
    assert stage.told == []
    assert len(stage.target.calls) == 1
    stage.target.refuses = SettingsError(["no"])
    with pytest.raises(SettingsError, match="no"):
        await stage.live.take("[server]\nmax_clients = 6\n")
    assert stage.live.settings.server.max_clients == 5
    assert stage.target.calls[-1].new.server.max_clients == 5
