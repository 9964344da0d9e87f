"""`twistd dicomserver` as a user runs it: processes of their own, real ports, real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
#: seconds until something that takes a fraction of one must have happened, on a busy machine too
SOON = 60.0


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TXDICOM_", "COV"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


class Workplace:
    """A folder in which servers are run; none outlives the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "base"
        self.home = self.base / "TXDICOM"
        self.pidfile = folder / "server.pid"
        self.output = folder / "output"
        self.running: list[subprocess.Popen[bytes]] = []
        self.start_options: dict[str, Any] = {}  # of `Popen`

    def arguments(self, *options: object) -> list[str]:
        return ["dicomserver", "--base", str(self.base), *map(str, options)]

    def start(self, *options: object) -> subprocess.Popen[bytes]:
        """A server in the foreground; returns when it is ready."""
        with self.output.open("wb") as output:
            process = subprocess.Popen(
                [*TWISTD, "-n", "--pidfile=", *self.arguments(*options)],
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                **self.start_options,
            )
        self.running.append(process)
        self.wait_for(r"ready: ", lambda: process.poll() is None)
        return process

    def run(self, *twistd: str, options: tuple[object, ...] = ()) -> subprocess.CompletedProcess[str]:
        """A server that is expected to end, or to go to the background."""
        return subprocess.run(
            [*TWISTD, *twistd, *self.arguments(*options)],
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SOON,
            check=False,
        )

    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, pattern: str, going: Callable[[], bool] = lambda: True, path: Path | None = None) -> None:
        path = path or self.output
        deadline = time.monotonic() + SOON
        while not (path.exists() and re.search(pattern, path.read_text())):
            found = path.read_text() if path.exists() else "nothing"
            assert going(), found
            assert time.monotonic() < deadline, f"{pattern} did not come; there is:\n{found}"
            time.sleep(0.02)

    def stop_all(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait()
        if self.pidfile.exists():
            os.kill(int(self.pidfile.read_text()), signal.SIGKILL)


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    made = Workplace(tmp_path)
    yield made
    made.stop_all()


@pytest.fixture
def listen(free_port: int) -> str:
    return f"tcp:{free_port}:interface=127.0.0.1"


#: an association as a peer opens it, run in a process of its own: argv is port, called AE title and what to do then
PEER = """
import json, sys
from twisted.internet import endpoints, task
from txdicom.net.config import NetConfig
from txdicom.net.requestor import Requestor
from txdicom.pdu.types import PresentationContextRQ
from txdicom.services.verification import echo

async def main(reactor, port, called, then):
    endpoint = endpoints.clientFromString(reactor, f"tcp:127.0.0.1:{port}")
    contexts = [PresentationContextRQ(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",))]
    requestor = Requestor(endpoint, NetConfig(), reactor, peer_name=called)
    try:
        association = await requestor.request("CALLER", called, contexts)
    except Exception as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return
    await echo(association)
    print(json.dumps({"echo": True}), flush=True)
    if then == "stay":
        await association.when_lost()
        print(json.dumps({"outcome": association.outcome}), flush=True)
    else:
        await association.release()

task.react(main, sys.argv[1:])
"""


def peer(port: int, called: str = "TXDICOM", then: str = "release") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PEER, str(port), called, then], env=environment(), stdout=subprocess.PIPE, text=True
    )


