"""The DIMSE-N services (PS3.7 §10) in both roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from txdicom.dimse import messages
from txdicom.dimse.status import PROCESSING_FAILURE, RESOURCE_LIMITATION, Status
from txdicom.errors import LocalProtocolError
from txdicom.net.invocation import SingleResponse
from txdicom.services.encoding import read_dataset, write_dataset
from txdicom.services.in_memory import InMemoryRequest
from txdicom.services.request import to_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom import Dataset

    from txdicom.dimse.command import Command
    from txdicom.net.association import Association


class NormalizedRequest(InMemoryRequest):
    """A DIMSE-N request as the performer: `on_n_…`, which answers a status or a pair of a status and a data set."""

    __slots__ = ()

    unable: ClassVar[Status] = PROCESSING_FAILURE
    too_large: ClassVar[Status] = RESOURCE_LIMITATION

    @property
    def dataset(self) -> Any:
        """See `IRequest`."""
        if self._dataset is None and self._data:
            self._dataset = read_dataset(bytes(self._data), self.transfer_syntax)
        return self._dataset

    def answer_with(self, result: Any) -> None:
        """A status, or a pair of a status and a data set or None."""
        status, dataset = result if isinstance(result, tuple) else (result, None)
        data = write_dataset(dataset, self.transfer_syntax) if dataset is not None else b""
        self.answer(to_status(status), data)


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
