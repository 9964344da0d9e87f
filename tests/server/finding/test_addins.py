"""Which add-ins a server runs with, and their settings."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from zope.interface import implementer

from tests.services.serving import Addin
from txdicom.errors import SettingsError
from txdicom.interfaces import IDicomAddin
from txdicom.server.finding import installed
from txdicom.server.finding.addins import Choice, configuration_addins, find_addins
from txdicom.server.finding.discovery import PACKAGES, Found
from txdicom.server.folder import ServerFolder
from txdicom.server.settings.tables import parse_overrides, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE = """
from pydantic import BaseModel, Field, model_validator
from zope.interface import implementer
from txdicom.interfaces import IAddinOptions, IDicomAddin

class Part(BaseModel):
    deep: int = 0

class Settings(BaseModel):
    limit: int = Field(default=5, ge=0)
    text: str = ""
    part: Part = Part()

    @model_validator(mode="after")
    def check(self):
        if self.limit == 13:
            raise ValueError("13 is no good")
        return self

@implementer(IDicomAddin, IAddinOptions)
class One:
    name = "one"
    version = description = author = ""
    settings_model = Settings
    def load(self, server): pass
    def unload(self): pass
    def apply(self, settings): pass
"""
PLAIN = """
from zope.interface import implementer
from txdicom.interfaces import IDicomAddin

@implementer(IDicomAddin)
class Plain:
    name = "plain"
    version = description = author = ""
    def load(self, server): pass
    def unload(self): pass
"""
NO_INTEGER = "input should be a valid integer, unable to parse string as an integer"
NEEDY = ONE.replace("limit: int = Field(default=5, ge=0)", "limit: int")


class Place:
    """A server's folder, and what is found in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = ServerFolder(str(path.parent), path.name)
        for name in ("addins", "addins.d", "configuration"):
            (path / name).mkdir(parents=True)

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def find(self, toml: str = "", *options: str) -> Choice:
        problems: list[str] = []
        overrides = parse_overrides(options, (), problems)
        assert problems == []
        return find_addins(read_settings(toml, overrides, ae_title="HERE"), self.folder)

    def names(self, toml: str = "", *options: str) -> list[str]:
        choice = self.find(toml, *options)
        assert choice.problems == []
        return [one.name for one in choice.addins]

    def problems(self, toml: str = "", *options: str) -> list[str]:
        return self.find(toml, *options).problems


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    yield Place(tmp_path / "HERE")
    for name in [one for one in sys.modules if one.partition(".")[0] in PACKAGES.values()]:
        del sys.modules[name]


# -- which -------------------------------------------------------------------------------------------------------------


def test_the_enabled_ones_and_all_of_the_folder(place: Place) -> None:
    assert place.names() == ["verification", "storage"]
    place.write("addins/b.py", ONE)
    place.write("addins/a.py", PLAIN)
    assert place.names() == ["verification", "storage", "plain", "one"]
    assert place.names("addins.enabled = ['one', 'storage']") == ["one", "storage", "plain"]
    # or by the name of its file
    assert place.names("addins.enabled = ['b']") == ["one", "plain"]
    assert place.find("addins.enabled = []").others[:2] == ["verification", "storage"]


def test_what_is_not_there_is_told_with_its_line(place: Place) -> None:
    place.write("addins/a.py", PLAIN)
    assert place.problems("[addins]\nenabled = ['storge', 'storage']\nrequired = ['x']") == [
        "server.toml:2: addins.enabled: there is no add-in 'storge'; there are verification, storage, a, plain",
        "server.toml:3: addins.required: 'x' is not among the add-ins that take part: storage, plain",
    ]


def test_a_broken_one_is_left_out_unless_it_is_required(place: Place) -> None:
    place.write("addins/bad.py", "\n1 +\n")
    choice = place.find()
    assert [str(one) for one in choice.broken] == ["addins/bad.py:2: SyntaxError: invalid syntax"]
    assert choice.problems == []
    assert place.problems("addins.required = ['bad']") == [
        "addins/bad.py:2: SyntaxError: invalid syntax (add-in bad is required: server.toml:1: addins.required)"
    ]
    # enabling it changes nothing
    assert place.problems("addins.enabled = ['bad']") == []