def says(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def echo_succeeds(port: int, called: str = "TXDICOM") -> bool:
    with peer(port, called) as process:
        return says(process) == {"echo": True}


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


# -- in the foreground -------------------------------------------------------------------------------------------------


def test_first_start_echo_and_stop(workplace: Workplace, listen: str, free_port: int) -> None:
    server = workplace.start("--listen", listen)
    lines = workplace.text().splitlines()
    here = f"TXDICOM@127.0.0.1:{free_port}"
    steps = [
        f"first start: the server's folder is {workplace.home}, its settings are in server.toml there",
        f"settings read from {workplace.home}/server.toml",
        "for this run, the command line sets server.listen",
        "no configuration add-ins, and no licence that limits anything",
        "add-ins found: verification, storage",
        f"TXDICOM listens on 127.0.0.1:{free_port}",
        f"it stores in {workplace.home}/store",
        f"try it: txdicom echo {here}, or with DCMTK: echoscu -aec TXDICOM 127.0.0.1 {free_port}",
        "base services: 0 by add-ins, the others by default",
        "add-in verification [0-9.]+ loaded",
        "add-in storage [0-9.]+ loaded",
        f"administrators connect to {workplace.home}/TXDICOM.sock",
        "ready: TXDICOM accepts associations",
    ]
    assert len(lines) == len(steps)
    for line, step in zip(lines, steps, strict=True):
        assert re.fullmatch(rf"[0-9 :-]{{20}}info    {step}", line)
    assert echo_succeeds(free_port)
    server.send_signal(signal.SIGTERM)
    assert server.wait(SOON) == 0
    assert workplace.text().endswith("info    stopped\n")
    assert "SIGTERM: stopping" in workplace.text()
    assert all(
        mode == (0o700 if (workplace.home / name).is_dir() else 0o600) for name, mode in modes(workplace.home).items()
    )


@pytest.mark.interop
def test_the_line_to_try_it_works(workplace: Workplace, listen: str, dcmtk: Callable[[str], str]) -> None:
    dcmtk("echoscu")
    server = workplace.start("--listen", listen)
    command = re.search(r"with DCMTK: (echoscu .*)", workplace.text())
    assert command is not None
    assert subprocess.run(command[1].split(), check=False, timeout=SOON).returncode == 0
    server.send_signal(signal.SIGINT)
    assert server.wait(SOON) == 0


def test_a_second_start_finds_the_server(workplace: Workplace, listen: str, free_port: int) -> None:
    for title in ("--ae-title", "OTHER"), ():
        server = workplace.start(*title, "--listen", listen, "--set", "server.display_name=The other one")
        assert "OTHER (The other one) listens" in workplace.text()
        assert echo_succeeds(free_port, "OTHER")
        server.send_signal(signal.SIGINT)
        assert server.wait(SOON) == 0
    assert os.listdir(workplace.base) == ["OTHER"]


def test_settings_for_one_run(workplace: Workplace, listen: str, free_port: int) -> None:
    store = workplace.folder / "elsewhere"
    server = workplace.start("--listen", listen, "--set", f"archive.store={store}", "--set", "addins.enabled=storage")
    assert (store / ".incoming").is_dir()
    assert not echo_succeeds_quietly(free_port)
    server.send_signal(signal.SIGTERM)
    assert server.wait(SOON) == 0
    assert "elsewhere" not in (workplace.home / "server.toml").read_text()


def echo_succeeds_quietly(port: int) -> bool:
    """Verification is not accepted there: the association has no context."""
    with subprocess.Popen(
        [sys.executable, "-c", PEER, str(port), "TXDICOM", "release"],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        return process.wait(SOON) == 0


def test_only_known_callers_where_others_can_reach_it(workplace: Workplace, free_port: int) -> None:
    workplace.home.mkdir(parents=True)
    (workplace.home / "aetitles.toml").write_text("[SOMEBODY]\n")
    server = workplace.start("--listen", f"tcp:{free_port}")
    assert "only callers of aetitles.toml are let in, 1 there (allow_anonymous is false)" in workplace.text()
    assert "echoscu -aet A_TITLE_OF_AETITLES_TOML -aec TXDICOM 127.0.0.1" in workplace.text()
    with peer(free_port) as process:
        assert "calling AE title" in str(says(process)["error"])
    server.send_signal(signal.SIGTERM)
    assert server.wait(SOON) == 0
    (workplace.home / "aetitles.toml").write_text("[SOMEBODY]\n[CALLER]\n")
    server = workplace.start("--listen", f"tcp:{free_port}")
    assert echo_succeeds(free_port)
    server.send_signal(signal.SIGTERM)
    assert server.wait(SOON) == 0


def test_a_stop_ends_idle_associations(workplace: Workplace, listen: str, free_port: int) -> None:
    server = workplace.start("--listen", listen)
    with peer(free_port, then="stay") as process:
        assert says(process) == {"echo": True}
        server.send_signal(signal.SIGTERM)
        assert server.wait(SOON) == 0
        assert "aborted" in str(says(process)["outcome"])
    assert "draining: 1 connections" in workplace.text()


def test_a_second_signal_aborts_what_is_running(workplace: Workplace, listen: str, free_port: int) -> None:
    server = workplace.start("--listen", listen, "--set", "server.drain_timeout=600")
    with socket.create_connection(("127.0.0.1", free_port)) as connection:
        connection.sendall(ASSOCIATE_RQ)
        assert connection.recv(1)[0] == 2
        # half a message keeps the association busy
        connection.sendall(bytes.fromhex("0400 0000000a 00000006 01 01 00000000"))
        workplace.wait_for("association 1: HALF")
        time.sleep(0.2)
        server.send_signal(signal.SIGINT)
        workplace.wait_for("SIGINT: stopping")
        with pytest.raises(subprocess.TimeoutExpired):
            server.wait(1.0)
        server.send_signal(signal.SIGINT)
        assert server.wait(SOON) == 0
    assert "SIGINT again: what is running is aborted" in workplace.text()
    assert workplace.text().endswith("info    stopped\n")


def test_a_hangup_has_the_files_read_again(workplace: Workplace, listen: str, free_port: int) -> None:
    workplace.start_options["start_new_session"] = True  # where there is a terminal, its end stops the server
    server = workplace.start("--listen", listen)
    settings = workplace.home / "server.toml"
    text = settings.read_text()
    settings.write_text(text.replace("[server]", "[server]\nmax_clents = 1"))
    server.send_signal(signal.SIGHUP)
    workplace.wait_for(r"error   server.toml:\d+: server.max_clents: there is no such setting")
    settings.write_text(text.replace("[server]", "[server]\nmax_clients = 1"))
    server.send_signal(signal.SIGHUP)
    workplace.wait_for("info    settings and files were read again; changed: server.max_clients")
    with peer(free_port, then="stay") as process:
        assert says(process) == {"echo": True}
        assert not echo_succeeds(free_port)
        server.send_signal(signal.SIGTERM)
        assert server.wait(SOON) == 0


def associate_rq() -> bytes:
    from txdicom.pdu.encode import encode
    from txdicom.pdu.types import AssociateRQ, PresentationContextRQ, UserInformation

    contexts = (PresentationContextRQ(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),)
    return encode(AssociateRQ("TXDICOM", "HALF", contexts, UserInformation(16384, "1.2.3")))


ASSOCIATE_RQ = associate_rq()


# -- what must not start -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [("-n", "--pidfile="), ("--pidfile=server.pid",)], ids=["foreground", "background"])
def test_a_port_in_use(workplace: Workplace, how: tuple[str, ...], free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        endpoint = f"tcp:{free_port}:interface=127.0.0.1"
        run = workplace.run(*how, options=("--listen", endpoint))
    assert run.returncode == 1
    head, problem = run.stderr.splitlines()
    assert head == "The server was not started:"
    assert problem.startswith(f"  cannot listen on {endpoint}: Address already in use; another program has this port")
    assert "--listen for one run, listen in server.toml for all" in problem
    assert not workplace.pidfile.exists()


def test_an_address_that_is_not_ours(workplace: Workplace) -> None:
    run = workplace.run("-n", "--pidfile=", options=("--listen", "tcp:0:interface=192.0.2.1"))
    assert run.returncode == 1
    assert "cannot listen on tcp:0:interface=192.0.2.1: " in run.stderr
    assert "this computer has no such address" in run.stderr
    assert "Traceback" not in run.stderr


def test_settings_with_mistakes(workplace: Workplace) -> None:
    workplace.home.mkdir(parents=True, mode=0o700)
    (workplace.home / "server.toml").write_text("[server]\nmax_clints = 1\n\nmax_pdu_length = 1\n[nothing]\n")
    run = workplace.run("-n", "--pidfile=", options=("--set", "archive.flush=maybe"))
    assert run.returncode == 1
    assert run.stdout == ""
    assert [line.split(": ")[0].strip() for line in run.stderr.splitlines()] == [
        "The server was not started, for 4 reasons:",
        "server.toml:5",
        "server.toml:2",
        "server.toml:4",
        "--set archive.flush",
    ]
    assert os.listdir(workplace.home) == ["server.toml"]


def test_several_servers_and_no_title(workplace: Workplace) -> None:
    for title in ("ONE", "TWO"):
        (workplace.base / title).mkdir(parents=True, mode=0o700)
        (workplace.base / title / "server.toml").touch()
    run = workplace.run("-n", "--pidfile=")
    assert run.returncode == 1
    assert "(ONE, TWO): name one by --ae-title" in run.stderr


def test_two_servers_on_one_folder(workplace: Workplace, listen: str) -> None:
    server = workplace.start("--listen", listen)
    run = workplace.run("-n", "--pidfile=", options=("--listen", "tcp:0:interface=127.0.0.1"))
    assert run.returncode == 1
    assert f"{workplace.home} is in use by the server with process id {server.pid}: " in run.stderr
    server.send_signal(signal.SIGTERM)
    assert server.wait(SOON) == 0


def test_a_start_that_fails_late(workplace: Workplace, listen: str) -> None:
    other = workplace.folder / "store"
    server = workplace.start("--listen", listen, "--set", f"archive.store={other}")
    base, workplace.base = workplace.base, workplace.folder / "second"
    run = workplace.run(
        "-n",
        "--pidfile=twistd.pid",
        options=("--listen", "tcp:0:interface=127.0.0.1", "--set", f"archive.store={other}"),
    )
    workplace.base = base
    assert run.returncode == 1
    sentence = f"add-in storage cannot be loaded: the store {other} is in use"
    assert f"error   the server TXDICOM cannot start: {sentence}" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr
    assert run.stdout.endswith("stopped\n")
    assert not (workplace.folder / "twistd.pid").exists()
    server.send_signal(signal.SIGTERM)
    assert server.wait(SOON) == 0


# -- in the background -------------------------------------------------------------------------------------------------


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + SOON
    while Path(f"/proc/{pid}").exists() and not _is_zombie(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_zombie(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def test_in_the_background(workplace: Workplace, listen: str, free_port: int) -> None:
    log = workplace.home / "log" / "server.log"
    path = workplace.folder / "s"
    unix = f"unix:{path}:mode=600"
    started = workplace.run("--pidfile=server.pid", options=("--listen", listen, "--listen", unix))
    assert started.returncode == 0, started.stderr
    assert started.stdout == f"TXDICOM goes to the background; its log is {log}\n"
    workplace.wait_for("ready: ", path=log)
    pid = int(workplace.pidfile.read_text())
    assert (workplace.home / ".lock").read_text() == f"{pid}\n"
    assert echo_succeeds(free_port)
    assert stat.S_ISSOCK(path.stat().st_mode)
    os.kill(pid, signal.SIGTERM)
    wait_until_gone(pid)
    assert not workplace.pidfile.exists()
    assert not path.exists()
    text = log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert f"TXDICOM listens on 127.0.0.1:{free_port}, {unix}" in text
    assert text.endswith("info    stopped\n")
    assert "Traceback" not in text


def test_a_socket_that_cannot_be_made_in_the_background(workplace: Workplace) -> None:
    started = workplace.run("--pidfile=server.pid", options=("--listen", f"unix:{workplace.folder}/none/s"))
    assert started.returncode == 1
    assert "cannot listen on unix:" in started.stderr
    assert not workplace.pidfile.exists()
