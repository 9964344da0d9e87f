"""The same over TLS: nothing goes past it, handshakes have a deadline, strays on either side are ended."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import connectProtocol
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from tests.certificates import HOSTS, Authority, Pair
from tests.faults.link import Raw, Rogue, expire, failure_of, pause, server, until
from tests.faults.secure import endpoint, tls_server
from tests.faults.test_requestor import request
from tests.net.wire import CT, CT_ID, associate_bytes, data_set, echo_bytes
from txdicom.errors import ConnectionFailed, SettingsError
from txdicom.interfaces import IDicomSecurity
from txdicom.net.sending import MemorySource
from txdicom.net.tls import TLS
from txdicom.net.tls_failures import TlsError
from txdicom.scp.security import FileSecurity
from txdicom.services.storage import store
from txdicom.services.verification import echo

if TYPE_CHECKING:
    pass


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(ca: Authority) -> Pair:
    """The certificate of the server."""
    return ca.issue("server", *HOSTS)


def kind_of(error: BaseException) -> str:
    """What was wrong with TLS."""
    assert isinstance(error, ConnectionFailed), error
    assert isinstance(error.__cause__, TlsError), error
    return error.__cause__.kind


@pytest_twisted.ensureDeferred
async def test_a_conversation(ca: Authority, pair: Pair) -> None:
    async with tls_server(pair) as made:
        association = await request(0, endpoint(made.port, ca))
        assert (await echo(association)).is_success
        data = data_set(pixels=5_000_000)
        command, _ = await store(association, CT_ID, CT, "1.2.3", MemorySource(data))
        assert command.status == 0
        command, _ = await store(association, CT_ID, CT, "1.2.3", data)
        assert command.status == 0
        await association.release()
        assert association.outcome == "released"


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", associate_bytes(), b"GET / HTTP/1.1\r\n\r\n"])
@pytest_twisted.ensureDeferred
async def test_a_plain_peer_on_a_tls_port(ca: Authority, pair: Pair, sent: bytes) -> None:
    """It may wait for us as we wait for it: ARTIM ends that."""
    clock = Clock()
    async with tls_server(pair, clock) as made:
        raw = await made.peer()
        raw.send(sent)
        await expire(clock, lambda: raw.lost)
        await made.empty()
        association = await request(0, endpoint(made.port, ca))
        await association.release()


@pytest_twisted.ensureDeferred
async def test_a_peer_that_begins_the_handshake_and_stops(ca: Authority, pair: Pair) -> None:
    """It counts as half-open, and ARTIM ends it however it dawdles."""
    clock = Clock()
    async with tls_server(pair, clock, max_half_open=2) as made:
        slow = [await made.peer(), await made.peer()]
        for raw in slow:
            raw.send(b"\x16\x03\x01\x02\x00\x01\x00")
        await until(lambda: made.acceptor.slots.half_open == 2)
        third = await made.peer()
        await third.closed()
        clock.advance(29)
        slow[0].send(b"\x00")
        await pause(0.05)
        assert made.acceptor.slots.half_open == 2
        clock.advance(2)
        for raw in slow:
            await raw.closed()
        await made.empty()
        association = await request(0, endpoint(made.port, ca))
        await association.release()


@pytest_twisted.ensureDeferred
async def test_a_peer_without_the_certificate_that_is_wanted(ca: Authority, pair: Pair) -> None:
    security = FileSecurity(TLS(ca=ca.path, **pair.files), "require")
    async with tls_server(security) as made:
        error = await failure_of(request(0, endpoint(made.port, ca)))
        assert isinstance(error, ConnectionFailed)
        assert kind_of(error) == "wanted"
        assert str(error).endswith(": it wants a certificate of ours")
        await made.empty()
        association = await request(0, endpoint(made.port, ca, **ca.issue("modality").files))
        (theirs,) = made.acceptor.associations.values()
        assert theirs.tls is not None
        assert association.tls is not None
        assert (theirs.tls.subject, association.tls.subject) == ("CN=modality", "CN=server")
        assert theirs.tls.version == association.tls.version == "TLSv1.3"
        await association.release()


@pytest_twisted.ensureDeferred
async def test_a_host_of_another_name(ca: Authority, pair: Pair) -> None:
    async with tls_server(pair) as made:
        error = await failure_of(request(0, endpoint(made.port, ca, "pacs.example.org")))
        assert kind_of(error) == "name"
        assert str(error).endswith("its certificate is for localhost, 127.0.0.1, and not for pacs.example.org")
        await made.empty()


@pytest_twisted.ensureDeferred
async def test_a_peer_that_closes_amid_the_handshake(ca: Authority) -> None:
    async with Rogue() as rogue:
        asking = request(0, endpoint(rogue.port, ca))
        (await rogue.connection()).close()
        assert kind_of(await failure_of(asking)) == "closed"


@pytest_twisted.ensureDeferred
async def test_new_files_are_for_new_connections(ca: Authority, pair: Pair, tmp_path: Path) -> None:
    files = {"certificate": str(tmp_path / "c"), "key": str(tmp_path / "k")}

    def put(one: Pair) -> None:
        Path(files["certificate"]).write_bytes(Path(one.certificate).read_bytes())
        Path(files["key"]).write_bytes(Path(one.key).read_bytes())
        Path(files["key"]).chmod(0o600)

    def spoil() -> None:
        Path(files["key"]).write_text("broken")

    put(pair)
    security = FileSecurity(TLS(**files), "none")
    async with tls_server(security) as made:
        before = await request(0, endpoint(made.port, ca))
        put(ca.issue("renewed", *HOSTS))
        security.reload()
        after = await request(0, endpoint(made.port, ca))
        spoil()
        with pytest.raises(SettingsError, match="has no private key"):
            security.reload()
        still = await request(0, endpoint(made.port, ca))
        assert [one.tls.subject for one in (before, after, still) if one.tls] == [
            "CN=server",
            "CN=renewed",
            "CN=renewed",
        ]
        for one in (before, after, still):
            assert (await echo(one)).is_success
            await one.release()


@pytest_twisted.ensureDeferred
async def test_security_that_fails_harms_one_connection(ca: Authority, pair: Pair) -> None:
    @implementer(IDicomSecurity)
    class Moody:
        broken = True
        files = FileSecurity(TLS(**pair.files), "none")

        def server_options(self) -> Any:
            if self.broken:
                raise RuntimeError("a mistake")
            return self.files.server_options()

        def client_options(self, host: str, verify_host_name: bool | None = None) -> Any:
            return self.files.client_options(host, verify_host_name)

        def reload(self) -> None:
            pass

    moody = Moody()
    async with tls_server(moody) as made:
        error = await failure_of(request(0, endpoint(made.port, ca)))
        assert isinstance(error, ConnectionFailed)
        await made.empty()
        moody.broken = False
        association = await request(0, endpoint(made.port, ca))
        await association.release()


@pytest_twisted.ensureDeferred
async def test_a_tls_requestor_on_a_plain_port(ca: Authority, pair: Pair) -> None:
    async with server() as made:
        error = await failure_of(request(0, endpoint(made.port, ca)))
        assert isinstance(error, ConnectionFailed)
        assert kind_of(error) == "plain"
        await made.empty()


@pytest_twisted.ensureDeferred
async def test_a_tls_requestor_and_a_peer_that_says_nothing(ca: Authority, pair: Pair) -> None:
    async with Rogue() as rogue:
        error = await failure_of(request(0, endpoint(rogue.port, ca), reconnect_timeout=0.2))
        assert isinstance(error, ConnectionFailed)
        assert "no TLS handshake" in str(error)
        await (await rogue.connection()).closed()


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_is_not_trusted(ca: Authority, pair: Pair) -> None:
    async with tls_server(pair) as made:
        error = await failure_of(request(0, endpoint(made.port, None)))
        assert isinstance(error, ConnectionFailed)
        assert kind_of(error) == "issuer"
        assert "its certificate goes back to CN=Test CA, which is not trusted" in str(error)


@pytest_twisted.ensureDeferred
async def test_a_peer_that_never_reads(ca: Authority, pair: Pair) -> None:
    clock = Clock()
    async with tls_server(pair, clock, send_buffer=4_096) as made:
        raw: Raw = await connectProtocol(endpoint(made.port, ca), Raw())
        await raw.associate(window=(0, 0))
        raw.transport.pauseProducing()  # type: ignore[union-attr]
        (association,) = made.acceptor.associations.values()
        while not association.protocol._pauses:
            raw.send(echo_bytes() * 1_000)
            await pause(0.01)
        await expire(clock, lambda: association.lost, "it was not cut")
        assert "took no bytes" in association.outcome
        if not raw.lost:
            raw.transport.abortConnection()  # type: ignore[union-attr]
        await raw.closed()


@pytest_twisted.ensureDeferred
async def test_a_large_data_set_to_a_peer_that_stalls(ca: Authority, pair: Pair) -> None:
    """What is handed to TLS is bounded too."""

    async with tls_server(pair) as made:
        association = await request(0, endpoint(made.port, ca), write_timeout=0.5, send_buffer=4_096)
        (other,) = made.acceptor.associations.values()
        other.protocol.pause_reading("the test")
        asking = store(association, CT_ID, CT, "1.2.3", MemorySource(bytes(100_000_000)))
        await pause(0.2)
        assert association.protocol.bytes_sent < 30_000_000
        error = await failure_of(asking)
        assert "took no bytes" in str(error)
        await association.when_lost()
        other.protocol.resume_reading("the test")


@pytest_twisted.ensureDeferred
async def test_nothing_goes_out_unencrypted(ca: Authority, pair: Pair) -> None:
    """By a client that is none of Twisted's: it would fail on a single plain byte."""

    def conversation(port: int) -> bytes:
        context = ssl.create_default_context(cafile=ca.path)
        data = b""
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(associate_bytes(window=(0, 0)) + echo_bytes() * 2_000)
            while data.count(b"\x30\x80") < 2_000:  # the Command Field of an answer
                data += secure.recv(65_536)
        return data

    async with tls_server(pair) as made:
        assert len(await deferToThread(conversation, made.port)) > 50_000
