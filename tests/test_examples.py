"""Every example is run by a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))


def runs(name: str, tests: str) -> bool:
    """Whether a test has the path of this example for more than reading it."""
    return re.search(rf'(?:EXAMPLES|"examples") / "{re.escape(name)}"(?!\)\.read)', tests) is not None


@pytest.mark.parametrize(
    "name", sorted(path.name for path in (ROOT / "examples").iterdir() if not path.name.startswith(("_", ".")))
)
def test_each_has_a_test(name: str) -> None:
    assert runs(name, TESTS)


def test_a_name_alone_is_no_test() -> None:
    assert runs("a.py", 'program = [sys.executable, ROOT / "examples" / "a.py"]')
    for text in ('names = ["a.py"]', '(ROOT / "examples" / "a.py").read_text()', 'EXAMPLES / "aapy"'):
        assert not runs("a.py", text)
