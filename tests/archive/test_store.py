"""The store: what is filed where, what is refused, and in which order the disk is touched."""

from __future__ import annotations

import errno
import itertools
import os
import stat

import pydicom
import pytest

from tests.archive.builders import CT, Recorded, ShortWrites, arrival, data_set
from txdicom.archive import folders
from txdicom.archive.arrival import Arrival
from txdicom.archive.files import IOV_MAX, FileOperations
from txdicom.archive.store import GROUP, Store, status_of
from txdicom.errors import SettingsError
from txdicom.part10 import read_meta
from txdicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, is_uid


@pytest.fixture
def files() -> Recorded:
    return Recorded()


@pytest.fixture
def make_store(tmp_path, files):
    """`make_store(**settings)`: an open store in tmp_path/store; all are closed at the end."""
    stores = []

    def make(**settings) -> Store:
        settings.setdefault("files", files)
        store = Store(str(tmp_path / "store"), **settings)
        store.open()
        stores.append(store)
        files.calls.clear()
        return store

    yield make
    for store in stores:
        store.close()


def stored(store: Store) -> dict[str, bytes]:
    """Every file of the store, those in the staging folder too: path -> data set (the whole, if no DICOM file)."""
    result = {}
    for folder, _folders, names in os.walk(store.folder):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                raw = file.read()
            meta = read_meta(raw, complete=True)
            result[os.path.relpath(path, store.folder)] = raw[meta.data_offset :] if meta else raw
    return result


def staged_arrival(store: Store, sop_instance: str, data: bytes, missing: int = 0) -> Arrival:
    staged = store.stage(CT, sop_instance, EXPLICIT_VR_LITTLE_ENDIAN, "BIG")
    os.write(staged.fd, data[: len(data) - missing])
    return Arrival(CT, sop_instance, EXPLICIT_VR_LITTLE_ENDIAN, "BIG", len(data), staged=staged)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# --- what is filed where ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flush", [True, False])
def test_an_instance_is_filed_as_it_came(make_store, flush):
    store = make_store(flush=flush)
    one = arrival("1.2.3")
    before = open_descriptors()
    store.commit([one])
    assert one.status.is_success
    assert one.path == f"{store.folder}/1.2/1.3/1.2.3.dcm"
    assert stored(store) == {"1.2/1.3/1.2.3.dcm": data_set("1.2.3")}
    assert open_descriptors() == before
    dataset = pydicom.dcmread(one.path)
    assert dataset.file_meta.SourceApplicationEntityTitle == "SCU"
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID == "1.2.3"


def test_only_the_owner_may_read(make_store):
    store = make_store()
    one = arrival("1.2.3")
    store.commit([one])
    assert stat.S_IMODE(os.stat(one.path).st_mode) == 0o600
    for folder in ("", "/1.2", "/1.2/1.3", "/.incoming"):
        assert stat.S_IMODE(os.stat(store.folder + folder).st_mode) == 0o700


@pytest.mark.parametrize("study", ["", "1.2", "../../etc", "1.2/..", "1" * 65, "a"])
@pytest.mark.parametrize("series", ["", "..", "1..2", "1.3\\1.4"])
def test_without_study_or_series_uid(make_store, study, series):
    store = make_store()
    one = arrival("1.2.3", study=study, series=series)
    store.commit([one])
    assert one.status.is_success
    assert list(stored(store)) == ["unknown/1.2.3.dcm"]


def test_every_bundled_instance(make_store, bundled):
    store = make_store(flush=False)
    usable = {one.identity.sop_instance: one for one in bundled if is_uid(one.identity.sop_instance)}
    arrivals = [
        Arrival(
            one.identity.sop_class, one.identity.sop_instance, one.transfer_syntax, "SCU", len(one.data),
            buffers=[one.data],
        )
        for one in usable.values()
    ]  # fmt: skip
    store.commit(arrivals)
    assert len(arrivals) > GROUP
    for one, kept in zip(usable.values(), arrivals, strict=True):
        assert kept.status.is_success, one.name
        with open(kept.path, "rb") as file:
            raw = file.read()
        assert raw[read_meta(raw, complete=True).data_offset :] == one.data, one.name


