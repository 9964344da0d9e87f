"""The unit for systemd."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from txdicom.server.managing.manager import ServiceAdministrator
from txdicom.server.managing.patience import AFTER_DRAIN, START_TIMEOUT

if TYPE_CHECKING:
    from pathlib import Path

WEIRD = 'a "b" $HOME %i \\x'


def unit(base: Path, *settings: str) -> tuple[str, dict[str, str]]:
    administrator = ServiceAdministrator(str(base))
    administrator.create("ARCHIVE", settings)
    text = administrator.systemd("ARCHIVE")
    lines = [line.partition("=") for line in text.splitlines() if "=" in line and line[0] != "#"]
    return text, {name: value for name, _, value in lines}


def test_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    store = tmp_path / "images"
    text, values = unit(
        tmp_path,
        f"archive.store={store}",
        "server.drain_timeout=120",
        "server.display_name=100 %",
        "server.listen=tcp:104",
    )
    assert values["Type"] == "notify"
    assert values["KillMode"] == "mixed"
    assert values["StandardInput"] == "null"
    assert values["User"] == getpass.getuser()
    assert values["Description"] == "DICOM server ARCHIVE (100 %%)"
    assert float(values["TimeoutStartSec"]) == START_TIMEOUT
    assert float(values["TimeoutStopSec"]) == 120 + AFTER_DRAIN
    assert values["ExecReload"].endswith("kill -HUP $MAINPID")
    assert values["ExecReload"].startswith("/")
    assert values["ExecStart"].startswith(f'"{sys.executable}" ')
    assert values["ExecStart"].endswith(f'"-n" "--pidfile=" "dicomserver" "--base" "{tmp_path}" "--ae-title" "ARCHIVE"')
    assert values["ReadWritePaths"] == f'"{tmp_path}/ARCHIVE" "{store}"'
    assert f"# make it first, for that user: {store}\n" in text
    assert values["PrivateTmp"] == ("no" if str(tmp_path).startswith("/tmp") else "yes")
    assert values["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    assert "Environment" not in values


def test_a_server_of_high_ports_needs_no_privilege(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "src:/opt/x")
    monkeypatch.chdir(tmp_path)
    _, values = unit(tmp_path / "base", "server.listen=tcp:11112", "server.max_clients=20000")
    assert (values["CapabilityBoundingSet"], values["LimitNOFILE"]) == ("", "80000")
    assert values["Environment"] == f'"PYTHONPATH={tmp_path}/src:/opt/x"'


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
@pytest.mark.parametrize("name", ["base", WEIRD])
def test_systemd_takes_it(tmp_path: Path, name: str) -> None:
    text, _ = unit(tmp_path / name, "server.listen=tcp:104")
    path = tmp_path / "txdicom-ARCHIVE.service"
    path.write_text(text)
    run = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    said = [line for line in run.stderr.splitlines() if "txdicom-ARCHIVE" in line]
    assert (said, run.returncode) == ([], 0), run.stderr
