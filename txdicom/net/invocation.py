"""Requests that this side sends, and what becomes of them: one response, or many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred

from txdicom.dimse import requests
from txdicom.dimse.command import CommandField
from txdicom.dimse.status import Status
from txdicom.errors import DicomError, DimseTimeout, RemoteProtocolError
from txdicom.net.sending import NothingSent
from txdicom.net.waiting import Waiters

if TYPE_CHECKING:
    from collections.abc import Callable

    from txdicom.dimse.assembler import Sink
    from txdicom.dimse.command import Command
    from txdicom.net.association import Association
    from txdicom.net.sending import DataSource

#: bytes of a response's data set (an identifier, an attribute list); a longer one ends the association
MAX_RESPONSE: Final = 16 * 1024 * 1024
#: responses that may wait for their reader before reading from the peer pauses
_UNREAD: Final = 256
#: the services that know C-CANCEL (PS3.7 §9.3.2.3, §9.3.3.3, §9.3.4.3)
_WITH_CANCEL: Final = (CommandField.C_FIND_RQ, CommandField.C_GET_RQ, CommandField.C_MOVE_RQ)


class _Collector:
    """Collects the data set of a response."""

    __slots__ = ("_command", "_data", "_invocation")

    def __init__(self, invocation: Invocation, command: Command) -> None:
        self._invocation = invocation
        self._command = command
        self._data = bytearray()  # a list of slices would let a peer have 200 bytes kept for each that it sends

    def write(self, data: memoryview) -> None:
        self._data += data
        if len(self._data) > MAX_RESPONSE:
            raise RemoteProtocolError(f"a response with a data set of over {MAX_RESPONSE} bytes", reason=6)

    def finish(self) -> None:
        self._invocation.complete(self._command, bytes(self._data))


class Invocation(ABC):
    """One request to the peer and its responses; a subclass says what to do with these.

    `build` makes the command set for the Message ID it is given; `data` is the encoded data set, a source of it, or
    None. `timeout` is how long the peer may take for a response and between two of them; it runs from when the
    request has been sent, sending has the write time-out.
    """

    def __init__(
        self,
        association: Association,
        context_id: int,
        build: Callable[[int], Command],
        data: bytes | DataSource | None = None,
        timeout: float | None = None,
    ) -> None:
        self.association = association
        self.context_id = context_id
        self.message_id = 0
        self.ended = False
        self._build = build
        self._data = data
        self._sent = False
        self._can_be_cancelled = False
        self._timeout = association.config.dimse_timeout if timeout is None else timeout

    def start(self) -> None:
        """Sends the request, as soon as the window allows."""
        self.association.invoke(self)

    def begin(self, message_id: int) -> None:
        """It is its turn (called by the association)."""
        self.message_id = message_id
        self._arm()
        data, self._data = self._data, None
        try:
            command = self._build(message_id)
            self._can_be_cancelled = command.command_field in _WITH_CANCEL
            self.association.send_request(self.context_id, command, data, self._was_sent)
        except Exception as error:  # noqa: BLE001 (a `build` may fail in any way: the request ends here)
            self._close(data)
            self._end()
            self.association.answered(self)
            self.on_failure(error)

    def response(self, command: Command) -> Sink | None:
        """A response has come (called by the association)."""
        self._arm()
        if command.has_data_set:
            return _Collector(self, command)
        self.complete(command, b"")
        return None

    def complete(self, command: Command, data: bytes) -> None:
        """A response and its data set are complete."""
        if self.ended:
            return
        if not Status(command.status or 0).is_pending:
            self._end()
            self.association.answered(self)
        self.on_response(command, data)

    def failed(self, error: Exception) -> None:
        """There will be no response."""
        if not self.ended:
            data, self._data = self._data, None
            self._close(data)
            self._end()
            self.on_failure(error)

    def cancel(self) -> None:
        """Asks the peer to stop (C-CANCEL, where the service has it), or withdraws a request that was not sent yet."""
        if self.ended:
            return
        if not self.message_id:
            self.association.answered(self)
            self.failed(CancelledError())
        elif self._can_be_cancelled:
            self.association.send_cancel(self.context_id, requests.c_cancel_rq(self.message_id))

    @abstractmethod
    def on_response(self, command: Command, data: bytes) -> None:
        """What a subclass does with a response, pending or final."""

    @abstractmethod
    def on_failure(self, error: Exception) -> None:
        """What a subclass does when there will be no final response."""

    def _arm(self) -> None:
        if self._timeout and not self.ended:
            self.association.protocol.deadlines.set(self, self._timeout, self._expired)

    def _end(self) -> None:
        self.ended = True
        self.association.protocol.deadlines.clear(self)

    def _was_sent(self, error: Exception | None) -> None:
        self._sent = True
        if error is None:
            self._arm()
        elif isinstance(error, ConnectionError):
            pass  # the end of the association tells of it
        elif isinstance(error, NothingSent):
            self.failed(DicomError(f"the data set could not be read: {error}"))
            self.association.answered(self)
        else:  # part of a message is out: nothing sensible can follow it
            self.association.abort(f"the data set could not be read to its end: {error}")  # this request fails with it

    def _expired(self) -> None:
        if not self._sent:
            self._arm()  # the write time-out watches over sending
            return
        error = DimseTimeout(f"no response from {self.association.called_ae or 'the peer'} within {self._timeout:g} s")
        self.failed(error)
        self.association.abort(str(error))

    def _close(self, data: bytes | DataSource | None) -> None:
        if data is not None and not isinstance(data, bytes):
            data.close()


class SingleResponse(Invocation):
    """A request with one response: `result` fires with the response's command set and data set."""

    def __init__(
        self,
        association: Association,
        context_id: int,
        build: Callable[[int], Command],
        data: bytes | DataSource | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(association, context_id, build, data, timeout)
        self.result: Deferred[tuple[Command, bytes]] = Deferred(self._given_up)
        self.start()

    def _given_up(self, _: Deferred[tuple[Command, bytes]]) -> None:
        """The caller does not wait any more; a service with one response cannot be cancelled (PS3.7 §9.3)."""
        if not self.message_id:
            self.cancel()

    def on_response(self, command: Command, data: bytes) -> None:
        """Pending responses make no sense here and are passed over."""
        if self.ended and not self.result.called:
            self.result.callback((command, data))

    def on_failure(self, error: Exception) -> None:
        """The association ended, or the time was over."""
        if not self.result.called:
            self.result.errback(error)


class Responses(Invocation):
    """A request with many responses, as an asynchronous iterator of (command set, data set), the final one included.

    Leaving the loop early calls for `aclose`: it sends C-CANCEL and waits for the final response. (An asynchronous
    generator would lose that clean-up under Twisted.)
    """

    def __init__(
        self,
        association: Association,
        context_id: int,
        build: Callable[[int], Command],
        data: bytes | DataSource | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(association, context_id, build, data, timeout)
        self._unread: deque[tuple[Command, bytes]] = deque()
        self._error: Exception | None = None
        self._waiters = Waiters()
        self._closing = False
        self._paused = False
        self.start()

    def __aiter__(self) -> Responses:
        return self

    async def __anext__(self) -> tuple[Command, bytes]:
        while not self._unread:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self.ended or self._closing:
                raise StopAsyncIteration
            await self._waiters.wait()
        item = self._unread.popleft()
        if self._paused and len(self._unread) < _UNREAD // 2:
            self._resume()
        return item

    async def aclose(self) -> None:
        """Cancels the operation if it goes on, and waits for its end."""
        self.abandon()
        while not self.ended:
            await self._waiters.wait()

    def abandon(self) -> None:
        """Cancels the operation if it goes on; what still comes is dropped."""
        if not self._closing:
            self._closing = True
            self._unread.clear()
            self.cancel()
            self._resume()
            self._waiters.wake()

    def on_response(self, command: Command, data: bytes) -> None:
        """Kept until it is asked for."""
        if not self._closing:
            self._unread.append((command, data))
            if len(self._unread) >= _UNREAD and not self.ended:
                self._paused = True
                self.association.protocol.pause_reading("responses")
                self.association.protocol.deadlines.clear(self)  # the wait is for the reader now, not for the peer
        self._waiters.wake()

    def on_failure(self, error: Exception) -> None:
        """The association ended, or the time was over: raised after what had come before."""
        if not self._closing and not isinstance(error, CancelledError):
            self._error = error
        self._waiters.wake()

    def _resume(self) -> None:
        self._paused = False
        self._arm()
        self.association.protocol.resume_reading("responses")
