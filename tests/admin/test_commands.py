"""Every command, from the administrator's method to the server's control and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import formatEvent, globalLogPublisher
from twisted.protocols import amp

from tests.admin.serving import CLIENT, STATUS, Stage
from txdicom.admin import commands
from txdicom.admin.responder import _ANSWERS
from txdicom.errors import BadArgument, Conflict, ConnectionFailed, InternalError, NotFound, SettingsError, TooLarge
from txdicom.interfaces import AEEntry
from txdicom.interfaces.control import (
    EVENTS,
    AddinInfo,
    AddinOptions,
    AddinReport,
    Applied,
    ControlEvent,
    ServiceAnswer,
    ServiceMessage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.logger import LogEvent

    from txdicom.admin.client import Administrator


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.end()


@pytest.fixture
def admin(stage: Stage) -> Administrator:
    return stage.administrator()


ENTRY = AEEntry(ae_title="CT1", host="ct1", port=104)


@pytest.mark.parametrize(
    ("method", "arguments", "asked", "result"),
    [
        ("version", (), ("version",), {"txdicom": "1"}),
        ("status", (), ("status",), STATUS),
        ("settings", (), ("settings",), {"server": {"max_clients": 5}}),
        (
            "set_settings",
            ({"server": {"max_clients": 5}},),
            ("set_settings", {"server": {"max_clients": 5}}),
            Applied(changed=("server.max_clients",)),
        ),
        ("pause", (), ("pause",), None),
        ("resume", (), ("resume",), None),
        ("stop", (), ("stop", False), None),
        ("collect_garbage", (), ("collect_garbage",), 12),
        ("ae_titles", (), ("ae_titles",), [ENTRY]),
        ("add_ae_title", ("CT1",), ("add_ae_title", {"ae_title": "CT1"}), None),
        ("update_ae_title", ("CT1", {"port": 105}), ("update_ae_title", "CT1", {"port": 105}), None),
        ("remove_ae_title", ("CT1",), ("remove_ae_title", "CT1"), None),
        ("clients", (), ("clients",), [CLIENT]),
        ("client_association", (7,), ("client_association", 7), "line\nline"),
        ("total_clients", (), ("status",), {"connections": 3, "associations": 2, "total": 9}),
        ("disconnect_client", (7,), ("disconnect_client", 7), None),
        (
            "addins",
            (),
            ("addins",),
            [AddinInfo(name="storage", version="1", description="stores", author="us", has_options=False)],
        ),
        (
            "addin_options",
            ("storage",),
            ("addin_options", "storage"),
            AddinOptions(values={"a": 1}, json_schema={"type": "object"}),
        ),
        (
            "set_addin_options",
            ("told", {"days": 4}),
            ("set_addin_options", "told", {"days": 4}),
            Applied(restart=("addins.told.days",)),
        ),
        (
            "addin_health",
            ("storage",),
            ("addin_health", "storage"),
            AddinReport(healthy=False, sentences=["it is slow"]),
        ),
        (
            "service_message",
            ("sweep", {"days": 3}),
            ("service_message", ServiceMessage(name="sweep", data={"days": 3})),
            ServiceAnswer(success=True, data={"days": 3}),
        ),
        (
            "service_message",
            ("sweep",),
            ("service_message", ServiceMessage(name="sweep")),
            ServiceAnswer(success=True),
        ),
    ],
)
def test_a_command(stage: Stage, admin: Administrator, method: str, arguments: Any, asked: Any, result: Any) -> None:
    assert stage.result(getattr(admin, method)(*arguments)) == result
    assert stage.control.asked == [asked]


def test_every_command_is_answered() -> None:
    every = {one.commandName for one in vars(commands).values() if _is_command(one)}
    assert set(_ANSWERS) == every


def _is_command(one: object) -> bool:
    return isinstance(one, type) and issubclass(one, commands.AdminCommand) and one is not commands.AdminCommand


def test_every_event_has_its_command() -> None:
    assert set(commands.EVENT_COMMANDS) == set(EVENTS)


def test_stop_by_force(stage: Stage, admin: Administrator) -> None:
    stage.result(admin.stop(force=True))
    assert stage.control.asked == [("stop", True)]


def test_the_last_access_of_an_entry(stage: Stage, admin: Administrator) -> None:
    when = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    stage.control.results["ae_titles"] = [AEEntry(ae_title="CT1", last_access=when)]
    assert stage.result(admin.ae_titles())[0].last_access == when


def test_lists_of_many_pages(stage: Stage, admin: Administrator) -> None:
    entries = [AEEntry(ae_title=f"AE{number:05}", host="h") for number in range(10_000)]
    stage.control.results["ae_titles"] = entries
    found: list[Any] = []
    admin.ae_titles().addCallback(found.extend)
    turns = 0
    while not found:
        stage.run(1)
        turns += 1
    assert found == entries
    assert stage.control.asked == [("ae_titles",)] * 20
    assert turns < 200


def test_an_empty_list(stage: Stage, admin: Administrator) -> None:
    stage.control.results["clients"] = []
    assert stage.result(admin.clients()) == []


@pytest.mark.parametrize("answer", [succeed({"a": "b"}), "coroutine"])
def test_a_control_may_answer_later(stage: Stage, admin: Administrator, answer: Any) -> None:
    async def later() -> dict[str, str]:
        return {"a": "b"}

    stage.control.results["version"] = later() if answer == "coroutine" else answer
    assert stage.result(admin.version()) == {"a": "b"}


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [BadArgument(["one", "two"]), NotFound("there is none"), Conflict("there is one"), TooLarge("too much")]
)
def test_an_error_arrives_as_it_is_and_the_link_goes_on(stage: Stage, admin: Administrator, error: Exception) -> None:
    stage.control.errors["pause"] = error
    with pytest.raises(type(error)) as raised:
        stage.result(admin.pause())
    assert str(raised.value) == str(error)
    assert getattr(raised.value, "problems", ()) == getattr(error, "problems", ())
    assert stage.result(admin.version())


def test_what_the_server_could_not_do_is_told_with_its_reason(stage: Stage, admin: Administrator) -> None:
    stage.control.errors["pause"] = SettingsError(["aetitles.toml cannot be written: No space left on device"])
    with pytest.raises(InternalError, match="cannot be written: No space left on device"):
        stage.result(admin.pause())


@pytest.mark.parametrize("error", [ValueError("a secret"), KeyError("x"), AssertionError(), CancelledError()])
def test_a_mistake_of_the_server_is_told_without_its_text(stage: Stage, admin: Administrator, error: Exception) -> None:
    stage.control.errors["pause"] = error
    with pytest.raises(InternalError, match=r"^Pause failed in the server; its log says why$"):
        stage.result(admin.pause())
    assert stage.result(admin.version())


@pytest.mark.parametrize(("result", "error"), [({1, 2}, InternalError), ("x" * 5_000_000, TooLarge)])
def test_an_answer_that_cannot_be_sent(stage: Stage, admin: Administrator, result: Any, error: Any) -> None:
    stage.control.results["settings"] = result
    with pytest.raises(error):
        stage.result(admin.settings())
    assert stage.result(admin.version())


def test_what_is_too_large_is_not_sent(stage: Stage, admin: Administrator) -> None:
    with pytest.raises(TooLarge):
        stage.result(admin.service_message("sweep", "x" * 5_000_000))
    assert stage.result(admin.version())


def test_an_entry_is_small(stage: Stage, admin: Administrator) -> None:
    values = {b"_command": b"AddAeTitle", b"_ask": b"77", b"entry": b'"' + bytes(65_534), b"entry.1": b"more"}
    stage.ends[0].protocol.dataReceived(amp.AmpBox(values).serialize())
    stage.clock.advance(0)
    assert b"TooLarge" in stage.ends[0].written()
    with pytest.raises(TooLarge, match="entry has"):
        stage.result(admin.add_ae_title("CT1", friendly_name="x" * 70_000))


def test_four_megabytes_there_and_back(stage: Stage, admin: Administrator) -> None:
    data = "x" * 4_000_000
    assert stage.result(admin.service_message("sweep", data)) == ServiceAnswer(success=True, data=data)


def ask(stage: Stage, admin: Administrator, name: bytes, **values: bytes) -> dict[bytes, bytes]:
    """What is answered to a box made by hand."""
    answers: list[Any] = []
    dispatcher = admin.link._dispatcher
    dispatcher.callRemoteString(name, **values).addBoth(answers.append)
    stage.run()
    return answers[0]


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        (b"GetClientAssociation", {}, "id: it is missing"),
        (b"GetClientAssociation", {"id": b"x"}, "id: it is no Integer"),
        (b"GetClientAssociation", {"id": b"9" * 60_000}, "id: it is no Integer"),
        (b"GetClientAssociation", {"id": b"7", "more": b""}, "more: GetClientAssociation has no such argument"),
        (b"RemoveAeTitle", {"ae_title": b"\xff"}, "ae_title: it is no Unicode"),
        (b"Stop", {"force": b"yes"}, "force: it is no Boolean"),
        (b"AddAeTitle", {"entry": b"[1]"}, "entry: it has to be an object"),
        (b"AddAeTitle", {"entry": b"{"}, "entry: it is not JSON"),
        (b"GetAeTitles", {"limit": b"0"}, "limit: it has to be from 1 to 1000"),
        (b"Subscribe", {"events": b'["Rain"]'}, "events: it has to be a list"),
        (b"Subscribe", {"events": b"{}"}, "events: it has to be a list"),
    ],
)
def test_a_bad_argument(stage: Stage, admin: Administrator, name: bytes, values: Any, sentence: str) -> None:
    answer: Any = ask(stage, admin, name, **values)
    assert answer.value.errorCode == b"BadArgument"
    assert sentence in answer.value.description
    assert stage.control.asked in ([], [("ae_titles",)])
    assert stage.result(admin.version())


@pytest.mark.parametrize("name", [b"Rain", b"StartTLS", b"\xff\n\x00", b"x" * 60_000])
def test_an_unknown_command(stage: Stage, admin: Administrator, name: bytes) -> None:
    answer: Any = ask(stage, admin, name)
    assert answer.value.errorCode == b"NotFound"
    assert len(answer.value.description) < 400
    assert answer.value.description.isprintable()
    assert stage.result(admin.version())


def test_a_failure_that_nobody_asked_for_keeps_the_link(stage: Stage, admin: Administrator) -> None:
    for name in (b"Rain", b"AddAeTitle"):
        admin.link._dispatcher.callRemoteString(name, requiresAnswer=False)
    assert stage.result(admin.version())


def test_a_plain_amp_client_understands_the_errors(stage: Stage) -> None:
    plain = amp.AMP()
    end = stage.raw()
    end.other = type(end)(plain)
    end.other.other = end
    stage.ends.append(end.other)
    stage.control.errors["disconnect_client"] = BadArgument(["one", "two"])
    with pytest.raises(BadArgument) as raised:
        stage.result(plain.callRemote(commands.DisconnectClient, id=1))
    assert raised.value.problems == ("one", "two")
    assert stage.result(plain.callRemote(commands.GetTotalClients))["total"] == 9


# -- the administrator's side ------------------------------------------------------------------------------------------


def test_no_answer_in_time(stage: Stage) -> None:
    admin = stage.administrator(timeout=5)
    stage.control.results["version"] = waiting = Deferred()
    failures: list[Any] = []
    admin.version().addErrback(failures.append)
    stage.run()
    stage.clock.advance(6)
    assert failures[0].check(TimeoutError)
    assert str(failures[0].value) == "no answer to Version within 5 s"
    waiting.callback({"too": "late"})
    assert stage.result(admin.status()) == STATUS


def test_a_call_can_be_cancelled(stage: Stage, admin: Administrator) -> None:
    stage.control.results["version"] = waiting = Deferred()
    failures: list[Any] = []
    call = admin.version()
    call.addErrback(failures.append)
    stage.run()
    call.cancel()
    assert failures[0].check(CancelledError)
    waiting.callback({})
    assert stage.result(admin.status()) == STATUS


def test_a_link_that_is_lost_fails_its_calls_and_later_ones(stage: Stage, admin: Administrator) -> None:
    stage.control.results["version"] = Deferred()
    failures: list[Any] = []
    admin.version().addErrback(failures.append)
    lost: list[Any] = []
    admin.when_lost().addCallback(lost.append)
    stage.run()
    stage.ends[0].lose()
    stage.ends[1].lose()
    admin.status().addErrback(failures.append)
    assert [one.check(ConnectionFailed) for one in failures] == [ConnectionFailed] * 2
    assert lost == [None]
    admin.when_lost().addCallback(lost.append)
    assert lost == [None, None]


def test_closing(stage: Stage, admin: Administrator) -> None:
    assert stage.result(admin.close()) is None
    assert stage.server._links == set()


def test_one_administrator_too_many_is_told_so() -> None:
    stage = Stage(connections=2)
    first, second, third = (stage.administrator() for _ in range(3))
    with pytest.raises(Conflict, match="2 administrators already, as many as admin_connections says"):
        stage.result(third.version())
    assert stage.result(first.version())
    stage.result(second.close())
    assert stage.result(stage.administrator().version())
    stage.end()


def test_many_too_many_are_not_even_told() -> None:
    stage = Stage(connections=0)
    ends = [stage.raw() for _ in range(25)]
    assert [end.lost for end in ends] == [False] * 20 + [True] * 5
    ends[0].protocol.dataReceived(b"rubbish" * 100)
    stage.clock.advance(1.1)
    assert all(end.lost or end.wire.closed == "abort" for end in ends)
    stage.end()


# -- events ------------------------------------------------------------------------------------------------------------


def test_events(stage: Stage, admin: Administrator) -> None:
    heard: list[ControlEvent] = []
    stage.control.happen("ClientConnected", id=1)
    stage.result(admin.subscribe(heard.append))
    for name in EVENTS:
        stage.control.happen(name, id=2)
    stage.run()
    assert heard == [ControlEvent(name=name, data={"id": 2}) for name in EVENTS]


def test_some_events(stage: Stage, admin: Administrator) -> None:
    heard: list[ControlEvent] = []
    stage.result(admin.subscribe(heard.append, ["ClientConnected", "ClientAction"]))
    stage.result(admin.unsubscribe(["ClientAction"]))
    for name in EVENTS:
        stage.control.happen(name)
    stage.run()
    assert [one.name for one in heard] == ["ClientConnected"]
    stage.result(admin.unsubscribe())
    assert stage.control.listeners == []


def test_the_server_is_listened_to_while_anybody_wants_it(stage: Stage, admin: Administrator) -> None:
    other = stage.administrator()
    stage.result(admin.subscribe(print))
    stage.result(other.subscribe(print))
    stage.result(admin.subscribe(print))
    assert len(stage.control.listeners) == 1
    stage.result(admin.close())
    assert len(stage.control.listeners) == 1
    stage.result(other.close())
    assert stage.control.listeners == []


def test_a_listener_that_fails_keeps_the_link(stage: Stage, admin: Administrator) -> None:
    def fail(event: ControlEvent) -> None:
        raise ValueError

    stage.result(admin.subscribe(fail))
    stage.control.happen("ClientConnected")
    assert stage.result(admin.version())


def test_an_event_that_cannot_be_written_harms_nobody(stage: Stage, admin: Administrator) -> None:
    heard: list[ControlEvent] = []
    stage.result(admin.subscribe(heard.append))
    stage.control.happen("ClientConnected", rubbish=object())
    stage.control.happen("ClientAction")
    stage.run()
    assert [one.name for one in heard] == ["ClientAction"]


def test_an_event_of_a_newer_server_is_left_alone(stage: Stage, admin: Administrator) -> None:
    stage.ends[0].wire.write(amp.AmpBox({b"_command": b"Rain", b"much": b"1"}).serialize())
    assert stage.result(admin.version())


@pytest.mark.parametrize(
    ("method", "arguments", "text"),
    [
        ("stop", (), "user None has asked for Stop"),
        ("disconnect_client", (0,), "user None has asked for DisconnectClient 0"),
        ("add_ae_title", ("CT1",), "user None has asked for AddAeTitle CT1"),
        (
            "set_settings",
            ({"server": {"max_clients": 5}, "tls": {"key": "secret"}},),
            "user None has asked for SetSettings server.max_clients tls.key",
        ),
        (
            "set_addin_options",
            ("told", {"password": "secret", "days": 4}),
            "user None has asked for SetAddinOptions told password days",
        ),
    ],
)
def test_the_audit_log_has_names_only(
    stage: Stage, admin: Administrator, method: str, arguments: tuple[Any, ...], text: str
) -> None:
    lines: list[LogEvent] = []
    globalLogPublisher.addObserver(lines.append)
    try:
        stage.result(getattr(admin, method)(*arguments))
    finally:
        globalLogPublisher.removeObserver(lines.append)
    [event] = [event for event in lines if event.get("audit") == "administrator"]
    assert formatEvent(event) == text
    assert "secret" not in str(event)


@pytest.mark.parametrize("values", [{"server": 3}, [1]])
def test_settings_are_an_object_of_objects(stage: Stage, admin: Administrator, values: Any) -> None:
    with pytest.raises(BadArgument, match="it has to be an object"):
        stage.result(admin._get(commands.SetSettings, lambda answer: answer, settings=values))
