"""The service manager over real servers: `txdicom server …`, `txdicom client watch`, and sd_notify(3)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import reactor as real_reactor
from twisted.internet import task

from tests.cli.running import Command, command
from tests.integration.test_twistd import SOON, TWISTD, environment
from txdicom.errors import AssociationRejected, Conflict
from txdicom.scu import Peer, connect
from txdicom.server import ServiceAdministrator
from txdicom.server.folder import ServerFolder
from txdicom.server.managing.starting import StartFailed
from txdicom.uids import VERIFICATION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

reactor: Any = real_reactor
ROOT = Path(__file__).resolve().parents[2]

#: an add-in whose load does this
LOADING = """
from twisted.internet.defer import Deferred
from zope.interface import implementer
from txdicom.errors import AddinError
from txdicom.interfaces import IDicomAddin

@implementer(IDicomAddin)
class Loading:
    name = "loading"
    version = "1"
    description = author = ""
    def load(self, server):
        {load}
    def unload(self):
        pass
"""


class Base:
    """A base whose servers do not outlive the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.administrator = ServiceAdministrator(str(path))

    def create(self, title: str, *settings: str, port: int | None = None) -> Path:
        listen = f"tcp:{free_port() if port is None else port}:interface=127.0.0.1"
        self.administrator.create(title, ["archive.flush=false", *settings], [listen])
        return self.path / title

    def holder(self, title: str) -> int | None:
        return self.administrator.folder(title).holder()

    async def txdicom(self, *words: str, status: int = 0) -> tuple[str, str]:
        """What the command says on both outputs."""
        ended = await command(*words, "--base", self.path)
        assert ended.status == status, ended
        assert "Traceback" not in ended.err
        return ended.out, ended.err

    def end(self) -> None:
        for title in os.listdir(self.path) if self.path.exists() else ():
            folder = ServerFolder(str(self.path), title)
            process = folder.holder()
            if process and folder.held_by(process):
                os.kill(process, signal.SIGKILL)


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Base]:
    made = Base(tmp_path / "base")
    yield made
    made.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def with_loading(folder: Path, load: str) -> None:
    """Gives a server an add-in whose load does this, and which is required."""
    (folder / "addins" / "loading.py").write_text(LOADING.format(load=load))
    text = (folder / "server.toml").read_text()
    (folder / "server.toml").write_text(text.replace('#required = ["storage"]', 'required = ["loading"]'))


async def until(condition: Callable[[], object]) -> None:
    for _ in range(int(SOON / 0.05)):
        if condition():
            return
        await task.deferLater(reactor, 0.05, lambda: None)
    raise AssertionError("it did not come")


async def echo(title: str, port: int) -> None:
    async with connect(reactor, Peer(title, "127.0.0.1", port), contexts=[VERIFICATION]) as association:
        assert (await association.echo()).is_success


# -- a server's life ---------------------------------------------------------------------------------------------------


async def test_a_life(base: Base) -> None:
    port = free_port()
    out, _ = await base.txdicom("server", "create", "ONE", "--listen", f"tcp:{port}:interface=127.0.0.1")
    assert out.startswith(f"made: {base.path}/ONE; ")
    out, _ = await base.txdicom("server", "start")
    process = base.holder("ONE")
    assert out == f"ONE is ready: 127.0.0.1:{port} (process {process})\n"
    await echo("ONE", port)
    found = await base.administrator.look(reactor, "ONE")
    assert (found.state, found.process, found.ports) == ("running", process, (f"127.0.0.1:{port}",))
    assert await base.administrator.test(reactor, "ONE") == []

    out, _ = await base.txdicom("server", "set", "server.max_clients=9", "server.admin_connections=3")
    assert out.splitlines() == ["in force: server.max_clients", "set, needs a restart: server.admin_connections"]
    text = (base.path / "ONE" / "server.toml").read_text()
    assert "\nmax_clients = 9\n" in text
    assert "## Settings of a txdicom server." in text
    shown = await base.administrator.shown_settings(reactor, "ONE", "server")
    assert [(one.name, one.in_force) for one in shown if one.needs_restart] == [("server.admin_connections", 10)]

    await base.txdicom("server", "pause")
    with pytest.raises(AssociationRejected) as raised:
        await echo("ONE", port)
    assert (raised.value.result, raised.value.source, raised.value.reason) == (2, 3, 1)
    [problem] = await base.administrator.test(reactor, "ONE")
    assert problem.startswith("it is paused")
    async with base.administrator.session(reactor, "ONE") as link:
        await link.resume()
    await echo("ONE", port)

    out, _ = await base.txdicom("server", "restart", "ONE")
    assert "ONE is ready" in out
    assert base.holder("ONE") not in {None, process}
    shown = await base.administrator.shown_settings(reactor, "ONE", "server")
    assert [one.name for one in shown if one.needs_restart] == []
    await echo("ONE", port)

    _, err = await base.txdicom("server", "remove", "ONE", "--yes", status=1)
    assert "ONE runs (process " in err
    assert (await base.txdicom("server", "stop"))[0] == "ONE is stopped\n"
    assert base.holder("ONE") is None
    await base.txdicom("server", "remove", "ONE", "--yes")
    assert os.listdir(base.path) == []


