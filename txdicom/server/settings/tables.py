"""A server's settings: one field of a model is one setting, with its default, its limits and its documentation.

`read_settings` makes them from `server.toml` and from what the command line says for one run.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, get_type_hints

from annotated_types import Ge, Le, MaxLen, Predicate
from pydantic import AfterValidator, BeforeValidator, TypeAdapter, ValidationError

from txdicom.archive.settings import ArchiveSettings
from txdicom.errors import SettingsError
from txdicom.net.config import setting
from txdicom.scp.config import ScpConfig, unknown_setting
from txdicom.server.endpoints import check_endpoint, check_secure_endpoint
from txdicom.server.settings.log import LogSettings
from txdicom.server.settings.mistakes import mistake
from txdicom.server.settings.tls import TlsSettings
from txdicom.server.settings.toml import key_lines, line_of, parse_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from txdicom.server.settings.toml import Path

DEFAULT_AE_TITLE: Final = "TXDICOM"
DEFAULT_LISTEN: Final = "tcp:11112:interface=127.0.0.1"

_AE_TITLE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,15}", re.ASCII)


def check_ae_title(text: str) -> str:
    """`text`, where a server may be called so; ValueError with a sentence where not. It names the server's folder."""
    if _AE_TITLE.fullmatch(text) is None:
        raise ValueError(
            f"{text!r} cannot be a server's AE title: 1 to 16 letters, digits, '_', '-' and '.', no '.' first"
        )
    return text


