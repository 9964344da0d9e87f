"""What a worker begins with."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from txdicom.archive.files import FileOperations
from txdicom.archive.staging import Staging, in_use
from txdicom.server.settings.tables import Override
from txdicom.server.workers.inside import Start, wait_for_folder

if TYPE_CHECKING:
    from pathlib import Path


def test_it_has_the_settings_of_its_parent(tmp_path: Path) -> None:
    (tmp_path / "HERE").mkdir(mode=0o700)
    overrides = [
        Override(("server", "max_clients"), 7, "--set"),
        Override(("server", "listen"), ["tcp:1", 'unix:"a'], "--listen"),
        Override(("addins", "storage", "since"), dt.date(2024, 1, 2), "--set"),
    ]
    start = Start.of(str(tmp_path / "HERE"), "[server]\nmax_half_open = 3\n", overrides, 2, 2_000_000_000)
    sent = Start(**json.loads(json.dumps(start.values())))
    assert (sent.index, sent.first_number) == (2, 2_000_000_000)
    prepared = sent.prepared()
    assert prepared.overrides == overrides
    assert prepared.worker == 2
    assert (prepared.settings.server.max_clients, prepared.settings.server.max_half_open) == (7, 3)
    assert prepared.settings.server.temporary_directory == str(tmp_path / "HERE" / "store" / ".incoming" / "2")
    assert prepared.folder.path == str(tmp_path / "HERE")


@pytest.mark.parametrize(("freed", "after"), [(True, 1.0), (False, 10.0)])
def test_it_waits_for_its_staging_folder_not_for_ever(tmp_path: Path, freed: bool, after: float) -> None:
    """Whoever takes the folder then says that it is in use."""
    clock, folder = Clock(), str(tmp_path / "1")
    assert not in_use(folder)
    other = Staging(folder, FileOperations())
    other.open(str(tmp_path))
    waiting = Deferred.fromCoroutine(wait_for_folder(clock, folder))
    clock.pump([0.1] * round(10 * after - 5))
    assert not waiting.called
    if freed:
        other.close()
    clock.pump([0.1] * 10)
    assert waiting.called
    assert in_use(folder) is not freed
    other.close()
