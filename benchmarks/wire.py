"""The bytes of the upper layer and of the few DIMSE messages that the load needs (PS3.8 §9.3, PS3.7 §6.3, §9.3).

This is no toolkit and shares no code with the project: a generator that used the decoder under test would hide its
mistakes and its speed. Whatever is sent more than once is built once.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
VERIFICATION = "1.2.840.10008.1.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MULTI_FRAME_WORD = "1.2.840.10008.5.1.4.1.1.7.3"
"""Multi-frame Grayscale Word Secondary Capture Image Storage."""

APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
IMPLEMENTATION_CLASS = b"2.25.190734125637294859261304127730519462837"

A_ASSOCIATE_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, P_DATA_TF, A_RELEASE_RQ, A_RELEASE_RP, A_ABORT = range(1, 8)
RELEASE_RQ = b"\x05\0\0\0\0\x04\0\0\0\0"
RELEASE_RP = b"\x06\0\0\0\0\x04\0\0\0\0"
ABORT = b"\x07\0\0\0\0\x04\0\0\0\0"

# Elements of group 0000 (PS3.7 Annex E) and values of the command field.
AFFECTED_SOP_CLASS, COMMAND_FIELD, MESSAGE_ID, RESPONDED_TO = 0x0002, 0x0100, 0x0110, 0x0120
PRIORITY, DATA_SET_TYPE, STATUS, AFFECTED_SOP_INSTANCE = 0x0700, 0x0800, 0x0900, 0x1000
C_STORE_RQ, C_STORE_RSP, C_ECHO_RQ, C_ECHO_RSP = 0x0001, 0x8001, 0x0030, 0x8030
DATA_SET, NO_DATA_SET = 0x0001, 0x0101

# Message control header (PS3.8 §E.2): bit 0 a command, bit 1 the last fragment.
COMMAND, LAST = 1, 2
PDV_HEADER = 6
"""Bytes of a PDV item before its fragment: length, context ID, message control header."""


class WireError(Exception):
    """The peer refused, left, or answered something that the load did not ask for."""


def item(kind: int, payload: bytes) -> bytes:
    """An item or sub-item: one byte of type, one reserved, two of length."""
    return struct.pack(">BBH", kind, 0, len(payload)) + payload


def items(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """The items in `payload`, as (type, content)."""
    position = 0
    while position + 4 <= len(payload):
        kind, length = struct.unpack_from(">BxH", payload, position)
        yield kind, payload[position + 4 : position + 4 + length]
        position += 4 + length


def pdu(kind: int, body: bytes) -> bytes:
    """A PDU with its six header bytes."""
    return struct.pack(">BBI", kind, 0, len(body)) + body


def associate_rq(called: str, calling: str, contexts: Mapping[int, tuple[str, str]], max_length: int) -> bytes:
    """An A-ASSOCIATE-RQ; `contexts` is {odd id: (abstract syntax, transfer syntax)}."""
    body = struct.pack(">HH", 1, 0) + called.encode().ljust(16) + calling.encode().ljust(16) + bytes(32)
    body += item(0x10, APPLICATION_CONTEXT)
    for context_id, (abstract, transfer) in contexts.items():
        syntaxes = item(0x30, abstract.encode()) + item(0x40, transfer.encode())
        body += item(0x20, bytes([context_id, 0, 0, 0]) + syntaxes)
    return pdu(A_ASSOCIATE_RQ, body + _user_information(max_length))


def associate_ac(request: bytes, max_length: int) -> bytes:
    """The A-ASSOCIATE-AC that accepts every context of `request` (a body without its header) with its first syntax."""
    body = request[:68] + item(0x10, APPLICATION_CONTEXT)
    for kind, payload in items(request[68:]):
        if kind == 0x20:
            first = next(value for sub, value in items(payload[4:]) if sub == 0x40)
            body += item(0x21, bytes([payload[0], 0, 0, 0]) + item(0x40, first))
    return pdu(A_ASSOCIATE_AC, body + _user_information(max_length))


def _user_information(max_length: int) -> bytes:
    return item(0x50, item(0x51, struct.pack(">I", max_length)) + item(0x52, IMPLEMENTATION_CLASS))


def read_associate_ac(body: bytes) -> tuple[int, set[int]]:
    """The peer's maximum length (0: unlimited) and the ids of the contexts it accepted."""
    max_length, accepted = 0, set()
    for kind, payload in items(body[68:]):
        if kind == 0x21 and payload[2] == 0:
            accepted.add(payload[0])
        elif kind == 0x50:
            for sub, value in items(payload):
                if sub == 0x51:
                    max_length = struct.unpack(">I", value)[0]
    return max_length, accepted


