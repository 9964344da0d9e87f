"""TLS in words: what a connection has agreed on, and why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from cryptography import x509
from OpenSSL import SSL

if TYPE_CHECKING:
    from collections.abc import Sequence

#: what failed: the peer's certificate ("issuer", "name", "dates", "certificate"), ours ("wanted", "ours"), versions or
#: cipher suites ("common"), a peer without TLS ("plain"), one that went away ("closed"), anything else ("other")
Kind = Literal["issuer", "name", "dates", "certificate", "wanted", "ours", "common", "plain", "closed", "other"]

#: characters of a name that is shown
_LONGEST: Final = 200


class TlsError(Exception):
    """Why a connection has no TLS; the text is the rest of a sentence that names the peer."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class TlsSession:
    """What a connection has agreed on with its peer."""

    version: str
    """TLSv1.2, TLSv1.3"""
    cipher: str
    certificate: x509.Certificate | None
    """The peer's, checked; None where it gave none, or was not asked for one."""

    @property
    def subject(self) -> str | None:
        """Whom the peer's certificate is for (RFC 4514), printable; None without one."""
        return None if self.certificate is None else subject_of(self.certificate)

    def __str__(self) -> str:
        whom = f"the certificate of {self.subject}" if self.certificate else "no certificate of the peer"
        return f"{self.version}, {self.cipher}, {whom}"


def session_of(connection: SSL.Connection) -> TlsSession:
    """Of a connection whose handshake is complete."""
    peer = connection.get_peer_certificate()
    return TlsSession(
        version=connection.get_protocol_version_name(),
        cipher=connection.get_cipher_name() or "",
        certificate=None if peer is None else peer.to_cryptography(),
    )


#: by part of OpenSSL's reason, which differs between its versions; an "alert" is what the peer says
_REASONS: Final[Sequence[tuple[str, Kind, str]]] = (
    ("alert certificate required", "wanted", "it wants a certificate of ours"),
    ("alert unknown ca", "ours", "it does not trust the issuer of our certificate"),
    ("alert certificate expired", "ours", "it says that our certificate has expired"),
    ("alert certificate revoked", "ours", "it says that our certificate is revoked"),
    ("alert bad certificate", "ours", "it refuses our certificate"),
    ("alert unsupported certificate", "ours", "it refuses the kind of our certificate"),
    ("alert certificate unknown", "ours", "it refuses our certificate"),
    ("alert access denied", "ours", "it refuses our certificate"),
    ("alert handshake failure", "common", "it refuses what we offer: it wants another TLS profile, or a certificate"),
    ("alert protocol version", "common", "it speaks no TLS version that our profile has"),
    ("alert insufficient security", "common", "it wants stronger cipher suites than our profile has"),
    ("did not return a certificate", "wanted", "it gave no certificate"),
    ("no shared cipher", "common", "it has no cipher suite in common with our profile"),
    ("no suitable signature algorithm", "common", "it has no signature algorithm in common with our profile"),
    ("unsupported protocol", "common", "it speaks no TLS version that our profile has"),
    ("no protocols available", "common", "our profile has no TLS version that OpenSSL allows"),
    ("key too small", "certificate", "the key of its certificate is too short for our profile"),
    ("md too weak", "certificate", "its certificate is signed in a way too weak for our profile"),
    ("certificate verify failed", "certificate", "its certificate could not be verified"),
    ("wrong version number", "plain", "it does not speak TLS on this port"),
    ("http request", "plain", "it does not speak TLS on this port"),
    ("packet length too long", "plain", "it does not speak TLS on this port"),
    ("record layer failure", "plain", "it does not speak TLS on this port"),
)
#: of X.509 verification
_NO_ISSUER: Final = {2, 18, 19, 20, 21, 27}
_NOT_YET: Final = 9
_EXPIRED: Final = 10
_OTHERS: Final = {7: "its signature is wrong", 23: "it is revoked", 26: "it is meant for another purpose"}


def unverified(certificate: x509.Certificate, number: int, depth: int) -> TlsError:
    """Why OpenSSL refuses one of the peer's chain: `number` is an X509_V_ERR, `depth` 0 the peer's own certificate."""
    whose = "its certificate" if depth == 0 else f"the certificate of its issuer {subject_of(certificate)}"
    if number in _NO_ISSUER:
        if certificate.issuer != certificate.subject:
            issuer = _shown(certificate.issuer.rfc4514_string())
            return TlsError("issuer", f"{whose} was issued by {issuer}, which is not trusted")
        root = "is signed by itself, and" if depth == 0 else f"goes back to {subject_of(certificate)}, which"
        return TlsError("issuer", f"its certificate {root} is not trusted")
    if number == _EXPIRED:
        return TlsError("dates", f"{whose} has expired, on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if number == _NOT_YET:
        return TlsError("dates", f"{whose} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}")
    reason = _OTHERS.get(number, f"error {number} of OpenSSL's X509_V_ERR")
    return TlsError("certificate", f"{whose} could not be verified: {reason}")


def wrong_name(certificate: x509.Certificate, host: str) -> TlsError:
    """The certificate is for others than `host`."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        listed = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    except (x509.ExtensionNotFound, ValueError):
        listed = []
    if not listed:
        return TlsError(
            "name", f"its certificate names no host, and so not {host} (it is for {subject_of(certificate)})"
        )
    return TlsError("name", f"its certificate is for {_shown(', '.join(listed))}, and not for {host}")


def failure_of(connection: Any, error: BaseException | None, *, handshake: bool) -> TlsError | None:
    """Why a connection over TLS ended with `error`; None where TLS has no part in it.

    `connection` is the OpenSSL one, `handshake` whether that was complete.
    """
    refused: TlsError | None = getattr(connection, "refused", None)
    if refused is not None:
        return refused
    if isinstance(error, SSL.Error):
        reasons = reasons_of(error)
        for part, kind, text in _REASONS:
            if part in reasons:
                return TlsError(kind, text)
        return TlsError("other", f"TLS failed: {reasons}")
    if not handshake:
        return TlsError(
            "closed", "it closed the connection during the TLS handshake: it may not speak TLS on this port"
        )
    return None


def reasons_of(error: SSL.Error) -> str:
    """What OpenSSL says."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(str(one[-1]) for one in queue) or type(error).__name__


def subject_of(certificate: x509.Certificate) -> str:
    """Whom a certificate is for, printable."""
    return _shown(certificate.subject.rfc4514_string())


def _shown(text: str) -> str:
    """What a certificate says, without what a terminal or a log would obey."""
    text = "".join(one if one.isprintable() else "?" for one in text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
