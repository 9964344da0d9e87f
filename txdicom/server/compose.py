"""From the options of the command line to a server that is ready to start: folder, settings, add-ins, ports."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from txdicom.errors import AddinError, LicenseError, SettingsError
from txdicom.interfaces import IAETitle, IDicomSecurity
from txdicom.net.tls import SecureFactory
from txdicom.scp import ApplicationEntity
from txdicom.scp.configuration import configure
from txdicom.scp.services import Services
from txdicom.server.addins import configuration_addins, find_addins
from txdicom.server.ae_file import AETitleFile
from txdicom.server.ae_table import read_ae_table
from txdicom.server.endpoints import describe, invitation, is_local, is_unix, why_not
from txdicom.server.folder import ServerFolder, base_folder, choose_title
from txdicom.server.service import at_once
from txdicom.server.settings import Settings, parse_overrides, read_settings
from txdicom.server.template import server_toml
from txdicom.server.tls_settings import make_security

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from txdicom.interfaces import AEEntry
    from txdicom.scp import ScpConfig
    from txdicom.scp.security import FileSecurity
    from txdicom.server.settings import Override

_log = Logger()


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A server before its start: its folder is taken, its settings are read and checked."""

    folder: ServerFolder
    settings: Settings
    overrides: Sequence[Override]
    ae_table: Mapping[str, AEEntry]
    security: FileSecurity
    made: Sequence[str] = ()
    """What had to be done to the folder, in sentences."""

    @property
    def warnings(self) -> list[str]:
        """What the operator may not have meant, in sentences."""
        server = self.settings.server
        found = self.security.warnings
        # who has to show a certificate is known
        secure = () if self.settings.tls.client_certificate == "require" else server.secure_listen
        if not server.listen and not server.secure_listen:
            found.append("no association can be opened: server.listen is empty")
        elif not server.allow_anonymous and not self.ae_table:
            found.append(
                "nobody is let in: allow_anonymous is false, and aetitles.toml has no entry; add one for each caller"
            )
        elif server.allow_anonymous and not all(map(is_local, (*server.listen, *secure))):
            remedy = "allow_anonymous = false in server.toml restricts it to the callers of aetitles.toml"
            found.append(f"whoever can reach this server is let in: {remedy}")
        return found


def prepare(
    base: str | None,
    ae_title: str | None,
    set_options: Iterable[str],
    listen: Sequence[str],
    environment: Mapping[str, str],
) -> Prepared:
    """Finds the server, checks all that is said about it, makes what its folder lacks.

    SettingsError lists every mistake; then nothing was made.
    """
    base = base_folder(base, environment)
    title = choose_title(base, ae_title)
    folder = ServerFolder(base, title)
    folder.check_owner()
    problems: list[str] = []
    overrides = parse_overrides(set_options, listen, problems)

    def read() -> Settings:
        text = folder.text_of(folder.settings_file)
        return read_settings(text, overrides, ae_title=title)

    settings: Settings | None = _gather(problems, read)
    ae_table = _gather(problems, lambda: read_ae_table(folder.text_of(folder.ae_table_file)))
    security: FileSecurity | None = None
    if settings is not None:
        problems += folder_problems(settings, folder.path)
        security = _gather(problems, partial(make_security, settings, folder.path))
    if settings is None or security is None or problems:
        raise SettingsError(problems)
    made = folder.make(first_settings(settings))
    # of a new server.toml, or of one that another process has written meanwhile
    settings = with_folders(read(), folder.path)
    return Prepared(
        folder=folder, settings=settings, overrides=overrides, ae_table=ae_table, security=security, made=made
    )


def look(base: str | None, ae_title: str | None, environment: Mapping[str, str]) -> tuple[ServerFolder, Settings]:
    """The folder and the settings of a server that there is, which may be running; nothing is made or held.

    SettingsError where there is none, and with every mistake in its settings.
    """
    base = base_folder(base, environment)
    title = choose_title(base, ae_title)
    folder = ServerFolder(base, title)
    folder.check_owner()
    if not os.path.isfile(folder.settings_file):
        raise SettingsError([f"there is no server {title} in {base}: name one by --base and --ae-title"])
    settings = read_settings(folder.text_of(folder.settings_file), ae_title=title)
    return folder, with_folders(settings, folder.path)


def folder_problems(settings: Settings, folder: str) -> list[str]:
    """What is wrong with the folders that are set; those that follow from the server's own come with it."""
    resolved = with_folders(settings, folder)
    store, staging = resolved.archive.store, resolved.server.temporary_directory
    problems = [
        f"{settings.place(*name)}: {problem}"
        for name, path in ((("archive", "store"), store), (("server", "temporary_directory"), staging))
        if name in settings.places and (problem := _unusable(path))
    ]
    if not problems and _device(store) != _device(staging):
        place = settings.place("server", "temporary_directory")
        problems.append(f"{place}: {staging} is not on the file system of the store {store}; leave it empty")
    return problems


def _unusable(path: str) -> str:
    """Why a folder can be neither used nor made; empty where it can."""
    nearest = _nearest(path)
    if not os.path.isdir(nearest):
        return f"{nearest} is not a folder"
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"you may not write to {nearest}"
    return ""


def _device(path: str) -> int:
    """The file system on which a folder is or would be."""
    return os.stat(_nearest(path)).st_dev


