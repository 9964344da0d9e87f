"""Connections on their way from a parent to its worker."""

from __future__ import annotations

import resource
import socket
from typing import TYPE_CHECKING

import pytest

from txdicom.server.workers.channel import ChannelClosed, ChannelFull, Handed, channel, hand_over, handed

if TYPE_CHECKING:
    from collections.abc import Iterator

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = channel()
    yield made
    for end in made:
        end.close()


@pytest.fixture
def connection() -> Iterator[Ends]:
    made = socket.socketpair()
    yield made
    for end in made:
        end.close()


def taken(end: socket.socket) -> list[Handed]:
    return list(handed(end))


def test_a_connection_lives_on_when_the_parents_descriptor_is_closed(ends: Ends, connection: Ends) -> None:
    ours, peers = connection
    hand_over(ends[0], 5, True, ours)
    ours.close()
    [one] = taken(ends[1])
    assert (one.number, one.secure) == (5, True)
    assert one.connection is not None
    with one.connection as there:
        assert there.family == socket.AF_UNIX
        assert not there.get_inheritable()
        there.sendall(b"x")
        assert peers.recv(1) == b"x"
    assert peers.recv(1) == b""


def test_several_come_in_order(ends: Ends, connection: Ends) -> None:
    assert taken(ends[1]) == []
    for number in (1, 2**60, 3):
        hand_over(ends[0], number, False, connection[0])
    found = taken(ends[1])
    assert [one.number for one in found] == [1, 2**60, 3]
    for one in found:
        assert one.connection is not None
        one.connection.close()


def test_a_worker_that_does_not_read(ends: Ends, connection: Ends) -> None:
    """Its parent does not wait; what was sent is not lost."""

    def send_all() -> None:
        for number in range(100_000):
            hand_over(ends[0], number, False, connection[0])

    with pytest.raises(ChannelFull):
        send_all()
    found: list[int] = []
    while more := taken(ends[1]):
        for one in more:
            assert one.connection is not None
            one.connection.close()
            found.append(one.number)
    assert found == list(range(len(found)))
    assert len(found) > 10
    hand_over(ends[0], 1, False, connection[0])


def test_a_worker_that_is_gone(ends: Ends, connection: Ends) -> None:
    ends[1].close()
    with pytest.raises(ChannelClosed):
        hand_over(ends[0], 1, False, connection[0])


def test_a_parent_that_is_gone(ends: Ends, connection: Ends) -> None:
    hand_over(ends[0], 1, False, connection[0])
    ends[0].close()
    coming = handed(ends[1])
    one = next(coming)
    assert one.connection is not None
    one.connection.close()
    with pytest.raises(ChannelClosed):
        next(coming)


def test_what_a_worker_has_not_taken_ends_with_it(ends: Ends, connection: Ends) -> None:
    ours, peers = connection
    hand_over(ends[0], 1, False, ours)
    ours.close()
    ends[1].close()
    assert peers.recv(1) == b""


def test_a_worker_without_a_descriptor_left(ends: Ends, connection: Ends) -> None:
    hand_over(ends[0], 7, False, connection[0])
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        found = taken(ends[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert found == [Handed(7, False, None)]
