"""Work under a lock goes on though nobody waits for it any more."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.python.failure import Failure

from txdicom.services.shield import shielded


@pytest.fixture
def lock() -> DeferredLock:
    return DeferredLock()


def failed(done: Deferred[Any]) -> list[Failure]:
    failures: list[Failure] = []
    done.addErrback(failures.append)
    return failures


def test_who_leaves_does_not_free_the_lock(lock: DeferredLock) -> None:
    work: Deferred[int] = Deferred()
    done = shielded(lock.run, lambda: work)
    failures = failed(done)
    done.cancel()
    assert failures[0].check(CancelledError)
    assert lock.locked
    assert not work.called
    work.callback(1)
    assert not lock.locked


def test_what_has_not_begun_does_not_begin(lock: DeferredLock) -> None:
    first: Deferred[int] = Deferred()
    begun: list[int] = []
    shielded(lock.run, lambda: first)
    second = shielded(lock.run, lambda: begun.append(2))
    failed(second)
    second.cancel()
    first.callback(1)
    assert begun == []
    assert not lock.locked


def test_results_and_failures_are_passed_on(lock: DeferredLock) -> None:
    results: list[int] = []
    shielded(lock.run, lambda: 5).addCallback(results.append)
    assert results == [5]

    def broken() -> None:
        raise RuntimeError("a mistake")

    assert failed(shielded(lock.run, broken))[0].check(RuntimeError)
    first: Deferred[int] = Deferred()
    left = shielded(lock.run, lambda: first)
    failed(left)
    left.cancel()
    first.errback(RuntimeError("nobody hears of it"))
    assert not lock.locked
