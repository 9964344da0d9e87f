"""A server of several processes as its administrators see it: the parent's control over workers at links in memory."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.admin.serving import CLIENT, STATUS
from tests.admin.serving import Stage as Served
from txdicom.errors import BadArgument, Conflict, InternalError, NotFound
from txdicom.interfaces import AEEntry, ServiceMessage
from txdicom.interfaces.control import (
    AddinReport,
    Applied,
    ControlEvent,
    IServerControl,
    ServiceAnswer,
    WorkerStatus,
)
from txdicom.server.settings.tables import Settings
from txdicom.server.workers.control import PATIENCE, WorkersControl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Worker:
    """A worker: its control is a fake, its link is real."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.process = 100 + index
        self.state = "ready"
        self.connections = 10 * index
        self.served = Served()
        self.control = self.served.control
        self.administrator: Any = self.served.administrator()
        self.silent = False

    def end(self) -> None:
        self.state = "ended"
        self.connections = 0
        self.administrator = None
        self.served.ends[0].lose()
        self.served.ends[1].lose()


class Live:
    """What the control asks of a `LiveSettings`."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.asked: list[Any] = []
        self.watch = self.asked.append

    async def set(self, values: Any) -> Applied:
        self.asked.append(values)
        return Applied(changed=("server.max_clients",))

    async def set_addin_options(self, name: str, values: Any) -> Applied:
        self.asked.append((name, values))
        return Applied(restart=("addins.told.days",))


class Stage:
    """The parent and two workers."""

    def __init__(self, folder: Path) -> None:
        self.ae_file = folder / "aetitles.toml"
        self.workers = [Worker(1), Worker(2)]
        self.clock = Served().clock
        self.pool: Any = SimpleNamespace(
            workers=self.workers, associations=7, total=99, worker_of=lambda number: self.owners.get(number)
        )
        self.owners = {7: self.workers[1]}
        self.live: Any = Live()
        self.stopped: list[bool] = []
        self.events: list[ControlEvent] = []
        self.control = WorkersControl(
            self.clock, self.pool, self.live, lambda: ["127.0.0.1:104"], self.stopped.append, str(self.ae_file)
        )

    def run(self, seconds: float = 0) -> None:
        self.clock.advance(seconds)
        for _ in range(3):
            for worker in self.workers:
                if not worker.silent:
                    worker.served.run()

    def ask(self, method: str, *arguments: Any, seconds: float = 0) -> Any:
        """What an administrator gets."""
        results: list[Any] = []
        asked = getattr(self.control, method)(*arguments)
        asking = asked if isinstance(asked, Deferred) else Deferred.fromCoroutine(asked)
        asking.addBoth(results.append)
        self.run()
        if not results:
            self.run(seconds)
        assert results, "there is no answer"
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def listen(self) -> Any:
        end = self.control.subscribe(self.events.append)
        self.run()
        return end

    def restarted(self) -> Worker:
        """The first worker has ended, and its successor is ready."""
        self.workers[0].end()
        self.control.lost(self.workers[0])  # type: ignore[arg-type]
        self.workers[0] = Worker(1)
        self.ask("welcome", self.workers[0])
        return self.workers[0]

    def asked(self, name: str) -> list[list[Any]]:
        """With what each worker was asked for something."""
        return [[one[1:] for one in worker.control.asked if one[0] == name] for worker in self.workers]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    for worker in made.workers:
        made.ask("welcome", worker)
    yield made
    for worker in made.workers:
        worker.silent = False
        worker.served.end()
    assert made.clock.getDelayedCalls() == []


def test_it_is_a_control(stage: Stage) -> None:
    verifyObject(IServerControl, stage.control)
    assert stage.control.version().keys() >= {"txdicom", "python"}


# -- the server --------------------------------------------------------------------------------------------------------


def test_status(stage: Stage) -> None:
    status = stage.ask("status")
    assert replace(status, started=0.0) == replace(
        STATUS,
        ae_title="TXDICOM",
        state="running",
        process=os.getpid(),
        started=0.0,
        connections=30,
        associations=7,
        total=99,
        workers=[
            WorkerStatus(index=1, process=101, state="running", connections=10, restarts=0),
            WorkerStatus(index=2, process=102, state="running", connections=20, restarts=0),
        ],
    )


def states(stage: Stage, seconds: float = 0) -> list[tuple[str, int | None, int]]:
    return [(one.state, one.process, one.restarts) for one in stage.ask("status", seconds=seconds).workers]


def test_states_of_workers(stage: Stage) -> None:
    stage.workers[0].silent = True
    assert states(stage, PATIENCE) == [("silent", 101, 0), ("running", 102, 0)]
    stage.workers[0].end()
    stage.workers[1].state = "draining"
    assert states(stage) == [("starting", None, 0), ("stopping", 102, 0)]
    stage.restarted()
    stage.restarted()
    assert states(stage) == [("running", 101, 2), ("stopping", 102, 0)]


def test_all_are_paused_and_so_is_who_comes_later(stage: Stage) -> None:
    stage.ask("pause")
    assert stage.asked("pause") == [[()], [()]]
    assert stage.ask("status").state == "paused"
    assert states(stage)[1][0] == "paused"
    stage.restarted()
    assert stage.asked("pause") == [[()], [()]]
    stage.ask("resume")
    assert stage.asked("resume") == [[()], [()]]
    assert stage.ask("status").state == "running"
    stage.restarted()
    assert stage.asked("pause") == [[], [()]]


def test_a_worker_that_does_not_answer_is_named_and_holds_up_none(stage: Stage) -> None:
    stage.workers[1].silent = True
    for method in ("pause", "resume", "clients", "collect_garbage"):
        with pytest.raises(InternalError, match=r"worker 2 \(process 102\) has not answered within 10 s"):
            stage.ask(method, seconds=PATIENCE)
    with pytest.raises(InternalError, match="worker 2"):
        stage.ask("client_association", 7, seconds=PATIENCE)
    assert stage.ask("ae_titles", seconds=PATIENCE)[0].ae_title == "CT1"


def test_a_worker_that_ends_meanwhile(stage: Stage) -> None:
    answers: list[Any] = []
    Deferred.fromCoroutine(stage.control.clients()).addBoth(answers.append)
    stage.workers[1].end()
    stage.run()
    with pytest.raises(InternalError, match=r"worker 2 .* has ended meanwhile"):
        answers[0].raiseException()


def test_errors_of_workers_come_as_they_are(stage: Stage) -> None:
    stage.workers[0].control.errors["remove_ae_title"] = NotFound("CT9 is not there")
    with pytest.raises(NotFound, match=r"^CT9 is not there$"):
        stage.ask("remove_ae_title", "CT9")
    stage.workers[1].control.errors["clients"] = InternalError("it is broken")
    with pytest.raises(InternalError, match=r"worker 2 \(process 102\): it is broken"):
        stage.ask("clients")


def test_while_none_is_ready(stage: Stage) -> None:
    for worker in stage.workers:
        worker.end()
    assert stage.ask("clients") == []
    for method, *arguments in (
        ("addins",),
        ("ae_titles",),
        ("addin_options", "told"),
        ("addin_health", "told"),
        ("remove_ae_title", "CT1"),
        ("service_message", ServiceMessage(name="sweep")),
    ):
        with pytest.raises(InternalError, match="no worker is ready"):
            stage.ask(method, *arguments)
    stage.ask("pause")
    assert stage.ask("status").state == "paused"


def test_settings_are_the_parents(stage: Stage) -> None:
    assert stage.control.settings()["server"]["admin_connections"] == 10
    assert stage.ask("set_settings", {"server": {"max_clients": 5}}).changed == ("server.max_clients",)
    assert stage.ask("set_addin_options", "told", {"days": 3}).restart == ("addins.told.days",)
    assert stage.live.asked[1:] == [{"server": {"max_clients": 5}}, ("told", {"days": 3})]


def test_stop_comes_after_its_answer(stage: Stage) -> None:
    stage.control.stop(True)
    assert stage.stopped == []
    stage.clock.advance(0)
    assert stage.stopped == [True]


def test_garbage_of_all(stage: Stage) -> None:
    assert stage.ask("collect_garbage") >= 24


# -- AE titles ---------------------------------------------------------------------------------------------------------


def test_one_worker_changes_ae_titles(stage: Stage) -> None:
    stage.ask("add_ae_title", {"ae_title": "MR1", "port": 105})
    stage.ask("update_ae_title", "MR1", {"port": 106})
    stage.ask("remove_ae_title", "MR1")
    assert stage.asked("add_ae_title") == [[({"ae_title": "MR1", "port": 105},)], []]
    assert stage.asked("update_ae_title") == [[("MR1", {"port": 106})], []]
    assert stage.asked("remove_ae_title") == [[("MR1",)], []]
    with pytest.raises(BadArgument, match="ae_title"):
        stage.ask("add_ae_title", {"port": 105})
    stage.workers[0].control.errors["add_ae_title"] = Conflict("it is there")
    with pytest.raises(Conflict):
        stage.ask("add_ae_title", {"ae_title": "MR1"})


def test_ae_titles_have_their_last_access_at_any_worker(stage: Stage) -> None:
    early, late = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2))
    ct, mr, us = (AEEntry(ae_title=title) for title in ("CT1", "MR1", "US1"))
    one, two = (worker.control for worker in stage.workers)
    one.results["ae_titles"] = [replace(ct, last_access=early), replace(mr, last_access=late), us]
    two.results["ae_titles"] = [replace(ct, last_access=late), replace(mr, last_access=early), us]
    assert stage.ask("ae_titles") == [replace(ct, last_access=late), replace(mr, last_access=late), us]


def test_pages_of_ae_titles_are_of_one_table(stage: Stage) -> None:
    for _ in range(3):
        stage.ask("ae_titles")
    assert [len(asked) for asked in stage.asked("ae_titles")] == [1, 1]
    stage.ask("remove_ae_title", "CT1")
    stage.ask("ae_titles")
    stage.clock.advance(1)
    stage.ask("ae_titles")
    assert [len(asked) for asked in stage.asked("ae_titles")] == [3, 3]


def test_all_who_wait_for_ae_titles_are_told_of_a_failure(stage: Stage) -> None:
    stage.workers[0].control.errors["ae_titles"] = InternalError("it is broken")
    answers: list[Any] = []
    for _ in range(2):
        Deferred.fromCoroutine(stage.control.ae_titles()).addBoth(answers.append)
    stage.run()
    for answer in answers:
        with pytest.raises(InternalError, match="it is broken"):
            answer.raiseException()
    assert [len(asked) for asked in stage.asked("ae_titles")] == [1, 1]
    stage.workers[0].control.errors.clear()
    assert stage.ask("ae_titles")


# -- clients -----------------------------------------------------------------------------------------------------------


def test_clients_of_all_workers(stage: Stage) -> None:
    stage.workers[0].control.results["clients"] = [replace(CLIENT, id=2), replace(CLIENT, id=9)]
    assert [client.id for client in stage.ask("clients")] == [2, 7, 9]


def test_a_client_is_its_workers(stage: Stage) -> None:
    assert stage.ask("client_association", 7) == "line\nline"
    stage.ask("disconnect_client", 7)
    assert stage.asked("client_association") == [[], [(7,)]]
    assert stage.asked("disconnect_client") == [[], [(7,)]]
    for method in ("client_association", "disconnect_client"):
        with pytest.raises(NotFound, match="there is no client 8"):
            stage.ask(method, 8)


# -- events ------------------------------------------------------------------------------------------------------------


def test_events_of_all_workers_while_somebody_listens(stage: Stage) -> None:
    stage.workers[0].control.happen("ClientConnected", id=1)
    end = stage.listen()
    for number, worker in enumerate(stage.workers):
        worker.control.happen("ClientConnected", id=number, ae_title="CT1")
    stage.run()
    assert stage.events == [
        ControlEvent(name="ClientConnected", data={"id": number, "ae_title": "CT1"}) for number in (0, 1)
    ]
    end()
    stage.run()
    assert [worker.control.listeners for worker in stage.workers] == [[], []]


def test_events_of_a_worker_that_comes_later(stage: Stage) -> None:
    stage.listen()
    stage.restarted().control.happen("ClientConnected", id=3)
    stage.run()
    assert [event.data for event in stage.events] == [{"id": 3}]


def test_what_all_workers_know_is_told_once(stage: Stage) -> None:
    stage.listen()
    for worker in stage.workers:
        worker.control.happen("ServiceShuttingDown")
        worker.control.happen("SettingsChanged", changed=["server.max_clients"])
        worker.control.happen("AeTitlesChanged", ae_titles=["CT1"])
    stage.live.asked[0](Applied(changed=("server.max_clients",)))
    stage.control.shutting_down()
    stage.run()
    assert [(event.name, event.data) for event in stage.events] == [
        ("SettingsChanged", {"changed": ("server.max_clients",), "restart": (), "overridden": ()}),
        ("ServiceShuttingDown", {}),
        ("AeTitlesChanged", {"ae_titles": ["CT1"]}),
    ]
    assert stage.ask("status").state == "stopping"


def test_each_change_of_ae_titles_is_told_once_however_late_a_worker_sees_it(stage: Stage) -> None:
    stage.listen()

    def change(worker: int, *ae_titles: str) -> None:
        stage.workers[worker].control.happen("AeTitlesChanged", ae_titles=list(ae_titles))
        stage.run(600)

    stage.ae_file.write_text("one")
    change(1, "CT1")
    change(0, "CT1")
    stage.ae_file.write_text("another")
    change(0, "CT1")
    change(1, "CT1", "MR1")  # since what it had seen last
    change(1, "CT1")
    assert [event.data["ae_titles"] for event in stage.events] == [["CT1"], ["CT1"], ["CT1", "MR1"]]


def test_the_clients_of_a_worker_that_has_ended_are_gone(stage: Stage) -> None:
    stage.listen()
    happen = stage.workers[0].control.happen
    happen("ClientConnected", id=1, ae_title="")
    happen("ClientConnected", id=2, ae_title="")
    happen("ClientAssociated", id=1, ae_title="CT1")
    happen("ClientDisconnected", id=2, ae_title="", outcome="closed")
    stage.run()
    stage.events.clear()
    stage.restarted()
    outcome = "its worker process has ended"
    assert stage.events == [
        ControlEvent(name="ClientDisconnected", data={"id": 1, "ae_title": "CT1", "outcome": outcome})
    ]


def test_a_worker_that_cannot_be_subscribed_to_is_no_failure(stage: Stage) -> None:
    stage.workers[0].silent = True
    stage.listen()
    stage.run(PATIENCE)
    stage.workers[1].control.happen("ClientConnected", id=2)
    stage.run()
    assert [event.data for event in stage.events] == [{"id": 2}]


# -- add-ins -----------------------------------------------------------------------------------------------------------


def test_addins_are_those_of_one_worker(stage: Stage) -> None:
    assert [addin.name for addin in stage.ask("addins")] == ["storage"]
    assert stage.ask("addin_options", "storage").values == {"a": 1}
    assert stage.asked("addins") == [[()], []]


def test_health_is_that_of_all(stage: Stage) -> None:
    one, two = (worker.control for worker in stage.workers)
    one.results["addin_health"] = AddinReport(healthy=True, sentences=["it has slept"])
    expected = AddinReport(healthy=False, sentences=["worker 1: it has slept", "worker 2: it is slow"])
    assert stage.ask("addin_health", "storage") == expected
    two.results["addin_health"] = AddinReport(healthy=True, sentences=[])
    assert stage.ask("addin_health", "storage") == AddinReport(healthy=True, sentences=["worker 1: it has slept"])
    stage.workers[0].silent = True
    report = stage.ask("addin_health", "storage", seconds=25)
    assert report == AddinReport(healthy=False, sentences=["worker 1 (process 101) has not answered within 25 s"])
    two.errors["addin_health"] = NotFound("there is no add-in x")
    with pytest.raises(NotFound):
        stage.ask("addin_health", "x", seconds=25)


def test_a_message_is_for_all_workers(stage: Stage) -> None:
    one, two = (worker.control for worker in stage.workers)
    message = ServiceMessage(name="sweep", data={"days": 3})
    assert stage.ask("service_message", message) == ServiceAnswer(success=True, data={"days": 3})
    assert stage.asked("service_message") == [[(message,)], [(message,)]]
    one.results["service_message"] = ServiceAnswer(success=True, data=1)
    assert stage.ask("service_message", message).data == 1
    two.results["service_message"] = ServiceAnswer(success=False, error="it is full")
    assert stage.ask("service_message", message) == ServiceAnswer(success=False, error="worker 2: it is full")
    two.errors["service_message"] = NotFound("no add-in takes the message 'sweep'")
    with pytest.raises(NotFound, match="sweep"):
        stage.ask("service_message", message)
