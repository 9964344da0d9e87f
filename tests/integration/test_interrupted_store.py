"""Ctrl-C amid `txdicom store` of many files at a server that is slow, each in a process of its own."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from tests.interop.processes import TXDICOM, Background, Server, run
from tests.scu.provider import write_many

if TYPE_CHECKING:
    from pathlib import Path

#: takes its time with CT images, and drops them
SLOW = """
import time

from zope.interface import implementer

from txdicom.dimse import status
from txdicom.interfaces import IDicomAddin, IProcessCStore, blocking, presentation_context


@implementer(IDicomAddin, IProcessCStore)
class Slow:
    name, version, description, author = "slow", "1", "takes its time", "a test"

    def load(self, server):
        self.count = 0

    def unload(self):
        pass

    @presentation_context("1.2.840.10008.5.1.4.1.1.2")
    @blocking
    def on_c_store(self, request):
        self.count += 1
        print("got", self.count, flush=True)
        time.sleep(0.2)
        return status.SUCCESS


addin = Slow()
"""


def test_ctrl_c(tmp_path: Path) -> None:
    write_many(tmp_path / "images", 40, size=2_000_000)
    addins = tmp_path / "base" / "TXDICOM" / "addins"
    addins.mkdir(0o700, parents=True)
    (addins / "slow.py").write_text(SLOW)
    (addins / "slow.py").chmod(0o600)
    server = Server(tmp_path / "base")
    try:
        peer = f"TXDICOM@127.0.0.1:{server.port}"
        with Background([*TXDICOM, "store", peer, tmp_path / "images"], tmp_path / "store.log") as store:
            server.wait_for(r"got 12\b")
            store.process.send_signal(signal.SIGINT)
            assert store.ended() == 130
        said = store.output()
        found = re.search(r"([0-9]+) of 40 files stored, .*; ([0-9]+) not stored\n", said)
        assert found is not None, said
        assert int(found[1]) + int(found[2]) == 40
        assert 1 <= int(found[1]) < 40
        assert said.endswith("Error: interrupted: the peer may have stored files that it had not answered yet\n")
        assert "Traceback" not in said
        server.wait_for("association 1 with TXDICOM at [^ ]+ ended: aborted by the service user")
        assert run([*TXDICOM, "echo", peer]).returncode == 0
    finally:
        server.stop()
    assert [path.name for path in server.store.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
