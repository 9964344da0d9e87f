from __future__ import annotations

import pytest

from txdicom.ul import rejections
from txdicom.ul.rejections import Rejection, describe, describe_abort


@pytest.mark.parametrize(
    ("rejection", "numbers", "text"),
    [
        (rejections.NO_REASON, (1, 1, 1), "rejected permanently by the service user: no reason given"),
        (
            rejections.APPLICATION_CONTEXT,
            (1, 1, 2),
            "rejected permanently by the service user: application context name not supported",
        ),
        (rejections.CALLING_AE, (1, 1, 3), "rejected permanently by the service user: calling AE title not recognized"),
        (rejections.CALLED_AE, (1, 1, 7), "rejected permanently by the service user: called AE title not recognized"),
        (
            rejections.PROTOCOL_VERSION,
            (1, 2, 2),
            "rejected permanently by the service provider (ACSE): protocol version not supported",
        ),
        (rejections.USER_IDENTITY, (1, 2, 1), "rejected permanently by the service provider (ACSE): no reason given"),
        (
            rejections.TEMPORARY_CONGESTION,
            (2, 3, 1),
            "rejected for now by the service provider (presentation): temporary congestion",
        ),
        (
            rejections.LOCAL_LIMIT,
            (2, 3, 2),
            "rejected for now by the service provider (presentation): local limit exceeded",
        ),
    ],
)
def test_constants(rejection: Rejection, numbers: tuple[int, int, int], text: str) -> None:
    assert rejection == numbers
    assert (rejection.result, rejection.source, rejection.reason) == numbers
    assert str(rejection) == text
    assert describe(*numbers) == text


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((1, 1, 4), "rejected permanently by the service user: reserved reason 4"),
        ((2, 2, 3), "rejected for now by the service provider (ACSE): reserved reason 3"),
        ((1, 3, 0), "rejected permanently by the service provider (presentation): reserved reason 0"),
        ((0, 9, 255), "rejected with the unknown result 0 by the unknown source 9: reserved reason 255"),
    ],
)
def test_any_numbers_are_described(numbers: tuple[int, int, int], text: str) -> None:
    assert describe(*numbers) == text


@pytest.mark.parametrize(
    ("source", "reason", "text"),
    [
        (0, 0, "aborted by the service user"),
        (0, 6, "aborted by the service user"),
        (1, 0, "aborted by the reserved source 1: reason not specified"),
        (2, 0, "aborted by the service provider: reason not specified"),
        (2, 1, "aborted by the service provider: unrecognized PDU"),
        (2, 2, "aborted by the service provider: unexpected PDU"),
        (2, 3, "aborted by the service provider: reserved reason 3"),
        (2, 4, "aborted by the service provider: unrecognized PDU parameter"),
        (2, 5, "aborted by the service provider: unexpected PDU parameter"),
        (2, 6, "aborted by the service provider: invalid PDU parameter value"),
        (255, 255, "aborted by the reserved source 255: reserved reason 255"),
    ],
)
def test_aborts_are_described(source: int, reason: int, text: str) -> None:
    assert describe_abort(source, reason) == text
