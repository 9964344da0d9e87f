"""Query/Retrieve (PS3.4 Annex C) as the SCU: C-FIND, C-MOVE and C-GET as iterator objects.

An iterator that is not read to its end wants its `aclose` (or `abandon`, which does not wait): the peer is sent a
C-CANCEL, and what it still answers is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from txdicom import uids
from txdicom.dimse import messages, requests
from txdicom.dimse.status import Status
from txdicom.errors import StatusError
from txdicom.net.invocation import Responses
from txdicom.services.encoding import read_dataset, write_dataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom import Dataset

    from txdicom.dimse.command import Command
    from txdicom.net.association import Association
    from txdicom.ul.negotiation import AcceptedContext

#: what to ask for: a data set, or keywords (or tags) with their values, None or "" for "any, and tell me"
Identifier: TypeAlias = "Dataset | Mapping[str | int, Any]"

#: the unique key of each level (PS3.4 C.3.4, C.6.1.1, C.6.2.1)
_UNIQUE_KEYS: Final = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
#: the character set of an identifier that says none and needs one (PS3.3 C.12.1.1.2: UTF-8)
_UTF_8: Final = "ISO_IR 192"


def identifier_of(identifier: Identifier, level: str | None = None, *, unique_key: bool = False) -> Dataset:
    """`identifier` as a data set, with Query/Retrieve Level `level` if one is given.

    A mapping whose text is not ASCII gets the character set UTF-8, unless it names one. With `unique_key` the unique
    key of the level is asked for, as PS3.4 C.4.1.1.3.2 demands of a query. Raises ValueError for an unknown keyword.
    """
    from pydicom import Dataset
    from pydicom.datadict import tag_for_keyword

    dataset = Dataset()
    if isinstance(identifier, Mapping):
        for key, value in identifier.items():
            if isinstance(key, str) and tag_for_keyword(key) is None:
                raise ValueError(f"{key!r} is no keyword of the data dictionary (PS3.6)")
            if isinstance(key, str):
                setattr(dataset, key, value)
            else:
                _add(dataset, key, value)
        if "SpecificCharacterSet" not in dataset and not all(_ascii(value) for value in identifier.values()):
            dataset.SpecificCharacterSet = _UTF_8
    else:
        dataset.update(identifier)
    if level:
        dataset.QueryRetrieveLevel = level.upper()
        key = _UNIQUE_KEYS.get(level.upper(), "")
        if unique_key and key and key not in dataset:
            setattr(dataset, key, "")
    return dataset


def _add(dataset: Dataset, tag: int, value: Any) -> None:
    from pydicom.datadict import dictionary_VR

    try:
        dataset.add_new(tag, dictionary_VR(tag), value)
    except KeyError:
        raise ValueError(f"{tag:08X} is not in the data dictionary (PS3.6)") from None


def _ascii(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_ascii(one) for one in value)
    return str(value).isascii()


class _Operation:
    """What the three have in common; `status` is the final status, None before it has come."""

    def __init__(
        self,
        association: Association,
        context: AcceptedContext,
        build: Callable[[int], Command],
        identifier: Dataset,
        timeout: float | None,
    ) -> None:
        data = write_dataset(identifier, context.transfer_syntax)
        self.status: Status | None = None
        self._transfer_syntax = context.transfer_syntax
        self._responses = Responses(association, context.context_id, build, data, timeout)

    def abandon(self) -> None:
        """Sends C-CANCEL unless the operation has ended; what still comes is dropped."""
        self._responses.abandon()

    async def aclose(self) -> None:
        """The same, then waits for the operation's end."""
        await self._responses.aclose()

    def _final(self, status: Status) -> None:
        self.status = status
        if status.is_failure:
            raise StatusError(status, f"the peer answered {status}")


class Find(_Operation):
    """C-FIND (PS3.4 C.4.1): iterates over the matches as data sets.

    Raises StatusError where the peer answers with a failure. `unsupported_keys` is True once the peer has said that
    it does not support every optional key of the query (status FF01).
    """

    def __init__(
        self,
        association: Association,
        context: AcceptedContext,
        identifier: Dataset,
        *,
        priority: int = 0,
        timeout: float | None = None,
    ) -> None:
        def build(message_id: int) -> Command:
            return requests.c_find_rq(message_id, context.abstract_syntax, priority=priority)

        super().__init__(association, context, build, identifier, timeout)
        self.unsupported_keys = False

    def __aiter__(self) -> Find:
        return self

    async def __anext__(self) -> Dataset:
        while True:
            command, data = await self._responses.__anext__()
            status = messages.status_of(command)
            if not status.is_pending:
                self._final(status)
            elif data:
                self.unsupported_keys = self.unsupported_keys or status.code == 0xFF01
                return read_dataset(data, self._transfer_syntax)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """How far a C-MOVE or C-GET is: the counts of its sub-operations, None where the peer gave none.

    The last one of an operation has the final status and, where the peer lists them, the UIDs of the instances that
    failed.
    """

    status: Status
    remaining: int | None
    completed: int | None
    failed: int | None
    warning: int | None
    failed_instances: tuple[str, ...] = ()


class Retrieve(_Operation):
    """C-MOVE or C-GET (PS3.4 C.4.2, C.4.3): iterates over what the peer says of its sub-operations.

    Sub-operations that failed are counted, not raised (status B000); StatusError is for an operation that failed.
    """

    def __aiter__(self) -> Retrieve:
        return self

    async def __anext__(self) -> Retrieved:
        command, data = await self._responses.__anext__()
        status = messages.status_of(command)
        if not status.is_pending:
            self._final(status)
        failed_instances: tuple[str, ...] = ()
        if data:
            uid_list = read_dataset(data, self._transfer_syntax).get("FailedSOPInstanceUIDList") or ()
            failed_instances = (uid_list,) if isinstance(uid_list, str) else tuple(uid_list)
        return Retrieved(
            status, command.remaining, command.completed, command.failed, command.warning, failed_instances
        )


def move(
    association: Association,
    context: AcceptedContext,
    identifier: Dataset,
    destination: str,
    *,
    priority: int = 0,
    timeout: float | None = None,
) -> Retrieve:
    """C-MOVE to the application entity `destination`, an AE title that the peer knows."""

    def build(message_id: int) -> Command:
        return requests.c_move_rq(message_id, context.abstract_syntax, destination, priority=priority)

    return Retrieve(association, context, build, identifier, timeout)


def get(
    association: Association,
    context: AcceptedContext,
    identifier: Dataset,
    *,
    priority: int = 0,
    timeout: float | None = None,
) -> Retrieve:
    """C-GET: the instances come as C-STORE requests on the same association, to its performer."""

    def build(message_id: int) -> Command:
        return requests.c_get_rq(message_id, context.abstract_syntax, priority=priority)

    return Retrieve(association, context, build, identifier, timeout)


#: the information models by name: (find, move, get)
MODELS: Final = {
    "STUDY": (uids.STUDY_ROOT_FIND, uids.STUDY_ROOT_MOVE, uids.STUDY_ROOT_GET),
    "PATIENT": (uids.PATIENT_ROOT_FIND, uids.PATIENT_ROOT_MOVE, uids.PATIENT_ROOT_GET),
}


def sop_class_of(model: str, service: Literal["find", "move", "get"]) -> str:
    """The SOP class of an information model by its name; `model` itself where it is none: it is a UID then."""
    classes = MODELS.get(model.upper())
    return model if classes is None else classes[("find", "move", "get").index(service)]
