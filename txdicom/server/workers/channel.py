"""How a connection goes from the parent to a worker: its descriptor, with its number and whether it is for TLS.

One message of a SOCK_SEQPACKET socket is one connection. The parent closes its own descriptor plainly afterwards: a
shutdown(2) would end the connection for the worker too.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_MESSAGE: Final = struct.Struct("!Q?")
_DESCRIPTOR: Final = struct.Struct("i")
_ROOM: Final = socket.CMSG_LEN(_DESCRIPTOR.size)
#: connections taken at one go, so that those there are have their turn
_AT_ONCE: Final = 64
#: the worker does not read at the moment; ETOOMANYREFS: it has not read so many that the system takes no more
_FULL: Final = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS)


class Handed(NamedTuple):
    """A connection that has come; `connection` is None where this process has no descriptor left for it."""

    number: int
    secure: bool
    connection: socket.socket | None


class ChannelFull(Exception):
    """The worker has taken nothing for a while."""


class ChannelClosed(Exception):
    """There is nobody at the other end."""


def channel() -> tuple[socket.socket, socket.socket]:
    """The parent's end, and the worker's."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


def hand_over(to: socket.socket, number: int, secure: bool, connection: socket.socket) -> None:
    """Sends a connection, which stays open here too. ChannelFull, ChannelClosed."""
    try:
        socket.send_fds(to, [_MESSAGE.pack(number, secure)], [connection.fileno()])
    except OSError as error:
        if error.errno in _FULL:
            raise ChannelFull from None
        raise ChannelClosed from None


def handed(at: socket.socket) -> Iterator[Handed]:
    """The connections that are there, a bounded number of them. ChannelClosed behind the last one there will be."""
    for _ in range(_AT_ONCE):
        try:
            # socket.recv_fds of Python 3.11 does not pass its flags on
            data, ancillary, _flags, _address = at.recvmsg(_MESSAGE.size, _ROOM, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            raise ChannelClosed from None
        if not data:
            raise ChannelClosed
        number, secure = _MESSAGE.unpack(data)
        connection = None
        for level, kind, descriptor in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS) and len(descriptor) == _DESCRIPTOR.size:
                connection = socket.socket(fileno=_DESCRIPTOR.unpack(descriptor)[0])
        yield Handed(number, secure, connection)
