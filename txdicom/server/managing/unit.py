"""The unit by which systemd runs a server."""

from __future__ import annotations

import os
import pwd
import shutil
from typing import TYPE_CHECKING, Final

from txdicom.server.endpoints import port_of
from txdicom.server.managing.patience import AFTER_DRAIN, START_TIMEOUT
from txdicom.server.managing.starting import twistd
from txdicom.server.settings.folders import with_folders

if TYPE_CHECKING:
    from txdicom.server.folder import ServerFolder
    from txdicom.server.settings.tables import Settings

_PRIVILEGED: Final = 1024
_TEMPORARY: Final = ("/tmp/", "/var/tmp/")  # noqa: S108 (compared, not used)

_UNIT: Final = """\
# {path}: put it there, then
#   systemctl daemon-reload
#   systemctl enable --now {name}
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
User={user}
{environment}ExecStart={start}
ExecReload={kill} -HUP $MAINPID
Restart=on-failure
RestartSec=5
TimeoutStartSec={ready:g}
# {drain:g} s are for running operations (drain_timeout)
TimeoutStopSec={stop:g}
# SIGTERM to the server alone, which has its workers finish; what is left at the end is killed
KillMode=mixed
# without a terminal, SIGHUP has the settings read again
StandardInput=null
WorkingDirectory=/
UMask=0077
LimitNOFILE={files}

# what it may do
{missing}ReadWritePaths={writable}
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp={private}
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}

[Install]
WantedBy=multi-user.target
"""


def unit(folder: ServerFolder, settings: Settings) -> str:
    """The text of the unit for the server of this folder, run by the user to whom the folder belongs."""
    server = settings.server
    base, title = os.path.split(folder.path)
    name = f"txdicom-{title}.service"
    words = [*twistd(), "-n", "--pidfile=", "dicomserver", "--base", base, "--ae-title", title]
    paths = [os.path.abspath(one) for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    resolved = with_folders(settings, folder.path)
    places = dict.fromkeys((folder.path, resolved.archive.store, resolved.server.temporary_directory))
    writable = [one for one in places if not any(one.startswith(f"{other}/") for other in places)]
    ports = [port_of(one) for one in (*server.listen, *server.secure_listen)]
    described = f"DICOM server {title}" + (f" ({server.display_name})" if server.display_name else "")
    return _UNIT.format(
        path=f"/etc/systemd/system/{name}",
        name=name,
        description=_plain(described),
        user=_user(folder.path),
        environment=f"Environment={_quoted('PYTHONPATH=' + os.pathsep.join(paths))}\n" if paths else "",
        start=" ".join(_quoted(one, dollar="$$") for one in words),
        kill=shutil.which("kill") or "/bin/kill",
        ready=START_TIMEOUT,
        drain=server.drain_timeout,
        stop=server.drain_timeout + AFTER_DRAIN,
        files=max(65_536, 4 * server.max_clients),
        missing="".join(f"# make it first, for that user: {one}\n" for one in writable if not os.path.isdir(one)),
        writable=" ".join(map(_quoted, writable)),
        # it would hide what lies there
        private="no" if any(one.startswith(_TEMPORARY) for one in places) else "yes",
        capabilities="CAP_NET_BIND_SERVICE" if any(0 < one < _PRIVILEGED for one in ports) else "",
    )


def _user(folder: str) -> str:
    number = os.stat(folder).st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _plain(text: str) -> str:
    """A text of one line, in which systemd looks for specifiers."""
    return " ".join(text.split()).replace("%", "%%")


def _quoted(word: str, *, dollar: str = "$") -> str:
    """A word of systemd.syntax(7)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return '"' + escaped.replace("%", "%%").replace("$", dollar) + '"'
