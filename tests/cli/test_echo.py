from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from tests.cli.running import Command, command
from tests.scu.provider import Operation, providing, success
from txdicom import uids
from txdicom.pdu.types import AssociateRQ, UserIdentityRQ
from txdicom.ul import rejections
from txdicom.ul.rejections import Rejection

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_peer_that_answers() -> None:
    async with providing(success) as provider:
        ended = await command("echo", "-aet", "MODALITY", provider.peer)
        assert (ended.status, ended.err) == (0, "")
        assert ended.out.startswith(f"{provider.peer} answered 0x0000 Success in ")
        [rq] = provider.requests
        assert (rq.calling_ae, rq.called_ae) == ("MODALITY", "PROVIDER")
        assert [one.abstract_syntax for one in rq.contexts] == [uids.VERIFICATION]
    assert provider.outcomes == ["released"]


async def test_flags_as_dcmtks_users_know_them() -> None:
    async with providing(success) as provider:
        ended = await command(
            *("echo", "-aec", "OTHER", "-pdu", "16384", "-ta", "5", "-td", "5.5", "-to", "5", "-v"),
            f"localhost:{provider.peer.port}",
        )
        assert ended.status == 0
        assert provider.requests[0].called_ae == "OTHER"
        assert provider.requests[0].user.max_length == 16384
        assert "accepted 1 of 1 presentation contexts" in ended.err


async def test_debug_shows_contexts_and_the_log() -> None:
    async with providing(success) as provider:
        ended = await command("echo", "-d", provider.peer)
        assert ended.status == 0
        assert "Verification SOP Class: accepted, Explicit VR Little Endian" in ended.err
        assert len(ended.out.splitlines()) == 1


async def test_json() -> None:
    async with providing(success) as provider:
        [record] = (await command("echo", "--json", provider.peer)).records
        seconds = record.pop("seconds")
        assert 0 < seconds < 10
        assert record == {
            "type": "echo", "peer": str(provider.peer), "success": True, "status": "0000", "error": "",
        }  # fmt: skip
    ended = await command("echo", "--json", provider.peer)
    assert ended.status == 1
    [record] = ended.records
    assert (record["success"], record["status"], record["seconds"]) == (False, None, None)
    assert "nothing listens" in record["error"]


async def test_a_peer_that_answers_a_failure() -> None:
    async with providing(lambda operation: operation.answer(0x0110)) as provider:
        ended = await command("echo", provider.peer)
        assert ended.status == 1
        assert ended.err == f"Error: {provider.peer} answered 0x0110 Processing Failure\n"


@pytest.mark.parametrize(
    ("rejection", "sentence"),
    [
        (rejections.CALLED_AE, "before the @, or after -aec"),
        (rejections.CALLING_AE, "'TXDICOM'; give one that it knows with -aet"),
        (rejections.LOCAL_LIMIT, "try again later"),
        (rejections.TEMPORARY_CONGESTION, "try again later"),
        (rejections.APPLICATION_CONTEXT, "is it a DICOM application?"),
        (rejections.NO_REASON, "no reason given; its log may say why, and whether it wants other AE titles"),
        (rejections.USER_IDENTITY, "users by name and password alone: give them with --user and --password-file"),
        (Rejection(2, 1, 1), "later attempt"),
    ],
)
async def test_rejections_in_words(rejection: Rejection, sentence: str) -> None:
    def decide(_: AssociateRQ) -> Rejection:
        return rejection

    async with providing(success, decide=decide) as provider:
        ended = await command("echo", provider.peer)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"Error: {provider.peer} rejected the association: ")
    assert sentence in ended.err
    assert len(ended.err.splitlines()) == 1


def password_file(folder: Path, content: bytes = b"wonderland\n", mode: int = 0o600) -> Path:
    path = folder / "password"
    path.write_bytes(content)
    path.chmod(mode)
    return path


async def test_a_user_by_name_and_by_password(tmp_path: Path) -> None:
    async with providing(success) as provider:
        ended = await command("echo", "-d", "--user", "alice", provider.peer)
        assert ended.status == 0
        ended = await command(
            "echo", "-d", "--user", "alice", "--password-file", password_file(tmp_path), provider.peer
        )
        assert ended.status == 0
        assert [one.user.user_identity for one in provider.requests] == [
            UserIdentityRQ(1, b"alice"), UserIdentityRQ(2, b"alice", b"wonderland"),
        ]  # fmt: skip
    assert "wonderland" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("content", "mode", "sentence"),
    [
        (b"wonderland", 0o644, "others than its owner may use {path} (mode 644): chmod 600 {path}"),
        (b"", 0o600, "the first line of {path} is empty"),
        (b"wonderl\xe4nd", 0o600, "the first line of {path} is not in UTF-8"),
    ],
)
async def test_password_files_that_cannot_be_used(tmp_path: Path, content: bytes, mode: int, sentence: str) -> None:
    path = password_file(tmp_path, content, mode)
    ended = await command("echo", "--user", "alice", "--password-file", path, "PACS@127.0.0.1:1")
    assert (ended.status, ended.out) == (2, "")
    assert f"Error: --password-file: {sentence.format(path=path)}" in ended.err
    assert "wonderl" not in ended.err


