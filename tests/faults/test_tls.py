"""The same over TLS: nothing goes past it, handshakes have a deadline, strays on either side are ended."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from tests.faults.link import Raw, Rogue, Server, expire, failure_of, pause, server, stopped
from tests.faults.test_requestor import request
from tests.net.wire import CT, CT_ID, associate_bytes, data_set, echo_bytes
from tests.services.serving import EchoAddin, StoreAddin
from txdicom.errors import ConnectionFailed
from txdicom.net.sending import MemorySource
from txdicom.scp import listen
from txdicom.services.storage import store
from txdicom.services.verification import echo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

# Twisted's own use of pyOpenSSL
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def tls_server(pem: Path, clock: Clock | None = None, **settings: Any) -> AsyncGenerator[Server]:
    entity = await listen(
        reactor,  # type: ignore[arg-type]
        f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}",
        ae_title="SERVER",
        addins=[EchoAddin(), StoreAddin()],
        **{"drain_timeout": 0.1, **settings},
    )
    made = Server(entity)
    if clock is not None:
        entity.acceptor._clock = clock
    try:
        yield made
    finally:
        await stopped(entity, clock)
    await made.empty()


def endpoint(port: int, pem: Path) -> Any:
    trust = Certificate.loadPEM(pem.read_bytes())
    return wrapClientTLS(
        optionsForClientTLS("localhost", trustRoot=trust), TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    )


@pytest_twisted.ensureDeferred
async def test_a_conversation(pem: Path) -> None:
    async with tls_server(pem) as made:
        association = await request(0, endpoint(made.port, pem))
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
async def test_a_plain_peer_on_a_tls_port(pem: Path, sent: bytes) -> None:
    """It may wait for us as we wait for it: ARTIM ends that."""
    clock = Clock()
    async with tls_server(pem, clock) as made:
        raw = await made.peer()
        raw.send(sent)
        await expire(clock, lambda: raw.lost)
        await made.empty()
        association = await request(0, endpoint(made.port, pem))
        await association.release()


@pytest_twisted.ensureDeferred
async def test_a_tls_requestor_on_a_plain_port(pem: Path) -> None:
    async with server() as made:
        error = await failure_of(request(0, endpoint(made.port, pem)))
        assert isinstance(error, ConnectionFailed)


@pytest_twisted.ensureDeferred
async def test_a_tls_requestor_and_a_peer_that_says_nothing(pem: Path) -> None:
    async with Rogue() as rogue:
        error = await failure_of(request(0, endpoint(rogue.port, pem), reconnect_timeout=0.2))
        assert isinstance(error, ConnectionFailed)
        assert "no TLS handshake" in str(error)
        await (await rogue.connection()).closed()


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_is_not_trusted(pem: Path) -> None:
    async with tls_server(pem) as made:
        options = optionsForClientTLS("localhost")
        plain = TCP4ClientEndpoint(reactor, "127.0.0.1", made.port)
        error = await failure_of(request(0, wrapClientTLS(options, plain)))
        assert isinstance(error, ConnectionFailed)
        assert "certificate verify failed" in str(error)


@pytest_twisted.ensureDeferred
async def test_a_peer_that_never_reads(pem: Path) -> None:
    clock = Clock()
    async with tls_server(pem, clock, send_buffer=4_096) as made:
        raw: Raw = await connectProtocol(endpoint(made.port, pem), Raw())
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
async def test_a_large_data_set_to_a_peer_that_stalls(pem: Path) -> None:
    """What is handed to TLS is bounded too."""

    async with tls_server(pem) as made:
        association = await request(0, endpoint(made.port, pem), write_timeout=0.5, send_buffer=4_096)
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
async def test_nothing_goes_out_unencrypted(pem: Path) -> None:
    """By a client that is none of Twisted's: it would fail on a single plain byte."""

    def conversation(port: int) -> bytes:
        context = ssl.create_default_context(cafile=str(pem))
        data = b""
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(associate_bytes(window=(0, 0)) + echo_bytes() * 2_000)
            while data.count(b"\x30\x80") < 2_000:  # the Command Field of an answer
                data += secure.recv(65_536)
        return data

    async with tls_server(pem) as made:
        assert len(await deferToThread(conversation, made.port)) > 50_000
