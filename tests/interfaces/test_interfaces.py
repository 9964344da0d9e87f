"""Every class of ours keeps the interfaces that it says it implements."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import pytest
from zope.interface import Interface, implementedBy
from zope.interface.verify import verifyClass, verifyObject

import txdicom
from txdicom import interfaces
from txdicom.addins.storage import StorageAddin
from txdicom.addins.verification import VerificationAddin
from txdicom.archive.store import Store


def _classes() -> list[Any]:
    """(interface, class) for every class of txdicom that implements one of our interfaces or Twisted's."""
    found = []
    for module in pkgutil.walk_packages(txdicom.__path__, "txdicom."):
        if module.name.endswith("__main__"):
            continue
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if cls.__module__ == module.name:
                found += [
                    pytest.param(interface, cls, id=f"{cls.__module__}.{cls.__name__}-{interface.__name__}")
                    for interface in implementedBy(cls)
                    if interface is not Interface
                ]
    return found


@pytest.mark.parametrize(("interface", "cls"), _classes())
def test_class(interface: Any, cls: type) -> None:
    verifyClass(interface, cls, tentative=True)


@pytest.mark.parametrize("addin", [VerificationAddin(), StorageAddin(Store("unused"))], ids=lambda addin: addin.name)
def test_addin(addin: Any) -> None:
    named = [getattr(interfaces, name) for name in interfaces.__all__]
    provided = [one for one in named if isinstance(one, type(Interface))]
    assert interfaces.IDicomAddin.providedBy(addin)
    for interface in provided:
        if interface.providedBy(addin):
            verifyObject(interface, addin)
    for name in ("name", "version", "description", "author"):
        assert getattr(addin, name)


@pytest.mark.parametrize("name", interfaces.__all__)
def test_every_name_is_there_and_explained(name: str) -> None:
    thing = getattr(interfaces, name)
    assert isinstance(thing, str) or thing.__doc__
    if isinstance(thing, type(Interface)):
        for member, description in thing.namesAndDescriptions(all=True):
            assert description.getDoc(), f"{name}.{member}"
