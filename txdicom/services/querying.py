"""What C-FIND, C-MOVE and C-GET have in common as the SCP: an Identifier, a conversation, its cancellation."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from txdicom.dimse.status import CANCEL, UNABLE_TO_PROCESS, Status
from txdicom.errors import StatusError
from txdicom.interfaces import IQueryRequest
from txdicom.services.in_memory import InMemoryRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom import Dataset
    from twisted.python.failure import Failure

    from txdicom.net.association import Association

#: seconds that one operation may work before others get their turn at the reactor
_TURN: Final = 0.005
#: seconds until it goes on then: the next round of the reactor
_SOON: Final = 1e-6


@implementer(IQueryRequest)
class QueryRequest(InMemoryRequest, ABC):
    """A request that is answered in a conversation: a subclass's `converse`, which has the final status as its result.

    A C-CANCEL, the end of the association and a stop are answered at once (PS3.4 C.4.1.3.1), and end the conversation
    where it waits.
    """

    __slots__ = ("_begun", "_character_set", "_character_set_of", "_turn")

    unable: ClassVar[Status] = UNABLE_TO_PROCESS
    cancellable: ClassVar[bool] = True
    data_set: ClassVar[str] = "an Identifier"

    def __init__(self, *args: Any, character_set_of: Callable[[Association], Any] | None = None) -> None:
        super().__init__(*args)
        self._character_set_of = character_set_of
        self._character_set = ""
        if self._handler is not None:
            self._handler = type(self).converse  # which asks the add-in
        self._begun = False
        self._turn = 0.0  # when the present turn at the reactor began

    @property
    def identifier(self) -> Dataset:
        """See `IQueryRequest`."""
        if self._dataset is None:
            from txdicom.services.encoding import read_dataset

            try:
                self._dataset = read_dataset(bytes(self._data), self.transfer_syntax, self._character_set)
            except Exception as error:
                raise StatusError(self.unable.with_comment("the Identifier cannot be read")) from error
        return cast("Dataset", self._dataset)

    @property
    def dataset(self) -> Any:
        """See `IRequest`."""
        return self.identifier

    @abstractmethod
    async def converse(self) -> Status:
        """Has the add-in answer and sends what it gives; the final status."""

    # -- Performance ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """It is this request's turn, if it is still wanted."""
        self._begun = True
        self._turn = time.monotonic()
        if self.cancelled:
            self.answer(CANCEL)
        else:
            super().start()

    def cancel(self, why: str) -> None:
        """Answers, then ends the conversation; one that has not begun does not begin."""
        if self._begun and self.ends_at_once:
            self.answer(CANCEL)
        super().cancel(why)

    @property
    def ends_at_once(self) -> bool:
        """Whether a cancellation is answered before the conversation has ended."""
        return True

    # -- for the conversation ------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """What has to be known before the add-in is asked: the character set of an Identifier that says none."""
        if self._character_set_of is not None:
            self._character_set = await resolved(self._character_set_of(self.association))
            self.restart_timeout()

    async def asked(self) -> Any:
        """What the add-in's method gives, waited for."""
        assert self._addin is not None
        return await resolved(self._addin(self))

    def restart_timeout(self) -> None:
        """The add-in has given something: `addin_timeout` runs anew from when it is waited for again."""
        self._watched = False
        self.association.protocol.deadlines.clear(self)

    async def outside(self, deferred: Deferred[Any]) -> Any:
        """Waits for something that is not the add-in's: its time does not count."""
        self.association.protocol.deadlines.clear(self)
        self._watched = True
        try:
            return await deferred
        finally:
            self._watched = False
            self._turn = time.monotonic()

    async def give_way(self) -> None:
        """Lets others have the reactor, where this operation has had it for long."""
        if time.monotonic() - self._turn < _TURN:
            return
        turn = wakened()
        deadlines = self.association.protocol.deadlines
        deadlines.set(turn, _SOON, lambda: turn.callback(None))
        await self.outside(turn)
        deadlines.clear(turn)

    def _failed(self, failure: Failure) -> None:
        if self.cancelled and failure.check(CancelledError):
            self.answer(CANCEL)
        else:
            super()._failed(failure)


def wakened() -> Deferred[None]:
    """Something to wait for that a cancellation does not break off, but ends: what follows has to look at it."""
    return Deferred(lambda waiting: waiting.callback(None))


async def resolved(result: Any) -> Any:
    """The value of a plain value, a coroutine or a Deferred."""
    if type(result) is CoroutineType or isinstance(result, Deferred):
        return await result
    return result
