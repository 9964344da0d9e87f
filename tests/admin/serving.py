"""A server without sockets, and administrators at links in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.net.wire import Wire
from txdicom.admin.client import Administrator
from txdicom.admin.listen import AdminServer
from txdicom.errors import NotFound
from txdicom.interfaces import AEEntry
from txdicom.interfaces.control import (
    AddinInfo,
    AddinOptions,
    AddinReport,
    Applied,
    ConnectedClient,
    ControlEvent,
    IServerControl,
    ServerStatus,
    ServiceAnswer,
    ServiceMessage,
    WorkerStatus,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENT = ConnectedClient(
    id=7,
    ae_title="CT1",
    address="192.0.2.7:50000",
    connected=1.5,
    last_action="C-STORE-RQ",
    last_active=2.5,
    messages=3,
    bytes_received=4,
    bytes_sent=5,
)
STATUS = ServerStatus(
    ae_title="HERE",
    display_name="",
    state="running",
    process=1,
    started=2.0,
    ports=["127.0.0.1:104"],
    connections=3,
    associations=2,
    total=9,
    workers=[WorkerStatus(index=1, process=2, state="running", connections=3, restarts=1)],
)


@implementer(IServerControl)
class FakeControl:
    """Notes what it is asked; `errors` are raised, `results` returned instead of what is usual."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.errors: dict[str, BaseException] = {}
        self.results: dict[str, Any] = {}
        self.listeners: list[Callable[[ControlEvent], None]] = []

    def _answer(self, name: str, *arguments: Any, usual: Any = None) -> Any:
        self.asked.append((name, *arguments))
        if name in self.errors:
            raise self.errors[name]
        return self.results.get(name, usual)

    def version(self) -> Any:
        return self._answer("version", usual={"txdicom": "1"})

    def status(self) -> Any:
        return self._answer("status", usual=STATUS)

    def settings(self) -> Any:
        return self._answer("settings", usual={"server": {"max_clients": 5}})

    def set_settings(self, values: Any) -> Any:
        return self._answer("set_settings", values, usual=Applied(changed=("server.max_clients",)))

    def pause(self) -> Any:
        return self._answer("pause")

    def resume(self) -> Any:
        return self._answer("resume")

    def stop(self, force: bool) -> Any:
        return self._answer("stop", force)

    def add_ae_title(self, values: Any) -> Any:
        return self._answer("add_ae_title", values)

    def update_ae_title(self, ae_title: str, values: Any) -> Any:
        return self._answer("update_ae_title", ae_title, values)

    def remove_ae_title(self, ae_title: str) -> Any:
        return self._answer("remove_ae_title", ae_title)

    def ae_titles(self) -> Any:
        return self._answer("ae_titles", usual=[AEEntry(ae_title="CT1", host="ct1", port=104)])

    def clients(self) -> Any:
        return self._answer("clients", usual=[CLIENT])

    def client_association(self, number: int) -> Any:
        if number != CLIENT.id:
            raise NotFound(f"there is no client {number}")
        return self._answer("client_association", number, usual="line\nline")

    def disconnect_client(self, number: int) -> Any:
        return self._answer("disconnect_client", number)

    def addins(self) -> Any:
        info = AddinInfo(name="storage", version="1", description="stores", author="us", has_options=False)
        return self._answer("addins", usual=[info])

    def addin_options(self, name: str) -> Any:
        return self._answer("addin_options", name, usual=AddinOptions(values={"a": 1}, json_schema={"type": "object"}))

    def set_addin_options(self, name: str, values: Any) -> Any:
        return self._answer("set_addin_options", name, values, usual=Applied(restart=("addins.told.days",)))

    def addin_health(self, name: str) -> Any:
        return self._answer("addin_health", name, usual=AddinReport(healthy=False, sentences=["it is slow"]))

    def service_message(self, message: ServiceMessage) -> Any:
        return self._answer("service_message", message, usual=ServiceAnswer(success=True, data=message.data))

    def collect_garbage(self) -> Any:
        return self._answer("collect_garbage", usual=12)

    def subscribe(self, listener: Any) -> Any:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def happen(self, name: str, **data: Any) -> None:
        for listener in [*self.listeners]:
            listener(ControlEvent(name=name, data=data))


class TurnClock(Clock):
    """As the reactor does: what is asked for in a turn comes in the next one."""

    def advance(self, amount: float) -> None:
        self.rightNow += amount
        for call in [one for one in self.calls if one.getTime() <= self.rightNow]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class Stage:
    """A server and its administrators, on one clock."""

    def __init__(self, *, connections: int = 10) -> None:
        self.clock = TurnClock()
        self.control = FakeControl()
        self.users: list[int | None] = []
        self.server = AdminServer(
            self.clock,
            self.control,
            "unused",
            connections,
            user=lambda transport: self.users.pop() if self.users else None,
        )
        self.ends: list[End] = []

    def raw(self) -> End:
        """A connection to the server, whose other end is the test."""
        end = End(self.server.buildProtocol(None))
        self.ends.append(end)
        return end

    def administrator(self, timeout: float = 30.0) -> Administrator:
        made = Administrator(self.clock, timeout)
        end = self.raw()
        end.other = End(made.link)
        self.ends.append(end.other)
        end.other.other = end
        return made

    def run(self, turns: int = 40) -> None:
        """Carries bytes and calls what is due."""
        for _ in range(turns):
            for end in self.ends:
                end.carry()
            self.clock.advance(0)

    def result(self, deferred: Deferred[Any]) -> Any:
        """What comes of a call, at once; an error is raised."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        self.run()
        assert results, "there is no answer"
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def end(self) -> None:
        for end in self.ends:
            end.lose()
        self.clock.advance(0)
        assert self.clock.getDelayedCalls() == []


class End:
    """One end of a link: its protocol, and what it has written."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.wire = Wire()
        self.other: End | None = None
        self.lost = False
        if protocol is None:
            self.lost = True
        else:
            protocol.makeConnection(self.wire)

    def carry(self) -> None:
        """What this end has written goes to the other, where that reads; a closed end ends both."""
        other = self.other
        if other is not None and not other.wire.disconnecting and other.wire.producerState == "producing":
            data = self.written()
            if data and not other.lost:
                other.protocol.dataReceived(data)
        if self.wire.closed:
            self.lose()
            if self.other is not None:
                self.other.lose()

    def lose(self) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def written(self) -> bytes:
        data = self.wire.value()
        self.wire.clear()
        return data


__all__ = ["CLIENT", "STATUS", "End", "FakeControl", "Stage"]
