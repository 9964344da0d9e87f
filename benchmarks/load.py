"""The load itself: C-STORE again and again, one large instance, echoes, association cycles, idle associations."""

from __future__ import annotations

import statistics
import struct
import time
from typing import TYPE_CHECKING

from benchmarks import instances, wire
from benchmarks.association import ECHO, Association

if TYPE_CHECKING:
    from benchmarks.crew import Outcome

BIG_FRAME_SIDE = 512
BIG_BLOCK = 1 << 20


class StoreJob:
    """Sends `count` CT images one after the other: each is the same buffer, patched, and one sendall."""

    def __init__(self, port: int, called: str, *, count: int, side: int, max_length: int, limit: float) -> None:
        self.port, self.called, self.max_length = port, called, max_length
        self.count, self.side, self.limit = count, side, limit

    def open(self) -> Association:
        uids = instances.Uids()
        first = uids.instance(0)
        data_set = instances.image(first, uids, self.side)
        contexts = {1: (wire.CT_IMAGE, wire.EXPLICIT_LITTLE_ENDIAN)}
        association = Association(
            self.port, self.called, contexts, max_length=self.max_length, timeout=self.limit, buffer=65536
        )
        self.message = bytearray(wire.store_rq(1, wire.CT_IMAGE, first))
        message_id = struct.pack("<HHI", 0, wire.MESSAGE_ID, 2)
        self.message_id_at = self.message.index(message_id) + len(message_id)
        self.message += wire.fragments(1, data_set, association.max_send)
        counter = instances.UID_LENGTH - instances.COUNTER_DIGITS
        in_command = self.message.index(first.encode())
        in_data_set = self.message.index(first.encode(), in_command + 1)
        self.counters_at = (in_command + counter, in_data_set + counter)
        self.uids = uids
        return association

    def run(self, association: Association, outcome: Outcome) -> None:
        message, clock = self.message, time.perf_counter
        in_command, in_data_set = self.counters_at
        digits = instances.COUNTER_DIGITS
        deadline = clock() + self.limit
        for number in range(self.count):
            counter = self.uids.instance(number)[-digits:].encode()
            message[in_command : in_command + digits] = counter
            message[in_data_set : in_data_set + digits] = counter
            struct.pack_into("<H", message, self.message_id_at, number % 65535 + 1)
            begun = clock()
            association.request(message)
            ended = clock()
            outcome.latencies.append(ended - begun)
            outcome.done += 1
            if ended > deadline:
                break


class BigJob:
    """Sends one multi-frame instance of `size` bytes of pixels, out of one block that is sent again and again."""

    def __init__(self, port: int, called: str, *, size: int, max_length: int, limit: float) -> None:
        self.port, self.called, self.max_length, self.size, self.limit = port, called, max_length, size, limit

    def open(self) -> Association:
        contexts = {1: (wire.MULTI_FRAME_WORD, wire.EXPLICIT_LITTLE_ENDIAN)}
        association = Association(self.port, self.called, contexts, max_length=self.max_length, timeout=self.limit)
        uids = instances.Uids()
        instance = uids.instance(0)
        frames = self.size // (BIG_FRAME_SIDE * BIG_FRAME_SIDE * 2)
        head = instances.header(wire.MULTI_FRAME_WORD, instance, uids, BIG_FRAME_SIDE, frames)
        head += struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, self.size)
        step = association.max_send - wire.PDV_HEADER
        self.left = len(head) + self.size - step
        self.head = wire.store_rq(1, wire.MULTI_FRAME_WORD, instance)
        self.head += wire.pdata(1, 0, head + instances.pixels(step - len(head)))
        self.full = wire.pdata(1, 0, instances.pixels(step))
        self.step = step
        return association

    def run(self, association: Association, outcome: Outcome) -> None:
        send = association.sock.sendall
        at_once = max(1, BIG_BLOCK // len(self.full))
        whole, rest = divmod(self.left - 1, self.step)  # the last fragment has at least one byte
        block = self.full * at_once
        send(self.head)
        for _ in range(whole // at_once):
            send(block)
        send(self.full * (whole % at_once))
        association.request(wire.pdata(1, wire.LAST, bytes(rest + 1)))
        outcome.done = 1


def echoes(association: Association, count: int, limit: float) -> list[float]:
    """Seconds of each of up to `count` C-ECHO round trips."""
    message, clock = wire.echo_rq(1), time.perf_counter
    latencies: list[float] = []
    deadline = clock() + limit
    while len(latencies) < count:
        begun = clock()
        association.request(message)
        ended = clock()
        latencies.append(ended - begun)
        if ended > deadline:
            break
    return latencies


def cycles(port: int, called: str, count: int, limit: float) -> list[float]:
    """Seconds of each of up to `count` rounds of connect, associate, echo, release."""
    message, clock = wire.echo_rq(1), time.perf_counter
    latencies: list[float] = []
    deadline = clock() + limit
    while len(latencies) < count:
        begun = clock()
        with Association(port, called, ECHO) as association:
            association.request(message)
        ended = clock()
        latencies.append(ended - begun)
        if ended > deadline:
            break
    return latencies


def idle(port: int, called: str, count: int, limit: float) -> tuple[list[Association], str]:
    """Up to `count` associations that do nothing, and why they are fewer."""
    opened: list[Association] = []
    deadline = time.monotonic() + limit
    while len(opened) < count:
        if time.monotonic() > deadline:
            return opened, f"{len(opened)} of {count} opened in {limit:.0f} s"
        try:
            opened.append(Association(port, called, ECHO, timeout=10, buffer=1024))
        except (OSError, wire.WireError) as error:
            return opened, f"{len(opened)} of {count} opened: {error}"
    return opened, ""


def median_ms(latencies: list[float]) -> float:
    """The median in milliseconds."""
    return statistics.median(latencies) * 1e3
