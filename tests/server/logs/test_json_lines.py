"""A log event as machines read it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest
from pydicom import Dataset
from twisted.logger import LegacyLogObserverWrapper, Logger
from twisted.python.failure import Failure

from txdicom.errors import NotFound
from txdicom.interfaces import Private
from txdicom.server.logs.audit import format_audit
from txdicom.server.logs.json_lines import LONGEST_LINE, format_json
from txdicom.ul.negotiation import AcceptedContext


def logged(template: str, *, patient_data: bool = False, **fields: Any) -> dict[str, Any]:
    """The one line of this event."""
    lines: list[str] = []
    Logger(
        namespace="txdicom.here", observer=lambda event: lines.append(format_json(event, patient_data=patient_data))
    ).info(template, **fields)
    return parsed(lines[0])


def parsed(line: str) -> dict[str, Any]:
    assert line.endswith("\n")
    assert line.isascii()
    assert line[:-1].isprintable()
    assert len(line) <= LONGEST_LINE

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(line, parse_constant=refuse)
    json.dumps(found, ensure_ascii=False).encode()  # no lone surrogates
    return dict(found)


def test_an_event() -> None:
    found = logged("association {association} of {calling_ae}", association=12, calling_ae="MODALITY", share=0.5)
    stamp = datetime.fromisoformat(found.pop("time"))
    assert abs((datetime.now(UTC) - stamp).total_seconds()) < 60
    assert found == {
        "level": "info",
        "namespace": "txdicom.here",
        "text": "association 12 of MODALITY",
        "association": 12,
        "calling_ae": "MODALITY",
        "share": 0.5,
    }


def test_the_time_has_microseconds_and_the_zone() -> None:
    assert json.loads(format_json({"log_time": 1.5}))["time"] == "1970-01-01T00:00:01.500000Z"
    assert json.loads(format_json({"log_time": 1.0}))["time"] == "1970-01-01T00:00:01.000000Z"


class Colour(Enum):
    RED = 1


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (Text("x"), "x"),
        (2**70, hex(2**70)),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ([1, (2, {"a": 3})], [1, [2, {"a": 3}]]),
        ({1: "a"}, {"1": "a"}),
        (datetime(2026, 1, 31, tzinfo=UTC), "2026-01-31T00:00:00+00:00"),
        (OSError(2, "x", "y"), "FileNotFoundError: [Errno 2] No such file or directory"),
        (ValueError("x"), "ValueError: [redacted]"),
        (ValueError(), "ValueError"),
        ("\n\u2028\x1b\udcff", "\n\u2028\x1b\\udcff"),
        ("😀", "😀"),
        ([1, object(), Dataset()], [1]),
        (Private("DOE"), "[redacted]"),
        ({"a": Private("DOE"), "patient_id": 5}, {"a": "[redacted]", "patient_id": "[redacted]"}),
    ],
    ids=repr,
)
def test_values(value: Any, expected: Any) -> None:
    assert logged("", field=value)["field"] == expected


@pytest.mark.parametrize("value", [Dataset(), object(), b"x", Colour.RED, len], ids=repr)
def test_what_json_has_no_value_for_is_left_out(value: Any) -> None:
    assert "field" not in logged("", field=value)


def test_names_that_are_taken() -> None:
    found = parsed(format_json({"log_namespace": "txdicom.here", "level": "x", "text": "y", "namespace": "z"}))
    assert (found["level"], found["text"], found["namespace"]) == ("info", "", "txdicom.here")
    assert (found["level_"], found["text_"], found["namespace_"]) == ("x", "y", "z")


def test_what_twisted_s_old_log_adds_is_left_out() -> None:
    lines: list[str] = []
    legacy = LegacyLogObserverWrapper(lambda event: None)

    def observe(event: Any) -> None:
        legacy(event)
        lines.append(format_json(event))

    Logger(namespace="here", observer=observe).info("text", a=1)
    assert set(parsed(lines[0])) == {"time", "level", "namespace", "text", "a"}


def test_patient_data() -> None:
    fields = {"patient_name": "DOE", "who": Private("DOE"), "items": [{"patient_id": "DOE"}, Private("DOE")]}
    assert "DOE" not in json.dumps(logged("{patient_name} {who}", **fields))
    found = logged("{patient_name} {who}", patient_data=True, **fields)
    assert found["text"] == "DOE DOE"
    assert (found["patient_name"], found["who"], found["items"]) == ("DOE", "DOE", [{"patient_id": "DOE"}, "DOE"])


def test_a_failure() -> None:
    lines: list[str] = []
    logger = Logger(namespace="here", observer=lambda event: lines.append(format_json(event)))
    try:
        raise NotFound("gone")
    except NotFound:
        logger.failure("it failed")
    found = parsed(lines[0])
    assert (found["level"], found["text"]) == ("error", "it failed")
    assert (found["failure"]["type"], found["failure"]["message"]) == ("txdicom.errors.NotFound", "gone")
    assert "test_json_lines" in found["failure"]["traceback"]


@pytest.mark.parametrize(
    "fields",
    [
        {"one": "\U0001f600" * 100_000},
        {f"f{number}": "\u2028" * 4000 for number in range(100)},
        {"deep": [[[[["x" * 100_000]]]]] * 100_000},
        {"wide": {str(number): "x" * 20_000 for number in range(10_000)}},
        {"x" * 100_000: 1},
        {"log_failure": Failure(NotFound("\U0001f600" * 100_000))},
    ],
    ids=["a long value", "many", "deep", "wide", "a long name", "a failure"],
)
def test_a_line_is_bounded(fields: dict[str, Any]) -> None:
    event = {"log_format": "{text}", "text": "\U0001f600" * 100_000, "association": 7, **fields}
    found = parsed(format_json(event))
    assert found["clipped"] is True
    assert found["association"] == 7
    assert ("failure" in found) is ("log_failure" in fields)


def test_an_audited_event_says_what_was_accepted() -> None:
    class Agreement:
        contexts = {1: AcceptedContext(1, "1.2.3", "1.2.840.10008.1.2", False, True)}

    lines: list[str] = []
    logger = Logger(namespace="here", observer=lambda event: lines.append(format_audit(event)))
    logger.debug("opened by {calling_ae}", audit="association-opened", calling_ae="A", agreement=Agreement())
    found = parsed(lines[0])
    assert set(found) == {"time", "audit", "text", "calling_ae", "contexts"}
    assert (found["audit"], found["text"]) == ("association-opened", "opened by A")
    assert found["contexts"] == [["1.2.3", "1.2.840.10008.1.2"]]