@pytest.mark.parametrize("operations", [FileOperations, ShortWrites])
def test_many_small_buffers_and_short_writes(make_store, operations):
    store = make_store(files=operations())
    data = data_set("1.2.3", pixels=bytes(range(256)) * 20)
    small = [data[index : index + 1] for index in range(len(data))]
    assert len(small) > 2 * IOV_MAX
    store.commit([Arrival(CT, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN, "SCU", len(data), buffers=small)])
    assert stored(store) == {"1.2/1.3/1.2.3.dcm": data}


def test_a_removed_series_folder_is_made_again(make_store, files):
    store = make_store()
    store.commit([arrival("1.2.3")])
    os.unlink(f"{store.folder}/1.2/1.3/1.2.3.dcm")
    os.rmdir(f"{store.folder}/1.2/1.3")
    files.calls.clear()
    one = arrival("1.2.4")
    store.commit([one])
    assert one.status.is_success
    assert [path for name, path in files.calls if name == "fsync_folder"] == [
        f"{store.folder}/1.2/1.3", f"{store.folder}/1.2",
    ]  # fmt: skip


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "code"),
    [
        (lambda: arrival("../1.2"), 0x0117),
        (lambda: arrival(""), 0x0117),
        (lambda: arrival("1.2.3", data_set("1.2.4")), 0xA900),
        (lambda: arrival("1.2.3", b""), 0xA900),
        (lambda: Arrival("1.9", "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN, "S", 100, buffers=[data_set("1.2.3")]), 0xA900),
        (lambda: arrival("1.2.3", data_set("1.2.3")[:58]), 0xC000),
        (lambda: Arrival(CT, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN, "S", 9, buffers=None), 0x0110),
    ],
)
def test_refused(make_store, one, code):
    store = make_store()
    refused, good = one(), arrival("1.5")
    store.commit([refused, good])
    assert refused.status.code == code
    assert refused.path is None
    assert good.status.is_success
    assert list(stored(store)) == ["1.2/1.3/1.5.dcm"]


def test_comments_fit_and_name_no_path(make_store, files):
    store = make_store()
    files.errors["write"] = errno.EIO
    one, two = arrival("1.2.3"), arrival("1.2.4", data_set("1.2.5"))
    store.commit([one, two])
    assert one.status.error_comment == os.strerror(errno.EIO)
    assert "command" in two.status.error_comment


# --- order ------------------------------------------------------------------------------------------------------------

RANK = {
    "create": 0, "write": 0, "start_writing": 0, "fsync": 1, "close": 1,
    "place": 2, "make_folder": 2, "fsync_folder": 3,
}  # fmt: skip


def test_everything_is_on_the_disk_before_any_status(make_store, files):
    store = make_store()
    arrivals = [arrival(f"1.2.{number}", series=f"1.3.{number % 2}") for number in range(6)]
    arrivals.append(staged_arrival(store, "1.2.9", data_set("1.2.9", study="")))
    files.calls.clear()

    def nothing_answered(_name, _path):
        assert [one.status for one in arrivals] == [None] * len(arrivals)

    files.before = nothing_answered
    store.commit(arrivals)
    ranks = [RANK[name] for name in files.names()]
    assert ranks == sorted(ranks)
    assert files.names().count("fsync") == files.names().count("start_writing") == len(arrivals)
    assert len([path for name, path in files.calls if name == "place"]) >= len(arrivals)
    flushed = [path.removeprefix(store.folder) for name, path in files.calls if name == "fsync_folder"]
    # each once, and upwards to the store because all of these are new
    assert sorted(flushed) == ["", "/1.2", "/1.2/1.3.0", "/1.2/1.3.1", "/unknown"]
    assert all(one.status.is_success for one in arrivals)


def test_a_known_folder_is_flushed_alone(make_store, files):
    store = make_store()
    store.commit([arrival("1.2.3")])
    files.calls.clear()
    store.commit([arrival("1.2.4"), arrival("1.2.5")])
    assert [call for call in files.calls if call[0] == "fsync_folder"] == [("fsync_folder", f"{store.folder}/1.2/1.3")]
    files.calls.clear()
    store.commit([arrival("1.2.4", series="1.4")])
    assert [path for name, path in files.calls if name == "fsync_folder"] == [
        f"{store.folder}/1.2/1.4", f"{store.folder}/1.2",
    ]  # fmt: skip


def test_folders_of_an_earlier_run_are_flushed_once(make_store, files):
    early = make_store(flush=False)
    early.commit([arrival("1.2.3")])
    early.close()
    store = make_store()
    store.commit([arrival("1.2.4")])
    assert [path for name, path in files.calls if name == "fsync_folder"] == [
        f"{store.folder}/1.2/1.3", f"{store.folder}/1.2", store.folder,
    ]  # fmt: skip


def test_what_is_remembered_is_bounded(make_store, files, monkeypatch):
    monkeypatch.setattr(folders, "_REMEMBERED", 1)
    store = make_store()
    for number in range(3):
        store.commit([arrival(f"1.2.{number}", study=f"1.{number}")])
    assert len(store._folders._durable) <= 3


def test_without_flush_nothing_waits_for_the_disk(make_store, files):
    store = make_store(flush=False)
    store.commit([arrival("1.2.3"), arrival("1.2.4")])
    assert not {"fsync", "fsync_folder", "start_writing"} & set(files.names())


@pytest.mark.parametrize("count", [1, 8])
def test_the_usual_instance_costs_four_system_calls(make_store, count):
    calls = []

    class Counted(FileOperations):
        def __getattribute__(self, name):
            if not name.startswith("_"):
                calls.append(name)
            return super().__getattribute__(name)

    store = make_store(flush=False, files=Counted())
    store.commit([arrival("1.2.3")])
    calls.clear()
    store.commit([arrival(f"1.2.4.{number}") for number in range(count)])
    # in the order in which a group is taken
    assert calls == ["create", "write", "close"] * count + ["place"] * count


def test_a_new_store_is_flushed_upwards(tmp_path, files):
    store = Store(str(tmp_path / "a" / "b"), files=files)
    store.open()
    store.close()
    assert [path for name, path in files.calls if name == "fsync_folder"] == [str(tmp_path), str(tmp_path / "a")]


def test_a_large_group_is_written_in_parts(make_store, files):
    store = make_store()
    arrivals = [arrival(f"1.2.{number}") for number in range(GROUP + 5)]
    store.commit(arrivals)
    assert all(one.status.is_success for one in arrivals)
    runs = [(name, len(list(run))) for name, run in itertools.groupby(files.names()) if name == "place"]
    assert sum(count for _name, count in runs) >= len(arrivals)
    assert files.names().index("place") < len(files.names()) - 1 - files.names()[::-1].index("write")


# --- failures ---------------------------------------------------------------------------------------------------------


BOTH = ["fsync", "close", "place", "make_folder"]


@pytest.mark.parametrize(
    ("operation", "large"),
    [*((one, False) for one in ["create", "write", *BOTH]), *((one, True) for one in BOTH)],
)
@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, 0xA700), (errno.EDQUOT, 0xA700), (errno.EIO, 0x0110), (errno.EACCES, 0x0110)]
)
def test_a_failure_leaves_nothing(make_store, files, operation, number, code, large):
    store = make_store()
    before = open_descriptors()
    one = staged_arrival(store, "1.2.3", data_set("1.2.3")) if large else arrival("1.2.3")
    files.errors[operation] = number
    store.commit([one])
    assert one.status.code == code
    assert one.path is None
    assert stored(store) == {}
    assert open_descriptors() == before
    files.errors.clear()
    again = arrival("1.2.3")
    store.commit([again])
    assert again.status.is_success


