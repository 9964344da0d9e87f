"""Administrators of a running server: a real socket, real processes, and DICOM beside it."""

from __future__ import annotations

import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import textwrap
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet import reactor as real_reactor
from twisted.internet import task
from twisted.internet.defer import gatherResults
from twisted.protocols.amp import AmpBox

from tests.integration.test_twistd import SOON, Workplace
from txdicom import admin
from txdicom.addins.storage import StorageAddin
from txdicom.addins.verification import VerificationAddin
from txdicom.admin.listen import LONGEST_PATH, AdminServer
from txdicom.archive.store import Store
from txdicom.errors import Conflict, ConnectionFailed, NotFound, SettingsError
from txdicom.interfaces import AEEntry
from txdicom.scp import ApplicationEntity
from txdicom.scu import Peer, connect
from txdicom.server.control.control import ServerControl
from txdicom.server.managing.manager import ServiceAdministrator
from txdicom.server.settings.tables import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from txdicom.interfaces.control import ControlEvent

reactor: Any = real_reactor
VERSION = AmpBox({b"_command": b"Version", b"_ask": b"1"}).serialize()
SUBSCRIBE = AmpBox({b"_command": b"Subscribe", b"_ask": b"1"}).serialize()


class Running:
    def __init__(self, folder: Path, connections: int, titles: int) -> None:
        callers = [AEEntry(ae_title=f"AE{number:05}", host="h") for number in range(titles)]
        addins = [VerificationAddin(), StorageAddin(Store(str(folder / "store"), flush=False))]
        self.entity = ApplicationEntity(reactor, "HERE", addins, known_callers=callers)
        self.stopped: list[bool] = []
        live: Any = SimpleNamespace(settings=Settings(), watch=lambda listener: None)
        self.control = ServerControl(reactor, self.entity, live, self.stopped.append)
        self.path = str(folder / "HERE.sock")
        self.server = AdminServer(reactor, self.control, self.path, connections)
        self.peer = Peer("HERE", "127.0.0.1", 0)

    async def start(self) -> None:
        await self.entity.bind("tcp:0:interface=127.0.0.1")
        await self.entity.start()
        self.server.start()
        self.peer = Peer("HERE", "127.0.0.1", self.entity.ports[0].getHost().port)

    async def echo(self) -> None:
        async with connect(reactor, self.peer, calling_ae="CALLER") as association:
            assert (await association.echo()).is_success

    def raw(self) -> socket.socket:
        """A blocking connection, to be used from outside of the reactor."""
        made = socket.socket(socket.AF_UNIX)
        made.connect(self.path)
        made.setblocking(False)
        return made


@asynccontextmanager
async def running(folder: Path, *, connections: int = 10, titles: int = 0) -> AsyncGenerator[Running]:
    made = Running(folder, connections, titles)
    await made.start()
    try:
        yield made
    finally:
        await made.entity.stop()
        await made.server.stop()
        assert os.listdir(folder) in (["store"], [])


async def rest(seconds: float = 0.0) -> None:
    await task.deferLater(reactor, seconds, lambda: None)


async def until(condition: Any) -> None:
    for _ in range(2000):
        if condition():
            return
        await rest(0.005)
    raise AssertionError("it did not come")


def send(link: socket.socket, data: bytes) -> int:
    try:
        return link.send(data)
    except BlockingIOError:
        return 0


def ended(link: socket.socket) -> bool:
    try:
        return not link.recv(1 << 20)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest_twisted.ensureDeferred
