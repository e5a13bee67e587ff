"""The progress of building a stage: a live bar on a terminal, or about one line per tenth in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

Notice = Callable[[str], None]

PARTS = 10  # maximum number of lines per stage in a log
GAP = 2.0  # minimum seconds between two lines: a stage of a few seconds needs none


class StageBar(AbstractContextManager["StageBar"]):
    """A progress bar, indeterminate until the total is known, and removed when the stage is complete."""

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
    """Plain lines with the completed units and the estimated time left."""

    def __init__(self, title: str, notice: Notice, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.title, self.notice, self._clock = title, notice, clock
        self._start = self._last = clock()
        self._parts = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def progress(self, done: int, total: int) -> None:
        """Print a line when another tenth is complete, except the last, which the store itself announces."""
        now, parts = self._clock(), PARTS * done // total
        if not done:
            self._start = self._last = now
        if self._parts < parts < PARTS and now - self._last >= GAP:
            self._parts, self._last = parts, now
            left = (now - self._start) * (total - done) / done
            self.notice(f"{self.title}: {done} of {total}, about {left:.0f} s left")


StageProgress = StageBar | StageLines
