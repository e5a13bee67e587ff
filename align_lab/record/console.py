"""What a person sees of a run: live progress on a terminal, plain lines in a log, a short table at the end."""

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

from align_lab.record.stage_progress import StageBar, StageLines, StageProgress

LINES = 10  # plain progress lines of a run without a terminal

SHOWN = {  # row of the last table: label, digits, what it means
    "eval/gold_score": ("gold score", 2, "what the unseen judge thinks, in sd of human reviews"),
    "eval/score": ("proxy score", 2, "what the policy was trained on"),
    "eval/vader": ("VADER", 2, "sentiment lexicon, -1 to 1"),
    "eval/win_rate": ("win rate", 2, "against the start policy, by gold score"),
    "eval/kl": ("KL", 1, "distance from the start policy, nats a completion"),
    "eval/length": ("length", 1, "tokens"),
    "eval/entropy": ("entropy", 2, "nats a token; near 0 is a collapse"),
    "eval/distinct_2": ("distinct-2", 2, "variety of word pairs; a fall is a collapse"),
}


class Screen(AbstractContextManager["Screen"]):
    """Notices, and the progress of one training. Use it as a context: on leaving, the live display ends."""

    def __init__(self, *, live: bool = True, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self.live = live and self.console.is_terminal
        self._progress: Progress | None = None

    def notice(self, text: str) -> None:
        self.console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {escape(text)}")

    def start(self, *, step: int, steps: int) -> None:
        """Begin the display of a training of `steps` steps that has done `step`."""
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
            self._task = self._progress.add_task("training", total=steps, completed=step, now="")

    def update(self, row: Mapping[str, float]) -> None:
        now = describe(row)
        step = int(row["step"])
        if self._progress is not None:
            self._progress.update(self._task, completed=step, now=now)
        elif step % max(1, self.steps // LINES) == 0 or step == self.steps:
            left = (self.steps - step) * row.get("time/step", 0.0)
            self.notice(f"step {step}/{self.steps}  {now}" + (f"  about {left:.0f} s left" if left else ""))

    def stage(self, title: str) -> StageProgress:
        """The progress of building one stage, a context: a bar on a terminal, else a line about every tenth of it."""
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

    def result(self, start: Mapping[str, float], final: Mapping[str, float]) -> None:
        """The last table: start against end, with what it means."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("held-out prompts", "start", "end"):
            table.add_column(name, justify="left" if name == "held-out prompts" else "right")
        table.add_column("what it is", style="dim")
        for key, (label, digits, meaning) in SHOWN.items():
            table.add_row(label, f"{start[key]:.{digits}f}", f"{final[key]:.{digits}f}", meaning)
        self.console.print()
        self.console.print(table)
        self.console.print(f"\n{escape(meaning_of(start, final))}")

    def samples(self, before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> None:
        """The same prompts completed by the policy at the start and at the end."""
        for old, new in zip(before, after, strict=True):
            self.console.print(f"\n[bold]{escape(printable(old['prompt']))}[/] ...")
            for label, row in (("before", old), ("after", new)):
                self.console.print(
                    f"  {label:<7}gold {row['gold_score']:5.2f}  {escape(printable(row['completion']) or '(nothing)')}"
                )


def printable(text: str) -> str:
    """One line of a model's text: nothing in it can move the cursor or break the layout."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def describe(row: Mapping[str, float]) -> str:
    """Live score and KL of a step; pairs have margins instead of fresh scores."""
    parts = [
        ("score {:.2f}", "objective/scores"),
        ("KL {:.1f}", "objective/kl"),
        ("margin {:.2f}", "rewards/margins"),
        ("held-out score {:.2f}", "eval/score"),
        ("held-out KL {:.1f}", "eval/kl"),
        ("{:.0f} samples/s", "time/samples_per_second"),
    ]
    return "  ".join(text.format(row[key]) for text, key in parts if key in row)


def meaning_of(start: Mapping[str, float], final: Mapping[str, float]) -> str:
    """One sentence: better or not by more than two standard errors over prompts, and whether the policy collapsed."""
    gain = final["eval/gold_score"] - start["eval/gold_score"]
    error = (start["eval/gold_score_se"] ** 2 + final["eval/gold_score_se"] ** 2) ** 0.5
    proxy = final["eval/score"] - start["eval/score"]
    if final["eval/distinct_2"] < start["eval/distinct_2"] / 2:
        return (
            f"The policy collapsed: it repeats itself (distinct-2 {final['eval/distinct_2']:.2f}). The proxy score moved by {proxy:+.2f}, "
            f"the gold score by {gain:+.2f}. Try a larger algo.kl_coef or a lower train.lr."
        )
    if gain > 2 * error:
        return f"The policy learned: the gold score rose by {gain:.2f}, more than two standard errors over prompts ({2 * error:.2f})."
    if gain < -2 * error and proxy <= 0:
        return (
            f"The policy got worse: the gold score fell by {-gain:.2f}, more than two standard errors over prompts "
            f"({2 * error:.2f}). Try a lower train.lr."
        )
    if gain < -2 * error:
        return f"Over-optimised: the proxy score rose by {proxy:.2f} while the gold score fell by {-gain:.2f}. Keep an earlier checkpoint."
    return f"No improvement shown: the gold score moved by {gain:+.2f}, within two standard errors over prompts ({2 * error:.2f})."