async def test_a_session(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o600
        one = await admin.connect(reactor, server.path)
        assert (await one.status()).state == "running"
        assert (await one.version())["txdicom"]
        assert (await one.settings())["server"]["ae_title"]
        assert [addin.name for addin in await one.addins()] == ["storage", "verification"]
        await one.add_ae_title("CT1", host="ct1", port=105)
        await one.update_ae_title("CT1", {"port": 106})
        assert await one.ae_titles() == [AEEntry(ae_title="CT1", host="ct1", port=106)]
        await one.remove_ae_title("CT1")
        events: list[ControlEvent] = []
        await one.subscribe(events.append)
        async with connect(reactor, server.peer, calling_ae="CALLER") as association:
            await association.echo()
            [client] = await one.clients()
            assert (client.ae_title, client.last_action) == ("CALLER", "C-ECHO-RQ")
            assert "Verification" in await one.client_association(client.id)
            assert (await one.total_clients())["associations"] == 1
            await until(lambda: "ClientAction" in [event.name for event in events])
        await until(lambda: "ClientDisconnected" in [event.name for event in events])
        assert (await one.addin_health("verification")).healthy
        with pytest.raises(NotFound):
            await one.service_message("sweep")
        assert await one.collect_garbage() >= 0
        await one.pause()
        assert (await one.status()).state == "paused"
        await one.resume()
        await one.stop()
        await until(lambda: server.stopped == [False])
        await one.close()


@pytest_twisted.ensureDeferred
async def test_disconnecting_a_client(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        one = await admin.connect(reactor, server.path)
        async with connect(reactor, server.peer, calling_ae="CALLER") as association:
            await association.echo()
            [client] = await one.clients()
            await one.disconnect_client(client.id)
            await until(lambda: not server.entity.acceptor.associations)
        await one.close()


@pytest_twisted.ensureDeferred
async def test_ten_at_once_and_no_more(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        ten = await gatherResults([admin.connect(reactor, server.path) for _ in range(10)])
        for _ in range(3):
            with pytest.raises(Conflict, match="10 administrators already"):
                await admin.connect(reactor, server.path)
        answers = await gatherResults([one.status() for one in ten for _ in range(20)])
        assert {answer.state for answer in answers} == {"running"}
        await ten[0].close()
        await until(lambda: len(server.server._links) == 9)
        again = await admin.connect(reactor, server.path)
        await gatherResults([one.close() for one in [again, *ten[1:]]])


@pytest_twisted.ensureDeferred
async def test_ten_thousand_ae_titles(tmp_path: Path) -> None:
    async with running(tmp_path, titles=10_000) as server:
        one = await admin.connect(reactor, server.path)
        begin = reactor.seconds()
        entries = await one.ae_titles()
        assert [entry.ae_title for entry in entries] == [f"AE{number:05}" for number in range(10_000)]
        assert reactor.seconds() - begin < 20
        await one.close()


@pytest_twisted.ensureDeferred
async def test_dicom_goes_on_beside_flood_stall_and_rubbish(tmp_path: Path) -> None:
    async with running(tmp_path, titles=2000) as server:
        flooder, staller, lazy, half, idle = (server.raw() for _ in range(5))
        pages = AmpBox({b"_command": b"GetAeTitles", b"_ask": b"1", b"limit": b"1000"}).serialize()
        flood, stall = VERSION * 1000, pages * 1000  # the second never reads its answers
        send(lazy, SUBSCRIBE)
        send(half, VERSION[:9])
        longest = 0.0
        other = await admin.connect(reactor, server.path)
        for number in range(20):
            flood = flood[send(flooder, flood) :] or VERSION * 1000
            ended(flooder)
            stall = stall[send(staller, stall) :] or pages * 1000
            with server.raw() as rubbish:
                send(rubbish, os.urandom(5000))
                begin = reactor.seconds()
                await server.echo()
                longest = max(longest, reactor.seconds() - begin)
            assert (await other.status()).total == number + 1
        assert longest < 2
        # what is kept for the one that does not read is little, however much it asks for
        stalled = sum(len(link.transport.dataBuffer) for link in server.server._links if link._blocked)
        assert stalled < 2 << 20
        await other.close()
        for link in (flooder, staller, lazy, half, idle):
            link.close()
        await until(lambda: not server.server._links)


@pytest_twisted.ensureDeferred
async def test_an_oversized_box(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        link = server.raw()
        part = struct.pack(">H", 65_535) + bytes(65_535)
        data = b"".join(b"\x00\x03%03d" % number + part for number in range(100))
        sent = 0
        while sent < len(data) and not ended(link):
            try:
                sent += send(link, data[sent : sent + 65_536])
            except ConnectionError:
                break
            await rest()
        assert 4 << 20 < sent < len(data)
        await until(lambda: not server.server._links)
        link.close()


@pytest_twisted.ensureDeferred
async def test_descriptors_that_come_along_are_closed(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        link = server.raw()
        send(link, VERSION)
        await until(lambda: not ended(link) and server.server._links)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            socket.send_fds(link, [VERSION], [0, 1, 2])
            await rest(0.002)
        assert len(os.listdir("/proc/self/fd")) == before
        link.close()
        await until(lambda: not server.server._links)


@pytest_twisted.ensureDeferred
async def test_a_subscriber_that_does_not_read(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        lazy = server.raw()
        send(lazy, SUBSCRIBE)
        keen = await admin.connect(reactor, server.path)
        heard: list[ControlEvent] = []
        await keen.subscribe(heard.append)
        told = 0
        while len(server.server._links) == 2:
            server.control._clients.tell("ClientAction", text="x" * 20_000)
            told += 1
            assert told < 200
            await rest()
        await until(lambda: len(heard) == told)
        assert (await keen.status()).state == "running"
        await keen.close()
        lazy.close()


# -- the socket --------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_nobody_is_there(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match="no server answers at"):
        await admin.connect(reactor, str(tmp_path / "none.sock"))


def server_at(path: Path) -> AdminServer:
    return AdminServer(reactor, None, str(path))


@pytest_twisted.ensureDeferred
async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
        stale.listen()
    server = server_at(path)
    server.start()
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
    await rest(0.01)
    await server.stop()
    assert not path.exists()


@pytest_twisted.ensureDeferred
async def test_a_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    first = server_at(tmp_path / "a.sock")
    first.start()
    with pytest.raises(SettingsError, match=r"another program answers.*admin_socket"):
        server_at(tmp_path / "a.sock").start()
    await rest(0.01)
    await first.stop()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.sock").write_text("precious")
    with pytest.raises(SettingsError, match=r"is no socket.*admin_socket"):
        server_at(tmp_path / "a.sock").start()
    assert (tmp_path / "a.sock").read_text() == "precious"


@pytest_twisted.ensureDeferred
async def test_a_path_of_the_longest_kind_and_one_byte_more(tmp_path: Path) -> None:
    path = Path("/tmp") / f"{os.getpid()}-"
    path = path.with_name(path.name + "x" * (LONGEST_PATH - len(str(path))))
    server = server_at(path)
    server.start()
    await server.stop()
    assert not path.exists()
    with pytest.raises(SettingsError, match="admin_socket"):
        server_at(path.with_name(path.name + "x"))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="admin_socket"):
        server_at(tmp_path / "none" / "a.sock").start()


@pytest.mark.parametrize("what", ["removed", "replaced"])
@pytest_twisted.ensureDeferred
async def test_a_socket_that_is_not_ours_any_more(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.sock"
    server = server_at(path)
    server.start()
    path.unlink()
    if what == "replaced":
        path.write_text("another's")
    await server.stop()
    assert path.exists() is (what == "replaced")


#: tries to connect as another user, and says what comes of it; argv is the path
STRANGER = """
    import os, socket, sys
    os.setgid(65534); os.setuid(65534)
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(20)
    try:
        link.connect(sys.argv[1])
        link.send(b"\\0\\x04_ask\\0\\x011\\0\\x08_command\\0\\x07Version\\0\\0")
        print("read", len(link.recv(1000)))
    except ConnectionError:
        print("read 0")
    except OSError as error:
        print(type(error).__name__)
"""


async def as_stranger(path: str) -> str:
    process = subprocess.Popen(  # noqa: ASYNC220 (waited for below, while the reactor runs)
        [sys.executable, "-c", textwrap.dedent(STRANGER), path], stdout=subprocess.PIPE, text=True, cwd="/"
    )
    await until(lambda: process.poll() is not None)
    return process.communicate()[0].strip()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may look into: only a socket's own mode keeps them out."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest_twisted.ensureDeferred
async def test_another_user_cannot_connect(open_folder: Path) -> None:
    async with running(open_folder) as server:
        assert await as_stranger(server.path) == "PermissionError"
        os.chmod(server.path, 0o666)
        assert await as_stranger(server.path) == "read 0"  # and then the system says who he is
        one = await admin.connect(reactor, server.path)
        assert (await one.status()).state == "running"
        await one.close()


# -- twistd ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    made = Workplace(tmp_path)
    yield made
    made.stop_all()


@pytest_twisted.ensureDeferred
async def test_a_server_of_twistd(workplace: Workplace, free_port: int) -> None:
    process = workplace.start("--listen", f"tcp:{free_port}:interface=127.0.0.1")
    manager = ServiceAdministrator(str(workplace.base))
    [found] = await manager.servers(reactor)
    assert (found.ae_title, found.running, found.socket) == ("TXDICOM", True, str(workplace.home / "TXDICOM.sock"))
    one = await manager.connect(reactor, "TXDICOM")
    status = await one.status()
    assert (status.process, status.ports) == (process.pid, [f"127.0.0.1:{free_port}"])
    assert (await one.settings())["archive"]["store"] == str(workplace.home / "store")
    await one.add_ae_title("CT1", host="ct1")
    assert "CT1" in (workplace.home / "aetitles.toml").read_text()
    events: list[ControlEvent] = []
    await one.subscribe(events.append)
    await one.stop()
    await one.when_lost()
    assert [event.name for event in events] == ["ServiceShuttingDown"]
    assert process.wait(SOON) == 0
    assert "TXDICOM.sock" not in os.listdir(workplace.home)
    [found] = await manager.servers(reactor)
    assert not found.running
    with pytest.raises(ConnectionFailed, match="no server answers"):
        await manager.connect(reactor, "TXDICOM")
    audit = (workplace.home / "log" / "audit.jsonl").read_text()
    assert '"administrator"' in audit
    assert "AddAeTitle CT1" in audit


@pytest_twisted.ensureDeferred
async def test_force_aborts_what_is_running(workplace: Workplace, free_port: int) -> None:
    process = workplace.start("--listen", f"tcp:{free_port}:interface=127.0.0.1")
    one = await ServiceAdministrator(str(workplace.base)).connect(reactor, "TXDICOM")
    await one.stop(force=True)
    await one.when_lost()
    assert process.wait(SOON) == 0


def test_a_socket_that_cannot_be(workplace: Workplace) -> None:
    long = "x" * 120
    run = workplace.run("-n", "--pidfile=", options=("--listen", "tcp:0", "--set", f"server.admin_socket={long}"))
    assert run.returncode == 1
    assert "admin_socket" in run.stderr
    assert "Traceback" not in run.stderr


@pytest_twisted.ensureDeferred
async def test_a_server_that_was_killed_leaves_nothing_in_the_way(workplace: Workplace, free_port: int) -> None:
    process = workplace.start("--listen", f"tcp:{free_port}:interface=127.0.0.1")
    process.kill()
    process.wait()
    assert (workplace.home / "TXDICOM.sock").exists()
    manager = ServiceAdministrator(str(workplace.base))
    assert not (await manager.servers(reactor))[0].running
    workplace.start("--listen", f"tcp:{free_port}:interface=127.0.0.1")
    assert (await manager.servers(reactor))[0].running


@pytest_twisted.ensureDeferred
async def test_a_base_without_servers(tmp_path: Path) -> None:
    manager = ServiceAdministrator(str(tmp_path))
    assert await manager.servers(reactor) == []
    with pytest.raises(NotFound, match="there is no server NONE"):
        await manager.connect(reactor, "NONE")
    (tmp_path / "BAD").mkdir()
    (tmp_path / "BAD" / "server.toml").write_text("[server\n")
    [found] = await manager.servers(reactor)
    assert (found.ae_title, found.running) == ("BAD", False)
