"""The tables of PS3.7 §9.3 and §10.3: what is missing, how it is answered, and what a response must carry."""

from __future__ import annotations

from typing import Any

import pynetdicom.dimse_messages as peers
import pytest

from txdicom.dimse.command import NO_DATA_SET, RESPONSE, Command, CommandField, decode, encode
from txdicom.dimse.elements import COMMAND_DATA_SET_TYPE, COMMAND_FIELD, ELEMENTS, MESSAGE_ID, PRIORITY
from txdicom.dimse.messages import MESSAGES, DataSet, check, fault, response, status_of
from txdicom.dimse.requests import (
    c_cancel_rq,
    c_echo_rq,
    c_find_rq,
    c_get_rq,
    c_move_rq,
    c_store_rq,
    n_action_rq,
    n_create_rq,
    n_delete_rq,
    n_event_report_rq,
    n_get_rq,
    n_set_rq,
)
from txdicom.dimse.status import (
    CANCEL,
    MOVE_DESTINATION_UNKNOWN,
    OUT_OF_RESOURCES,
    PENDING,
    PROCESSING_FAILURE,
    SUB_OPERATIONS_WITH_FAILURES,
    SUCCESS,
    Status,
)
from txdicom.errors import LocalProtocolError, RemoteProtocolError

ECHO = c_echo_rq(1)
STORE = c_store_rq(2, "1.2", "1.3")
FIND = c_find_rq(3, "1.2")
GET = c_get_rq(4, "1.2")
MOVE = c_move_rq(5, "1.2", "DESTINATION")
EVENT_REPORT = n_event_report_rq(7, "1.2", "1.3", 2)
N_GET = n_get_rq(8, "1.2", "1.3")
SET = n_set_rq(9, "1.2", "1.3")
ACTION = n_action_rq(10, "1.2", "1.3", 1)
CREATE = n_create_rq(11, "1.2", "1.3")
DELETE = n_delete_rq(12, "1.2", "1.3")
REQUESTS = [ECHO, STORE, FIND, GET, MOVE, EVENT_REPORT, N_GET, SET, ACTION, CREATE, DELETE]
COUNTERS = {"remaining": 4, "completed": 3, "failed": 2, "warning": 1}
#: the fields of PS3.7 Annex C are in no table of a peer for every message
ANNEX_C = {"OffendingElement", "ErrorComment", "ErrorID", "MessageID", "AttributeIdentifierList"}


def without(command: Command, *numbers: int) -> Command:
    return Command({number: value for number, value in command.values.items() if number not in numbers})


def with_(command: Command, **values: Any) -> Command:
    return Command({**command.values, **{int(number[1:], 16): value for number, value in values.items()}})


# --- the tables -------------------------------------------------------------------------------------------------------


def test_every_message_is_in_the_table() -> None:
    assert set(MESSAGES) == set(CommandField)


@pytest.mark.parametrize("field", CommandField, ids=lambda field: field.name)
def test_the_fields_are_those_a_peer_has(field: CommandField) -> None:
    spec = MESSAGES[field]
    ours = {ELEMENTS[number].keyword for number in spec.mandatory | spec.optional}
    theirs = set(peers._COMMAND_SET_KEYWORDS[field.name.replace("_", "-")]) - {"CommandGroupLength"}
    assert theirs <= ours
    assert ours - theirs <= (ANNEX_C if field & RESPONSE else set())
    assert not spec.mandatory & spec.optional


@pytest.mark.parametrize("field", CommandField, ids=lambda field: field.name)
def test_every_message_says_which_it_is_and_whether_a_data_set_follows(field: CommandField) -> None:
    assert {COMMAND_FIELD, COMMAND_DATA_SET_TYPE} <= MESSAGES[field].mandatory


def test_where_a_data_set_belongs() -> None:
    must = {field for field, spec in MESSAGES.items() if spec.data_set is DataSet.MUST}
    never = {field for field, spec in MESSAGES.items() if spec.data_set is DataSet.NEVER}
    assert must == {
        CommandField.C_STORE_RQ,
        CommandField.C_FIND_RQ,
        CommandField.C_GET_RQ,
        CommandField.C_MOVE_RQ,
        CommandField.N_SET_RQ,
    }
    assert never == {
        CommandField.C_STORE_RSP,
        CommandField.C_ECHO_RQ,
        CommandField.C_ECHO_RSP,
        CommandField.C_CANCEL_RQ,
        CommandField.N_GET_RQ,
        CommandField.N_DELETE_RQ,
        CommandField.N_DELETE_RSP,
    }