async def test_with_workers(base: Base) -> None:
    port = free_port()
    base.create("ONE", "server.workers=2", port=port)
    found = await base.administrator.start(reactor, "ONE")
    assert found.status is not None
    assert [worker.state for worker in found.status.workers] == ["running", "running"]
    assert await base.administrator.test(reactor, "ONE") == []
    assert await base.administrator.stop(reactor, "ONE") is True
    await until(lambda: not any(alive(worker.process) for worker in found.status.workers))


def alive(process: int | None) -> bool:
    """Whether it runs; one that its parent has not noticed to be dead does not."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


# -- what does not start -----------------------------------------------------------------------------------------------


async def failing(base: Base) -> list[str]:
    with pytest.raises(StartFailed) as raised:
        await base.administrator.start(reactor, "ONE")
    assert base.holder("ONE") is None
    assert (await base.administrator.look(reactor, "ONE")).state == "stopped"
    return list(raised.value.problems)


async def test_a_busy_port(base: Base) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        base.create("ONE", port=port)
        out, err = await base.txdicom("server", "start", status=1)
        assert out == ""
        assert err.startswith(f"Error: ONE: cannot listen on tcp:{port}:interface=127.0.0.1: Address already in use; ")
        assert err.count("\n") == 1
        assert base.holder("ONE") is None
        [problem] = await base.administrator.test(reactor, "ONE")
        assert problem == err.removeprefix("Error: ONE: ").strip()


async def test_an_add_in_that_cannot_be_loaded(base: Base) -> None:
    with_loading(base.create("ONE"), 'raise AddinError("no scanner is connected")')
    [problem] = await failing(base)
    assert problem == "add-in loading cannot be loaded: no scanner is connected"


async def test_the_same_with_workers(base: Base) -> None:
    with_loading(base.create("ONE", "server.workers=2"), 'raise AddinError("no scanner is connected")')
    [problem] = await failing(base)
    assert problem.endswith("add-in loading cannot be loaded: no scanner is connected")


async def test_a_licence_that_refuses(base: Base) -> None:
    folder = base.create("ONE")
    shutil.copy(ROOT / "examples" / "licence.py", folder / "configuration")
    [problem] = await failing(base)
    assert "there is no key at " in problem


async def test_settings_with_mistakes(base: Base) -> None:
    folder = base.create("ONE")
    (folder / "server.toml").write_text("[server]\nmax_clints = 1\nmax_pdu_length = 1\n")
    assert [problem.partition(": ")[0] for problem in await failing(base)] == ["server.toml:2", "server.toml:3"]


async def test_one_that_is_not_ready_in_time(base: Base) -> None:
    with_loading(base.create("ONE"), "return Deferred()")
    with pytest.raises(StartFailed, match=r"it was not ready within 4 s, and was ended; .*server\.log says how far"):
        await base.administrator.start(reactor, "ONE", timeout=4)
    assert base.holder("ONE") is None


async def test_ctrl_c_leaves_no_process(base: Base) -> None:
    with_loading(base.create("ONE"), "return Deferred()")
    starting = Command("server", "start", "--base", str(base.path))
    await until(lambda: base.holder("ONE"))
    starting.signal("INT")
    ended = await starting.ended
    assert (ended.status, ended.out, ended.err) == (130, "", "")
    assert base.holder("ONE") is None


# -- several -----------------------------------------------------------------------------------------------------------


async def test_start_all(base: Base) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        base.create("A", port=other.getsockname()[1])
        base.create("B")
        base.create("C", "server.start_mode=manual")
        base.create("D", "server.start_mode=disabled")
        out, err = await base.txdicom("server", "start", "--all", status=1)
    assert [line.split()[:3] for line in out.splitlines()] == [["B", "is", "ready:"]]
    assert [line.split()[:2] for line in err.splitlines()] == [["Error:", "A:"]]
    await base.administrator.start(reactor, "C")
    with pytest.raises(Conflict, match="start_mode is disabled"):
        await base.administrator.start(reactor, "D")
    found = await base.administrator.servers(reactor)
    assert [(one.ae_title, one.state, one.start_mode) for one in found] == [
        ("A", "stopped", "automatic"),
        ("B", "running", "automatic"),
        ("C", "running", "manual"),
        ("D", "stopped", "disabled"),
    ]
    for title in ("B", "C"):
        assert await base.administrator.stop(reactor, title) is True


async def test_watch(base: Base) -> None:
    ports = {"A": free_port(), "B": free_port()}
    for title, port in ports.items():
        base.create(title, port=port)
    await base.administrator.start(reactor, "A")
    watching = Command("client", "watch", "--json", "--base", str(base.path))
    await until(lambda: b"ServerFound" in watching.out)
    await base.administrator.start(reactor, "B")
    await until(lambda: watching.out.count(b"ServerFound") == 2)
    for title, port in ports.items():
        await echo(title, port)
    await until(lambda: watching.out.count(b"ClientDisconnected") == 2)
    await base.administrator.stop(reactor, "A")
    await until(lambda: b"ServerLost" in watching.out)
    watching.signal("INT")
    ended = await watching.ended
    assert (ended.status, ended.err) == (130, "")
    events = [(one["server"], one["event"]) for one in ended.records]
    assert [name for server, name in events if server == "A" and name != "ClientAction"] == [
        "ServerFound",
        "ClientConnected",
        "ClientAssociated",
        "ClientDisconnected",
        "ServiceShuttingDown",
        "ServerLost",
    ]
    assert {server for server, _ in events} == {"A", "B"}
    await base.administrator.stop(reactor, "B")


# -- what has gone wrong -----------------------------------------------------------------------------------------------


async def test_where_paths_are_long(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's path has 107 bytes at most (unix(7))."""
    long = tmp_path / ("t" * 120)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    base.create("ONE")
    for word, said in (("start", "ONE is ready"), ("stop", "ONE is stopped")):
        out, err = await base.txdicom("server", word, "ONE")
        assert (said in out, err) == (True, "")
    assert os.listdir(long) == []


