"""What changed settings are applied to in a parent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import reactor

from txdicom.errors import BadArgument, InternalError, SettingsError
from txdicom.net.limits import Slots
from txdicom.server.compose import make_entity, prepare
from txdicom.server.settings.live import Change
from txdicom.server.workers.target import PoolTarget

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Pool:
    def __init__(self, config: Any) -> None:
        self.slots = Slots(config)
        self.calls: list[str] = []
        self.error: Exception | None = None

    async def apply(self, text: str) -> None:
        self.calls.append(text)
        if self.error is not None:
            raise self.error

    async def reload_files(self) -> None:
        await self.apply("reload files")


class Log:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def configure(self, settings: Any) -> None:
        self.calls.append(settings)

    def reopen(self) -> None:
        self.calls.append("reopen")


class Stage:
    def __init__(self, base: Path) -> None:
        self.prepared = prepare(str(base), None, (), (), {})
        entity = make_entity(self.prepared, reactor)
        self.pool, self.log = Pool(entity.config), Log()
        self.target = PoolTarget(self.pool, entity, self.log)  # type: ignore[arg-type]

    def change(self, **values: Any) -> Change:
        old = self.prepared.settings
        return Change(old=old, new=replace(old, server=replace(old.server, **values)), text="text", addins={})


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.prepared.folder.release()


async def test_limits_and_logs_are_the_parents(stage: Stage) -> None:
    assert [addin.name for addin in stage.target.addins] == ["verification", "storage"]
    change = stage.change(max_clients=3)
    await stage.target.apply(change)
    assert stage.pool.calls == ["text"]
    assert stage.pool.slots.config.max_clients == 3
    assert stage.log.calls == [change.new.log]
    stage.target.reopen_logs()
    assert stage.log.calls[1:] == ["reopen"]


@pytest.mark.parametrize("error", [BadArgument(["worker 2: no"]), SettingsError(["worker 2: no"])])
async def test_what_a_worker_does_not_take_does_not_hold(stage: Stage, error: Exception) -> None:
    stage.pool.error = error
    with pytest.raises(SettingsError) as raised:
        await stage.target.apply(stage.change(max_clients=3))
    assert raised.value.problems == ("worker 2: no",)
    assert stage.pool.slots.config.max_clients == 1000
    with pytest.raises(SettingsError):
        await stage.target.reload_files()


async def test_a_worker_that_does_not_answer_is_no_mistake_of_who_asked(stage: Stage) -> None:
    stage.pool.error = InternalError("worker 2 has not answered Apply within 330 s")
    for asked in (stage.target.apply(stage.change(max_clients=3)), stage.target.reload_files()):
        with pytest.raises(InternalError):
            await asked
    assert stage.pool.slots.config.max_clients == 1000
