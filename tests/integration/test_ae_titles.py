"""The examples about AE titles and requests, run as they stand, and a server whose table changes while it runs."""

from __future__ import annotations

import importlib.util
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from twisted.internet import reactor, task

from tests.cli.running import command
from tests.interop.processes import Background
from tests.scu.provider import Operation, providing, write
from txdicom.errors import AssociationRejected, Conflict, NotFound
from txdicom.interfaces import AEEntry, IAETitle
from txdicom.scp.services import Services
from txdicom.scu import Peer, connect

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


async def answer_to(port: int, title: str, called: str) -> tuple[int, int, int] | bool:
    """Whether a C-ECHO succeeds, or how the association is rejected."""
    try:
        async with connect(reactor, Peer(called, "127.0.0.1", port), calling_ae=title) as association:
            return (await association.echo()).is_success
    except AssociationRejected as error:
        return (error.result, error.source, error.reason)


async def test_forward(tmp_path: Path) -> None:
    kept: list[str] = []

    def answer(operation: Operation) -> None:
        kept.append(str(operation.dataset.SOPInstanceUID))
        operation.answer()

    for number in (1, 2, 3):
        write(tmp_path / "in" / f"{number}.dcm", number, size=100_000 * number)
    async with providing(answer) as provider:
        words = [sys.executable, "-bb", "-W", "error", EXAMPLES / "forward.py"]
        with Background([*words, "PROVIDER", "127.0.0.1", str(provider.peer.port), "0"], tmp_path / "log") as example:
            port = int(example.wait_for(r"FORWARD listens on port ([0-9]+)")[1])
            async with connect(reactor, Peer("FORWARD", "127.0.0.1", port)) as association:
                results = [one async for one in association.store(tmp_path / "in")]
                assert [one.stored for one in results] == [True] * 3
            assert sorted(kept) == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
            assert "Traceback" not in example.output()


async def test_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "ae.db"
    words = [sys.executable, "-bb", "-W", "error", EXAMPLES / "sqlite_ae_titles.py", path, "0"]
    with Background(words, tmp_path / "log") as example:
        port = int(example.wait_for(r"SQLITE listens on port ([0-9]+)")[1])
        assert await answer_to(port, "MODALITY", "SQLITE") == (1, 1, 3)
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("INSERT INTO ae VALUES ('MODALITY', '127.0.0.1', 104), ('ELSEWHERE', '192.0.2.1', 104)")
        assert await answer_to(port, "MODALITY", "SQLITE") is True
        assert await answer_to(port, "ELSEWHERE", "SQLITE") == (1, 1, 3)
        assert "Traceback" not in example.output()


async def test_sqlite_keeps_the_contract(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("sqlite_ae_titles", EXAMPLES / "sqlite_ae_titles.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    services = Services()
    service = module.SQLiteAETitles(str(tmp_path / "ae.db"))
    await service.register(services)
    assert services.get(IAETitle) is service
    await service.add(AEEntry(ae_title="A", host="a"))
    await service.add(AEEntry(ae_title="B"))
    await service.update("A", AEEntry(ae_title="C", host="c", port=5))
    assert await service.get("C ") == AEEntry(ae_title="C", host="c", port=5)
    await service.remove("B")
    assert [one.ae_title for one in await service.get_all()] == ["C"]
    await service.add(AEEntry(ae_title="D"))
    for doing, error in (
        (service.add(AEEntry(ae_title="C")), Conflict),
        (service.update("D", AEEntry(ae_title="C")), Conflict),
        (service.update("X", AEEntry(ae_title="X")), NotFound),
        (service.remove("X"), NotFound),
        (service.get("X"), NotFound),
    ):
        with pytest.raises(error):
            await doing


async def test_a_running_server_notices_what_the_command_changes(tmp_path: Path, free_port: int) -> None:
    twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
    words = [*twistd, "-n", "--pidfile=", "dicomserver", "--base", tmp_path, f"--listen=tcp:{free_port}"]
    with Background([*words, "--set", "server.allow_anonymous=false"], tmp_path / "log") as server:
        server.wait_for("ready: ")
        assert await answer_to(free_port, "MODALITY", "TXDICOM") == (1, 1, 3)
        ended = await command("ae", "add", "MODALITY", "localhost", "--verify", "address", "--base", tmp_path)
        assert (ended.status, ended.err) == (0, "")
        await task.deferLater(reactor, 1.1)  # type: ignore[arg-type]
        assert await answer_to(free_port, "MODALITY", "TXDICOM") is True
        ended = await command("ae", "update", "MODALITY", "192.0.2.1", "--base", tmp_path)
        await task.deferLater(reactor, 1.1)  # type: ignore[arg-type]
        assert await answer_to(free_port, "MODALITY", "TXDICOM") == (1, 1, 3)
        assert "'MODALITY' at 127.0.0.1 is refused (verify = address): the address is not 192.0.2.1" in server.output()
