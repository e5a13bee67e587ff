"""Scores completions with a function in a child process. Where a batch fails, its completions are scored one by one.

So one completion that makes the function raise, hang or end its process fails alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from align_lab.base.task import Example, Failure, Score, ScoreOutcome
from align_lab.rewards.child import CallFailed, Child

Row = tuple[Example, str]  # an example with one completion of it
PATIENCE = 10  # scoring one by one takes at most this many times the limit of a call


@dataclass(frozen=True, kw_only=True)
class ChildScorer:
    """`arguments`: what the function is called with for some rows; it returns a number, None or {"wrong"} for each."""

    child: Child
    arguments: Callable[[Sequence[Row]], dict[str, Any]]
    seconds: float  # limit of a call
    batch: int  # completions of a call
    advice: Callable[[CallFailed], str] = lambda failure: ""  # what to type

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """One outcome for each completion."""
        rows = list(zip(examples, completions, strict=True))
        total: list[ScoreOutcome] = []
        patience = PATIENCE * self.seconds  # for all batches together
        for first in range(0, len(rows), self.batch):
            batch = rows[first : first + self.batch]
            try:
                total += self._call(batch)
            except CallFailed as failure:
                start = time.monotonic()
                total += [self._failure(failure)] if len(batch) == 1 else self._one_by_one(batch, patience)
                patience -= time.monotonic() - start
        return Score(total=total)

    def _one_by_one(self, rows: Sequence[Row], patience: float) -> list[ScoreOutcome]:
        end = time.monotonic() + patience
        outcomes: list[ScoreOutcome] = []
        for row in rows:
            left = end - time.monotonic()
            outcomes.append(self._alone(row, min(self.seconds, left)) if left > 0 else self._not_tried())
        return outcomes

    def _alone(self, row: Row, seconds: float) -> ScoreOutcome:
        try:
            return self._call([row], seconds)[0]
        except CallFailed as failure:
            return self._failure(failure)

    def _not_tried(self) -> Failure:
        return Failure(
            "it was not scored: its batch failed as a whole, and the completions before it took "
            f"{PATIENCE * self.seconds:g} s one by one"
        )

    def _call(self, rows: Sequence[Row], seconds: float | None = None) -> list[ScoreOutcome]:
        answers = self.child.call(self.arguments(rows), seconds=self.seconds if seconds is None else seconds)
        return [Failure(answer["wrong"]) if isinstance(answer, dict) else answer for answer in answers]

    def _failure(self, failure: CallFailed) -> Failure:
        return Failure(failure.reason + self.advice(failure))
