"""Where log events go: levels, the service log and who takes its place, the audit log."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from twisted.application.service import Application
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python import log as legacy
from zope.interface import implementer

from txdicom.errors import SettingsError
from txdicom.interfaces import IServiceLog, Private
from txdicom.server.logs.files import LogFile
from txdicom.server.logs.lines import format_line
from txdicom.server.logs.log import ServerLog, ServiceLog, choose_log
from txdicom.server.settings.log import LogSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from twisted.logger import LogEvent


class Memory:
    """A log that keeps its lines, each from the level on."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def event(self, event: LogEvent) -> None:
        self.lines.append(format_line(event)[20:].rstrip("\n"))

    def reopen(self) -> None:
        self.lines.append("reopened")

    def close(self) -> None:
        self.lines.append("closed")


@pytest.fixture
def memory() -> Memory:
    return Memory()


def observer(memory: Memory, **settings: Any) -> ServerLog:
    return ServerLog(LogSettings(**settings), ServiceLog([memory]))  # type: ignore[list-item]


def ours(log: ServerLog, namespace: str = "txdicom.here") -> Logger:
    return Logger(namespace=namespace, observer=log)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning", "error", "error"]),
        ("info", ["info", "warning", "error", "error"]),
        ("warning", ["warning", "error", "error"]),
        ("error", ["error", "error"]),
    ],
)
def test_levels(level: str, expected: list[str], memory: Memory) -> None:
    logger = ours(observer(memory, level=level))
    for name in ("debug", "info", "warn", "error", "critical"):
        getattr(logger, name)("text")
    assert [line.split()[0] for line in memory.lines] == expected


def test_what_the_framework_tells_of_itself_is_left_out(memory: Memory) -> None:
    log = observer(memory, level="debug")
    theirs = ours(log, "twisted.internet.protocol")
    theirs.info("Starting factory")
    theirs.debug("details")
    theirs.warn("this matters")
    ours(log, "some_addin").info("and this")
    globalLogPublisher.addObserver(log)
    try:
        legacy.msg("Acceptor starting on 11112")
    finally:
        globalLogPublisher.removeObserver(log)
    assert memory.lines == ["warning this matters", "info    and this"]


class Nasty:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def test_who_logs_is_not_harmed(tmp_path: Path, memory: Memory) -> None:
    log, _ = choose_log({"nodaemon": False}, str(tmp_path / "server.log"), LogSettings(format="both"))
    logger = ours(log)
    logger.info("{it}", it=Nasty())
    logger.info("{it}", it=1, found={Nasty(): 1})
    logger.info("fine")
    log.close()
    assert [line[28:] for line in (tmp_path / "server.log").read_text().splitlines()] == [
        "an event that cannot be formatted: '{it}'",
        "1",
        "fine",
    ]
    texts = [json.loads(line)["text"] for line in (tmp_path / "server.jsonl").read_text().splitlines()]
    assert texts[1:] == ["an event that cannot be described, for RuntimeError", "fine"]


# --- a service log of an add-in ---------------------------------------------------------------------------------------


@implementer(IServiceLog)
class Theirs:
    """An add-in's service log."""

    def __init__(self, act: Callable[[LogEvent], None] = lambda event: None) -> None:
        self.events: list[LogEvent] = []
        self._act = act

    def event(self, event: LogEvent) -> None:
        self.events.append(event)
        self._act(event)


def test_one_that_takes_the_place(memory: Memory) -> None:
    log = observer(memory, level="warning")
    theirs = Theirs()
    ours(log).warn("before")
    log.use(theirs)
    ours(log).warn("{patient_id} {who}", patient_id=7, who=Private("DOE"))
    ours(log).info("not this")
    assert memory.lines == ["warning before"]
    [event] = theirs.events
    assert (str(event["patient_id"]), str(event["who"])) == ("[redacted]", "[redacted]")


