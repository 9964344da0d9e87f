"""Queries and retrievals by DCMTK's tools and by pynetdicom, answered by a small add-in of ours."""

from __future__ import annotations

import os
import re
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from zope.interface import implementer

from tests.interop import part10
from tests.interop.processes import HOST
from txdicom.dimse import status
from txdicom.errors import StatusError
from txdicom.interfaces import (
    AEEntry,
    IDicomAddin,
    InstanceRef,
    IProcessCFind,
    IProcessCGet,
    IProcessCMove,
    Match,
    Retrieval,
    presentation_context,
)
from txdicom.scp import listen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from types import ModuleType

pytestmark = pytest.mark.interop

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
GET = "1.2.840.10008.5.1.4.1.2.2.3"
NAME = "Müller^Ada"
#: uncompressed, compressed, and of several classes
FILES = ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "SC_rgb_rle.dcm", "rtplan.dcm")


@cache
def files() -> tuple[Path, ...]:
    return tuple(Path(str(get_testdata_file(name, download=False))) for name in FILES)


@implementer(IDicomAddin, IProcessCFind, IProcessCMove, IProcessCGet)
class Archive:
    """Has a thousand studies, and the instances of `FILES` for whoever retrieves anything."""

    name, version, author, description = "archive", "1", "tests", "for tests"

    def __init__(self) -> None:
        self.yielded = 0
        self.closed = 0

    def load(self, server: Any) -> None:
        pass

    def unload(self) -> None:
        pass

    @presentation_context(FIND)
    def on_c_find(self, request: Any) -> Iterator[Match]:
        wanted = request.identifier
        if wanted.get("QueryRetrieveLevel") != "STUDY":
            raise StatusError(status.IDENTIFIER_MISMATCH.with_comment("studies only"))
        try:
            for number in range(1000):
                match = Dataset()
                match.SpecificCharacterSet = "ISO_IR 192"
                match.QueryRetrieveLevel = "STUDY"
                match.StudyInstanceUID = f"1.2.826.0.1.3680043.10.1561.{number}"
                match.PatientName = NAME
                self.yielded += 1
                yield Match(match, unsupported_keys=bool(number % 2))
        finally:
            self.closed += 1

    @presentation_context(MOVE)
    @presentation_context(GET)
    def on_c_move(self, request: Any) -> Retrieval:
        return Retrieval([InstanceRef.of_file(path) for path in files()])

    on_c_get = on_c_move


@asynccontextmanager
async def serving(**destinations: int) -> AsyncGenerator[tuple[Any, int]]:
    """The add-in and the port where it is asked; `destinations` are ports of this machine by AE title."""
    addin = Archive()
    known = [AEEntry(ae_title=title, host=HOST, port=port) for title, port in destinations.items()]
    server = await listen(
        reactor, f"tcp:0:interface={HOST}", ae_title="TXDICOM", addins=[addin], known_callers=known,
        drain_timeout=1.0,
    )  # fmt: skip
    try:
        yield addin, server.ports[0].getHost().port
    finally:
        await server.stop()


async def run(program: str, *arguments: Any) -> tuple[int, str]:
    """Exit status and all output of one of DCMTK's tools."""
    words = [str(word).encode() for word in arguments]
    out, err, code = await getProcessOutputAndValue(program, words, env={**os.environ, "TCP_NODELAY": "1"})
    return code, (out + err).decode("utf-8", "replace")


def received(folder: Path) -> dict[str, bytes]:
    """The data sets that came, by SOP Instance UID."""
    return {
        str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): part10.data_set(path)
        for path in folder.iterdir()
    }


def sent() -> dict[str, bytes]:
    return {
        str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): part10.data_set(path) for path in files()
    }


# -- C-FIND ------------------------------------------------------------------------------------------------------------

_KEYS = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "-k", "PatientName")


async def test_findscu(dcmtk: Callable[[str], str]) -> None:
    async with serving() as (addin, port):
        code, output = await run(dcmtk("findscu"), "-d", "-S", *_KEYS, "-aec", "TXDICOM", HOST, port)
    assert code == 0, output
    assert len(re.findall(r"DIMSE Status +: 0xff0[01]: Pending", output)) == 1000, output
    assert "DIMSE Status                  : 0xff01" in output
    assert output.count("1.2.826.0.1.3680043.10.1561.") >= 1000
    assert NAME in output
    assert (addin.yielded, addin.closed) == (1000, 1)


async def test_findscu_that_cancels(dcmtk: Callable[[str], str]) -> None:
    async with serving() as (addin, port):
        code, output = await run(dcmtk("findscu"), "-d", "-S", "--cancel", "3", *_KEYS, "-aec", "TXDICOM", HOST, port)
        assert code == 0, output
        assert addin.closed == 1
        # either the cancel came in time, or all had been sent before it
        assert ("0xfe00" in output) is (addin.yielded < 1000), output


async def test_findscu_at_a_level_that_is_not_there(dcmtk: Callable[[str], str]) -> None:
    async with serving() as (_, port):
        _, output = await run(
            dcmtk("findscu"), "-d", "-S", "-k", "QueryRetrieveLevel=IMAGE", "-aec", "TXDICOM", HOST, port
        )
    assert "0xa900" in output, output


