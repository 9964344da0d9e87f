"""A storage SCU on a blocking socket that shares no code with the project, and the instances it sends.

What an instance holds follows from its UID, so that a file of the store can be judged by its name alone.
"""

from __future__ import annotations

import random
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

HOST = "127.0.0.1"
ROOT = "1.2.826.0.1.3680043.10.1562"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
CONTEXT_ID = 1
P_DATA_TF, RELEASE_RP = 4, 6
#: bytes of a P-DATA-TF's value that we send
LONGEST = 32_768


class Ended(Exception):
    """The association is over."""


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    if vr == b"OW":
        return struct.pack("<HH2sHI", group, element, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value


def head(sop_instance: str) -> bytes:
    """All of the data set but the Pixel Data."""
    study = sop_instance.rpartition(".")[0]
    return b"".join(
        _element(group, element, b"UI", value.encode())
        for group, element, value in (
            (0x0008, 0x0016, MR_IMAGE),
            (0x0008, 0x0018, sop_instance),
            (0x0020, 0x000D, study),
            (0x0020, 0x000E, f"{study}.0"),
        )
    )


def instance(sop_instance: str, size: int) -> bytes:
    """A data set with `size` bytes of Pixel Data that no other has."""
    return head(sop_instance) + _element(0x7FE0, 0x0010, b"OW", random.Random(sop_instance).randbytes(size))


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _associate_rq(called_ae: str) -> bytes:
    context = (
        bytes([CONTEXT_ID, 0, 0, 0]) + _item(0x30, MR_IMAGE.encode()) + _item(0x40, EXPLICIT_LITTLE_ENDIAN.encode())
    )
    user = _item(0x51, struct.pack(">I", 16_384)) + _item(0x52, f"{ROOT}.0".encode())
    titles = called_ae.ljust(16).encode() + b"RAWSCU".ljust(16)
    items = _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, user)
    body = struct.pack(">HH", 1, 0) + titles + bytes(32) + items
    return struct.pack(">BxI", 1, len(body)) + body


def _command(message_id: int, sop_instance: str) -> bytes:
    uid = sop_instance.encode() + b"\0" * (len(sop_instance) % 2)
    sop_class = MR_IMAGE.encode() + b"\0" * (len(MR_IMAGE) % 2)
    values = (
        (0x0002, sop_class),
        (0x0100, struct.pack("<H", 1)),
        (0x0110, struct.pack("<H", message_id)),
        (0x0700, struct.pack("<H", 0)),
        (0x0800, struct.pack("<H", 1)),
        (0x1000, uid),
    )
    rest = b"".join(struct.pack("<HHI", 0, element, len(value)) + value for element, value in values)
    return struct.pack("<HHII", 0, 0, 4, len(rest)) + rest


def _pdata(control: int, fragment: bytes) -> bytes:
    return struct.pack(">BxIIBB", P_DATA_TF, len(fragment) + 6, len(fragment) + 2, CONTEXT_ID, control) + fragment


class RawScu:
    """One association; leaving the `with` block releases it, an error cuts the connection."""

    def __init__(self, port: int, called_ae: str = "TXDICOM", timeout: float = 60.0) -> None:
        self._messages = 0
        self._socket = socket.create_connection((HOST, port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(_associate_rq(called_ae))
            kind, _ = self._pdu()
            if kind != 2:
                raise Ended(f"the association was answered by PDU {kind}")
        except (OSError, Ended):
            self._socket.close()
            raise

    def __enter__(self) -> RawScu:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._socket.sendall(b"\5\0\0\0\0\4\0\0\0\0")
                assert self._pdu()[0] == RELEASE_RP
        finally:
            self._socket.close()

    def close(self) -> None:
        """Closes the connection without a word."""
        self._socket.close()

    def store(self, sop_instance: str, data: bytes) -> int:
        """Sends an instance; the status of the answer. OSError or Ended where the association ends before."""
        self.begin(sop_instance)
        self.go_on(data)
        return self.status()

    def begin(self, sop_instance: str) -> None:
        """The command set alone."""
        self._messages += 1
        self._socket.sendall(_pdata(3, _command(self._messages, sop_instance)))

    def go_on(self, data: bytes, *, last: bool = True) -> None:
        """A part of the data set."""
        self._socket.sendall(b"".join(_fragments(data, last=last)))

    def status(self) -> int:
        """The status of the next response."""
        kind, body = self._pdu()
        if kind != P_DATA_TF:
            raise Ended(f"PDU {kind} came instead of a response")
        at = 6
        while at < len(body):
            element, length = struct.unpack_from("<2xHI", body, at)
            if element == 0x0900:
                return int.from_bytes(body[at + 8 : at + 8 + length], "little")
            at += 8 + length
        raise Ended("a response without a status")

    def _pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self._exactly(6))
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise Ended("the connection was closed")
            data += more
        return data


def _fragments(data: bytes, *, last: bool) -> Iterator[bytes]:
    step = LONGEST - 6
    for start in range(0, len(data), step):
        final = last and start + step >= len(data)
        yield _pdata(2 if final else 0, data[start : start + step])
