"""Certificates for the tests: a CA, and what it issues, in files."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

if TYPE_CHECKING:
    from pathlib import Path

#: what the server's certificate is for
HOSTS = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in two files."""

    certificate: str
    key: str

    @property
    def files(self) -> dict[str, str]:
        """As keywords of `TLS`."""
        return {"certificate": self.certificate, "key": self.key}


class Authority:
    """A CA, its certificate in the file `path`; everything is written into `folder`."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        self._folder = folder
        self._key: Any = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self._count = 0
        builder = _builder(self._name, self._name, self._key.public_key(), -1, 365)
        self.certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
            self._key, hashes.SHA256()
        )
        self.path = str(self._write("ca.pem", _pem(self.certificate)))

    def issue(
        self,
        name: str,
        *hosts: str,
        begin: float = -1,
        end: float = 90,
        password: str = "",
        key: Any = None,
    ) -> Pair:
        """A certificate for `hosts`, valid from `begin` to `end`, in days from now."""
        self._count += 1
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(name), self._name, key.public_key(), begin, end)
        if hosts:
            names = [_host(host) for host in hosts]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        encryption: Any = serialization.NoEncryption()
        if password:
            encryption = serialization.BestAvailableEncryption(password.encode())
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        chain = _pem(certificate) + _pem(self.certificate)
        return Pair(
            str(self._write(f"{self._count}-{name}.pem", chain)), str(self._write(f"{self._count}-{name}.key", private))
        )

    def write(self, name: str, content: str) -> str:
        """A private file of its own; the path."""
        return str(self._write(name, content.encode()))

    def _write(self, name: str, content: bytes) -> Path:
        self._folder.mkdir(exist_ok=True)
        path = self._folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path


@cache
def rsa_key(bits: int = 2048) -> Any:
    """Takes its time to be made."""
    return rsa.generate_private_key(65_537, bits)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: Any, begin: float, end: float
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=begin))
        .not_valid_after(now + dt.timedelta(days=end))
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
