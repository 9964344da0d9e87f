"""C-ECHO between txdicom and its peers, in both directions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.interop.processes import AE_TITLE, HOST, TXDICOM, StoreScp, run
from tests.interop.test_sending import Pynetdicom

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from tests.interop.processes import Server

pytestmark = pytest.mark.interop

VERIFICATION = "1.2.840.10008.1.1"


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-pdu", "4096"],
        ["-pdu", "131072"],
        ["--propose-ts", "38"],
        ["--propose-pc", "128"],
        ["--repeat", "50"],
    ],
    ids=" ".join,
)
def test_by_echoscu(server: Server, dcmtk: Callable[[str], str], options: list[str]) -> None:
    echoed = run([dcmtk("echoscu"), "-v", *options, "-aec", AE_TITLE, HOST, str(server.port)])
    assert echoed.returncode == 0, echoed.stdout
    assert "Received Echo Response (Success)" in echoed.stdout


def test_echoscu_that_aborts(server: Server, dcmtk: Callable[[str], str]) -> None:
    echoed = run([dcmtk("echoscu"), "-v", "--abort", "-aec", AE_TITLE, HOST, str(server.port)])
    assert echoed.returncode == 0, echoed.stdout
    server.wait_for("ended: aborted")
    assert run([dcmtk("echoscu"), "-aec", AE_TITLE, HOST, str(server.port)]).returncode == 0


def test_by_pynetdicom(server: Server, pynetdicom: ModuleType) -> None:
    ae = pynetdicom.AE("PYNETDICOM")
    ae.add_requested_context(VERIFICATION)
    association = ae.associate(HOST, server.port, ae_title=AE_TITLE)
    assert association.is_established
    assert [association.send_c_echo().Status for _ in range(20)] == [0] * 20
    association.release()
    assert association.is_released


def echo(port: int, called_ae: str) -> tuple[int, dict[str, object], str]:
    """Exit status, record and all output of `txdicom echo --json`."""
    echoed = run([*TXDICOM, "echo", "--json", f"{called_ae}@{HOST}:{port}"])
    assert "Traceback" not in echoed.stdout, echoed.stdout
    return echoed.returncode, json.loads(echoed.stdout.splitlines()[0]), echoed.stdout


def test_by_txdicom(server: Server) -> None:
    status, record, output = echo(server.port, AE_TITLE)
    assert (status, record["success"], record["status"]) == (0, True, "0000"), output


def test_by_txdicom_into_storescp(dcmtk: Callable[[str], str], tmp_path: Path, free_port: int) -> None:
    with StoreScp(dcmtk("storescp"), tmp_path, free_port):
        status, record, output = echo(free_port, "STORESCP")
        assert (status, record["success"]) == (0, True), output


def test_a_user_to_storescp(dcmtk: Callable[[str], str], tmp_path: Path, free_port: int) -> None:
    (tmp_path / "password").write_text("wonderländ\n")
    (tmp_path / "password").chmod(0o600)
    with StoreScp(dcmtk("storescp"), tmp_path, free_port, "-d") as peer:
        for more, told in ((), "1: Username"), (("--password-file", tmp_path / "password"), "2: Username/Password"):
            words = [*TXDICOM, "echo", "--user", "alice", *more, f"STORESCP@{HOST}:{free_port}"]
            assert run(words).returncode == 0
            peer.wait_for(f"Authentication mode {told}\n")
        peer.wait_for(r"Username: \[alice\]\n.* Password: \[wonderländ\]\n")


def test_by_txdicom_into_pynetdicom(pynetdicom: ModuleType, tmp_path: Path, free_port: int) -> None:
    with Pynetdicom(tmp_path, free_port, "16382", "EXACTLY"):
        status, record, output = echo(free_port, "EXACTLY")
        assert (status, record["success"]) == (0, True), output
        status, record, output = echo(free_port, "OTHER")
        assert (status, record["success"], record["status"]) == (1, False, None), output
        assert "it is not the called AE title" in str(record["error"])
