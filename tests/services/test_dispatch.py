"""txdicom.services.dispatch: which add-in answers what, what is accepted, what no add-in gets to see."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface import implementer

from tests.net.wire import CT, CT_ID, ECHO_ID, MPPS, MPPS_ID, data_set, message_bytes, pdata, store_bytes
from tests.services.serving import Addin, EchoAddin, ManualWriter, NormalizedAddin, Serving, StoreAddin
from txdicom import uids
from txdicom.dimse import requests
from txdicom.dimse.command import NO_DATA_SET, Command, CommandField
from txdicom.dimse.elements import (
    AFFECTED_SOP_CLASS_UID,
    AFFECTED_SOP_INSTANCE_UID,
    COMMAND_DATA_SET_TYPE,
    COMMAND_FIELD,
    MESSAGE_ID,
    PRIORITY,
)
from txdicom.errors import SettingsError
from txdicom.interfaces import IDicomAddin, IProcessCStore, presentation_context
from txdicom.pdu.types import Abort, PresentationContextRQ
from txdicom.services import dispatch
from txdicom.services.dispatch import Dispatcher
from txdicom.services.spool import Spool

JPEG = "1.2.840.10008.1.2.4.50"
MR = "1.2.840.10008.5.1.4.1.1.4"
PRIVATE = "1.3.6.1.4.1.9999.1.2"


def dispatcher(*addins: Any, **settings: Any) -> Dispatcher:
    return Dispatcher(addins, Spool(ManualWriter(), lambda: ""), **settings)  # type: ignore[arg-type]


@implementer(IDicomAddin, IProcessCStore)
class JpegAddin(Addin):
    name = "jpeg"

    def __init__(self) -> None:
        self.requests: list[Any] = []

    @presentation_context(CT, JPEG, uids.EXPLICIT_VR_LITTLE_ENDIAN)
    def on_c_store(self, request: Any) -> int:
        self.requests.append(request)
        return 0


# -- what is accepted --------------------------------------------------------------------------------------------------


def test_nothing_is_accepted_that_nobody_answers() -> None:
    made = dispatcher(EchoAddin())
    assert made.transfer_syntaxes(uids.VERIFICATION) == uids.UNCOMPRESSED
    for abstract in (CT, MPPS, uids.STUDY_ROOT_FIND, PRIVATE, "", "rubbish"):
        assert made.transfer_syntaxes(abstract) is None


def test_any_storage() -> None:
    made = dispatcher(StoreAddin())
    assert made.transfer_syntaxes(CT) == uids.storage_transfer_syntaxes()
    assert made.transfer_syntaxes(uids.VERIFICATION) is None
    assert made.transfer_syntaxes(uids.STUDY_ROOT_FIND) is None
    assert made.transfer_syntaxes("1.2.840.10008.1.3.10") is None  # DICOMDIR is not sent


def test_private_storage_classes_where_allowed() -> None:
    assert dispatcher(StoreAddin()).transfer_syntaxes(PRIVATE)
    assert dispatcher(StoreAddin(), unknown_sop_classes=False).transfer_syntaxes(PRIVATE) is None
    assert dispatcher(StoreAddin(), unknown_sop_classes=False).transfer_syntaxes(CT)
    for rubbish in ("", "../../etc/passwd", "1.2.3/..", "1." * 40 + "1", "1..2"):
        assert dispatcher(StoreAddin()).transfer_syntaxes(rubbish) is None


def test_an_exact_context_wins_over_any_storage() -> None:
    jpeg, store = JpegAddin(), StoreAddin()
    made = dispatcher(store, jpeg)
    accepted = made.transfer_syntaxes(CT)
    assert accepted is not None
    assert accepted[:3] == (JPEG, uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN)
    assert sorted(accepted) == sorted(uids.storage_transfer_syntaxes())
    assert made.transfer_syntaxes(MR) == uids.storage_transfer_syntaxes()
    serving = Serving(store, jpeg)
    for syntax, counts in (
        (JPEG, (1, 0)),
        (uids.EXPLICIT_VR_LITTLE_ENDIAN, (2, 0)),
        (uids.IMPLICIT_VR_LITTLE_ENDIAN, (2, 1)),  # not declared exactly, so that any storage holds
    ):
        peer = serving.peer(PresentationContextRQ(CT_ID, CT, (syntax,)))
        peer.send(store_bytes(1) + store_bytes(2))
        assert peer.statuses() == [0, 0]
        assert (len(jpeg.requests) / 2, len(store.requests) / 2) == counts


def test_each_syntax_of_a_class_may_have_its_own_add_in() -> None:
    @implementer(IDicomAddin, IProcessCStore)
    class Plain(JpegAddin):
        name = "plain"

        @presentation_context(CT, uids.IMPLICIT_VR_LITTLE_ENDIAN)
        def on_c_store(self, request: Any) -> int:
            self.requests.append(request)
            return 0

    jpeg, plain = JpegAddin(), Plain()
    serving = Serving(jpeg, plain)
    peer = serving.peer(
        PresentationContextRQ(1, CT, (uids.IMPLICIT_VR_LITTLE_ENDIAN,)),
        PresentationContextRQ(CT_ID, CT, (JPEG,)),
        PresentationContextRQ(5, CT, (uids.EXPLICIT_VR_BIG_ENDIAN,)),
    )
    assert peer.association.answer is not None
    assert [context.result for context in peer.association.answer.contexts] == [0, 0, 4]
    peer.send(message_bytes(1, requests.c_store_rq(1, CT, "1.2.3"), data_set()) + store_bytes(2))
    assert peer.statuses() == [0, 0]
    assert [one.transfer_syntax for one in (*plain.requests, *jpeg.requests)] == [uids.IMPLICIT_VR_LITTLE_ENDIAN, JPEG]


def test_private_classes_without_number_are_not_all_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_REMEMBERED", 10)
    made = dispatcher(StoreAddin())
    for number in range(100):
        assert made._found[CommandField.C_STORE_RQ, f"{PRIVATE}.{number}", JPEG] is not None
        assert made._found[CommandField.C_ECHO_RQ, f"{PRIVATE}.{number}", JPEG] is None
        assert len(made._found) <= 10


# -- conflicts ---------------------------------------------------------------------------------------------------------


def test_two_for_the_same_are_named_with_the_line_to_change() -> None:
    one, two = EchoAddin(), EchoAddin()
    one.name, two.name = "first", "second"
    with pytest.raises(SettingsError) as caught:
        dispatcher(one, two, NormalizedAddin())
    (problem,) = caught.value.problems
    assert problem == (
        "add-ins first and second both answer C-ECHO-RQ for Verification SOP Class (1.2.840.10008.1.1) in Explicit VR"
        " Little Endian and 2 more transfer syntaxes: take one of them out of addins.enabled"
    )


def test_a_conflict_in_one_syntax_of_several() -> None:
    @implementer(IDicomAddin, IProcessCStore)
    class Other(JpegAddin):
        name = "other"

        @presentation_context(CT, uids.IMPLICIT_VR_LITTLE_ENDIAN, JPEG)
        def on_c_store(self, request: Any) -> int:
            return 0

    with pytest.raises(SettingsError) as caught:
        dispatcher(JpegAddin(), Other(), StoreAddin())
    (problem,) = caught.value.problems
    assert problem == (
        "add-ins jpeg and other both answer C-STORE-RQ for CT Image Storage (1.2.840.10008.5.1.4.1.1.2) in JPEG"
        " Baseline (Process 1): take one of them out of addins.enabled"
    )


def test_two_for_any_storage() -> None:
    with pytest.raises(SettingsError, match="add-ins store and store both answer C-STORE-RQ for any storage class in"):
        dispatcher(StoreAddin(), StoreAddin())


def test_declared_twice_by_one_method_is_no_conflict() -> None:
    @implementer(IDicomAddin, IProcessCStore)
    class Twice(JpegAddin):
        @presentation_context(CT)
        @presentation_context(CT, JPEG)
        def on_c_store(self, request: Any) -> int:
            return 0

    made = dispatcher(Twice()).transfer_syntaxes(CT)
    assert made is not None
    assert made[0] == JPEG
    assert len(made) == len(uids.storage_transfer_syntaxes())


def test_every_conflict_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        dispatcher(EchoAddin(), EchoAddin(), StoreAddin(), StoreAddin(), NormalizedAddin(), NormalizedAddin())
    assert len(caught.value.problems) == 1 + 1 + 6


def test_a_handler_without_a_context_is_told_of() -> None:
    @implementer(IDicomAddin, IProcessCStore)
    class Forgetful(Addin):
        name = "forgetful"

        def on_c_store(self, request: Any) -> int:
            return 0

    with pytest.raises(SettingsError, match=r"forgetful: on_c_store has no @presentation_context"):
        dispatcher(Forgetful())


# -- what is refused ---------------------------------------------------------------------------------------------------


def refused(stream: bytes, *addins: Any) -> tuple[Any, Any, Any]:
    """Status, Offending Element and Error Comment of the answer; the association lives on."""
    addins = addins or (EchoAddin(), StoreAddin(), NormalizedAddin())
    serving = Serving(*addins)
    peer = serving.peer()
    peer.send(stream)
    (message,) = peer.messages()
    assert not any(addin.requests for addin in addins)
    assert peer.association.established
    assert not peer.association.busy
    peer.lose()
    assert serving.clean()
    return message.command.status, message.command.offending_element, message.command.error_comment


@pytest.mark.parametrize(
    "stream",
    [
        message_bytes(ECHO_ID, requests.c_store_rq(1, uids.VERIFICATION, "1.2.3"), b"data"),
        message_bytes(CT_ID, requests.c_echo_rq(1, CT)),
        message_bytes(CT_ID, requests.c_find_rq(1, CT), b"identifier"),
        message_bytes(CT_ID, requests.c_move_rq(1, CT, "DESTINATION"), b"identifier"),
        message_bytes(CT_ID, requests.c_get_rq(1, CT), b"identifier"),
        message_bytes(ECHO_ID, requests.n_get_rq(1, uids.VERIFICATION, "1.2.3")),
        message_bytes(ECHO_ID, Command({COMMAND_FIELD: 0x0FF0, MESSAGE_ID: 1, COMMAND_DATA_SET_TYPE: NO_DATA_SET})),
        message_bytes(ECHO_ID, Command({COMMAND_FIELD: 0x0FF0, MESSAGE_ID: 1, COMMAND_DATA_SET_TYPE: 0}), b"data"),
    ],
)
def test_a_command_that_nobody_answers(stream: bytes) -> None:
    assert refused(stream)[0] == 0x0211


def test_a_class_that_is_not_the_contexts() -> None:
    """PS3.7 C.5.6, C.5.9."""
    assert refused(message_bytes(ECHO_ID, requests.c_echo_rq(1, CT)))[0] == 0x0122
    assert refused(message_bytes(CT_ID, requests.c_store_rq(1, MR, "1.2.3"), data_set()))[0] == 0x0122
    assert refused(message_bytes(MPPS_ID, requests.n_get_rq(1, MR, "1.2.3")))[0] == 0x0118
    assert refused(message_bytes(MPPS_ID, requests.n_create_rq(1, MR)))[0] == 0x0118


@pytest.mark.parametrize("instance", ["../../../etc/passwd", "1.2/3", "a", "1." * 33, "1.2\n3", "..", "1.2.", "٣.٤"])
def test_an_instance_uid_that_is_none(instance: str) -> None:
    values = requests.c_store_rq(1, CT, "1.2.3").values | {AFFECTED_SOP_INSTANCE_UID: instance}
    if not instance.isascii():
        values[AFFECTED_SOP_INSTANCE_UID] = instance.encode().decode("latin-1")
    assert refused(message_bytes(CT_ID, Command(values), data_set()))[0] == 0x0117


def test_missing_elements_are_named() -> None:
    for missing, keyword in (
        (AFFECTED_SOP_CLASS_UID, "Affected SOP Class UID"),
        (AFFECTED_SOP_INSTANCE_UID, "Affected SOP Instance UID"),
        (PRIORITY, "Priority"),
    ):
        values = dict(requests.c_store_rq(1, CT, "1.2.3").values)
        del values[missing]
        status, offending, comment = refused(message_bytes(CT_ID, Command(values), data_set()))
        assert (status, offending) == (0xC000, (missing,))
        assert keyword in comment
    values = dict(requests.c_echo_rq(1).values)
    del values[AFFECTED_SOP_CLASS_UID]
    status, _, comment = refused(message_bytes(ECHO_ID, Command(values)))
    assert status == 0x0212
    assert "Affected SOP Class UID" in comment


def test_a_store_without_a_data_set_and_an_echo_with_one() -> None:
    values = requests.c_store_rq(1, CT, "1.2.3").values | {COMMAND_DATA_SET_TYPE: NO_DATA_SET}
    assert refused(message_bytes(CT_ID, Command(values)))[0] == 0xC000
    values = requests.c_echo_rq(1).values | {COMMAND_DATA_SET_TYPE: 1}
    assert refused(message_bytes(ECHO_ID, Command(values), b"data"))[0] == 0x0212


def test_without_a_message_id_there_is_no_answer_but_an_abort() -> None:
    values = dict(requests.c_echo_rq(1).values)
    del values[MESSAGE_ID]
    peer = Serving(EchoAddin()).peer()
    peer.send(message_bytes(ECHO_ID, Command(values)))
    assert isinstance(peer.pdus()[0], Abort)


def test_the_data_set_of_a_refused_request_is_not_kept() -> None:
    serving = Serving(StoreAddin(), NormalizedAddin())
    peer = serving.peer()
    for stream in (
        message_bytes(CT_ID, requests.c_store_rq(1, MR, "1.2.3")) + pdata(CT_ID, 0, bytes(10_000)) * 50,
        pdata(CT_ID, 2, b"") + message_bytes(MPPS_ID, requests.n_set_rq(2, MR, "1.2.3")) + pdata(MPPS_ID, 0, b"x") * 50,
    ):
        peer.send(stream)
        assert serving.spool.in_memory == 0
    (held,) = peer.association._incoming
    assert not held._data


def test_a_syntax_that_only_another_service_of_the_class_takes() -> None:
    """Contexts are accepted for a class, requests answered for a class and a syntax."""

    @implementer(IDicomAddin)
    class Echoes(EchoAddin):
        @presentation_context(CT, uids.IMPLICIT_VR_LITTLE_ENDIAN)
        def on_c_echo(self, request: Any) -> int:
            return 0

    serving = Serving(Echoes(), JpegAddin())
    peer = serving.peer(PresentationContextRQ(CT_ID, CT, (uids.IMPLICIT_VR_LITTLE_ENDIAN,)))
    peer.send(store_bytes() + message_bytes(CT_ID, requests.c_echo_rq(2, CT)))
    assert peer.statuses() == [0x0211, 0]


def test_a_private_class_by_its_service_class() -> None:
    """SOP Class Common Extended Negotiation (PS3.7 D.3.3.6)."""
    from dataclasses import replace

    from tests.net.wire import Peer, associate_rq
    from txdicom.pdu.encode import encode
    from txdicom.pdu.types import CommonExtendedNegotiation

    store = StoreAddin()
    serving = Serving(store, unknown_sop_classes=False)
    for related, accepted in ((CT, True), (MPPS, False)):
        rq = associate_rq(PresentationContextRQ(CT_ID, PRIVATE, (uids.EXPLICIT_VR_LITTLE_ENDIAN,)))
        common = CommonExtendedNegotiation(PRIVATE, "1.2.840.10008.4.2", (related,))
        rq = replace(rq, user=replace(rq.user, common_extended=(common,)))
        peer = Peer(serving.acceptor)
        peer.send(encode(rq))
        (ac,) = peer.pdus()
        assert (ac.contexts[0].result == 0) is accepted
        if accepted:
            peer.send(message_bytes(CT_ID, requests.c_store_rq(1, PRIVATE, "1.2.3"), data_set()))
            assert peer.statuses() == [0]
            assert store.requests[0].sop_class == PRIVATE


def test_every_request_has_its_own_response_field() -> None:
    serving = Serving(EchoAddin(), StoreAddin(), NormalizedAddin())
    peer = serving.peer()
    built = [
        requests.n_get_rq(1, MPPS, "1.2.3"),
        requests.n_delete_rq(2, MPPS, "1.2.3"),
        requests.n_action_rq(3, MPPS, "1.2.3", 1),
        requests.n_create_rq(4, MPPS),
        requests.n_event_report_rq(5, MPPS, "1.2.3", 1),
    ]
    for command in built:
        peer.send(message_bytes(MPPS_ID, command))
    peer.send(message_bytes(MPPS_ID, requests.n_set_rq(6, MPPS, "1.2.3"), data_set()))
    answers = [message.command for message in peer.messages()]
    assert [command.status for command in answers] == [0] * 6
    assert [command.command_field for command in answers] == [
        CommandField.N_GET_RSP,
        CommandField.N_DELETE_RSP,
        CommandField.N_ACTION_RSP,
        CommandField.N_CREATE_RSP,
        CommandField.N_EVENT_REPORT_RSP,
        CommandField.N_SET_RSP,
    ]
