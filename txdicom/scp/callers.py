"""Whether a caller is the one it says it is: its address beside what the AE table says of it.

An AE title is no secret, and whoever knows one can give it; the address of a TCP connection is harder to forge.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IResolutionReceiver
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from txdicom.interfaces.ae_titles import network_of, plain_address
from txdicom.net.waiting import cancel_after

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from twisted.internet.interfaces import IAddress, IHostResolution

    from txdicom.interfaces import AEEntry

#: seconds for a look-up, the wait for its turn included
TIMEOUT: Final = 5.0
#: seconds for which an answer holds, and for which none does
KEEP, KEEP_FAILURE = 60.0, 5.0
#: look-ups at once: they share the reactor's thread pool with all that blocks
AT_ONCE: Final = 4
#: answers that are kept
_MOST: Final = 10_000


class _Answer(NamedTuple):
    names: frozenset[str]
    until: float


class Callers:
    """Compares callers with their entries. Names are only looked up for entries whose rule needs it.

    A caller cannot choose what is looked up: the names are those of the table, and an address is only asked for its
    name once it is one of the host's.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._turns = DeferredSemaphore(AT_ONCE)
        self._answers: dict[tuple[str, str], _Answer] = {}
        self._asked: dict[tuple[str, str], list[Deferred[frozenset[str]]]] = {}

    def why_not(self, entry: AEEntry, peer: IAddress | None) -> str | Deferred[str]:
        """Why the caller at `peer` is not who the entry is about, in words; "" where it is. At once where it can be."""
        if entry.verify == "none":
            return ""
        address = plain_address(str(getattr(peer, "host", "")))
        if address is None:
            return "a local socket has no address to compare"
        if entry.verify == "mask":
            return "" if _is_in(address, entry.mask) else f"the address is not in {entry.mask}"
        literal = plain_address(entry.host)
        if literal is not None:
            return "" if literal == address else f"the address is not {entry.host}"
        return Deferred.fromCoroutine(self._look_up(entry, address))

    async def _look_up(self, entry: AEEntry, address: IPv4Address | IPv6Address) -> str:
        try:
            if str(address) not in await self._ask("addresses", entry.host):
                return f"{entry.host} has other addresses, or none"
            if entry.verify == "host-name":
                name = _comparable(entry.host)
                if name not in await self._ask("names", str(address)):
                    return f"the address has another name than {entry.host}, or none"
        except CancelledError:
            return f"no answer to the look-up of {entry.host} within {TIMEOUT:g} s"
        return ""

    def _ask(self, kind: str, of: str) -> Deferred[frozenset[str]]:
        """The addresses of a name, or the names of an address; CancelledError after `TIMEOUT`."""
        key, now = (kind, of), self._reactor.seconds()
        done: Deferred[frozenset[str]] = Deferred()
        answer = self._answers.get(key)
        if answer is not None and answer.until > now:
            done.callback(answer.names)
            return done
        late = self._reactor.callLater(TIMEOUT, done.cancel)
        cancel_after(done, late)
        if key in self._asked:
            self._asked[key].append(done)
        else:
            self._asked[key] = [done]
            ask = self._addresses if kind == "addresses" else self._names
            self._turns.run(ask, of).addErrback(_nothing).addCallback(self._answered, key)
        return done

    def _answered(self, names: frozenset[str], key: tuple[str, str]) -> None:
        if len(self._answers) >= _MOST:
            self._answers.clear()
        until = self._reactor.seconds() + (KEEP if names else KEEP_FAILURE)
        self._answers[key] = _Answer(names, until)
        for waiter in self._asked.pop(key):
            if not waiter.called:
                waiter.callback(names)

    def _addresses(self, name: str) -> Deferred[frozenset[str]]:
        receiver = _Receiver()
        self._reactor.nameResolver.resolveHostName(receiver, name)
        return receiver.done

    def _names(self, address: str) -> Deferred[frozenset[str]]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), names_of, address)


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects the addresses of a name, IPv4 and IPv6."""

    def __init__(self) -> None:
        self.done: Deferred[frozenset[str]] = Deferred()
        self._found: set[str] = set()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N802, N803 (Twisted's names)
        """See `IResolutionReceiver`."""

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802 (Twisted's name)
        """See `IResolutionReceiver`."""
        found = plain_address(str(getattr(address, "host", "")))
        if found is not None:
            self._found.add(str(found))

    def resolutionComplete(self) -> None:  # noqa: N802 (Twisted's name)
        """See `IResolutionReceiver`."""
        self.done.callback(frozenset(self._found))


def names_of(address: str) -> frozenset[str]:
    """The names that the system gives for an address, for comparing; blocks. None where it has no name."""
    try:
        name, aliases, _ = socket.gethostbyaddr(address)
    except OSError:
        return frozenset()
    return frozenset(map(_comparable, (name, *aliases)))


def _comparable(name: str) -> str:
    return name.rstrip(".").lower()


def _is_in(address: IPv4Address | IPv6Address, mask: str) -> bool:
    return address in network_of(mask)  # of the other family: never


def _nothing(_: object) -> frozenset[str]:
    return frozenset()
