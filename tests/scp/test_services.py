"""The registry of base services."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface import Interface, implementer

from txdicom.errors import AddinError
from txdicom.interfaces import IBaseServices
from txdicom.scp.services import ConflictError, Offer, Services


class IClock(Interface):
    """What tells the time."""

    def now() -> None:  # type: ignore[misc]
        """The time."""


@implementer(IClock)
class Clock:
    def now(self) -> None:
        pass


@implementer(IClock)
class Stopped:
    """One that has no `now`."""


def test_what_was_provided_is_there() -> None:
    services, clock = Services(), Clock()
    services.provide(IClock, clock, "add-in a")
    assert services.get(IClock) is clock
    assert services.provided_by("add-in a") == ["IClock"]
    assert services.provided_by("add-in b") == []
    services.default(IBaseServices, lambda: Offer(services, "x"))
    services.fill()
    assert services.of_addins == 1


def test_what_nobody_provides_is_named() -> None:
    with pytest.raises(LookupError, match="there is no base service IClock"):
        Services().get(IClock)


def test_a_provider_has_to_fulfil_its_interface() -> None:
    with pytest.raises(AddinError, match=r"add-in a does not fulfil IClock, which it provides: .*now"):
        Services().provide(IClock, Stopped(), "add-in a")
    with pytest.raises(AddinError, match="does not fulfil IClock"):
        Services().provide(IClock, object(), "add-in a")


def test_two_providers_are_both_named() -> None:
    services, first = Services(), Clock()
    services.provide(IClock, first, "add-in a")
    with pytest.raises(ConflictError, match="add-in b and add-in a both provide the base service IClock: take one"):
        services.provide(IClock, Clock(), "add-in b")
    assert services.get(IClock) is first


def test_defaults_fill_the_gaps_and_only_these() -> None:
    services, ours = Services(), Clock()
    made: list[Any] = []
    services.default(IClock, lambda: made.append(1) or ours)  # type: ignore[func-returns-value]
    with pytest.raises(LookupError):
        services.get(IClock)
    services.fill()
    assert services.get(IClock) is ours
    services.fill()
    assert made == [1]
    with pytest.raises(
        ConflictError, match=r"add-in a and txdicom both .*: it can be replaced from configuration/ only"
    ):
        services.provide(IClock, Clock(), "add-in a")
    other = Services()
    other.provide(IClock, Clock(), "add-in a")
    other.default(IClock, lambda: made.append(2))
    other.fill()
    assert made == [1]


def test_what_is_withdrawn_leaves_a_gap() -> None:
    services = Services()
    services.provide(IClock, Clock(), "add-in a")
    services.withdraw("add-in b")
    assert services.provided_by("add-in a")
    services.withdraw("add-in a")
    services.default(IClock, Clock)
    services.fill()
    assert services.provided_by("txdicom") == ["IClock"]


def test_an_offer_knows_whose_it_is_and_remembers_a_conflict() -> None:
    services = Services()
    first, second = Offer(services, "add-in a"), Offer(services, "add-in b")
    assert IBaseServices.providedBy(first)
    first.provide(IClock, Clock())
    with pytest.raises(ConflictError, match="add-in b and add-in a"):
        second.provide(IClock, Clock())
    assert first.conflict is None
    assert "add-in b and add-in a" in str(second.conflict)
