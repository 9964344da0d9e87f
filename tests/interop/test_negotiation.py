"""What peers ask for beyond presentation contexts, and the sizes of PDUs they set, in both directions."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.interop import bundle, part10
from tests.interop.processes import AE_TITLE, HOST, Server, run
from tests.interop.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from tests.interop.proxy import Conversation

pytestmark = pytest.mark.interop

VERIFICATION = "1.2.840.10008.1.1"
#: user information sub-items (PS3.8 Annex D, PS3.7 Annex D.3.3)
MAXIMUM_LENGTH, IMPLEMENTATION_CLASS, WINDOW, ROLE, VERSION_NAME = 0x51, 0x52, 0x53, 0x54, 0x55
EXTENDED, COMMON_EXTENDED, IDENTITY_AC = 0x56, 0x57, 0x59
FILE = bundle.by_name("test_files/CT_small.dcm")


def store_one(server: Server, pynetdicom: ModuleType, *items: Any, pdu: int | None = None) -> Conversation:
    """An association of pynetdicom with these user information items, on which an instance is stored."""
    ae = pynetdicom.AE("PYNETDICOM")
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    ae.add_requested_context(VERIFICATION)
    with Proxy(server.port) as proxy:
        limit = {} if pdu is None else {"max_pdu": pdu}
        association = ae.associate(HOST, proxy.port, ae_title=AE_TITLE, ext_neg=list(items), **limit)
        assert association.is_established
        assert association.send_c_echo().Status == 0
        assert association.send_c_store(FILE.path).Status == 0
        association.release()
        assert association.is_released
        [conversation] = proxy.conversations
        [sent] = conversation.stored()
    assert part10.data_set(part10.stored(server.store)[FILE.sop_instance]) == sent.data
    return conversation


def test_roles(server: Server, pynetdicom: ModuleType) -> None:
    """A requestor that would be SCP of what we never send stays SCU only (PS3.7 D.3.3.4)."""
    both = pynetdicom.build_role(CTImageStorage, scu_role=True, scp_role=True)
    conversation = store_one(server, pynetdicom, both)
    [answer] = conversation.user_items(2)[ROLE]
    length = struct.unpack_from(">H", answer)[0]
    assert answer[2 : 2 + length].decode() == CTImageStorage
    assert answer[2 + length :] == b"\x01\x00"


@pytest.mark.parametrize("response", [False, True])
@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
def test_user_identity(server: Server, pynetdicom: ModuleType, kind: int, response: bool) -> None:
    """Nobody here checks identities: the association is accepted, and no response claims otherwise (PS3.7 D.3.3.7)."""
    identity = pynetdicom.pdu_primitives.UserIdentityNegotiation()
    identity.user_identity_type = kind
    identity.primary_field = b"who"
    if kind == 2:
        identity.secondary_field = b"passcode"
    identity.positive_response_requested = response
    assert IDENTITY_AC not in store_one(server, pynetdicom, identity).user_items(2)


def test_extended_negotiation(server: Server, pynetdicom: ModuleType) -> None:
    """Options that no service of ours has are left out of the answer (PS3.7 D.3.3.5, D.3.3.6)."""
    extended = pynetdicom.pdu_primitives.SOPClassExtendedNegotiation()
    extended.sop_class_uid = CTImageStorage
    extended.service_class_application_information = b"\x02\x00\x03\x00\x01\x00"
    common = pynetdicom.pdu_primitives.SOPClassCommonExtendedNegotiation()
    common.sop_class_uid = CTImageStorage
    common.service_class_uid = "1.2.840.10008.4.2"
    answer = store_one(server, pynetdicom, extended, common).user_items(2)
    assert EXTENDED not in answer
    assert COMMON_EXTENDED not in answer


@pytest.mark.parametrize(
    ("proposed", "answered"), [((1, 1), (1, 1)), ((8, 4), (8, 1)), ((64, 0), (16, 0)), ((0, 1), (16, 1))]
)
def test_asynchronous_operations(
    server: Server, pynetdicom: ModuleType, proposed: tuple[int, int], answered: tuple[int, int]
) -> None:
    """Always answered when proposed, by at most what was proposed (PS3.7 D.3.3.3)."""
    window = pynetdicom.pdu_primitives.AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked, window.maximum_number_operations_performed = proposed
    [answer] = store_one(server, pynetdicom, window).user_items(2)[WINDOW]
    invoked, performed = struct.unpack(">HH", answer)
    assert invoked == answered[0]
    assert _at_most(performed, proposed[1])


def _at_most(value: int, limit: int) -> bool:
    return limit == 0 or 0 < value <= limit


def test_everything_at_once(server: Server, pynetdicom: ModuleType) -> None:
    window = pynetdicom.pdu_primitives.AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 4
    identity = pynetdicom.pdu_primitives.UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field = 1, b"who"
    role = pynetdicom.build_role(CTImageStorage, scu_role=True)
    answer = store_one(server, pynetdicom, window, identity, role).user_items(2)
    assert {MAXIMUM_LENGTH, IMPLEMENTATION_CLASS, VERSION_NAME, WINDOW, ROLE} <= set(answer)


@pytest.mark.parametrize("limit", [0, 32, 4096, 4097, 16_382, 131_072, 0xFFFFFFFF])
def test_the_length_that_the_requestor_takes(server: Server, pynetdicom: ModuleType, limit: int) -> None:
    """No P-DATA-TF to it is longer than it announced (PS3.8 D.1)."""
    conversation = store_one(server, pynetdicom, pdu=limit)
    assert struct.unpack(">I", conversation.user_items(1)[MAXIMUM_LENGTH][0]) == (limit,)
    longest = max(conversation.acceptor.lengths)
    assert longest <= limit or not limit


@pytest.mark.parametrize("limit", [4096, 4099, 1_048_576])
def test_the_length_that_the_server_takes(
    pynetdicom: ModuleType, dcmtk: Callable[[str], str], tmp_path: Path, limit: int
) -> None:
    with Server(tmp_path, {"server.max_pdu_length": str(limit), "archive.duplicates": "replace"}) as server:
        conversation = store_one(server, pynetdicom)
        assert struct.unpack(">I", conversation.user_items(2)[MAXIMUM_LENGTH][0]) == (limit,)
        assert max(conversation.requestor.lengths) <= limit
        with Proxy(server.port) as proxy:
            sent = run([dcmtk("storescu"), "-v", "-aec", AE_TITLE, HOST, str(proxy.port), FILE.path])
            assert sent.returncode == 0, sent.stdout
            assert max(proxy.conversations[0].requestor.lengths) <= limit
            [one] = proxy.stored()
        assert part10.data_set(part10.stored(server.store)[FILE.sop_instance]) == one.data


@pytest.mark.parametrize(
    "options", [["-pdu", "4096"], ["-pdu", "131072"], ["--max-send-pdu", "4096"], ["--max-send-pdu", "131072"]]
)
def test_lengths_of_storescu(server: Server, dcmtk: Callable[[str], str], options: list[str]) -> None:
    with Proxy(server.port) as proxy:
        sent = run([dcmtk("storescu"), "-v", *options, "-aec", AE_TITLE, HOST, str(proxy.port), FILE.path])
        assert sent.returncode == 0, sent.stdout
        [one] = proxy.stored()
        lengths = proxy.conversations[0].requestor.lengths
    assert part10.data_set(part10.stored(server.store)[FILE.sop_instance]) == one.data
    if options[0] == "--max-send-pdu":
        assert max(lengths) <= int(options[1])


@pytest.mark.parametrize("options", [["-usr", "who"], ["-usr", "who", "-pwd", "x"], ["-usr", "who", "-rsp"]])
def test_user_identity_of_storescu(server: Server, dcmtk: Callable[[str], str], options: list[str]) -> None:
    """A response that it insists on is for it to miss: PS3.7 D.3.3.7 lets an acceptor without identities not answer."""
    with Proxy(server.port) as proxy:
        sent = run([dcmtk("storescu"), "-v", *options, "-aec", AE_TITLE, HOST, str(proxy.port), FILE.path])
        assert IDENTITY_AC not in proxy.conversations[0].user_items(2)
    refused_by_itself = "-rsp" in options
    assert (sent.returncode != 0) == refused_by_itself, sent.stdout
    if refused_by_itself:
        assert re.search(r"[Pp]ositive [Rr]esponse", sent.stdout), sent.stdout


def test_what_is_called_by_another_title_is_rejected(
    server: Server, pynetdicom: ModuleType, dcmtk: Callable[[str], str]
) -> None:
    """(1,1,7): called AE title not recognized (PS3.8 Table 9-21)."""
    with Proxy(server.port) as proxy:
        echoed = run([dcmtk("echoscu"), "-v", "-aec", "NOBODY", HOST, str(proxy.port)])
        assert echoed.returncode != 0
        assert "Called AE Title Not Recognized" in echoed.stdout
        [(kind, body)] = proxy.conversations[0].acceptor.pdus
    assert (kind, body) == (3, b"\0\1\1\7")


def test_nothing_in_common(server: Server, pynetdicom: ModuleType) -> None:
    """No context is accepted, the association is all the same, with results 3 and 4 (PS3.8 Table 9-18)."""
    ae = pynetdicom.AE("PYNETDICOM")
    ae.add_requested_context("1.2.840.10008.5.1.1.9")  # Basic Grayscale Print Management
    ae.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.6.2")  # XML encoding: not for DIMSE
    association = ae.associate(HOST, server.port, ae_title=AE_TITLE)
    results = [context.result for context in association.rejected_contexts]
    association.abort()
    assert results == [3, 4]
