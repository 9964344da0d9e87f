"""The example that answers C-FIND from a dict, run as it stands and asked by our own SCU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from twisted.internet import reactor

from tests.interop.processes import Background
from txdicom.errors import StatusError
from txdicom.scu import Peer, connect

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "find_from_dict.py"


async def test_the_example(tmp_path: Path) -> None:
    with Background([sys.executable, "-bb", "-W", "error", EXAMPLE, "0"], tmp_path / "log") as example:
        port = int(example.wait_for(r"FINDER listens on port ([0-9]+)")[1])
        async with connect(reactor, Peer("FINDER", "127.0.0.1", port)) as association:
            assert (await association.echo()).is_success
            matches = association.find({"PatientID": "1CT1", "PatientName": "", "StudyDate": ""}, level="STUDY")
            found = [(str(match.PatientName), match.StudyDate) async for match in matches]
            assert found == [("Müller^Ada", "20260102"), ("Müller^Ada", "20260711")]
            for wanted, count in (({"PatientName": "Mül*"}, 2), ({"StudyDate": "20260304"}, 1), ({}, 3)):
                assert len([one async for one in association.find(wanted, level="STUDY")]) == count
            async for match in association.find({"PatientID": "4MR1", "ModalitiesInStudy": None}, level="STUDY"):
                assert match.ModalitiesInStudy is None or match.ModalitiesInStudy == ""
            with pytest.raises(StatusError, match="0xA900"):
                async for _ in association.find({"PatientID": "4MR1"}, level="SERIES"):
                    pass
        assert "Traceback" not in example.output()
