"""What `txdicom server test` looks at, without ports."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock

from tests.admin.serving import STATUS
from txdicom import scu
from txdicom.dimse.status import Status
from txdicom.errors import AssociationRejected, ConnectionFailed, LocalProtocolError
from txdicom.server.endpoints import port_of
from txdicom.server.managing import checking
from txdicom.server.settings.tables import read_settings

if TYPE_CHECKING:
    from collections.abc import Coroutine


def result(coroutine: Coroutine[Any, Any, Any]) -> Any:
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    return results[0]


class Busy(MemoryReactorClock):
    """Has port 104 in use."""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if port == 104:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        return super().listenTCP(port, factory, backlog, interface)


def test_ports_are_opened_and_closed() -> None:
    text = '[server]\nlisten = ["tcp:104", "tcp:105"]\nsecure_listen = ["tcp:104", "tcp:106"]\n'
    settings = read_settings(text, ae_title="ONE")
    problems = result(checking.port_problems(Busy(), settings))
    assert [problem.partition(": ")[0] for problem in problems] == ["cannot listen on tcp:104"] * 2
    assert [problem.rpartition("(")[2] for problem in problems] == [
        "--listen for one run, listen in server.toml for all)",
        "secure_listen in server.toml)",
    ]


def test_which_ports_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[Any, ...]] = []

    async def echoes(reactor: Any, ae_title: str, host: str, port: int) -> str:
        called.append(("echo", ae_title, host, port))
        return "no" if port == 4 else ""

    async def connects(reactor: Any, host: str, port: int) -> str:
        called.append(("tls", host, port))
        return ""

    monkeypatch.setattr(checking, "_echoes", echoes)
    monkeypatch.setattr(checking, "_connects", connects)
    ports = ["192.0.2.1:1", "[::1]:2", "port 3 of all addresses", "127.0.0.1:4", "127.0.0.1:5 (TLS)", "the socket /s"]
    status = replace(STATUS, ports=[*ports, "[::]:6"])
    problems = result(checking.answer_problems(None, status, ["tcp:6:interface=\\:\\:"]))
    assert problems == ["127.0.0.1:4 does not answer: no"]
    assert called == [
        ("echo", "HERE", "192.0.2.1", 1),
        ("echo", "HERE", "::1", 2),
        ("echo", "HERE", "127.0.0.1", 3),
        ("echo", "HERE", "127.0.0.1", 4),
        ("tls", "127.0.0.1", 5),
        ("tls", "::", 6),
    ]


class Peer:
    """An association that ends in this way."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    async def __aenter__(self) -> Peer:
        if isinstance(self.outcome, AssociationRejected | ConnectionFailed):
            raise self.outcome
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def echo(self) -> Status:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return Status(self.outcome)


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        (0x0000, ""),
        (0x0110, "it answered "),
        (ConnectionFailed("refused"), "refused"),
        (AssociationRejected("unknown caller", result=1, source=1, reason=3), ""),
        (AssociationRejected("users only", result=1, source=2, reason=1), ""),
        (AssociationRejected("wrong title", result=1, source=1, reason=7), "wrong title"),
        (LocalProtocolError("no context for Verification"), ""),
    ],
)
def test_what_an_answer_says(outcome: Any, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scu, "connect", lambda *arguments, **options: Peer(outcome))
    found = result(checking._echoes(None, "ONE", "127.0.0.1", 104))
    assert found.startswith(problem)
    assert bool(found) is bool(problem)


@pytest.mark.parametrize(
    ("text", "port"), [("tcp:104", 104), ("tcp:port=2762:interface=h", 2762), ("tcp6:0", 0), ("unix:/run/104", 0)]
)
def test_ports_of_endpoints(text: str, port: int) -> None:
    assert port_of(text) == port
