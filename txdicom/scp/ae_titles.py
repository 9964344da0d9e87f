"""The default of the AE-title service: a table in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from txdicom.errors import RAISED, Conflict, NotFound
from txdicom.interfaces import AEEntry, IAETitle
from txdicom.scp.callers import Callers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from txdicom.net.association import Association

_log = Logger()


@implementer(IAETitle)
class AETitles:
    """The application entities that a server knows, as it was told; see `IAETitle`.

    An entry given as a string is an AE title that may call, from wherever. A caller that is in the table has to meet
    the rule of its entry (`AEEntry.verify`), whether others may call or not.
    """

    def __init__(self, reactor: Any, entries: Iterable[AEEntry | str] = ()) -> None:
        self._reactor = reactor
        self._callers = Callers(reactor)
        listed = [AEEntry(ae_title=one) if isinstance(one, str) else one for one in entries]
        self._entries: Mapping[str, AEEntry] = {one.ae_title: one for one in listed}
        self._accessed: dict[str, datetime] = {}

    def add(self, entry: AEEntry) -> Any:
        """See `IAETitle`."""
        self._take(added(self._entries, entry))

    def update(self, ae_title: str, entry: AEEntry) -> Any:
        """See `IAETitle`."""
        self._take(updated(self._entries, ae_title, entry))

    def remove(self, ae_title: str) -> Any:
        """See `IAETitle`."""
        self._take(removed(self._entries, ae_title))

    def get(self, ae_title: str) -> Any:
        """See `IAETitle`."""
        return self._told(find(self._entries, ae_title))

    def get_all(self) -> Any:
        """See `IAETitle`."""
        return [self._told(entry) for entry in self._entries.values()]

    def validate(self, association: Association) -> Any:
        """See `IAETitle`."""
        title = association.calling_ae.strip(" ")
        entry = self._entries.get(title)
        if entry is None:
            anonymous: bool = getattr(association.config, "allow_anonymous", False)
            if not anonymous:
                _log.warn("{title} is refused: it is not in the AE table (allow_anonymous is false)", title=repr(title))
            return anonymous
        reason = self._callers.why_not(entry, association.peer)
        if isinstance(reason, Deferred):
            return reason.addCallback(self._judge, entry, association)
        return self._judge(reason, entry, association)

    def _judge(self, reason: str, entry: AEEntry, association: Association) -> bool:
        if reason:
            host = getattr(association.peer, "host", "a local socket")
            _log.warn(
                "{title} at {host} is refused (verify = {rule}): {reason}",
                title=repr(entry.ae_title),
                host=host,
                rule=entry.verify,
                reason=reason,
            )
            return False
        self._accessed[entry.ae_title] = datetime.fromtimestamp(self._reactor.seconds(), UTC)
        return True

    def _told(self, entry: AEEntry) -> AEEntry:
        """`entry` with its last access."""
        accessed = self._accessed.get(entry.ae_title)
        return entry if accessed is None else replace(entry, last_access=accessed)

    def _take(self, entries: Mapping[str, AEEntry]) -> None:
        """From now on these are the entries."""
        self._entries = entries
        self._accessed = {title: when for title, when in self._accessed.items() if title in entries}


async def character_set_of(titles: Any, association: Association) -> str:
    """What the AE-title service `titles` says of the caller's data sets that say no Specific Character Set; or ""."""
    try:
        entry: AEEntry = await maybeDeferred(titles.get, association.calling_ae)
    except NotFound:
        return ""
    except CancelledError:
        raise
    except RAISED:
        _log.failure("the AE-title service failed on {calling_ae}", calling_ae=association.calling_ae)
        return ""
    return entry.character_set


def find(entries: Mapping[str, AEEntry], ae_title: str) -> AEEntry:
    """The entry of that title; NotFound."""
    try:
        return entries[ae_title.strip(" ")]
    except KeyError:
        raise NotFound(f"{ae_title!r} is not in the AE table") from None


def added(entries: Mapping[str, AEEntry], entry: AEEntry) -> dict[str, AEEntry]:
    """The entries with a new one; Conflict."""
    if entry.ae_title in entries:
        raise Conflict(f"{entry.ae_title!r} is in the AE table already")
    return {**entries, entry.ae_title: entry}


def updated(entries: Mapping[str, AEEntry], ae_title: str, entry: AEEntry) -> dict[str, AEEntry]:
    """The entries with `entry` in the place of another; NotFound, Conflict."""
    old = find(entries, ae_title).ae_title
    if entry.ae_title != old and entry.ae_title in entries:
        raise Conflict(f"{entry.ae_title!r} is in the AE table already")
    return {one.ae_title: one for one in (entry if title == old else other for title, other in entries.items())}


def removed(entries: Mapping[str, AEEntry], ae_title: str) -> dict[str, AEEntry]:
    """The entries without that one; NotFound."""
    old = find(entries, ae_title).ae_title
    return {title: entry for title, entry in entries.items() if title != old}
