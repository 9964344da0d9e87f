"""The audit log: associations and instances, from a server in memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from tests.net.wire import CONTEXTS, CT, data_set, store_bytes
from tests.scp.hooked import Hooked
from tests.services.serving import EchoAddin, Serving, StoreAddin
from txdicom.dimse.status import Status
from txdicom.interfaces import IdentityAccepted, IUserIdentity, UserIdentity
from txdicom.pdu.types import UserIdentityRQ
from txdicom.server.logs.audit import InstanceAudit, format_audit
from txdicom.server.logs.files import LogFile
from txdicom.server.logs.log import ServerLog, ServiceLog
from txdicom.server.settings.log import LogSettings
from txdicom.services.storage import ObservedStoreRequest
from txdicom.uids import EXPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Audit:
    """An audit log that listens."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.file = LogFile(str(path), format_audit)
        self.log = ServerLog(LogSettings(), ServiceLog([]), self.file)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    @property
    def kinds(self) -> list[str]:
        return [line["audit"] for line in self.lines]


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Audit]:
    made = Audit(tmp_path / "audit.jsonl")
    globalLogPublisher.addObserver(made.log)
    yield made
    made.log.close()


def test_an_association(audit: Audit) -> None:
    serving = Serving(StoreAddin())
    peer = serving.peer()
    peer.send(store_bytes())
    peer.lose()
    opened, ended = audit.lines
    assert (opened["audit"], ended["audit"]) == ("association-opened", "association-ended")
    assert [CT, EXPLICIT_VR_LITTLE_ENDIAN] in opened["contexts"]
    assert opened["peer"] == ended["peer"]
    assert ended["messages"] == 1
    assert ended["outcome"].startswith("aborted: ")


def test_a_rejected_one(audit: Audit) -> None:
    serving = Serving(StoreAddin())
    serving.acceptor.paused = True
    serving.peer().lose()
    [rejected] = audit.lines
    assert rejected["audit"] == "association-rejected"
    assert rejected["outcome"].startswith("rejected: ")


@pytest.fixture
def serving(audit: Audit) -> Serving:
    """A server that stores at once, or refuses, or leaves the peer waiting, by the SOP Instance UID."""
    answers = {"1.2.3": 0, "1.2.4": 0xB000, "1.2.5": 0xA700, "1.2.6": Deferred()}
    made = Serving(StoreAddin(lambda request: answers[request.sop_instance]))
    made.spool.observers = (InstanceAudit(audit.file),)
    return made


def test_instances(serving: Serving, audit: Audit) -> None:
    peer = serving.peer()
    for number, instance in enumerate(("1.2.3", "1.2.4", "1.2.5", "1.2.6"), start=1):
        peer.send(store_bytes(number, instance=instance))
    peer.lose()
    _, *instances, _ = audit.lines
    assert [(line["audit"], line["sop_instance"], line["status"]) for line in instances] == [
        ("instance-stored", "1.2.3", "0000"),
        ("instance-stored", "1.2.4", "B000"),
        ("instance-refused", "1.2.5", "A700"),
        ("instance-unanswered", "1.2.6", None),
    ]
    assert {line["sop_class"] for line in instances} == {CT}
    assert {line["association"] for line in instances} == {audit.lines[0]["association"]}
    assert set(instances[0]) == {
        *("time", "audit", "association", "calling_ae", "peer", "sop_class", "sop_instance", "status")
    }
    assert serving.clean()


def test_a_half_received_instance_is_one_that_nobody_answered(serving: Serving, audit: Audit) -> None:
    peer = serving.peer()
    whole = store_bytes(data=data_set(pixels=50_000))
    peer.send(whole[: len(whole) // 2])
    peer.lose()
    assert audit.kinds == ["association-opened", "instance-unanswered", "association-ended"]


def test_an_observer_that_fails_harms_nothing(serving: Serving, audit: Audit) -> None:
    def fail(request: Any, status: Status | None) -> None:
        raise ZeroDivisionError

    serving.spool.observers = (fail, *serving.spool.observers)
    peer = serving.peer()
    peer.send(store_bytes(1) + store_bytes(2))
    assert peer.statuses() == [0, 0]
    assert audit.kinds == ["association-opened", "instance-stored", "instance-stored"]
    peer.lose()


def test_nothing_is_observed_where_nobody_wants_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ObservedStoreRequest, "__init__", None)
    serving = Serving(StoreAddin())
    peer = serving.peer()
    peer.send(store_bytes())
    assert peer.statuses() == [0]
    peer.lose()


@implementer(IUserIdentity)
class LetsIn:
    """Lets everybody in."""

    name = "lets in"

    def authenticate(self, identity: UserIdentity) -> IdentityAccepted:
        return IdentityAccepted()


@pytest.mark.parametrize(
    ("identity", "user"),
    [
        (UserIdentityRQ(1, "älice".encode()), "älice"),
        (UserIdentityRQ(2, b"a{peer}\n\xff", b"secret"), "a{peer}\n\N{REPLACEMENT CHARACTER}"),
        (UserIdentityRQ(5, b"secret"), None),
        (None, None),
    ],
)
def test_the_user_of_an_association(audit: Audit, identity: UserIdentityRQ | None, user: str | None) -> None:
    """By name only: a ticket or a token is a secret."""
    Hooked(EchoAddin(), LetsIn()).peer(*CONTEXTS, user={"user_identity": identity}).lose()
    opened = audit.lines[0]
    assert opened["audit"] == "association-opened"
    assert opened.get("user") == user
    assert opened["text"].endswith("contexts accepted" if user is None else f"accepted for the user {user}")
    assert "secret" not in json.dumps(audit.lines)
