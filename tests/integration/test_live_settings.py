"""Settings that change while a server of twistd runs: by administrators, and by hand and SIGHUP."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from cryptography import x509
from twisted.internet import reactor as real_reactor

from tests.certificates import HOSTS, Authority
from tests.integration.test_twistd import SOON, Workplace
from txdicom.errors import BadArgument
from txdicom.interfaces.control import Applied
from txdicom.server.managing.manager import ServiceAdministrator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from txdicom.interfaces.control import ControlEvent

reactor: Any = real_reactor


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    made = Workplace(tmp_path)
    made.start_options = {"start_new_session": True}  # without a terminal, whose end a SIGHUP would be
    yield made
    made.stop_all()


def edit(workplace: Workplace, old: str, new: str) -> None:
    file = workplace.home / "server.toml"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("##")]


ADDIN = """
from pydantic import BaseModel
from zope.interface import implementer
from txdicom.interfaces import IAddinOptions, IDicomAddin

class Options(BaseModel):
    days: int = 3

@implementer(IDicomAddin, IAddinOptions)
class Told:
    name = "told"
    version = "1"
    description = author = ""
    settings_model = Options
    def load(self, server): pass
    def unload(self): pass
    def apply(self, settings):
        if settings.days > 9:
            raise ValueError("too many")

addin = Told()
"""


@pytest_twisted.ensureDeferred
async def test_an_administrator_changes_settings(workplace: Workplace, free_port: int) -> None:
    workplace.start("--listen", f"tcp:{free_port}:interface=127.0.0.1")
    file = workplace.home / "server.toml"
    before = file.read_text()
    one = await ServiceAdministrator(str(workplace.base)).connect(reactor, "TXDICOM")
    events: list[ControlEvent] = []
    await one.subscribe(events.append, ["SettingsChanged"])
    applied = await one.set_settings({"server": {"max_clients": 50, "workers": 2, "listen": ["tcp:104"]}})
    assert applied == Applied(
        changed=("server.max_clients",), restart=("server.workers",), overridden=("server.listen",)
    )
    settings = await one.settings()
    assert (settings["server"]["max_clients"], settings["server"]["workers"]) == (50, 1)
    text = file.read_text()
    assert comments(text) == comments(before)
    assert {*text.splitlines()} - {*before.splitlines()} == {"max_clients = 50", "workers = 2", 'listen = ["tcp:104"]'}
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadArgument, match=r"server\.max_clients: .*\n.*server\.lisen: there is no such setting"):
        await one.set_settings({"server": {"max_clients": -1, "lisen": 5}})
    assert file.read_text() == text
    # whatever came first, the event is on its way before the next answer
    await one.status()
    assert [event.data["changed"] for event in events] == [["server.max_clients"]]
    await one.close()
    audit = [json.loads(line) for line in (workplace.home / "log" / "audit.jsonl").read_text().splitlines()]
    [asked] = [line["text"] for line in audit if line["audit"] == "administrator"]
    assert re.fullmatch(r"user \d+ has asked for SetSettings server\.max_clients server\.workers server\.listen", asked)


@pytest.mark.parametrize("workers", [1, 2])
@pytest_twisted.ensureDeferred
async def test_an_administrator_changes_an_addins_settings(workplace: Workplace, free_port: int, workers: int) -> None:
    listen = f"tcp:{free_port}:interface=127.0.0.1"
    folder = workplace.home / "addins"
    workplace.base.mkdir(0o700)
    workplace.home.mkdir(0o700)
    folder.mkdir(0o700)
    (folder / "told.py").write_text(ADDIN)
    (folder / "told.py").chmod(0o600)
    workplace.start("--listen", listen, "--set", f"server.workers={workers}")
    one = await ServiceAdministrator(str(workplace.base)).connect(reactor, "TXDICOM")
    assert await one.set_addin_options("told", {"days": 4}) == Applied(changed=("addins.told.days",))
    assert (await one.addin_options("told")).values == {"days": 4}
    with pytest.raises(BadArgument, match=r"it has failed \(ValueError\)"):
        await one.set_addin_options("told", {"days": 10})
    assert (await one.addin_options("told")).values == {"days": 4}
    await one.close()
    assert (workplace.home / "addins.d" / "told.toml").read_text() == "days = 4\n"


@pytest_twisted.ensureDeferred
async def test_sighup_reads_the_files_again(workplace: Workplace, free_port: int) -> None:
    process = workplace.start("--listen", f"tcp:{free_port}:interface=127.0.0.1")
    one = await ServiceAdministrator(str(workplace.base)).connect(reactor, "TXDICOM")
    edit(workplace, "#max_clients = 1000", "max_clients = 15")
    edit(workplace, "#workers = 1", "workers = 2")
    process.send_signal(signal.SIGHUP)
    workplace.wait_for("server.max_clients")
    workplace.wait_for("restart: server.workers")
    assert (await one.settings())["server"]["max_clients"] == 15
    # every mistake is said, and nothing is applied
    edit(workplace, "max_clients = 15", 'max_clients = "fifteen"')
    edit(workplace, "#max_half_open = 200", "max_half_open = 7")
    edit(workplace, '#level = "info"', 'level = "loud"')
    process.send_signal(signal.SIGHUP)
    workplace.wait_for(r"server\.toml:\d+: server\.max_clients: ")
    workplace.wait_for(r"server\.toml:\d+: log\.level: ")
    workplace.wait_for("what was in force before still is")
    settings = await one.settings()
    assert (settings["server"]["max_clients"], settings["server"]["max_half_open"]) == (15, 200)
    await one.close()
    process.terminate()
    assert process.wait(SOON) == 0


def seen_certificate(port: int) -> int:
    """The serial number of what a client is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), SOON) as plain, context.wrap_socket(plain) as secure:
        der = secure.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def serial_of(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


@pytest.mark.parametrize("workers", [1, 2])
def test_a_certificate_is_exchanged(workplace: Workplace, free_port: int, tmp_path: Path, workers: int) -> None:
    ca = Authority(tmp_path)
    first, second = (ca.issue(name, *HOSTS) for name in ("first", "second"))
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    shutil.copy(first.certificate, certificate)
    shutil.copy(first.key, key)
    key.chmod(0o600)
    process = workplace.start(
        "--set", "server.listen=[]", "--set", f"server.secure_listen=tcp:{free_port}:interface=127.0.0.1",
        "--set", f"tls.certificate={certificate}", "--set", f"tls.key={key}", "--set", "tls.client_certificate=none",
        "--set", f"server.workers={workers}",
    )  # fmt: skip
    assert seen_certificate(free_port) == serial_of(certificate)
    old = certificate.read_bytes()
    shutil.copy(second.certificate, certificate)
    process.send_signal(signal.SIGHUP)  # the key of the other one is there yet
    workplace.wait_for("what was in force before still is")
    assert seen_certificate(free_port) == x509.load_pem_x509_certificate(old).serial_number
    shutil.copy(second.key, key)
    process.send_signal(signal.SIGHUP)
    workplace.wait_for("certificates and keys of TLS were read again(?s:.*)settings and files were read again")
    for _ in range(workers):
        assert seen_certificate(free_port) == serial_of(certificate)


def test_log_files_are_opened_anew(workplace: Workplace, free_port: int) -> None:
    process = workplace.start("--listen", f"tcp:{free_port}:interface=127.0.0.1")
    audit = workplace.home / "log" / "audit.jsonl"
    moved = audit.with_name("moved")
    audit.rename(moved)
    process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + SOON
    while not audit.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    assert process.wait(SOON) == 0
    assert "server-stopped" in audit.read_text()
    assert "server-stopped" not in moved.read_text()