def test_one_that_may_see_patient_data(memory: Memory) -> None:
    log = observer(memory, patient_data=True)
    theirs = Theirs()
    log.use(theirs)
    ours(log).info("", patient_id=7, who=Private("DOE"))
    assert (theirs.events[0]["patient_id"], theirs.events[0]["who"]) == (7, "DOE")
    log.own.logs = ()
    log.configure(LogSettings(patient_data=False))
    ours(log).info("", patient_id=7)
    assert str(theirs.events[1]["patient_id"]) == "[redacted]"


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_one_that_fails(memory: Memory, error: type[BaseException]) -> None:
    log = observer(memory)

    def fail(event: LogEvent) -> None:
        raise error

    log.use(Theirs(fail))
    globalLogPublisher.addObserver(log)
    try:
        for number in range(3):
            Logger(namespace="txdicom.here").info("event {number}", number=number)
    finally:
        globalLogPublisher.removeObserver(log)
    firsts = [line.split("\n")[0] for line in memory.lines]
    assert firsts == [
        "info    event 0",
        "error   the service log of an add-in failed; what it fails at is here",
        "info    event 1",
        "info    event 2",
    ]
    assert error.__name__ in memory.lines[1]


def test_one_that_logs_itself(memory: Memory) -> None:
    log = observer(memory)
    log.use(Theirs(lambda event: ours(log).info("about {text}", text=event["log_format"])))
    ours(log).info("first")
    ours(log).info("second")
    assert memory.lines == ["info    about first", "info    about second"]


def test_one_that_is_in_two_threads(memory: Memory) -> None:
    log = observer(memory)
    entered, go = threading.Event(), threading.Event()

    def wait(event: LogEvent) -> None:
        if event["log_format"] == "slow":
            entered.set()
            assert go.wait(60)

    theirs = Theirs(wait)
    log.use(theirs)
    thread = threading.Thread(target=lambda: ours(log).info("slow"))
    thread.start()
    assert entered.wait(60)
    ours(log).info("quick")
    go.set()
    thread.join()
    assert [event["log_format"] for event in theirs.events] == ["slow", "quick"]
    assert memory.lines == []


def test_the_default_stays(memory: Memory) -> None:
    log = observer(memory)
    log.use(log.own)
    ours(log).info("{a}", a=Private(1))
    assert memory.lines == ["info    [redacted]"]


# --- the audit log ----------------------------------------------------------------------------------------------------


def test_audited_events_are_in_the_audit_log_whatever_their_level(tmp_path: Path) -> None:
    log, _ = choose_log({"nodaemon": False}, str(tmp_path / "server.log"), LogSettings(level="error"))
    logger = ours(log)
    logger.info("{user} changed {names}", audit="settings-changed", user="root", names=["a"], patient_id=1)
    logger.info("of no interest")
    logger.info("not ours", audit=5)
    log.close()
    assert (tmp_path / "server.log").read_text() == ""
    [line] = (tmp_path / "audit.jsonl").read_text().splitlines()
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {
        "audit": "settings-changed",
        "text": "root changed ['a']",
        "user": "root",
        "names": ["a"],
        "patient_id": "[redacted]",
    }


def test_without_an_audit_log(tmp_path: Path) -> None:
    log, _ = choose_log({"nodaemon": False}, str(tmp_path / "server.log"), LogSettings(audit=False))
    ours(log).info("x", audit="y")
    log.close()
    assert os.listdir(tmp_path) == ["server.log"]


# --- where the log is -------------------------------------------------------------------------------------------------


@pytest.fixture
def choose(tmp_path: Path) -> Iterator[Callable[..., tuple[ServerLog, str]]]:
    made: list[ServerLog] = []

    def run(twistd: dict[str, Any], **settings: Any) -> tuple[ServerLog, str]:
        log, place = choose_log(twistd, str(tmp_path / "server.log"), LogSettings(**settings))
        made.append(log)
        return log, place

    yield run
    for log in made:
        log.close()


