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
_NO_CONTEXT: Final = -1  # 0 may come from the wire


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

    __slots__ = ("_begun", "_command", "_context_id", "_contexts", "_finish", "_receiver", "_write")

    def __init__(self, receiver: MessageReceiver, contexts: Container[int]) -> None:
        self._receiver = receiver
        self._contexts = contexts
        self._context_id = _NO_CONTEXT  # of the message under way
        self._begun = bytearray()  # of a command set in several slices, what has come
        self._command = True  # whether the next fragment has to be of a command set
        self._write = DISCARD.write
        self._finish = DISCARD.finish

    @property
    def idle(self) -> bool:
        """Whether no message is half received."""
        return self._context_id == _NO_CONTEXT

    def pdv(self, context_id: int, control: int, data: memoryview, end: bool) -> None:
        """A slice of a PDV; raises RemoteProtocolError where the fragments make no message."""
        if self._command or control & COMMAND or context_id != self._context_id:
            self._of_command(context_id, control, data, end)
            return
        self._write(data)
        if end and control & LAST:
            finish = self._finish
            self._expect_command()
            finish()

    def _expect_command(self) -> None:
        self._context_id = _NO_CONTEXT
        self._command = True
        self._write = DISCARD.write
        self._finish = DISCARD.finish

    def _begin(self, context_id: int) -> None:
        if self._context_id != _NO_CONTEXT:
            raise RemoteProtocolError(
                f"a fragment on presentation context {context_id} amid a message on {self._context_id}",
                reason=_INVALID_PARAMETER,
            )
        if context_id not in self._contexts:
            raise RemoteProtocolError(f"presentation context {context_id} was not accepted", reason=_INVALID_PARAMETER)
        self._context_id = context_id

    def _of_command(self, context_id: int, control: int, data: memoryview, end: bool) -> None:
        if context_id != self._context_id:
            self._begin(context_id)
        if not self._command:
            raise RemoteProtocolError("a command set where a data set was expected", reason=_INVALID_PARAMETER)
        if not control & COMMAND:
            raise RemoteProtocolError("a data set without a command set", reason=_INVALID_PARAMETER)
        if len(self._begun) + len(data) > MAX_COMMAND:
            raise RemoteProtocolError(f"a command set of over {MAX_COMMAND} bytes", reason=_INVALID_PARAMETER)
        if not (end and control & LAST):
            self._begun += data
            return
        if self._begun:
            self._begun += data
            command = decode(self._begun)
            self._begun = bytearray()
        else:
            command = decode(data)
        if command.has_data_set:
            self._command = False
            sink = self._receiver.message(context_id, command)
            if sink is not None:
                self._write = sink.write
                self._finish = sink.finish
        else:
            self._context_id = _NO_CONTEXT
            self._receiver.message(context_id, command)
