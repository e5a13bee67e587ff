"""A study on a terminal: a live table, or a line for each change of state where output goes to a file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from align_lab.base.signals import StopRequest
from align_lab.dispatch.plan import Skipped
from align_lab.dispatch.slurm import SlurmError
from align_lab.dispatch.state_rules import ACTIVE
from align_lab.dispatch.states import TaskState

COLORS = {"done": "green", "running": "cyan", "failed": "red", "cancelled": "red", "stopped": "yellow"}
POLL_SECONDS = 2.0


class StatusTable:
    """Shows the states that `fetch` returns, of the tasks in `names`. Use it as a context."""

    def __init__(self, console: Console, fetch: Callable[[], Sequence[TaskState]], *, names: Collection[str]) -> None:
        self.console, self.fetch, self.names = console, fetch, names
        self.printed: dict[str, str] = {}  # name -> the state that was printed last
        self.fetched_at = 0.0
        self.tasks: list[TaskState] = []
        self.complete = False  # the states have been fetched at least once
        self.live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None

    def __enter__(self) -> StatusTable:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.update(now=True)
        if self.live:
            self.live.stop()

    def update(self, *, now: bool = False) -> list[TaskState]:
        """Fetch the states and show them, unless that was done a moment ago."""
        if not now and time.monotonic() - self.fetched_at < self._interval():
            return []
        try:
            self.tasks = [task for task in self.fetch() if task.name in self.names]
            self.complete = True
        except SlurmError as error:  # a controller that restarts answers again after a while
            self.console.print(f"[yellow]{escape(str(error))}. Trying again[/]")
        tasks, self.fetched_at = self.tasks, time.monotonic()
        if self.live:
            self.live.update(table(tasks, height=self.console.height))
        else:
            self._print_changes(tasks)
        return tasks

    def _interval(self) -> float:
        """Seconds between polls: more for many runs, because each poll reads all their states."""
        return max(POLL_SECONDS, len(self.names) / 50)

    def _print_changes(self, tasks: Iterable[TaskState]) -> None:
        for task in tasks:
            if self.printed.get(task.name, "missing") != task.state:
                why = f": {task.why}" if task.why else ""
                self.console.print(f"{time.strftime('%H:%M:%S')} {task.state:<9}{escape(task.name)}{escape(why)}")
            self.printed[task.name] = task.state

    def wait_until_ended(self, stop: StopRequest) -> None:
        """Poll until nothing is queued or running, or a signal asks to stop waiting (the jobs continue)."""
        while not stop.asked:
            tasks = self.update(now=True)
            if self.complete and not any(task.state in ACTIVE for task in tasks):
                return
            time.sleep(self._interval())


def table(tasks: Sequence[TaskState], *, height: int | None = None) -> Group:
    """Runs by arm and seed with state, step, score, speed, time left and node; below, the reasons of failures."""
    stages = [task for task in tasks if task.kind == "stage"]
    runs = sorted(
        (task for task in tasks if task.kind == "run"), key=lambda task: (task.arm, task.seed or 0, task.name)
    )
    limit = len(runs) if height is None else max(5, height - 8 - len(stages))
    hidden = [Text(f"... and {len(runs) - limit} more")] if len(runs) > limit else []
    lines = [
        Text.from_markup(f"stage {_state(task)} {escape(task.name)}{_reason(task)}")
        for task in stages
        if task.state != "done"
    ]
    return Group(*lines, _grid(runs[:limit]), *hidden, Text(summary_line(runs)), *_reasons(runs))


def _grid(runs: Sequence[TaskState]) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    decides = next((task.metric for task in runs if task.metric), "decides").removesuffix(" score")
    for name in ("arm", "seed", "state", "step", "score", decides, "s/step", "left", "job", "node"):
        grid.add_column(name, justify="left" if name in ("arm", "state", "job", "node") else "right", no_wrap=True)
    for task in runs:
        grid.add_row(*_row(task))
    return grid


def _row(task: TaskState) -> Iterator[str]:
    yield escape(task.arm or task.name)
    yield "" if task.seed is None else str(task.seed)
    yield _state(task) + (f" x{task.requeued + 1}" if task.requeued else "")
    yield f"{task.step}/{task.steps}" if task.steps else ""
    yield from ("" if value is None else f"{value:.2f}" for value in (task.score, task.decides, task.seconds_per_step))
    yield duration(task.seconds_left) if task.state == "running" else ""
    yield task.job
    yield task.node if task.state in ("running", "failed") else ""


def _state(task: TaskState) -> str:
    color = COLORS.get(task.state)
    return f"[{color}]{task.state}[/]" if color else task.state


def _reason(task: TaskState) -> str:
    return f": {escape(task.why)}" if task.why else ""


def _reasons(runs: Iterable[TaskState]) -> Iterator[Text]:
    for task in runs:
        if task.why and task.state in ("failed", "stopped", "cancelled", "waiting"):
            log = f"  ({escape(task.log)})" if task.log and task.state == "failed" else ""
            yield Text.from_markup(f"{_state(task)} {escape(task.name)}{_reason(task)}{log}")


def summary_line(runs: Iterable[TaskState]) -> str:
    """`3 done, 1 failed`."""
    counts = Counter(task.state for task in runs)
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "no runs"


def skipped_lines(skipped: Iterable[Skipped]) -> list[str]:
    """One line for each reason, with the first run and the number of the others."""
    by_reason: dict[str, list[str]] = {}
    for run in skipped:
        by_reason.setdefault(run.why, []).append(run.name)
    return [
        f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {why}" for why, names in by_reason.items()
    ]


def duration(seconds: float | None) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds is None:
        return ""
    minutes, hours = seconds / 60, seconds / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{minutes:.0f} min" if minutes >= 1 else f"{seconds:.0f} s"
