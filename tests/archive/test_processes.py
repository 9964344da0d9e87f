"""Two processes that store the same SOP Instance UIDs at the same moment: what was answered Success is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.archive.storing import SIZE, data, uid
from txdicom.archive.store import Store
from txdicom.part10 import read_meta

TURNS = 100
#: rounds and numbers of the instances that come with different bytes, and of those that come with the same
DIFFERENT = [(turn, number) for turn in range(1, TURNS + 1) for number in range(SIZE - 1)]
SAME = [(turn, SIZE - 1) for turn in range(1, TURNS + 1)]


def content(path: str) -> bytes:
    """The data set of a file, which is whole and one of those that were sent with its UID."""
    with open(path, "rb") as file:
        raw = file.read()
    meta = read_meta(raw, complete=True)
    assert meta is not None, f"{path} is not whole: {len(raw)} bytes"
    turn, number = os.path.basename(path).removesuffix(".dcm").partition("~")[0].split(".")[2:]
    found = raw[meta.data_offset :]
    assert found in {data(int(turn), int(number) - 1, which) for which in (0, 1)}, path
    return found


def visible(folder: str) -> list[str]:
    """All instances that can be seen."""
    return [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if name.endswith(".dcm")]


class Race:
    """What two processes were answered, by UID, and what the store then has."""

    def __init__(self, folder: str, policy: str, flush: str) -> None:
        self.folder = folder
        parent = Store(folder)  # as the parent of workers does, which stores nothing itself
        parent.open()
        meeting = f"{folder}.meeting"
        with open(meeting, "wb") as file:
            file.write(bytes(128))
        command = [sys.executable, "-m", "tests.archive.storing", folder, policy, flush, str(TURNS), meeting]
        processes = [
            subprocess.Popen([*command, which], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for which in "01"
        ]
        try:
            while any(process.poll() is None for process in processes):
                for path in visible(folder)[-50:]:
                    content(path)
            outputs = [process.communicate() for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.communicate()
            parent.close()
        assert [process.returncode for process in processes] == [0, 0], outputs
        self.answers = [{one: (code, path) for one, code, path in json.loads(output)} for output, _ in outputs]
        assert not [name for _, _, names in os.walk(folder) for name in names if name.endswith(".part")]

    def of(self, turn: int, number: int) -> list[tuple[int, str | None]]:
        """The status and the path that each process has got."""
        return [answers[uid(turn, number)] for answers in self.answers]


@pytest.fixture(params=["flush", "no-flush"])
def race(request, tmp_path):
    return lambda policy: Race(str(tmp_path / "store"), policy, request.param)


def check_the_same(found: Race) -> None:
    for turn, number in SAME:
        (one, path), (other, other_path) = found.of(turn, number)
        assert one == other == 0
        assert path == other_path
        assert content(path) == data(turn, number, 0)


def test_keep(race):
    found = race("keep")
    for turn, number in DIFFERENT:
        for which, (code, path) in enumerate(found.of(turn, number)):
            assert code == 0
            assert content(path) == data(turn, number, which)
    check_the_same(found)
    beside = sorted(os.path.relpath(path, found.folder) for path in visible(found.folder) if "~" in path)
    assert len(beside) == len(DIFFERENT)
    with open(f"{found.folder}/duplicates.jsonl", encoding="utf-8") as file:
        assert sorted(json.loads(line)["path"] for line in file) == beside


def test_refuse(race):
    found = race("refuse")
    for turn, number in DIFFERENT:
        codes = [code for code, _ in found.of(turn, number)]
        assert sorted(codes) == [0, 0x0111]
        which = codes.index(0)
        assert content(found.of(turn, number)[which][1]) == data(turn, number, which)
    check_the_same(found)
    assert len(visible(found.folder)) == len(DIFFERENT) + len(SAME)


def test_replace(race):
    found = race("replace")
    for turn, number in DIFFERENT:
        (one, path), (other, other_path) = found.of(turn, number)
        assert one == other == 0
        assert path == other_path
        content(path)
    check_the_same(found)
    assert len(visible(found.folder)) == len(DIFFERENT) + len(SAME)