def uid(value: str) -> bytes:
    """A UID as the value of a command element: an odd length is padded with NUL."""
    encoded = value.encode()
    return encoded + b"\0" * (len(encoded) & 1)


def command(elements: Sequence[tuple[int, bytes | int]]) -> bytes:
    """A command set (implicit little endian) with its group length; an int is a US."""
    body = b""
    for number, value in elements:
        encoded = struct.pack("<H", value) if isinstance(value, int) else value
        body += struct.pack("<HHI", 0, number, len(encoded)) + encoded
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def read_command(data: bytes) -> dict[int, bytes]:
    """The elements of a command set by their number in group 0000."""
    elements, position = {}, 0
    while position + 8 <= len(data):
        number, length = struct.unpack_from("<2xHI", data, position)
        elements[number] = data[position + 8 : position + 8 + length]
        position += 8 + length
    return elements


def pdata(context_id: int, control: int, fragment: bytes | memoryview) -> bytes:
    """A P-DATA-TF of one PDV."""
    length = len(fragment) + 2
    return struct.pack(">BBIIBB", P_DATA_TF, 0, length + 4, length, context_id, control) + fragment


def fragments(context_id: int, data_set: bytes, max_length: int) -> bytes:
    """A data set as P-DATA-TF PDUs of one PDV each, none longer than `max_length` after its header."""
    step = max_length - PDV_HEADER
    view = memoryview(data_set)
    return b"".join(
        pdata(context_id, LAST if start + step >= len(view) else 0, view[start : start + step])
        for start in range(0, len(view), step)
    )


def echo_rq(context_id: int, message_id: int = 1) -> bytes:
    """A C-ECHO-RQ (PS3.7 §9.3.5.1) in its PDU."""
    elements: list[tuple[int, bytes | int]] = [
        (AFFECTED_SOP_CLASS, uid(VERIFICATION)),
        (COMMAND_FIELD, C_ECHO_RQ),
        (MESSAGE_ID, message_id),
        (DATA_SET_TYPE, NO_DATA_SET),
    ]
    return pdata(context_id, COMMAND | LAST, command(elements))


def store_rq(context_id: int, sop_class: str, sop_instance: str, message_id: int = 1) -> bytes:
    """A C-STORE-RQ (PS3.7 §9.3.1.1) in its PDU; the data set follows it."""
    elements: list[tuple[int, bytes | int]] = [
        (AFFECTED_SOP_CLASS, uid(sop_class)),
        (COMMAND_FIELD, C_STORE_RQ),
        (MESSAGE_ID, message_id),
        (PRIORITY, 0),
        (DATA_SET_TYPE, DATA_SET),
        (AFFECTED_SOP_INSTANCE, uid(sop_instance)),
    ]
    return pdata(context_id, COMMAND | LAST, command(elements))


def success(context_id: int, request: Mapping[int, bytes]) -> bytes:
    """The response with status Success to a C-STORE-RQ or C-ECHO-RQ, given as the elements of its command set."""
    field = struct.unpack("<H", request[COMMAND_FIELD])[0] | 0x8000
    elements: list[tuple[int, bytes | int]] = [
        (AFFECTED_SOP_CLASS, request[AFFECTED_SOP_CLASS]),
        (COMMAND_FIELD, field),
        (RESPONDED_TO, request[MESSAGE_ID]),
        (DATA_SET_TYPE, NO_DATA_SET),
        (STATUS, 0),
    ]
    if field == C_STORE_RSP:
        elements.append((AFFECTED_SOP_INSTANCE, request[AFFECTED_SOP_INSTANCE]))
    return pdata(context_id, COMMAND | LAST, command(elements))
