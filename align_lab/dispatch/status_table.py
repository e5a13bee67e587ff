"""A study on a terminal: a live table, or a line for each change of state where output goes to a file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from align_lab.base.signals import StopRequest
from align_lab.dispatch import in_words
from align_lab.dispatch.failed_stages import needs_one, said_once
from align_lab.dispatch.in_words import Who
from align_lab.dispatch.plan import Skipped
from align_lab.dispatch.slurm_commands import SlurmError
from align_lab.dispatch.state_rules import ACTIVE
from align_lab.dispatch.states import TaskState
from align_lab.record.fitted_table import FittedTable
from align_lab.record.terminal import escape

COLORS = {"done": "green", "running": "cyan", "failed": "red", "cancelled": "red", "stopped": "yellow"}
POLL_SECONDS = 2.0
POLL_SHARE = 0.02  # of a core, at most, which polling takes from the runs beside it
MANY = 5  # tasks in one state for one reason are listed one by one up to this number


class StatusTable:
    """Shows the states that `fetch` returns, of the tasks in `names`, or of all. Use it as a context."""

    def __init__(
        self, console: Console, fetch: Callable[[], Sequence[TaskState]], *, names: Collection[str] | None
    ) -> None:
        self.console, self.fetch, self.names = console, fetch, names
        self.printed: dict[str, str] = {}  # name -> the state that was printed last
        self.fetched_at, self.fetch_cost = 0.0, 0.0  # when, and how much processor time the last fetch took
        self.tasks: list[TaskState] = []
        self.away = False  # Slurm did not answer the last time
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
        began = time.process_time()
        try:
            self.tasks = [task for task in self.fetch() if self.names is None or task.name in self.names]
            self.complete = True
            if self.away:
                self.console.print(f"{time.strftime('%H:%M:%S')} Slurm answers again")
            self.away = False
        except SlurmError as error:  # a controller that restarts answers again after a while
            if not self.away:
                self.console.print(f"[yellow]{time.strftime('%H:%M:%S')} {escape(str(error))}. Trying again[/]")
            self.away = True
        tasks, self.fetched_at, self.fetch_cost = self.tasks, time.monotonic(), time.process_time() - began
        if self.live:
            self.live.update(table(tasks, height=self.console.height))
        else:
            self._print_changes(tasks)
        return tasks

    def _interval(self) -> float:
        """Seconds between polls: more where there are many runs, because each poll reads all their states."""
        return max(POLL_SECONDS, self.fetch_cost / POLL_SHARE)

    def _print_changes(self, tasks: Sequence[TaskState]) -> None:
        changed = [task for task in said_once(tasks) if self.printed.get(task.name, "missing") != task.state]
        self.printed |= {task.name: task.state for task in tasks}
        for line in change_lines(changed, in_words.of_states(tasks)):
            self.console.print(f"{time.strftime('%H:%M:%S')} {escape(line)}")

    def wait_until_ended(self, stop: StopRequest) -> None:
        """Poll until nothing is queued or running, or a signal asks to stop waiting (the jobs continue)."""
        while not stop.asked:
            tasks = self.update(now=True)
            if self.complete and not any(task.state in ACTIVE for task in tasks):
                return
            time.sleep(self._interval())


def change_lines(changed: Iterable[TaskState], who: Mapping[str, Who]) -> Iterator[str]:
    """A line for all that are now in one state for one reason; the name of a run where its log will be asked for."""
    groups: dict[tuple[str, str, str], list[TaskState]] = {}
    for task in changed:
        groups.setdefault((task.kind, task.state, _without_ids(task)), []).append(task)
    for group in groups.values():
        yield f"{group[0].state:<9}{_called(group, who)}{f': {group[0].why}' if group[0].why else ''}"


def _called(group: Sequence[TaskState], who: Mapping[str, Who]) -> str:
    """Tasks of one kind and state: how many, and which."""
    names, kind = [task.name for task in group], group[0].kind
    number = f"{len(group)} {kind}s: " if len(group) > 1 else "stage " if kind == "stage" else ""
    if kind == "stage":
        return number + in_words.stages(names)
    if kind != "run":
        return number + ", ".join(names)
    name = f" ({names[0]})" if len(names) == 1 and group[0].state in ("failed", "stopped") else ""
    return number + in_words.runs(names, who) + name


def table(tasks: Sequence[TaskState], *, height: int | None = None) -> Group:
    """Runs by arm and seed with state, step, score, speed, time left and node; below, the reasons of failures."""
    tasks = said_once(tasks)
    stages = [task for task in tasks if task.kind == "stage"]
    runs = sorted(
        (task for task in tasks if task.kind == "run"),
        key=lambda task: (task.arm, task.values, task.seed or 0, task.name),
    )
    limit = len(runs) if height is None else max(5, height - 8 - len(stages))
    hidden = [Text(f"... and {len(runs) - limit} more")] if len(runs) > limit else []
    lines = [
        Text.from_markup(f"stage {_state(task)} {escape(task.name)}{_reason(task)}")
        for task in stages
        if task.state != "done"
    ]
    return Group(*lines, _grid(runs[:limit]), *hidden, Text(summary_line(runs)), *_reasons(runs), *_looks(tasks))


def _grid(runs: Sequence[TaskState]) -> FittedTable:
    decides = escape(next((task.metric for task in runs if task.metric), "decides").removesuffix(" score"))
    grid = FittedTable(
        headings=("arm", "seed", "state", "step", "score", decides, "s/step", "left", "job", "node"),
        left=(0, 2, 8, 9),
        folds=(0,),
        dispensable=(6, 9, 8, 4, 7),
    )
    rows = Counter((task.arm, task.seed, task.values) for task in runs)
    for task in runs:
        twin = task.arm and rows[task.arm, task.seed, task.values] > 1
        values = [task.values, *([task.name.rpartition("-")[2]] if twin else [])]
        grid.add_row(*_row(task, "".join(f" {text}" for text in values if text)))
    return grid


def _row(task: TaskState, values: str) -> Iterator[str]:
    """`values`: the fields that differ, or the hash of its config, where arm and seed do not tell runs apart."""
    yield escape((task.arm or task.name) + values)
    yield "" if task.seed is None else str(task.seed)
    yield _state(task) + (f" x{task.requeued + 1}" if task.requeued else "")
    yield f"{task.step}/{task.steps}" if task.steps else ""
    yield from ("" if value is None else f"{value:.2f}" for value in (task.score, task.decides, task.seconds_per_step))
    yield duration(task.seconds_left) if task.state == "running" else ""
    yield escape(task.job)
    yield escape(task.node) if task.state in ("running", "failed") else ""


def _state(task: TaskState) -> str:
    color = COLORS.get(task.state)
    return f"[{color}]{task.state}[/]" if color else task.state


def _reason(task: TaskState) -> str:
    return f": {escape(task.why)}" if task.why else ""


def _looks(tasks: Sequence[TaskState]) -> Iterator[Text]:
    """The looks at a study with seeds in steps: the newest one, and those before it that are not done."""
    looks = [task for task in tasks if task.kind == "look"]
    for task in looks:
        if task.state != "done" or task is looks[-1]:
            job = f" (job {task.job})" if task.state in ACTIVE else ""
            yield Text.from_markup(f"{escape(task.name)} {_state(task)}{_reason(task)}{job}")


def _reasons(runs: Iterable[TaskState]) -> Iterator[Text]:
    for task, more in folded(task for task in runs if task.why and task.state not in ("done", "running", "missing")):
        log = f"  ({escape(task.log)})" if task.log and task.state == "failed" else ""
        yield Text.from_markup(f"{_state(task)} {escape(task.name)}{and_more(more)}{_reason(task)}{log}")


def folded(tasks: Iterable[TaskState]) -> list[tuple[TaskState, int]]:
    """The tasks with the number of others that each stands for: many in one state for one reason are one line."""
    groups: dict[tuple[str, str, str], list[TaskState]] = {}
    for task in tasks:
        groups.setdefault((task.kind, task.state, _without_ids(task)), []).append(task)
    kept = ((group, 1 if _one_is_enough(group) else len(group)) for group in groups.values())
    return [(task, len(group) - shown if task is group[0] else 0) for group, shown in kept for task in group[:shown]]


def _one_is_enough(group: Sequence[TaskState]) -> bool:
    return len(group) > MANY or group[0].state in ACTIVE or needs_one(group[0])


def _without_ids(task: TaskState) -> str:
    return task.why.replace(task.job, "JOB").replace(task.name, "NAME") if task.job else task.why


def and_more(count: int) -> str:
    """` and 3 more`; empty for none."""
    return f" and {count} more" if count else ""


def summary_line(runs: Iterable[TaskState]) -> str:
    """`3 done, 1 failed`."""
    counts = Counter(task.state for task in runs)
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "no runs"


def skipped_lines(skipped: Iterable[Skipped], who: Mapping[str, Who]) -> list[str]:
    """One line for each reason, with the runs."""
    by_reason: dict[str, list[str]] = {}
    for run in skipped:
        by_reason.setdefault(run.why, []).append(run.name)
    return [f"{in_words.runs(names, who)}: {why}" for why, names in by_reason.items()]


def count(items: Sized, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds is None:
        return ""
    minutes, hours = seconds / 60, seconds / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{minutes:.0f} min" if minutes >= 1 else f"{seconds:.0f} s"
