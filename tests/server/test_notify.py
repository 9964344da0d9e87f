"""What a server tells its manager, by the protocol of sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from txdicom.server.notify import LONGEST_VALUE, notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(5)
        yield listener


def fields(manager: socket.socket) -> list[str]:
    return manager.recv(65536).decode().splitlines()


def test_fields_in_order(manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager.bind(str(tmp_path / "n"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
    assert notify(READY=1, MAINPID=os.getpid(), STATUS="Zürich is ready")
    assert fields(manager) == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=Zürich is ready"]


def test_an_abstract_socket(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"txdicom-test-{os.getpid()}"
    manager.bind(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    assert notify(STOPPING=1)
    assert fields(manager) == ["STOPPING=1"]


def test_a_text_cannot_begin_a_field(manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager.bind(str(tmp_path / "n"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
    assert notify(STATUS="cannot start:\n  port\nREADY=1")
    assert notify(STATUS="x" * 1_000_000)
    assert notify(STATUS="\udcff")
    assert fields(manager) == ["STATUS=cannot start: port READY=1"]
    assert fields(manager) == ["STATUS=" + "x" * LONGEST_VALUE]
    assert fields(manager) == ["STATUS=?"]


def test_reloading_says_when(manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager.bind(str(tmp_path / "n"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
    before = time.monotonic_ns() // 1000
    assert notify(RELOADING=1)
    first, second = fields(manager)
    assert first == "RELOADING=1"
    name, _, when = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(when) <= time.monotonic_ns() // 1000


@pytest.mark.parametrize("value", [None, "", "relative", "vsock:2:1234"])
def test_without_a_socket_nothing_is_done(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", value)
    assert not notify(READY=1)


def test_nobody_there_and_nobody_reading(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify(READY=1)
    manager.bind(str(tmp_path / "n"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
    for _ in range(10_000):
        if not notify(STATUS="x" * 4000):
            return
    pytest.fail("it waits for nobody, and there is no end of what a socket takes")
