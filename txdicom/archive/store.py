"""The store: received instances become files that stay, a group at a time.

For a group the order is: all are written in the staging folder, then all flushed, then all renamed into place, then
each folder touched is flushed once, and only then is any of them Success. So nothing partial ever bears an
instance's name, and nothing that was answered Success is lost. Without `flush` the waiting for the disk is left out.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Final, Literal

from twisted.logger import Logger

from txdicom.archive.arrival import StagedFile
from txdicom.archive.duplicates import LIST_NAME, Match, find_same_or_free, list_entry, open_same
from txdicom.archive.files import FileOperations, write_all
from txdicom.archive.identity import identify, identify_file, known_headers
from txdicom.archive.layout import file_in, folder_of
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
from txdicom.part10 import file_meta
from txdicom.uids import is_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from txdicom.archive.arrival import Arrival

#: the most instances that are written, each with its open file, before they are flushed
GROUP: Final = 64
#: how many folders are remembered as being on the disk for certain
_REMEMBERED: Final = 10_000
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_log = Logger()


def status_of(error: OSError) -> Status:
    """How a failure to write is answered: 0xA700 where there is no room, else 0x0110 with the system's words."""
    if error.errno in _FULL:
        return OUT_OF_RESOURCES.with_comment(os.strerror(error.errno))
    return PROCESSING_FAILURE.with_comment(os.strerror(error.errno) if error.errno else "input/output error")