async def test_find_by_pynetdicom(pynetdicom: ModuleType) -> None:
    def find(port: int) -> list[tuple[int, str]]:
        ae = pynetdicom.AE("PYNETDICOM")
        ae.add_requested_context(FIND)
        association = ae.associate(HOST, port, ae_title="TXDICOM")
        assert association.is_established
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "STUDY"
        wanted.PatientName = ""
        answers = [
            (answer.Status, str(identifier.PatientName) if identifier else "")
            for answer, identifier in association.send_c_find(wanted, FIND)
        ]
        association.release()
        return answers

    async with serving() as (_, port):
        answers = await deferToThread(find, port)
    assert answers == [(0xFF00, NAME), (0xFF01, NAME)] * 500 + [(0x0000, "")]


# -- C-MOVE ------------------------------------------------------------------------------------------------------------

_STUDY = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3")


async def test_movescu_to_itself(dcmtk: Callable[[str], str], tmp_path: Path, free_port: int) -> None:
    async with serving(MOVESCU=free_port) as (_, port):
        code, output = await run(
            dcmtk("movescu"), "-d", "-S", *_STUDY, "+xs", "-aet", "MOVESCU", "-aem", "MOVESCU", "-aec", "TXDICOM",
            "+P", free_port, "-od", tmp_path, HOST, port,
        )  # fmt: skip
    assert "Sub-Operations Complete" in output or "Remaining Suboperations" in output, output
    # storage into movescu is for the transfer syntax it prefers; what it does not take has failed
    got = received(tmp_path)
    assert got
    assert code == 0 or len(got) < len(FILES), output


async def test_movescu_to_an_unknown_destination(dcmtk: Callable[[str], str]) -> None:
    async with serving() as (_, port):
        code, output = await run(dcmtk("movescu"), "-d", "-S", *_STUDY, "-aem", "NOBODY", "-aec", "TXDICOM", HOST, port)
    assert code != 0
    assert "0xa801" in output, output


async def test_a_move_by_pynetdicom_into_storescp(
    pynetdicom: ModuleType, dcmtk: Callable[[str], str], tmp_path: Path, free_port: int
) -> None:
    """Every instance arrives as it is; the numbers are right."""
    from tests.interop.processes import StoreScp

    def move(port: int) -> list[tuple[Any, ...]]:
        ae = pynetdicom.AE("PYNETDICOM")
        ae.add_requested_context(MOVE)
        association = ae.associate(HOST, port, ae_title="TXDICOM")
        assert association.is_established
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "STUDY"
        wanted.StudyInstanceUID = "1.2.3"
        answers = []
        for answer, identifier in association.send_c_move(wanted, "STORESCP", MOVE):
            numbers = (
                answer.get("NumberOfRemainingSuboperations"), answer.NumberOfCompletedSuboperations,
                answer.NumberOfFailedSuboperations, answer.NumberOfWarningSuboperations,
            )  # fmt: skip
            answers.append((answer.Status, *numbers, identifier))
        association.release()
        return answers

    with StoreScp(dcmtk("storescp"), tmp_path, free_port, "+B", "+xa") as storescp:
        async with serving(STORESCP=free_port) as (_, port):
            answers = await deferToThread(move, port)
        count = len(FILES)
        assert answers == [
            *((0xFF00, count - number, number, 0, 0, None) for number in range(1, count + 1)),
            (0x0000, None, count, 0, 0, None),
        ]  # fmt: skip
        assert received(storescp.store) == sent()


# -- C-GET -------------------------------------------------------------------------------------------------------------


async def test_getscu(dcmtk: Callable[[str], str], tmp_path: Path) -> None:
    async with serving() as (_, port):
        code, output = await run(
            dcmtk("getscu"), "-d", "-S", *_STUDY, "+B", "-aec", "TXDICOM", "-od", tmp_path, HOST, port
        )
    got, wanted = received(tmp_path), sent()
    assert got, output
    assert all(wanted[uid] == data for uid, data in got.items())
    # getscu proposes each class in one context: what is not in the syntax chosen there has failed
    uncompressed = {
        str(dataset.SOPInstanceUID)
        for dataset in (pydicom.dcmread(path, stop_before_pixels=True) for path in files())
        if dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    }
    assert got.keys() >= uncompressed, output
    assert f"Number of Completed Suboperations : {len(got)}" in output or code == 0, output


async def test_get_by_pynetdicom(pynetdicom: ModuleType) -> None:
    def get(port: int) -> tuple[list[tuple[Any, ...]], dict[str, bytes]]:
        got: dict[str, bytes] = {}

        def stored(event: Any) -> int:
            got[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
            return 0x0000

        ae = pynetdicom.AE("PYNETDICOM")
        ae.add_requested_context(GET)
        roles = []
        for path in files():
            meta = pydicom.dcmread(path, stop_before_pixels=True).file_meta
            ae.add_requested_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
            roles.append(pynetdicom.build_role(meta.MediaStorageSOPClassUID, scp_role=True))
        association = ae.associate(
            HOST, port, ae_title="TXDICOM", ext_neg=roles, evt_handlers=[(pynetdicom.evt.EVT_C_STORE, stored)]
        )
        assert association.is_established
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "STUDY"
        wanted.StudyInstanceUID = "1.2.3"
        answers = [
            (answer.Status, answer.NumberOfCompletedSuboperations, answer.NumberOfFailedSuboperations)
            for answer, _ in association.send_c_get(wanted, GET)
        ]
        association.release()
        return answers, got

    async with serving() as (_, port):
        answers, got = await deferToThread(get, port)
    assert answers[-1] == (0x0000, len(FILES), 0)
    assert got == sent()
