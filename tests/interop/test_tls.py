"""TLS with DCMTK, in both directions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.certificates import HOSTS, Authority, Pair, rsa_key
from tests.interop.processes import AE_TITLE, HOST, TXDICOM, Server, StoreScp, run
from tests.interop.samples import ROOT, write

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(ca: Authority) -> Pair:
    """Of a server; DCMTK's older profiles know RSA only."""
    return ca.issue("server", *HOSTS, key=rsa_key())


@pytest.fixture(scope="module")
def us(ca: Authority) -> Pair:
    return ca.issue("client", key=rsa_key())


def secure_server(base: Path, ca: Authority, pair: Pair, profile: str) -> Server:
    settings = {
        "server.secure_listen": f"tcp:0:interface={HOST}",
        "tls.certificate": pair.certificate,
        "tls.key": pair.key,
        "tls.ca": ca.path,
        "tls.profile": profile,
        "archive.flush": "false",
    }
    return Server(base, settings)


def secure_port(server: Server) -> str:
    assert server.port
    return server.wait_for(r"listens on .*, [0-9.]+:([0-9]+) \(TLS\)")[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ca: Authority, pair: Pair) -> Generator[Server]:
    with secure_server(tmp_path_factory.mktemp("server"), ca, pair, "bcp195-rfc8996-9325") as running:
        yield running


def test_by_echoscu(server: Server, dcmtk: Callable[[str], str], ca: Authority, us: Pair) -> None:
    program, port = dcmtk("echoscu"), secure_port(server)
    tls = ["+tls", us.key, us.certificate, "+cf", ca.path]
    echoed = run([program, "-v", *tls, "-aec", AE_TITLE, HOST, port])
    assert echoed.returncode == 0, echoed.stdout
    assert "Received Echo Response (Success)" in echoed.stdout
    server.wait_for(r"is secure: TLSv1\.[23], [A-Z0-9_-]+, the certificate of CN=client")
    anonymous = run([program, "-v", "+tla", "+cf", ca.path, "-aec", AE_TITLE, HOST, port])
    assert anonymous.returncode != 0
    server.wait_for("ended without an association: it gave no certificate")


def test_by_storescu(server: Server, dcmtk: Callable[[str], str], ca: Authority, us: Pair, tmp_path: Path) -> None:
    large = write(tmp_path / "large.dcm", f"{ROOT}.7.1", b"\1\2" * 2_000_000)
    small = write(tmp_path / "small.dcm", f"{ROOT}.7.2")
    tls = ["+tls", us.key, us.certificate, "+cf", ca.path]
    sent = run([dcmtk("storescu"), "-v", *tls, "-aec", AE_TITLE, HOST, secure_port(server), large, small])
    assert sent.returncode == 0, sent.stdout
    assert sent.stdout.count("Received Store Response (Success)") == 2


@pytest.mark.parametrize(
    ("profile", "option"),
    [("non-downgrading-bcp195", "+py"), ("extended-bcp195", "+pz"), ("bcp195", "+px"), ("aes", "+pa")],
)
def test_retired_profiles(
    dcmtk: Callable[[str], str], ca: Authority, pair: Pair, us: Pair, tmp_path: Path, profile: str, option: str
) -> None:
    with secure_server(tmp_path, ca, pair, profile) as old:
        tls = ["+tls", us.key, us.certificate, "+cf", ca.path, option]
        echoed = run([dcmtk("echoscu"), "-v", *tls, "-aec", AE_TITLE, HOST, secure_port(old)])
        assert echoed.returncode == 0, echoed.stdout


def echo(port: int, *options: str) -> tuple[int, str]:
    """Exit status and error of `txdicom echo`."""
    ended = run([*TXDICOM, "echo", "--json", *options, f"STORESCP@{HOST}:{port}"])
    assert "Traceback" not in ended.stdout, ended.stdout
    return ended.returncode, json.loads(ended.stdout.splitlines()[0])["error"]


def test_by_txdicom_into_storescp(
    dcmtk: Callable[[str], str], ca: Authority, pair: Pair, us: Pair, tmp_path: Path, free_port: int
) -> None:
    options = ["+tls", pair.key, pair.certificate, "+cf", ca.path]
    ours = ["--tls", "--tls-ca", ca.path, "--tls-cert", us.certificate, "--tls-key", us.key]
    file = write(tmp_path / "large.dcm", f"{ROOT}.7.3", b"\1\2" * 2_000_000)
    with StoreScp(dcmtk("storescp"), tmp_path, free_port, *options) as storescp:
        assert echo(free_port, *ours) == (0, "")
        stored = run([*TXDICOM, "store", *ours, f"STORESCP@{HOST}:{free_port}", file])
        assert stored.returncode == 0, stored.stdout
        assert len(list(storescp.store.iterdir())) == 1
        status, error = echo(free_port, "--tls", "--tls-ca", ca.path)
        assert status == 1
        assert "--tls-cert and --tls-key" in error
        status, error = echo(free_port, "--tls")
        assert status == 1
        assert "--tls-ca" in error
        assert echo(free_port)[0] == 1


def test_by_txdicom_into_a_storescp_without_tls(
    dcmtk: Callable[[str], str], ca: Authority, tmp_path: Path, free_port: int
) -> None:
    with StoreScp(dcmtk("storescp"), tmp_path, free_port):
        status, error = echo(free_port, "--tls", "--tls-ca", ca.path)
        assert status == 1
        assert "TLS on this port" in error
