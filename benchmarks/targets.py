"""The programs that are measured, as data.

Placeholders in commands: {python} the interpreter for Python programs, {servers} the folder of our peers' scripts,
{port}, {ae_title}, {pdu} the maximum length, {store} the folder for instances, {work} a scratch folder, and in a send
command {host} and {folder}.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass

STORE_CASES = frozenset({"store-small", "store-ct", "store-big"})
OBSERVER_CASES = frozenset({"observer-echo", "observer-store"})
WORKERS_CASES = frozenset({"workers-small", "workers-ct"})


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server, and for the sending side a command, with what it does to an instance."""

    name: str
    does: str
    start: tuple[str, ...]
    ae_title: str
    cases: frozenset[str]
    send: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    programs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    idle_arguments: tuple[str, ...] = ()
    """Added to `start` where thousands of associations are wanted."""
    share: float = 1.0
    """Part of a load's count that this target gets, since it would take minutes otherwise; rates are not affected."""
    flushes: bool = False
    """Success is sent after a flush to the disk."""
    addins: tuple[str, ...] = ()
    """Files of `addins/` that go into the folder of a txdicom server."""
    workers: int = 1
    """Processes that answer associations, where that is a matter of settings."""


def _txdicom(
    name: str,
    does: str,
    *extra: str,
    cases: frozenset[str],
    flush: bool = False,
    addins: tuple[str, ...] = (),
    workers: int = 1,
) -> Target:
    """A server of this project; `extra` are settings of its own."""
    settings = ("server.max_pdu_length={pdu}", "archive.store={store}", f"archive.flush={str(flush).lower()}", *extra)
    if workers > 1:
        settings += (f"server.workers={workers}",)
    twistd = ("{python}", "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=")
    server = ("dicomserver", "--base", "{work}/base", "--ae-title", "{ae_title}")
    listen = ("--listen", "tcp:{port}:interface=127.0.0.1")
    return Target(
        name=name,
        does=does,
        start=(*twistd, *server, *listen, *(word for setting in settings for word in ("--set", setting))),
        ae_title="TXDICOM",
        send=("{python}", "-m", "txdicom", "store", "--max-pdu", "{pdu}", "{ae_title}@{host}:{port}", "{folder}"),
        idle_arguments=("--set", "server.max_clients=0"),
        modules=("txdicom", "twisted.plugins.txdicom_plugin"),
        cases=cases,
        flushes=flush,
        addins=addins,
        workers=workers,
    )


def _storescp(name: str, does: str, *options: str, no_delay: bool, cases: frozenset[str], share: float = 1) -> Target:
    storescp = ("storescp", "--fork", "-aet", "{ae_title}", "-od", "{store}", "-pdu", "{pdu}", "-ll", "fatal")
    return Target(
        name=name,
        does=does,
        start=(*storescp, *options, "{port}"),
        ae_title="DCMTK",
        send=("storescu", "-ll", "fatal", "-aec", "{ae_title}", "-pdu", "{pdu}", "+sd", "{host}", "{port}", "{folder}"),
        environment=(("TCP_NODELAY", "1"),) if no_delay else (),
        programs=("storescp", "storescu"),
        cases=cases,
        share=share,
    )


_ALL = (
    _txdicom(
        "txdicom",
        "this project: `twistd dicomserver`, instances to files, duplicates checked, no flush to the disk",
        cases=STORE_CASES
        | OBSERVER_CASES
        | WORKERS_CASES
        | {"storescu-stock", "echo", "cycle", "idle", "send", "dispatch"},
    ),
    _txdicom(
        "txdicom-flush",
        "the same with its default: Success only after file and folder are flushed to the disk",
        flush=True,
        cases=STORE_CASES | {"storescu-stock"},
    ),
    _txdicom(
        "txdicom-workers",
        "as txdicom, with server.workers=2: two processes behind one port",
        workers=2,
        cases=WORKERS_CASES,
    ),
    _txdicom(
        "txdicom-observed",
        "as txdicom, with an add-in that looks on at every PDU and message, both ways, and does nothing",
        addins=("observes.py",),
        cases=OBSERVER_CASES,
    ),
    _txdicom(
        "txdicom-waits",
        "as txdicom, with an add-in that answers C-ECHO after 50 ms: a coroutine that awaits",
        "addins.enabled=storage",
        addins=("waits.py",),
        cases=frozenset({"handler"}),
    ),
    _txdicom(
        "txdicom-blocks",
        "as txdicom, with an add-in that answers C-ECHO after 50 ms: @blocking, and server.addin_threads=200",
        "addins.enabled=storage",
        "server.addin_threads=200",
        addins=("blocks.py",),
        cases=frozenset({"handler"}),
    ),
    _storescp(
        "dcmtk",
        "`storescp --fork` with TCP_NODELAY=1: parses the data set in memory, writes it anew, no flush; "
        "sends by `storescu` with TCP_NODELAY=1",
        no_delay=True,
        cases=STORE_CASES | {"echo", "cycle", "idle", "send"},
    ),
    _storescp(
        "dcmtk-bp",
        "`storescp --fork +B` with TCP_NODELAY=1: bytes go to the file as they come, not parsed, no flush",
        "+B",
        no_delay=True,
        cases=STORE_CASES | WORKERS_CASES,
    ),
    _storescp(
        "dcmtk-nagle",
        "`storescp --fork` as shipped: Nagle's algorithm on, an answer of two writes waits for the delayed ACK; "
        "a twentieth of the count",
        no_delay=False,
        cases=frozenset({"store-small", "store-ct", "storescu-stock", "echo"}),
        share=0.05,
    ),
    Target(
        name="pynetdicom",
        does="a bare pynetdicom SCP: the encoded data set written as received, not decoded, no flush",
        start=(
            *("{python}", "{servers}/pynetdicom_scp.py", "--port", "{port}", "--ae-title", "{ae_title}"),
            *("--max-pdu", "{pdu}", "--store", "{store}"),
        ),
        ae_title="PYND",
        modules=("pynetdicom",),
        cases=STORE_CASES | {"echo", "cycle"},
    ),
)

TARGETS = {target.name: target for target in _ALL}


def fill(words: tuple[str, ...], values: dict[str, str]) -> list[str]:
    """A command with the values in the place of their names."""
    command = []
    for word in words:
        for name, value in values.items():
            word = word.replace("{" + name + "}", value)
        command.append(word)
    return command


def prefer_dcmtk() -> None:
    """Puts DCMTK's folder first on our PATH: pynetdicom installs commands of the same names, with other options."""
    path = os.environ.get("PATH", os.defpath)
    for folder in path.split(os.pathsep):
        program = shutil.which("storescp", path=folder)
        if program and b"$dcmtk:" in subprocess.run([program, "--version"], capture_output=True, check=False).stdout:
            os.environ["PATH"] = os.pathsep.join((folder, path))
            return


def missing(target: Target, python: str) -> str:
    """What this machine lacks to run the target, or nothing."""
    for program in target.programs:
        if shutil.which(program) is None:
            return f"`{program}` is not on the PATH"
    for module in target.modules:
        if not _importable(module, python):
            return f"`{python}` cannot import `{module}`"
    return ""


@functools.cache
def _importable(module: str, python: str) -> bool:
    # Not from our own folder: the servers run elsewhere, so the module must be installed.
    command = [python, "-c", f"import {module}"]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, cwd="/").returncode == 0
