"""The store: received instances become files that stay, a group at a time.

For a group the order is: all are written in the staging folder, then all flushed, then all renamed into place, then
each folder touched is flushed once, and only then is any of them Success. So nothing partial ever bears an
instance's name, and nothing that was answered Success is lost. Without `flush` the waiting for the disk is left out.

Several processes may share the folder of a store, each with a staging folder of its own. Renaming takes no name that
another file has, so whoever comes second finds out there, and is settled as a duplicate. What has its name keeps it,
even where its folder cannot be flushed and a failure is answered: another process may have found it there meanwhile,
and answered Success for the same bytes.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Final, Literal

from twisted.logger import Logger

from txdicom.archive.arrival import StagedFile
from txdicom.archive.duplicates import DuplicateList, Match, find_same_or_free, list_entry, open_same
from txdicom.archive.files import FileOperations, write_all
from txdicom.archive.folders import Folders
from txdicom.archive.identity import identify, identify_file, known_headers
from txdicom.archive.item import Item, Refusal
from txdicom.archive.layout import folder_of
from txdicom.archive.staging import Staging
from txdicom.archive.walker import BadDataSet
from txdicom.dimse.status import (
    CANNOT_UNDERSTAND,
    DATA_SET_MISMATCH,
    DUPLICATE_SOP_INSTANCE,
    INVALID_SOP_INSTANCE,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    SUCCESS,
    Status,
)
from txdicom.errors import SettingsError
from txdicom.part10 import file_meta
from txdicom.uids import is_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from txdicom.archive.arrival import Arrival

#: the most instances that are written, each with its open file, before they are flushed
GROUP: Final = 64
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_DIFFERENT: Final = DUPLICATE_SOP_INSTANCE.with_comment("a different one with this SOP Instance UID is stored")

_log = Logger()


def status_of(error: OSError) -> Status:
    """How a failure to write is answered: 0xA700 where there is no room, else 0x0110 with the system's words."""
    if error.errno in _FULL:
        return OUT_OF_RESOURCES.with_comment(os.strerror(error.errno))
    return PROCESSING_FAILURE.with_comment(os.strerror(error.errno) if error.errno else "input/output error")


