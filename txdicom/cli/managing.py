"""Runs a command over the servers of a base: what goes wrong is said in sentences, and the exit status shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from txdicom.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from twisted.internet.defer import Deferred

    from txdicom.server.managing.manager import ServiceAdministrator


def with_files(base: str | None, work: Callable[[ServiceAdministrator], int]) -> int:
    """What `work` returns; it waits for nothing."""
    from txdicom.errors import DicomError
    from txdicom.server.managing.manager import ServiceAdministrator

    try:
        return work(ServiceAdministrator(base))
    except DicomError as error:
        return Output().fail(error)


def with_servers(
    base: str | None, work: Callable[[Any, ServiceAdministrator], Coroutine[Deferred[Any], Any, int]]
) -> int:
    """What `work(reactor, administrator)` returns, with the reactor running."""
    from txdicom.cli import running
    from txdicom.errors import DicomError
    from txdicom.server.managing.manager import ServiceAdministrator

    async def guarded(reactor: Any) -> int:
        try:
            return await work(reactor, ServiceAdministrator(base))
        except (DicomError, TimeoutError) as error:
            return Output().fail(error)

    return running.run(guarded)