def test_where_the_log_is(choose: Callable[..., tuple[ServerLog, str]], tmp_path: Path) -> None:
    file, json_file, other = (str(tmp_path / name) for name in ("server.log", "server.jsonl", "other.log"))
    assert choose({"nodaemon": True})[1] == "the standard output"
    assert choose({"nodaemon": True, "logfile": "-"})[1] == "the standard output"
    assert choose({"nodaemon": True, "logfile": other})[1] == other
    assert choose({"nodaemon": False})[1] == file
    assert choose({"nodaemon": False}, format="json")[1] == json_file
    assert choose({"nodaemon": False}, format="both")[1] == file
    assert choose({"nodaemon": False, "logfile": other})[1] == other
    assert choose({"nodaemon": False, "syslog": True})[1] == "the system's log"
    assert choose({"nodaemon": True, "logger": "x"})[1] == "twistd's"
    # twistd itself says that this cannot be
    assert choose({"nodaemon": False, "logfile": "-"})[1] == "twistd's"


@pytest.mark.parametrize(
    ("form", "files"), [("text", {"server.log"}), ("json", {"server.jsonl"}), ("both", {"server.log", "server.jsonl"})]
)
def test_forms(form: str, files: set[str], choose: Callable[..., tuple[ServerLog, str]], tmp_path: Path) -> None:
    log, _ = choose({"nodaemon": False}, format=form, audit=False, rotate_size=200, rotate_count=1)
    for _ in range(20):
        ours(log).info("this is it")
    assert set(os.listdir(tmp_path)) == files | {f"{name}.1" for name in files}
    if "server.jsonl" in files:
        assert json.loads((tmp_path / "server.jsonl").read_text().splitlines()[-1])["text"] == "this is it"
    if "server.log" in files:
        assert (tmp_path / "server.log").read_text().endswith("info    this is it\n")


def test_a_file_that_twistd_was_told_of_is_not_rotated(
    choose: Callable[..., tuple[ServerLog, str]], tmp_path: Path
) -> None:
    log, _ = choose({"nodaemon": False, "logfile": str(tmp_path / "other.log")}, rotate_size=10, rotate_count=1)
    for _ in range(3):
        ours(log).info("this is it")
    assert len((tmp_path / "other.log").read_text().splitlines()) == 3


def test_in_the_foreground(
    choose: Callable[..., tuple[ServerLog, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours(choose({"nodaemon": True}, format="json")[0]).info("one")
    assert json.loads(capsys.readouterr().out)["text"] == "one"
    ours(choose({"nodaemon": True}, format="both")[0]).info("two")
    assert capsys.readouterr().out.endswith(" info    two\n")
    assert json.loads((tmp_path / "server.jsonl").read_text())["text"] == "two"


def test_files_that_cannot_be_written_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        choose_log({"nodaemon": False}, str(tmp_path / "no" / "server.log"), LogSettings(format="both"))
    assert [*raised.value.problems] == [
        f"{tmp_path}/no/{name} cannot be written: No such file or directory"
        for name in ("server.log", "server.jsonl", "audit.jsonl")
    ]


def test_attached_to_an_application(choose: Callable[..., tuple[ServerLog, str]], tmp_path: Path) -> None:
    application = Application("here")
    log, _ = choose({"nodaemon": False})
    log.attach(application)
    assert application.getComponent(ILogObserver) is log
    # beside a log of twistd's, which stays the application's, there is an audit log all the same
    application = Application("here")
    log, _ = choose({"nodaemon": False, "syslog": True})
    log.attach(application)
    assert application.getComponent(ILogObserver) is None
    Logger(namespace="txdicom.here").info("x", audit="from-far")
    log.close()
    Logger(namespace="txdicom.here").info("x", audit="too-late")
    assert [json.loads(line)["audit"] for line in (tmp_path / "audit.jsonl").read_text().splitlines()] == ["from-far"]


def test_reopening_and_closing(tmp_path: Path, memory: Memory) -> None:
    audit = LogFile(str(tmp_path / "audit"), format_line)
    log = ServerLog(LogSettings(), ServiceLog([memory]), audit)  # type: ignore[list-item]
    (tmp_path / "audit").unlink()
    log.reopen()
    assert (tmp_path / "audit").exists()
    log.close()
    assert not audit.is_open
    assert memory.lines == ["reopened", "closed"]
