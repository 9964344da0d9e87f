"""The `[log]` table of a server's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from txdicom.net.config import Count, setting


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """What is logged, how, and how much of it is kept."""

    level: Literal["debug", "info", "warning", "error"] = setting("info", "what is less than this is not logged")
    format: Literal["text", "json", "both"] = setting(
        "text",
        "text: lines for people, in log/server.log; json: JSON lines for machines, in log/server.jsonl. In the "
        "foreground the log is the standard output instead, of both the text",
    )
    rotate_size: Count = setting(
        10_485_760, "bytes at which a log file becomes server.log.1, and that server.log.2 …; 0: never"
    )
    rotate_count: Annotated[int, Ge(0), Le(1000)] = setting(10, "how many of the older files are kept, of each log")
    audit: bool = setting(
        True, "log who did what to log/audit.jsonl: associations, administration, start and stop of the server"
    )
    audit_instances: bool = setting(False, "in the audit log, also a line for each instance that a peer stores")
    patient_data: bool = setting(
        False, "log what add-ins mark as patient data, instead of [redacted]: the log is then to be protected as such"
    )
    datasets: Literal["none", "failed", "all"] = setting(
        "none",
        "received instances to keep a copy of in log/datasets, to find out what is wrong with a sender: those that "
        "were not stored, or all; those over 1 MiB are left out. They are patient data",
    )
    dataset_count: Annotated[int, Ge(1), Le(100_000)] = setting(
        100, "how many of these copies are kept; the oldest go first"
    )
