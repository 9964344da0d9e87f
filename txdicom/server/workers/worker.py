"""The process of one worker: `python -m txdicom.server.workers.worker`, with the descriptors that its parent gives it.

Its parent decides about its life: what comes to a whole group of processes (a terminal's Ctrl-C, its end) is ignored.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys


def main() -> None:
    """Serves until the parent says that it is enough, or is gone."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()  # the parent has it in its log
    os.umask(0o077)
    from txdicom.server.launch import tune_malloc

    tune_malloc(os.environ)
    from twisted.internet import reactor

    from txdicom.server.workers.inside import Serving
    from txdicom.server.workers.process import CHANNEL_FD, LINK_FD, LOG_FD

    for fd in (CHANNEL_FD, LINK_FD, LOG_FD):
        os.set_inheritable(fd, False)
        os.set_blocking(fd, False)
    serving = Serving(reactor, socket.socket(fileno=CHANNEL_FD), LOG_FD)
    serving.connect(LINK_FD)

    def drain(number: int, frame: object) -> None:
        reactor.callFromThread(serving.drain)  # type: ignore[attr-defined]

    # Twisted's own handlers come with the reactor's start
    reactor.callWhenRunning(signal.signal, signal.SIGTERM, drain)
    reactor.run()
    sys.exit(serving.status)


if __name__ == "__main__":
    main()