# --- check and fault --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda command: command.name)
def test_a_sound_request_has_no_problem(request_: Command) -> None:
    assert check(request_) == []


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda command: command.name)
def test_every_mandatory_element_is_missed_and_answered(request_: Command) -> None:
    field = request_.values[COMMAND_FIELD]
    for number in MESSAGES[field].mandatory - {COMMAND_FIELD, MESSAGE_ID}:
        broken = without(request_, number)
        (problem,) = check(broken)
        assert problem == f"{ELEMENTS[number].name} (0000,{number:04X}) is missing"
        status = fault(broken)
        assert status is not None
        assert status.error_comment == problem
        if field in {CommandField.C_STORE_RQ, CommandField.C_FIND_RQ, CommandField.C_GET_RQ, CommandField.C_MOVE_RQ}:
            assert status.code == 0xC000
            assert status.offending_elements == (number,)
        else:
            assert status.code == 0x0212
            assert status.offending_elements == ()
        answer = decode(encode(response(broken, status)))
        assert check(answer) == []
        assert status_of(answer) == status


def test_what_has_no_message_id_cannot_be_answered() -> None:
    broken = without(STORE, MESSAGE_ID)
    assert check(broken) == ["Message ID (0000,0110) is missing"]
    assert fault(broken) is None
    with pytest.raises(LocalProtocolError, match="has no response"):
        response(broken)


def test_what_has_no_command_field_cannot_be_answered() -> None:
    broken = without(STORE, COMMAND_FIELD)
    assert check(broken) == ["Command Field (0000,0100) is missing"]
    assert fault(broken) is None


def test_a_broken_command_field_cannot_be_answered() -> None:
    broken = Command({MESSAGE_ID: 1}, broken={COMMAND_FIELD: "has a length of 3 instead of 2"})
    assert check(broken) == ["Command Field (0000,0100) has a length of 3 instead of 2"]
    assert fault(broken) is None


def test_an_unknown_command_field_is_an_unrecognized_operation() -> None:
    unknown = Command({0x0002: "1.2", COMMAND_FIELD: 0x0160, MESSAGE_ID: 9, COMMAND_DATA_SET_TYPE: NO_DATA_SET})
    assert check(unknown) == ["Command Field (0000,0100) is unknown"]
    status = fault(unknown)
    assert status is not None
    assert response(unknown, status).values == {
        COMMAND_FIELD: 0x8160,
        0x0120: 9,
        COMMAND_DATA_SET_TYPE: NO_DATA_SET,
        0x0900: 0x0211,
        0x0902: "Command Field (0000,0100) is unknown",
    }


@pytest.mark.parametrize("command", [response(STORE), c_cancel_rq(1)])
def test_responses_and_cancels_are_not_answered(command: Command) -> None:
    broken = with_(without(command, 0x0120), x0110=1)
    assert check(broken) == ["Message ID Being Responded To (0000,0120) is missing"]
    assert fault(broken) is None
    with pytest.raises(LocalProtocolError, match="has no response"):
        response(broken)


def test_a_response_without_a_status_has_a_problem() -> None:
    broken = without(response(STORE), 0x0900)
    assert check(broken) == ["Status (0000,0900) is missing"]
    with pytest.raises(RemoteProtocolError, match=r"a C-STORE-RSP without Status"):
        status_of(broken)


@pytest.mark.parametrize("field", CommandField, ids=lambda field: field.name)
def test_the_data_set_is_checked(field: CommandField) -> None:
    spec = MESSAGES[field]
    values: dict[int, Any] = dict.fromkeys(spec.mandatory, 1)
    for kind, announced in ((NO_DATA_SET, False), (0x0000, True), (0x0102, True)):
        command = Command({**values, COMMAND_FIELD: field, COMMAND_DATA_SET_TYPE: kind})
        if spec.data_set is DataSet.MUST and not announced:
            assert check(command) == ["Command Data Set Type (0000,0800) announces no data set"]
        elif spec.data_set is DataSet.NEVER and announced:
            assert check(command) == ["Command Data Set Type (0000,0800) announces a data set"]
        else:
            assert check(command) == []


