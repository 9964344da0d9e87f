"""From the options of the command line to a server that is ready to start: folder, settings, add-ins, ports."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from txdicom.errors import AddinError, LicenseError, SettingsError
from txdicom.interfaces import IAETitle, IDicomSecurity
from txdicom.scp import ApplicationEntity
from txdicom.scp.configuration import configure
from txdicom.scp.passwords import PasswordFile
from txdicom.scp.services import Services
from txdicom.server.ae.file import AETitleFile
from txdicom.server.ae.table import read_ae_table
from txdicom.server.endpoints import describe, invitation, is_local, is_unix, why_not
from txdicom.server.finding.addins import configuration_addins, find_addins
from txdicom.server.folder import ServerFolder, base_folder, choose_title
from txdicom.server.service import at_once
from txdicom.server.settings.folders import folder_problems, with_folders
from txdicom.server.settings.tables import Settings, parse_overrides, read_settings
from txdicom.server.settings.template import server_toml
from txdicom.server.settings.tls import make_security

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from txdicom.interfaces import AEEntry
    from txdicom.scp import ScpConfig
    from txdicom.scp.security import FileSecurity
    from txdicom.server.logs.log import ServerLog
    from txdicom.server.serving import Served
    from txdicom.server.settings.tables import Override
    from txdicom.server.settings.toml import Path

_log = Logger()


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A server before its start: its folder is taken, its settings are read and checked."""

    folder: ServerFolder
    settings: Settings
    text: str
    """The server.toml that the settings are read from."""
    overrides: Sequence[Override]
    ae_table: Mapping[str, AEEntry]
    security: FileSecurity
    made: Sequence[str] = ()
    """What had to be done to the folder, in sentences."""
    worker: int = 0
    """Which of several processes this is; 0 is the one that has the folder."""

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

    text = _gather(problems, lambda: folder.text_of(folder.settings_file))
    examined = None if text is None else examine(folder, title, text, overrides, problems)
    if examined is None or problems:
        raise SettingsError(problems)
    made = folder.make(first_settings(examined.settings))
    # of a new server.toml, or of one that another process has written meanwhile
    read = folder.text_of(folder.settings_file)
    settings = with_folders(read_settings(read, overrides, ae_title=title), folder.path)
    return replace(examined, settings=settings, text=read, made=made)


def examine(
    folder: ServerFolder, ae_title: str, text: str, overrides: Sequence[Override], problems: list[str]
) -> Prepared | None:
    """A server whose server.toml has this text, without touching its folder; every mistake is added to `problems`.

    Without an answer there is one that nothing can be made of.
    """
    settings: Settings | None = _gather(problems, lambda: read_settings(text, overrides, ae_title=ae_title))
    ae_table = _gather(problems, lambda: read_ae_table(folder.text_of(folder.ae_table_file)))
    if settings is None:
        return None
    problems += folder_problems(settings, folder.path)
    _gather(problems, partial(_password_file, settings, folder))
    security: FileSecurity | None = _gather(problems, partial(make_security, settings, folder.path))
    if security is None or ae_table is None:
        return None
    return Prepared(
        folder=folder,
        settings=with_folders(settings, folder.path),
        text=text,
        overrides=overrides,
        ae_table=ae_table,
        security=security,
    )


def prepare_worker(base: str, ae_title: str, text: str, overrides: Sequence[Override], index: int) -> Prepared:
    """The same server in another process, whose parent has the folder; `text` is that of its server.toml.

    It has a folder of its own for what is received. SettingsError where a file has changed into what cannot be.
    """
    problems: list[str] = []
    examined = examine(ServerFolder(base, ae_title), ae_title, text, overrides, problems)
    if examined is None or problems:
        raise SettingsError(problems)
    server = examined.settings.server
    staging = os.path.join(server.temporary_directory, str(index))
    settings = replace(examined.settings, server=replace(server, temporary_directory=staging))
    return replace(examined, settings=settings, worker=index)


def first_settings(settings: Settings, overrides: Iterable[Override] = ()) -> str:
    """The server.toml of a server that is made with these settings of the command line; it sets the overrides too."""
    given: dict[Path, tuple[Any, str]] = {("server", "ae_title"): (settings.server.ae_title, "")}
    given |= {one.path: (one.value, "") for one in overrides}
    local = all(map(is_local, (*settings.server.listen, *settings.server.secure_listen)))
    if not local and ("server", "allow_anonymous") not in given:
        why = "It is false here because other computers could reach the server when it was made: only the callers "
        given["server", "allow_anonymous"] = (False, why + "of aetitles.toml are let in")
    return server_toml(given)


