"""The files of TLS: certificates, keys and their passwords, read and checked before anything is made of them."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from txdicom import private_files
from txdicom.errors import SettingsError
from txdicom.net.tls_profiles import PROFILES
from txdicom.private_files import Unusable

if TYPE_CHECKING:
    from collections.abc import Callable

    from txdicom.net.tls import TLS

#: no file here is longer, the bundles of a whole system included
_MOST: Final = 4 * 1024 * 1024
_SUFFIXES: Final = (".pem", ".crt", ".cer")
#: days before the end of a certificate from which on it is spoken of
_SOON: Final = 30
#: bits; RFC 9325 §4.5
_RSA_BITS: Final = 2048


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What the files hold."""

    chain: tuple[x509.Certificate, ...] = ()
    """Our certificate and those of its issuers; empty where we have none."""
    key: Any = None
    trusted: tuple[x509.Certificate, ...] = ()
    """The issuers we trust; empty: those that the system trusts."""
    warnings: tuple[str, ...] = ()
    """What works and may still be a mistake, in sentences."""


def read_credentials(tls: TLS, place: Callable[[str], str] = str) -> Credentials:
    """Reads the files of `tls`; `place` names one of its settings in messages. SettingsError lists every problem."""
    reader = _Reader(tls, place)
    reader.certificate()
    reader.private_key()
    reader.issuers()
    if reader.problems:
        raise SettingsError(reader.problems)
    return Credentials(
        chain=tuple(reader.chain), key=reader.key, trusted=tuple(reader.trusted), warnings=tuple(reader.warnings)
    )


class _Reader:
    def __init__(self, tls: TLS, place: Callable[[str], str]) -> None:
        self._tls = tls
        self._place = place
        self.chain: list[x509.Certificate] = []
        self.key: Any = None
        self.trusted: list[x509.Certificate] = []
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def certificate(self) -> None:
        tls = self._tls
        if bool(tls.certificate) != bool(tls.key):
            given, missing = ("certificate", "key") if tls.certificate else ("key", "certificate")
            self.problems.append(f"{self._place(missing)}: it is missing: {given} and {missing} go together")
        if not tls.certificate:
            return
        try:
            self.chain = _certificates(tls.certificate)
        except Unusable as why:
            self._problem("certificate", why)
            return
        self._check_dates("certificate", tls.certificate, self.chain[0])
        public = self.chain[0].public_key()
        weak = PROFILES[tls.profile].minimum < SSL.TLS1_2_VERSION
        if isinstance(public, rsa.RSAPublicKey) and public.key_size < _RSA_BITS and not weak:
            self.problems.append(
                f"{self._place('certificate')}: {tls.certificate} has an RSA key of {public.key_size} bits, and the "
                f"profile {tls.profile} takes {_RSA_BITS} and more: have one issued for a longer key"
            )

    def private_key(self) -> None:
        tls = self._tls
        if not tls.key:
            return
        try:
            password = private_files.password(tls.key_password_file) if tls.key_password_file else None
        except Unusable as why:
            self._problem("key_password_file", why)
            return
        try:
            self.key = _private_key(tls.key, password, self._place("key_password_file"))
        except Unusable as why:
            self._problem("key", why)
            return
        if self.chain and _spki(self.key.public_key()) != _spki(self.chain[0].public_key()):
            self.problems.append(
                f"{self._place('key')}: {tls.key} is not the key of the first certificate in {tls.certificate}: give "
                f"the two that belong together; in the file, our certificate comes before those of its issuers"
            )

    def issuers(self) -> None:
        path = self._tls.ca
        if not path:
            return
        try:
            self.trusted = _folder(path) if os.path.isdir(path) else _certificates(path)
        except Unusable as why:
            self._problem("ca", why)
            return
        now = dt.datetime.now(dt.UTC)
        if all(one.not_valid_after_utc < now for one in self.trusted):
            self.warnings.append(
                f"{self._place('ca')}: every certificate in {path} has expired: peers cannot be trusted"
            )

    def _problem(self, name: str, why: Unusable) -> None:
        self.problems.append(f"{self._place(name)}: {why}")

    def _check_dates(self, name: str, path: str, certificate: x509.Certificate) -> None:
        now = dt.datetime.now(dt.UTC)
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        where = f"{self._place(name)}: the certificate in {path}"
        if now < begin:
            self.warnings.append(f"{where} is not valid before {begin:%Y-%m-%d %H:%M} UTC: peers will refuse it")
        elif now > end:
            self.warnings.append(f"{where} has expired, on {end:%Y-%m-%d %H:%M} UTC: peers will refuse it; renew it")
        elif end - now < dt.timedelta(days=_SOON):
            self.warnings.append(f"{where} expires on {end:%Y-%m-%d %H:%M} UTC: renew it")


def _certificates(path: str) -> list[x509.Certificate]:
    content = private_files.content(path, _MOST)
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise Unusable(
            f"{path} has no certificate in PEM form; one in DER form is changed by: openssl x509 -inform DER -in {path}"
        )
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise Unusable(f"a certificate in {path} cannot be read: {_first_line(error)}") from None


def _folder(path: str) -> list[x509.Certificate]:
    """All certificates in the files of a folder."""
    try:
        names = sorted(name for name in os.listdir(path) if name.lower().endswith(_SUFFIXES))
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from None
    if not names:
        raise Unusable(f"the folder {path} has no certificate: their files end in {', '.join(_SUFFIXES)}")
    # some folders have the same certificate twice, under a second name
    found = {one: None for name in names for one in _certificates(os.path.join(path, name))}
    return list(found)


def _private_key(path: str, password: bytes | None, place: str) -> Any:
    content = private_files.content(path, _MOST, secret=True)
    try:
        return serialization.load_pem_private_key(content, password)
    except TypeError:  # encrypted and no password, or the other way round
        if password is None:
            raise Unusable(f"the key in {path} is encrypted: give a file with its password, {place}") from None
        raise Unusable(f"the key in {path} has no password: leave {place} out") from None
    except ValueError as error:
        if password is not None and b"ENCRYPTED" in content:
            raise Unusable(f"the password of {place} is not that of the key in {path}") from None
        raise Unusable(f"{path} has no private key in PEM form: {_first_line(error)}") from None
    except Exception as error:  # noqa: BLE001 (cryptography's UnsupportedAlgorithm, and what it may add)
        raise Unusable(f"the key in {path} cannot be used: {_first_line(error)}") from None


def _spki(public_key: Any) -> bytes:
    encoded: bytes = public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
