"""PDVs to messages (PS3.7 §6.3.1, PS3.8 Annex E): the command set whole, the data set as it comes.

A message is a command set in one or more fragments, then, where the command says so, a data set in one or more
fragments on the same presentation context. The fragments of two messages never mix (PS3.8 Annex E.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from txdicom.dimse.command import decode
from txdicom.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Container

    from txdicom.dimse.command import Command

#: bits of the message control header (PS3.8 Annex E.2)
COMMAND: Final = 1
LAST: Final = 2

#: bytes of a command set that are kept; a real one has a few hundred
MAX_COMMAND: Final = 65_536

_INVALID_PARAMETER: Final = 6


class Sink(Protocol):
    """Where a data set goes, slice by slice; slices are never joined on the way."""

    def write(self, data: memoryview) -> None:
        """The next bytes of the data set. They stay valid for as long as the slice is kept."""

    def finish(self) -> None:
        """The data set is complete."""


class MessageReceiver(Protocol):
    """What an assembler calls."""

    def message(self, context_id: int, command: Command) -> Sink | None:
        """A command set has come. With a data set to follow, the answer is its sink; else None."""


class _Discard:
    """Takes the data set of a message that nobody wants."""

    def write(self, data: memoryview) -> None:
        pass

    def finish(self) -> None:
        pass


DISCARD: Final = _Discard()


class Assembler:
    """Puts the messages of one association together; `pdv` has the form of the upper layer's P-DATA indication."""

    __slots__ = ("_bytes", "_command", "_context_id", "_contexts", "_parts", "_receiver", "_sink")

    def __init__(self, receiver: MessageReceiver, contexts: Container[int]) -> None:
        self._receiver = receiver
        self._contexts = contexts
        self._context_id = 0  # of the message under way; 0: none
        self._parts: list[bytes] = []  # of the command set
        self._bytes = 0
        self._command = True  # whether the next fragment has to be of a command set
        self._sink: Sink = DISCARD

    @property
    def idle(self) -> bool:
        """Whether no message is half received."""
        return not self._context_id

    def pdv(self, context_id: int, control: int, data: memoryview, end: bool) -> None:
        """A slice of a PDV; raises RemoteProtocolError where the fragments make no message."""
        if context_id != self._context_id:
            self._begin(context_id)
        if self._command:
            self._of_command(control, data, end)
        elif control & COMMAND:
            raise RemoteProtocolError("a command set where a data set was expected", reason=_INVALID_PARAMETER)
        else:
            sink = self._sink
            sink.write(data)
            if end and control & LAST:
                self._context_id = 0
                self._command = True
                self._sink = DISCARD
                sink.finish()

    def _begin(self, context_id: int) -> None:
        if self._context_id:
            raise RemoteProtocolError(
                f"a fragment on presentation context {context_id} amid a message on {self._context_id}",
                reason=_INVALID_PARAMETER,
            )
        if context_id not in self._contexts:
            raise RemoteProtocolError(f"presentation context {context_id} was not accepted", reason=_INVALID_PARAMETER)
        self._context_id = context_id

    def _of_command(self, control: int, data: memoryview, end: bool) -> None:
        if not control & COMMAND:
            raise RemoteProtocolError("a data set without a command set", reason=_INVALID_PARAMETER)
        self._bytes += len(data)
        if self._bytes > MAX_COMMAND:
            raise RemoteProtocolError(f"a command set of over {MAX_COMMAND} bytes", reason=_INVALID_PARAMETER)
        self._parts.append(bytes(data))
        if not (end and control & LAST):
            return
        parts, self._parts, self._bytes = self._parts, [], 0
        command = decode(parts[0] if len(parts) == 1 else b"".join(parts))
        context_id = self._context_id
        if command.has_data_set:
            self._command = False
            self._sink = self._receiver.message(context_id, command) or DISCARD
        else:
            self._context_id = 0
            self._receiver.message(context_id, command)
