"""Onlookers: add-ins that see every PDU and DIMSE message of an association, and may change what is sent.

An association that is watched has its ways in and out led past them, by attributes of its own that stand before the
methods of the class. One that is not watched knows nothing of it.
"""

from __future__ import annotations

from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure

from txdicom.dimse.command import NO_DATA_SET, Command, CommandField, encode
from txdicom.dimse.elements import (
    AFFECTED_SOP_CLASS_UID,
    AFFECTED_SOP_INSTANCE_UID,
    COMMAND_DATA_SET_TYPE,
    COMMAND_FIELD,
    ERROR_COMMENT,
    MESSAGE_ID,
    MESSAGE_ID_BEING_RESPONDED_TO,
    STATUS,
)
from txdicom.dimse.status import CANNOT_UNDERSTAND, PROCESSING_FAILURE, Status
from txdicom.errors import RAISED
from txdicom.interfaces import Change, MessageEvent, PDUEvent, Veto
from txdicom.interfaces.addin import name_of
from txdicom.net.exchange import MAY_SEND
from txdicom.net.scanner import Scanner
from txdicom.net.sending import MemorySource
from txdicom.pdu.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from txdicom.dimse.assembler import Sink
    from txdicom.net.association import Association
    from txdicom.net.sending import DataSource
    from txdicom.pdu.types import PDU

_log = Logger()

RECEIVED: Final = "received"
SENT: Final = "sent"
#: what ties a message to its operation
_FIXED: Final = frozenset({COMMAND_FIELD, MESSAGE_ID, MESSAGE_ID_BEING_RESPONDED_TO, COMMAND_DATA_SET_TYPE})
_OF_ANY_RESPONSE: Final = (
    AFFECTED_SOP_CLASS_UID,
    COMMAND_FIELD,
    MESSAGE_ID_BEING_RESPONDED_TO,
    AFFECTED_SOP_INSTANCE_UID,
)
#: the services whose failure is C000H where no other status says more (PS3.4 B.2.3, C.4)
_WITH_C000: Final = (
    CommandField.C_STORE_RSP,
    CommandField.C_FIND_RSP,
    CommandField.C_GET_RSP,
    CommandField.C_MOVE_RSP,
)


class DataSets(Protocol):
    """How a data set is shown and taken; this floor knows bytes only."""

    #: the most bytes of a data set that are kept to be shown
    limit: int

    def read(self, data: bytes, transfer_syntax: str, *, whole: bool) -> Any:
        """What `data`, or the beginning of a data set that is longer than `limit`, is shown as; None: not at all."""

    def write(self, dataset: Any, transfer_syntax: str) -> bytes:
        """The bytes of what `Change.dataset` is."""


class Observers:
    """Those who look on, in their order, and what was logged about them."""

    def __init__(self, receivers: Sequence[Any], senders: Sequence[Any], data_sets: DataSets) -> None:
        self.receivers = tuple(receivers)
        self.senders = tuple(senders)
        self.data_sets = data_sets
        self._logged: set[tuple[int, type]] = set()

    def watch(self, association: Association) -> None:
        """Shows them this association, in either role; its connection is there, and nothing has come or gone yet."""
        _Watch(self, association)

    def received(self, event: PDUEvent | MessageEvent) -> None:
        """Tells those who see what is received."""
        for observer in self.receivers:
            self.ask(observer, observer.message_received, event)

    def sent(self, event: PDUEvent | MessageEvent) -> None:
        """Tells those who see what is sent."""
        for observer in self.senders:
            self.ask(observer, observer.message_sent, event)

    def ask(self, observer: object, method: Callable[[Any], Any], event: object) -> Any:
        """What the method answers; None where it fails. Only a `Veto` gets out, and where there is nothing to veto
        the method is never asked for one."""
        try:
            answer = method(event)
            if type(answer) is CoroutineType:
                answer.close()
                raise TypeError(
                    f"{method.__name__} is a coroutine, which nobody waits for; it has to be a plain method"
                )
        except Veto:
            if method.__name__ == "before_send":
                raise
            self.failed(observer)
        except RAISED:
            self.failed(observer)
        else:
            return answer
        return None

    def failed(self, observer: object) -> None:
        """Logs the exception that is being handled, the first of its kind of this observer."""
        failure = Failure()
        key = (id(observer), type(failure.value))
        if key not in self._logged:
            self._logged.add(key)
            _log.failure(
                "observer {name} failed; no more {kind} of it is logged",
                failure,
                name=name_of(observer),
                kind=type(failure.value).__name__,
            )


