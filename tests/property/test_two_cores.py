"""Two upper layers talk over a connection that cuts and delays, while both users do what they may at any moment.

Whatever the order: nothing is raised, ARTIM runs exactly where the standard has it run, data arrives in order and up to
the end where the association was released, and both ends come back to Sta1.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from hypothesis import event, example, given
from hypothesis import strategies as st

from txdicom.pdu import PDV, AssociateRJ
from txdicom.testing import Core, CorePair
from txdicom.testing.cores import REQUEST, acceptance
from txdicom.ul.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

MAY_SEND = (State.STA6, State.STA8)
RELEASE_ASKED = (State.STA8, State.STA9, State.STA12)
NO_ASSOCIATION = (State.STA1, State.STA2, State.STA13)
REQUESTOR_ONLY = (State.STA4, State.STA5, State.STA9, State.STA11)
ACCEPTOR_ONLY = (State.STA2, State.STA3, State.STA10, State.STA12)

STEPS = 120


class Conversation:
    """One association from its request to its end; each step is one that its end may do then."""

    def __init__(self, random: Random, *, peaceful: bool) -> None:
        self.random = random
        self.peaceful = peaceful  # nobody rejects, aborts or is cut off
        self.disturbed = False  # somebody did: data may be lost
        self.pair = CorePair()
        self.ends = (self.pair.requestor, self.pair.acceptor)
        self.sent: dict[Core, list[PDV]] = {core: [] for core in self.ends}
        self.states: set[State] = set()
        self.pair.requestor.upper_layer.associate(REQUEST)

    def run(self) -> None:
        for _ in range(STEPS):
            self.random.choice(self.steps())()
            self.check()
        self.finish()

    def steps(self) -> list[Callable[[], None]]:
        """What can happen now; what is there more than once happens more often."""
        found: list[Callable[[], None]] = [self.nothing]
        if self.pair.requestor.upper_layer.state == State.STA4:
            found.append(self.pair.connect)
        for core in self.ends:
            found += self.steps_of(core)
        if not self.peaceful and self.pair.connected and self.random.random() < 0.02:
            found.append(self.disconnect)
        if self.pair.requestor.upper_layer.state == self.pair.acceptor.upper_layer.state == State.STA6:
            found.append(self.release_both)
        return found

    def steps_of(self, core: Core) -> list[Callable[[], None]]:
        state = core.upper_layer.state
        found: list[Callable[[], None]] = []
        if self.pair.connected and (core.outgoing or core.closing):
            found += 4 * [lambda: self.pair.deliver(core, self.random.choice((1, 5, 12, 40, 1000)))]
        if state == State.STA3:
            found.append(lambda: core.upper_layer.accept(acceptance(REQUEST)))
        if state in MAY_SEND:
            found += 6 * [lambda: self.send(core)]
        if state in RELEASE_ASKED:
            found.append(core.upper_layer.respond_release)
        if state == State.STA6:
            found.append(core.upper_layer.release)
        if self.peaceful or self.random.random() > 0.05:
            return found
        if state == State.STA3:
            found.append(lambda: self.reject(core))
        if core.artim:
            found.append(lambda: self.expire(core))
        if state not in NO_ASSOCIATION:
            found.append(lambda: self.abort(core))
        return found

    # -- steps ---------------------------------------------------------------------------------------------------------

    def nothing(self) -> None:
        """Neither end does anything."""

    def send(self, core: Core) -> None:
        count = len(self.sent[core])
        sizes = self.random.choices((0, 1, 2, 17, 60), k=self.random.randint(1, 3))
        pdvs = [PDV(1, count & 3, bytes((count + at) & 0xFF for at in range(size))) for size in sizes]
        self.sent[core] += pdvs
        core.send_pdvs(*pdvs)

    def release_both(self) -> None:
        """Before either can know of the other's: a collision."""
        for core in self.ends:
            core.upper_layer.release()

    def reject(self, core: Core) -> None:
        self.disturbed = True
        core.upper_layer.reject(AssociateRJ(1, 1, 1))

    def abort(self, core: Core) -> None:
        self.disturbed = True
        core.upper_layer.abort()

    def expire(self, core: Core) -> None:
        self.disturbed = True
        core.expire_artim()

    def disconnect(self) -> None:
        self.disturbed = True
        self.pair.disconnect()

    # -- what holds always, and at the end -----------------------------------------------------------------------------

    def check(self) -> None:
        for core in self.ends:
            state = core.upper_layer.state
            self.states.add(state)
            assert core.artim == (state in (State.STA2, State.STA13))
            assert state not in (ACCEPTOR_ONLY if core is self.pair.requestor else REQUESTOR_ONLY)
            received = self.pair.peer(core).received
            assert received == self.sent[core][: len(received)]
            told = [primitive[0] for primitive in core.primitives if primitive[0] != "P-DATA indication"]
            assert len(told) == len(set(told))
            assert sum(effect[0] == "close" for effect in core.effects) <= 1

    def finish(self) -> None:
        """Both do only what leads to the end; a few rounds are enough for that."""
        for _ in range(8):
            self.pair.pump(self.random.choice((None, 1, 10)))
            for core in self.ends:
                self.towards_the_end(core)
            self.check()
        for core in self.ends:
            assert core.upper_layer.state == State.STA1
            if not self.disturbed:
                told = [primitive[0] for primitive in core.primitives]
                assert "A-ABORT indication" not in told
                assert "A-RELEASE indication" in told or "A-RELEASE confirmation" in told
                assert self.pair.peer(core).received == self.sent[core]

    def towards_the_end(self, core: Core) -> None:
        state = core.upper_layer.state
        if state == State.STA4:
            self.pair.connect()
        elif state == State.STA3:
            core.upper_layer.accept(acceptance(REQUEST))
        elif state in RELEASE_ASKED:
            core.upper_layer.respond_release()
        elif state == State.STA6:
            core.upper_layer.release()


@given(seed=st.integers(0, 2**32 - 1), peaceful=st.booleans())
@example(seed=0, peaceful=True)
@example(seed=0, peaceful=False)
def test_any_conversation(seed: int, peaceful: bool) -> None:
    conversation = Conversation(Random(seed), peaceful=peaceful)
    conversation.run()
    event("disturbed" if conversation.disturbed else "released")
    event("collision" if State.STA9 in conversation.states else "no collision")


def test_the_conversations_see_every_state() -> None:
    """The schedules are worth something: all states, collisions and plain releases, and data in both directions."""
    states: set[State] = set()
    data = [0, 0]
    collisions = 0
    for seed in range(100):
        conversation = Conversation(Random(seed), peaceful=seed % 2 == 0)
        conversation.run()
        states |= conversation.states
        collisions += State.STA10 in conversation.states
        for number, core in enumerate(conversation.ends):
            data[number] += len(core.received)
    assert states == set(State)
    assert 10 < collisions < 90
    assert min(data) > 100
