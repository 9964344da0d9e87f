"""The TLS Secure Transport Connection Profiles of PS3.15 Annex B, as what OpenSSL is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from OpenSSL import SSL

ProfileName = Literal[
    "bcp195-rfc8996-9325",
    "modified-bcp195-rfc8996-9325",
    "extended-bcp195",
    "non-downgrading-bcp195",
    "bcp195",
    "aes",
]
DEFAULT_PROFILE: Final[ProfileName] = "bcp195-rfc8996-9325"

#: in both current profiles, the strongest first
_EPHEMERAL: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
#: what PS3.15 B.10 and B.11 ask every implementation for
_RSA: Final = (
    "ECDHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES128-GCM-SHA256",
)
_TLS13: Final = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")

#: the group ffdhe2048 of RFC 7919, for the profiles with DHE: they ask for 2048 bits at least
FFDHE2048: Final = """\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One profile: TLS versions, cipher suites by OpenSSL's names in order of preference, and its clause.

    OpenSSL offers no curve of less than 256 bits by itself, which is what PS3.15 B.13 asks for. What it does not have
    (Camellia in GCM) it leaves out.
    """

    clause: str
    ciphers: tuple[str, ...]
    """Up to TLS 1.2."""
    tls13: tuple[str, ...] = ()
    """None: no TLS 1.3."""
    minimum: int = SSL.TLS1_2_VERSION
    retired: bool = False

    @property
    def cipher_list(self) -> bytes:
        """In OpenSSL's syntax; level 2 takes RSA keys of 2048 bits and more, 0 is what TLS 1.0 needs."""
        level = 0 if self.minimum < SSL.TLS1_2_VERSION else 2
        return ":".join([*self.ciphers, f"@SECLEVEL={level}"]).encode()

    @property
    def maximum(self) -> int:
        """The newest version; 0: whatever OpenSSL has."""
        return 0 if self.tls13 else SSL.TLS1_2_VERSION

    @property
    def ephemeral_dh(self) -> bool:
        """Whether it has suites with DHE over a finite field."""
        return any(one.startswith("DHE-") for one in self.ciphers)


PROFILES: Final[dict[ProfileName, Profile]] = {
    "bcp195-rfc8996-9325": Profile(clause="PS3.15 B.12", ciphers=_EPHEMERAL, tls13=_TLS13),
    "modified-bcp195-rfc8996-9325": Profile(
        clause="PS3.15 B.13",
        ciphers=(
            *_EPHEMERAL,
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDHE-RSA-CHACHA20-POLY1305",
            "ECDHE-ECDSA-AES256-CCM",
            "ECDHE-ECDSA-AES256-CCM8",
            "ECDHE-ECDSA-AES128-CCM",
            "ECDHE-ECDSA-AES128-CCM8",
        ),
        tls13=(*_TLS13, "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"),
    ),
    "extended-bcp195": Profile(  # "No other cipher suites shall be used"
        clause="PS3.15 B.11",
        ciphers=(*_RSA, "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        retired=True,
    ),
    "non-downgrading-bcp195": Profile(clause="PS3.15 B.10", ciphers=_RSA, tls13=_TLS13, retired=True),
    "bcp195": Profile(  # falls back to what the peers of B.3 have
        clause="PS3.15 B.9", ciphers=(*_RSA, "AES128-SHA"), tls13=_TLS13, minimum=SSL.TLS1_VERSION, retired=True
    ),
    # its other suite, with Triple DES, is in no OpenSSL of today
    "aes": Profile(clause="PS3.15 B.3", ciphers=("AES128-SHA",), minimum=SSL.TLS1_VERSION, retired=True),
}
