"""The options of `twistd dicomserver`, and the service made from them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from twisted.application.service import Application, IService, IServiceMaker
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver
from twisted.plugin import getPlugins
from twisted.python import usage
from zope.interface.verify import verifyObject

from txdicom.server.logs.log import ServerLog
from txdicom.server.tap import Options, makeService
from txdicom.server.workers.pool import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


class FakeTwistd(dict[str, Any]):
    """The options before `dicomserver`."""

    subCommand = "dicomserver"  # noqa: N815 (Twisted's name)

    def getSynopsis(self) -> str:
        return "twistd"


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def parsed(*arguments: object, **twistd: Any) -> Options:
    options = Options()
    options.parent = FakeTwistd(nodaemon=True, **twistd)
    options.parseOptions([str(one) for one in arguments])
    return options


def test_options() -> None:
    options = parsed(
        *("--base", "/b", "--ae-title", "HERE", "--listen", "tcp:1", "--listen", "tcp:2"),
        *("--set", "a.b=c", "--set", "d.e=f"),
    )
    assert (options["base"], options["ae-title"]) == ("/b", "HERE")
    assert (options["listen"], options["set"]) == (["tcp:1", "tcp:2"], ["a.b=c", "d.e=f"])
    assert parsed()["listen"] == []


@pytest.mark.parametrize("arguments", [["--nonsense"], ["more"], ["--base"]])
def test_options_that_are_none(arguments: list[str]) -> None:
    with pytest.raises(usage.UsageError):
        parsed(*arguments)


def test_help_names_every_option() -> None:
    text = str(parsed())
    for option in ("--base", "--ae-title", "--listen", "--set"):
        assert option in text


def test_twistd_finds_it() -> None:
    [maker] = [one for one in getPlugins(IServiceMaker) if one.tapname == "dicomserver"]
    assert verifyObject(IServiceMaker, maker)
    assert maker.options is Options
    assert maker.makeService is makeService


def test_its_help_needs_nothing_heavy() -> None:
    program = "import sys, txdicom.server.tap; print({'pydicom', 'pydantic', 'twisted.internet'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.usefixtures("umask")
async def test_a_service_with_its_log_and_open_ports(tmp_path: Path) -> None:
    service = makeService(parsed("--base", tmp_path, "--listen", "tcp:0:interface=127.0.0.1"), reactor)
    assert verifyObject(IService, service)
    assert os.umask(0o022) == 0o077
    application = Application("dicomserver")
    service.setServiceParent(application)
    log = application.getComponent(ILogObserver)
    assert isinstance(log, ServerLog)
    [(address, secure)] = service.served.addresses  # type: ignore[attr-defined]
    assert address.port
    assert not secure
    await service.stopService()
    log.close()


@pytest.mark.usefixtures("umask")
def test_every_mistake_is_in_the_message(tmp_path: Path) -> None:
    base = tmp_path / "base"
    with pytest.raises(SystemExit) as raised:
        makeService(parsed("--base", base, "--listen", "foo", "--set", "server.max_clients=x"), reactor)
    head, *problems = str(raised.value.code).splitlines()
    assert head == "The server was not started, for 2 reasons:"
    assert [problem.split(" ")[2] for problem in problems] == ["--set", "--listen"]
    assert not base.exists()


@pytest.mark.usefixtures("umask")
def test_one_mistake(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as raised:
        makeService(parsed("--base", tmp_path, "--ae-title", "a b"), reactor)
    head, problem = str(raised.value.code).splitlines()
    assert head == "The server was not started:"
    assert problem.startswith("  --ae-title: 'a b' cannot be")


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("name", ["uid", "gid", "chroot"])
def test_options_of_twistd_that_do_not_go_with_it(name: str) -> None:
    with pytest.raises(SystemExit, match=f"--{name} does not go with dicomserver"):
        makeService(parsed(**{name: "1"}), reactor)


@pytest.mark.usefixtures("umask")
async def test_a_service_of_workers(tmp_path: Path) -> None:
    """No process is started before the reactor runs; the ports are open."""
    options = parsed("--base", tmp_path, "--listen", "tcp:0:interface=127.0.0.1", "--set", "server.workers=2")
    service = makeService(options, reactor)
    assert isinstance(service.served, Workers)  # type: ignore[attr-defined]
    [(address, _)] = service.served.addresses  # type: ignore[attr-defined]
    assert address.port
    application = Application("dicomserver")
    service.setServiceParent(application)
    await service.stopService()
    log = application.getComponent(ILogObserver)
    assert isinstance(log, ServerLog)
    log.close()


@pytest.mark.usefixtures("umask")
async def test_an_endpoint_that_workers_cannot_have(tmp_path: Path) -> None:
    endpoint = "haproxy:tcp:0:interface=127.0.0.1"
    with pytest.raises(SystemExit) as raised:
        makeService(parsed("--base", tmp_path, "--listen", endpoint, "--set", "server.workers=2"), reactor)
    _, problem = str(raised.value.code).splitlines()
    assert problem.startswith(f"  connections of {endpoint} cannot be handed over to workers: take tcp:")
    await deferLater(reactor, 0)  # the port is closed
