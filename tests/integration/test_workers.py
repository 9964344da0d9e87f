"""A server of several processes, as a user runs it: real ports, real signals, real deaths."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.certificates import HOSTS, Authority
from tests.integration import test_twistd
from tests.integration.test_twistd import ASSOCIATE_RQ, SOON, TWISTD, Workplace
from tests.scu.provider import write_many
from txdicom.admin import connect as administrate
from txdicom.errors import AssociationRejected, DicomError
from txdicom.net.tls import TLS
from txdicom.scu import Peer, StoreScu, connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from txdicom.admin import Administrator
    from txdicom.interfaces.control import ServerStatus


class Workers(Workplace):
    """A workplace whose server has two workers."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder)
        self.port = port
        self.options = ["--listen", f"tcp:{port}:interface=127.0.0.1", "--set", "server.workers=2"]

    def serve(self, *settings: str) -> subprocess.Popen[bytes]:
        return self.start(*self.options, *(word for one in settings for word in ("--set", one)))

    def addin(self, name: str, text: str) -> None:
        folder = self.home / "addins"
        folder.mkdir(parents=True, mode=0o700)
        self.home.chmod(0o700)
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)

    def processes(self) -> list[int]:
        """The workers that were ever started."""
        return [int(one) for one in re.findall(r"worker \d is process (\d+)", self.text())]

    def call(self, calling_ae: str = "CALLER", **options: Any) -> Any:
        return connect(reactor, Peer("TXDICOM", "127.0.0.1", self.port), calling_ae=calling_ae, **options)

    def administrator(self) -> Awaitable[Administrator]:
        return administrate(reactor, str(self.home / "TXDICOM.sock"))

    async def status(self) -> ServerStatus:
        administrator = await self.administrator()
        try:
            return await administrator.status()
        finally:
            await administrator.close()

    def stop(self, process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> int:
        process.send_signal(how)
        return process.wait(SOON)


@pytest.fixture
def place(tmp_path: Path, free_port: int) -> Iterator[Workers]:
    made = Workers(tmp_path, free_port)
    yield made
    made.stop_all()
    deadline = time.monotonic() + SOON
    while any(map(alive, made.processes() if made.output.exists() else [])):
        assert time.monotonic() < deadline, "a worker has outlived its parent"
        time.sleep(0.02)


def alive(process: int) -> bool:
    """Whether it runs; one that has ended and is not reaped does not."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + SOON
    while not await condition():
        assert time.monotonic() < deadline, "it did not come about"
        await deferLater(reactor, 0.05)


async def opened(*calls: Any) -> None:
    for call in calls:
        await call.open()


async def test_eight_associations_are_split_four_to_four(place: Workers, tmp_path: Path) -> None:
    server = place.serve()
    made = [place.call() for _ in range(8)]
    await opened(*made)
    assert [(await one.echo()).is_success for one in made] == [True] * 8
    administrator = await place.administrator()
    status = await administrator.status()
    assert [worker.connections for worker in status.workers] == [4, 4]
    assert [worker.process for worker in status.workers] == place.processes()
    assert (status.connections, status.associations, status.total, status.process) == (8, 8, 8, server.pid)
    clients = await administrator.clients()
    assert [client.id for client in clients] == list(range(1, 9))
    await administrator.disconnect_client(4)
    await until(lambda: connections(administrator, 7))
    await administrator.close()
    paths = write_many(tmp_path, 40)
    async with StoreScu(reactor, Peer("TXDICOM", "127.0.0.1", place.port), associations=4) as scu:
        results = [result async for result in scu.store(paths)]
    assert all(result.stored for result in results)
    stored = [name for _, _, names in os.walk(place.home / "store") for name in names if name.endswith(".dcm")]
    assert len(stored) == 40
    assert place.stop(server) == 0
    assert not any(map(alive, place.processes()))
    lines = place.text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (info   |warning) ", line) for line in lines), place.text()
    assert lines[-1].endswith("info    stopped")
    numbers = re.findall(r"association (\d+): ", place.text())
    assert sorted(map(int, numbers)) == list(range(1, 13))
    for one in made:
        await one.abort()


async def connections(administrator: Administrator, count: int) -> bool:
    return (await administrator.status()).connections == count


async def test_limits_hold_over_all_workers(place: Workers) -> None:
    server = place.serve("server.max_clients=3", "server.max_clients_per_ae=2", "server.max_half_open=4")
    first, second, other = place.call("A"), place.call("A"), place.call("B")
    await opened(first, second, other)
    with pytest.raises(AssociationRejected) as raised:
        await place.call("C").open()
    assert (raised.value.result, raised.value.source, raised.value.reason) == (2, 3, 2)
    await other.release()
    await until(lambda: fits(place, "B"))
    with pytest.raises(AssociationRejected):
        await place.call("A").open()
    await first.release()
    await until(lambda: fits(place, "A"))
    await second.release()
    # those who were rejected may still be there; the fifth without an association is closed without a PDU
    half_open = [socket.create_connection(("127.0.0.1", place.port)) for _ in range(5)]
    half_open[-1].settimeout(SOON)
    assert half_open[-1].recv(1) == b""
    for one in half_open:
        one.close()
    assert place.stop(server) == 0
    assert " of C at 127.0.0.1:" in place.text()
    assert "connections without an association already (max_half_open)" in place.text()


async def fits(place: Workers, calling_ae: str) -> bool:
    """Whether there is room; the end of one before may be on its way."""
    try:
        async with place.call(calling_ae):
            return True
    except AssociationRejected:
        return False


async def test_a_worker_that_dies(place: Workers) -> None:
    server = place.serve("server.max_clients=4")
    made = [place.call() for _ in range(4)]
    await opened(*made)
    victim = place.processes()[0]
    os.kill(victim, signal.SIGKILL)
    place.wait_for(r"worker 1 \(process \d+\) has ended: signal 9 \(SIGKILL\); its 2 connections are lost")
    echoes = [await outcome(one) for one in made]
    assert sorted(echoes) == [False, False, True, True]
    # its slots are free, and the other takes connections
    more = [place.call() for _ in range(2)]
    await opened(*more)
    place.wait_for(r"worker 1 is process \d+\n(.*\n)*.*worker 1 is process \d+")
    await until(lambda: all_ready(place))
    for one in more:
        await one.release()
    last = place.call()
    await until(lambda: fits(place, "CALLER"))
    await last.open()
    status = await place.status()
    assert [worker.connections for worker in status.workers] == [1, 2]
    assert [worker.restarts for worker in status.workers] == [1, 0]
    assert place.stop(server) == 0
    for one in (*made, last):
        await one.abort()


async def outcome(association: Any) -> bool:
    try:
        return bool((await association.echo()).is_success)
    except DicomError:
        return False


async def all_ready(place: Workers) -> bool:
    return all(worker.state == "running" for worker in (await place.status()).workers)


async def test_newcomers_are_told_to_come_again_while_workers_drain(place: Workers) -> None:
    server = place.serve("server.drain_timeout=600")
    with socket.create_connection(("127.0.0.1", place.port)) as busy:
        busy.sendall(ASSOCIATE_RQ)
        assert busy.recv(1)[0] == 2
        busy.sendall(bytes.fromhex("0400 0000000a 00000006 01 01 00000000"))
        await deferLater(reactor, 0.2)
        server.send_signal(signal.SIGTERM)
        place.wait_for(r"worker 2 has ended: status 0")
        with pytest.raises(AssociationRejected) as raised:
            await place.call().open()
        assert (raised.value.result, raised.value.source, raised.value.reason) == (2, 3, 1)
        assert place.stop(server, signal.SIGINT) == 0
    assert "SIGINT again: what is running is aborted" in place.text()


async def test_a_parent_that_is_killed_takes_its_workers_along(place: Workers) -> None:
    server = place.serve()
    processes = place.processes()
    assert len(processes) == 2
    server.kill()
    server.wait()

    async def gone() -> bool:
        return not any(map(alive, processes))

    await until(gone)


async def test_a_restart_waits_for_what_a_killed_server_leaves(place: Workers) -> None:
    """Its workers have the staging folders until what they do is done, for a short time; idle associations end."""
    server = place.serve("server.drain_timeout=600")
    with (
        socket.create_connection(("127.0.0.1", place.port)) as busy,
        socket.create_connection(("127.0.0.1", place.port)) as idle,
    ):
        for one in (busy, idle):
            one.settimeout(SOON)
            one.sendall(ASSOCIATE_RQ)
            assert one.recv(1)[0] == 2
        busy.sendall(bytes.fromhex("0400 0000000a 00000006 01 01 00000000"))
        await deferLater(reactor, 0.2)
        before = place.processes()
        server.kill()
        server.wait()
        killed = time.monotonic()
        while idle.recv(4096):
            pass
        assert time.monotonic() - killed < 4
        assert any(map(alive, before))
        server = place.serve("server.drain_timeout=600")
        answers = b"".join(iter(lambda: busy.recv(4096), b""))
        assert answers[-10:-4].hex() == "070000000004", "it was not aborted in order"
        assert time.monotonic() - killed < 12
        assert not any(map(alive, before))
    assert await fits(place, "CALLER")
    assert place.stop(server) == 0


def test_no_module_comes_from_the_folder_it_is_started_in(place: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with twistd's script, which has its own folder in that place."""
    monkeypatch.setattr(test_twistd, "TWISTD", (TWISTD[0], "-P", *TWISTD[1:]))
    for name in ("twisted", "txdicom", "zope", "json"):
        (place.folder / f"{name}.py").write_text("raise SystemExit('a file of whoever may write here')")
    server = place.serve()
    assert place.stop(server) == 0
    assert "whoever" not in place.text()


def test_a_terminals_interrupt_reaches_them_all(place: Workers) -> None:
    """It goes to the whole group of processes, and the parent decides: what is running may finish."""
    place.start_options["start_new_session"] = True
    server = place.serve("server.drain_timeout=600")
    with socket.create_connection(("127.0.0.1", place.port)) as busy:
        busy.sendall(ASSOCIATE_RQ)
        assert busy.recv(1)[0] == 2
        busy.sendall(bytes.fromhex("0400 0000000a 00000006 01 01 00000000"))
        time.sleep(0.2)
        os.killpg(server.pid, signal.SIGINT)
        place.wait_for("worker 2 has ended: status 0")
        time.sleep(0.3)
        assert alive(place.processes()[0])
        os.killpg(server.pid, signal.SIGINT)
        assert server.wait(SOON) == 0
    assert "aborted amid an operation" not in place.text()
    assert "the server was stopped at once" in place.text()


def test_a_port_in_use(place: Workers) -> None:
    with socket.create_server(("127.0.0.1", place.port)):
        run = place.run("-n", "--pidfile=", options=tuple(place.options))
    assert run.returncode == 1
    assert "Address already in use; another program has this port" in run.stderr
    assert "Traceback" not in run.stderr


ADDIN = """
from zope.interface import implementer
from txdicom.errors import DicomError
from txdicom.interfaces import IDicomAddin

@implementer(IDicomAddin)
class It:
    name, version, description, author = "it", "1", "", ""

    def load(self, server):
        LOAD

    def unload(self):
        pass
"""


def test_an_add_in_that_fails_ends_the_start(place: Workers) -> None:
    place.addin("it.py", ADDIN.replace("LOAD", "raise DicomError('it has no licence')"))
    run = place.run("-n", "--pidfile=", options=(*place.options, "--set", "addins.required=it"))
    assert run.returncode == 1
    sentences = re.findall(r"error   (.*)", run.stdout)
    assert sentences == ["the server TXDICOM cannot start: add-in it cannot be loaded: it has no licence"]
    assert "Traceback" not in run.stdout + run.stderr
    assert run.stdout.endswith("stopped\n")


async def test_workers_that_die_again_and_again_keep_neither_the_machine_busy_nor_the_door_closed(
    place: Workers,
) -> None:
    place.addin("it.py", ADDIN.replace("LOAD", DIE))
    began = time.monotonic()
    server = place.serve()

    async def often_ready() -> bool:
        return place.text().count("is ready\n") >= 10

    await until(often_ready)
    assert "started again in 2 s" not in place.text()
    assert len(place.processes()) <= 4 + 2 * (time.monotonic() - began)
    # what an interpreter says at its end is in the log
    assert "wrote: Fatal Python error: Aborted" in place.text()
    assert place.stop(server) == 0


DIE = """import os
        from twisted.internet import reactor
        reactor.callLater(0.3, os.abort)"""


async def test_tls_is_done_by_the_workers(place: Workers, tmp_path: Path) -> None:
    ca = Authority(tmp_path / "tls")
    pair = ca.issue("server", *HOSTS)
    place.options = ["--set", "server.listen=[]", "--set", "server.workers=2"]
    server = place.serve(
        f"server.secure_listen=tcp:{place.port}:interface=127.0.0.1",
        f"tls.certificate={pair.files['certificate']}",
        f"tls.key={pair.files['key']}",
        "tls.client_certificate=none",
    )
    made = [place.call(tls=TLS(ca=ca.path)) for _ in range(2)]
    await opened(*made)
    assert all([(await one.echo()).is_success for one in made])
    assert [worker.connections for worker in (await place.status()).workers] == [1, 1]
    for one in made:
        await one.release()
    assert place.stop(server) == 0
    assert len(re.findall(r"connection \d is secure: TLSv1.3", place.text())) == 2


def test_a_socket_in_the_file_system(place: Workers) -> None:
    path = str(place.folder / "s")
    place.options = ["--listen", f"unix:{path}", "--set", "server.workers=2"]
    server = place.serve()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SOON)
        connection.connect(path)
        connection.sendall(ASSOCIATE_RQ)
        assert connection.recv(1)[0] == 2
    assert place.stop(server) == 0
    assert "association 1: HALF at a local socket to TXDICOM" in place.text()


