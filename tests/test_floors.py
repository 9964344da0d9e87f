"""The rules of the house that a program can check: who imports whom, what stays light, how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "txdicom"

#: from the ground up: a floor imports itself and floors below it. What stands together shares a floor.
FLOORS = (
    {"", "errors", "uids", "part10", "private_files"},
    {"interfaces"},
    {"pdu"},
    {"ul"},
    {"dimse"},
    {"net"},
    {"services"},
    {"archive"},
    {"scu"},
    {"scp"},
    {"addins"},
    {"admin"},
    {"server"},
    {"cli", "__main__"},
    {"testing"},
)
HEIGHT = {name: height for height, names in enumerate(FLOORS) for name in names}
GROUND = FLOORS[0]

#: narrower than "anything below": what these floors may import of ours, themselves apart
ONLY = {
    "interfaces": GROUND,
    "pdu": {"", "errors", "uids"},
    "ul": {"", "errors", "uids", "pdu"},
    "dimse": {"", "errors", "uids", "pdu", "ul"},
    "archive": {*GROUND, "interfaces", "dimse.status"},
    "addins": {*GROUND - {"part10", "private_files"}, "interfaces", "dimse.status", "archive"},
}
SANS_IO = {"pdu", "ul", "dimse"}
#: what the floors without a clock, a thread or a file may import of the standard library; nothing else from outside
PURE = {"__future__", "abc", "bisect", "collections", "contextlib", "dataclasses", "enum", "functools", "heapq"}
PURE |= {"itertools", "math", "operator", "re", "string", "struct", "types", "typing"}
IMPURE_BUILTINS = {"open", "print", "input", "breakpoint", "exec", "eval", "__import__"}

MAX_LINES = 400


def sources() -> dict[str, str]:
    """The text of every module of the package, by its dotted name; packages end in `.__init__`."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text("utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def for_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def run_time_nodes(tree: ast.AST) -> list[ast.AST]:
    """Every node below `tree` that is there at run time, bodies of functions included."""
    nodes = [tree]
    children = [*tree.orelse] if for_type_checking(tree) else ast.iter_child_nodes(tree)
    for child in children:
        nodes += run_time_nodes(child)
    return nodes