async def test_users_that_cannot_be(tmp_path: Path) -> None:
    ended = await command("echo", "--password-file", password_file(tmp_path), "PACS@127.0.0.1:1")
    assert ended.status == 2
    assert "--password-file needs --user" in ended.err
    ended = await command("echo", "--user", "", "PACS@127.0.0.1:1")
    assert ended.status == 2
    assert "--user: a user's name has 1 to 65535 bytes" in ended.err


async def test_a_user_who_is_not_let_in(tmp_path: Path) -> None:
    async with providing(success, decide=lambda _: rejections.USER_IDENTITY) as provider:
        by_name = await command("echo", "--user", "alice", provider.peer)
        path = password_file(tmp_path)
        by_password = await command("echo", "--user", "alice", "--password-file", path, provider.peer)
    assert (by_name.status, by_password.status) == (1, 1)
    assert "may not know the user 'alice', or want a password: give it with --password-file" in by_name.err
    assert "may not know the user 'alice' by this password: check --user and --password-file" in by_password.err


async def test_a_peer_without_verification() -> None:
    async with providing(success, syntaxes=lambda _: None) as provider:
        ended = await command("echo", provider.peer)
        assert ended.status == 1
        assert "accepted no presentation context for 1.2.840.10008.1.1" in ended.err


async def test_a_peer_that_does_not_answer() -> None:
    async with providing(lambda _: None) as provider:
        ended = await command("echo", "-td", "0.2", provider.peer)
        assert ended.status == 1
        assert "gave no answer within 0.2 s" in ended.err
        assert "-td" in ended.err
    assert "aborted" in provider.outcomes[0]


async def test_a_peer_that_aborts() -> None:
    async with providing(lambda operation: operation.association.abort()) as provider:
        ended = await command("echo", provider.peer)
        assert ended.status == 1
        assert "aborted by the service user; its log may say why" in ended.err


class Web(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


class Silent(Protocol):
    pass


class Closing(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.loseConnection()


@pytest.mark.parametrize(
    ("protocol", "sentence"),
    [(Web, "is it a DICOM application?"), (Silent, "is it a DICOM application?"), (Closing, "its log may say why")],
)
async def test_what_is_no_dicom_application(protocol: type[Protocol], sentence: str) -> None:
    port = reactor.listenTCP(0, Factory.forProtocol(protocol), interface="127.0.0.1")
    ended = await command("echo", "-ta", "0.3", f"PACS@127.0.0.1:{port.getHost().port}")
    await port.stopListening()
    assert (ended.status, ended.out) == (1, "")
    assert sentence in ended.err
    assert len(ended.err.splitlines()) == 1


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        ended = await command("echo", f"PACS@127.0.0.1:{port}")
    assert ended.status == 1
    assert ended.err == (
        f"Error: cannot connect to PACS@127.0.0.1:{port}: nothing listens on port {port} there; "
        "check the port and that the application is running\n"
    )


async def test_a_name_that_is_none() -> None:
    ended = await command("echo", "PACS@no-such-host.invalid:104")
    assert ended.status == 1
    assert "the name no-such-host.invalid cannot be resolved" in ended.err


async def test_a_connection_that_is_not_answered() -> None:
    # a full backlog: the kernel drops further connection requests
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        ended = await command("echo", "-to", "0.3", f"PACS@127.0.0.1:{listener.getsockname()[1]}")
        for filler in fillers:
            filler.close()
    assert ended.status == 1
    assert "no answer within 0.3 s" in ended.err
    assert "-to" in ended.err


@pytest.mark.parametrize(("name", "status"), [("INT", 130), ("TERM", 143), ("HUP", 129)])
async def test_a_signal_aborts(name: str, status: int) -> None:
    def interrupt(_: Operation) -> None:
        running.signal(name)

    async with providing(interrupt) as provider:
        running = Command("echo", str(provider.peer))
        ended = await running.ended
        assert (ended.status, ended.out, ended.err) == (status, "", "")
    assert "aborted by the service user" in provider.outcomes[0]


async def test_a_second_signal_ends_it_at_once() -> None:
    def interrupt(operation: Operation) -> None:
        operation.association.protocol.transport.pauseProducing()
        running.signal("INT")
        reactor.callLater(0.3, running.signal, "INT")

    async with providing(interrupt) as provider:
        running = Command("echo", str(provider.peer))
        ended = await running.ended
        assert (ended.status, ended.err) == (130, "")
        provider.associations[0].protocol.transport.resumeProducing()
