"""benchmarks: what is made of the figures, and whether a bar is reached."""

from __future__ import annotations

import pytest

from benchmarks import handling, report, workers
from benchmarks.bars import BARS, Bar, judge
from benchmarks.bench import Variant
from benchmarks.cases import CASES, Case
from benchmarks.records import Record, Spread, differences, ratios
from benchmarks.targets import TARGETS

CROWD = Variant("workers-small", 8, 131072)


def records(variant: Variant, *rounds: dict[str, dict[str, float]]) -> list[Record]:
    return [
        Record(variant, target, number, values)
        for number, targets in enumerate(rounds)
        for target, values in targets.items()
    ]


def test_the_ideal_of_a_handler_that_waits() -> None:
    assert handling.ideal(200, 10_000) == 4000
    assert handling.ideal(200, 3000) == 3000
    assert handling.ideal(10, 3000) == 200


@pytest.mark.parametrize(("server", "load", "gain"), [(100, 0, 2), (100, 100, 1), (300, 100, 1.5), (100, 300, 0.5)])
def test_the_gain_of_a_second_worker(server: float, load: float, gain: float) -> None:
    assert workers.gain(server, load) == gain


def test_ratios_and_differences_are_within_a_round() -> None:
    found = records(
        CROWD,
        {"a": {"rate": 10.0, "best": 20.0}, "b": {"rate": 5.0}},
        {"a": {"rate": 100.0, "best": 300.0}, "b": {"rate": 120.0}},
        {"a": {"rate": 1.0, "best": 1.0}},
        {"a": {"best": 1.0}, "b": {"rate": 7.0}},
    )
    assert ratios(found, CROWD, "rate", "b", "a") == Spread((0.5 + 1.2) / 2, 0.5, 1.2)
    assert ratios(found, CROWD, "rate", "b", "a", "best") == Spread(0.4, 0.25, 7.0)
    assert differences(found, CROWD, "rate", "b", "a") == Spread(7.5, -5.0, 20.0)
    assert ratios(found, CROWD, "rate", "b", "c") is None


def test_bars_of_workers() -> None:
    one = {"rate": 1000.0, "two_at_best": 1600.0, "cpu_us": 100.0, "fewest": 8.0, "sharing": 1.0}
    two = {"rate": 1500.0, "cpu_us": 120.0, "fewest": 3.0, "sharing": 2.0}
    verdicts = judge(records(CROWD, {"txdicom": one, "txdicom-workers": two, "dcmtk-bp": {"rate": 1600.0}}))
    assert [
        (verdict.bar.what, verdict.reached, verdict.spread and round(verdict.spread.median, 3)) for verdict in verdicts
    ] == [
        ("txdicom-workers / txdicom, instances/s / two workers at best/s", True, 0.938),
        ("txdicom-workers / txdicom, server CPU µs/instance", False, 1.2),
        ("txdicom-workers, associations each, fewest", False, 3.0),
        ("txdicom-workers / dcmtk-bp", True, 0.938),
    ]


@pytest.mark.parametrize("bar", BARS, ids=lambda bar: f"{bar.variant} {bar.key} {bar.against or bar.ours}")
def test_every_bar_is_about_what_is_measured(bar: Bar) -> None:
    assert bar.variant in CASES[bar.variant.case].variants
    assert bar.what
    for target in filter(None, (bar.ours, bar.against)):
        assert bar.variant.case in TARGETS[target].cases


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_every_case_has_a_table(case: Case) -> None:
    taking_part = [target.name for target in TARGETS.values() if case.name in target.cases]
    assert taking_part
    figures = {column.key: 1.0 for column in case.columns}
    for variant in case.variants:
        text = report.render(records(variant, dict.fromkeys(taking_part, figures)))
        rows = [line for line in text.splitlines() if line.startswith("| ")]
        tables = [rows[0].count("|"), rows[-1].count("|")]
        assert all(row.count("|") in tables for row in rows)
        assert all(f"| {target} | 1 |" in text for target in taking_part)


def test_what_something_costs_more_is_shown() -> None:
    variant = Variant("observer-echo")
    text = report.render(records(variant, {"txdicom": {"cpu_us": 100.0}, "txdicom-observed": {"cpu_us": 130.0}}))
    (row,) = [line for line in text.splitlines() if line.startswith("| txdicom-observed")]
    assert row == "| txdicom-observed | 1 | - | - | - | 130 | 1.30 | 30.0 |  |"
