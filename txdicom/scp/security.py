"""The default `IDicomSecurity`: TLS from files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from txdicom.errors import RAISED, SettingsError
from txdicom.interfaces import IDicomSecurity
from txdicom.net.tls import TLS, ClientTls, ServerTls
from txdicom.net.tls_profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
    from twisted.protocols.tls import TLSMemoryBIOProtocol

    from txdicom.net.tls import ClientCertificate

_log = Logger()


@implementer(IDicomSecurity)
class FileSecurity:
    """TLS by one `TLS`, whose certificate and key serve both roles; without them only calls to peers can be secure.

    `client_certificate` is what a listener asks of its peers, None where there is no listener. SettingsError lists all
    that is wrong with the files; `place` names a setting of theirs in it.
    """

    def __init__(
        self, tls: TLS, client_certificate: ClientCertificate | None = None, place: Callable[[str], str] = str
    ) -> None:
        self._tls = tls
        self._place = place
        self._client = ClientTls(tls, place)
        self._server = None if client_certificate is None else ServerTls(tls, client_certificate, place)

    @property
    def warnings(self) -> list[str]:
        """What works and may still be a mistake, in sentences; of the files as they were read last."""
        profile = PROFILES[self._tls.profile]
        if not profile.retired:
            return list(self._client.warnings)
        text = f"{self._place('profile')}: {self._tls.profile} ({profile.clause}) is retired: it is for old peers only"
        return [*self._client.warnings, text]

    def server_options(self) -> IOpenSSLServerConnectionCreator:
        """See `IDicomSecurity`."""
        if self._server is None:
            raise SettingsError(["there is no TLS for listening: it was made for calls to peers only"])
        return self._server.options

    def client_options(self, host: str, verify_host_name: bool | None = None) -> IOpenSSLClientConnectionCreator:
        """See `IDicomSecurity`."""
        return self._client.client_options(host, verify_host_name)

    def reload(self) -> None:
        """See `IDicomSecurity`."""
        client = ClientTls(self._tls, self._place)
        if self._server is not None:
            self._server.reload()
        self._client = client
        _log.info("certificates and keys of TLS were read again")
        for sentence in self.warnings:
            _log.warn("{sentence}", sentence=sentence)

    def take(self, other: FileSecurity) -> None:
        """Does for connections to come what `other` would do."""
        self._tls, self._place = other._tls, other._place
        self._client, self._server = other._client, other._server
        for sentence in self.warnings:
            _log.warn("{sentence}", sentence=sentence)


@implementer(IOpenSSLServerConnectionCreator)
class SecureOptions:
    """Asks for the options anew with each connection: an add-in may provide them, which is not loaded yet."""

    def __init__(self, security: Callable[[], Any]) -> None:
        self._security = security

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802, N803 (Twisted's names)
        """One more connection."""
        try:
            connection: SSL.Connection = self._security().server_options().serverConnectionForTLS(tlsProtocol)
        except RAISED:  # an add-in's mistake harms its own connection
            _log.failure("there is no TLS for a connection")
            # Twisted would leave the socket open; this one has no certificate, so that its handshake fails
            connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        return connection
