"""Tells whoever has started the server how it goes: systemd (`Type=notify`), or `txdicom server start`."""

from __future__ import annotations

import os
import socket
import time
from typing import Final

#: characters of one value; a sentence for an operator is shorter
LONGEST_VALUE: Final = 4096


def notify(**fields: object) -> bool:
    """Sends these fields of sd_notify(3) to the socket $NOTIFY_SOCKET; whether they have gone.

    READY=1: the start is over. STATUS="…": one line for people. STOPPING=1, RELOADING=1, MAINPID=…. It neither waits
    nor raises: a server runs as well if nobody listens. Without $NOTIFY_SOCKET it does nothing.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    if "RELOADING" in fields:
        # a manager tells by it that the READY=1 which follows is no older one
        fields.setdefault("MONOTONIC_USEC", time.monotonic_ns() // 1000)
    text = "".join(f"{name}={_line(str(value))}\n" for name, value in fields.items())
    address = b"\0" + os.fsencode(path[1:]) if path[0] == "@" else os.fsencode(path)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(text.encode("utf-8", "replace"), address)
    except OSError:
        return False
    return True


def _line(text: str) -> str:
    """As one line: a line break in it would begin another field."""
    return " ".join(text.split())[:LONGEST_VALUE]
