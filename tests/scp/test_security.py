"""The default `IDicomSecurity`, and how a port asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from zope.interface.verify import verifyObject

from tests.certificates import HOSTS, Authority
from txdicom.errors import SettingsError
from txdicom.interfaces import IDicomSecurity
from txdicom.net.tls import TLS
from txdicom.scp.security import FileSecurity, SecureOptions


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def test_it_fulfils_its_interface(ca: Authority) -> None:
    security = FileSecurity(TLS(ca=ca.path, **ca.issue("server", *HOSTS).files), "require")
    verifyObject(IDicomSecurity, security)
    assert verifyObject(IOpenSSLServerConnectionCreator, security.server_options())
    assert verifyObject(IOpenSSLClientConnectionCreator, security.client_options("localhost", False))
    assert security.warnings == []


def test_without_files_there_are_calls_only() -> None:
    security = FileSecurity(TLS())
    security.client_options("localhost")
    with pytest.raises(SettingsError, match="no TLS for listening"):
        security.server_options()


def test_a_retired_profile_is_told_about() -> None:
    [warning] = FileSecurity(TLS(profile="aes"), place=lambda name: f"tls.{name}").warnings
    assert warning == "tls.profile: aes (PS3.15 B.3) is retired: it is for old peers only"


def test_reloading_is_all_or_nothing(ca: Authority) -> None:
    pair = ca.issue("server", *HOSTS)
    security = FileSecurity(TLS(ca=ca.path, **pair.files), "require")
    client, server = security._client, security.server_options().context  # type: ignore[attr-defined]
    kept = Path(pair.key).read_bytes()
    Path(pair.key).write_text("rubbish")
    with pytest.raises(SettingsError):
        security.reload()
    assert (security._client, security.server_options().context) == (client, server)  # type: ignore[attr-defined]
    Path(pair.key).write_bytes(kept)
    security.reload()
    assert security._client is not client
    assert security.server_options().context is not server  # type: ignore[attr-defined]


def test_a_port_asks_with_each_connection(ca: Authority) -> None:
    asked: list[Any] = [FileSecurity(TLS(**ca.issue("first", *HOSTS).files), "none")]
    options = SecureOptions(lambda: asked[-1])
    verifyObject(IOpenSSLServerConnectionCreator, options)
    first = options.serverConnectionForTLS(None)  # type: ignore[arg-type]
    asked.append(FileSecurity(TLS(**ca.issue("second", *HOSTS).files), "none"))
    second = options.serverConnectionForTLS(None)  # type: ignore[arg-type]
    assert first.get_context() is not second.get_context()
    asked.append(None)  # an AttributeError
    assert isinstance(options.serverConnectionForTLS(None), SSL.Connection)  # type: ignore[arg-type]

    def fail() -> None:
        raise SystemExit("a library that was written for commands")

    connection = SecureOptions(fail).serverConnectionForTLS(None)  # type: ignore[arg-type]
    assert isinstance(connection, SSL.Connection)
