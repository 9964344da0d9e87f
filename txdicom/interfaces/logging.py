"""The service log: where log events go, and what of them is patient data.

Add-ins log by Twisted's own `twisted.logger.Logger`, with a format and fields: `_log.info("{count} jobs for {peer}",
count=3, peer="PACS")`. Three conventions hold for the fields:

- `patient_…`: fields whose name begins so hold patient data. They are written as "[redacted]" unless the server's
  setting `log.patient_data` is true. `Private(value)` does the same for a field, or an item of one, of any other name.
  What is formatted into the format itself nobody can tell from other text: it is not for patient data. Of an exception
  that is logged (`_log.failure`, or a field) the type and the frames are written, and the message only of the errors
  of `txdicom.errors`, which is not for patient data either; of all others with `log.patient_data` alone.
- `audit="what-happened"`: the event goes into the server's audit log, too, with its fields, whatever its level is.
- `association` (its number), `calling_ae`, `peer`: by these `txdicom log query` finds it.
"""

from __future__ import annotations

from typing import Any, Final

from zope.interface import Interface

#: what is written in the place of patient data
REDACTED: Final = "[redacted]"


class IServiceLog(Interface):
    """Base service: where the log events of a server go. Default: the server's own log, in files or on the terminal.

    One that takes its place is used from when the server is ready; what came before is in the server's own log. The
    audit log is the server's in any case.
    """

    def event(event):  # type: ignore[no-untyped-def]  # an interface's method
        """Takes one event, a dict as `twisted.logger` makes it; `twisted.logger.formatEvent(event)` is its text.

        It has passed the server's `log.level`, and patient data are redacted unless `log.patient_data` is set; the
        exception of a `log_failure` is as it was raised, and its message may quote a patient. The event comes
        in the thread that logged, the reactor's as a rule: it must not block, and must not change the event. Where it
        raises, the event goes to the server's own log, and the exception as well, once; what it logs itself goes there,
        too. It may still come after the add-in's `unload`.
        """


class Private:
    """Wraps a field of a log event that holds patient data. Its text is "[redacted]", whoever formats it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return REDACTED
