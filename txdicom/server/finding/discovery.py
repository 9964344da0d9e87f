"""Add-ins in the files and packages of a folder, imported under names of their own.

`<folder>/x.py` is imported as `txdicom_addins.<AE title>.x`: nothing is added to `sys.path`, no bytecode is read or
written, and only source files that nobody else can change are run.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from txdicom.interfaces.addin import name_of
from txdicom.server.finding.trust import of_status, why_not_trusted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType

    from zope.interface import Interface

#: the packages under which modules of these folders are imported
PACKAGES: Final = {"addins": "txdicom_addins", "configuration": "txdicom_configuration"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """An add-in, and where it comes from; `stem` is the name of its file without `.py`."""

    addin: Any
    origin: str
    stem: str = ""

    @property
    def name(self) -> str:
        """The add-in's name."""
        return name_of(self.addin)


@dataclass(frozen=True, kw_only=True)
class Broken:
    """What cannot be used as an add-in; `where` is its file, with the line where there is one. `name`: of the file."""

    name: str
    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


class _Source(SourceFileLoader):
    """Loads a module from its source, whatever bytecode there may be."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def get_data(self, path: str) -> bytes:
        reason = why_not_trusted(path)
        if reason:
            raise ImportError(reason, path=path)
        with open(path, "rb") as file:
            # what was opened may be another file than the one that was looked at
            reason = of_status(os.fstat(file.fileno()))
            if reason:
                raise ImportError(reason, path=path)
            return file.read()


class _Finder(MetaPathFinder):
    """Finds the modules of our packages, and those within them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None or fullname.partition(".")[0] not in PACKAGES.values():
            return None
        for folder in path:
            spec = FileFinder(folder, (_Source, SOURCE_SUFFIXES)).find_spec(fullname)
            if spec is not None and spec.loader is not None:
                return spec
        return None


_FINDER: Final = _Finder()


def in_folder(
    server_folder: str, kind: str, ae_title: str, interface: type[Interface]
) -> tuple[list[Found], list[Broken]]:
    """The objects that provide `interface` in the folder `kind` of a server, in the order of the files' names.

    Every file `*.py` and every package counts, but not those whose name begins with `.`, `_` or `test_`. In a module it
    is every object at its top that provides the interface, and one object of every class that is defined there and
    implements it, unless an object of that class is there, another class derives from it, or its name begins with `_`.
    """
    folder = os.path.join(server_folder, kind)
    found: list[Found] = []
    broken: list[Broken] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return found, broken
    except OSError as error:
        return found, [Broken(name=kind, where=kind, reason=f"it cannot be read: {error.strerror}")]
    reason = why_not_trusted(folder) if entries else ""
    if reason:
        return found, [Broken(name=kind, where=kind, reason=reason)]
    package = _package(PACKAGES[kind], ae_title, folder)
    for entry in entries:
        stem = _stem(entry)
        if not stem:
            continue
        origin = f"{kind}/{entry.name}"
        objects, problems = _objects(package, stem, entry.path, interface)
        known = {id(one.addin) for one in found}
        found += [Found(addin=one, origin=origin, stem=stem) for one in objects if id(one) not in known]
        broken += [
            Broken(name=stem, where=_place(server_folder, origin, path, line), reason=reason)
            for path, line, reason in problems
        ]
    return found, broken


def names_in_folder(server_folder: str, kind: str) -> list[str]:
    """The names of the files and packages that `in_folder` would import, without `.py`; none is imported."""
    try:
        return sorted(stem for entry in os.scandir(os.path.join(server_folder, kind)) if (stem := _stem(entry)))
    except OSError:
        return []


def _stem(entry: os.DirEntry[str]) -> str:
    """The name of a module; empty where it is none, or only helps."""
    stem, suffix = os.path.splitext(entry.name)
    if stem.startswith((".", "_", "test_")) or not (suffix == ".py" or _is_package(entry)):
        return ""
    return stem if suffix == ".py" else entry.name


def _is_package(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and os.path.isfile(os.path.join(entry.path, "__init__.py"))


def _package(root: str, ae_title: str, folder: str) -> str:
    """The name of the package that stands for `folder`, emptied of what an earlier look has imported."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    # a dot would make a package of its own
    name = f"{root}.{re.sub('[^A-Za-z0-9_]', lambda found: f'_{ord(found[0]):x}_', ae_title)}"
    for one in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
        del sys.modules[one]
    for one, folders in ((root, []), (name, [folder])):
        module = sys.modules.setdefault(one, ModuleType(one))
        module.__path__ = folders
    return name


#: path, line (0: none) and reason of something that is wrong
_Problem = tuple[str, int, str]


def _objects(package: str, stem: str, path: str, interface: type[Interface]) -> tuple[list[Any], list[_Problem]]:
    """The add-ins of one file or package."""
    reason = why_not_trusted(path)
    if reason:
        return [], [(path, 0, reason)]
    if "." in stem:
        return [], [(path, 0, "a module's name has no dot: rename it")]
    try:
        module = import_module(f"{package}.{stem}")
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a module does when it is imported)
        return [], [_explained(error, path)]
    objects = _unique([one for one in vars(module).values() if _provides(interface, one)])
    classes = _unique(
        [
            one
            for one in vars(module).values()
            if inspect.isclass(one)
            and f"{one.__module__}.".startswith(f"{module.__name__}.")
            and interface.implementedBy(one)
        ]
    )
    problems: list[_Problem] = []
    for cls in classes:
        derived = any(other is not cls and issubclass(other, cls) for other in classes)
        if derived or cls.__name__.startswith("_") or any(isinstance(one, cls) for one in objects):
            continue
        try:
            inspect.signature(cls).bind()
        except (TypeError, ValueError):
            remedy = f"make one at the top of the module: addin = {cls.__name__}(…)"
            problems.append((path, _line(cls), f"{cls.__name__} cannot be made without arguments: {remedy}"))
            continue
        try:
            objects.append(cls())
        except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a class does)
            problems.append(_explained(error, path))
    if not objects and not problems:
        what = interface.__name__
        problems.append((path, 0, f"nothing in it provides {what}; the name of a file that only helps begins with _"))
    return objects, problems


def _provides(interface: type[Interface], thing: Any) -> bool:
    try:
        return bool(interface.providedBy(thing))
    except Exception:  # noqa: BLE001 (what is in a module may answer any question by an exception)
        return False


def _unique(things: list[Any]) -> list[Any]:
    return list({id(one): one for one in things}.values())


def _line(cls: type) -> int:
    try:
        return inspect.getsourcelines(cls)[1]
    except (OSError, TypeError):
        return 0


def _explained(error: BaseException, path: str) -> _Problem:
    """Where in the file or package an exception came from, and what it says."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0, f"{type(error).__name__}: {error.msg}"
    if isinstance(error, ImportError) and error.path and error.name is None:
        return error.path, 0, str(error)
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    inside = path if path.endswith(".py") else path + os.sep
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(inside):
            return frame.filename, frame.lineno or 0, text
    return path, 0, text


def _place(server_folder: str, origin: str, path: str, line: int) -> str:
    """A file as messages name it: from the server's folder, with the line."""
    name = os.path.relpath(path, server_folder) if path.startswith(server_folder + os.sep) else origin
    return f"{name}:{line}" if line else name
