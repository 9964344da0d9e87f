"""Add-ins in a folder: what is found, what is imported how, and what is said of what cannot be used."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from zope.interface import Interface

from txdicom.interfaces import IDicomAddin
from txdicom.server.finding import trust
from txdicom.server.finding.discovery import PACKAGES, in_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: what the modules of these tests begin with
HEAD = """
from zope.interface import implementer
from txdicom.interfaces import IDicomAddin

class Base:
    version = description = author = ""
    def load(self, server): pass
    def unload(self): pass

"""
ONE = HEAD + "@implementer(IDicomAddin)\nclass One(Base):\n    name = 'one'\n"

#: a class whose objects are made in the module
MADE = """
@implementer(IDicomAddin)
class C(Base):
    def __init__(self, name): self.name = name
a, b = C('x'), C('y')
"""
#: an object that answers every question by an exception
ODD = """
other = One()
other.name = 'other'
class Odd:
    def __getattr__(self, name): raise ValueError
odd = Odd()
"""


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    """Writes a file below `addins/`; what was imported from there is forgotten at the end."""

    def run(name: str, text: str) -> Path:
        path = tmp_path / "addins" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    yield run
    for name in [one for one in sys.modules if one.partition(".")[0] in PACKAGES.values()]:
        del sys.modules[name]


@pytest.fixture
def look(tmp_path: Path) -> Callable[[], tuple[list[str], list[str]]]:
    """The names that are found, with their files, and what is said about the others."""

    def run() -> tuple[list[str], list[str]]:
        found, broken = in_folder(str(tmp_path), "addins", "A-B.C", IDicomAddin)
        return [f"{one.name} {one.origin}" for one in found], [str(one) for one in broken]

    return run


Write = "Callable[[str, str], Path]"
Look = "Callable[[], tuple[list[str], list[str]]]"


def test_no_folder_is_no_add_in(look: Look) -> None:
    assert look() == ([], [])


def test_files_and_packages_in_the_order_of_their_names(write: Write, look: Look) -> None:
    write("b.py", ONE.replace("one", "two"))
    write("a/__init__.py", "from .inner import One\n")
    write("a/inner.py", "from . import helper\n" + ONE.replace("'one'", "helper.NAME"))
    write("a/helper.py", "NAME = 'one'\n")
    assert look() == (["one addins/a", "two addins/b.py"], [])


def test_what_is_not_looked_at(write: Write, look: Look) -> None:
    for name in ("_helper.py", ".hidden.py", "test_one.py", "notes.txt", "one.py~", "folder/inner.py"):
        write(name, "raise ValueError\n")
    assert look() == ([], [])


def test_imported_under_names_of_their_own(write: Write, look: Look) -> None:
    path, modules = [*sys.path], {*sys.modules}
    write("json.py", "from . import _helper\n" + ONE)
    write("_helper.py", "")
    assert look() == (["one addins/json.py"], [])
    assert sys.path == path
    new = {name for name in {*sys.modules} - modules if name.startswith("txdicom_")}
    package = "txdicom_addins.A_2d_B_2e_C"
    assert new == {"txdicom_addins", package, f"{package}.json", f"{package}._helper"}
    import json

    assert json.dumps(1) == "1"


def test_no_bytecode_is_written_or_read(write: Write, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = write("one.py", ONE)
    assert look()[0] == ["one addins/one.py"]
    assert os.listdir(path.parent) == ["one.py"]
    # of the same size and time as what a cache would have been made from
    times = path.stat()
    path.write_text(ONE.replace("'one'", "'two'"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert look()[0] == ["two addins/one.py"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (ONE + "addin = One()\nsame = addin\n", ["one"]),
        (ONE + "class Two(One):\n    name = 'two'\n", ["two"]),
        (ONE + "class _Two(One):\n    name = 'two'\n", []),
        (ONE + "class Two(Base):\n    name = 'two'\n", ["one"]),
        (HEAD + MADE, ["x", "y"]),
        (ONE + ODD, ["other"]),
    ],
)
def test_which_objects_of_a_module(write: Write, look: Look, text: str, names: list[str]) -> None:
    write("it.py", text)
    found, broken = look()
    assert found == [f"{name} addins/it.py" for name in names]
    assert bool(broken) is not bool(names)


def test_what_is_imported_from_elsewhere_is_no_add_in_of_the_file(write: Write, look: Look) -> None:
    write("a.py", ONE + "addin = One()\n")
    write("b.py", "from .a import One, addin\nfrom txdicom.addins.verification import VerificationAddin\n")
    assert look() == (["one addins/a.py"], [])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\ny = = 2\n", "addins/it.py:2: SyntaxError: invalid syntax"),
        ("\n\nimport no_such_module\n", "addins/it.py:3: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def f():\n    1 / 0\nf()\n", "addins/it.py:2: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "addins/it.py:2: SystemExit: 3"),
        ("x = 1\n", "addins/it.py: nothing in it provides IDicomAddin; the name of a file that only helps begins"),
        ("x = '\0'\n", "addins/it.py"),
        (ONE + "    def __init__(self, x): pass\n", "addins/it.py:10: One cannot be made without arguments: make one"),
        (ONE + "    def __init__(self):\n        raise OSError('no disk')\n", "addins/it.py:14: OSError: no disk"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_line(write: Write, look: Look, text: str, sentence: str) -> None:
    write("it.py", text)
    write("other.py", ONE)
    found, [broken] = look()
    assert found == ["one addins/other.py"]
    assert broken.startswith(sentence)


def test_a_mistake_within_a_package(write: Write, look: Look) -> None:
    write("it/__init__.py", "from .deep import inner\n")
    write("it/deep/__init__.py", "")
    write("it/deep/inner.py", "\n1 / 0\n")
    assert look()[1] == ["addins/it/deep/inner.py:2: ZeroDivisionError: division by zero"]


def test_a_name_with_a_dot(write: Write, look: Look) -> None:
    write("a.b.py", ONE)
    assert look()[1] == ["addins/a.b.py: a module's name has no dot: rename it"]


# -- whose code --------------------------------------------------------------------------------------------------------


def test_what_others_may_write_is_not_run(write: Write, look: Look) -> None:
    write("bad.py", ONE + "1 / 0").chmod(0o664)
    write("good.py", ONE)
    write("pack/__init__.py", ONE.replace("one", "two"))
    (write("pack/__init__.py", ONE.replace("one", "two")).parent).chmod(0o777)
    write("deep/__init__.py", "from . import inner")
    write("deep/inner.py", ONE).chmod(0o602)
    assert look() == (
        ["one addins/good.py"],
        [
            "addins/bad.py: others than its owner may write to it (mode 664): chmod go-w",
            "addins/deep/inner.py: others than its owner may write to it (mode 602): chmod go-w",
            "addins/pack: others than its owner may write to it (mode 777): chmod go-w",
        ],
    )


def test_a_folder_that_others_may_write_to(write: Write, look: Look) -> None:
    write("good.py", ONE).parent.chmod(0o1777)
    assert look() == ([], ["addins: others than its owner may write to it (mode 1777): chmod go-w"])


def test_a_link_to_where_others_may_write(write: Write, look: Look, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "one.py").write_text(ONE)
    write("good.py", ONE)
    (tmp_path / "addins" / "it.py").symlink_to(tmp_path / "open" / "one.py")
    assert look() == (
        ["one addins/good.py"],
        [f"addins/it.py: {tmp_path}/open: others than its owner may write to it (mode 777): chmod go-w"],
    )


def test_code_of_another_user(write: Write, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("it.py", ONE)
    us = os.geteuid()
    if us == 0:
        os.chown(path, 12345, -1)
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    owner, server = (12345, 54321) if us == 0 else (us, us + 1)
    [sentence] = look()[1]
    assert sentence.endswith(f": it belongs to user {owner}, not to the server's user ({server}) or root")


def test_a_link_to_nothing(tmp_path: Path) -> None:
    assert trust.why_not_trusted(str(tmp_path / "none")) == "No such file or directory"


def test_any_interface_can_be_looked_for(write: Write, tmp_path: Path) -> None:
    class INothing(Interface):
        """Provided by nobody."""

    write("one.py", ONE)
    found, [broken] = in_folder(str(tmp_path), "addins", "HERE", INothing)
    assert found == []
    assert "nothing in it provides INothing" in str(broken)