def _listed(value: Any) -> Any:
    """One string stands for a list of one."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Endpoints = Annotated[tuple[Annotated[str, AfterValidator(check_endpoint)], ...], BeforeValidator(_listed)]
SecureEndpoints = Annotated[
    tuple[Annotated[str, AfterValidator(check_endpoint), AfterValidator(check_secure_endpoint)], ...],
    BeforeValidator(_listed),
]
ServerTitle = Annotated[str, AfterValidator(check_ae_title)]


@dataclass(frozen=True, kw_only=True)
class ServerSettings(ScpConfig):
    """The `[server]` table."""

    ae_title: ServerTitle = setting(
        DEFAULT_AE_TITLE, "the server's AE title; it names the folder, so that it cannot be changed here"
    )
    display_name: Annotated[str, MaxLen(256)] = setting("", "a name for people")
    description: Annotated[str, MaxLen(4096)] = setting("", "what the server is for, for people")
    listen: Endpoints = setting(
        (DEFAULT_LISTEN,),
        "where associations are accepted: Twisted's endpoint strings, IPv4 (tcp:11112), IPv6 (tcp6:11112), with "
        "interface= for one address only",
    )
    secure_listen: SecureEndpoints = setting(
        (), "where they are accepted over TLS, by what the table [tls] says; the usual port is 2762 (tcp:2762)"
    )
    admin_socket: Annotated[str, Predicate(str.isprintable)] = setting(
        "", "the socket for administrators, at most 107 bytes as a whole path; empty: <AE title>.sock in the folder"
    )
    admin_connections: Annotated[int, Ge(1), Le(1000)] = setting(10, "administrators who may be connected at once")
    password_file: Annotated[str, Predicate(str.isprintable)] = setting(
        "",
        "users and passwords, as `txdicom user add` writes them: callers are let in by the user identity that they "
        "give (PS3.7 D.3.3.7); a relative path is meant from the server's folder; empty: nobody is asked",
    )
    password_required: bool = setting(
        True,
        "false: with a password_file, callers that give no user identity are let in, too; one that is given is checked",
    )
    start_mode: Literal["automatic", "manual", "disabled"] = setting(
        "automatic",
        "automatic: `txdicom server start --all` starts it; manual: it is started by its name; disabled: not at all",
    )
    workers: Annotated[int, Ge(1), Le(64)] = setting(
        1, "processes that answer associations, behind the same ports; one for each core is the most that is of use"
    )


@dataclass(frozen=True, kw_only=True)
class AddinSettings:
    """The `[addins]` table."""

    enabled: Names = setting(
        ("verification", "storage"),
        "the installed add-ins that take part, in the order they are loaded; those of the folder addins/ all do, after "
        "them where they are not named here. The settings of one are in [addins.<name>], or in addins.d/<name>.toml",
    )
    required: Names = setting(
        ("storage",),
        "the add-ins that must be in order for the server to start, by their names or those of their files in addins/; "
        "another that cannot be imported or loaded is left out",
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All tables of `server.toml`."""

    server: ServerSettings = field(default_factory=ServerSettings)
    archive: ArchiveSettings = field(default_factory=ArchiveSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    log: LogSettings = field(default_factory=LogSettings)
    addins: AddinSettings = field(default_factory=AddinSettings)
    of_addins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """What `[addins.<name>]` says, by name and key, not checked yet: only the add-in knows its settings."""
    places: Mapping[Path, str] = field(default_factory=dict, compare=False, repr=False)
    """Where each setting that is given stands, for messages."""

    def place(self, table: str, name: str) -> str:
        """How a message names a setting."""
        return self.places.get((table, name), f"{table}.{name}")


TABLES: Final[Mapping[str, Any]] = {
    "server": ServerSettings,
    "archive": ArchiveSettings,
    "tls": TlsSettings,
    "log": LogSettings,
    "addins": AddinSettings,
}


class Declaration(NamedTuple):
    """One setting as its model declares it."""

    annotation: Any
    default: Any
    doc: str


class Override(NamedTuple):
    """A setting that goes before the file's, for one run; `origin` is how messages begin that are about it.

    It is the option of the command line, why the value is kept, or empty.
    """

    path: Path
    value: Any
    origin: str


class _Given(NamedTuple):
    value: Any
    where: str


@cache
def declarations(model: Any) -> dict[str, Declaration]:
    """Every setting of a table, by its name."""
    if not is_dataclass(model):
        return {
            name: Declaration(info.rebuild_annotation(), info.get_default(), info.description or "")
            for name, info in model.model_fields.items()
        }
    hints = get_type_hints(model, include_extras=True)
    return {
        one.name: Declaration(hints[one.name], None if one.default is MISSING else one.default, one.metadata["doc"])
        for one in fields(model)
    }


def parse_overrides(settings: Iterable[str], listen: Sequence[str], problems: list[str]) -> list[Override]:
    """`--set table.key=value` and `--listen ENDPOINT`; those that cannot be read are added to `problems`."""
    overrides = []
    for text in settings:
        key, equals, value = text.partition("=")
        path = tuple(part.strip() for part in key.split("."))
        if not equals or len(path) != (3 if path[0] == "addins" and len(path) > 2 else 2) or not all(path):
            problems.append(f"--set {text}: give table.key=value, such as server.max_clients=50")
            continue
        try:
            overrides.append(Override(path, parse_value(value.strip()), "--set"))
        except ValueError as error:
            problems.append(f"--set {key}: {error}")
    if listen:
        overrides.append(Override(("server", "listen"), list(listen), "--listen"))
    return overrides


def read_settings(text: str, overrides: Iterable[Override] = (), *, ae_title: str) -> Settings:
    """The settings of the server `ae_title`: `text` is that of its server.toml, and the overrides go before it.

    SettingsError lists every mistake, those of the file with their line; which add-ins there are is not known here.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # what the command line says is checked all the same, so that its mistakes are in the list too
        problems = [f"server.toml: {error}"]
        _check_all(_given({}, "", overrides, problems), ae_title, problems)
        raise SettingsError(problems) from None
    problems = []
    given = _given(document, text, overrides, problems)
    tables = _check_all(given, ae_title, problems)
    if problems:
        raise SettingsError(problems)
    of_addins: dict[str, dict[str, Any]] = {}
    for path, one in given.items():
        if len(path) > 2:
            of_addins.setdefault(path[1], {})[path[2]] = one.value
    lines = {path: line for path, line in key_lines(text).items() if path[0] == "addins"}
    places = {path: f"server.toml:{line}: {'.'.join(path)}" for path, line in lines.items()}
    places |= {path: one.where for path, one in given.items()}
    checked = {name: model(**tables[name]) for name, model in TABLES.items()}
    return Settings(**checked, of_addins=of_addins, places=places)


def _given(
    document: dict[str, Any], text: str, overrides: Iterable[Override], problems: list[str]
) -> dict[Path, _Given]:
    """Every setting that is given, by (table, name), and where."""
    lines = key_lines(text)

    def place(path: Path) -> str:
        return f"server.toml:{line_of(lines, path)}: {'.'.join(path)}"

    given: dict[Path, _Given] = {}
    for table, values in document.items():
        if table not in TABLES:
            problems.append(f"{place((table,))}: there is no such table" + _tables())
        elif not isinstance(values, dict):
            problems.append(f"{place((table,))}: this is a table: write [{table}] and its settings below")
        else:
            for name, value in values.items():
                paths: dict[Path, Any] = {(table, name): value}
                if table == "addins" and isinstance(value, dict) and name not in declarations(AddinSettings):
                    paths = {(table, name, key): one for key, one in value.items()}
                given |= {path: _Given(one, place(path)) for path, one in paths.items()}
    for path, value, origin in overrides:
        where = f"{origin} {'.'.join(path)}".lstrip()
        if path[0] not in TABLES:
            problems.append(f"{where}: there is no such table" + _tables())
        else:
            given[path] = _Given(value, where)
    return given


def _tables() -> str:
    return f"; the tables are {', '.join(TABLES)}"


def _check_all(given: dict[Path, _Given], ae_title: str, problems: list[str]) -> dict[str, dict[str, Any]]:
    """The checked values by table."""
    tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
    tables["server"]["ae_title"] = ae_title
    for (table, name, *deeper), one in given.items():
        if deeper:
            continue  # what only the add-in knows
        declared = declarations(TABLES[table])
        if name not in declared:
            problems.append(unknown_setting(one.where, set()) + _meant(name, declared))
            continue
        try:
            tables[table][name] = TypeAdapter(declared[name].annotation).validate_python(one.value, strict=True)
        except ValidationError as error:
            problems += _sentences(one, declared[name].doc, error)
            continue
        if "\0" in str(tables[table][name]):
            # no path, no name has one; the system would refuse it late, and with a traceback
            problems.append(f"{one.where}: it has a NUL character in it: take that out")
    title = given.get(("server", "ae_title"))
    if title is not None and tables["server"]["ae_title"] != ae_title:
        problems.append(
            f"{title.where}: this is the server {ae_title}; its title names its folder and cannot be changed: "
            f"start another server by --ae-title {title.value}"
        )
    _check_addins(given, AddinSettings(**tables["addins"]), problems)
    return tables


def _check_addins(given: dict[Path, _Given], settings: AddinSettings, problems: list[str]) -> None:
    for name in ("enabled", "required"):
        names = getattr(settings, name)
        twice = [one for one in dict.fromkeys(names) if names.count(one) > 1]
        problems += [f"{given['addins', name].where}: {one!r} is there twice" for one in twice]


def _meant(name: str, declared: Iterable[str]) -> str:
    # the place must not take part in the comparison
    _, question, guess = unknown_setting(name, set(declared)).partition("; did you mean")
    return question + guess


def _sentences(given: _Given, doc: str, error: ValidationError) -> list[str]:
    """A sentence for every mistake in one value."""
    found: list[str] = []
    for one in error.errors(include_url=False):
        index = "".join(f"[{part}]" for part in one["loc"] if isinstance(part, int))
        found.append(mistake(f"{given.where}{index}", one, doc=doc))
    return found
