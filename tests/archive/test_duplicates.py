"""Instances whose SOP Instance UID the store has already."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime

import pytest

from tests.archive.builders import CT, Recorded, arrival, data_set
from txdicom.archive import duplicates
from txdicom.archive.arrival import Arrival
from txdicom.archive.store import Store
from txdicom.part10 import read_meta
from txdicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

POLICIES = ("keep", "replace", "refuse")
PATH = "1.2/1.3/1.2.3.dcm"


@pytest.fixture
def files() -> Recorded:
    return Recorded()


@pytest.fixture(params=[True, False], ids=["flush", "no-flush"])
def make_store(request, tmp_path, files):
    stores = []

    def make(policy: str) -> Store:
        store = Store(str(tmp_path / "store"), duplicates=policy, files=files, flush=request.param)
        store.open()
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


def stored(store: Store) -> dict[str, bytes]:
    result = {}
    for folder, _folders, names in os.walk(store.folder):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                raw = file.read()
            meta = read_meta(raw, complete=True)
            result[os.path.relpath(path, store.folder)] = raw[meta.data_offset :] if meta else raw
    return result


def staged(store: Store, data: bytes, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> Arrival:
    file = store.stage(CT, "1.2.3", syntax, "OTHER")
    os.write(file.fd, data)
    return Arrival(CT, "1.2.3", syntax, "OTHER", len(data), staged=file)


def commit(store: Store, arrivals: list[Arrival], together: bool) -> list[int]:
    for group in [arrivals] if together else [[one] for one in arrivals]:
        store.commit(group)
    return [one.status.code for one in arrivals]


VERSIONS = [data_set("1.2.3", pixels=bytes([number]) * 64) for number in range(3)]
LONGER = data_set("1.2.3", pixels=bytes(600_000))


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_again_is_success_and_changes_nothing(make_store, policy, together):
    store = make_store(policy)
    arrivals = [arrival("1.2.3", VERSIONS[0]), arrival("1.2.3", VERSIONS[0], calling_ae="OTHER")]
    arrivals.append(staged(store, VERSIONS[0]))
    descriptors = len(os.listdir("/proc/self/fd"))
    assert commit(store, arrivals, together) == [0, 0, 0]
    assert stored(store) == {PATH: VERSIONS[0]}
    assert {one.path for one in arrivals} == {f"{store.folder}/{PATH}"}
    assert len(os.listdir("/proc/self/fd")) == descriptors - 1


def test_the_same_again_is_flushed_first(tmp_path, files):
    # a crash may have come between its being renamed and the flush of its folder
    early = Store(str(tmp_path / "store"), flush=False)
    early.open()
    early.commit([arrival("1.2.3")])
    early.close()
    store = Store(early.folder, files=files)
    store.open()
    files.calls.clear()
    one = arrival("1.2.3")
    files.before = lambda _name, _path: one.status is None or pytest.fail("answered too early")
    store.commit([one])
    store.close()
    final = f"{store.folder}/{PATH}"
    found = [call for call in files.calls if not call[1].endswith(".part")]
    assert found == [
        ("place", final),
        ("fsync", final),
        ("close", final),
        ("fsync_folder", f"{store.folder}/1.2/1.3"),
        ("fsync_folder", f"{store.folder}/1.2"),
        ("fsync_folder", store.folder),
    ]


@pytest.mark.parametrize("operation", ["fsync", "fsync_folder"])
def test_the_same_again_that_cannot_be_flushed_fails_but_stays(tmp_path, files, operation):
    store = Store(str(tmp_path / "store"), files=files)
    store.open()
    store.commit([arrival("1.2.3", VERSIONS[0])])
    files.errors[operation] = errno.EIO
    store.commit([again := arrival("1.2.3", VERSIONS[0])])
    store.close()
    assert again.status.code == 0x0110
    assert stored(store) == {PATH: VERSIONS[0]}


@pytest.mark.parametrize("together", [True, False])
def test_keep(make_store, together):
    store = make_store("keep")
    arrivals = [arrival("1.2.3", data, calling_ae=f"SCU{number}") for number, data in enumerate(VERSIONS)]
    # and each of them once more
    arrivals += [arrival("1.2.3", data) for data in VERSIONS]
    assert commit(store, arrivals, together) == [0] * 6
    kept = stored(store)
    lines = [json.loads(line) for line in kept.pop("duplicates.jsonl").splitlines()]
    assert kept == {PATH: VERSIONS[0], "1.2/1.3/1.2.3~2.dcm": VERSIONS[1], "1.2/1.3/1.2.3~3.dcm": VERSIONS[2]}
    assert [os.path.relpath(one.path, store.folder) for one in arrivals] == sorted(kept) * 2
    assert [(line["path"], line["first"], line["sop_instance"], line["calling_ae"]) for line in lines] == [
        ("1.2/1.3/1.2.3~2.dcm", PATH, "1.2.3", "SCU1"),
        ("1.2/1.3/1.2.3~3.dcm", PATH, "1.2.3", "SCU2"),
    ]
    assert abs((datetime.now(UTC) - datetime.fromisoformat(lines[0]["time"])).total_seconds()) < 60


@pytest.mark.parametrize("together", [True, False])
def test_replace(make_store, together):
    store = make_store("replace")
    arrivals = [arrival("1.2.3", VERSIONS[0]), staged(store, VERSIONS[1]), arrival("1.2.3", VERSIONS[2])]
    assert commit(store, arrivals, together) == [0, 0, 0]
    assert stored(store) == {PATH: VERSIONS[2]}


@pytest.mark.parametrize("together", [True, False])
def test_refuse(make_store, together):
    store = make_store("refuse")
    arrivals = [arrival("1.2.3", VERSIONS[0]), arrival("1.2.3", VERSIONS[1]), staged(store, VERSIONS[2])]
    assert commit(store, arrivals, together) == [0, 0x0111, 0x0111]
    assert arrivals[1].path is None
    assert stored(store) == {PATH: VERSIONS[0]}


def test_another_transfer_syntax_is_another_instance(make_store):
    store = make_store("refuse")
    # Explicit VR is understood where Implicit VR was agreed
    other = Arrival(CT, "1.2.3", IMPLICIT_VR_LITTLE_ENDIAN, "SCU", len(VERSIONS[0]), buffers=[VERSIONS[0]])
    assert commit(store, [arrival("1.2.3", VERSIONS[0]), other], together=False) == [0, 0x0111]


@pytest.mark.parametrize("position", [200, 300_000, len(LONGER) - 1])
def test_a_difference_anywhere_is_seen(make_store, position):
    store = make_store("refuse")
    changed = bytearray(LONGER)
    changed[position] ^= 1
    arrivals = [arrival("1.2.3", LONGER), staged(store, LONGER), arrival("1.2.3", LONGER)]
    arrivals += [staged(store, bytes(changed)), arrival("1.2.3", bytes(changed)), arrival("1.2.3", LONGER + b"\0\0")]
    assert commit(store, arrivals, together=False) == [0, 0, 0, 0x0111, 0x0111, 0x0111]


def _folder(path):
    os.mkdir(path)


def _link(path):
    os.symlink("/etc/hostname", path)


def _dangling(path):
    os.symlink("/nonexistent", path)


def _fifo(path):
    os.mkfifo(path)


def _file(content):
    def make(path):
        with open(path, "wb") as file:
            file.write(content)

    return make


@pytest.mark.parametrize(
    "make", [_folder, _link, _dangling, _fifo, _file(b""), _file(b"text" * 50), _file(bytes(128) + b"DICM\x02\0")]
)
def test_what_stands_in_the_way_is_left_alone(make_store, make):
    store = make_store("keep")
    os.makedirs(f"{store.folder}/1.2/1.3")
    make(f"{store.folder}/{PATH}")
    one = arrival("1.2.3")
    store.commit([one])
    assert one.status.is_success
    assert one.path == f"{store.folder}/1.2/1.3/1.2.3~2.dcm"


def test_a_folder_is_not_replaced(make_store):
    store = make_store("replace")
    os.makedirs(f"{store.folder}/{PATH}")
    one = arrival("1.2.3")
    store.commit([one])
    assert one.status.code == 0x0110
    assert stored(store) == {}


def test_what_is_kept_is_bounded(make_store, monkeypatch):
    monkeypatch.setattr(duplicates, "MAX_KEPT", 2)
    store = make_store("keep")
    assert commit(store, [arrival("1.2.3", data) for data in VERSIONS], together=False) == [0, 0, 0x0111]


def test_the_list_is_written_before_the_instance_has_its_name(tmp_path, files):
    store = Store(str(tmp_path / "store"), files=files)
    store.open()
    store.commit([arrival("1.2.3", VERSIONS[0])])
    files.calls.clear()
    store.commit([arrival("1.2.3", VERSIONS[1])])
    listed = files.calls.index(("fsync", f"{store.folder}/duplicates.jsonl"))
    assert listed < files.calls.index(("place", f"{store.folder}/1.2/1.3/1.2.3~2.dcm"))
    # and the list's own name is flushed, the first time
    assert ("fsync_folder", store.folder) in files.calls
    files.calls.clear()
    store.commit([arrival("1.2.3", VERSIONS[2])])
    assert ("fsync_folder", store.folder) not in files.calls
    store.close()


def test_a_list_that_cannot_be_written_fails_only_what_is_to_be_listed(tmp_path, files):
    store = Store(str(tmp_path / "store"), files=files)
    store.open()
    store.commit([arrival("1.2.3", VERSIONS[0])])
    files.errors["write"] = (errno.ENOSPC, "duplicates.jsonl")
    arrivals = [arrival("1.2.3", VERSIONS[1]), arrival("1.2.4")]
    store.commit(arrivals)
    store.close()
    assert [one.status.code for one in arrivals] == [0xA700, 0]
    assert sorted(stored(store)) == [PATH, "1.2/1.3/1.2.4.dcm", "duplicates.jsonl"]


def test_a_torn_line_does_not_spoil_the_next(make_store):
    store = make_store("keep")
    with open(f"{store.folder}/duplicates.jsonl", "wb") as file:
        file.write(b'{"time": "20')
    commit(store, [arrival("1.2.3", data) for data in VERSIONS], together=False)
    torn, *lines = stored(store)["duplicates.jsonl"].splitlines()
    assert torn == b'{"time": "20'
    assert [json.loads(line)["path"] for line in lines] == ["1.2/1.3/1.2.3~2.dcm", "1.2/1.3/1.2.3~3.dcm"]


def test_a_replacement_whose_folder_cannot_be_flushed_stays(tmp_path, files):
    # taking it out would lose the instance that was answered Success before
    store = Store(str(tmp_path / "store"), files=files, duplicates="replace")
    store.open()
    store.commit([arrival("1.2.3", VERSIONS[0])])
    files.errors["fsync_folder"] = errno.EIO
    store.commit([later := arrival("1.2.3", VERSIONS[1])])
    store.close()
    assert later.status.code == 0x0110
    assert stored(store) == {PATH: VERSIONS[1]}


def test_what_comes_again_is_looked_for_while_it_does(tmp_path, files):
    # a study is sent again as a whole: of the first group each is written in vain, of the others none
    store = Store(str(tmp_path / "store"), files=files)
    store.open()
    numbers = [f"1.2.{number}" for number in range(6)]
    store.commit([arrival(number) for number in numbers])
    files.calls.clear()
    for number in numbers:
        store.commit([again := arrival(number)])
        assert again.status.is_success
    assert files.names().count("write") == 1
    files.calls.clear()
    store.commit([arrival("1.2.10")])
    store.commit([arrival("1.2.11")])
    assert [call for call in files.calls if call[0] == "place"] == [
        ("place", f"{store.folder}/1.2/1.3/1.2.10.dcm"), ("place", f"{store.folder}/1.2/1.3/1.2.11.dcm")
    ]  # fmt: skip
    store.close()


class Rival:
    """Another process, which stores at the very moment when ours gives its file a name."""

    def __init__(self, store: Store, files: Recorded, policy: str, *data: bytes) -> None:
        self.store = Store(store.folder, staging=f"{store.staging_folder}/2", duplicates=policy)
        self.store.open()
        self.arrivals: list[Arrival] = []
        left = [*data]

        def before(name, _path):
            if name == "place" and left:
                self.arrivals.append(arrival("1.2.3", left.pop(0)))
                self.store.commit(self.arrivals[-1:])

        files.before = before


@pytest.mark.parametrize(
    ("policy", "ours", "code", "kept"),
    [
        ("keep", 1, 0, {PATH: 0, "1.2/1.3/1.2.3~2.dcm": 1}),
        ("keep", 0, 0, {PATH: 0}),
        ("refuse", 1, 0x0111, {PATH: 0}),
        ("refuse", 0, 0, {PATH: 0}),
        ("replace", 1, 0, {PATH: 1}),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_another_process_is_first(make_store, files, policy, ours, code, kept, large):
    store = make_store(policy)
    rival = Rival(store, files, policy, VERSIONS[0])
    one = staged(store, VERSIONS[ours]) if large else arrival("1.2.3", VERSIONS[ours])
    descriptors = len(os.listdir("/proc/self/fd"))
    store.commit([one])
    rival.store.close()
    assert rival.arrivals[0].status.is_success
    assert one.status.code == code
    assert len(os.listdir("/proc/self/fd")) == descriptors - 1 - large
    found = stored(store)
    found.pop("duplicates.jsonl", None)
    assert found == {path: VERSIONS[number] for path, number in kept.items()}


def test_another_process_takes_the_place_beside_where_nothing_can_be_locked(tmp_path, files, monkeypatch):
    def unsupported(*_args):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", unsupported)
    store = Store(str(tmp_path / "store"), files=files)
    store.open()
    rival = Rival(store, files, "keep", VERSIONS[0], VERSIONS[1])
    store.commit([one := arrival("1.2.3", VERSIONS[2])])
    assert [it.status.code for it in (*rival.arrivals, one)] == [0, 0, 0]
    kept = stored(store)
    listed = [json.loads(line)["path"] for line in kept.pop("duplicates.jsonl").splitlines()]
    assert kept == {PATH: VERSIONS[0], "1.2/1.3/1.2.3~2.dcm": VERSIONS[1], "1.2/1.3/1.2.3~3.dcm": VERSIONS[2]}
    assert set(listed) == kept.keys() - {PATH}
    rival.store.close()
    store.close()
