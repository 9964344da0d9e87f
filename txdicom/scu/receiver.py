"""What the peer sends on an association that we opened: the C-STORE sub-operations of a C-GET."""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING, Any, TypeAlias

from txdicom.dimse import messages
from txdicom.dimse.status import UNRECOGNIZED_OPERATION
from txdicom.errors import RemoteProtocolError
from txdicom.services.request import Request
from txdicom.services.spool import Spool
from txdicom.services.storage import StoreRequest
from txdicom.services.writer import WriterThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from txdicom.dimse.command import Command
    from txdicom.net.association import Association
    from txdicom.services.dispatch import Dispatcher
    from txdicom.ul.negotiation import AcceptedContext

#: what `on_c_store` is to an add-in
Handler: TypeAlias = "Callable[[Any], Any]"


class Receiver:
    """Hands each received instance to the handler of its association; a `txdicom.net.roles.Performer`.

    Without a handler it needs nothing. With the first one it starts a thread, which writes large instances into a
    temporary folder; `stop` ends both.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._dispatchers: dict[Association, Dispatcher] = {}
        self._writer: WriterThread | None = None
        self._spool: Spool | None = None
        self._folder = ""

    def receives(self, association: Association) -> bool:
        """Whether a C-GET is under way on `association`."""
        return association in self._dispatchers

    def begin(self, association: Association, handler: Handler) -> Callable[[], None]:
        """From now on `handler` gets what comes on `association`, until what is returned is called."""
        from txdicom.services.dispatch import Dispatcher

        if self._spool is None:
            self._writer = WriterThread(self._reactor)
            self._writer.start()
            self._spool = Spool(self._writer, self._temporary)
        self._dispatchers[association] = Dispatcher([_taker(handler)], self._spool)

        def end() -> None:
            self._dispatchers.pop(association, None)

        return end

    def stop(self) -> None:
        """Ends the thread and removes the folder, once the associations are gone."""
        if self._writer is not None:
            self._writer.stop()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._writer, self._spool, self._folder = None, None, ""

    def perform(self, association: Association, context: AcceptedContext, command: Command) -> Request:
        """See `txdicom.net.roles.Performer`."""
        dispatcher = self._dispatchers.get(association)
        if dispatcher is not None and context.scp:
            return dispatcher.perform(association, context, command)
        if messages.check(command) and messages.fault(command) is None:
            raise RemoteProtocolError(f"a {command.name} that cannot be answered", source=0)
        return _Refused(association, context, command, None, UNRECOGNIZED_OPERATION)

    def _temporary(self) -> str:
        self._folder = tempfile.mkdtemp(prefix="txdicom-")
        return self._folder


class _Refused(Request):
    """A request that nobody here performs."""

    unable = UNRECOGNIZED_OPERATION


def _taker(handler: Handler) -> object:
    """An add-in that answers every C-STORE by `handler`."""
    from zope.interface import implementer

    from txdicom.interfaces import ANY_STORAGE, IProcessCStore, presentation_context

    @implementer(IProcessCStore)
    class Taker:
        @presentation_context(ANY_STORAGE)
        def on_c_store(self, request: StoreRequest) -> Any:
            return handler(request)

    return Taker()