async def test_settings_that_are_read_again(place: Workers) -> None:
    place.start_options["start_new_session"] = True  # on a terminal, its end stops the server
    server = place.serve()
    first = place.call("A")
    await first.open()
    settings = place.home / "server.toml"
    settings.write_text(settings.read_text().replace("[server]", "[server]\nmax_clients_per_ae = 1\nworkers = 3"))
    server.send_signal(signal.SIGHUP)
    place.wait_for(r"settings and files were read again; changed: server.max_clients_per_ae")
    with pytest.raises(AssociationRejected):
        await place.call("A").open()
    assert (await first.echo()).is_success
    await first.release()
    administrator = await place.administrator()
    applied = await administrator.set_settings({"server": {"max_clients_per_ae": 0, "check_called_ae": False}})
    await administrator.close()
    assert set(applied.changed) == {"server.max_clients_per_ae", "server.check_called_ae"}
    calls = [connect(reactor, Peer("WHOEVER", "127.0.0.1", place.port), calling_ae="A") for _ in range(4)]
    await opened(*calls)
    for one in calls:
        await one.release()
    # a worker that starts now begins with what holds now
    os.kill(place.processes()[1], signal.SIGKILL)
    place.wait_for(r"worker 2 is process \d+\n(.*\n)*.*worker 2 is process \d+")
    await until(lambda: all_ready(place))
    await opened(*calls[:2])
    assert place.stop(server) == 0
    for one in calls:
        await one.abort()