class Store:
    """A folder of instances, `<study>/<series>/<sop instance>.dcm`.

    `open` it before the first `commit` and `close` it at the end; `commit` is for one thread at a time. `duplicates`
    says what becomes of a different instance with the SOP Instance UID of a stored one: `keep` files it beside the
    first and lists it in ``duplicates.jsonl``, `replace` puts it in its place, `refuse` answers 0x0111.
    """

    def __init__(
        self,
        folder: str,
        *,
        staging: str | None = None,
        flush: bool = True,
        duplicates: Literal["keep", "replace", "refuse"] = "keep",
        files: FileOperations | None = None,
    ) -> None:
        self.folder = os.path.abspath(folder)
        self._files = files or FileOperations()
        self._staging = Staging(os.path.abspath(staging) if staging else f"{self.folder}/.incoming", self._files)
        self._flush = flush
        self._duplicates = duplicates
        self._list = DuplicateList(self._files, self.folder)
        #: whether the last instance was there already: then so may the next ones be, which are looked for at once
        self._again = False
        self._known = known_headers()
        self._folders = Folders(self._files, self.folder)

    def open(self) -> None:
        """Make the folders, take the staging folder and remove what a crash left there.

        Raises SettingsError where the staging folder is on another file system or in use, or the file system is none
        for a store, and OSError.
        """
        self._folders.make_top(flush=self._flush)
        swept = self._staging.open(self.folder)
        if swept:
            _log.info("{count} unfinished instances removed from {folder}", count=swept, folder=self._staging.folder)
        self._try_placing()

    def _try_placing(self) -> None:
        """Say at once where the file system is none for a store. A full disk is another matter, and may not stay so."""
        source, target = self._staging.new_path(), self._staging.new_path()
        try:
            self._files.close(self._files.create(source))
        except OSError:
            return
        named = source
        try:
            self._files.place(source, target)
            named = target
        except OSError as error:
            if error.errno not in _FULL:
                self.close()
                cannot = "its file system can neither rename without overwriting nor link"
                raise SettingsError([f"{self.folder} cannot be a store: {cannot} ({error.strerror})"]) from None
        finally:
            self._files.unlink(named)

    def configure(self, *, flush: bool, duplicates: Literal["keep", "replace", "refuse"]) -> None:
        """Has other settings hold for commits to come; in the thread that commits."""
        self._flush = flush
        self._duplicates = duplicates

    @property
    def staging_folder(self) -> str:
        """Where instances are written before they get their names."""
        return self._staging.folder

    def close(self) -> None:
        """Let another process have the store."""
        self._staging.close()

    def stage(self, sop_class: str, sop_instance: str, transfer_syntax: str, calling_ae: str) -> StagedFile:
        """A file for a data set too large for memory, with its File Meta Information written.

        The caller writes the data set to its `fd` and gives it to `commit` in an `Arrival`, or discards it. Raises
        OSError (`status_of` says how it is answered), and ValueError for UIDs that are not ASCII.
        """
        meta = file_meta(sop_class, sop_instance, transfer_syntax, source_ae=calling_ae)
        path, fd = self._staging.create()
        staged = StagedFile(path, fd, len(meta))
        try:
            write_all(self._files, fd, [meta])
        except OSError:
            staged.discard()
            raise
        return staged

    def commit(self, arrivals: Iterable[Arrival]) -> None:
        """File the arrivals and set the `status` of each, and `path` where it is kept. Never raises.

        One that fails fails alone. 0x0117: the SOP Instance UID is none. 0xC000: the data set cannot be walked.
        0xA900: its SOP Class or Instance UID is not the command's. 0xA700: no room. 0x0111: see `duplicates`.
        0x0110: anything else.
        """
        items = []
        for arrival in arrivals:
            try:
                items.append(self._identified(arrival))
            except Exception as error:  # noqa: BLE001 - whatever it is, this instance fails alone and is answered
                self._refuse(arrival, error)
        while len(items) > 1:
            # two with the same SOP Instance UID go one after the other
            group: dict[str, Item] = {}
            later = []
            for item in items:
                if len(group) < GROUP and item.final not in group:
                    group[item.final] = item
                else:
                    later.append(item)
            self._commit_group(list(group.values()))
            items = later
        if items:
            self._commit_group(items)

    def _commit_group(self, items: list[Item]) -> None:
        items = self._each(self._write, items)
        if self._flush:
            if len(items) > 1:
                items = self._each(self._start_flushing, items)
            items = self._each(self._flush_file, items)
        items = self._each(self._place, items)
        if any(item.taken for item in items):
            items = self._settle(items)
        if self._flush:
            items = self._flush_folders(items)
        for item in items:
            arrival = item.arrival
            arrival.path = item.path
            if item.same:
                arrival.discard()
            arrival.staged = None
            arrival.status = SUCCESS

    def _each(self, step: Callable[[Item], None], items: list[Item]) -> list[Item]:
        """Take a step for each; those that fail are answered and left out from here on."""
        failed = []
        for item in items:
            try:
                step(item)
            except Exception as error:  # noqa: BLE001 - as in commit
                self._fail(item, error)
                failed.append(item)
        return [item for item in items if item not in failed] if failed else items

    def _identified(self, arrival: Arrival) -> Item:
        if not is_uid(arrival.sop_instance):
            raise Refusal(INVALID_SOP_INSTANCE.with_comment("the Affected SOP Instance UID is not a UID"))
        staged = arrival.staged
        if staged is None:
            identity = identify(arrival.buffers, arrival.size, arrival.transfer_syntax, self._known)
        else:
            identity = identify_file(staged.fd, staged.data_offset, arrival.size, arrival.transfer_syntax)
        if identity.sop_class != arrival.sop_class:
            raise Refusal(DATA_SET_MISMATCH.with_comment("SOP Class UID of the data set is not the command's"))
        if identity.sop_instance != arrival.sop_instance:
            raise Refusal(DATA_SET_MISMATCH.with_comment("SOP Instance UID of the data set is not the command's"))
        return Item(arrival, folder_of(self.folder, identity))

    def _write(self, item: Item) -> None:
        """Write it into the staging folder, unless the store has it."""
        if self._again:
            self._find_same(item)
            if item.same:
                return
        files = self._files
        arrival = item.arrival
        staged = arrival.staged
        if staged is None:
            meta = file_meta(
                arrival.sop_class, arrival.sop_instance, arrival.transfer_syntax, source_ae=arrival.calling_ae
            )
            item.part, item.fd = self._staging.create()
            write_all(files, item.fd, [meta, *arrival.buffers])
        else:
            item.part, item.fd = staged.path, staged.fd
            staged.fd = -1
            if files.size(item.fd) != staged.data_offset + arrival.size:
                raise Refusal(PROCESSING_FAILURE.with_comment("the instance was not received whole"))
        if not self._flush:
            self._close(item)

    def _start_flushing(self, item: Item) -> None:
        if not item.same:
            self._files.start_writing(item.fd)

    def _flush_file(self, item: Item) -> None:
        if not item.same:
            self._files.fsync(item.fd)
            self._close(item)

    def _place(self, item: Item) -> None:
        if item.same:
            return
        try:
            item.placed = self._named(item)
        except FileNotFoundError:
            self._folders.make(item.folder)
            item.placed = self._named(item)
        item.taken = not item.placed

    def _named(self, item: Item) -> bool:
        try:
            self._files.place(item.part, item.path)
        except FileExistsError:
            return False
        return True

    def _settle(self, items: list[Item]) -> list[Item]:
        """What becomes of those whose names others have; returns all that are in the store."""
        taken = self._each(self._find_same, [item for item in items if item.taken])
        different = [item for item in taken if not item.same]
        if self._duplicates == "keep" and different:
            self._place_beside(different)
        else:
            self._each(self._replace_or_refuse, different)
        return [item for item in items if item.arrival.status is None]

    def _find_same(self, item: Item) -> None:
        match = open_same(self._files, item.final, item.arrival)
        self._again = match is not None
        if match is not None:
            self._use(match, item)

    def _use(self, match: Match, item: Item) -> None:
        """The store has the same one."""
        item.same = True
        item.path, item.fd = match
        if item.part:
            self._remove(item.part)
            item.part = ""
        if self._flush:
            # a crash may have come between its being written and being flushed
            self._files.fsync(item.fd)
        self._close(item)

    def _replace_or_refuse(self, item: Item) -> None:
        if self._duplicates == "refuse":
            raise Refusal(_DIFFERENT)
        self._files.rename(item.part, item.path)
        item.placed = True

    def _place_beside(self, items: list[Item]) -> None:
        """File each beside the first one; listed before, so that none ever lies there unlisted."""
        try:
            with self._list.held() as fd:
                while items:
                    # a second time only where a file system has no locks
                    items = [item for item in self._each(self._find_place, items) if not item.same]
                    self._list.append(fd, [item.entry for item in items], flush=self._flush)
                    items = [item for item in self._each(self._place, items) if item.taken]
        except OSError as error:
            for item in items:
                self._fail(item, error)

    def _find_place(self, item: Item) -> None:
        found = find_same_or_free(self._files, item.final, item.arrival)
        if found is None:
            raise Refusal(_DIFFERENT)
        if isinstance(found, Match):
            self._use(found, item)
            return
        item.path = found
        item.entry = list_entry(self.folder, found, item.final, item.arrival)

    def _flush_folders(self, items: list[Item]) -> list[Item]:
        """Flush each folder once; those of a folder that fails are answered so."""
        wanted = [(item, self._folders.to_flush(item.folder, self._listed(item))) for item in items]
        failed: dict[str, OSError] = {}
        for folder in dict.fromkeys(folder for _item, folders in wanted for folder in folders):
            try:
                self._files.fsync_folder(folder)
            except OSError as error:
                failed[folder] = error
        left = []
        for item, folders in wanted:
            failures = [failed[folder] for folder in folders if folder in failed] if failed else []
            if failures:
                self._fail(item, failures[0])
                continue
            left.append(item)
            self._folders.remember(folders, self._listed(item))
        return left

    def _listed(self, item: Item) -> str:
        return self._list.path if item.entry else ""

    def _close(self, item: Item) -> None:
        fd, item.fd = item.fd, -1
        self._files.close(fd)

    def _fail(self, item: Item, error: Exception) -> None:
        """Leave nothing unfinished of an item behind, and answer it."""
        if item.fd >= 0:
            with contextlib.suppress(OSError):
                self._close(item)
        if item.part and not item.placed:
            self._remove(item.part)
        self._refuse(item.arrival, error)

    def _remove(self, path: str) -> None:
        try:
            self._files.unlink(path)
        except OSError as error:
            _log.error("{path} cannot be removed: {error}", path=path, error=error)

    def _refuse(self, arrival: Arrival, error: Exception) -> None:
        arrival.discard()
        if isinstance(error, Refusal):
            status = error.status
        elif isinstance(error, BadDataSet):
            status = CANNOT_UNDERSTAND.with_comment(str(error))
        elif isinstance(error, OSError):
            status = status_of(error)
        else:
            status = PROCESSING_FAILURE
        if isinstance(error, (Refusal, BadDataSet)):
            _log.warn(
                "instance {sop_instance} of {calling_ae} is not taken: {status} ({comment})",
                sop_instance=arrival.sop_instance, calling_ae=arrival.calling_ae,
                status=status, comment=status.error_comment,
            )  # fmt: skip
        else:
            _log.error(
                "instance {sop_instance} of {calling_ae} cannot be stored: {error!r}",
                sop_instance=arrival.sop_instance, calling_ae=arrival.calling_ae, error=error,
            )  # fmt: skip
        arrival.status = status
