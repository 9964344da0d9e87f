"""Add-ins of a server as twistd runs it: broken ones, required ones, a licence, an installed package."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.test_twistd import SOON, TWISTD, Workplace, echo_succeeds, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]

#: an add-in that takes its time, with the reactor blocked or not
SLOW = """
import asyncio, time
from twisted.internet import reactor, task
from zope.interface import implementer
from txdicom.interfaces import IDicomAddin

@implementer(IDicomAddin)
class A:
    name = "a"
    version = "1"
    description = author = ""
    def load(self, server): pass
    def unload(self): print("a is unloaded", flush=True)

class Slow(A):
    name = "b"
    def load(self, server):
        print("b begins", flush=True)
        WAIT
    def unload(self): print("b is unloaded", flush=True)

class Late(A):
    name = "c"
    def load(self, server): print("c begins", flush=True)

first, second, third = A(), Slow(), Late()
"""
#: a Twisted plugin
PLUGIN = """
from twisted.plugin import IPlugin
from zope.interface import implementer
from txdicom.interfaces import IDicomAddin

@implementer(IPlugin, IDicomAddin)
class Plugged:
    name = "plugged"
    version = "1"
    description = author = ""
    def load(self, server): print("plugged in beside", [addin.name for addin in server.addins], flush=True)
    def unload(self): pass

plugged = Plugged()
"""
#: asks the package's base service
ASKING = """
from zope.interface import implementer
from txdicom.interfaces import IDicomAddin
from txdicom_departments import IDepartments

@implementer(IDicomAddin)
class Asking:
    name = "asking"
    version = "1"
    description = author = ""
    def load(self, server):
        print("CT1 is of", server.service(IDepartments).department("CT1"), flush=True)
        print("MR1 is of", server.service(IDepartments).department("MR1"), flush=True)
    def unload(self): pass
"""


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    made = Workplace(tmp_path)
    for folder in ("addins", "addins.d", "configuration"):
        (made.home / folder).mkdir(parents=True, mode=0o700)
    yield made
    made.stop_all()


def listen(port: int) -> tuple[str, str]:
    return "--listen", f"tcp:{port}:interface=127.0.0.1"


def stopped(server: subprocess.Popen[bytes]) -> bool:
    server.send_signal(signal.SIGTERM)
    return server.wait(SOON) == 0


def test_a_broken_add_in_is_told_with_its_line_and_the_server_runs(workplace: Workplace, free_port: int) -> None:
    (workplace.home / "addins" / "broken.py").write_text("import os\n\ndef f(:\n")
    server = workplace.start(*listen(free_port))
    text = workplace.text()
    assert "error   addins/broken.py:3: SyntaxError: invalid syntax; the server runs without this add-in" in text
    assert "add-ins found: verification, storage" in text
    assert "Traceback" not in text
    assert echo_succeeds(free_port)
    assert stopped(server)
    assert os.listdir(workplace.home / "addins") == ["broken.py"]


def test_one_that_is_required_ends_the_start(workplace: Workplace, free_port: int) -> None:
    (workplace.home / "addins" / "broken.py").write_text("import os\n\ndef f(:\n")
    run = workplace.run("-n", "--pidfile=", options=(*listen(free_port), "--set", "addins.required=broken"))
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "The server was not started:",
        "  addins/broken.py:3: SyntaxError: invalid syntax (add-in broken is required: --set addins.required)",
    ]
    assert "ready" not in run.stdout


def test_one_that_fails_to_load_is_left_out_unless_it_is_required(workplace: Workplace, free_port: int) -> None:
    (workplace.home / "addins" / "late.py").write_text(SLOW.replace("WAIT", "1 / 0"))
    server = workplace.start(*listen(free_port))
    text = workplace.text()
    assert "error   add-in b cannot be loaded: division by zero; the server runs without it" in text
    assert "c begins" in text
    assert echo_succeeds(free_port)
    assert stopped(server)
    run = workplace.run("-n", "--pidfile=", options=(*listen(free_port), "--set", "addins.required=b"))
    assert run.returncode == 1
    assert "the server TXDICOM cannot start: add-in b cannot be loaded: division by zero" in run.stdout
    assert "c begins" not in run.stdout
    assert "a is unloaded" in run.stdout


@pytest.mark.parametrize("wait", ["return task.deferLater(reactor, 3600)", "time.sleep(3)"], ids=["waits", "blocks"])
def test_a_stop_during_a_slow_load(workplace: Workplace, free_port: int, wait: str) -> None:
    (workplace.home / "addins" / "slow.py").write_text(SLOW.replace("WAIT", wait))
    with workplace.output.open("wb") as output:
        server = subprocess.Popen(
            [*TWISTD, "-n", "--pidfile=", *workplace.arguments(*listen(free_port))],
            cwd=workplace.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    workplace.running.append(server)
    workplace.wait_for("b begins", lambda: server.poll() is None)
    begun = time.monotonic()
    assert stopped(server)
    assert time.monotonic() - begun < 60
    text = workplace.text()
    assert "c begins" not in text
    assert ("b is unloaded" in text) is ("sleep" in wait)
    assert "a is unloaded" in text
    assert "stopped before it was ready" in text
    assert "cannot start" not in text


# -- the examples ------------------------------------------------------------------------------------------------------


def key(workplace: Workplace, until: date) -> None:
    (workplace.home / "licence.json").write_text(f'{{"until": "{until}", "clients": 20}}')


@pytest.mark.parametrize("how", [("-n", "--pidfile="), ("--pidfile=server.pid",)], ids=["foreground", "background"])
def test_a_licence_that_refuses(workplace: Workplace, free_port: int, how: tuple[str, ...]) -> None:
    shutil.copy(ROOT / "examples" / "licence.py", workplace.home / "configuration")
    # were it imported, it would say so
    (workplace.home / "addins" / "other.py").write_text("print('imported')\n")
    run = workplace.run(*how, options=listen(free_port))
    assert run.returncode == 1
    head, sentence = run.stderr.splitlines()
    assert head == "The server was not started:"
    assert sentence.startswith(f"  its licence does not allow it: there is no key at {workplace.home}/licence.json")
    assert "imported" not in run.stdout
    key(workplace, date.today() - timedelta(days=1))
    run = workplace.run(*how, options=listen(free_port))
    assert run.returncode == 1
    assert "was valid until" in run.stderr
    assert "Traceback" not in run.stdout + run.stderr


def test_a_licence_that_is_valid(workplace: Workplace, free_port: int) -> None:
    shutil.copy(ROOT / "examples" / "licence.py", workplace.home / "configuration")
    key(workplace, date.today() + timedelta(days=1))
    server = workplace.start(*listen(free_port))
    assert "configuration add-in licence has run" in workplace.text()
    assert "the licence limits max_clients to 20" in workplace.text()
    assert echo_succeeds(free_port)
    assert stopped(server)


def also_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has Python find what is installed in `folder`."""
    paths = f"{ROOT}{os.pathsep}{folder}"
    monkeypatch.setattr("tests.integration.test_twistd.environment", lambda: {**environment(), "PYTHONPATH": paths})


