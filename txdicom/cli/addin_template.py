"""The files of a new add-in: a small one that works, and its test."""

from __future__ import annotations

import uuid
from string import Template
from typing import Final

_ADDIN: Final = Template('''\
"""The add-in $name: keeps the instances of one SOP class in a folder of its own."""

from pathlib import Path

from pydantic import BaseModel, Field
from twisted.logger import Logger
from zope.interface import implementer

from txdicom.dimse import status
from txdicom.interfaces import IAddinOptions, IDicomAddin, IProcessCStore, blocking, presentation_context

# A private SOP class, made up for this add-in. Write here what you want to take from the add-in storage: CT Image
# Storage, for example, is 1.2.840.10008.5.1.4.1.1.2; a class that is named goes before ANY_STORAGE.
SOP_CLASS = "$uid"

log = Logger()


class Settings(BaseModel):
    """What an operator can set, in addins.d/$name.toml or below [addins.$name] in server.toml."""

    folder: str = Field(default="$name", description="Where instances are kept; a relative path is the server's")
    max_size: int = Field(default=100_000_000, ge=0, description="Longest data set that is taken, in bytes")


@implementer(IDicomAddin, IAddinOptions, IProcessCStore)
class $cls:
    """What txdicom.interfaces says of these interfaces is what this class keeps to."""

    name = "$name"
    version = "0.1"
    description = "Keeps the instances of one SOP class in a folder of its own"
    author = ""
    settings_model = Settings

    def apply(self, settings):
        self.settings = settings

    def load(self, server):
        self.folder = Path(server.folder or ".", self.settings.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        log.info("$name keeps instances in {folder}", folder=str(self.folder))

    def unload(self):
        pass

    @presentation_context(SOP_CLASS)
    @blocking
    def on_c_store(self, request):
        if request.received.size > self.settings.max_size:
            return status.OUT_OF_RESOURCES.with_comment("longer than $name takes")
        # the framework has checked that this is a UID: it can name a file
        request.received.save(self.folder / f"{request.sop_instance}.dcm")
        return status.SUCCESS
''')

_TEST: Final = Template('''\
"""The test of the add-in $name: python -m pytest $test"""

from types import SimpleNamespace

import pytest
from zope.interface import providedBy
from zope.interface.verify import verifyObject

from $module import SOP_CLASS, $cls, Settings
from txdicom.dimse import status
from txdicom.interfaces import declared_contexts


class Received:
    """An instance of 4 bytes, as `request.received`."""

    size = 4

    def save(self, path):
        path.write_bytes(b"DICM")


@pytest.fixture
def addin(tmp_path):
    made = $cls()
    made.apply(Settings())
    made.load(SimpleNamespace(folder=str(tmp_path)))
    return made


REQUEST = SimpleNamespace(sop_instance="1.2.3", received=Received())


def test_it_fulfils_its_interfaces(addin):
    for interface in providedBy(addin):
        verifyObject(interface, addin)
    assert declared_contexts(addin.on_c_store) == ((SOP_CLASS, ()),)


def test_an_instance_is_kept(addin, tmp_path):
    assert addin.on_c_store(REQUEST) == status.SUCCESS
    assert (tmp_path / "$name" / "1.2.3.dcm").read_bytes() == b"DICM"


def test_one_that_is_too_long_is_refused(addin, tmp_path):
    addin.apply(Settings(max_size=3))
    assert addin.on_c_store(REQUEST).code == status.OUT_OF_RESOURCES.code
    assert list((tmp_path / "$name").iterdir()) == []
''')


def files_of(name: str) -> dict[str, str]:
    """The texts of a new add-in by the names of their files: the add-in and its test, which the server leaves alone."""
    module = name.replace("-", "_")
    values = {
        "name": name,
        "module": module,
        "cls": "".join(word.capitalize() for word in module.split("_")) + "Addin",
        "uid": f"2.25.{uuid.uuid4().int}",
        "test": f"test_{module}.py",
    }
    return {f"{module}.py": _ADDIN.substitute(values), f"test_{module}.py": _TEST.substitute(values)}