async def test_a_server_that_was_killed(base: Base) -> None:
    base.create("ONE")
    first = (await base.administrator.start(reactor, "ONE")).process
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: base.holder("ONE") is None)
    assert (await base.administrator.look(reactor, "ONE")).state == "stopped"
    assert await base.administrator.stop(reactor, "ONE") is False
    again = await base.administrator.start(reactor, "ONE")
    assert again.process != first
    # and where no administrator can be answered, the process is told
    os.unlink(again.socket)
    found = await base.administrator.look(reactor, "ONE")
    assert (found.state, found.process) == ("not answering", again.process)
    assert await base.administrator.stop(reactor, "ONE") is True
    assert base.holder("ONE") is None
    assert "SIGTERM: stopping" in (base.path / "ONE" / "log" / "server.log").read_text()


# -- systemd's protocol ------------------------------------------------------------------------------------------------


def test_sd_notify(base: Base, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(SOON)

        def run() -> subprocess.Popen[bytes]:
            words = [*TWISTD, "-n", "--pidfile=", "dicomserver", "--base", str(base.path), "--ae-title", "ONE"]
            kept = {**environment(), "NOTIFY_SOCKET": str(tmp_path / "notify")}
            # as systemd has it: no terminal
            return subprocess.Popen(
                words, env=kept, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
            )

        def told(name: str) -> dict[str, str]:
            while True:
                fields = dict(line.split("=", 1) for line in manager.recv(65536).decode().splitlines())
                if name in fields:
                    return fields

        folder = base.create("ONE")
        process = run()
        try:
            ready = told("READY")
            assert (ready["READY"], ready.get("MAINPID", str(process.pid))) == ("1", str(process.pid))
            process.send_signal(signal.SIGHUP)
            assert told("RELOADING")["MONOTONIC_USEC"].isdigit()
            assert told("READY")["READY"] == "1"
            process.send_signal(signal.SIGTERM)
            assert told("STOPPING")["STOPPING"] == "1"
            assert process.wait(SOON) == 0
            with_loading(folder, 'raise AddinError("no scanner")')
            process = run()
            said = told("STATUS")["STATUS"]
            assert said == "cannot start: add-in loading cannot be loaded: no scanner"
            assert process.wait(SOON) == 1
        finally:
            process.kill()
            process.wait()
