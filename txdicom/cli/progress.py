"""The progress bar of `txdicom store`; imported only for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from twisted.internet.task import LoopingCall

if TYPE_CHECKING:
    from types import TracebackType

    from txdicom.scu import Selection, StoreScu
    from txdicom.scu.store import Progress as Done

#: seconds between two looks at what was sent
_INTERVAL: Final = 0.1


class Bar:
    """Shows how far a job is, as a context manager. It is drawn from the reactor, not from a thread."""

    def __init__(self, reactor: Any, scu: StoreScu, selection: Selection) -> None:
        instances = selection.instances
        self._scu = scu
        self._total = sum(one.size for one in instances)
        self._files = len(instances)
        self._done = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self._task = self._progress.add_task(self._text(), total=self._total)
        self._loop = LoopingCall(self._draw)
        self._loop.clock = reactor
        scu.progress = self._count

    def __enter__(self) -> Bar:
        self._progress.start()
        self._loop.start(_INTERVAL, now=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.stop()
        self._draw()
        self._progress.stop()

    def _count(self, done: Done) -> None:
        self._done = done.files

    def _draw(self) -> None:
        # what was sent counts the commands too
        sent = min(self._scu.bytes_sent, self._total)
        self._progress.update(self._task, completed=sent, description=self._text(), refresh=True)

    def _text(self) -> str:
        return f"{self._done} of {self._files} files"