async def test_a_flood_of_connections_leaves_nothing_behind(place: Workers) -> None:
    server = place.serve()
    before = len(os.listdir(f"/proc/{server.pid}/fd"))
    for _ in range(10):
        flood = [socket.create_connection(("127.0.0.1", place.port)) for _ in range(20)]
        for one in flood:
            one.close()
        await deferLater(reactor, 0.02)  # the system keeps 50 that are not accepted yet

    async def empty() -> bool:
        return (await place.status()).connections == 0

    await until(empty)
    await deferLater(reactor, 0.1)
    assert len(os.listdir(f"/proc/{server.pid}/fd")) <= before
    for process in place.processes():
        assert len(os.listdir(f"/proc/{process}/fd")) < 40
    assert await fits(place, "CALLER")
    assert place.stop(server) == 0


def test_in_the_background(place: Workers) -> None:
    """A socket in the file system is opened after the launcher has gone."""
    path = str(place.folder / "s")
    run = place.run("--pidfile=server.pid", options=(*place.options, "--listen", f"unix:{path}"))
    assert run.returncode == 0, run.stderr
    log = place.home / "log" / "server.log"
    place.wait_for("ready: ", path=log)
    with socket.create_connection(("127.0.0.1", place.port)) as connection:
        connection.settimeout(SOON)
        connection.sendall(ASSOCIATE_RQ)
        assert connection.recv(1)[0] == 2
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SOON)
        connection.connect(path)
        connection.sendall(ASSOCIATE_RQ)
        assert connection.recv(1)[0] == 2
    os.kill(int(place.pidfile.read_text()), signal.SIGTERM)
    place.wait_for("info    stopped", path=log)
    assert "association 1: HALF" in log.read_text()
    audit = [json.loads(line)["audit"] for line in (place.home / "log" / "audit.jsonl").read_text().splitlines()]
    assert [audit[0], audit[-1]] == ["server-started", "server-stopped"]
    assert sorted(audit[1:-1]) == ["association-ended"] * 2 + ["association-opened"] * 2
    deadline = time.monotonic() + SOON
    while place.pidfile.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