def test_one_that_does_not_fulfil_its_interface_is_broken(place: Place) -> None:
    place.write("addins/bad.py", PLAIN.replace("def unload", "def other"))
    choice = place.find()
    assert [one.name for one in choice.addins] == ["verification", "storage"]
    assert str(choice.broken[0]).startswith("addins/bad.py: add-in plain does not fulfil IDicomAddin: ")


def test_a_configuration_add_in_in_the_wrong_folder(place: Place) -> None:
    text = PLAIN.replace("IDicomAddin", "IDicomAddin, IServerConfig").replace("(self, server)", "(self, server=None)")
    place.write("addins/bad.py", text + "    configure_server = lambda self, server: None\n")
    [broken] = place.find().broken
    assert broken.reason == "it provides IServerConfig, for which its place is the folder configuration/"


def test_required_by_name_or_by_file(place: Place) -> None:
    place.write("addins/file.py", PLAIN)
    assert place.find("addins.required = ['plain']").required == {"plain"}
    assert place.find("addins.required = ['file', 'storage']").required == {"plain", "storage"}
    assert place.find().required == {"storage"}
    # what is required by default is what is enabled by default
    assert place.find("addins.enabled = []").required == frozenset()


def test_two_of_one_name_are_both_named(place: Place) -> None:
    place.write("addins/a.py", PLAIN)
    place.write("addins/b.py", PLAIN)
    place.write("addins/c.py", PLAIN.replace("plain", "storage"))
    assert place.problems() == [
        "txdicom and addins/c.py both have an add-in called storage: take one of them out",
        "addins/a.py and addins/b.py both have an add-in called plain: take one of them out",
    ]


def test_configuration_add_ins_must_all_be_in_order(place: Place) -> None:
    assert configuration_addins("HERE", place.folder) == []
    place.write(
        "configuration/a.py",
        "from zope.interface import implementer\nfrom txdicom.interfaces import IServerConfig\n"
        "@implementer(IServerConfig)\nclass A:\n    def configure_server(self, server): pass\n",
    )
    [addin] = configuration_addins("HERE", place.folder)
    assert type(addin).__module__ == "txdicom_configuration.HERE.a"
    place.write("configuration/b.py", "1 +")
    place.write("configuration/c.py", PLAIN)
    with pytest.raises(SettingsError) as raised:
        configuration_addins("HERE", place.folder)
    assert raised.value.problems[0] == "configuration/b.py:1: SyntaxError: invalid syntax"
    assert raised.value.problems[1].startswith("configuration/c.py: nothing in it provides IServerConfig")


# -- installed ---------------------------------------------------------------------------------------------------------


@implementer(IDicomAddin)
class Third(Addin):
    """An installed add-in."""

    name = "third"


class Fourth(Third):
    name = "fourth"


def wrongly_named() -> Third:
    return Third()


class EntryPoint:
    dist = type("Distribution", (), {"name": "package", "version": "1.0"})

    def __init__(self, name: str, thing: Any) -> None:
        self.name, self.value, self.thing = name, "package.module:thing", thing

    def load(self) -> Any:
        if isinstance(self.thing, Exception):
            raise self.thing
        return self.thing


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """The entry points there are; one Twisted plugin is there, too."""
    there: list[EntryPoint] = []
    monkeypatch.setattr(installed, "entry_points", lambda group: there if group == "txdicom.addins" else [])
    plugin = Fourth()
    monkeypatch.setattr("twisted.plugin.getPlugins", lambda interface: [plugin] if interface is IDicomAddin else [])
    return there


@pytest.mark.parametrize("thing", [Third, Third(), lambda: Third()])
def test_an_installed_one_takes_part_where_it_is_enabled(place: Place, packages: list[EntryPoint], thing: Any) -> None:
    packages += [EntryPoint("third", thing), EntryPoint("bad", ImportError("not asked for"))]
    assert place.names() == ["verification", "storage"]
    choice = place.find("addins.enabled = ['third', 'fourth']")
    assert [f"{one.name}: {one.origin}" for one in choice.addins] == [
        "third: package 1.0 (package.module:thing)",
        "fourth: Twisted plugin tests.server.finding.test_addins",
    ]
    assert choice.others == ["verification", "storage", "bad"]


