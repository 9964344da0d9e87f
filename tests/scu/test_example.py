"""The example of the scripting interface, run as it stands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.internet.utils import getProcessOutputAndValue

from tests.scu.provider import Operation, providing, write
from txdicom.dimse.command import CommandField

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = """
from twisted.internet.task import react
from txdicom.scu import Peer, connect

async def main(reactor):
    pacs = Peer("TXDICOM", "127.0.0.1", 11112)
    async with connect(reactor, pacs, calling_ae="MODALITY") as association:
        print(await association.echo())
        async for result in association.store(["a.dcm", "b.dcm"]):
            print(result.sop_instance_uid, result.status)
        async for match in association.find({"PatientID": "1CT1"}, level="STUDY"):
            print(match.StudyInstanceUID)

react(main)
"""


def answer(operation: Operation) -> None:
    if operation.command.command_field == CommandField.C_FIND_RQ:
        operation.dataset.StudyInstanceUID = "1.2.840"
        operation.pending(operation.dataset)
        found = operation.dataset
        found.StudyInstanceUID = "1.2.840.1"
        operation.pending(found)
    operation.answer()


async def test_the_example_runs_as_it_stands(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", 1)
    write(tmp_path / "b.dcm", 2)
    async with providing(answer) as provider:
        text = EXAMPLE.replace("11112", str(provider.peer.port))
        (tmp_path / "example.py").write_text(text)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        out, err, status = await getProcessOutputAndValue(
            sys.executable, ["-bb", "-W", "error", "example.py"], env=environment, path=str(tmp_path)
        )
        assert err.decode() == ""
        assert status == 0
        assert out.decode().splitlines() == [
            "0x0000 Success", "1.2.3.1 0x0000 Success", "1.2.3.2 0x0000 Success", "", "1.2.840.1",
        ]  # fmt: skip
    assert provider.outcomes == ["released"] * 2
