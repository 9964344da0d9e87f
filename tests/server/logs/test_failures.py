"""What of an exception is in the log, and that no message of an add-in's is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.logger import Logger
from twisted.python import log as old_log
from twisted.python.failure import Failure

from txdicom.server.logs.failures import traceback_of
from txdicom.server.logs.json_lines import format_json
from txdicom.server.logs.lines import format_line

NAME = "DOE^JOHN"


def handler(patient_name: str) -> None:
    """What an add-in might do."""
    try:
        {}[patient_name]
    except KeyError as error:
        raise ValueError(f"no study of {patient_name}") from error


def clean_up(patient_name: str) -> None:
    try:
        handler(patient_name)
    except ValueError:
        raise RuntimeError(f"{patient_name} stays")  # noqa: B904


def failing(function: Any, *arguments: Any) -> Failure:
    try:
        function(*arguments)
    except Exception:
        return Failure()
    raise AssertionError


def test_a_chain_is_shown_with_types_and_frames_alone() -> None:
    failure = failing(clean_up, NAME)
    text = traceback_of(failure)
    assert "DOE" not in text
    types = [line for line in text.splitlines() if line.startswith("builtins.")]
    assert types == [f"builtins.{name}: [redacted]" for name in ("KeyError", "ValueError", "RuntimeError")]
    assert text.index("direct cause") < text.index("During handling")
    assert "in handler" in text
    assert "test_failures.py" in text
    assert "builtins.ValueError: no study of DOE^JOHN" in traceback_of(failure, patient_data=True)


def test_a_context_that_was_suppressed_is_not_shown() -> None:
    def raises() -> None:
        try:
            handler("DOE")
        except ValueError:
            raise LookupError("x") from None

    assert "KeyError" not in traceback_of(failing(raises))


def test_a_chain_may_be_a_ring_and_a_stack_deep() -> None:
    one, two = ValueError("DOE"), KeyError("DOE")
    one.__cause__, two.__cause__ = two, one
    assert traceback_of(Failure(one)).count("Error: [redacted]") == 2

    def deep(count: int) -> None:
        if count:
            deep(count - 1)
        raise ValueError

    text = traceback_of(failing(deep, 300))
    assert "frames" in text
    assert text.count("in deep") < 110


def test_frames_of_a_failure_that_was_cleaned() -> None:
    failure = failing(handler, "DOE")
    failure.cleanFailure()
    assert "in handler" in traceback_of(failure)


@pytest.mark.parametrize("described", [format_line, format_json])
def test_in_the_logs(described: Any) -> None:
    lines: list[str] = []
    logger = Logger(namespace="txdicom.here", observer=lambda event: lines.append(described(event)))
    try:
        clean_up(NAME)  # a source line is shown as it is
    except RuntimeError as error:
        logger.failure("add-in {name} failed", name="theirs", error=error)
    assert "DOE" not in lines[0]
    assert "in handler" in lines[0]


@pytest.mark.parametrize("described", [format_line, format_json])
def test_by_the_old_log(described: Any) -> None:
    """`log.err` puts the whole traceback into the text."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(described(event))

    old_log.theLogPublisher.addObserver(seen := _through_the_new(observe))
    try:
        old_log.err(failing(handler, NAME), "the add-in says why")
    finally:
        old_log.theLogPublisher.removeObserver(seen)
    assert "DOE" not in lines[0]
    assert "the add-in says why" in lines[0]
    assert "in handler" in lines[0]


def _through_the_new(observer: Any) -> Any:
    from twisted.logger._legacy import publishToNewObserver

    return lambda event: publishToNewObserver(observer, dict(event), old_log.textFromEventDict)


def test_a_json_line_has_the_type_of_the_last_one() -> None:
    found = json.loads(format_json({"log_failure": failing(handler, "DOE")}))["failure"]
    assert (found["type"], found["message"]) == ("builtins.ValueError", "[redacted]")
