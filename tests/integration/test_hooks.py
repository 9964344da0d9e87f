"""Hooks and observers over real sockets: the example that logs every message, DCMTK's storescu and its users."""

from __future__ import annotations

import importlib.util
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.logger import formatEvent, globalLogPublisher
from zope.interface import implementer

from tests.scu.provider import providing, success, write
from tests.services.serving import Addin
from txdicom import scp
from txdicom.addins.storage import StorageAddin
from txdicom.addins.verification import VerificationAddin
from txdicom.archive.store import Store
from txdicom.interfaces import Change, IDicomAddin, INotifyReceiveMessage, INotifySendMessage, MessageEvent
from txdicom.scp.passwords import PasswordFile
from txdicom.scu import Peer, StoreScu, connect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "log_messages.py"


@asynccontextmanager
async def server(folder: Path, *addins: Any) -> AsyncGenerator[Peer]:
    """Our own server, which stores into `folder`, with these add-ins beside it."""
    everything = [VerificationAddin(), StorageAddin(Store(str(folder), flush=False)), *addins]
    entity = await scp.listen(reactor, "tcp:0:interface=127.0.0.1", ae_title="OURS", addins=everything)
    try:
        yield Peer("OURS", "127.0.0.1", entity.ports[0].getHost().port)
    finally:
        await entity.stop()


def example() -> Any:
    spec = importlib.util.spec_from_file_location("log_messages", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def logged() -> Any:
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


async def test_the_example_logs_every_message_and_nothing_of_the_patient(tmp_path: Path, logged: list[Any]) -> None:
    path = tmp_path / "a.dcm"
    write(path, 1)
    async with server(tmp_path / "store", example().LogMessages()) as peer, connect(reactor, peer) as association:
        assert (await association.echo()).code == 0
        assert [result.status.code async for result in association.store([path])] == [0]
    lines = [formatEvent(event) for event in logged if event["log_namespace"] == "log_messages.LogMessages"]
    stored = [line.partition(": ")[2] for line in lines if "C-" in line]
    assert stored[0].startswith("received C-ECHO-RQ of 1.2.840.10008.1.1")
    assert stored[1] == "sent C-ECHO-RSP of 1.2.840.10008.1.1, status 0000H"
    assert stored[2].startswith("received C-STORE-RQ of 1.2.840.10008.5.1.4.1.1.2, data set of ")
    assert stored[3] == "sent C-STORE-RSP of 1.2.840.10008.5.1.4.1.1.2, status 0000H"
    pdus = [line.partition(": ")[2].split(" of ")[0] for line in lines if "A-" in line]
    assert pdus == ["received A-ASSOCIATE-RQ", "sent A-ASSOCIATE-AC"] * 2 + [
        "received A-RELEASE-RQ", "sent A-RELEASE-RP",
    ] * 2  # fmt: skip
    assert "1.2.3.1" not in "\n".join(lines)


@implementer(IDicomAddin, INotifySendMessage)
class Warns(Addin):
    name = "warns"

    def before_send(self, event: Any) -> Any:
        return Change({0x0900: 0xB000}) if event.command.name == "C-STORE-RSP" else None

    def message_sent(self, event: Any) -> None:
        pass


async def test_a_response_is_changed_on_its_way(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    write(path, 1)
    async with server(tmp_path / "store", Warns()) as peer, connect(reactor, peer) as association:
        assert [result.status.code async for result in association.store([path])] == [0xB000]


@implementer(INotifyReceiveMessage, INotifySendMessage)
class Script:
    """An object of a script that looks on: it keeps the messages, and changes the priority of what is sent."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def message_received(self, event: Any) -> None:
        if isinstance(event, MessageEvent):
            self.seen.append(f"received {event.command.name}")

    def before_send(self, event: Any) -> Any:
        return Change({0x0700: 1}) if event.command.name == "C-STORE-RQ" else None

    def message_sent(self, event: Any) -> None:
        if isinstance(event, MessageEvent):
            self.seen.append(f"sent {event.command.name}")


async def test_observers_of_a_script(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", 1)
    script = Script()
    async with providing(success) as provider:
        async with connect(reactor, provider.peer, files=path, observers=[script]) as association:
            assert [result.stored async for result in association.store(path)] == [True]
            assert (await association.echo()).is_success
        async with StoreScu(reactor, provider.peer, observers=[script]) as scu:
            assert [result.stored async for result in scu.store(path)] == [True]
        priorities = [one.command.priority for one in provider.operations]
        assert priorities == [1, None, 1]
    sent = ["sent C-STORE-RQ", "received C-STORE-RSP"]
    assert script.seen == [*sent, "sent C-ECHO-RQ", "received C-ECHO-RSP", *sent]


def test_what_is_no_observer() -> None:
    with pytest.raises(ValueError, match="provides neither INotifyReceiveMessage nor INotifySendMessage"):
        connect(reactor, Peer("A", "b"), observers=[Script(), object()])


@pytest.mark.parametrize(
    ("arguments", "let_in"),
    [
        (("--user", "alice", "--password", "wonderland", "--pos-response"), True),
        (("--user", "alice", "--password", "wonderland"), True),
        (("--user", "alice", "--password", "hunter2"), False),
        (("--user", "alice"), False),
        (("--user", "bob", "--pos-response"), True),
        ((), False),
    ],
    ids=str,
)
async def test_users_of_storescu(
    dcmtk: Callable[[str], str], tmp_path: Path, logged: list[Any], arguments: tuple[str, ...], let_in: bool
) -> None:
    path = tmp_path / "a.dcm"
    write(path, 1)
    users = PasswordFile(tmp_path / "users")
    users.add("alice", "wonderland")
    users.add("bob", None)
    async with server(tmp_path / "store", users) as peer:
        out, err, status = await getProcessOutputAndValue(
            dcmtk("storescu"), ["-v", *arguments, "-aec", "OURS", "127.0.0.1", str(peer.port), str(path)]
        )
    text = (out + err).decode()
    assert (status == 0) is let_in, text
    assert ("Rejected Permanent" in text) is not let_in
    secrets = "\n".join(map(formatEvent, logged))
    assert "hunter2" not in secrets
    assert "wonderland" not in secrets
