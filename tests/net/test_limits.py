"""txdicom.net.limits: how many connections and associations there may be."""

from __future__ import annotations

from txdicom.net.config import NetConfig
from txdicom.net.limits import Slots
from txdicom.ul.rejections import LOCAL_LIMIT


def test_a_connection_takes_a_half_open_slot_then_a_clients() -> None:
    slots = Slots(NetConfig(max_half_open=1))
    slots.enter(1)
    assert (slots.half_open, slots.clients, slots.room_for(None)) == (1, 0, False)
    assert slots.admit(1, "A") is None
    assert (slots.half_open, slots.clients, slots.room_for(None)) == (0, 1, True)
    slots.leave(1)
    assert (slots.half_open, slots.clients) == (0, 0)


def test_a_refused_one_keeps_its_half_open_slot() -> None:
    slots = Slots(NetConfig(max_clients=1))
    for who in (1, 2):
        slots.enter(who)
    assert slots.admit(1, "A") is None
    assert slots.admit(2, "B") == LOCAL_LIMIT
    assert (slots.half_open, slots.clients) == (1, 1)
    slots.leave(1)
    assert slots.admit(2, "B") is None


def test_zero_is_no_limit() -> None:
    slots = Slots(NetConfig(max_clients=0, max_clients_per_ae=0, max_half_open=0))
    for who in range(2_000):
        assert slots.room_for(None)
        slots.enter(who)
        assert slots.admit(who, "A") is None


def test_limit_per_calling_ae() -> None:
    slots = Slots(NetConfig(max_clients_per_ae=2))
    assert [slots.admit(who, "A") for who in range(3)] == [None, None, LOCAL_LIMIT]
    assert slots.admit(3, "B") is None
    slots.leave(0)
    assert slots.admit(2, "A") is None


def test_no_multiple_connections_of_one_ae() -> None:
    slots = Slots(NetConfig(allow_multiple_connections=False, max_clients_per_ae=5))
    assert slots.admit(1, "A") is None
    assert slots.admit(2, "A") == LOCAL_LIMIT
    slots.leave(1)
    slots.leave(1)  # a second time changes nothing
    assert slots.admit(2, "A") is None


def test_titles_that_were_only_asked_about_are_not_remembered() -> None:
    slots = Slots(NetConfig(max_clients=1, max_clients_per_ae=1))
    assert slots.admit(0, "KNOWN") is None
    for who in range(1, 100):
        slots.admit(who, f"AE{who}")
    slots.leave(0)
    assert not slots._per_ae
    assert not slots._clients


def test_limits_that_change() -> None:
    slots = Slots(NetConfig(max_clients=1))
    assert slots.admit(1, "A") is None
    slots.config = NetConfig(max_clients=2)
    assert slots.admit(2, "A") is None
    slots.config = NetConfig(max_clients=1)
    assert slots.admit(3, "A") == LOCAL_LIMIT
