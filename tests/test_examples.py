"""Every example is run by a test."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))


@pytest.mark.parametrize(
    "name", sorted(path.name for path in (ROOT / "examples").iterdir() if not path.name.startswith(("_", ".")))
)
def test_each_has_a_test(name: str) -> None:
    assert f'"{name}"' in TESTS
