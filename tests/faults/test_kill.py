"""kill -9 of the real server amid parallel stores: what was answered Success is there, and nothing half is.

The kernel keeps what was written before a kill, so this shows nothing about flushing; the order of the store's calls
is shown in tests/archive.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.raw_scu import ROOT, Ended, RawScu, instance
from tests.interop.part10 import data_set, stored
from tests.interop.processes import Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SENDERS = 8
KILLS, SOAK_KILLS = 15, 200
#: bytes of Pixel Data: in memory, in several fragments, and through the staging folder while it comes
SIZES = (2_000, 60_000, 300_000, 2_500_000)
#: the most seconds between the first answer and the kill
LONGEST_LIFE = 0.6


def size_of(sop_instance: str) -> int:
    return SIZES[int(sop_instance.rpartition(".")[2]) % len(SIZES)]


class Crowd:
    """Senders in threads, each with its own association and study; they go on until the server is gone."""

    def __init__(self, port: int, generation: int) -> None:
        self.answered: list[str] = []
        self.refused: list[tuple[str, int]] = []
        self.first = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(port, f"{ROOT}.{generation}.{number}"))
            for number in range(1, SENDERS + 1)
        ]
        for thread in self._threads:
            thread.start()

    def _send(self, port: int, study: str) -> None:
        start = random.randrange(len(SIZES))
        try:
            with RawScu(port) as scu:
                for number in itertools.count(start):
                    uid = f"{study}.{number}"
                    status = scu.store(uid, instance(uid, size_of(uid)))
                    if status == 0:
                        self.answered.append(uid)
                    else:
                        self.refused.append((uid, status))
                    self.first.set()
        except (OSError, Ended):
            self.first.set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def check(store: Path, answered: list[str], checked: set[str]) -> None:
    """All that was answered Success is there, and all that is there is whole."""
    files = stored(store)
    assert set(answered) <= set(files)
    for uid in set(files) - checked:
        assert data_set(files[uid]) == instance(uid, size_of(uid)), files[uid]
    checked |= set(files)
    others = [path for path in store.rglob("*") if path.is_file() and path.suffix != ".dcm"]
    assert all(path.parent.name == ".incoming" for path in others), others


def leftovers(store: Path) -> list[str]:
    return [path.name for path in (store / ".incoming").iterdir()]


def until(condition: Callable[[], object]) -> None:
    """Waits for what the server does in its own time."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def run_and_kill(base: Path, kills: int) -> None:
    answered: list[str] = []
    checked: set[str] = set()
    for generation in range(1, kills + 1):
        server = Server(base)
        try:
            port = server.port
            assert leftovers(server.store) == []
            crowd = Crowd(port, generation)
            assert crowd.first.wait(30)
            time.sleep(random.uniform(0, LONGEST_LIFE))
        finally:
            server.kill()
        crowd.join()
        assert crowd.refused == []
        check(server.store, crowd.answered, checked)
        answered += crowd.answered
    assert len(answered) > kills
    with Server(base) as server:
        assert server.port
        assert leftovers(server.store) == []
    assert set(answered) <= set(stored(server.store))


def test_kills_at_random_moments(tmp_path: Path) -> None:
    run_and_kill(tmp_path, KILLS)


@pytest.mark.soak
def test_many_kills_at_random_moments(tmp_path: Path) -> None:
    run_and_kill(tmp_path, SOAK_KILLS)


@pytest.mark.parametrize("again", [False, True], ids=["once", "and sent again"])
def test_a_kill_amid_a_large_instance(tmp_path: Path, again: bool) -> None:
    """What had come of it goes at the next start, and is in nobody's way."""
    uid = f"{ROOT}.9.1"
    data = instance(uid, 8_000_000)
    server = Server(tmp_path)
    try:
        scu = RawScu(server.port)
        scu.begin(uid)
        scu.go_on(data[:6_000_000], last=False)
        until(lambda: leftovers(server.store))
    finally:
        server.kill()
    with pytest.raises((OSError, Ended)), scu:
        scu.status()
    assert stored(server.store) == {}
    with Server(tmp_path) as server:
        port = server.port
        assert leftovers(server.store) == []
        assert "1 unfinished instances removed" in server.output()
        if again:
            with RawScu(port) as scu:
                assert scu.store(uid, data) == 0
            assert data_set(stored(server.store)[uid]) == data


def test_a_sender_that_goes_amid_a_large_instance(tmp_path: Path) -> None:
    """Nothing of it stays, and the server needs no restart for that."""
    uid = f"{ROOT}.9.2"
    data = instance(uid, 8_000_000)
    with Server(tmp_path) as server:
        scu = RawScu(server.port)
        scu.begin(uid)
        scu.go_on(data[:6_000_000], last=False)
        until(lambda: leftovers(server.store))
        scu.close()
        until(lambda: not leftovers(server.store))
        assert stored(server.store) == {}
        with RawScu(server.port) as scu:
            assert scu.store(uid, data) == 0
        assert data_set(stored(server.store)[uid]) == data
