"""What a process does to itself at its start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from txdicom.server.launch import tune_malloc

PROGRAM = "import os; from txdicom.server.launch import tune_malloc; print(tune_malloc({}))"


def has_glibc() -> bool:
    import os

    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except ValueError:
        return False


def test_glibc_takes_the_values() -> None:
    # in a process of its own: it cannot be taken back
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(has_glibc())


@pytest.mark.parametrize("environment", [{"MALLOC_TOP_PAD_": "1"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1"}])
def test_what_was_tuned_from_outside_is_left_alone(environment: dict[str, str]) -> None:
    assert tune_malloc(environment) is False


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr("os.confstr", unknown)
    assert tune_malloc({}) is False
    monkeypatch.setattr("os.confstr", lambda name: "musl 1.2")
    assert tune_malloc({}) is False
