"""Who listens to the associations of an acceptor."""

from __future__ import annotations

from typing import Any

from tests.net.wire import AcceptAll, Peer, Recorder, acceptor, echo_bytes
from txdicom.pdu.types import AssociateRJ
from txdicom.ul import rejections


class Listener:
    def __init__(self) -> None:
        self.log: list[str] = []

    def connected(self, association: Any) -> None:
        self.log.append("connected")

    def associated(self, association: Any) -> None:
        self.log.append(f"associated {association.calling_ae}")

    def asked(self, association: Any, command: Any) -> None:
        self.log.append(f"asked {command.name}")

    def ended(self, association: Any) -> None:
        self.log.append("ended")


def test_what_is_told() -> None:
    made = acceptor(Recorder(at_once=True))
    made.listener = listener = Listener()
    peer = Peer(made)
    peer.associate()
    peer.send(echo_bytes())
    assert peer.statuses() == [0]
    peer.lose()
    assert listener.log == ["connected", "associated CLIENT", "asked C-ECHO-RQ", "ended"]


def test_a_performer_that_the_policy_has_chosen_is_listened_to_as_well() -> None:
    chosen = Recorder(at_once=True)

    class Choosing(AcceptAll):
        def decide(self, association: Any, rq: Any) -> Any:
            association.performer = chosen
            return super().decide(association, rq)

    made = acceptor(Recorder(), policy=Choosing())
    made.listener = listener = Listener()
    peer = Peer(made)
    peer.associate()
    peer.send(echo_bytes())
    assert len(chosen.started) == 1
    assert listener.log[-1] == "asked C-ECHO-RQ"


def test_one_that_is_rejected() -> None:
    class Never(AcceptAll):
        def decide(self, association: Any, rq: Any) -> Any:
            return rejections.NO_REASON

    made = acceptor(policy=Never())
    made.listener = listener = Listener()
    peer = Peer(made)
    assert isinstance(peer.associate(), AssociateRJ)
    peer.lose()
    assert listener.log == ["connected", "ended"]


def test_without_a_listener_nothing_stands_between() -> None:
    performer = Recorder()
    made = acceptor(performer)
    peer = Peer(made)
    peer.associate()
    assert peer.association.performer is performer
