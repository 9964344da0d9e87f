"""Command sets and their encoding: Implicit VR Little Endian, group 0000 (PS3.7 §6.3, Annex E).

Reading is liberal and never guesses. Only what cannot be walked, or is no command set at all, is an error of the
protocol. An element whose value cannot be read is kept apart as *broken*, so that `messages.check` can name it in an
answer; harmless departures from the standard are noted as *deviations*.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from functools import lru_cache, partial
from itertools import starmap
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from txdicom.dimse.elements import (
    ACTION_TYPE_ID,
    AFFECTED_SOP_CLASS_UID,
    AFFECTED_SOP_INSTANCE_UID,
    ATTRIBUTE_IDENTIFIER_LIST,
    COMMAND_DATA_SET_TYPE,
    COMMAND_FIELD,
    COMMAND_GROUP_LENGTH,
    ELEMENTS,
    ERROR_COMMENT,
    ERROR_ID,
    EVENT_TYPE_ID,
    MESSAGE_ID,
    MESSAGE_ID_BEING_RESPONDED_TO,
    MOVE_DESTINATION,
    MOVE_ORIGINATOR_AE_TITLE,
    MOVE_ORIGINATOR_MESSAGE_ID,
    NUMBER_OF_COMPLETED_SUBOPERATIONS,
    NUMBER_OF_FAILED_SUBOPERATIONS,
    NUMBER_OF_REMAINING_SUBOPERATIONS,
    NUMBER_OF_WARNING_SUBOPERATIONS,
    OFFENDING_ELEMENT,
    PRIORITY,
    REQUESTED_SOP_CLASS_UID,
    REQUESTED_SOP_INSTANCE_UID,
    RETIRED,
    STATUS,
    describe,
)
from txdicom.dimse.shapes import learn, recall
from txdicom.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: Command Data Set Type (0000,0800) of a message without a data set; every other value announces one (PS3.7 E.1)
NO_DATA_SET: Final = 0x0101
#: what we send in Command Data Set Type (0000,0800) when a data set follows
DATA_SET: Final = 0x0001
#: set in the Command Field (0000,0100) of every response (PS3.7 E.1)
RESPONSE: Final = 0x8000

Value = int | str | tuple[int, ...]
T = TypeVar("T")


class CommandField(IntEnum):
    """The messages of DIMSE, by the value of Command Field (0000,0100) (PS3.7 Table E.1-1)."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_GET_RQ = 0x0110
    N_GET_RSP = 0x8110
    N_SET_RQ = 0x0120
    N_SET_RSP = 0x8120
    N_ACTION_RQ = 0x0130
    N_ACTION_RSP = 0x8130
    N_CREATE_RQ = 0x0140
    N_CREATE_RSP = 0x8140
    N_DELETE_RQ = 0x0150
    N_DELETE_RSP = 0x8150
    C_CANCEL_RQ = 0x0FFF


class Priority(IntEnum):
    """Values of Priority (0000,0700) (PS3.7 Table E.1-1)."""

    MEDIUM = 0x0000
    HIGH = 0x0001
    LOW = 0x0002


_NAMES: Final = {int(field): field.name.replace("_", "-") for field in CommandField}
_NOTHING: Final[Mapping[int, Any]] = MappingProxyType({})


