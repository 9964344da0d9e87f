"""The default of the AE-title service of a deployed server: `aetitles.toml`, read again when it changes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from txdicom import private_files
from txdicom.errors import DicomError, SettingsError
from txdicom.interfaces import IAETitle
from txdicom.scp.ae_titles import AETitles, added, find, removed, updated
from txdicom.server.ae import edit as ae_edit
from txdicom.server.ae.table import EXAMPLE, read_ae_table
from txdicom.services.shield import shielded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from txdicom.interfaces import AEEntry
    from txdicom.net.association import Association

_log = Logger()

#: seconds between two looks at whether the file has changed
LOOK: Final = 1.0

#: what tells one version of a file from another: time of change in ns, size, inode
Stamp = tuple[int, int, int]


class Table(NamedTuple):
    """The table as it was read: the text, its entries, and which version of the file it is; None: there is no file."""

    text: str
    entries: Mapping[str, AEEntry]
    stamp: Stamp | None


# -- the file; all of it blocks ----------------------------------------------------------------------------------------


def read(path: str) -> Table:
    """The table in the file; where there is none, that of a new server. SettingsError lists every mistake."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            status = os.fstat(file.fileno())
            text = file.read()
    except FileNotFoundError:
        return Table(EXAMPLE, {}, None)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError([f"aetitles.toml cannot be read: {reason}"]) from None
    return Table(text, read_ae_table(text), _stamp(status))


def change(path: str, edit: Callable[[Table], Table], known: Table | None = None) -> Table:
    """Has `edit` make a new table of the file's, and writes it; `known` saves reading where the file is still that.

    Where there is no file the new one is made from `known`, if that is given. Changes of several processes follow one
    another. Errors: those of `read` and `edit`, DicomError where the file cannot be written.
    """
    try:
        with private_files.alone(path):
            stamp = stamp_of(path)
            table = known if known is not None and stamp in {None, known.stamp} else read(path)
            text, entries, _ = edit(table)
            return Table(text, entries, _stamp(private_files.replace(path, text.encode())))
    except OSError as error:
        raise DicomError(f"{path} cannot be written: {error.strerror}") from error


def adding(entry: AEEntry) -> Callable[[Table], Table]:
    """For `change`: see `IAETitle.add`."""

    def edit(table: Table) -> Table:
        entries = added(table.entries, entry)
        return Table(ae_edit.with_added(table.text, entry), entries, None)

    return edit


def updating(ae_title: str, entry: AEEntry) -> Callable[[Table], Table]:
    """For `change`: see `IAETitle.update`."""

    def edit(table: Table) -> Table:
        entries = updated(table.entries, ae_title, entry)
        old = find(table.entries, ae_title).ae_title
        return Table(ae_edit.with_updated(table.text, old, entry), entries, None)

    return edit


def removing(ae_title: str) -> Callable[[Table], Table]:
    """For `change`: see `IAETitle.remove`."""

    def edit(table: Table) -> Table:
        entries = removed(table.entries, ae_title)
        old = find(table.entries, ae_title).ae_title
        return Table(ae_edit.with_removed(table.text, old), entries, None)

    return edit


def stamp_of(path: str) -> Stamp | None:
    """Which version of the file is there; None where there is none."""
    try:
        return _stamp(os.stat(path))
    except OSError:
        return None


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino


# -- the service -------------------------------------------------------------------------------------------------------


@implementer(IAETitle)
class AETitleFile(AETitles):
    """The application entities in the file `path`. `entries` hold until it is read for the first time.

    Reading and writing happen in a thread, one after the other. Whoever asks while the file has changed waits for the
    new table; a broken file is logged, and the table of before holds until it is mended.
    """

    def __init__(self, reactor: Any, path: str, entries: Mapping[str, AEEntry] | None = None) -> None:
        super().__init__(reactor, (entries or {}).values())
        self._path = path
        self._table: Table | None = None
        self._seen: Stamp | None = None  # the version that was read last, a broken one too
        self._looked = float("-inf")
        self._lock = DeferredLock()
        #: is called with the AE titles concerned when entries have changed, by whoever
        self.on_change: Callable[[list[str]], object] | None = None

    def add(self, entry: AEEntry) -> Deferred[None]:
        """See `IAETitle`."""
        return self._change(adding(entry))

    def update(self, ae_title: str, entry: AEEntry) -> Deferred[None]:
        """See `IAETitle`."""
        return self._change(updating(ae_title, entry))

    def remove(self, ae_title: str) -> Deferred[None]:
        """See `IAETitle`."""
        return self._change(removing(ae_title))

    def get(self, ae_title: str) -> Any:
        """See `IAETitle`."""
        return self._current(lambda: super(AETitleFile, self).get(ae_title))

    def get_all(self) -> Any:
        """See `IAETitle`."""
        return self._current(super().get_all)

    def validate(self, association: Association) -> Any:
        """See `IAETitle`."""
        return self._current(lambda: super(AETitleFile, self).validate(association))

    def reload(self) -> Deferred[None]:
        """Reads the file again if it has changed, without waiting for the next look; fires when that is done."""
        self._looked = self._reactor.seconds()
        return shielded(self._lock.run, self._read_changed)

    def _current(self, answer: Callable[[], Any]) -> Any:
        """What `answer` says of the file as it is now; at once unless it has to be read."""
        now = self._reactor.seconds()
        if not self._lock.locked:
            if 0 <= now - self._looked < LOOK:
                return answer()
            self._looked = now
            if stamp_of(self._path) in {None, self._seen}:
                return answer()
        return self.reload().addCallback(lambda _: answer())

    def _change(self, edit: Callable[[Table], Table]) -> Deferred[None]:
        def begin() -> Deferred[None]:
            return self._thread(change, self._path, edit, self._table).addCallback(self._took)

        return shielded(self._lock.run, begin)

    def _read_changed(self) -> Deferred[None]:
        stamp = stamp_of(self._path)
        if stamp is None or stamp == self._seen:
            return succeed(None)
        self._seen = stamp
        return self._thread(read, self._path).addCallbacks(self._took, self._broken)

    def _took(self, table: Table) -> None:
        before = self._entries
        if self._table is not None:
            _log.info("aetitles.toml has changed: {count} AE titles", count=len(table.entries))
        self._table, self._seen = table, table.stamp
        self._take(table.entries)
        if self.on_change is not None and (changed := _changed(before, table.entries)):
            self.on_change(changed)

    def _broken(self, failure: Any) -> None:
        failure.trap(SettingsError)
        for problem in failure.value.problems:
            _log.error("{problem}", problem=problem)
        _log.error("aetitles.toml was changed and cannot be used: the table of before holds until it is mended")

    def _thread(self, function: Callable[..., Table], *arguments: Any) -> Deferred[Table]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *arguments)


def _changed(old: Mapping[str, AEEntry], new: Mapping[str, AEEntry]) -> list[str]:
    """The AE titles whose entries are not the same in both."""
    return sorted(title for title in old.keys() | new.keys() if old.get(title) != new.get(title))