class _Watch:
    """The ways in and out of one association."""

    def __init__(self, observers: Observers, association: Association) -> None:
        self._observers = observers
        self._association = association
        protocol = association.protocol
        limits = Limits(max_associate=association.config.max_associate_length)
        if observers.receivers:
            self._came = Scanner(limits, partial(self._pdu, observers.received, RECEIVED))
            self._data_received = protocol.dataReceived
            protocol.dataReceived = self._read  # type: ignore[method-assign]
            self._message = association.message
            association.message = self._message_in  # type: ignore[method-assign]
        if observers.senders:
            self._went = Scanner(limits, partial(self._pdu, observers.sent, SENT))
            protocol.watch_writing(self._went.feed)
            self._send_response, self._send_request = association.send_response, association.send_request
            association.send_response = self._response_out  # type: ignore[method-assign]
            association.send_request = self._request_out  # type: ignore[method-assign]

    # -- PDUs ----------------------------------------------------------------------------------------------------------

    def _pdu(self, tell: Callable[[PDUEvent], None], direction: str, kind: int, length: int, pdu: PDU | None) -> None:
        tell(PDUEvent(self._association, direction, kind, length, pdu))

    def _read(self, data: bytes) -> None:
        self._came.feed(data)
        self._data_received(data)

    # -- messages in ---------------------------------------------------------------------------------------------------

    def _message_in(self, context_id: int, command: Command) -> Sink | None:
        if command.has_data_set:
            return _Seen(self, context_id, command, self._message(context_id, command))
        self.came(context_id, command, None, b"")
        return self._message(context_id, command)

    @property
    def limit(self) -> int:
        """Bytes of a data set that are kept."""
        return self._observers.data_sets.limit

    def came(self, context_id: int, command: Command, size: int | None, data: bytes) -> None:
        """A message is complete; `data` is the beginning of its data set."""
        self._observers.received(self._event(RECEIVED, context_id, command, size, data))

    def _event(
        self, direction: str, context_id: int, command: Command, size: int | None, data: bytes | None
    ) -> MessageEvent:
        context = self._association.contexts[context_id]
        read = self._observers.data_sets.read

        def dataset() -> Any:
            if size is None or data is None:
                return None
            return read(data, context.transfer_syntax, whole=len(data) == size)

        return MessageEvent(self._association, direction, context, command, size, dataset)

    # -- messages out --------------------------------------------------------------------------------------------------

    def _response_out(self, context_id: int, command: Command, data: bytes = b"") -> None:
        if self._association.protocol.upper_layer.state not in MAY_SEND:
            return
        try:
            command, changed = self._before(context_id, command, data or None)
        except Veto:
            if not command.is_response or Status(command.status or 0).is_pending:
                return
            command, changed = _failure(command), None
        assert changed is None or isinstance(changed, bytes)
        self._send_response(context_id, command, changed or b"")
        self._observers.sent(self._outgoing(context_id, command, changed))

    def _request_out(
        self, context_id: int, command: Command, data: bytes | DataSource | None, sent: Callable[[Any], None]
    ) -> None:
        source = data if type(data) is MemorySource else None  # in memory, and sent as the peer takes it
        try:
            command, data = self._before(context_id, command, source.data if source else data)
        except Veto:
            if not command.is_response:
                raise
            sent(None)  # a pending one, left out
            return
        event = self._outgoing(context_id, command, data)
        if source and isinstance(data, bytes):
            data = MemorySource(data)

        def was_sent(error: Exception | None) -> None:
            if error is None:
                self._observers.sent(event)
            sent(error)

        self._send_request(context_id, command, data, was_sent)

    def _outgoing(self, context_id: int, command: Command, data: bytes | DataSource | None) -> MessageEvent:
        if data is None:
            return self._event(SENT, context_id, command, None, None)
        if isinstance(data, bytes):
            return self._event(SENT, context_id, command, len(data), data)
        return self._event(SENT, context_id, command, data.size, None)

    def _before(
        self, context_id: int, command: Command, data: bytes | DataSource | None
    ) -> tuple[Command, bytes | DataSource | None]:
        """The message as the observers leave it."""
        observers = self._observers
        for observer in observers.senders:
            change = observers.ask(observer, observer.before_send, self._outgoing(context_id, command, data))
            if change is None:
                continue
            try:
                command, data = self._changed(context_id, command, data, change)
            except RAISED:  # the message goes out without the change
                observers.failed(observer)
        return command, data

    def _changed(
        self, context_id: int, command: Command, data: bytes | DataSource | None, change: Any
    ) -> tuple[Command, bytes | DataSource | None]:
        if not isinstance(change, Change):
            raise TypeError(f"before_send gives a Change or None, not {type(change).__name__}")
        if _FIXED & change.elements.keys():
            raise ValueError("the Command Field, the Message IDs and the Command Data Set Type cannot be changed")
        values = {**command.values, **change.elements}
        changed = Command({number: value for number, value in values.items() if value is not None})
        encode(changed)
        if command.is_response and _pending(command) is not _pending(changed):
            raise ValueError("a final response cannot be made a pending one, nor the other way round")
        if change.dataset is None:
            return changed, data
        if not isinstance(data, bytes):
            raise ValueError("there is no data set in memory that could be replaced")
        new = change.dataset
        if not isinstance(new, bytes):
            new = self._observers.data_sets.write(new, self._association.contexts[context_id].transfer_syntax)
        if not new or len(new) % 2:
            raise ValueError("a data set has an even number of bytes, and more than none")
        return changed, new


class _Seen:
    """Takes a data set past the observers: its size, and as much of it as is kept."""

    __slots__ = ("_command", "_context_id", "_kept", "_limit", "_sink", "_size", "_watch")

    def __init__(self, watch: _Watch, context_id: int, command: Command, sink: Sink | None) -> None:
        self._watch = watch
        self._context_id = context_id
        self._command = command
        self._sink = sink
        self._size = 0
        self._limit = watch.limit
        self._kept = bytearray()

    def write(self, data: memoryview) -> None:
        self._size += len(data)
        room = self._limit - len(self._kept)
        if room:
            self._kept += data[:room]
        if self._sink is not None:
            self._sink.write(data)

    def finish(self) -> None:
        self._watch.came(self._context_id, self._command, self._size, bytes(self._kept))
        if self._sink is not None:
            self._sink.finish()


def _pending(command: Command) -> bool:
    return Status(command.status or 0).is_pending


def _failure(command: Command) -> Command:
    """What a final response becomes by a veto."""
    status = CANNOT_UNDERSTAND if command.command_field in _WITH_C000 else PROCESSING_FAILURE
    kept = {number: value for number, value in command.values.items() if number in _OF_ANY_RESPONSE}
    veto = {COMMAND_DATA_SET_TYPE: NO_DATA_SET, STATUS: status.code, ERROR_COMMENT: "vetoed by an add-in"}
    return Command({**kept, **veto})