class _Refusal(Exception):
    """The instance is not taken, for this reason."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


class _Item:
    """An arrival on its way through `Store.commit`."""

    #: the file in the staging folder, and its descriptor or that of the same one in the store
    part = ""
    fd = -1
    #: whether the store has the same data set already, and whether it takes the place of another
    same = False
    replaces = False
    placed = False
    #: its line in the list of those filed beside another
    entry = b""

    def __init__(self, arrival: Arrival, folder: str) -> None:
        self.arrival = arrival
        self.folder = folder
        #: where the first instance with its SOP Instance UID lies, and where this one goes
        self.final = self.path = file_in(folder, arrival.sop_instance)


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
        self._list = f"{self.folder}/{LIST_NAME}"
        self._known = known_headers()
        #: folders, and the list, whose names are certain to be on the disk
        self._durable: set[str] = set()

    def open(self) -> None:
        """Make the folders, take the staging folder and remove what a crash left there.

        Raises SettingsError where the staging folder is on another file system or in use, and OSError.
        """
        missing = []
        folder = self.folder
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for made in reversed(missing):
            self._files.make_folder(made)
            if self._flush:
                self._files.fsync_folder(os.path.dirname(made))
        swept = self._staging.open(self.folder)
        if swept:
            _log.info("{count} unfinished instances removed from {folder}", count=swept, folder=self._staging.folder)

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
            group: dict[str, _Item] = {}
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

    def _commit_group(self, items: list[_Item]) -> None:
        items = self._append_to_list(self._each(self._write, items))
        if self._flush:
            if len(items) > 1:
                items = self._each(self._start_flushing, items)
            items = self._each(self._flush_file, items)
        items = self._each(self._place, items)
        if self._flush:
            items = self._flush_folders(items)
        for item in items:
            arrival = item.arrival
            arrival.path = item.path
            if item.same:
                arrival.discard()
            arrival.staged = None
            arrival.status = SUCCESS

    def _each(self, step: Callable[[_Item], None], items: list[_Item]) -> list[_Item]:
        """Take a step for each; those that fail are answered and left out from here on."""
        failed = []
        for item in items:
            try:
                step(item)
            except Exception as error:  # noqa: BLE001 - as in commit
                self._fail(item, error)
                failed.append(item)
        return [item for item in items if item not in failed] if failed else items

    def _identified(self, arrival: Arrival) -> _Item:
        if not is_uid(arrival.sop_instance):
            raise _Refusal(INVALID_SOP_INSTANCE.with_comment("the Affected SOP Instance UID is not a UID"))
        staged = arrival.staged
        if staged is None:
            identity = identify(arrival.buffers, arrival.size, arrival.transfer_syntax, self._known)
        else:
            identity = identify_file(staged.fd, staged.data_offset, arrival.size, arrival.transfer_syntax)
        if identity.sop_class != arrival.sop_class:
            raise _Refusal(DATA_SET_MISMATCH.with_comment("SOP Class UID of the data set is not the command's"))
        if identity.sop_instance != arrival.sop_instance:
            raise _Refusal(DATA_SET_MISMATCH.with_comment("SOP Instance UID of the data set is not the command's"))
        return _Item(arrival, folder_of(self.folder, identity))

    def _settle(self, item: _Item) -> None:
        """The store has something where it goes: find out whether it is the same, and what that means."""
        found: Match | str | None = open_same(self._files, item.final, item.arrival)
        if found is None and self._duplicates == "replace":
            item.replaces = True
            return
        if found is None and self._duplicates == "keep":
            found = find_same_or_free(self._files, item.final, item.arrival)
        if found is None:
            raise _Refusal(DUPLICATE_SOP_INSTANCE.with_comment("a different one with this SOP Instance UID is stored"))
        if isinstance(found, Match):
            item.same = True
            item.path, item.fd = found
            if not self._flush:
                self._close(item)
        else:
            item.path = found
            item.entry = list_entry(self.folder, found, item.final, item.arrival)

    def _write(self, item: _Item) -> None:
        """Write it into the staging folder, unless the store has it."""
        files = self._files
        if files.exists(item.final):
            self._settle(item)
            if item.same:
                return
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
                raise _Refusal(PROCESSING_FAILURE.with_comment("the instance was not received whole"))
        if not self._flush:
            self._close(item)

    def _append_to_list(self, items: list[_Item]) -> list[_Item]:
        """List those that are filed beside another; before they are, so that none ever lies there unlisted."""
        listed = [item for item in items if item.entry]
        if not listed:
            return items
        try:
            fd = self._files.open_list(self._list)
            try:
                size = self._files.size(fd)
                torn = size > 0 and self._files.read(fd, 1, size - 1) != b"\n"
                write_all(self._files, fd, [b"\n" * torn, *(item.entry for item in listed)])
                if self._flush:
                    self._files.fsync(fd)
            finally:
                self._files.close(fd)
        except OSError as error:
            for item in listed:
                self._fail(item, error)
            return [item for item in items if not item.entry]
        return items

    def _start_flushing(self, item: _Item) -> None:
        self._files.start_writing(item.fd)

    def _flush_file(self, item: _Item) -> None:
        # the same one in the store, too: a crash may have come between its being written and being flushed
        self._files.fsync(item.fd)
        self._close(item)

    def _place(self, item: _Item) -> None:
        if item.same:
            return
        try:
            self._files.rename(item.part, item.path)
        except FileNotFoundError:
            self._make_folders(item.folder)
            self._files.rename(item.part, item.path)
        item.placed = True

    def _make_folders(self, folder: str) -> None:
        parent = os.path.dirname(folder)
        for needed in (parent, folder) if parent != self.folder else (folder,):
            if self._files.make_folder(needed):
                self._durable.discard(needed)

    def _flush_folders(self, items: list[_Item]) -> list[_Item]:
        """Flush each folder once; those of a folder that fails are taken out again."""
        wanted = [(item, self._folders(item)) for item in items]
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
            self._remember(item, folders)
        return left

    def _folders(self, item: _Item) -> list[str]:
        """The folders to flush for an item: its own, and upwards as far as their names may not be on the disk yet."""
        folder = item.folder
        folders = [folder]
        while folder != self.folder and folder not in self._durable:
            folder = os.path.dirname(folder)
            folders.append(folder)
        if item.entry and self._list not in self._durable and self.folder not in folders:
            folders.append(self.folder)
        return folders

    def _remember(self, item: _Item, flushed: list[str]) -> None:
        """What will not have to be flushed again: the names of all but the last of the folders, and of the list."""
        if len(flushed) > 1 or item.entry:
            if len(self._durable) > _REMEMBERED:
                self._durable.clear()
            self._durable.update(flushed[:-1])
            if item.entry:
                self._durable.add(self._list)

    def _close(self, item: _Item) -> None:
        fd, item.fd = item.fd, -1
        self._files.close(fd)

    def _fail(self, item: _Item, error: Exception) -> None:
        """Leave nothing of an item behind, and answer it."""
        if item.fd >= 0:
            with contextlib.suppress(OSError):
                self._close(item)
        if item.placed and not item.replaces:
            self._remove(item.path)
        elif item.part and not item.placed:
            self._remove(item.part)
        self._refuse(item.arrival, error)

    def _remove(self, path: str) -> None:
        try:
            self._files.unlink(path)
        except OSError as error:
            _log.error("{path} cannot be removed: {error}", path=path, error=error)

    def _refuse(self, arrival: Arrival, error: Exception) -> None:
        arrival.discard()
        if isinstance(error, _Refusal):
            status = error.status
        elif isinstance(error, BadDataSet):
            status = CANNOT_UNDERSTAND.with_comment(str(error))
        elif isinstance(error, OSError):
            status = status_of(error)
        else:
            status = PROCESSING_FAILURE
        if isinstance(error, (_Refusal, BadDataSet)):
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
