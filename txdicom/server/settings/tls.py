"""The `[tls]` table of a server's settings, and what the server makes of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from txdicom.errors import SettingsError
from txdicom.net.config import setting
from txdicom.net.tls import TLS, ClientCertificate
from txdicom.scp.security import FileSecurity

if TYPE_CHECKING:
    from txdicom.server.settings.tables import Settings

_FILES = ("certificate", "key", "key_password_file", "ca")


@dataclass(frozen=True, kw_only=True)
class TlsSettings(TLS):
    """The `[tls]` table; relative paths are meant from the server's folder."""

    client_certificate: ClientCertificate = setting(
        "require",
        "what a peer has to show on the ports of secure_listen: a certificate issued by one of `ca`; one like that, or "
        "none; or it is not asked",
    )


def make_security(settings: Settings, folder: str) -> FileSecurity:
    """The TLS of a server whose folder this is; SettingsError lists all that is wrong with it."""
    tls, secure = settings.tls, settings.server.secure_listen

    def place(name: str) -> str:
        return settings.place("tls", name)

    missing = [place(name) for name in ("certificate", "key") if not getattr(tls, name)]
    if secure and missing:
        where = settings.place("server", "secure_listen")
        raise SettingsError(
            [f"{where}: TLS cannot be done without {' and '.join(missing)}: set them, or leave it empty"]
        )
    paths: dict[str, Any] = {name: os.path.join(folder, path) for name in _FILES if (path := getattr(tls, name))}
    return FileSecurity(replace(tls, **paths), tls.client_certificate if secure else None, place)
