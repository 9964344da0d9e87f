"""The messages of DIMSE: what each must carry, the response to a request, and the answer to a broken one.

`MESSAGES` is Tables 9.3-1 to 9.3-13 and 10.3-1 to 10.3-12 of PS3.7; which of their fields are mandatory comes from the
service definitions (PS3.7 §9.1, §10.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

from txdicom.dimse.command import DATA_SET, NO_DATA_SET, RESPONSE, Command, CommandField
from txdicom.dimse.elements import (
    ACTION_TYPE_ID,
    AFFECTED_SOP_CLASS_UID,
    AFFECTED_SOP_INSTANCE_UID,
    ATTRIBUTE_IDENTIFIER_LIST,
    COMMAND_DATA_SET_TYPE,
    COMMAND_FIELD,
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
    NUMBERS,
    OFFENDING_ELEMENT,
    PRIORITY,
    REQUESTED_SOP_CLASS_UID,
    REQUESTED_SOP_INSTANCE_UID,
    STATUS,
    describe,
)
from txdicom.dimse.status import CANNOT_UNDERSTAND, MISTYPED_ARGUMENT, SUCCESS, UNRECOGNIZED_OPERATION, Status
from txdicom.errors import LocalProtocolError, RemoteProtocolError


class DataSet(Enum):
    """Whether a data set follows the command set."""

    NEVER = "never"
    MAY = "may"
    MUST = "must"


# members of an Enum take their time to be looked up, and `check` is for every message
_NEVER, _MAY, _MUST = DataSet.NEVER, DataSet.MAY, DataSet.MUST


@dataclass(frozen=True, slots=True)
class MessageSpec:
    """The fields of one message, besides the group length, and its data set."""

    mandatory: frozenset[int]
    optional: frozenset[int]
    data_set: DataSet


_C_REQUEST: Final = frozenset({AFFECTED_SOP_CLASS_UID, COMMAND_FIELD, MESSAGE_ID, PRIORITY, COMMAND_DATA_SET_TYPE})
_N_REQUEST: Final = frozenset({COMMAND_FIELD, MESSAGE_ID, COMMAND_DATA_SET_TYPE})
_AFFECTED: Final = frozenset({AFFECTED_SOP_CLASS_UID, AFFECTED_SOP_INSTANCE_UID})
_REQUESTED: Final = frozenset({REQUESTED_SOP_CLASS_UID, REQUESTED_SOP_INSTANCE_UID})
_RESPONSE: Final = frozenset({COMMAND_FIELD, MESSAGE_ID_BEING_RESPONDED_TO, COMMAND_DATA_SET_TYPE, STATUS})
#: fields of the status types (PS3.7 Annex C)
_STATUS: Final = frozenset({OFFENDING_ELEMENT, ERROR_COMMENT, ERROR_ID})
#: Message ID in a response of DIMSE-C: permitted once, now without a meaning (PS3.7 §9.1.1.1.1)
_C_RESPONSE: Final = _STATUS | {MESSAGE_ID, AFFECTED_SOP_CLASS_UID}
_N_RESPONSE: Final = _STATUS | _AFFECTED | {ATTRIBUTE_IDENTIFIER_LIST}
_COUNTERS: Final = frozenset(
    {
        NUMBER_OF_REMAINING_SUBOPERATIONS,
        NUMBER_OF_COMPLETED_SUBOPERATIONS,
        NUMBER_OF_FAILED_SUBOPERATIONS,
        NUMBER_OF_WARNING_SUBOPERATIONS,
    }
)
_NONE: Final[frozenset[int]] = frozenset()

MESSAGES: Final[dict[int, MessageSpec]] = {
    CommandField.C_STORE_RQ: MessageSpec(
        _C_REQUEST | {AFFECTED_SOP_INSTANCE_UID},
        frozenset({MOVE_ORIGINATOR_AE_TITLE, MOVE_ORIGINATOR_MESSAGE_ID}),
        _MUST,
    ),
    CommandField.C_STORE_RSP: MessageSpec(_RESPONSE, _C_RESPONSE | {AFFECTED_SOP_INSTANCE_UID}, _NEVER),
    CommandField.C_FIND_RQ: MessageSpec(_C_REQUEST, _NONE, _MUST),
    CommandField.C_FIND_RSP: MessageSpec(_RESPONSE, _C_RESPONSE, _MAY),
    CommandField.C_GET_RQ: MessageSpec(_C_REQUEST, _NONE, _MUST),
    CommandField.C_GET_RSP: MessageSpec(_RESPONSE, _C_RESPONSE | _COUNTERS, _MAY),
    CommandField.C_MOVE_RQ: MessageSpec(_C_REQUEST | {MOVE_DESTINATION}, _NONE, _MUST),
    CommandField.C_MOVE_RSP: MessageSpec(_RESPONSE, _C_RESPONSE | _COUNTERS, _MAY),
    CommandField.C_ECHO_RQ: MessageSpec(_C_REQUEST - {PRIORITY}, _NONE, _NEVER),
    CommandField.C_ECHO_RSP: MessageSpec(_RESPONSE, _C_RESPONSE, _NEVER),
    CommandField.C_CANCEL_RQ: MessageSpec(_RESPONSE - {STATUS}, _NONE, _NEVER),
    CommandField.N_EVENT_REPORT_RQ: MessageSpec(_N_REQUEST | _AFFECTED | {EVENT_TYPE_ID}, _NONE, _MAY),
    CommandField.N_EVENT_REPORT_RSP: MessageSpec(_RESPONSE, _N_RESPONSE | {EVENT_TYPE_ID}, _MAY),
    CommandField.N_GET_RQ: MessageSpec(_N_REQUEST | _REQUESTED, frozenset({ATTRIBUTE_IDENTIFIER_LIST}), _NEVER),
    CommandField.N_GET_RSP: MessageSpec(_RESPONSE, _N_RESPONSE, _MAY),
    CommandField.N_SET_RQ: MessageSpec(_N_REQUEST | _REQUESTED, _NONE, _MUST),
    CommandField.N_SET_RSP: MessageSpec(_RESPONSE, _N_RESPONSE, _MAY),
    CommandField.N_ACTION_RQ: MessageSpec(_N_REQUEST | _REQUESTED | {ACTION_TYPE_ID}, _NONE, _MAY),
    CommandField.N_ACTION_RSP: MessageSpec(_RESPONSE, _N_RESPONSE | {ACTION_TYPE_ID}, _MAY),
    CommandField.N_CREATE_RQ: MessageSpec(
        _N_REQUEST | {AFFECTED_SOP_CLASS_UID}, frozenset({AFFECTED_SOP_INSTANCE_UID}), _MAY
    ),
    CommandField.N_CREATE_RSP: MessageSpec(_RESPONSE, _N_RESPONSE, _MAY),
    CommandField.N_DELETE_RQ: MessageSpec(_N_REQUEST | _REQUESTED, _NONE, _NEVER),
    CommandField.N_DELETE_RSP: MessageSpec(_RESPONSE, _N_RESPONSE, _NEVER),
}


def check(command: Command) -> list[str]:
    """What is missing or wrong in a received message: a phrase for each element, nothing when it is in order.

    Elements that do not belong there are let pass, so is a Priority that the standard does not have (no SCP need heed
    it), and so are conditional fields of a response that are absent: a requestor can do without them.
    """
    values = command.values
    spec = MESSAGES.get(values.get(COMMAND_FIELD, -1))
    if spec is not None and not command.broken and values.keys() >= spec.mandatory:
        announced = values[COMMAND_DATA_SET_TYPE] != NO_DATA_SET
        if spec.data_set is (_MUST if announced else _NEVER) or spec.data_set is _MAY:
            return []
    return [f"{describe(number)} {problem}" for number, problem in _problems(command, spec)]


def _problems(command: Command, spec: MessageSpec | None) -> list[tuple[int, str]]:
    """The elements that are wrong, ascending, and why."""
    values, broken = command.values, command.broken
    problems = dict(broken)
    if spec is None:
        if COMMAND_FIELD not in broken:
            problems[COMMAND_FIELD] = "is unknown" if COMMAND_FIELD in values else "is missing"
        return sorted(problems.items())
    for number in spec.mandatory - values.keys() - broken.keys():
        problems[number] = "is missing"
    if COMMAND_DATA_SET_TYPE in values:
        if spec.data_set is _MUST and not command.has_data_set:
            problems[COMMAND_DATA_SET_TYPE] = "announces no data set"
        elif spec.data_set is _NEVER and command.has_data_set:
            problems[COMMAND_DATA_SET_TYPE] = "announces a data set"
    return sorted(problems.items())


_WITH_CANNOT_UNDERSTAND: Final = frozenset(
    {CommandField.C_STORE_RQ, CommandField.C_FIND_RQ, CommandField.C_GET_RQ, CommandField.C_MOVE_RQ}
)


def fault(command: Command) -> Status | None:
    """The status that answers a message in which `check` found something; None: abort, for it cannot be answered.

    C-STORE, C-FIND, C-GET and C-MOVE have the range Cxxx for it (PS3.4 B.2.3, C.4), the others 0212H (PS3.7 §9.1.5,
    §10.1); an unknown Command Field is answered with 0211H.
    """
    if not command.is_request or command.is_cancel or command.message_id is None:
        return None
    field = command.values[COMMAND_FIELD]
    problems = _problems(command, MESSAGES.get(field))
    comment = "; ".join(f"{describe(number)} {problem}" for number, problem in problems)
    if field in _WITH_CANNOT_UNDERSTAND:
        return CANNOT_UNDERSTAND.with_comment(comment, *(number for number, _ in problems))
    return (MISTYPED_ARGUMENT if field in MESSAGES else UNRECOGNIZED_OPERATION).with_comment(comment)


#: requests with a Requested SOP Class and Instance, which their response calls Affected (PS3.7 §10.3)
_OF_REQUESTED: Final = frozenset(
    {CommandField.N_GET_RQ, CommandField.N_SET_RQ, CommandField.N_ACTION_RQ, CommandField.N_DELETE_RQ}
)
_RETRIEVALS: Final = frozenset({CommandField.C_GET_RQ, CommandField.C_MOVE_RQ})
_WITH_PENDING: Final = _RETRIEVALS | {CommandField.C_FIND_RQ}


class _Success(NamedTuple):
    """The response to a request that went well and has no data set, which is the same but for a few values."""

    fields: frozenset[int]
    values: dict[int, Any]
    copied: tuple[int, ...]


#: what `response` answers without looking further, as happens once for each instance
_SUCCESSES: Final = {
    int(field): _Success(
        frozenset({MESSAGE_ID, *copied}),
        {COMMAND_FIELD: field | RESPONSE, COMMAND_DATA_SET_TYPE: NO_DATA_SET, STATUS: SUCCESS.code},
        copied,
    )
    for field, copied in (
        (CommandField.C_ECHO_RQ, (AFFECTED_SOP_CLASS_UID,)),
        (CommandField.C_STORE_RQ, (AFFECTED_SOP_CLASS_UID, AFFECTED_SOP_INSTANCE_UID)),
    )
}
#: the response to a request that is none of `MESSAGES`
_UNKNOWN: Final = MessageSpec(_RESPONSE, _STATUS, _NEVER)
#: what `response` takes from its keywords; the other fields follow from the request and the status
_FROM_CALLER: Final = _COUNTERS | {
    AFFECTED_SOP_INSTANCE_UID,
    ATTRIBUTE_IDENTIFIER_LIST,
    EVENT_TYPE_ID,
    ACTION_TYPE_ID,
}


def response(request: Command, status: Status | int = SUCCESS, *, data_set: bool = False, **elements: Any) -> Command:
    """The response to `request`.

    `elements` are further fields by their name in `Command`: `remaining`, `completed`, `failed` and `warning` (a count
    over 65,535 is sent as that, the US being no longer), `affected_sop_instance` of an N-CREATE that left it to us,
    `attribute_identifier_list`, `event_type`, `action_type` (these two are there by themselves with a data set).
    None leaves one out.

    Raises `LocalProtocolError` where PS3.7 §9.3, §10.3 or PS3.4 C.4 does not allow that response.
    """
    if status is SUCCESS and not (data_set or elements):
        asked = request.values
        success = _SUCCESSES.get(asked.get(COMMAND_FIELD, 0))
        if success is not None and success.fields <= asked.keys():
            values = success.values.copy()
            values[MESSAGE_ID_BEING_RESPONDED_TO] = asked[MESSAGE_ID]
            for number in success.copied:
                values[number] = asked[number]
            return Command(values)
    return _response(request, Status.of(status), data_set, elements)


def _response(request: Command, status: Status, data_set: bool, elements: dict[str, Any]) -> Command:
    asked = request.values
    if not request.is_request or request.is_cancel or MESSAGE_ID not in asked:
        raise LocalProtocolError(f"{request!r} has no response")
    field = asked[COMMAND_FIELD]
    spec = MESSAGES.get(field | RESPONSE, _UNKNOWN)
    values: dict[int, Any] = {}
    if AFFECTED_SOP_CLASS_UID in spec.optional:
        source = REQUESTED_SOP_CLASS_UID if field in _OF_REQUESTED else AFFECTED_SOP_CLASS_UID
        values[AFFECTED_SOP_CLASS_UID] = asked.get(source)
    values[COMMAND_FIELD] = field | RESPONSE
    values[MESSAGE_ID_BEING_RESPONDED_TO] = asked[MESSAGE_ID]
    values[COMMAND_DATA_SET_TYPE] = DATA_SET if data_set else NO_DATA_SET
    values[STATUS] = status.code
    values[OFFENDING_ELEMENT] = status.offending_elements or None
    values[ERROR_COMMENT] = status.error_comment or None
    values[ERROR_ID] = status.error_id
    if AFFECTED_SOP_INSTANCE_UID in spec.optional:
        source = REQUESTED_SOP_INSTANCE_UID if field in _OF_REQUESTED else AFFECTED_SOP_INSTANCE_UID
        values[AFFECTED_SOP_INSTANCE_UID] = asked.get(source)
    if data_set:
        # required with an Event Reply or Action Reply (PS3.7 §10.1.1.1.5, §10.1.4.1.5)
        for number in (EVENT_TYPE_ID, ACTION_TYPE_ID):
            if number in spec.optional:
                values[number] = asked.get(number)
    for name, value in elements.items():
        number = NUMBERS.get(name, -1)
        if number not in _FROM_CALLER & spec.optional:
            raise LocalProtocolError(f"{name} is no field of the response to a {request.name}")
        values[number] = min(value, 0xFFFF) if number in _COUNTERS and value is not None else value
    answer = Command({number: value for number, value in values.items() if value is not None})
    mistake = _mistake(request, status, answer, spec)
    if mistake:
        raise LocalProtocolError(f"a response to a {request.name} with status {status.code:04X}H {mistake}")
    return answer


def _mistake(request: Command, status: Status, answer: Command, spec: MessageSpec) -> str:
    """What the conditions on responses do not allow in `answer`; "" when they do."""
    field, data_set = request.command_field, answer.has_data_set
    wrong = ""
    if (status.is_pending or status.is_cancel) and field not in _WITH_PENDING:
        wrong = "is not defined"
    if data_set and spec.data_set is _NEVER:
        wrong = "must not have a data set"
    if field == CommandField.C_FIND_RQ and data_set is not status.is_pending:
        # PS3.7 §9.1.2.1.5
        wrong = "must not have an Identifier" if data_set else "must have an Identifier"
    if field in _RETRIEVALS:
        if data_set and (status.is_pending or status.is_success):
            # PS3.4 C.4.2.1.4.2, C.4.3.1.3.2: only the UIDs of failed instances
            wrong = "must not have an Identifier"
        if status.is_pending and not answer.values.keys() >= _COUNTERS:
            # PS3.4 C.4.2.1.6 to C.4.2.1.9, C.4.3.1.5 to C.4.3.1.8
            wrong = "must have all four numbers of sub-operations"
        if answer.remaining is not None and not (status.is_pending or status.is_cancel):
            wrong = "must not have a Number of Remaining Sub-operations"
    mine, theirs = answer.affected_sop_instance, request.affected_sop_instance
    if field == CommandField.N_CREATE_RQ and theirs is not None and mine != theirs:
        # PS3.7 §10.1.5.1.4
        wrong = "must have the Affected SOP Instance UID of the request"
    return wrong


def status_of(command: Command) -> Status:
    """The status that a received response carries; raises `RemoteProtocolError` when it has none."""
    code = command.status
    if code is None:
        raise RemoteProtocolError(f"a {command.name} without {describe(STATUS)}", source=0)
    return Status(code, command.error_comment or "", command.offending_element or (), command.error_id)