def test_a_failure_concerns_one_instance_only(make_store, files):
    store = make_store()
    files.errors["place"] = (errno.EIO, "1.2.4.dcm")
    arrivals = [arrival(f"1.2.{number}") for number in (3, 4, 5)]
    store.commit(arrivals)
    assert [one.status.code for one in arrivals] == [0, 0x0110, 0]
    assert sorted(stored(store)) == ["1.2/1.3/1.2.3.dcm", "1.2/1.3/1.2.5.dcm"]


def test_a_folder_that_cannot_be_flushed_fails_its_own(make_store, files):
    store = make_store()
    files.errors["fsync_folder"] = (errno.EIO, "/1.2/1.4")
    arrivals = [arrival("1.2.3"), arrival("1.2.4", series="1.4"), arrival("1.2.5", series="1.4")]
    store.commit(arrivals)
    assert [one.status.code for one in arrivals] == [0, 0x0110, 0x0110]
    assert [one.path is None for one in arrivals] == [False, True, True]
    # they stay, whole: another process may have answered Success for the same ones; and when they come again, so do we
    assert sorted(stored(store)) == ["1.2/1.3/1.2.3.dcm", "1.2/1.4/1.2.4.dcm", "1.2/1.4/1.2.5.dcm"]
    files.errors.clear()
    files.calls.clear()
    store.commit([again := arrival("1.2.4", series="1.4")])
    assert again.status.is_success
    assert ("fsync_folder", f"{store.folder}/1.2/1.4") in files.calls