def test_an_installed_one_that_cannot_be_imported(place: Place, packages: list[EntryPoint]) -> None:
    packages += [EntryPoint("bad", ImportError("no such library")), EntryPoint("other", wrongly_named)]
    choice = place.find("addins.enabled = ['bad', 'other']")
    reason = "its add-in is called 'third'; the entry point has to have the same name"
    assert [str(one) for one in choice.broken] == [
        "package 1.0 (package.module:thing): ImportError: no such library",
        f"package 1.0 (package.module:thing): ValueError: {reason}",
    ]
    assert choice.problems == []
    assert len(place.problems("[addins]\nenabled = ['bad']\nrequired = ['bad']")) == 1


def test_two_packages_with_one_name(place: Place, packages: list[EntryPoint]) -> None:
    packages.append(EntryPoint("fourth", Fourth))
    [problem] = place.problems("addins.enabled = ['fourth']")
    assert "Twisted plugin tests.server.finding.test_addins and package 1.0" in problem


def test_what_is_found_has_a_name() -> None:
    assert Found(addin=Third(), origin="x").name == "third"


# -- settings ----------------------------------------------------------------------------------------------------------


def test_settings_of_both_places_are_checked(place: Place) -> None:
    place.write("addins/it.py", ONE)
    place.write("addins.d/one.toml", "text = 'x'\n")
    settings = place.find("[addins.one]\nlimit = 3\n[addins.one.part]\ndeep = 4\n").settings["one"]
    assert (settings.limit, settings.text, settings.part.deep) == (3, "x", 4)
    assert place.find("", "addins.one.limit=8").settings["one"].limit == 8
    assert place.find().settings["one"].limit == 5


def test_every_mistake_has_its_place(place: Place) -> None:
    place.write("addins/it.py", ONE)
    place.write("addins.d/one.toml", "text = 7\n\nlimt = 3\n[part]\nx = 1\ndeep = 'y'\n")
    place.write("addins/plain.py", PLAIN)
    toml = "[addins.one]\nlimit = -1\ntext = 'here'\n[addins.plain]\nx = 1\n[addins.nobody]\ny = 1"
    found = place.problems(toml)
    assert [problem.replace(NO_INTEGER, "no integer") for problem in found] == [
        "addins.d/one.toml:1: text: it is also given in server.toml:3: addins.one.text: take one of them out",
        "addins.d/one.toml:3: limt: there is no such setting; did you mean limit?",
        "addins.d/one.toml:5: part.x: there is no such setting",
        "server.toml:2: addins.one.limit: input should be greater than or equal to 0, not -1",
        "addins.d/one.toml:6: part.deep: no integer, not 'y'",
        "server.toml:5: addins.plain.x: add-in plain has no settings",
        "server.toml:6: addins.nobody: there is no add-in nobody; there are one, plain, storage, verification",
    ]


def test_mistakes_of_the_whole(place: Place) -> None:
    place.write("addins/it.py", ONE)
    place.write("addins.d/one.toml", "limit = 13\n")
    assert place.problems() == ["the settings of add-in one: 13 is no good"]
    place.write("addins.d/one.toml", "limit = \n")
    [problem] = place.problems()
    assert problem.startswith("addins.d/one.toml: ")
    assert "line 1" in problem
    (place.path / "addins.d" / "one.toml").write_bytes(b"\xff")
    assert place.problems() == ["addins.d/one.toml cannot be read: it is not UTF-8"]


def test_a_setting_that_has_to_be_given(place: Place) -> None:
    place.write("addins/it.py", NEEDY)
    assert place.problems() == ["addins.d/one.toml: limit: it has to be given"]
    assert place.find("addins.one.limit = 1").settings["one"].limit == 1


def test_settings_of_what_is_not_enabled_are_left_alone(place: Place) -> None:
    assert place.problems("[addins]\nenabled = []\n[addins.storage]\nx = 1") == []


def test_settings_of_nobody(place: Place) -> None:
    place.write("addins.d/nobody.toml", "x = 1")
    assert place.find().warnings == ["addins.d/nobody.toml is for no add-in that there is"]
    # whose they are cannot be known where a file cannot be imported
    place.write("addins/bad.py", "1 +")
    choice = place.find("addins.other.x = 1")
    assert choice.problems == []
    assert choice.warnings[0].startswith("server.toml:1: addins.other: there is no add-in other")
