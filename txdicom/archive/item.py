"""An arrival on its way through the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txdicom.archive.layout import file_in

if TYPE_CHECKING:
    from txdicom.archive.arrival import Arrival
    from txdicom.dimse.status import Status


class Refusal(Exception):
    """The instance is not taken, for this reason."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


class Item:
    """What `Store.commit` makes of an arrival, and how far it has come with it."""

    #: the file in the staging folder, and its descriptor or that of the same one in the store
    part = ""
    fd = -1
    #: whether the store has the same data set already
    same = False
    #: whether it has got its name, or something else bears that
    placed = False
    taken = False
    #: its line in the list of those filed beside another
    entry = b""

    def __init__(self, arrival: Arrival, folder: str) -> None:
        self.arrival = arrival
        self.folder = folder
        #: where the first instance with its SOP Instance UID lies, and where this one goes
        self.final = self.path = file_in(folder, arrival.sop_instance)