def test_what_cannot_be_removed_is_left_in_the_staging_folder(make_store, files):
    store = make_store()
    files.errors = {"write": errno.EIO, "unlink": errno.EIO}
    one = arrival("1.2.3")
    store.commit([one])
    assert one.status.code == 0x0110
    assert [name for name in stored(store) if not name.startswith(".incoming/")] == []


def test_something_else_where_a_folder_should_be(make_store):
    store = make_store()
    os.mkdir(f"{store.folder}/1.2")
    os.symlink("/nonexistent", f"{store.folder}/1.2/1.3")
    store.commit([one := arrival("1.2.3")])
    assert one.status.code == 0x0110
    assert os.listdir(f"{store.folder}/.incoming") == []


def test_an_error_without_a_number():
    assert status_of(OSError("odd")).code == 0x0110


# --- large ones -------------------------------------------------------------------------------------------------------


def test_a_staged_file_is_flushed_then_renamed(make_store, files):
    store = make_store()
    data = data_set("1.2.3", pixels=bytes(100_000))
    one = staged_arrival(store, "1.2.3", data)
    path = one.staged.path
    files.calls.clear()
    store.commit([one])
    assert one.status.is_success
    assert one.staged is None
    assert next(call for call in files.calls if call[0] in {"fsync", "place"}) == ("fsync", path)
    assert "write" not in files.names()
    assert stored(store) == {"1.2/1.3/1.2.3.dcm": data}
    assert pydicom.dcmread(one.path).file_meta.SourceApplicationEntityTitle == "BIG"


def test_a_staged_file_that_is_not_whole_is_refused(make_store):
    store = make_store()
    one = staged_arrival(store, "1.2.3", data_set("1.2.3"), missing=10)
    store.commit([one])
    assert one.status.code == 0x0110
    assert stored(store) == {}


def test_discarding_what_is_staged(make_store):
    store = make_store()
    before = open_descriptors()
    one = staged_arrival(store, "1.2.3", data_set("1.2.3"))
    staged = one.staged
    one.discard()
    one.discard()
    staged.discard()
    assert stored(store) == {}
    assert open_descriptors() == before


def test_no_room_for_staging(make_store, files):
    store = make_store()
    before = open_descriptors()
    files.errors["write"] = errno.ENOSPC
    with pytest.raises(OSError, match="space") as error:
        store.stage(CT, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN, "BIG")
    assert status_of(error.value).code == 0xA700
    assert stored(store) == {}
    assert open_descriptors() == before


# --- opening ----------------------------------------------------------------------------------------------------------


def test_leftovers_are_swept_and_nothing_else(make_store, tmp_path):
    incoming = tmp_path / "store" / ".incoming"
    incoming.mkdir(parents=True)
    (incoming / "0123abcd-17.part").write_bytes(b"unfinished")
    (incoming / "holiday.part").write_bytes(b"not ours")
    store = make_store()
    assert list(stored(store)) == [".incoming/holiday.part"]


def test_a_staging_folder_elsewhere(tmp_path):
    elsewhere = "/dev/shm" if os.stat("/dev/shm").st_dev != os.stat(tmp_path).st_dev else "/proc/self"
    store = Store(str(tmp_path / "store"), staging=elsewhere)
    with pytest.raises(SettingsError, match="file system"):
        store.open()


def test_a_store_in_use(make_store, tmp_path):
    store = make_store()
    other = Store(store.folder)
    with pytest.raises(SettingsError, match="in use"):
        other.open()
    store.close()
    other.open()
    other.close()
    other.close()


def test_a_file_system_without_locks(make_store, monkeypatch):
    def unsupported(*_args):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", unsupported)
    before = open_descriptors()
    store = make_store()
    assert open_descriptors() == before
    store.commit([one := arrival("1.2.3")])
    assert one.status.is_success


def test_the_transfer_syntax_decides_how_it_is_read(make_store):
    store = make_store()
    data = data_set("1.2.3")
    one = Arrival(CT, "1.2.3", "1.2.840.10008.1.2.2", "SCU", len(data), buffers=[data])
    two = Arrival(CT, "1.2.3", IMPLICIT_VR_LITTLE_ENDIAN, "SCU", len(data), buffers=[data])
    store.commit([one, two])
    assert [one.status.code, two.status.code] == [0xA900, 0]
