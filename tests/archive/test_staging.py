"""Staging folders: one for each process, and what is swept of those that are gone."""

from __future__ import annotations

import os

import pytest

from tests.archive.builders import arrival
from txdicom.archive.store import Store
from txdicom.errors import SettingsError


@pytest.fixture
def make_store(tmp_path):
    """`make_store(worker)`: an open store of that worker, "" of the parent or the only process."""
    stores = []

    def make(worker: str = "") -> Store:
        folder = str(tmp_path / "store")
        store = Store(folder, staging=f"{folder}/.incoming/{worker}")
        store.open()
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


def leave(folder, name="0123abcd-17.part"):
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{name}", "wb") as file:
        file.write(b"unfinished")


def found(folder) -> set[str]:
    return {os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names}


def test_workers_share_a_store_that_their_parent_holds(make_store, tmp_path):
    make_store()
    one, two = make_store("1"), make_store("2")
    for store, number in ((one, "1.2.3"), (two, "1.2.4")):
        store.commit([it := arrival(number)])
        assert it.status.is_success
    with pytest.raises(SettingsError, match="in use"):
        Store(one.folder).open()
    with pytest.raises(SettingsError, match="in use"):
        Store(one.folder, staging=one.staging_folder).open()


def test_a_worker_sweeps_its_own(make_store, tmp_path):
    incoming = f"{tmp_path}/store/.incoming"
    make_store()
    leave(f"{incoming}/1")
    leave(f"{incoming}/2")
    make_store("1")
    assert found(incoming) == {"2/0123abcd-17.part"}


def test_the_server_sweeps_what_its_workers_left(make_store, tmp_path):
    incoming = f"{tmp_path}/store/.incoming"
    for folder in ("1", "12", "x", "0", "12345"):
        leave(f"{incoming}/{folder}")
    leave(incoming)
    leave(f"{incoming}/2", "holiday.part")
    os.symlink(f"{incoming}/x", f"{incoming}/3")
    make_store()
    # what is not of ours stays, and what is in its folder
    assert found(incoming) == {f"{name}/0123abcd-17.part" for name in ("x", "0", "12345")} | {"2/holiday.part"}
    assert sorted(os.listdir(incoming)) == ["0", "12345", "2", "3", "x"]


def test_a_worker_that_outlives_its_parent_keeps_its_own(make_store, tmp_path):
    worker = make_store("1")
    staged = worker.stage("1.2", "1.2.3", "1.2.840.10008.1.2", "SCU")
    make_store()
    assert os.path.exists(staged.path)
    staged.discard()
