"""Who is let in: the AE table in memory, and the rules that compare a caller with its entry."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock

from tests.net.wire import Peer, acceptor, associate_bytes
from tests.services.serving import EchoAddin, ManualWriter
from txdicom.errors import Conflict, NotFound
from txdicom.interfaces import AEEntry, IAETitle
from txdicom.pdu.types import AssociateAC, AssociateRJ
from txdicom.scp import callers
from txdicom.scp.ae_titles import AETitles, character_set_of
from txdicom.scp.config import ScpConfig
from txdicom.scp.policy import AcceptancePolicy
from txdicom.services.dispatch import Dispatcher
from txdicom.services.spool import Spool


class Reactor(Clock):
    """A clock, whose names the test knows; `hold`: the answers wait for `answer`."""

    def __init__(self, **names: list[str]) -> None:
        super().__init__()
        self.names = names
        self.hold = False
        self.held: list[Any] = []
        self.asked: list[str] = []

    @property
    def nameResolver(self) -> Any:
        return self

    def resolveHostName(self, receiver: Any, name: str) -> None:
        self.asked.append(name)
        self.held.append((receiver, name))
        if not self.hold:
            self.answer()

    def answer(self) -> None:
        held, self.held = self.held, []
        for receiver, name in held:
            for text in self.names.get(name.replace(".", "_"), []):
                kind = IPv6Address if ":" in text else IPv4Address
                receiver.addressResolved(kind("TCP", text, 0))
            receiver.resolutionComplete()

    def getThreadPool(self) -> Any:
        return self

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        function(*arguments)

    def callInThreadWithCallback(self, done: Any, function: Any, *arguments: Any) -> None:
        done(True, function(*arguments))


def caller(title: str, host: str = "192.0.2.1", *, anonymous: bool = False) -> Any:
    kind = IPv6Address if ":" in host else IPv4Address
    peer = kind("TCP", host, 5) if host else UNIXAddress(b"x")
    return SimpleNamespace(calling_ae=title, peer=peer, config=SimpleNamespace(allow_anonymous=anonymous))


def validated(reactor: Reactor, address: str, **values: Any) -> Any:
    service = AETitles(reactor, [AEEntry(ae_title="A", **values)])
    result = service.validate(caller("A", address, anonymous=True))
    if isinstance(result, Deferred):
        results: list[Any] = []
        result.addCallback(results.append)
        return results[0] if results else None
    return result


def test_the_table() -> None:
    table = AETitles(Clock(), ["A", AEEntry(ae_title="B", port=5)])
    assert IAETitle.providedBy(table)
    assert table.get(" A ") == AEEntry(ae_title="A")
    table.add(AEEntry(ae_title="C"))
    table.update("A", AEEntry(ae_title="AA", port=6))
    table.remove("B")
    assert [(entry.ae_title, entry.port) for entry in table.get_all()] == [("AA", 6), ("C", 104)]
    for doing in (lambda: table.add(AEEntry(ae_title="C")), lambda: table.update("C", AEEntry(ae_title="AA"))):
        with pytest.raises(Conflict):
            doing()
    for doing in (lambda: table.get("A"), lambda: table.remove("A"), lambda: table.update("A", AEEntry(ae_title="A"))):
        with pytest.raises(NotFound):
            doing()


def test_who_is_not_in_the_table() -> None:
    table = AETitles(Clock(), ["A"])
    assert table.validate(caller("A")) is True
    assert table.validate(caller("a")) is False
    assert table.validate(caller("B")) is False
    assert table.validate(caller("B", anonymous=True)) is True


def test_the_last_access() -> None:
    reactor = Reactor()
    table = AETitles(reactor, ["A"])
    reactor.advance(1000)
    table.validate(caller("A"))
    assert table.get("A").last_access.timestamp() == 1000
    assert table.get_all()[0].last_access.timestamp() == 1000


@pytest.mark.parametrize(
    ("host", "values", "fits"),
    [
        ("192.0.2.1", {"verify": "none"}, True),
        ("", {"verify": "none"}, True),
        ("", {"verify": "address", "host": "192.0.2.1"}, False),
        ("", {"verify": "mask", "mask": "0.0.0.0/0"}, False),
        ("192.0.2.1", {"verify": "address", "host": "192.0.2.1"}, True),
        ("192.0.2.2", {"verify": "address", "host": "192.0.2.1"}, False),
        ("::ffff:192.0.2.1", {"verify": "address", "host": "192.0.2.1"}, True),
        ("192.0.2.1", {"verify": "address", "host": "::ffff:192.0.2.1"}, True),
        ("fe80::1%eth0", {"verify": "address", "host": "fe80::1"}, True),
        ("2001:db8::1", {"verify": "address", "host": "2001:DB8:0::1"}, True),
        ("192.0.2.200", {"verify": "mask", "mask": "192.0.2.0/24"}, True),
        ("::ffff:192.0.2.200", {"verify": "mask", "mask": "192.0.2.0/255.255.255.0"}, True),
        ("192.0.3.1", {"verify": "mask", "mask": "192.0.2.0/24"}, False),
        ("2001:db8::1", {"verify": "mask", "mask": "2001:db8::/32"}, True),
        ("2001:db8::1", {"verify": "mask", "mask": "0.0.0.0/0"}, False),
        ("192.0.2.1", {"verify": "mask", "mask": "::/0"}, False),
        ("192.0.2.1", {"verify": "address", "host": "there"}, True),
        ("::ffff:192.0.2.1", {"verify": "address", "host": "there"}, True),
        ("2001:db8::5", {"verify": "address", "host": "there"}, True),
        ("192.0.2.2", {"verify": "address", "host": "there"}, False),
        ("192.0.2.1", {"verify": "address", "host": "nowhere"}, False),
    ],
)
def test_addresses(host: str, values: dict[str, str], fits: bool) -> None:
    assert validated(Reactor(there=["192.0.2.1", "2001:db8::5"]), host, **values) is fits


@pytest.mark.parametrize(
    ("host", "name", "fits"),
    [
        ("192.0.2.1", "there.example.", True),
        ("192.0.2.1", "other.example", True),
        ("192.0.2.1", "stranger.example", False),
        ("192.0.2.2", "there.example", False),
    ],
)
def test_host_names_are_confirmed_both_ways(host: str, name: str, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def by_address(address: str) -> tuple[str, list[str], list[str]]:
        asked.append(address)
        return "THERE.example", ["other.example"], [address]

    monkeypatch.setattr(socket, "gethostbyaddr", by_address)
    reactor = Reactor(**{name.replace(".", "_"): ["192.0.2.1"]})
    assert validated(reactor, host, verify="host-name", host=name) is fits
    assert asked == ([host] if host == "192.0.2.1" else [])  # of a stranger's address nobody is asked


def test_an_address_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_address(address: str) -> Any:
        raise OSError("no name")

    monkeypatch.setattr(socket, "gethostbyaddr", by_address)
    assert validated(Reactor(there=["192.0.2.1"]), "192.0.2.1", verify="host-name", host="there") is False


def test_answers_are_kept_for_a_while_and_asked_for_once() -> None:
    reactor = Reactor(there=["192.0.2.1"])
    reactor.hold = True
    table = AETitles(reactor, [AEEntry(ae_title="A", verify="address", host="there")])
    results: list[bool] = []
    for _ in range(3):
        table.validate(caller("A")).addCallback(results.append)
    assert reactor.asked == ["there"]
    reactor.answer()
    assert results == [True] * 3
    table.validate(caller("A")).addCallback(results.append)
    assert results == [True] * 4
    reactor.advance(callers.KEEP)
    reactor.names = {}
    reactor.hold = False
    table.validate(caller("A")).addCallback(results.append)
    reactor.advance(callers.KEEP_FAILURE)
    table.validate(caller("A")).addCallback(results.append)
    assert results[4:] == [False, False]
    assert reactor.asked == ["there"] * 3
    assert not reactor.getDelayedCalls()


def test_few_look_ups_at_once_and_none_is_waited_for_too_long() -> None:
    reactor = Reactor()
    reactor.hold = True
    many = callers.AT_ONCE + 2
    table = AETitles(reactor, [AEEntry(ae_title=f"A{n}", verify="address", host=f"host{n}") for n in range(many)])
    results: list[bool] = []
    for number in range(many):
        table.validate(caller(f"A{number}")).addCallback(results.append)
    assert len(reactor.asked) == callers.AT_ONCE
    reactor.advance(callers.TIMEOUT)
    assert results == [False] * many
    assert not reactor.getDelayedCalls()
    reactor.answer()
    assert len(reactor.asked) == many
    reactor.answer()


# as the policy asks it


def answered(validate: Any, **settings: Any) -> tuple[Peer, Any]:
    config = ScpConfig(check_called_ae=False)
    dispatcher = Dispatcher([EchoAddin()], Spool(ManualWriter(), lambda: ""))  # type: ignore[arg-type]
    peer = Peer(acceptor(policy=AcceptancePolicy("SERVER", config, dispatcher, validate), **settings))
    peer.send(associate_bytes())
    return peer, peer.pdus()


def triples(pdus: list[Any]) -> list[Any]:
    return [
        (pdu.result, pdu.source, pdu.reason) if isinstance(pdu, AssociateRJ) else isinstance(pdu, AssociateAC)
        for pdu in pdus
    ]


async def later(answer: Any) -> Any:
    return await succeed(answer)


@pytest_twisted.ensureDeferred
async def test_the_service_may_answer_in_every_way() -> None:
    for yes in (True, succeed(True), later(True)):
        assert triples(answered(lambda association, yes=yes: yes)[1]) == [True]
    for no in (False, None, succeed(False), later(False), later(None)):
        assert triples(answered(lambda association, no=no: no)[1]) == [(1, 1, 3)]
    assert triples(answered(lambda association: fail(ValueError("x")))[1]) == [(2, 1, 1)]

    def broken(association: Any) -> Any:
        raise ValueError("x")

    assert triples(answered(broken)[1]) == [(2, 1, 1)]


def test_an_answer_that_comes_later_or_never() -> None:
    waits: Deferred[bool] = Deferred()
    peer, pdus = answered(lambda association: waits)
    assert pdus == []
    waits.callback(True)
    assert triples(peer.pdus()) == [True]

    async def stubborn() -> bool:
        while True:
            try:
                await Deferred()
            except CancelledError:
                continue

    clock = Clock()
    coroutine = stubborn()
    peer, pdus = answered(lambda association: coroutine, clock=clock, addin_timeout=5.0)
    assert pdus == []
    clock.advance(5.0)
    assert triples(peer.pdus()) == [(2, 1, 1)]


def test_a_peer_that_goes_meanwhile() -> None:
    cancelled = []
    peer, _ = answered(lambda association: Deferred(cancelled.append))
    peer.lose()
    assert len(cancelled) == 1


@pytest_twisted.ensureDeferred
async def test_maybe_deferred_takes_every_kind() -> None:
    table = AETitles(Clock(), ["A"])
    assert await maybeDeferred(table.get, "A") == AEEntry(ae_title="A")


# -- the character set of what a caller asks for -----------------------------------------------------------------------


class Titles:
    """An AE-title service that answers as the test says."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def get(self, ae_title: str) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "character_set"),
    [
        (AEEntry(ae_title="A", character_set="ISO_IR 144"), "ISO_IR 144"),
        (AEEntry(ae_title="A"), ""),
        (succeed(AEEntry(ae_title="A", character_set="ISO_IR 192")), "ISO_IR 192"),
        (NotFound("A"), ""),
        (ValueError("a mistake"), ""),
        (SystemExit("a mistake"), ""),
    ],
    ids=repr,
)
def test_the_character_set_of_a_caller(answer: Any, character_set: str) -> None:
    got: list[Any] = []
    Deferred.fromCoroutine(character_set_of(Titles(answer), caller("A"))).addBoth(got.append)
    assert got == [character_set]


def test_whoever_does_not_wait_for_it_any_more_is_not_answered() -> None:
    got: list[Any] = []
    asking = Deferred.fromCoroutine(character_set_of(Titles(Deferred()), caller("A")))
    asking.addBoth(got.append)
    asking.cancel()
    assert got[0].check(CancelledError)
