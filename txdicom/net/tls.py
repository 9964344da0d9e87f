"""TLS for associations in both roles (PS3.15 Annex B): from settings to what Twisted makes connections with.

The peer's certificate is checked here, against the issuers that are trusted and against the host's name. There is no
way from a failure back to a connection without TLS.
"""

from __future__ import annotations

import ipaddress
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import idna
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from txdicom.errors import SettingsError
from txdicom.net.config import setting
from txdicom.net.tls_failures import TlsError, reasons_of, unverified, wrong_name
from txdicom.net.tls_files import Credentials, read_credentials
from txdicom.net.tls_profiles import DEFAULT_PROFILE, FFDHE2048, PROFILES, Profile, ProfileName

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IProtocolFactory, IReactorTime

_log = Logger()

#: what a listener asks of its peers
ClientCertificate = Literal["require", "request", "none"]


@dataclass(frozen=True, kw_only=True)
class TLS:
    """What TLS is done with, in either role; paths are those of the process. Nothing is read before it is used."""

    certificate: str = setting("", "file with our certificate, then those of its issuers, in PEM form")
    key: str = setting("", "file with the certificate's private key, in PEM form; only its owner may have access to it")
    key_password_file: str = setting("", "file with the key's password in its first line, if it has one")
    ca: str = setting(
        "",
        "file with the certificates of those whose certificates we trust, in PEM form, or a folder of such files; "
        "empty: when calling, those that the system trusts",
    )
    verify_host_name: bool = setting(True, "when calling, refuse a peer whose certificate does not name its host")
    profile: ProfileName = setting(
        DEFAULT_PROFILE,
        "the profile of PS3.15 Annex B: versions and cipher suites; the first two are current, the others retired, for "
        "old peers only",
    )


class ServerTls:
    """What a listener's TLS connections are made with; `reload` reads the files again, for connections to come.

    SettingsError, with a sentence for every problem, where the files cannot be used. `place` names a setting in it.
    """

    def __init__(
        self, tls: TLS, client_certificate: ClientCertificate = "require", place: Callable[[str], str] = str
    ) -> None:
        self._tls = tls
        self._client_certificate = client_certificate
        self._place = place
        self._options: _ServerOptions
        self.warnings: tuple[str, ...] = ()
        self.reload()

    @property
    def options(self) -> IOpenSSLServerConnectionCreator:
        """For `TLSMemoryBIOFactory`; it stays the same object."""
        return self._options

    def reload(self) -> None:
        """Takes the files as they are now; SettingsError where they cannot be used, and the old ones stay."""
        missing = [name for name in ("certificate", "key") if not getattr(self._tls, name)]
        if missing:
            places = " and ".join(map(self._place, missing))
            raise SettingsError([f"{places}: missing, and a listener cannot do TLS without"])
        if self._client_certificate != "none" and not self._tls.ca:
            why = f"it is missing, and client_certificate is {self._client_certificate!r}"
            remedy = "give the certificates of those who issue the peers' ones, or set client_certificate to 'none'"
            raise SettingsError([f"{self._place('ca')}: {why}: {remedy}"])
        credentials = read_credentials(self._tls, self._place)
        context = _context(PROFILES[self._tls.profile], credentials, self._place("certificate"))
        mode = SSL.VERIFY_NONE
        if self._client_certificate != "none":
            mode = SSL.VERIFY_PEER
            if self._client_certificate == "require":
                mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
            for one in credentials.trusted:
                context.add_client_ca(one)
        context.set_verify(mode, _Check())
        self.warnings = credentials.warnings
        if hasattr(self, "_options"):
            self._options.context = context
        else:
            self._options = _ServerOptions(context)


class ClientTls:
    """What TLS connections to peers are made with: `client_options(host)` for each.

    SettingsError, with a sentence for every problem, where the files cannot be used. `place` names a setting in it.
    """

    def __init__(self, tls: TLS, place: Callable[[str], str] = str) -> None:
        credentials = read_credentials(tls, place)
        self._tls = tls
        self._context = _context(PROFILES[tls.profile], credentials, place("certificate"))
        if not credentials.trusted:
            self._context.set_default_verify_paths()
        self.warnings = credentials.warnings

    def client_options(self, host: str, verify_host_name: bool | None = None) -> IOpenSSLClientConnectionCreator:
        """For one peer, by the name or address it is called by; `verify_host_name` goes before the setting."""
        verify = self._tls.verify_host_name if verify_host_name is None else verify_host_name
        return _ClientOptions(self._context, host.partition("%")[0], verify=verify)


