"""Hundreds of associations out of one process: each asks again as soon as it is answered.

A process for each, as `crew` has them for a few, would have the machine switch between them instead of serving.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

from benchmarks import wire
from benchmarks.association import ECHO, Association

if TYPE_CHECKING:
    from benchmarks.crew import Outcome


class Crowd:
    """Associations that one process serves."""

    def __init__(self, port: int, called: str, count: int, limit: float) -> None:
        """Opens them one after the other. Raises what `Association` raises."""
        self.associations: list[Association] = []
        try:
            for _ in range(count):
                self.associations.append(Association(port, called, ECHO, timeout=limit, buffer=1024))
        except BaseException:
            for association in self.associations:
                association.abort()
            raise

    def release(self) -> None:
        """Releases them."""
        for association in self.associations:
            association.release()


class EchoJob:
    """`each` C-ECHO on each of `associations`, one at a time on each; `message_id` is that of all."""

    def __init__(self, port: int, called: str, *, associations: int, each: int, message_id: int, limit: float) -> None:
        self.port, self.called, self.associations = port, called, associations
        self.each, self.message_id, self.limit = each, message_id, limit

    def open(self) -> Crowd:
        """Opens all associations."""
        return Crowd(self.port, self.called, self.associations, self.limit)

    def run(self, crowd: Crowd, outcome: Outcome) -> None:
        """Sends and waits, until all are through or the limit is over."""
        message, clock = wire.echo_rq(1, self.message_id), time.perf_counter
        deadline = clock() + self.limit
        by_descriptor = {association.sock.fileno(): association for association in crowd.associations}
        left = dict.fromkeys(by_descriptor, self.each)
        begun: dict[int, float] = {}
        with select.epoll() as ready:
            for descriptor, association in by_descriptor.items():
                ready.register(descriptor, select.EPOLLIN)
                begun[descriptor] = clock()
                association.sock.sendall(message)
            waiting = len(by_descriptor)
            while waiting:
                now = clock()
                if now > deadline:
                    raise wire.WireError(f"{waiting} echoes not answered in {self.limit:.0f} s")
                for descriptor, _ in ready.poll(deadline - now, waiting):
                    association = by_descriptor[descriptor]
                    if status := association.status():
                        raise wire.WireError(f"status 0x{status:04X}")
                    now = clock()
                    outcome.latencies.append(now - begun[descriptor])
                    outcome.done += 1
                    left[descriptor] -= 1
                    if left[descriptor]:
                        begun[descriptor] = now
                        association.sock.sendall(message)
                    else:
                        waiting -= 1
