"""The log as an operator reads it."""

from __future__ import annotations

import io
import re
import stat
from typing import TYPE_CHECKING, Any

import pytest
from twisted.logger import Logger
from twisted.python import log as legacy
from twisted.python.failure import Failure

from txdicom.server.log import TextLog, choose_log, open_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (debug|info|warning|error) +(.*)")


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(stream: io.StringIO) -> Logger:
    return Logger(namespace="txdicom.here", observer=TextLog(stream))


def lines(stream: io.StringIO) -> list[tuple[str, str]]:
    found = []
    for line in stream.getvalue().splitlines():
        match = LINE.fullmatch(line)
        assert match is not None, line
        found.append((match[1], match[2]))
    return found


def test_time_level_and_sentence(logger: Logger, stream: io.StringIO) -> None:
    logger.info("association {number} ended", number=3)
    logger.warn("careful")  # noqa: G010 (Twisted's logger)
    logger.error("wrong")
    logger.critical("the end")
    assert lines(stream) == [
        ("info", "association 3 ended"),
        ("warning", "careful"),
        ("error", "wrong"),
        ("error", "the end"),
    ]


def test_what_a_peer_sent_begins_no_line(logger: Logger, stream: io.StringIO) -> None:
    logger.info("from {peer}", peer="A\n2026-01-01 00:00:00 info    B\r\x1b[2J\x85\u2028C")
    assert lines(stream) == [("info", "from A\\x0a2026-01-01 00:00:00 info    B\\x0d\\x1b[2J\\x85\\u2028C")]


def test_braces_of_a_peer_are_no_format(logger: Logger, stream: io.StringIO) -> None:
    logger.info("from {peer}", peer="{number} {0.__class__}")
    assert lines(stream) == [("info", "from {number} {0.__class__}")]


def test_what_only_twisted_s_formatter_can_format(logger: Logger, stream: io.StringIO) -> None:
    logger.info("{call()}, {there}", call=lambda: "called", there=1)
    logger.info("{missing}", there=1)
    assert lines(stream)[0] == ("info", "called, 1")
    assert lines(stream)[1][1].startswith("Unable to format event")


def test_a_failure_has_its_traceback_below(logger: Logger, stream: io.StringIO) -> None:
    try:
        raise RuntimeError("first\nsecond")
    except RuntimeError:
        logger.failure("the add-in failed")
    first, *others = stream.getvalue().splitlines()
    assert first.endswith("error   the add-in failed")
    assert all(line.startswith("    ") for line in others)
    assert any("RuntimeError: first" in line for line in others)


def test_a_failure_without_a_sentence(stream: io.StringIO) -> None:
    TextLog(stream)({"log_failure": Failure(RuntimeError("x")), "log_time": 0.0, "log_format": ""})
    assert "an exception that nothing handled" in stream.getvalue()


def test_what_the_framework_tells_of_itself_is_left_out(stream: io.StringIO) -> None:
    observer = TextLog(stream)
    theirs = Logger(namespace="twisted.internet.protocol", observer=observer)
    theirs.info("Starting factory")
    theirs.debug("details")
    theirs.warn("this matters")
    Logger(namespace="some_addin", observer=observer).info("and this")
    Logger(namespace="some_addin", observer=observer).debug("not this")
    assert lines(stream) == [("warning", "this matters"), ("info", "and this")]


def test_old_log_calls_below_errors_are_left_out(stream: io.StringIO) -> None:
    from twisted.logger import globalLogPublisher

    observer = TextLog(stream)
    globalLogPublisher.addObserver(observer)
    try:
        legacy.msg("Acceptor starting on 11112")
    finally:
        globalLogPublisher.removeObserver(observer)
    assert stream.getvalue() == ""


class Closing:
    """Closes the logs of a test."""

    def __init__(self) -> None:
        self.logs: list[Any] = []

    def choose(self, twistd: dict[str, Any], path: str = "/nowhere/server.log") -> tuple[Any, str]:
        log, place = choose_log(twistd, path)
        if log is not None and place != "the standard output":
            self.logs.append(log)
        return log, place


@pytest.fixture
def logs() -> Iterator[Closing]:
    closing = Closing()
    yield closing
    for log in closing.logs:
        log._stream.close()


def test_where_the_log_is(logs: Closing, tmp_path: Path) -> None:
    file, other = str(tmp_path / "server.log"), str(tmp_path / "other.log")
    assert logs.choose({"nodaemon": True})[1] == "the standard output"
    assert logs.choose({"nodaemon": True, "logfile": "-"})[1] == "the standard output"
    assert logs.choose({"nodaemon": True, "logfile": other})[1] == other
    assert logs.choose({"nodaemon": False}, file)[1] == file
    assert logs.choose({"nodaemon": False, "logfile": other}, file)[1] == other
    assert logs.choose({"nodaemon": False, "syslog": True}) == (None, "the system's log")
    assert logs.choose({"nodaemon": True, "logger": "x"}) == (None, "twistd's")
    # twistd itself says that this cannot be
    assert logs.choose({"nodaemon": False, "logfile": "-"})[0] is None


def test_a_log_file_is_private_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    for text in ("one", "two \udcff"):
        log = open_log(str(path))
        Logger(namespace="txdicom", observer=log).info("{text}", text=text)
        assert path.read_text().splitlines()[-1].endswith(text.replace("\udcff", "\\udcff"))
        log._stream.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().splitlines()) == 2
