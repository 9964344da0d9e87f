"""The registry of a server's base services: who provides which interface, and what fills the gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from zope.interface import implementer
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from txdicom.errors import AddinError
from txdicom.interfaces import IBaseServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from zope.interface import Interface

_OURS: Final = "txdicom"


class ConflictError(AddinError):
    """Two that provide the same base service."""


class Services:
    """Base services by interface. Each has one provider: an add-in, or a default where no add-in offers it."""

    def __init__(self) -> None:
        self._provided: dict[type[Interface], tuple[Any, str]] = {}
        self._defaults: dict[type[Interface], Callable[[], Any]] = {}

    def provide(self, interface: type[Interface], provider: Any, owner: str = _OURS) -> None:
        """Takes `provider`, checked against `interface`.

        AddinError where it does not fulfil it; ConflictError where it is not the first.
        """
        try:
            verifyObject(interface, provider)
        except Invalid as error:
            why = " ".join(str(error).split())
            raise AddinError(f"{owner} does not fulfil {interface.__name__}, which it provides: {why}") from None
        if interface in self._provided:
            other = self._provided[interface][1]
            remedy = "it can be replaced from configuration/ only" if other == _OURS else "take one of them out"
            raise ConflictError(f"{owner} and {other} both provide the base service {interface.__name__}: {remedy}")
        self._provided[interface] = (provider, owner)

    def default(self, interface: type[Interface], factory: Callable[[], Any]) -> None:
        """What `fill` makes where nobody has provided `interface` by then."""
        self._defaults[interface] = factory

    def fill(self) -> None:
        """Has the defaults fill the gaps."""
        for interface, factory in self._defaults.items():
            if interface not in self._provided:
                self.provide(interface, factory())
        self._defaults.clear()

    def get(self, interface: type[Interface]) -> Any:
        """Who provides `interface`; LookupError that names it where nobody does."""
        try:
            return self._provided[interface][0]
        except KeyError:
            raise LookupError(f"there is no base service {interface.__name__}") from None

    def provided_by(self, owner: str) -> list[str]:
        """The names of the interfaces that `owner` provides."""
        return [interface.__name__ for interface, (_, other) in self._provided.items() if other == owner]

    @property
    def of_addins(self) -> int:
        """How many there are that an add-in provides."""
        return sum(owner != _OURS for _, owner in self._provided.values())

    def withdraw(self, owner: str) -> None:
        """Forgets what `owner` has provided."""
        self._provided = {interface: one for interface, one in self._provided.items() if one[1] != owner}


@implementer(IBaseServices)
class Offer:
    """The registry as one add-in sees it, which need not say who it is."""

    def __init__(self, services: Services, owner: str) -> None:
        self.conflict: ConflictError | None = None
        self._services = services
        self._owner = owner

    def provide(self, interface: type[Interface], provider: Any) -> None:
        """See `IBaseServices`."""
        try:
            self._services.provide(interface, provider, self._owner)
        except ConflictError as error:
            self.conflict = error
            raise
