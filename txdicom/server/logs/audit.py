"""The audit log: who did what, from where, with which outcome; one JSON object a line in log/audit.jsonl.

Every log event with a field `audit` goes in, whatever its level: `_log.info("settings changed by {user}: {names}",
audit="settings-changed", user=…, names=…)`. That is how the administrative interface, services and add-ins tell of what
they do. The server's own are server-started, server-stopped, association-opened (with a field `user` where one was
authenticated by name), association-rejected and association-ended; instance-stored, instance-refused and
instance-unanswered (the association was gone before the answer) come with the setting `log.audit_instances`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from txdicom.server.logs.json_lines import add_fields, encoded, timestamp
from txdicom.server.logs.lines import sentence

if TYPE_CHECKING:
    from twisted.logger import LogEvent

    from txdicom.dimse.status import Status
    from txdicom.server.logs.files import LogFile
    from txdicom.services.storage import ObservedStoreRequest


def format_audit(event: LogEvent, *, patient_data: bool = False) -> str:
    """One audited event as a line: `time`, `audit` (what happened), `text`, and the event's fields."""
    line: dict[str, Any] = {
        "time": timestamp(event.get("log_time", 0.0)),
        "audit": str(event.get("audit", "lost")),
        "text": sentence(event, patient_data=patient_data),
    }
    add_fields(line, event, patient_data=patient_data)
    agreement = event.get("agreement")
    if agreement is not None:
        line["contexts"] = [[one.abstract_syntax, one.transfer_syntax] for one in agreement.contexts.values()]
    return encoded(line)


class InstanceAudit:
    """Writes a line for each C-STORE that has been answered."""

    def __init__(self, file: LogFile) -> None:
        self._file = file

    def __call__(self, request: ObservedStoreRequest, status: Status | None) -> None:
        """See `txdicom.services.spool.Spool.observers`."""
        association = request.association
        what = "instance-unanswered"
        if status is not None:
            what = "instance-refused" if status.is_failure else "instance-stored"
        line = {
            "time": timestamp(time.time()),
            "audit": what,
            "association": association.number,
            "calling_ae": association.calling_ae,
            "peer": str(getattr(association.peer, "host", "")),
            "sop_class": request.sop_class,
            "sop_instance": request.sop_instance,
            "status": None if status is None else f"{status.code:04X}",
        }
        self._file.write(encoded(line).encode())
