"""Requests whose data set is taken into memory: DIMSE-N, and the Identifier of C-FIND, C-MOVE and C-GET."""

from __future__ import annotations

from typing import Any, ClassVar

from txdicom.dimse.status import Status
from txdicom.services.request import Request

#: bytes of such a data set
MAX_DATA_SET = 16 * 1024 * 1024


class InMemoryRequest(Request):
    """A request with a data set that is kept until it is answered."""

    __slots__ = ("_data", "_dataset")

    #: answers one whose data set is not taken
    too_large: ClassVar[Status]
    #: what it is called then
    data_set: ClassVar[str] = "a data set"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._data = bytearray()  # a list of slices would let a peer have 200 bytes kept for each that it sends
        self._dataset: Any = None

    def write(self, data: memoryview) -> None:
        """A slice of the data set."""
        if self.refusal is not None:
            return
        self._data += data
        if len(self._data) > MAX_DATA_SET:
            self._data = bytearray()
            self.refusal = self.too_large.with_comment(f"{self.data_set} of over {MAX_DATA_SET} bytes")

    def let_go(self) -> None:
        """Frees the data set."""
        self._data = bytearray()
        self._dataset = None
