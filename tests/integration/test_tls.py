"""TLS as its users have it: scripts, the command line, the server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import reactor
from twisted.internet.error import CannotListenError
from zope.interface import implementer

from tests.certificates import HOSTS, Authority, Pair
from tests.cli.running import command
from tests.faults.secure import tls_server
from tests.interop.processes import AE_TITLE, TWISTD, Server, run
from tests.scu.provider import providing, success, write_many
from tests.services.serving import EchoAddin
from txdicom.errors import ConnectionFailed, SettingsError
from txdicom.interfaces import AEEntry, IBaseServiceProvider, IDicomAddin, IDicomRequest, IDicomSecurity
from txdicom.net.tls import TLS, ClientTls
from txdicom.scp import listen
from txdicom.scp.security import FileSecurity
from txdicom.scu import Peer, StoreScu, connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANY_PORT = "tcp:0:interface=127.0.0.1"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(ca: Authority) -> Pair:
    return ca.issue("server", *HOSTS)


@pytest.fixture(scope="module")
def us(ca: Authority) -> Pair:
    return ca.issue("modality")


async def test_a_script_with_certificates_on_both_sides(ca: Authority, pair: Pair, us: Pair) -> None:
    async with tls_server(FileSecurity(TLS(ca=ca.path, **pair.files), "require")) as made:
        peer = Peer("SERVER", "localhost", made.port)
        async with connect(reactor, peer, tls=TLS(ca=ca.path, **us.files)) as association:
            assert (await association.echo()).is_success
            (theirs,) = made.acceptor.associations.values()
            assert theirs.tls is not None
            assert theirs.tls.subject == "CN=modality"
        with pytest.raises(ConnectionFailed, match="it wants a certificate of ours"):
            await connect(reactor, peer, tls=TLS(ca=ca.path)).open()


async def test_many_associations_and_files(ca: Authority, pair: Pair, tmp_path: Path) -> None:
    paths = write_many(tmp_path, 40)
    async with tls_server(pair) as made:
        peer = Peer("SERVER", "127.0.0.1", made.port)
        async with StoreScu(reactor, peer, associations=3, tls=TLS(ca=ca.path)) as scu:
            results = [result async for result in scu.store(paths)]
        assert len(results) == 40
        assert all(result.stored for result in results)
        assert made.acceptor.total == 3


async def test_options_from_a_base_service(ca: Authority, pair: Pair) -> None:
    asked: list[str] = []
    client = ClientTls(TLS(ca=ca.path))

    def options(host: str) -> object:
        asked.append(host)
        return client.client_options(host)

    async with tls_server(pair) as made:
        peer = Peer("SERVER", "localhost", made.port)
        association = await connect(reactor, peer, tls=options).open()  # type: ignore[arg-type]
        assert (await association.echo()).is_success
        await association.release()
    assert asked == ["localhost"]


async def test_no_way_back_to_plain(ca: Authority) -> None:
    async with providing(success) as provider:
        with pytest.raises(ConnectionFailed, match="it does not speak TLS on this port"):
            await connect(reactor, provider.peer, tls=TLS(ca=ca.path)).open()
        assert provider.requests == []


def test_files_that_cannot_be_used_are_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"ca: /nowhere/ca\.pem cannot be read"):
        connect(reactor, Peer("A", "b"), tls=TLS(ca="/nowhere/ca.pem"))


# -- a server in one script --------------------------------------------------------------------------------------------


async def test_a_script_that_listens_with_tls_and_without(ca: Authority, pair: Pair, us: Pair) -> None:
    entity = await listen(
        reactor,  # type: ignore[arg-type]
        ANY_PORT,
        secure=ANY_PORT,
        tls=TLS(ca=ca.path, **pair.files),
        ae_title="SERVER",
        addins=[EchoAddin()],
    )
    try:
        plain, secure = (Peer("SERVER", "localhost", port.getHost().port) for port in entity.ports)
        assert not entity.only_secure
        async with connect(reactor, secure, tls=TLS(ca=ca.path, **us.files)) as association:
            assert (await association.echo()).is_success
        async with connect(reactor, plain) as association:
            assert (await association.echo()).is_success
        with pytest.raises(ConnectionFailed, match="it wants a certificate of ours"):
            await connect(reactor, secure, tls=TLS(ca=ca.path)).open()
    finally:
        await entity.stop()


async def test_a_script_with_tls_alone_calls_by_tls_too(ca: Authority, pair: Pair) -> None:
    async with tls_server(pair) as made:
        peer = AEEntry(ae_title="SERVER", host="localhost", secure_port=made.port)
        entity = await listen(
            reactor,  # type: ignore[arg-type]
            secure=[ANY_PORT],
            tls=TLS(ca=ca.path, **pair.files),
            client_certificate="none",
            ae_title="OURS",
            addins=[EchoAddin()],
            known_callers=[peer],
        )
        try:
            assert entity.only_secure
            assert (await entity.service(IDicomRequest).c_echo("SERVER")).is_success
            ours = Peer("OURS", "localhost", entity.ports[0].getHost().port)
            async with connect(reactor, ours, tls=TLS(ca=ca.path)) as association:
                assert (await association.echo()).is_success
        finally:
            await entity.stop()


@implementer(IDicomAddin, IBaseServiceProvider)
class Provides(EchoAddin):
    """An add-in that brings its own security."""

    def __init__(self, security: FileSecurity) -> None:
        super().__init__()
        self.security = security

    def register(self, services: Any) -> None:
        services.provide(IDicomSecurity, self.security)


async def test_an_add_in_s_security_goes_before_that_of_the_script(ca: Authority, pair: Pair) -> None:
    addin = Provides(FileSecurity(TLS(**pair.files), "none"))
    entity = await listen(
        reactor,  # type: ignore[arg-type]
        secure=ANY_PORT,
        tls=TLS(ca=ca.path, **pair.files),
        ae_title="SERVER",
        addins=[addin],
    )
    try:
        assert entity.service(IDicomSecurity) is addin.security
        peer = Peer("SERVER", "localhost", entity.ports[0].getHost().port)
        async with connect(reactor, peer, tls=TLS(ca=ca.path)) as association:  # no certificate is asked for
            assert (await association.echo()).is_success
    finally:
        await entity.stop()


async def test_tls_that_a_script_cannot_do(ca: Authority, pair: Pair) -> None:
    for options, sentence in (
        ({}, "secure: there is nothing to do TLS with: give tls=TLS"),
        ({"tls": TLS(**pair.files)}, "ca: it is missing, and client_certificate is 'require'"),
        ({"tls": TLS(ca="/nowhere")}, "ca: /nowhere cannot be read"),
    ):
        with pytest.raises(SettingsError, match=sentence):
            await listen(reactor, secure=ANY_PORT, ae_title="SERVER", addins=[EchoAddin()], **options)  # type: ignore[arg-type]


async def test_a_secure_port_that_is_busy_closes_the_plain_one(ca: Authority, pair: Pair) -> None:
    async with tls_server(pair) as made:
        busy = f"tcp:{made.port}:interface=127.0.0.1"
        tls = TLS(ca=ca.path, **pair.files)
        with pytest.raises(CannotListenError):
            await listen(reactor, ANY_PORT, secure=busy, tls=tls, ae_title="OURS", addins=[EchoAddin()])  # type: ignore[arg-type]


# -- the command line --------------------------------------------------------------------------------------------------


async def test_echo_and_store(ca: Authority, pair: Pair, us: Pair, tmp_path: Path) -> None:
    paths = write_many(tmp_path, 3)
    words = ["--tls", "--tls-ca", ca.path, "--tls-cert", us.certificate, "--tls-key", us.key]
    async with tls_server(FileSecurity(TLS(ca=ca.path, **pair.files), "require")) as made:
        peer = f"SERVER@localhost:{made.port}"
        echoed = await command("echo", *words, peer)
        assert (echoed.status, echoed.err) == (0, "")
        stored = await command("store", *words, "--tls-profile", "modified-bcp195-rfc8996-9325", peer, *paths)
        assert stored.status == 0, stored.err
        assert stored.out.startswith("3 of 3 files stored")


@pytest.mark.parametrize(
    ("host", "words", "sentence"),
    [
        ("localhost", ["--tls", "--tls-ca", "CA"], "it wants a certificate of ours; give one with --tls-cert and"),
        ("localhost", ["--tls"], "goes back to CN=Test CA, which is not trusted; if you trust it, give"),
        ("127.0.0.2", ["--tls", "--tls-ca", "CA"], "is for localhost, 127.0.0.1, and not for 127.0.0.2; call it by"),
    ],
)  # fmt: skip
async def test_one_sentence_on_what_is_wrong(
    ca: Authority, pair: Pair, host: str, words: list[str], sentence: str
) -> None:
    words = [ca.path if word == "CA" else word for word in words]
    async with tls_server(
        FileSecurity(TLS(ca=ca.path, **pair.files), "require"), interface=host.replace("localhost", "127.0.0.1")
    ) as made:
        ended = await command("echo", *words, f"SERVER@{host}:{made.port}")
    assert ended.status == 1
    assert ended.err.startswith(f"Error: cannot connect to SERVER@{host}:{made.port}: ")
    assert sentence in ended.err
    assert len(ended.err.splitlines()) == 1


async def test_a_peer_without_tls(ca: Authority) -> None:
    async with providing(success) as provider:
        ended = await command("echo", "--tls", "--tls-ca", ca.path, provider.peer)
        assert ended.status == 1
        assert "it does not speak TLS on this port; check the port, or leave --tls out" in ended.err


async def test_what_is_wrong_with_the_options(ca: Authority, us: Pair) -> None:
    for words, sentence in (
        (("--tls-ca", ca.path), "need --tls"),
        (("--tls", "--tls-cert", us.certificate), "--tls-key: it is missing"),
        (("--tls", "--tls-profile", "ssl3"), "there is no profile 'ssl3'; there are bcp195-rfc8996-9325, "),
    ):
        ended = await command("echo", *words, "A@localhost")
        assert ended.status == 2
        assert sentence in ended.err


# -- the server --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, ca: Authority, pair: Pair) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), settings(ca, pair)) as running:
        yield running


def settings(ca: Authority, pair: Pair, **more: str) -> dict[str, str]:
    return {
        "server.secure_listen": "tcp:0:interface=127.0.0.1",
        "tls.certificate": pair.certificate,
        "tls.key": pair.key,
        "tls.ca": ca.path,
        "archive.flush": "false",
        **more,
    }


def secure_port(server: Server) -> int:
    assert server.port
    return int(server.wait_for(r"listens on .*, 127\.0\.0\.1:([0-9]+) \(TLS\)")[1])


async def test_a_secure_port_beside_the_plain_one(served: Server, ca: Authority, us: Pair) -> None:
    port = secure_port(served)
    words = ("--tls", "--tls-ca", ca.path, "--tls-cert", us.certificate, "--tls-key", us.key)
    assert (await command("echo", *words, f"{AE_TITLE}@localhost:{port}")).status == 0
    assert (await command("echo", f"{AE_TITLE}@localhost:{served.port}")).status == 0
    served.wait_for(r"connection [0-9]+ is secure: TLSv1\.3, [A-Z0-9_]+, the certificate of CN=modality")
    assert (await command("echo", "--tls", "--tls-ca", ca.path, f"{AE_TITLE}@localhost:{port}")).status == 1
    served.wait_for("ended without an association: it gave no certificate")
    plain = await command("echo", "-ta", "10", f"{AE_TITLE}@localhost:{port}")
    assert plain.status == 1
    served.wait_for("ended without an association: it does not speak TLS on this port")


def refusal(tmp_path: Path, options: dict[str, str]) -> str:
    """What twistd says, without a trace of a start."""
    words = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    listen = ["--listen", "tcp:0:interface=127.0.0.1"]
    ended = run([*TWISTD, "-n", "--pidfile=", "dicomserver", "--base", str(tmp_path / "base"), *listen, *words])
    assert ended.returncode == 1, ended.stdout
    assert "Traceback" not in ended.stdout
    assert not (tmp_path / "base").exists()
    return ended.stdout


def test_a_server_that_cannot_do_tls_does_not_start(tmp_path: Path, ca: Authority, pair: Pair, us: Pair) -> None:
    said = refusal(tmp_path, {"server.secure_listen": "tcp:2762"})
    assert "--set server.secure_listen: TLS cannot be done without tls.certificate and tls.key: set them" in said
    said = refusal(tmp_path, settings(ca, pair, **{"tls.key": us.key}))
    assert f"--set tls.key: {us.key} is not the key of the first certificate in {pair.certificate}" in said
    said = refusal(tmp_path, settings(ca, ca.issue("locked", *HOSTS, password="x")))
    assert "is encrypted: give a file with its password, tls.key_password_file" in said


def test_an_expired_certificate_is_warned_about(tmp_path: Path, ca: Authority) -> None:
    expired = ca.issue("expired", *HOSTS, begin=-9, end=-1)
    more = {"tls.profile": "non-downgrading-bcp195"}
    with Server(tmp_path, settings(ca, expired, **more)) as server:
        assert secure_port(server)
        said = re.sub(r"\s+", " ", server.output())
    assert f"--set tls.certificate: the certificate in {expired.certificate} has expired, on " in said
    assert "tls.profile: non-downgrading-bcp195 (PS3.15 B.10) is retired: it is for old peers only" in said