class _Field(Generic[T]):
    """The read-only property of a `Command` for one element: its value, or None when it is absent."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    @overload
    def __get__(self, command: None, owner: type) -> _Field[T]: ...
    @overload
    def __get__(self, command: Command, owner: type) -> T | None: ...
    def __get__(self, command: Command | None, owner: type) -> T | _Field[T] | None:
        if command is None:
            return self
        value: T | None = command.values.get(self._number)
        return value


class Command:
    """One command set.

    `values` holds the values by element number: US as int, UI, AE and LO as str without padding, AT as a tuple of ints
    (group << 16 | element). The group length is left out, and so is every element without a value. The properties
    read it. Two commands are equal when their values are.

    Of a received one, `unknown` has the bytes of the elements that are not in PS3.7 Table E.1-1 (they are not sent
    again), `broken` says by element number why a value could not be read, and `deviations` has a sentence for each
    departure from the standard that did not matter.
    """

    __slots__ = ("broken", "deviations", "unknown", "values")

    def __init__(
        self,
        values: dict[int, Any],
        *,
        unknown: Mapping[int, bytes] = _NOTHING,
        broken: Mapping[int, str] = _NOTHING,
        deviations: Sequence[str] = (),
    ) -> None:
        self.values = values
        self.unknown = unknown
        self.broken = broken
        self.deviations = deviations

    affected_sop_class = _Field[str](AFFECTED_SOP_CLASS_UID)
    requested_sop_class = _Field[str](REQUESTED_SOP_CLASS_UID)
    #: a plain int, which may be none of `CommandField`
    command_field = _Field[int](COMMAND_FIELD)
    message_id = _Field[int](MESSAGE_ID)
    message_id_responded_to = _Field[int](MESSAGE_ID_BEING_RESPONDED_TO)
    move_destination = _Field[str](MOVE_DESTINATION)
    priority = _Field[int](PRIORITY)
    data_set_type = _Field[int](COMMAND_DATA_SET_TYPE)
    status = _Field[int](STATUS)
    offending_element = _Field[tuple[int, ...]](OFFENDING_ELEMENT)
    error_comment = _Field[str](ERROR_COMMENT)
    error_id = _Field[int](ERROR_ID)
    affected_sop_instance = _Field[str](AFFECTED_SOP_INSTANCE_UID)
    requested_sop_instance = _Field[str](REQUESTED_SOP_INSTANCE_UID)
    event_type = _Field[int](EVENT_TYPE_ID)
    attribute_identifier_list = _Field[tuple[int, ...]](ATTRIBUTE_IDENTIFIER_LIST)
    action_type = _Field[int](ACTION_TYPE_ID)
    remaining = _Field[int](NUMBER_OF_REMAINING_SUBOPERATIONS)
    completed = _Field[int](NUMBER_OF_COMPLETED_SUBOPERATIONS)
    failed = _Field[int](NUMBER_OF_FAILED_SUBOPERATIONS)
    warning = _Field[int](NUMBER_OF_WARNING_SUBOPERATIONS)
    move_originator_ae = _Field[str](MOVE_ORIGINATOR_AE_TITLE)
    move_originator_message_id = _Field[int](MOVE_ORIGINATOR_MESSAGE_ID)

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows the command set (PS3.7 E.1); not so when Command Data Set Type is absent."""
        announced: bool = self.values.get(COMMAND_DATA_SET_TYPE, NO_DATA_SET) != NO_DATA_SET
        return announced

    @property
    def is_response(self) -> bool:
        """Whether this is a response."""
        return bool(self.values.get(COMMAND_FIELD, 0) & RESPONSE)

    @property
    def is_cancel(self) -> bool:
        """Whether this is a C-CANCEL-RQ, to which there is no response."""
        return self.values.get(COMMAND_FIELD) == CommandField.C_CANCEL_RQ

    @property
    def is_request(self) -> bool:
        """Whether this is a request, C-CANCEL-RQ among them."""
        field = self.values.get(COMMAND_FIELD)
        return field is not None and not field & RESPONSE

    @property
    def name(self) -> str:
        """The standard's name of the message: "C-STORE-RQ"; of an unknown one the number."""
        field = self.values.get(COMMAND_FIELD)
        return "no Command Field" if field is None else _NAMES.get(field, f"Command Field {field:04X}H")

    def __eq__(self, other: object) -> bool:
        return self.values == other.values if isinstance(other, Command) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a command is as changeable as its values

    def __repr__(self) -> str:
        # for logs: instance UIDs, AE titles and comments may lead to a patient and stay out
        parts = [self.name]
        if self.message_id is not None:
            parts.append(f"id={self.message_id}")
        if self.message_id_responded_to is not None:
            parts.append(f"to={self.message_id_responded_to}")
        sop_class = self.affected_sop_class or self.requested_sop_class
        if sop_class is not None:
            parts.append(f"class={sop_class}")
        if self.status is not None:
            parts.append(f"status={self.status:04X}H")
        return f"<Command {' '.join(parts)}>"


_GROUP_LENGTH: Final = struct.Struct("<3L")
_HEADER: Final = struct.Struct("<HHL")


def decode(data: bytes | bytearray | memoryview) -> Command:
    """The command set that `data`, the joined fragments, holds (PS3.7 §6.3.1).

    Its size is the caller's to bound. Raises `RemoteProtocolError` when it cannot be walked to its end or holds an
    element of another group: an A-ABORT of the service user (PS3.8 Table 9-26: source 0), which DIMSE is.
    """
    if type(data) is not bytes:
        data = bytes(data)
    recalled = recall(data)
    if recalled is not None:
        return Command(recalled)
    command = _walk(data)
    if not (command.deviations or command.broken or command.unknown):
        learn(data)
    return command


