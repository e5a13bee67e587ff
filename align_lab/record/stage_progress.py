"""How far the building of a stage is: a live bar on a terminal, a line about every tenth in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

Notice = Callable[[str], None]

PARTS = 10  # lines of a stage in a log, at most
GAP = 2.0  # seconds between two of them, at least: a stage of a few seconds needs no lines


class StageBar(AbstractContextManager["StageBar"]):
    """A bar that pulses until the stage can tell how long it is, and goes when the stage is complete."""

    def __init__(self, title: str, notice: Notice, *, console: Console) -> None:
        self.notice = notice
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn(escape(title)),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task(title, total=None)

    def __enter__(self) -> StageBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def progress(self, done: int, total: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total)


class StageLines(AbstractContextManager["StageLines"]):
    """Plain lines with the share that is complete and the time that is left."""

    def __init__(self, title: str, notice: Notice, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.title, self.notice, self._clock = title, notice, clock
        self._began = self._last = clock()
        self._parts = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def progress(self, done: int, total: int) -> None:
        """A line where another tenth is complete, but for the last, which the store itself announces."""
        now, parts = self._clock(), PARTS * done // total
        if not done:
            self._began = self._last = now
        if self._parts < parts < PARTS and now - self._last >= GAP:
            self._parts, self._last = parts, now
            left = (now - self._began) * (total - done) / done
            self.notice(f"{self.title}: {done} of {total}, about {left:.0f} s left")


StageProgress = StageBar | StageLines
