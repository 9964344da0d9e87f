"""The configuration phase: configuration add-ins, then the licence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from zope.interface import implementer
from zope.interface.verify import verifyObject

from txdicom.errors import AddinError, LicenseError, NotConfigured, SettingsError
from txdicom.interfaces import ILicense, IServerConfig, IServerConfiguration
from txdicom.scp import ScpConfig
from txdicom.scp.configuration import configure
from txdicom.scp.services import Services
from txdicom.server.service import at_once

if TYPE_CHECKING:
    from collections.abc import Callable


@implementer(ILicense)
class License:
    def __init__(self, check: Callable[[], Any] = lambda: None, **limits: Any) -> None:
        self.limits = limits
        self.check = check


@implementer(IServerConfig)
class Configures:
    """A configuration add-in that does what it is given."""

    name = "it"

    def __init__(self, does: Callable[[Any], Any]) -> None:
        self.configure_server = does


def provide(license_: License) -> Configures:
    return Configures(lambda server: server.provide(ILicense, license_))


def run(*addins: object, services: Services | None = None, **settings: Any) -> ScpConfig:
    config: ScpConfig = at_once(
        configure("HERE", addins, services or Services(), ScpConfig(**settings), folder="/servers/HERE")
    )
    return config


def test_without_a_licence_all_is_allowed() -> None:
    services = Services()
    config = ScpConfig(max_clients=0)
    assert at_once(configure("HERE", (), services, config)) is config
    assert verifyObject(ILicense, services.get(ILicense))


def test_what_an_add_in_sees_and_in_which_order() -> None:
    seen: list[Any] = []

    async def later(server: Any) -> None:
        seen.append((server.ae_title, server.folder, server.addins, server.service(ILicense)))

    license_ = License(lambda: seen.append("check"))
    run(
        provide(license_),
        Configures(lambda server: seen.append(verifyObject(IServerConfiguration, server))),
        Configures(later),
    )
    assert seen == [True, ("HERE", "/servers/HERE", (), license_), "check"]


def refuse() -> None:
    raise LicenseError("it has expired; ask your vendor for another")


def test_a_licence_that_refuses() -> None:
    with pytest.raises(LicenseError, match="its licence does not allow it: it has expired; ask your vendor"):
        run(provide(License(refuse)))


def test_a_licence_that_refuses_by_a_coroutine() -> None:
    async def check() -> None:
        refuse()

    with pytest.raises(LicenseError, match="it has expired"):
        run(provide(License(check)))


@pytest.mark.parametrize("error", [ValueError("a mistake"), OSError(2, "No such file"), SystemExit("a mistake")])
def test_a_licence_that_cannot_be_checked_does_not_allow(error: BaseException) -> None:
    def check() -> None:
        raise error

    with pytest.raises(AddinError, match=r"its licence cannot be checked: .*(mistake|No such file)"):
        run(provide(License(check)))


def test_limits_lower_what_is_above_them() -> None:
    allowed = License(max_clients=5, max_clients_per_ae=2)
    assert run(provide(allowed), max_clients=0).max_clients == 5
    assert run(provide(allowed), max_clients=9).max_clients == 5
    assert run(provide(allowed), max_clients=3).max_clients == 3
    assert run(provide(allowed)).max_clients_per_ae == 2


@pytest.mark.parametrize("limits", [{"max_pdu_length": 5}, {"max_clients": 0}, {"max_clients": "5"}])
def test_limits_that_are_none(limits: dict[str, Any]) -> None:
    with pytest.raises(AddinError, match="it may limit max_clients and max_clients_per_ae, from 1"):
        run(provide(License(**limits)))


def test_one_that_opts_out_takes_its_services_along() -> None:
    services = Services()

    def does(server: Any) -> None:
        server.provide(ILicense, License(refuse))
        raise NotConfigured("no key")

    run(Configures(does), services=services)
    assert services.provided_by("configuration add-in it") == []


def test_one_that_fails_ends_it_and_says_where() -> None:
    def does(server: Any) -> None:
        raise ZeroDivisionError("a mistake")

    with pytest.raises(
        AddinError, match=r"configuration add-in it has failed: ZeroDivisionError: a mistake \(test_conf"
    ):
        run(Configures(does))
    with pytest.raises(AddinError, match=r"configuration add-in it has failed: the key is unreadable$"):
        run(Configures(lambda server: (_ for _ in ()).throw(SettingsError(["the key is unreadable"]))))


def test_two_licences() -> None:
    with pytest.raises(AddinError, match="both provide the base service ILicense"):
        run(provide(License()), provide(License()))
