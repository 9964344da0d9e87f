"""C-MOVE over real connections: to callers that nobody knows, seen by observers, and where TLS cannot be had."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from zope.interface import implementer

from tests.scu.provider import CT, EXPLICIT, data_set, providing, success
from tests.services.serving import Addin
from txdicom.addins.verification import VerificationAddin
from txdicom.errors import StatusError
from txdicom.interfaces import (
    AEEntry,
    IBaseServiceProvider,
    IDicomAddin,
    IDicomRequest,
    IDicomSecurity,
    INotifyReceiveMessage,
    INotifySendMessage,
    InstanceRef,
    IProcessCMove,
    PDUEvent,
    Retrieval,
    presentation_context,
)
from txdicom.scp import ApplicationEntity, listen
from txdicom.scu import Peer, connect
from txdicom.uids import STUDY_ROOT_MOVE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from txdicom.services.query_retrieve import Retrieved


@implementer(IDicomAddin, IProcessCMove)
class Mover(Addin):
    """Has two instances."""

    name = "mover"

    @presentation_context(STUDY_ROOT_MOVE)
    def on_c_move(self, request: Any) -> Retrieval:
        return Retrieval(
            [InstanceRef(CT, uid, EXPLICIT, lambda uid=uid: data_set(CT, uid)) for uid in ("1.2.3.1", "1.2.3.2")]
        )


@implementer(IDicomAddin, INotifyReceiveMessage, INotifySendMessage)
class Onlooker(Addin):
    """Keeps what it is shown, in words."""

    name = "onlooker"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def message_received(self, event: Any) -> None:
        self._keep(event)

    def before_send(self, event: Any) -> None:
        pass

    def message_sent(self, event: Any) -> None:
        self._keep(event)

    def _keep(self, event: Any) -> None:
        if event.association.requestor:
            what = f"PDU {event.type}" if isinstance(event, PDUEvent) else event.command.name
            self.seen.append(f"{event.direction} {what}")


@implementer(IDicomAddin, IBaseServiceProvider, IDicomSecurity)
class NoSecurity(Addin):
    """Provides TLS that it cannot do."""

    name = "no-security"

    def register(self, services: Any) -> None:
        services.provide(IDicomSecurity, self)

    def server_options(self) -> Any:
        raise RuntimeError("a mistake")

    def client_options(self, host: str, verify_host_name: bool | None = None) -> Any:
        raise RuntimeError("a mistake")

    def reload(self) -> None:
        pass


@asynccontextmanager
async def server(*addins: Any, **settings: Any) -> AsyncGenerator[tuple[ApplicationEntity, Peer]]:
    entity = await listen(
        reactor,  # type: ignore[arg-type]
        "tcp:0:interface=127.0.0.1",
        ae_title="OURS",
        addins=[VerificationAddin(), Mover(), *addins],
        **settings,
    )
    try:
        yield entity, Peer("OURS", "127.0.0.1", entity.ports[0].getHost().port)
    finally:
        await entity.stop()


async def moved(us: Peer, destination: str, calling_ae: str = "ME") -> Retrieved:
    """The end of a C-MOVE."""
    async with connect(reactor, us, calling_ae=calling_ae) as association:
        progress = association.move({"StudyInstanceUID": "1.2"}, destination, level="STUDY")
        return [one async for one in progress][-1]


async def test_an_unknown_caller_is_its_own_destination() -> None:
    async with providing(success) as there:
        async with server(allow_anonymous_move=True, anonymous_move_port=there.peer.port) as (_, us):
            end = await moved(us, "ME")
            assert (end.status.code, end.completed, end.failed) == (0, 2, 0)
            with pytest.raises(StatusError, match="0xA801"):
                await moved(us, "OTHER")
        [request] = there.requests
        assert (request.calling_ae, request.called_ae) == ("OURS", "ME")
        assert [one.command.move_originator_ae for one in there.operations] == ["ME", "ME"]


async def test_without_the_setting_it_is_unknown() -> None:
    async with providing(success) as there, server(anonymous_move_port=there.peer.port) as (_, us):
        with pytest.raises(StatusError, match="0xA801"):
            await moved(us, "ME")
        assert there.requests == []


async def test_it_is_called_at_its_own_address_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["txdicom.scu.connect"]  # the package has a function of that name
    ordinary = module.endpoint
    async with providing(success) as there:
        async with server(allow_anonymous_move=True, anonymous_move_port=there.peer.port) as (_, us):

            def endpoint(at: Any, host: str, port: int) -> Any:
                if port == us.port:
                    return TCP4ClientEndpoint(at, host, port, bindAddress=("127.0.0.2", 0))
                assert (host, port) == ("127.0.0.2", there.peer.port)
                return ordinary(at, host, port)

            monkeypatch.setattr(module, "endpoint", endpoint)
            with pytest.raises(StatusError, match="0xA702"):  # nobody listens there
                await moved(us, "ME")
        assert there.requests == []


async def test_a_known_caller_is_called_where_the_table_says() -> None:
    async with providing(success) as there:
        known = AEEntry(ae_title="ME", host="127.0.0.1", port=there.peer.port)
        async with server(allow_anonymous_move=True, anonymous_move_port=1, known_callers=[known]) as (_, us):
            assert (await moved(us, "ME")).completed == 2


async def test_sub_operations_and_requests_are_seen_by_observers() -> None:
    onlooker = Onlooker()
    async with providing(success) as there:
        entry = AEEntry(ae_title="THERE", host="127.0.0.1", port=there.peer.port)
        async with server(onlooker, known_callers=[entry], max_operations=1) as (entity, us):
            await moved(us, "THERE")
            messages = [one for one in onlooker.seen if "PDU" not in one]
            assert messages == ["sent C-STORE-RQ", "received C-STORE-RSP"] * 2
            assert onlooker.seen[:2] == ["sent PDU 1", "received PDU 2"]
            onlooker.seen.clear()
            await entity.service(IDicomRequest).c_echo("THERE")
            assert [one for one in onlooker.seen if "PDU" not in one] == ["sent C-ECHO-RQ", "received C-ECHO-RSP"]


async def test_without_tls_that_is_needed_the_sub_operations_have_failed() -> None:
    async with providing(success) as there:
        entry = AEEntry(ae_title="THERE", host="127.0.0.1", secure_port=there.peer.port, port_usage="secure")
        async with server(NoSecurity(), known_callers=[entry]) as (_, us):
            with pytest.raises(StatusError, match="0xA702"):
                await moved(us, "THERE")
        assert there.requests == []