class SecureFactory(TLSMemoryBIOFactory):
    """TLS around a listening factory, which may refuse a connection."""

    def __init__(
        self, options: IOpenSSLServerConnectionCreator, factory: IProtocolFactory, clock: IReactorTime
    ) -> None:
        super().__init__(options, False, factory, clock)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """One more connection, if the factory wants it."""
        protocol = self.wrappedFactory.buildProtocol(addr)
        return None if protocol is None else self.protocol(self, protocol)


class _Connection(SSL.Connection):
    """One that remembers why the peer's certificate was refused."""

    refused: TlsError | None = None


class _Check:
    """OpenSSL's verify callback: has its verdict put into words, and with `host` checks for whom the certificate is."""

    def __init__(self, host: str = "") -> None:
        self._host = host

    def __call__(self, connection: Any, certificate: X509, number: int, depth: int, preverified: int) -> bool:
        refused: TlsError | None = None
        try:
            if not preverified:
                refused = unverified(certificate.to_cryptography(), number, depth)
            elif self._host and depth == 0:
                self._check_host(certificate)
        except (VerificationError, CertificateError):
            refused = wrong_name(certificate.to_cryptography(), self._host)
        except Exception as error:  # noqa: BLE001 (OpenSSL would lose it, and the peer chooses what its certificate holds)
            _log.failure("a peer's certificate could not be checked")
            refused = TlsError("certificate", f"its certificate cannot be read: {type(error).__name__}")
        if refused is not None:
            connection.refused = refused
        return refused is None

    def _check_host(self, certificate: X509) -> None:
        verify = verify_certificate_ip_address if _is_address(self._host) else verify_certificate_hostname
        verify(certificate.to_cryptography(), self._host)


@implementer(IOpenSSLServerConnectionCreator)
class _ServerOptions:
    """Makes the connections of a listener; `context` may be replaced while it listens."""

    def __init__(self, context: SSL.Context) -> None:
        self.context = context

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:  # noqa: N802, N803 (Twisted's names)
        return _Connection(self.context, None)


@implementer(IOpenSSLClientConnectionCreator)
class _ClientOptions:
    """Makes the connections to one host."""

    def __init__(self, context: SSL.Context, host: str, *, verify: bool) -> None:
        self._context = context
        # IDNA, as certificates and SNI have names; idna comes with Twisted's TLS
        self._host = host if host.isascii() else idna.encode(host, uts46=True).decode()
        self._verify = verify

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:  # noqa: N802, N803 (Twisted's names)
        connection = _Connection(self._context, None)
        if not _is_address(self._host):
            connection.set_tlsext_host_name(self._host.encode())  # RFC 6066 §3: names only
        mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        connection.set_verify(mode, _Check(self._host if self._verify else ""))
        return connection


def _context(profile: Profile, credentials: Credentials, place: str) -> SSL.Context:
    """What both roles have in common. SettingsError where OpenSSL does not take our certificate."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(profile.minimum)
    if profile.maximum:
        context.set_max_proto_version(profile.maximum)
    # no resumption: who the peer is, and whether it still may, is asked each time
    context.set_options(
        SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"txdicom")
    # of an idle connection, 34 KiB of buffers are let go
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(profile.cipher_list)
    if profile.tls13:
        context.set_tls13_ciphersuites(":".join(profile.tls13).encode())
    if profile.ephemeral_dh:
        with tempfile.NamedTemporaryFile("w") as file:  # pyOpenSSL takes no other form of it
            file.write(FFDHE2048)
            file.flush()
            context.load_tmp_dh(file.name)
    if credentials.chain:
        try:
            context.use_certificate(credentials.chain[0])
            for one in credentials.chain[1:]:
                context.add_extra_chain_cert(one)
            context.use_privatekey(credentials.key)
        except SSL.Error as error:
            raise SettingsError([f"{place}: OpenSSL does not take it: {reasons_of(error)}"]) from None
    store = context.get_cert_store()
    assert store is not None
    for one in credentials.trusted:
        store.add_cert(X509.from_cryptography(one))
    return context


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
