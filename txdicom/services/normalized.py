"""The DIMSE-N services (PS3.7 §10) in both roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from txdicom.dimse import messages
from txdicom.dimse.status import PROCESSING_FAILURE, RESOURCE_LIMITATION, Status
from txdicom.errors import LocalProtocolError
from txdicom.net.invocation import SingleResponse
from txdicom.services.encoding import read_dataset, write_dataset
from txdicom.services.request import Request, to_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom import Dataset

    from txdicom.dimse.command import Command
    from txdicom.net.association import Association

#: bytes of the data set of a DIMSE-N or query request that are taken into memory
MAX_DATA_SET = 16 * 1024 * 1024


class NormalizedRequest(Request):
    """A DIMSE-N request as the performer: `on_n_…`, which answers a status or a pair of a status and a data set."""

    __slots__ = ("_data", "_dataset")

    unable: ClassVar[Status] = PROCESSING_FAILURE

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._data = bytearray()  # a list of slices would let a peer have 200 bytes kept for each that it sends
        self._dataset: Any = None

    @property
    def dataset(self) -> Any:
        """See `IRequest`."""
        if self._dataset is None and self._data:
            self._dataset = read_dataset(bytes(self._data), self.transfer_syntax)
        return self._dataset

    def write(self, data: memoryview) -> None:
        """A slice of the data set."""
        if self.refusal is not None:
            return
        self._data += data
        if len(self._data) > MAX_DATA_SET:
            self._data = bytearray()
            self.refusal = RESOURCE_LIMITATION.with_comment(f"a data set of over {MAX_DATA_SET} bytes")

    def answer_with(self, result: Any) -> None:
        """A status, or a pair of a status and a data set or None."""
        status, dataset = result if isinstance(result, tuple) else (result, None)
        data = write_dataset(dataset, self.transfer_syntax) if dataset is not None else b""
        self.answer(to_status(status), data)

    def let_go(self) -> None:
        """Frees the data set."""
        self._data = bytearray()


async def normalized(
    association: Association,
    abstract_syntax: str,
    build: Callable[[int], Command],
    dataset: Dataset | None,
    *,
    timeout: float | None = None,
) -> tuple[Status, Dataset | None]:
    """A DIMSE-N request as the invoker: the peer's status and the data set of its response.

    `build` is one of the `n_…_rq` of `txdicom.dimse.requests` with its arguments but the Message ID bound.
    """
    context = association.context_for(abstract_syntax)
    if context is None:
        raise LocalProtocolError(f"the peer accepted no presentation context for {abstract_syntax}")
    data = write_dataset(dataset, context.transfer_syntax) if dataset is not None else None
    command, answer = await SingleResponse(association, context.context_id, build, data, timeout).result
    return messages.status_of(command), read_dataset(answer, context.transfer_syntax) if answer else None
