"""`twistd dicomserver`: its options, and the making of its service.

Whatever is wrong before the start ends the process with one message and status 1; what that takes is imported by
`makeService` only, so that `--help` stays quick.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from twisted.python import usage

if TYPE_CHECKING:
    from twisted.application.service import IService

    from txdicom.server.serving import Served

_NOT_WITH = {
    "uid": "start it as the user it is to run as",
    "gid": "start it as the user it is to run as",
    "chroot": "let the service manager confine it",
}


class Options(usage.Options):
    """The command line of `twistd dicomserver`."""

    synopsis = "[--base DIR] [--ae-title AE] [--listen ENDPOINT]... [--set table.key=value]..."
    longdesc = (
        "Runs one DICOM server. Its folder, DIR/AE, is made on the first start, with settings that explain themselves "
        "in server.toml. --listen and --set hold for this run only."
    )
    optParameters = [  # noqa: N815 (Twisted's name)
        ["base", "b", None, "Folder of the servers; else $TXDICOM_HOME, else the user's data folder"],
        ["ae-title", "a", None, "AE title of the server to run; else the only one in the base, else TXDICOM is made"],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"] = []
        self["set"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Accept associations here (tcp:11112:interface=127.0.0.1), and not where server.toml says; repeatable."""
        self["listen"].append(endpoint)

    def opt_set(self, setting: str) -> None:
        """A setting of server.toml, such as server.max_clients=50; repeatable."""
        self["set"].append(setting)

    opt_l = opt_listen
    opt_s = opt_set


def makeService(options: Options, reactor: Any = None) -> IService:
    """The server of these options, its folder held and its ports open; SystemExit with a message where that fails."""
    from txdicom.errors import SettingsError
    from txdicom.server.launch import tune_malloc

    tune_malloc(os.environ)
    # for whatever an add-in writes; twistd's --umask comes later, so that it has its way
    os.umask(0o077)
    twistd = options.parent if options.parent is not None else {"nodaemon": True}
    for name, remedy in _NOT_WITH.items():
        if twistd.get(name) is not None:
            raise SystemExit(f"twistd's --{name} does not go with dicomserver: {remedy}")
    if reactor is None:
        from twisted.internet import reactor
    try:
        return _make(options, twistd, reactor)
    except SettingsError as error:
        raise SystemExit(_report(error)) from None


def _make(options: Options, twistd: Any, reactor: Any) -> IService:
    from txdicom.server import compose
    from txdicom.server.logs.log import choose_log
    from txdicom.server.service import DicomServer
    from txdicom.server.serving import OneProcess
    from txdicom.server.settings.live import LiveSettings
    from txdicom.server.settings.running import EntityTarget
    from txdicom.server.workers.making import make_workers

    prepared = compose.prepare(options["base"], options["ae-title"], options["set"], options["listen"], os.environ)
    settings = prepared.settings
    daemon = not twistd.get("nodaemon")
    compose.announce_settings(prepared)
    entity = compose.make_entity(prepared, reactor)
    log, place = choose_log(twistd, prepared.folder.log_file, settings.log)
    served: Served
    if settings.server.workers > 1:
        served, live = make_workers(reactor, prepared, entity, log)
    else:
        compose.connect_log(prepared, entity, log)
        target = EntityTarget(reactor, entity, log, prepared.security)
        served = OneProcess(entity, log)
        live = LiveSettings(prepared.folder, settings, prepared.text, prepared.overrides, target)
    early, late = compose.early_and_late(settings.server.listen, daemon=daemon)
    try:
        compose.open_ports(served, early, settings.server.secure_listen)
    except BaseException:
        log.close()
        raise
    compose.announce(prepared, served, entity.addins, late)
    server = DicomServer(reactor, served, prepared.folder, late=late, log=log, live=live)
    if daemon:
        sys.stdout.write(f"{served.ae_title} goes to the background; its log is {place}\n")
        sys.stdout.flush()
    return server


def _report(error: Any) -> str:
    count = len(error.problems)
    head = "The server was not started:" if count == 1 else f"The server was not started, for {count} reasons:"
    return "\n".join([head, *(f"  {problem}" for problem in error.problems)])
