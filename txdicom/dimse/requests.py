"""The requests of DIMSE, built (PS3.7 §9.3, §10.3).

Each raises `LocalProtocolError` when a UID or an AE title is none; numbers are checked where the command is encoded.
The Message ID is the caller's to choose, apart from those of other operations under way (PS3.7 §9.1.1.1.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from txdicom.dimse.command import DATA_SET, NO_DATA_SET, Command, CommandField, Priority
from txdicom.dimse.elements import (
    ACTION_TYPE_ID,
    AFFECTED_SOP_CLASS_UID,
    AFFECTED_SOP_INSTANCE_UID,
    ATTRIBUTE_IDENTIFIER_LIST,
    COMMAND_DATA_SET_TYPE,
    COMMAND_FIELD,
    EVENT_TYPE_ID,
    MESSAGE_ID,
    MESSAGE_ID_BEING_RESPONDED_TO,
    MOVE_DESTINATION,
    MOVE_ORIGINATOR_AE_TITLE,
    MOVE_ORIGINATOR_MESSAGE_ID,
    PRIORITY,
    REQUESTED_SOP_CLASS_UID,
    REQUESTED_SOP_INSTANCE_UID,
)
from txdicom.errors import LocalProtocolError
from txdicom.uids import VERIFICATION, is_uid

if TYPE_CHECKING:
    from collections.abc import Sequence


def _request(field: CommandField, message_id: int, data_set: bool, values: dict[int, Any]) -> Command:
    """A request; what is None or empty in `values` is left out."""
    return Command(
        {
            COMMAND_FIELD: int(field),
            MESSAGE_ID: message_id,
            COMMAND_DATA_SET_TYPE: DATA_SET if data_set else NO_DATA_SET,
            **{number: value for number, value in values.items() if value not in (None, "", ())},
        }
    )


def _uid(uid: str) -> str:
    if not is_uid(uid):
        raise LocalProtocolError(f"{uid!r} is no UID (PS3.5 §9.1)")
    return uid


def _ae_title(title: str) -> str:
    """An AE: the default repertoire without backslash and control characters, not only spaces (PS3.5 §6.2)."""
    stripped = title.strip()
    if not 0 < len(stripped) <= 16 or not stripped.isascii() or not stripped.isprintable() or "\\" in stripped:
        raise LocalProtocolError(f"{title!r} is no AE title (PS3.5 §6.2)")
    return stripped


def c_echo_rq(message_id: int, sop_class: str = VERIFICATION) -> Command:
    """C-ECHO-RQ (PS3.7 Table 9.3-12)."""
    return _request(CommandField.C_ECHO_RQ, message_id, False, {AFFECTED_SOP_CLASS_UID: _uid(sop_class)})


def c_store_rq(
    message_id: int,
    sop_class: str,
    sop_instance: str,
    *,
    priority: int = Priority.MEDIUM,
    move_originator_ae: str | None = None,
    move_originator_message_id: int | None = None,
) -> Command:
    """C-STORE-RQ (PS3.7 Table 9.3-1).

    The move originator is that of the C-MOVE this is a sub-operation of; its AE title goes out as the peer sent it.
    """
    values = {
        AFFECTED_SOP_CLASS_UID: _uid(sop_class),
        COMMAND_FIELD: 0x0001,
        MESSAGE_ID: message_id,
        PRIORITY: int(priority),
        COMMAND_DATA_SET_TYPE: DATA_SET,
        AFFECTED_SOP_INSTANCE_UID: _uid(sop_instance),
    }
    if move_originator_ae is not None:
        values[MOVE_ORIGINATOR_AE_TITLE] = move_originator_ae
    if move_originator_message_id is not None:
        values[MOVE_ORIGINATOR_MESSAGE_ID] = move_originator_message_id
    return Command(values)


def c_find_rq(message_id: int, sop_class: str, *, priority: int = Priority.MEDIUM) -> Command:
    """C-FIND-RQ (PS3.7 Table 9.3-3); its data set is the Identifier."""
    values = {AFFECTED_SOP_CLASS_UID: _uid(sop_class), PRIORITY: int(priority)}
    return _request(CommandField.C_FIND_RQ, message_id, True, values)


def c_get_rq(message_id: int, sop_class: str, *, priority: int = Priority.MEDIUM) -> Command:
    """C-GET-RQ (PS3.7 Table 9.3-6); its data set is the Identifier."""
    values = {AFFECTED_SOP_CLASS_UID: _uid(sop_class), PRIORITY: int(priority)}
    return _request(CommandField.C_GET_RQ, message_id, True, values)


def c_move_rq(message_id: int, sop_class: str, destination: str, *, priority: int = Priority.MEDIUM) -> Command:
    """C-MOVE-RQ (PS3.7 Table 9.3-9) to the AE title `destination`; its data set is the Identifier."""
    values = {
        AFFECTED_SOP_CLASS_UID: _uid(sop_class),
        MOVE_DESTINATION: _ae_title(destination),
        PRIORITY: int(priority),
    }
    return _request(CommandField.C_MOVE_RQ, message_id, True, values)


def c_cancel_rq(message_id: int) -> Command:
    """C-CANCEL-RQ (PS3.7 Tables 9.3-5, 9.3-8 and 9.3-11) of the operation `message_id`."""
    return Command(
        {
            COMMAND_FIELD: int(CommandField.C_CANCEL_RQ),
            MESSAGE_ID_BEING_RESPONDED_TO: message_id,
            COMMAND_DATA_SET_TYPE: NO_DATA_SET,
        }
    )


def n_event_report_rq(
    message_id: int, sop_class: str, sop_instance: str, event_type: int, *, data_set: bool = False
) -> Command:
    """N-EVENT-REPORT-RQ (PS3.7 Table 10.3-1); its data set is the Event Information."""
    values = {
        AFFECTED_SOP_CLASS_UID: _uid(sop_class),
        AFFECTED_SOP_INSTANCE_UID: _uid(sop_instance),
        EVENT_TYPE_ID: event_type,
    }
    return _request(CommandField.N_EVENT_REPORT_RQ, message_id, data_set, values)


def n_get_rq(message_id: int, sop_class: str, sop_instance: str, attributes: Sequence[int] = ()) -> Command:
    """N-GET-RQ (PS3.7 Table 10.3-3) for the tags `attributes`, group << 16 | element; none: for all."""
    values = {**_requested(sop_class, sop_instance), ATTRIBUTE_IDENTIFIER_LIST: tuple(attributes)}
    return _request(CommandField.N_GET_RQ, message_id, False, values)


def n_set_rq(message_id: int, sop_class: str, sop_instance: str) -> Command:
    """N-SET-RQ (PS3.7 Table 10.3-5); its data set is the Modification List."""
    return _request(CommandField.N_SET_RQ, message_id, True, _requested(sop_class, sop_instance))


def n_action_rq(
    message_id: int, sop_class: str, sop_instance: str, action_type: int, *, data_set: bool = False
) -> Command:
    """N-ACTION-RQ (PS3.7 Table 10.3-7); its data set is the Action Information."""
    values = {**_requested(sop_class, sop_instance), ACTION_TYPE_ID: action_type}
    return _request(CommandField.N_ACTION_RQ, message_id, data_set, values)


def n_create_rq(message_id: int, sop_class: str, sop_instance: str | None = None, *, data_set: bool = False) -> Command:
    """N-CREATE-RQ (PS3.7 Table 10.3-9); its data set is the Attribute List. Without `sop_instance` the SCP picks it."""
    values = {
        AFFECTED_SOP_CLASS_UID: _uid(sop_class),
        AFFECTED_SOP_INSTANCE_UID: None if sop_instance is None else _uid(sop_instance),
    }
    return _request(CommandField.N_CREATE_RQ, message_id, data_set, values)


def n_delete_rq(message_id: int, sop_class: str, sop_instance: str) -> Command:
    """N-DELETE-RQ (PS3.7 Table 10.3-11)."""
    return _request(CommandField.N_DELETE_RQ, message_id, False, _requested(sop_class, sop_instance))


def _requested(sop_class: str, sop_instance: str) -> dict[int, Any]:
    return {REQUESTED_SOP_CLASS_UID: _uid(sop_class), REQUESTED_SOP_INSTANCE_UID: _uid(sop_instance)}
