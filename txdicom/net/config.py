"""What the network floor can be set to: one frozen dataclass, from which the server's settings derive.

Times are in seconds, sizes in bytes; 0 switches a limit off where a field says so. A field's `doc` is what the
settings file, the command line and the documentation print.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MaxLen, Predicate

from txdicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, is_strict_uid

#: up to a year: no timer takes infinity
Seconds = Annotated[float, Ge(0), Le(31_536_000)]
Count = Annotated[int, Ge(0)]
#: what a C int holds
Buffer = Annotated[int, Ge(0), Le(2**31 - 1)]


def setting(default: Any, doc: str) -> Any:
    """A field with its default and the sentence that explains it."""
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, kw_only=True)
class NetConfig:
    """Settings of connections and associations, in both roles."""

    max_clients: Count = setting(1000, "associations at once; 0: no limit")
    max_clients_per_ae: Count = setting(0, "associations at once for one calling AE title; 0: no limit")
    allow_multiple_connections: bool = setting(
        True, "whether one calling AE title may have several associations at once"
    )
    max_half_open: Count = setting(200, "connections that have no association yet, or no longer; 0: no limit")
    max_pdu_length: Annotated[int, Ge(4096), Le(1_048_576)] = setting(
        131_072, "longest P-DATA-TF we take, without its header of six bytes; what we announce (PS3.8 D.1)"
    )
    pdu_tolerance: Count = setting(0, "bytes by which a P-DATA-TF may be longer than announced; more: A-ABORT")
    max_associate_length: Annotated[int, Ge(4096)] = setting(1_048_576, "longest A-ASSOCIATE PDU we take")
    max_operations: Annotated[int, Ge(0), Le(65_535)] = setting(
        16, "asynchronous operations window we grant; 0: no limit"
    )
    artim_timeout: Annotated[float, Ge(0.1), Le(31_536_000)] = setting(
        30.0, "ARTIM: for the A-ASSOCIATE-RQ, the answer to ours, and the closing of a connection"
    )
    dimse_timeout: Seconds = setting(30.0, "wait for a DIMSE response, and between two of them; 0: no limit")
    client_timeout: Seconds = setting(300.0, "an association without any message for this long is idle; 0: never")
    idle_action: Literal["abort", "release"] = setting("abort", "what happens to an idle association")
    reconnect_timeout: Seconds = setting(30.0, "for an outgoing connection: name, TCP and TLS together")
    addin_timeout: Seconds = setting(300.0, "for an add-in to answer a message; restarts at each response; 0: no limit")
    write_timeout: Seconds = setting(60.0, "without progress in sending; 0: no limit")
    drain_timeout: Seconds = setting(30.0, "for running operations to finish at a stop; then A-ABORT")
    no_delay: bool = setting(True, "TCP_NODELAY: small messages are not held back")
    quick_ack: bool = setting(
        True, "TCP_QUICKACK (Linux) on accepted connections: cures senders that hold small writes back"
    )
    receive_buffer: Buffer = setting(0, "SO_RCVBUF; 0: the system's")
    send_buffer: Buffer = setting(0, "SO_SNDBUF; 0: the system's")
    implementation_class_uid: Annotated[str, Predicate(is_strict_uid)] = setting(
        IMPLEMENTATION_CLASS_UID, "Implementation Class UID (PS3.7 D.3.3.2)"
    )
    implementation_version_name: Annotated[str, MaxLen(16), Predicate(str.isascii)] = setting(
        IMPLEMENTATION_VERSION_NAME, "Implementation Version Name, at most 16 characters (PS3.7 D.3.3.2)"
    )
