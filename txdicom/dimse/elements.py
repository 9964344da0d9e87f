"""The command elements: group 0000 of PS3.7 Annex E.

A command element is named here by its element number alone, since the group is always 0000 (PS3.7 §6.3.1).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMAND_GROUP_LENGTH: Final = 0x0000
AFFECTED_SOP_CLASS_UID: Final = 0x0002
REQUESTED_SOP_CLASS_UID: Final = 0x0003
COMMAND_FIELD: Final = 0x0100
MESSAGE_ID: Final = 0x0110
MESSAGE_ID_BEING_RESPONDED_TO: Final = 0x0120
MOVE_DESTINATION: Final = 0x0600
PRIORITY: Final = 0x0700
COMMAND_DATA_SET_TYPE: Final = 0x0800
STATUS: Final = 0x0900
OFFENDING_ELEMENT: Final = 0x0901
ERROR_COMMENT: Final = 0x0902
ERROR_ID: Final = 0x0903
AFFECTED_SOP_INSTANCE_UID: Final = 0x1000
REQUESTED_SOP_INSTANCE_UID: Final = 0x1001
EVENT_TYPE_ID: Final = 0x1002
ATTRIBUTE_IDENTIFIER_LIST: Final = 0x1005
ACTION_TYPE_ID: Final = 0x1008
NUMBER_OF_REMAINING_SUBOPERATIONS: Final = 0x1020
NUMBER_OF_COMPLETED_SUBOPERATIONS: Final = 0x1021
NUMBER_OF_FAILED_SUBOPERATIONS: Final = 0x1022
NUMBER_OF_WARNING_SUBOPERATIONS: Final = 0x1023
MOVE_ORIGINATOR_AE_TITLE: Final = 0x1030
MOVE_ORIGINATOR_MESSAGE_ID: Final = 0x1031

VR = Literal["AE", "AT", "LO", "UI", "UL", "US"]


class Element(NamedTuple):
    """One row of PS3.7 Table E.1-1.

    `attribute` is the name of the property of `command.Command`; "" for the group length, which only the encoder sets.
    """

    keyword: str
    name: str
    vr: VR
    vm: Literal["1", "1-n"]
    attribute: str


#: every command element in use (PS3.7 Table E.1-1), by element number, ascending
ELEMENTS: Final[Mapping[int, Element]] = MappingProxyType(
    {
        0x0000: Element("CommandGroupLength", "Command Group Length", "UL", "1", ""),
        0x0002: Element("AffectedSOPClassUID", "Affected SOP Class UID", "UI", "1", "affected_sop_class"),
        0x0003: Element("RequestedSOPClassUID", "Requested SOP Class UID", "UI", "1", "requested_sop_class"),
        0x0100: Element("CommandField", "Command Field", "US", "1", "command_field"),
        0x0110: Element("MessageID", "Message ID", "US", "1", "message_id"),
        0x0120: Element(
            "MessageIDBeingRespondedTo", "Message ID Being Responded To", "US", "1", "message_id_responded_to"
        ),
        0x0600: Element("MoveDestination", "Move Destination", "AE", "1", "move_destination"),
        0x0700: Element("Priority", "Priority", "US", "1", "priority"),
        0x0800: Element("CommandDataSetType", "Command Data Set Type", "US", "1", "data_set_type"),
        0x0900: Element("Status", "Status", "US", "1", "status"),
        0x0901: Element("OffendingElement", "Offending Element", "AT", "1-n", "offending_element"),
        0x0902: Element("ErrorComment", "Error Comment", "LO", "1", "error_comment"),
        0x0903: Element("ErrorID", "Error ID", "US", "1", "error_id"),
        0x1000: Element("AffectedSOPInstanceUID", "Affected SOP Instance UID", "UI", "1", "affected_sop_instance"),
        0x1001: Element("RequestedSOPInstanceUID", "Requested SOP Instance UID", "UI", "1", "requested_sop_instance"),
        0x1002: Element("EventTypeID", "Event Type ID", "US", "1", "event_type"),
        0x1005: Element(
            "AttributeIdentifierList", "Attribute Identifier List", "AT", "1-n", "attribute_identifier_list"
        ),
        0x1008: Element("ActionTypeID", "Action Type ID", "US", "1", "action_type"),
        0x1020: Element("NumberOfRemainingSuboperations", "Number of Remaining Sub-operations", "US", "1", "remaining"),
        0x1021: Element("NumberOfCompletedSuboperations", "Number of Completed Sub-operations", "US", "1", "completed"),
        0x1022: Element("NumberOfFailedSuboperations", "Number of Failed Sub-operations", "US", "1", "failed"),
        0x1023: Element("NumberOfWarningSuboperations", "Number of Warning Sub-operations", "US", "1", "warning"),
        0x1030: Element(
            "MoveOriginatorApplicationEntityTitle",
            "Move Originator Application Entity Title",
            "AE",
            "1",
            "move_originator_ae",
        ),
        0x1031: Element(
            "MoveOriginatorMessageID", "Move Originator Message ID", "US", "1", "move_originator_message_id"
        ),
    }
)

#: retired command elements (PS3.7 Table E.2-1), which old devices still send: kept unread, without a complaint
RETIRED: Final[Mapping[int, str]] = MappingProxyType(
    {
        0x0001: "Command Length to End",
        0x0010: "Command Recognition Code",
        0x0200: "Initiator",
        0x0300: "Receiver",
        0x0400: "Find Location",
        0x0850: "Number of Matches",
        0x0860: "Response Sequence Number",
        0x4000: "Dialog Receiver",
        0x4010: "Terminal Type",
        0x5010: "Message Set ID",
        0x5020: "End Message ID",
        0x5110: "Display Format",
        0x5120: "Page Position ID",
        0x5130: "Text Format ID",
        0x5140: "Normal/Reverse",
        0x5150: "Add Gray Scale",
        0x5160: "Borders",
        0x5170: "Copies",
        0x5180: "Command Magnification Type",
        0x5190: "Erase",
        0x51A0: "Print",
        0x51B0: "Overlays",
    }
)

#: element number by the name of the property of `command.Command`
NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {element.attribute: number for number, element in ELEMENTS.items() if element.attribute}
)


def describe(number: int) -> str:
    """A name for people and logs: "Move Destination (0000,0600)"; of an unknown element the tag alone."""
    element = ELEMENTS.get(number)
    name = element.name if element else RETIRED.get(number, "")
    return f"{name} (0000,{number:04X})".lstrip()
