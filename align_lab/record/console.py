"""The terminal output of a run: live progress, or plain lines in a log, and a table of results at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from align_lab.record.final_summary import FinalSummary
from align_lab.record.stage_progress import StageBar, StageLines, StageProgress
from align_lab.record.terminal import Terminal

LINES = 10  # progress lines of a run without a terminal


class Screen(AbstractContextManager["Screen"]):
    """Notices and the progress of one training run. A context manager, which ends the live display."""

    def __init__(self, *, live: bool = True, console: Console | None = None) -> None:
        self.console = console or Terminal(soft_wrap=True)
        self.live = live and self.console.is_terminal
        self._progress: Progress | None = None

    def notice(self, text: str) -> None:
        """Print one line with the time of day."""
        self.console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {escape(text)}")

    def start(self, *, step: int, steps: int) -> None:
        """Start the display of a training run that has completed `step` of `steps`; 0: their number is not known."""
        self.steps = steps
        if self.live:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("training"),
                BarColumn(bar_width=24),
                TextColumn("{task.completed}/{task.total}"),
                TextColumn("{task.fields[now]}"),
                TimeRemainingColumn(compact=True),
                console=self.console,
            )
            self._progress.start()
            self._task = self._progress.add_task("training", total=steps or None, completed=step, now="")

    def update(self, row: Mapping[str, float], *, steps: int) -> None:
        """Show the metrics of a step, of `steps` in all as far as that is known now."""
        now = describe(row)
        step, self.steps = int(row["step"]), steps
        if self._progress is not None:
            self._progress.update(self._task, completed=step, total=steps or None, now=now)
        elif step % max(1, self.steps // LINES) == 0 or step == self.steps:
            left, of = max(0, self.steps - step) * row.get("time/step", 0.0), f"/{self.steps}" if self.steps else ""
            self.notice(f"step {step}{of}  {now}" + (f"  about {left:.0f} s left" if left else ""))

    def stage(self, title: str) -> StageProgress:
        """A context that shows the progress of building one stage: a bar on a terminal, else a line per tenth."""
        if self.live:
            return StageBar(title, self.notice, console=self.console)
        return StageLines(title, self.notice)

    def stop(self) -> None:
        """End the live display."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def result(self, start: Mapping[str, float], final: Mapping[str, float], summary: FinalSummary) -> None:
        """The table of results, start against end, and the sentence that interprets them."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("held-out prompts", "start", "end"):
            table.add_column(name, justify="left" if name == "held-out prompts" else "right")
        table.add_column("what it is", style="dim")
        for row in summary.rows():
            values = (_number(metrics.get(row.key), row.digits) for metrics in (start, final))
            table.add_row(row.label, *values, row.meaning)
        self.console.print()
        self.console.print(table)
        self.console.print(f"\n{escape(summary.sentence(start, final))}")

    def samples(
        self, before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], summary: FinalSummary
    ) -> None:
        """Completions of the same prompts before and after training, with their deciding scores."""
        name = summary.label.removesuffix(" score")
        for old, new in zip(before, after, strict=True):
            self.console.print(f"\n[bold]{escape(printable(old['prompt']))}[/] ...")
            for label, row in (("before", old), ("after", new)):
                score = _number(row[summary.column], 2)
                self.console.print(
                    f"  {label:<7}{name} {score:>5}  {escape(printable(row['completion']) or '(nothing)')}"
                )


def _number(value: float | None, digits: int) -> str:
    """A dash where there is no score; `0.0`, never `-0.0`."""
    return "–" if value is None else f"{value:z.{digits}f}"


def printable(text: str) -> str:
    """A model's text as one line without control characters, which could move the cursor."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def describe(row: Mapping[str, float]) -> str:
    """Score and KL of a step in one line; algorithms on preference pairs have margins instead of scores."""
    parts = [
        ("score {:z.2f}", "objective/scores"),
        ("KL {:z.1f}", "objective/kl"),
        ("margin {:z.2f}", "rewards/margins"),
        ("held-out score {:z.2f}", "eval/score"),
        ("held-out KL {:z.1f}", "eval/kl"),
        ("{:.0f} samples/s", "time/samples_per_second"),
    ]
    return "  ".join(text.format(row[key]) for text, key in parts if key in row)