def make_entity(prepared: Prepared, reactor: Any) -> ApplicationEntity:
    """The application entity, configured and licensed, with its add-ins, its ports not open yet.

    SettingsError with what must not be. An add-in that cannot be used, and is not required, is left out, and logged;
    by workers not again.
    """
    settings, folder = prepared.settings, prepared.folder
    services = Services()
    config = _configured(prepared, services)
    choice = find_addins(settings, folder)
    if choice.problems:
        raise SettingsError(choice.problems)
    if not prepared.worker:
        for one in choice.broken:
            _log.error("{broken}; the server runs without this add-in", broken=str(one))
        for sentence in choice.warnings:
            _log.warn("{sentence}", sentence=sentence)
        _log.info("add-ins found: {names}", names=", ".join(one.name for one in choice.addins) or "none")
    passwords = _password_file(settings, folder)
    entity = ApplicationEntity(
        reactor,
        settings.server.ae_title,
        [*(one.addin for one in choice.addins), *passwords],
        config,
        folder=folder.path,
        services=services,
        required={*choice.required, *(one.name for one in passwords)},
        addin_settings=choice.settings,
    )
    services.default(IDicomSecurity, lambda: prepared.security)
    services.default(IAETitle, lambda: AETitleFile(reactor, folder.ae_table_file, prepared.ae_table))
    return entity


def _password_file(settings: Settings, folder: ServerFolder) -> list[PasswordFile]:
    """The add-in that lets users in, where there is to be one; SettingsError where its file cannot be used."""
    name = settings.server.password_file
    if not name:
        return []
    place, path = settings.place("server", "password_file"), os.path.join(folder.path, name)
    passwords = PasswordFile(path, required=settings.server.password_required)
    try:
        passwords.load(None)
    except SettingsError as error:
        raise SettingsError([f"{place}: {problem}" for problem in error.problems]) from None
    except OSError as error:
        remedy = "`txdicom user add` makes one; an empty password_file lets peers in without"
        raise SettingsError([f"{place}: {path} cannot be read: {error.strerror}; {remedy}"]) from None
    return [passwords]


def _configured(prepared: Prepared, services: Services) -> ScpConfig:
    """What the configuration add-ins and the licence leave of the settings; the reactor does not run yet."""
    server, folder = prepared.settings.server, prepared.folder
    addins = configuration_addins(server.ae_title, folder)
    if not addins and not prepared.worker:
        _log.info("no configuration add-ins, and no licence that limits anything")
    try:
        config: ScpConfig = at_once(configure(server.ae_title, addins, services, server, folder.path))
    except (AddinError, LicenseError) as error:
        raise SettingsError([str(error)]) from error
    except OSError:
        sentence = "a configuration add-in or the licence waits for the reactor, which does not run yet"
        raise SettingsError([f"{sentence}: it has to have finished when it returns"]) from None
    return config


def connect_log(prepared: Prepared, entity: ApplicationEntity, log: ServerLog) -> None:
    """Has `log` be the service log of an entity that gets no other, and hear of what it stores."""
    log.serve(entity, os.path.join(os.path.dirname(prepared.folder.log_file), "datasets"))


def announce_settings(prepared: Prepared) -> None:
    """The first lines of the log: what was made, which settings were read, and what is to be said about them."""
    for sentence in prepared.made:
        _log.info("{sentence}", sentence=sentence)
    _log.info("settings read from {path}", path=prepared.folder.settings_file)
    if prepared.overrides:
        changed = ", ".join(dict.fromkeys(".".join(one.path) for one in prepared.overrides))
        _log.info("for this run, the command line sets {changed}", changed=changed)
    if not prepared.settings.server.allow_anonymous:
        count = len(prepared.ae_table)
        _log.info("only callers of aetitles.toml are let in, {count} there (allow_anonymous is false)", count=count)
    for sentence in prepared.warnings:
        _log.warn("{sentence}", sentence=sentence)


def announce(prepared: Prepared, served: Served, addins: Sequence[Any], late: Sequence[str]) -> None:
    """The next lines, once the ports are open: where the server listens and stores, and how to try it."""
    settings = prepared.settings
    server = settings.server
    name = f"{server.ae_title} ({server.display_name})" if server.display_name else server.ae_title
    described = [describe(address, secure=tls) for address, tls in served.addresses]
    places = ", ".join([*described, *late])
    _log.info("{name} listens on {places}", name=name, places=places or "nothing")
    if any(addin.name == "storage" for addin in addins):
        _log.info("it stores in {store}", store=settings.archive.store)
    else:
        _log.info("it stores nothing: the add-in storage is not enabled")
    ways = [
        invitation(server.ae_title, address, anonymous=server.allow_anonymous, secure=tls)
        for address, tls in served.addresses
    ]
    for way in [one for one in ways if one][:1]:
        _log.info("try it: {way}", way=way)


def open_ports(served: Served, endpoints: Iterable[str], secure: Iterable[str] = ()) -> None:
    """Binds without accepting, `secure` for TLS; SettingsError has a sentence for every port that cannot be opened."""
    problems: list[str] = []
    for endpoint in endpoints:
        try:
            at_once(served.bind(endpoint))
        except SettingsError as error:
            problems += error.problems
        except Exception as error:  # noqa: BLE001 (endpoints come from plugins, which raise what they like)
            problems.append(why_not(endpoint, error))
    for endpoint in secure:
        try:
            at_once(served.bind(endpoint, secure=True))
        except SettingsError as error:
            problems += error.problems
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