def test_a_broken_element_is_named_once_and_only_as_broken() -> None:
    broken = Command(without(STORE, PRIORITY).values, broken={PRIORITY: "has a length of 1 instead of 2"})
    assert check(broken) == ["Priority (0000,0700) has a length of 1 instead of 2"]


def test_problems_come_in_the_order_of_the_elements() -> None:
    broken = Command({COMMAND_FIELD: 0x0001, MESSAGE_ID: 1}, broken={0x1031: "is repeated with another value"})
    assert check(broken) == [
        "Affected SOP Class UID (0000,0002) is missing",
        "Priority (0000,0700) is missing",
        "Command Data Set Type (0000,0800) is missing",
        "Affected SOP Instance UID (0000,1000) is missing",
        "Move Originator Message ID (0000,1031) is repeated with another value",
    ]
    status = fault(broken)
    assert status is not None
    assert status.offending_elements == (0x0002, 0x0700, 0x0800, 0x1000, 0x1031)
    assert len(status.error_comment) == 64


def test_elements_out_of_place_and_odd_priorities_are_let_pass() -> None:
    assert check(with_(STORE, x0700=7, x0600="ELSEWHERE", x0900=5)) == []


# --- responses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "affected"),
    [
        (ECHO, {0x0002: "1.2.840.10008.1.1"}),
        (STORE, {0x0002: "1.2", 0x1000: "1.3"}),
        (EVENT_REPORT, {0x0002: "1.2", 0x1000: "1.3"}),
        (N_GET, {0x0002: "1.2", 0x1000: "1.3"}),
        (SET, {0x0002: "1.2", 0x1000: "1.3"}),
        (ACTION, {0x0002: "1.2", 0x1000: "1.3"}),
        (CREATE, {0x0002: "1.2", 0x1000: "1.3"}),
        (DELETE, {0x0002: "1.2", 0x1000: "1.3"}),
        (FIND, {0x0002: "1.2"}),
        (GET, {0x0002: "1.2"}),
        (MOVE, {0x0002: "1.2"}),
    ],
    ids=lambda value: value.name if isinstance(value, Command) else "",
)
@pytest.mark.parametrize("status", [SUCCESS, 0, Status(0), PROCESSING_FAILURE, 0x0110])
def test_a_plain_response(request_: Command, affected: dict[int, str], status: Status | int) -> None:
    answer = response(request_, status)
    assert answer.values == {
        **affected,
        COMMAND_FIELD: request_.values[COMMAND_FIELD] | RESPONSE,
        0x0120: request_.message_id,
        COMMAND_DATA_SET_TYPE: NO_DATA_SET,
        0x0900: int(status),
    }
    assert check(answer) == []
    assert status_of(decode(encode(answer))) == Status.of(status)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda command: command.name)
def test_a_response_with_all_that_explains_a_failure(request_: Command) -> None:
    status = Status(0x0110, "why", (0x00100010, 0x00100020), 7)
    answer = decode(encode(response(request_, status)))
    assert answer.error_comment == "why"
    assert answer.offending_element == (0x00100010, 0x00100020)
    assert answer.error_id == 7
    assert status_of(answer) == status


def test_a_uid_of_the_request_comes_back_as_it_was() -> None:
    odd = with_(STORE, x1000="no UID \xe9" + "1" * 80)
    assert response(odd, 0x0117).affected_sop_instance == odd.affected_sop_instance
    assert decode(encode(response(odd, 0x0117))).affected_sop_instance == odd.affected_sop_instance


def test_what_the_request_lacks_the_response_lacks() -> None:
    assert response(without(STORE, 0x1000), OUT_OF_RESOURCES).affected_sop_instance is None
    assert response(without(STORE, 0x1000), 0).affected_sop_instance is None
    assert response(without(STORE, 0x0002), 0).affected_sop_class is None


def test_affected_of_a_request_that_is_of_requested_is_not_taken() -> None:
    answer = response(with_(without(N_GET, 0x0003, 0x1001), x0002="1.2", x1000="1.3"))
    assert answer.affected_sop_class is None
    assert answer.affected_sop_instance is None


def test_pending_and_final_responses_of_a_find() -> None:
    assert response(FIND, PENDING, data_set=True).has_data_set
    assert not response(FIND).has_data_set
    assert not response(FIND, CANCEL).has_data_set
    assert not response(FIND, OUT_OF_RESOURCES).has_data_set


