"""The logs of `twistd dicomserver`, written by one process and read by `txdicom log`."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_twistd import SOON, Workplace, echo_succeeds, environment, wait_until_gone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    made = Workplace(tmp_path)
    yield made
    made.stop_all()


#: stores one file: argv is port and path
STORE = """
import sys
from twisted.internet import task
from txdicom.scu import Peer, connect

async def main(reactor, port, path):
    async with connect(reactor, Peer("TXDICOM", "127.0.0.1", int(port)), calling_ae="SENDER", files=[path]) as one:
        async for result in one.store([path]):
            print(result.status)

task.react(main, sys.argv[1:])
"""


def log_command(workplace: Workplace, *words: str) -> list[dict[str, Any]]:
    run = subprocess.run(
        [sys.executable, "-m", "txdicom", "log", *words, "--base", str(workplace.base), "--json"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SOON,
        check=True,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_who_did_what(workplace: Workplace, free_port: int) -> None:
    from pydicom.data import get_testdata_file

    path = str(get_testdata_file("CT_small.dcm", download=False))
    server = workplace.start(
        *("--listen", f"tcp:{free_port}:interface=127.0.0.1", "--set", "log.audit_instances=true"),
        *("--set", "log.format=both", "--set", "log.datasets=all"),
    )
    run = subprocess.run(
        [sys.executable, "-c", STORE, str(free_port), path], env=environment(), timeout=SOON, check=True
    )
    assert run.returncode == 0
    server.send_signal(signal.SIGTERM)
    assert server.wait(SOON) == 0
    audit = log_command(workplace, "show", "--audit")
    assert [line["audit"] for line in audit] == [
        *("server-started", "association-opened", "instance-stored", "association-ended", "server-stopped")
    ]
    assert audit[1]["contexts"]
    assert audit[2]["calling_ae"] == "SENDER"
    log = log_command(workplace, "query", "--calling-ae", "SENDER")
    assert [line["text"].split(" ")[0] for line in log] == ["association", "association"]
    assert "ready: TXDICOM accepts associations" in workplace.text()
    folder = workplace.home / "log"
    assert sorted(os.listdir(folder)) == ["audit.jsonl", "datasets", "server.jsonl"]
    assert stat.S_IMODE((folder / "audit.jsonl").stat().st_mode) == 0o600
    assert len(os.listdir(folder / "datasets")) == 1


def test_rotation_in_the_background(workplace: Workplace, free_port: int) -> None:
    listen = f"tcp:{free_port}:interface=127.0.0.1"
    options = ("--listen", listen, "--set", "log.rotate_size=400", "--set", "log.rotate_count=2")
    assert workplace.run("--pidfile=server.pid", options=options).returncode == 0
    folder = workplace.home / "log"
    pid = int(workplace.pidfile.read_text())
    workplace.wait_for("server-started", path=folder / "audit.jsonl")
    for _ in range(3):
        assert echo_succeeds(free_port)
    os.kill(pid, signal.SIGTERM)
    wait_until_gone(pid)
    assert {"server.log", "server.log.1", "server.log.2"} < set(os.listdir(folder))
    assert "server.log.3" not in os.listdir(folder)
    assert log_command(workplace, "show", "-n", "1")[0]["text"] == "stopped"


def test_settings_that_cannot_be(workplace: Workplace) -> None:
    run = workplace.run("-n", "--pidfile=", options=("--set", "log.level=loud", "--set", "log.formt=json"))
    assert run.returncode == 1
    assert "--set log.level: " in run.stderr
    assert "did you mean format?" in run.stderr


ADDIN = """
import json, os
from zope.interface import implementer
from txdicom.interfaces import IBaseServiceProvider, IDicomAddin, IServiceLog

@implementer(IDicomAddin, IBaseServiceProvider, IServiceLog)
class FileLog:
    name, version, description, author = "filelog", "1", "logs elsewhere", "tests"
    path = os.path.join(os.path.dirname(os.path.dirname(__file__)), "elsewhere")
    def register(self, services):
        services.provide(IServiceLog, self)
    def load(self, server):
        assert server.service(IServiceLog) is self
    def unload(self):
        pass
    def event(self, event):
        with open(self.path, "a") as file:
            file.write(event["log_format"] + "\\n")
        if "ended" in event["log_format"]:
            raise ZeroDivisionError
"""


def test_an_addin_that_is_the_service_log(workplace: Workplace, free_port: int) -> None:
    (workplace.home / "addins").mkdir(parents=True, mode=0o700)
    workplace.home.chmod(0o700)
    (workplace.home / "server.toml").touch(0o600)
    (workplace.home / "addins" / "filelog.py").write_text(ADDIN)
    (workplace.home / "addins" / "filelog.py").chmod(0o600)
    options = ("--listen", f"tcp:{free_port}:interface=127.0.0.1")
    assert workplace.run("--pidfile=server.pid", options=options).returncode == 0
    workplace.wait_for("ready: ", path=workplace.home / "elsewhere")
    pid = int(workplace.pidfile.read_text())
    assert echo_succeeds(free_port)
    workplace.wait_for("ZeroDivisionError", path=workplace.home / "log" / "server.log")
    os.kill(pid, signal.SIGTERM)
    wait_until_gone(pid)
    theirs = (workplace.home / "elsewhere").read_text().splitlines()
    ours = (workplace.home / "log" / "server.log").read_text()
    assert theirs[-1] == "stopped"
    assert "listens on" in ours
    assert "ready: " not in ours
    # what it failed at is not lost
    assert "ended: released" in ours
    audit = [line["audit"] for line in log_command(workplace, "show", "--audit")]
    assert audit == ["server-started", "association-opened", "association-ended", "server-stopped"]
