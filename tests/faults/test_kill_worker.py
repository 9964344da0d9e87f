"""kill -9 of workers amid parallel stores: what was answered Success is there, and the others go on."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from typing import TYPE_CHECKING

from tests.faults.raw_scu import instance
from tests.faults.test_kill import Crowd, size_of, until
from tests.interop.part10 import data_set, stored
from tests.interop.processes import Server

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 3
#: the most seconds between the first answer and the first kill
LONGEST_LIFE = 0.4


def workers(server: Server) -> list[int]:
    """The processes that run now."""
    found = dict(re.findall(r"worker (\d) is process (\d+)", server.output()))
    return [int(found[index]) for index in sorted(found)]


def ready(server: Server, times: int) -> bool:
    """Whether each of the two workers has become ready so often: where one is not, the other gets all."""
    return all(server.output().count(f"worker {index} is ready") == times for index in (1, 2))


def unfinished(store: Path) -> list[str]:
    return [path.name for path in (store / ".incoming").rglob("*") if path.is_file()]


def test_workers_are_killed_one_after_the_other(tmp_path: Path) -> None:
    answered: list[str] = []
    with Server(tmp_path, {"server.workers": "2"}) as server:
        for generation in range(1, ROUNDS + 1):
            until(lambda generation=generation: ready(server, generation))
            crowd = Crowd(server.port, generation)
            assert crowd.first.wait(30)
            time.sleep(random.uniform(0, LONGEST_LIFE))
            first, second = random.sample(workers(server), 2)
            os.kill(first, signal.SIGKILL)
            count = len(crowd.answered)
            until(lambda crowd=crowd, count=count: len(crowd.answered) > count + 10)  # the other worker's senders go on
            os.kill(second, signal.SIGKILL)
            crowd.join()
            assert crowd.refused == []
            answered += crowd.answered
        until(lambda: ready(server, ROUNDS + 1))
        # each has swept what the one before it left
        assert unfinished(server.store) == []
    files = stored(server.store)
    assert set(answered) <= set(files)
    for uid, path in files.items():
        assert data_set(path) == instance(uid, size_of(uid)), path