def _walk(data: bytes) -> Command:
    values: dict[int, Value] = {}
    unknown: dict[int, bytes] = {}
    broken: dict[int, str] = {}
    deviations: dict[str, None] = {}  # in order and without repetition, so that a peer cannot make it grow
    has_group_length = False
    previous, offset, end = -1, 0, len(data)
    while offset < end:
        if end - offset < 8:
            raise RemoteProtocolError("the command set ends within the header of an element", source=0)
        group, number, length = _HEADER.unpack_from(data, offset)
        start = offset + 8
        offset = start + length
        if group:
            raise RemoteProtocolError(f"element ({group:04X},{number:04X}) in a command set", source=0)
        if offset > end:
            raise RemoteProtocolError(f"{describe(number)} is longer than the command set", source=0)
        if number <= previous:
            deviations["The elements are not in ascending order, or one is repeated"] = None
        previous = number
        content = data[start:offset]
        if number == COMMAND_GROUP_LENGTH:
            has_group_length = True
            if length != 4 or int.from_bytes(content, "little") != end - 12:
                deviations[f"{describe(number)} is wrong"] = None
        elif number in ELEMENTS:
            _take(number, content, values, broken, deviations)
        else:
            unknown.setdefault(number, content)
            if number not in RETIRED:
                deviations["There are elements unknown to PS3.7"] = None
    if not has_group_length:
        deviations[f"{describe(COMMAND_GROUP_LENGTH)} is missing"] = None
    return Command(values, unknown=unknown, broken=broken, deviations=tuple(deviations))


def _take(
    number: int, content: bytes, values: dict[int, Value], broken: dict[int, str], deviations: dict[str, None]
) -> None:
    """Put the value of one element where it belongs: `values`, `broken`, or nowhere when it is empty."""
    size = len(content)
    vr = ELEMENTS[number].vr
    value: Value
    if vr == "US":
        if size & 1:
            broken[number] = f"has a length of {size} instead of 2"
        elif size > 2:
            deviations[f"{describe(number)} has more than one value"] = None
        value = int.from_bytes(content[:2], "little") if size else ""
    elif vr == "AT":
        if size % 4:
            broken[number] = f"has a length of {size}, no multiple of 4"
        halves = struct.unpack_from(f"<{size // 4 * 2}H", content)
        value = tuple(group << 16 | element for group, element in zip(halves[::2], halves[1::2], strict=True))
    else:
        if size & 1:
            deviations[f"{describe(number)} has an odd length"] = None
        text = content.decode("latin-1")
        value = text.rstrip("\0 ") if vr == "UI" else text.strip("\0 ")
    if value not in ("", ()) and values.get(number, value) != value:
        # two readers could act on different values, so neither is taken
        broken[number] = "is repeated with another value"
    if number in broken:
        values.pop(number, None)
    elif value not in ("", ()):
        values[number] = value


def _encode_text(pad: bytes, number: int, value: str) -> bytes:
    content = value.encode("latin-1")
    if len(content) & 1:
        content += pad
    return _HEADER.pack(0, number, len(content)) + content


def _encode_tags(number: int, value: tuple[int, ...]) -> bytes:
    halves = [half for tag in value for half in (tag >> 16, tag & 0xFFFF)]
    return struct.pack(f"<HHL{len(halves)}H", 0, number, 2 * len(halves), *halves)


_ENCODERS: Final[dict[int, Callable[[Any], bytes]]] = {
    number: {
        "US": partial(struct.Struct("<HHLH").pack, 0, number, 2),
        "AT": partial(_encode_tags, number),
        "UI": partial(_encode_text, b"\0", number),
        "AE": partial(_encode_text, b" ", number),
        "LO": partial(_encode_text, b" ", number),
    }[element.vr]
    for number, element in ELEMENTS.items()
    if number != COMMAND_GROUP_LENGTH
}


def encode(command: Command) -> bytes:
    """The bytes of a command set, group length first, elements ascending, values padded to an even length.

    Text is written as it stands, so that a UID of the peer comes back as it was sent. Raises `LocalProtocolError` for
    a value that does not fit its VR and for an element that is not in PS3.7 Table E.1-1.
    """
    try:
        body = b"".join(starmap(_element, sorted(command.values.items())))
    except KeyError as error:
        raise LocalProtocolError(f"there is no command element {describe(error.args[0])} to encode") from None
    except TypeError as error:
        raise LocalProtocolError("a value is of a type that no command element has") from error
    return _GROUP_LENGTH.pack(0, 4, len(body)) + body


@lru_cache(2048, typed=True)  # what an association sends is for the most part what it has sent before
def _element(number: int, value: Value) -> bytes:
    encoder = _ENCODERS[number]
    try:
        return encoder(value)
    except (TypeError, AttributeError, ValueError, struct.error) as error:
        # the value itself stays out of messages and logs
        raise LocalProtocolError(f"{describe(number)} cannot hold its value") from error
