"""Whose code a server runs: files and folders of its own user or of root, which nobody else may write to."""

from __future__ import annotations

import os
import stat


def why_not_trusted(path: str) -> str:
    """Why code at `path`, a file or a folder, is not run; empty where it may be. A link is what it leads to."""
    real = os.path.realpath(path)
    try:
        # whoever can write to the folder of a file can replace the file
        for one in (real, os.path.dirname(real)):
            reason = of_status(os.stat(one))
            if reason:
                return reason if real == path and one == real else f"{one}: {reason}"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def of_status(status: os.stat_result) -> str:
    """Why code in a file or folder of this status is not run; empty where it may be."""
    us = os.geteuid()
    if status.st_uid not in {us, 0}:
        return f"it belongs to user {status.st_uid}, not to the server's user ({us}) or root"
    if status.st_mode & 0o022:
        return f"others than its owner may write to it (mode {stat.S_IMODE(status.st_mode):o}): chmod go-w"
    return ""