@pytest.mark.parametrize("request_", [GET, MOVE], ids=lambda command: command.name)
def test_responses_of_a_retrieval(request_: Command) -> None:
    pending = response(request_, PENDING, **COUNTERS)
    assert (pending.remaining, pending.completed, pending.failed, pending.warning) == (4, 3, 2, 1)
    final = response(request_, SUB_OPERATIONS_WITH_FAILURES, data_set=True, completed=3, failed=6, warning=1)
    assert (final.remaining, final.completed, final.failed, final.warning) == (None, 3, 6, 1)
    assert final.has_data_set
    assert response(request_, CANCEL, data_set=True, **COUNTERS).remaining == 4
    assert response(request_, MOVE_DESTINATION_UNKNOWN, completed=None).completed is None


def test_counters_end_at_what_a_us_can_hold() -> None:
    answer = response(MOVE, PENDING, remaining=100_000, completed=65_535, failed=65_536, warning=0)
    assert (answer.remaining, answer.completed, answer.failed, answer.warning) == (65_535, 65_535, 65_535, 0)


def test_a_reply_carries_its_type() -> None:
    assert response(EVENT_REPORT).event_type is None
    assert response(EVENT_REPORT, data_set=True).event_type == 2
    assert response(EVENT_REPORT, 0x0113, event_type=2).event_type == 2
    assert response(ACTION).action_type is None
    assert response(ACTION, data_set=True).action_type == 1
    assert response(N_GET, data_set=True).has_data_set


def test_an_instance_that_the_scp_created_is_named() -> None:
    request = n_create_rq(1, "1.2")
    assert response(request).affected_sop_instance is None
    assert response(request, affected_sop_instance="1.4").affected_sop_instance == "1.4"
    assert response(CREATE, affected_sop_instance="1.3").affected_sop_instance == "1.3"


def test_attributes_that_were_not_recognized_are_listed() -> None:
    answer = response(SET, 0x0107, attribute_identifier_list=(0x00100010,))
    assert decode(encode(answer)).attribute_identifier_list == (0x00100010,)


@pytest.mark.parametrize(
    ("request_", "status", "data_set", "elements", "message"),
    [
        (STORE, 0, True, {}, "0000H must not have a data set"),
        (ECHO, 0, True, {}, "must not have a data set"),
        (DELETE, 0, True, {}, "must not have a data set"),
        (STORE, 0xFF00, False, {}, "a response to a C-STORE-RQ with status FF00H is not defined"),
        (STORE, 0xFE00, False, {}, "is not defined"),
        (ECHO, PENDING, False, {}, "is not defined"),
        (SET, CANCEL, False, {}, "is not defined"),
        (FIND, PENDING, False, {}, "must have an Identifier"),
        (FIND, SUCCESS, True, {}, "must not have an Identifier"),
        (MOVE, PENDING, True, COUNTERS, "must not have an Identifier"),
        (GET, SUCCESS, True, {}, "must not have an Identifier"),
        (GET, PENDING, False, {"completed": 1}, "must have all four numbers of sub-operations"),
        (MOVE, SUCCESS, False, COUNTERS, "must not have a Number of Remaining Sub-operations"),
        (MOVE, 0xC000, False, COUNTERS, "must not have a Number of Remaining Sub-operations"),
        (CREATE, SUCCESS, False, {"affected_sop_instance": "1.4"}, "must have the Affected SOP Instance UID of"),
        (STORE, SUCCESS, False, {"remaining": 1}, "remaining is no field of the response to a C-STORE-RQ"),
        (FIND, SUCCESS, False, {"affected_sop_instance": "1.4"}, "affected_sop_instance is no field of"),
        (STORE, SUCCESS, False, {"error_comment": "x"}, "error_comment is no field of"),
        (STORE, SUCCESS, False, {"nonsense": 1}, "nonsense is no field of"),
    ],
)
def test_responses_that_the_standard_does_not_allow(
    request_: Command, status: Status | int, data_set: bool, elements: dict[str, Any], message: str
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        response(request_, status, data_set=data_set, **elements)
    assert message in str(caught.value)


def test_a_number_that_is_no_status_is_refused() -> None:
    with pytest.raises(ValueError, match="is no status code"):
        response(FIND, 0x10000)
    with pytest.raises(ValueError, match="is no status code"):
        response(STORE, -1)