def imports(module: str, tree: ast.AST) -> list[tuple[int, str]]:
    """(line, dotted name) of everything `module` imports at run time; `from a import b` gives `a.b`."""
    found: list[tuple[int, str]] = []
    for node in run_time_nodes(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = [*module.split(".")[: -node.level]] if node.level else []
            base = ".".join([*package, *filter(None, [node.module])])
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return found


def floor_of(dotted: str) -> str:
    """The floor of a module of ours: "" for the package itself and what it defines."""
    second = [*dotted.split("."), ""][1]
    return second if second in HEIGHT else ""


def allowed(floor: str, target: str) -> bool:
    other = floor_of(target)
    if floor == other:
        return True
    if floor in ONLY:
        one_module = {f"txdicom.{name}" for name in ONLY[floor] if "." in name}
        return other in ONLY[floor] or any(f"{target}.".startswith(f"{name}.") for name in one_module)
    return HEIGHT[other] <= HEIGHT[floor]


def violations(module: str, text: str) -> list[str]:
    """A sentence for every import or call in `module` that its floor may not make."""
    floor = floor_of(module)
    tree = ast.parse(text)
    found = []
    for line, target in imports(module, tree):
        top = target.partition(".")[0]
        if top == "txdicom":
            if not allowed(floor, target):
                found.append(f"{module}:{line} imports {target}")
        elif (floor in SANS_IO and top not in PURE) or (floor in GROUND and top == "twisted"):
            found.append(f"{module}:{line} imports {target}, below the Twisted line")
    if floor in SANS_IO:
        calls = [node for node in run_time_nodes(tree) if isinstance(node, ast.Call)]
        found += [
            f"{module}:{call.lineno} calls {call.func.id}"
            for call in calls
            if isinstance(call.func, ast.Name) and call.func.id in IMPURE_BUILTINS
        ]
    return found


def test_every_module_keeps_to_its_floor() -> None:
    assert [sentence for module, text in sources().items() for sentence in violations(module, text)] == []


def test_every_folder_and_module_has_a_floor() -> None:
    names = {module.split(".")[1].replace("__init__", "") for module in sources()}
    assert names - set(HEIGHT) == set()


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("txdicom.pdu.types", "import txdicom.ul.states"),
        ("txdicom.pdu.types", "from txdicom import ul"),
        ("txdicom.pdu.types", "from ..ul import states"),
        ("txdicom.pdu.__init__", "from ..ul import states"),
        ("txdicom.pdu.types", "def f():\n    from txdicom.net import protocol"),
        ("txdicom.pdu.types", "if TYPE_CHECKING:\n    pass\nelse:\n    import txdicom.net"),
        ("txdicom.pdu.types", "import time"),
        ("txdicom.ul.states", "from twisted.internet import defer"),
        ("txdicom.dimse.command", "import os.path"),
        ("txdicom.dimse.command", "import pydicom"),
        ("txdicom.dimse.command", "open('a')"),
        ("txdicom.dimse.command", "from txdicom import part10"),
        ("txdicom.interfaces.addin", "from txdicom.dimse.status import Status"),
        ("txdicom.archive.store", "from txdicom.dimse.command import Command"),
        ("txdicom.archive.store", "from txdicom.services import writer"),
        ("txdicom.addins.storage", "from txdicom.net.association import Association"),
        ("txdicom.addins.storage", "from txdicom.services.storage import provide"),
        ("txdicom.errors", "from twisted.internet.error import ConnectionLost"),
        ("txdicom.errors", "from txdicom.dimse.status import Status"),
        ("txdicom.server.tap", "from txdicom.cli.main import main"),
        ("txdicom.cli.main", "from txdicom.testing import pair"),
    ],
)
def test_the_check_sees(module: str, text: str) -> None:
    assert len(violations(module, text)) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("txdicom.pdu.types", "from __future__ import annotations\nfrom collections.abc import Mapping\nimport struct"),
        (
            "txdicom.pdu.types",
            "from txdicom.errors import DicomError\nfrom . import limits\nfrom .types import PDU",
        ),
        ("txdicom.pdu.types", "if TYPE_CHECKING:\n    import time\n    from txdicom.server import tap"),
        ("txdicom.ul.connection", "from txdicom.pdu import types"),
        ("txdicom.uids", "from txdicom import __version__"),
        (
            "txdicom.archive.store",
            "from txdicom.dimse.status import SUCCESS\nfrom txdicom.part10 import file_meta\nimport os",
        ),
        ("txdicom.addins.storage", "from txdicom.archive.store import Store\nfrom twisted.internet import defer"),
        ("txdicom.server.tap", "from txdicom import addins, scp"),
        ("txdicom.__main__", "from txdicom.cli.main import main"),
    ],
)
def test_the_check_lets_pass(module: str, text: str) -> None:
    assert violations(module, text) == []


def loaded_by(*modules: str) -> set[str]:
    """The top-level names in `sys.modules` after a fresh interpreter imported `modules`."""
    program = f"import sys, {', '.join(modules)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_the_commands_start_without_heavy_packages() -> None:
    assert loaded_by("txdicom.cli.main", "txdicom.scu") & {"pydicom", "pydantic", "sqlalchemy", "numpy"} == set()


def test_the_core_loads_no_twisted() -> None:
    modules = [name.removesuffix(".__init__") for name in sources() if floor_of(name) in SANS_IO]
    assert loaded_by(*modules) & {"twisted", "zope", "pydicom"} == set()


def test_no_file_is_too_long() -> None:
    lengths = {module: text.count("\n") for module, text in sources().items()}
    assert {module: length for module, length in lengths.items() if length > MAX_LINES} == {}
