"""Whether a server would start, and whether one that runs answers: every mistake as a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, serverFromString
from twisted.internet.protocol import Factory, Protocol

from txdicom.admin.listen import check_path
from txdicom.errors import AssociationRejected, DicomError, LocalProtocolError, SettingsError
from txdicom.server.compose import examine
from txdicom.server.endpoints import port_of, why_not
from txdicom.server.finding.addins import configuration_addins, find_addins, wrong_names
from txdicom.server.folder import socket_in
from txdicom.uids import VERIFICATION
from txdicom.ul import rejections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from txdicom.interfaces.control import ServerStatus
    from txdicom.server.compose import Prepared
    from txdicom.server.folder import ServerFolder
    from txdicom.server.settings.tables import Override, Settings

#: a port of a `ServerStatus`
_PORT: Final = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^\s:\[\]]+)):(?P<port>[0-9]+)|port (?P<any>[0-9]+) of .*")
#: seconds for each step of an association with ourselves
_PATIENCE: Final = 10.0
#: that we call ourselves by; where only known callers, or users, are let in, a rejection shows that somebody answers
_CALLING: Final = "TXDICOM_TEST"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What is to be said of a server.toml. Without `prepared` it is so wrong that there is nothing to go on with."""

    prepared: Prepared | None
    problems: list[str]

    @property
    def settings(self) -> Settings | None:
        """With the folders that follow from others."""
        return None if self.prepared is None else self.prepared.settings


def checked(
    folder: ServerFolder,
    ae_title: str,
    text: str,
    overrides: Sequence[Override] = (),
    loaded: Sequence[Any] | None = None,
) -> Checked:
    """What would keep a server from starting with a server.toml of this text; its add-ins are imported.

    A server that runs gives those that it has loaded: none is imported then, and of add-ins only the names are looked
    at. Whether its ports are free is not looked at.
    """
    problems: list[str] = []
    prepared = examine(folder, ae_title, text, overrides, problems)
    if prepared is None:
        return Checked(prepared=None, problems=problems)
    try:
        check_path(socket_in(folder.path, prepared.settings.server.admin_socket))
    except SettingsError as error:
        problems += error.problems
    if loaded is not None:
        problems += wrong_names(prepared.settings, folder, loaded)
        return Checked(prepared=prepared, problems=problems)
    try:
        configuration_addins(ae_title, folder)
    except SettingsError as error:
        problems += error.problems
    problems += find_addins(prepared.settings, folder).problems
    return Checked(prepared=prepared, problems=problems)


async def port_problems(reactor: Any, settings: Settings) -> list[str]:
    """Why the ports of a server that does not run cannot be opened, by opening and closing them."""
    problems = []
    for secure, endpoints in ((False, settings.server.listen), (True, settings.server.secure_listen)):
        for text in endpoints:
            try:
                port = await serverFromString(reactor, text).listen(Factory.forProtocol(Protocol))
            except Exception as error:  # noqa: BLE001 (endpoints come from plugins, which raise what they like)
                problems.append(why_not(text, error, secure=secure))
            else:
                await maybeDeferred(port.stopListening)
    return problems


async def answer_problems(reactor: Any, status: ServerStatus, secure: Sequence[str]) -> list[str]:
    """Why associations cannot be opened from here with a server that runs, a C-ECHO on each; `secure` as it listens."""
    problems = []
    tls = set(map(port_of, secure))
    for text in status.ports:
        found = _PORT.fullmatch(text.removesuffix(" (TLS)"))
        if found is None:
            continue  # a socket in the file system: nobody calls it by DICOM
        host, port = found["v6"] or found["host"] or "127.0.0.1", int(found["port"] or found["any"])
        if text.endswith(" (TLS)") or port in tls:
            problem = await _connects(reactor, host, port)
        else:
            problem = await _echoes(reactor, status.ae_title, host, port)
        if problem:
            problems.append(f"{text} does not answer: {problem}")
    return problems


async def _connects(reactor: Any, host: str, port: int) -> str:
    """Why there is no connection; empty where there is. What TLS needs of a caller is not ours to have."""
    endpoint = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
    try:
        connection: Any = await endpoint(reactor, host, port, timeout=_PATIENCE).connect(Factory.forProtocol(Protocol))
    except Exception as error:  # noqa: BLE001 (whatever it is, it is said)
        return str(error)
    connection.transport.abortConnection()
    return ""


async def _echoes(reactor: Any, ae_title: str, host: str, port: int) -> str:
    """Why there is no answer to a C-ECHO; empty where there is, or where we are told that we may not ask for one."""
    from txdicom.scu import Peer, connect

    try:
        async with connect(
            reactor,
            Peer(ae_title, host, port),
            calling_ae=_CALLING,
            contexts=[VERIFICATION],
            connect_timeout=_PATIENCE,
            acse_timeout=_PATIENCE,
            dimse_timeout=_PATIENCE,
        ) as association:
            status = await association.echo()
    except AssociationRejected as error:
        if (error.result, error.source, error.reason) in (rejections.CALLING_AE, rejections.USER_IDENTITY):
            return ""
        return str(error)
    except LocalProtocolError:
        return ""  # it has no verification, and has said so
    except DicomError as error:
        return str(error)
    return "" if status.is_success else f"it answered {status}"
