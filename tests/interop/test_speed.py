"""A stock storescu, Nagle's algorithm on: no instance waits for a delayed acknowledgement."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.interop import part10, samples
from tests.interop.processes import AE_TITLE, HOST, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.interop.processes import Server

pytestmark = pytest.mark.interop

COUNT = 200
#: into DCMTK's own storescp this takes 90 ms for each; benchmarks tell how fast it is, this only tells the two apart
LIMIT = 4.0


def test_many_small_files(server: Server, dcmtk: Callable[[str], str], tmp_path: Path) -> None:
    uids = [f"{samples.ROOT}.4.{number}" for number in range(COUNT)]
    paths = [samples.write(tmp_path / uid, uid, bytes(34_000)) for uid in uids]
    port = str(server.port)
    begun = time.monotonic()
    sent = run([dcmtk("storescu"), "-aec", AE_TITLE, HOST, port, *paths])
    seconds = time.monotonic() - begun
    assert sent.returncode == 0, sent.stdout
    assert set(uids) <= set(part10.stored(server.store))
    assert seconds < LIMIT
