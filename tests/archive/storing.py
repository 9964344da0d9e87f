"""A process that stores what another one stores at the same moment: `python -m tests.archive.storing …`.

Its results go to the standard output, as JSON: for each instance its UID, its status and where it lies.
"""

from __future__ import annotations

import json
import mmap
import struct
import sys
import time

from tests.archive.builders import arrival, data_set
from txdicom.archive.store import Store

#: instances of a round; the last of them is the same in both processes
SIZE = 4


def uid(turn: int, number: int) -> str:
    """The SOP Instance UID of an instance of a round."""
    return f"1.2.{turn}.{number + 1}"


def data(turn: int, number: int, which: int) -> bytes:
    """What a process stores with it; every fourth round is of a new study."""
    same = number == SIZE - 1
    pixels = bytes([0x55 if same else which + 1]) * 4096
    return data_set(uid(turn, number), study=f"1.3.{turn // 4}", series=f"1.4.{turn % 2}", pixels=pixels)


def meet(shared: mmap.mmap, which: int, turn: int) -> None:
    """Goes on when the other process is here, too."""
    struct.pack_into("<I", shared, which * 64, turn)
    end = time.monotonic() + 30
    while struct.unpack_from("<I", shared, (1 - which) * 64)[0] < turn:
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0)


def main(folder: str, policy: str, flush: str, turns: str, meeting: str, which: str) -> None:
    """Stores `turns` rounds."""
    me = int(which)
    store = Store(folder, staging=f"{folder}/.incoming/{me + 1}", duplicates=policy, flush=flush == "flush")  # type: ignore[arg-type]
    store.open()
    results = []
    with open(meeting, "r+b") as file, mmap.mmap(file.fileno(), 128) as shared:
        for turn in range(1, int(turns) + 1):
            arrivals = [arrival(uid(turn, number), data(turn, number, me)) for number in range(SIZE)]
            meet(shared, me, turn)
            store.commit(arrivals)
            results += [(one.sop_instance, one.status.code, one.path) for one in arrivals]
    store.close()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
