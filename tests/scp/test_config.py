"""txdicom.scp.config: settings are checked, and every mistake is told at once."""

from __future__ import annotations

from dataclasses import fields

import pytest

from txdicom.errors import SettingsError
from txdicom.net.config import NetConfig
from txdicom.scp.config import ScpConfig, validated


def test_defaults_are_valid() -> None:
    assert validated(ScpConfig, {}) == ScpConfig()


def test_every_setting_explains_itself() -> None:
    for field in (*fields(ScpConfig), *fields(NetConfig)):
        assert len(field.metadata["doc"]) > 10, field.name


def test_every_mistake_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        validated(
            ScpConfig,
            {
                "max_clientz": 5,
                "max_pdu_length": 100,
                "artim_timeout": "soon",
                "idle_action": "explode",
                "nonsense": None,
                "max_operations": -1,
            },
        )
    problems = caught.value.problems
    assert len(problems) == 6
    assert any("max_clientz" in problem and "did you mean max_clients" in problem for problem in problems)
    for name in ("max_pdu_length", "artim_timeout", "idle_action", "nonsense", "max_operations"):
        assert any(name in problem for problem in problems), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_pdu_length", 4_095),
        ("max_pdu_length", 1_048_577),
        ("pdu_tolerance", -1),
        ("max_half_open", -1),
        ("artim_timeout", 0.0),
        ("dimse_timeout", -0.5),
        ("max_operations", 65_536),
        ("receive_buffer", 1 << 40),
        ("send_buffer", 1 << 31),
        ("artim_timeout", float("nan")),
        ("artim_timeout", float("inf")),
    ],
)
def test_out_of_range(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=name):
        validated(ScpConfig, {name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("max_pdu_length", 4_096), ("max_pdu_length", 1_048_576), ("max_clients", 0)]
)
def test_at_the_edge(name: str, value: object) -> None:
    assert getattr(validated(ScpConfig, {name: value}), name) == value


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        ScpConfig().max_clients = 3  # type: ignore[misc]
