"""What all tests share: time limits, a reactor left clean, the peers to talk to, hypothesis profiles."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import shutil
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import greenlet
import hypothesis
import pytest
import pytest_twisted
from twisted.internet import reactor, task
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogPublisher

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType, ModuleType

    from twisted.logger import LogEvent
    from twisted.python.failure import Failure

#: set by .ci/run: there a peer that is not installed is a failure
PEERS_REQUIRED = os.environ.get("TXDICOM_REQUIRE_PEERS", "") not in {"", "0"}
#: what may still be closing when a test ends gets this long, in seconds
GRACE = 2.0

# Deadlines of examples only measure how busy the machine is. The short form looks at the same examples each time, so
# that what fails, coverage too, fails by a change and not by chance; the long one goes and finds new ones.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True)
hypothesis.settings.register_profile("soak", deadline=None, print_blob=True, max_examples=20_000)
hypothesis.settings.load_profile("default")


# --- time limits and Ctrl-C -------------------------------------------------------------------------------------------
# pytest-twisted runs the reactor in a greenlet. Whatever a signal handler raises while the reactor waits ends up in the
# reactor's log, so the limit of pytest-timeout cannot end a test that waits for a Deferred: the reactor must.


_interrupted = threading.Event()


def pytest_configure() -> None:
    main = greenlet.getcurrent()

    def interrupted(_signal: int, _frame: FrameType | None) -> None:
        _interrupted.set()
        if greenlet.getcurrent() is main:
            raise KeyboardInterrupt
        main.throw(KeyboardInterrupt)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, interrupted)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup leaves it, which a server would heed
            signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    limit = _time_limit(pyfuncitem)
    if limit and inspect.iscoroutinefunction(pyfuncitem.obj):
        # a little earlier than pytest-timeout, which stays for tests that block
        pyfuncitem.obj = _limited(pyfuncitem.obj, 0.9 * limit)
    return (yield)


def _time_limit(item: pytest.Function) -> float:
    """The seconds that pytest-timeout gives `item`; 0: no limit."""
    limit = item.config.getoption("timeout")
    if limit is None:
        limit = item.config.getini("timeout")
    if marker := item.get_closest_marker("timeout"):
        limit = marker.args[0] if marker.args else marker.kwargs["timeout"]
    return float(limit or 0)


def _limited(test: Callable[..., Any], seconds: float) -> Callable[..., Deferred[Any]]:
    def too_late(failure: Failure, seconds: float) -> None:
        failure.trap(CancelledError)
        raise TimeoutError(f"the test still waited after {seconds:g} s") from failure.value

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(test(*args, **kwargs)).addTimeout(seconds, reactor, too_late)

    return run


# --- the reactor is left clean ----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Generator[None]:
    """Fail a test that leaves sockets, timers or threads of ours behind."""
    before = _open_things()
    yield
    if not reactor.running or _interrupted.is_set():
        return
    waited = 0.0
    while (left := _new_things(before)) and waited < GRACE:
        pytest_twisted.blockon(task.deferLater(reactor, 0.01))
        waited += 0.01
    if left:
        pytest.fail("the test left behind: " + "; ".join(map(str, left)))


def _open_things() -> list[list[Any]]:
    descriptors = {*reactor.getReaders(), *reactor.getWriters()} - reactor._internalReaders
    # A repeating timer of a longer-lived fixture has a new DelayedCall each time, but the same function.
    timers = [call.func for call in reactor.getDelayedCalls()]
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("txdicom")]
    return [list(descriptors), timers, threads]


def _new_things(before: list[list[Any]]) -> list[Any]:
    return [thing for old, now in zip(before, _open_things(), strict=True) for thing in now if thing not in old]


@pytest.fixture
def logged_failures() -> list[LogEvent]:
    """What was logged as unhandled during the test; a test that causes it on purpose looks at it, then clears it."""
    return _failures


_failures: list[LogEvent] = []


def _observe(event: LogEvent) -> None:
    # Ours say what we handle (an add-in that raised); all others are errors that nobody handled: in a Deferred, in
    # dataReceived, in a delayed call.
    if event.get("log_failure") is not None and not event.get("log_namespace", "").startswith("txdicom"):
        _failures.append(event)


@pytest.fixture(autouse=True)
def no_unhandled_failure() -> Generator[None]:
    """Fail a test in which Twisted logged an exception that nobody handled."""
    _failures.clear()
    globalLogPublisher.addObserver(_observe)
    yield
    globalLogPublisher.removeObserver(_observe)
    if _failures:
        texts = [f"{event['log_namespace']}: {event['log_failure'].getTraceback()}" for event in _failures]
        pytest.fail("unhandled, logged by Twisted:\n" + "\n".join(texts))


# --- peers ------------------------------------------------------------------------------------------------------------


def _missing(reason: str) -> NoReturn:
    if PEERS_REQUIRED:
        pytest.fail(f"{reason}, and TXDICOM_REQUIRE_PEERS is set")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def dcmtk() -> Callable[[str], str]:
    """`dcmtk("storescp")`: the path of a DCMTK program; without DCMTK the test is skipped."""

    def path_of(name: str) -> str:
        # pynetdicom, too, has a storescu and an echoscu, in the folder of an active virtual environment
        for folder in os.get_exec_path():
            path = shutil.which(name, path=folder)
            if path is not None and b"$dcmtk:" in subprocess.run([path, "--version"], capture_output=True).stdout:
                return path
        return _missing(f"DCMTK's {name} is not installed")

    return functools.cache(path_of)


@pytest.fixture(scope="session")
def pynetdicom() -> ModuleType:
    """The pynetdicom package; without it the test is skipped."""
    try:
        return importlib.import_module("pynetdicom")
    except ImportError:
        _missing("pynetdicom is not installed")
        raise


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago, for programs that must be told one."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