def test_a_twisted_plugin(
    workplace: Workplace, free_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugins = tmp_path / "more" / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "plugged_plugin.py").write_text(PLUGIN)
    also_from(tmp_path / "more", monkeypatch)
    server = workplace.start(*listen(free_port))
    assert "plugged" not in workplace.text()
    assert stopped(server)
    server = workplace.start(*listen(free_port), "--set", "addins.enabled=['plugged', 'verification']")
    assert "plugged in beside ['plugged', 'verification']" in workplace.text()
    assert echo_succeeds(free_port)
    assert stopped(server)


def test_an_add_in_as_a_package(
    workplace: Workplace, free_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(ROOT / "examples" / "addin_package", source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", target, source], check=True, timeout=SOON * 2)
    also_from(target, monkeypatch)
    (workplace.home / "addins" / "asking.py").write_text(ASKING)
    (workplace.home / "addins.d" / "departments.toml").write_text('[table]\nCT1 = "radiology"\n')
    enabled = "addins.enabled=['verification', 'departments']"
    server = workplace.start(*listen(free_port), "--set", enabled, "--set", "addins.departments.default=nobody")
    text = workplace.text()
    assert "add-ins found: verification, departments, asking" in text
    assert "CT1 is of radiology" in text
    assert "MR1 is of nobody" in text
    assert stopped(server)
    (workplace.home / "addins.d" / "departments.toml").write_text("[table]\nCT1 = 3\n\nx = 1\n")
    run = workplace.run("-n", "--pidfile=", options=(*listen(free_port), "--set", enabled))
    assert run.returncode == 1
    assert run.stderr.splitlines()[1].startswith(
        "  addins.d/departments.toml:2: table.CT1: input should be a valid str"
    )


def txdicom(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "txdicom", *map(str, arguments)]
    return subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=SOON, check=False)


def test_a_new_add_in_does_what_it_says(workplace: Workplace, free_port: int) -> None:
    import pydicom
    from pydicom.data import get_testdata_file

    (workplace.home / "server.toml").touch(mode=0o600)
    assert txdicom("addin", "new", "my-own", "--base", workplace.base).returncode == 0
    (workplace.home / "addins.d" / "my-own.toml").write_text('folder = "mine"\n')
    [uid] = re.findall(r'SOP_CLASS = "(.*)"', (workplace.home / "addins" / "my_own.py").read_text())
    data_set = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID = uid
    data_set.save_as(workplace.folder / "one.dcm")
    server = workplace.start(*listen(free_port))
    assert f"my-own keeps instances in {workplace.home}/mine" in workplace.text()
    stored = txdicom("store", f"TXDICOM@127.0.0.1:{free_port}", workplace.folder / "one.dcm")
    assert stored.returncode == 0, stored.stderr + workplace.text()
    kept = workplace.home / "mine" / f"{data_set.SOPInstanceUID}.dcm"
    assert pydicom.dcmread(kept).PatientID == data_set.PatientID
    assert list((workplace.home / "store").glob("*/*/*.dcm")) == []
    assert stopped(server)