def _nearest(path: str) -> str:
    """`path`, or what there is of the way to it."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def first_settings(settings: Settings) -> str:
    """The server.toml of a server that is made with these settings of the command line."""
    given: dict[tuple[str, str], tuple[Any, str]] = {("server", "ae_title"): (settings.server.ae_title, "")}
    if not all(map(is_local, (*settings.server.listen, *settings.server.secure_listen))):
        why = "It is false here because other computers could reach the server when it was made: only the callers "
        given["server", "allow_anonymous"] = (False, why + "of aetitles.toml are let in")
    return server_toml(given)


def with_folders(settings: Settings, folder: str) -> Settings:
    """With the folders that follow from others; relative ones are meant from the server's."""
    store = os.path.join(folder, settings.archive.store or "store")
    staging = os.path.join(folder, settings.server.temporary_directory or os.path.join(store, ".incoming"))
    return replace(
        settings,
        server=replace(settings.server, temporary_directory=staging),
        archive=settings.archive.model_copy(update={"store": store}),
    )


def make_entity(prepared: Prepared, reactor: Any) -> ApplicationEntity:
    """The application entity, configured and licensed, with its add-ins, its ports not open yet.

    SettingsError with what must not be. An add-in that cannot be used, and is not required, is logged and left out.
    """
    settings, folder = prepared.settings, prepared.folder
    services = Services()
    config = _configured(prepared, services)
    choice = find_addins(settings, folder)
    if choice.problems:
        raise SettingsError(choice.problems)
    for one in choice.broken:
        _log.error("{broken}; the server runs without this add-in", broken=str(one))
    for sentence in choice.warnings:
        _log.warn("{sentence}", sentence=sentence)
    entity = ApplicationEntity(
        reactor,
        settings.server.ae_title,
        [one.addin for one in choice.addins],
        config,
        folder=folder.path,
        services=services,
        required=choice.required,
        addin_settings=choice.settings,
    )
    services.default(IDicomSecurity, lambda: prepared.security)
    services.default(IAETitle, lambda: AETitleFile(reactor, folder.ae_table_file, prepared.ae_table))
    return entity


def _configured(prepared: Prepared, services: Services) -> ScpConfig:
    """What the configuration add-ins and the licence leave of the settings; the reactor does not run yet."""
    server, folder = prepared.settings.server, prepared.folder
    addins = configuration_addins(server.ae_title, folder)
    try:
        config: ScpConfig = at_once(configure(server.ae_title, addins, services, server, folder.path))
    except (AddinError, LicenseError) as error:
        raise SettingsError([str(error)]) from error
    except OSError:
        sentence = "a configuration add-in or the licence waits for the reactor, which does not run yet"
        raise SettingsError([f"{sentence}: it has to have finished when it returns"]) from None
    return config


def announce(prepared: Prepared, entity: ApplicationEntity, late: Sequence[str]) -> None:
    """The first lines of the log: where the server listens and stores, how to try it, and what has been done so far."""
    settings, folder = prepared.settings, prepared.folder
    server = settings.server
    addresses = [port.getHost() for port in entity.ports]
    name = f"{server.ae_title} ({server.display_name})" if server.display_name else server.ae_title
    secure = [isinstance(getattr(port, "factory", None), SecureFactory) for port in entity.ports]
    described = [describe(address, secure=tls) for address, tls in zip(addresses, secure, strict=True)]
    places = ", ".join([*described, *late])
    _log.info("{name} listens on {places}", name=name, places=places or "nothing")
    names = [addin.name for addin in entity.addins]
    if "storage" in names:
        _log.info("it stores in {store}", store=settings.archive.store)
    else:
        _log.info("it stores nothing: the add-in storage is not enabled")
    ways = [
        invitation(server.ae_title, address, anonymous=server.allow_anonymous, secure=tls)
        for address, tls in zip(addresses, secure, strict=True)
    ]
    for way in [one for one in ways if one][:1]:
        _log.info("try it: {way}", way=way)
    for sentence in prepared.made:
        _log.info("{sentence}", sentence=sentence)
    if not server.allow_anonymous:
        count = len(prepared.ae_table)
        _log.info("only callers of aetitles.toml are let in, {count} there (allow_anonymous is false)", count=count)
    for sentence in prepared.warnings:
        _log.warn("{sentence}", sentence=sentence)
    _log.info("settings read from {path}", path=folder.settings_file)
    if prepared.overrides:
        changed = ", ".join(dict.fromkeys(".".join(one.path) for one in prepared.overrides))
        _log.info("for this run, the command line sets {changed}", changed=changed)
    _log.info("add-ins found: {names}", names=", ".join(names) or "none")


def open_ports(entity: ApplicationEntity, endpoints: Iterable[str], secure: Iterable[str] = ()) -> None:
    """Binds without accepting, `secure` for TLS; SettingsError has a sentence for every port that cannot be opened."""
    problems = []
    for endpoint in endpoints:
        try:
            at_once(entity.bind(endpoint))
        except Exception as error:  # noqa: BLE001 (endpoints come from plugins, which raise what they like)
            problems.append(why_not(endpoint, error))
    for endpoint in secure:
        try:
            at_once(entity.bind(endpoint, secure=True))
        except Exception as error:  # noqa: BLE001 (as above)
            problems.append(why_not(endpoint, error, secure=True))
    if problems:
        raise SettingsError(problems)


def early_and_late(endpoints: Iterable[str], *, daemon: bool) -> tuple[list[str], list[str]]:
    """Which ports are opened before a daemon leaves its launcher, so that it can say what is wrong, and which after.

    A socket in the file system comes with a lock that bears the process id, which changes.
    """
    early: list[str] = []
    late: list[str] = []
    for endpoint in endpoints:
        (late if daemon and is_unix(endpoint) else early).append(endpoint)
    return early, late


def _gather(problems: list[str], step: Callable[[], Any]) -> Any:
    """The result of `step`; None where it found mistakes, which are added to the others."""
    try:
        return step()
    except SettingsError as error:
        problems += error.problems
        return None
