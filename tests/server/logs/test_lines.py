"""A log event as an operator reads it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdicom.errors import NotFound
from txdicom.interfaces import Private
from txdicom.server.logs.lines import LONGEST, format_line

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (debug|info|warning|error) +(.*)\n")


class Lines:
    """A logger that keeps its lines."""

    def __init__(self, *, patient_data: bool = False) -> None:
        self.raw: list[str] = []
        self.logger = Logger(
            namespace="txdicom.here",
            observer=lambda event: self.raw.append(format_line(event, patient_data=patient_data)),
        )

    @property
    def parsed(self) -> list[tuple[str, str]]:
        found = []
        for line in self.raw:
            match = LINE.fullmatch(line)
            assert match is not None, line
            found.append((match[1], match[2]))
        return found


@pytest.fixture
def lines() -> Lines:
    return Lines()


def test_time_level_and_sentence(lines: Lines) -> None:
    lines.logger.info("association {number} ended", number=3)
    lines.logger.warn("careful")  # noqa: G010 (Twisted's logger)
    lines.logger.error("wrong")
    lines.logger.critical("the end")
    lines.logger.debug("detail")
    assert lines.parsed == [
        ("info", "association 3 ended"),
        ("warning", "careful"),
        ("error", "wrong"),
        ("error", "the end"),
        ("debug", "detail"),
    ]


def test_the_time_is_that_of_the_event() -> None:
    stamps = [format_line({"log_time": float(second), "log_format": ""})[:19] for second in (0, 1, 0, 86_400, 1)]
    assert len(set(stamps)) == 3
    assert stamps[0] == stamps[2]


def test_what_a_peer_sent_begins_no_line(lines: Lines) -> None:
    lines.logger.info("from {peer}", peer="A\n2026-01-01 00:00:00 info    B\r\x1b[2J\x85\u2028C")
    assert lines.parsed == [("info", "from A\\x0a2026-01-01 00:00:00 info    B\\x0d\\x1b[2J\\x85\\u2028C")]


def test_braces_of_a_peer_are_no_format(lines: Lines) -> None:
    lines.logger.info("from {peer}", peer="{number} {0.__class__}")
    assert lines.parsed == [("info", "from {number} {0.__class__}")]


def test_what_only_twisted_s_formatter_can_format(lines: Lines) -> None:
    lines.logger.info("{call()}, {there}", call=lambda: "called", there=1)
    assert lines.parsed == [("info", "called, 1")]


def test_an_event_that_cannot_be_formatted_shows_no_fields(lines: Lines) -> None:
    lines.logger.info("{missing}", patient_name="DOE", other="SMITH")
    assert lines.parsed == [("info", "an event that cannot be formatted: '{missing}'")]


def test_a_failure_has_its_traceback_below(lines: Lines) -> None:
    try:
        raise NotFound("first\nsecond")
    except NotFound:
        lines.logger.failure("the add-in failed")
    first, *others = lines.raw[0].splitlines()
    assert first.endswith("error   the add-in failed")
    assert all(line.startswith("    ") for line in others)
    assert any("NotFound: first" in line for line in others)


def test_a_failure_without_a_sentence() -> None:
    line = format_line({"log_failure": Failure(RuntimeError("x")), "log_time": 0.0, "log_format": ""})
    assert "an exception that nothing handled" in line


def test_a_line_is_bounded(lines: Lines) -> None:
    lines.logger.info("{text}", text="x" * 1_000_000)
    lines.logger.failure("it failed", Failure(NotFound("y" * 1_000_000)))
    assert len(lines.raw[0]) < LONGEST + 100
    assert len(lines.raw[1]) < LONGEST + 1000
    assert lines.raw[1].rstrip().endswith("yyy")


class Name:
    family = "DOE"

    def __str__(self) -> str:
        return "DOE^JOHN"


PATIENT_FORMATS: list[tuple[str, dict[str, Any]]] = [
    ("{patient_name}", {"patient_name": "DOE^JOHN"}),
    ("{patient_name.family}", {"patient_name": Name()}),
    ("{patient_names[0]}", {"patient_names": ["DOE"]}),
    ("{patient_name!r:>20}", {"patient_name": "DOE"}),
    ("{patient_name()}", {"patient_name": lambda: "DOE"}),
    ("{who}", {"who": Private("DOE")}),
    ("{who!r:>20}", {"who": Private("DOE")}),
]


@pytest.mark.parametrize(("template", "fields"), PATIENT_FORMATS, ids=[one[0] for one in PATIENT_FORMATS])
def test_patient_data_are_redacted_unless_asked_for(template: str, fields: dict[str, Any], lines: Lines) -> None:
    lines.logger.info(template, **fields)
    assert lines.parsed == [("info", "[redacted]")]
    open_lines = Lines(patient_data=True)
    open_lines.logger.info(template, **fields)
    assert "DOE" in open_lines.raw[0]


def test_private_items_are_redacted_too(lines: Lines) -> None:
    lines.logger.info("{whos}", whos=[Private("DOE")])
    assert lines.parsed == [("info", "[[redacted]]")]
    assert f"{Private('DOE')} {Private('DOE')!r} {Private('DOE'):>9}" == "[redacted] [redacted] [redacted]"
