"""Checked scores: each completion has a finite number, an abstention or a failure, and failures are limited.

A failure is counted and never becomes a number. Where more completions fail than `Reward.max_failed` allows, a
RewardError shows the first of them with its completion; the loop saves, and the same command continues.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from align_lab.base.errors import RewardError
from align_lab.base.task import Example, Failure, Score, ScoreOutcome, Scorer, StepScore

SHOWN = 200  # characters of a completion in a message


@dataclass(frozen=True, kw_only=True)
class CheckedScores:
    """One outcome for each of n completions."""

    values: Sequence[float | None]  # None: the scorer abstained or failed
    failures: Mapping[int, str] = field(default_factory=dict[int, str])  # position of a completion -> reason
    parts: Mapping[str, Sequence[float | None]] = field(default_factory=dict[str, Sequence[float | None]])
    steps: Sequence[Sequence[StepScore]] = ()
    answers: Sequence[str | None] = ()  # extracted from the completions; empty if the scorer extracts none

    @property
    def abstentions(self) -> int:
        """Completions on which the scorer has no opinion."""
        return self.values.count(None) - len(self.failures)

    def first_failure(self, completions: Sequence[str]) -> str:
        """The first completion that could not be scored, and why; empty where there is none."""
        if not self.failures:
            return ""
        position, reason = next(iter(self.failures.items()))
        text = completions[position]
        return f"The first of them, {text[:SHOWN]!r}{'...' if len(text) > SHOWN else ''}: {reason}"


def scores(scorer: Scorer, examples: Sequence[Example], completions: Sequence[str]) -> CheckedScores:
    """The checked scores of these completions. Raises RewardError if their number is wrong."""
    return check(scorer.score(examples, completions), completions)


def check(score: Score, completions: Sequence[str]) -> CheckedScores:
    """Separate numbers, abstentions and failures; what is not a finite number is a failure.

    Raises RewardError if there is not one outcome for each completion.
    """
    totals, reasons = _separate(_as_many("scores", score.total, completions))
    parts = {
        name: _separate(_as_many(f"scores of its part {name!r}", part, completions))[0]
        for name, part in score.parts.items()
    }
    steps = _as_many("lists of steps", score.steps, completions) if score.steps else ()
    answers = _as_many("answers", score.answers, completions) if score.answers else ()
    return CheckedScores(values=totals, failures=reasons, parts=parts, steps=steps, answers=answers)


def outcomes_of(score: Score, completions: Sequence[str]) -> list[ScoreOutcome]:
    """Each completion's number, None or `Failure`, of a score that another reward is computed from.

    Raises RewardError if there is not one outcome for each completion.
    """
    return [_number(outcome) for outcome in _as_many("scores", score.total, completions)]


def first_answers(scores: Iterable[Score]) -> Sequence[str | None]:
    """What the first scorer that extracts answers has extracted; empty if none of them does."""
    return next((score.answers for score in scores if score.answers), ())


def _as_many(what: str, items: Sequence[Any], completions: Sequence[str]) -> Sequence[Any]:
    if len(items) != len(completions):
        raise RewardError(
            f"the reward returned {len(items)} {what} for {len(completions)} completions: it must return one each"
        )
    return items


def _separate(outcomes: Sequence[ScoreOutcome]) -> tuple[list[float | None], dict[int, str]]:
    values: list[float | None] = []
    reasons: dict[int, str] = {}
    for position, outcome in enumerate(outcomes):
        value = _number(outcome)
        if isinstance(value, Failure):
            reasons[position] = value.reason
        values.append(None if isinstance(value, Failure) else value)
    return values, reasons


def _number(outcome: Any) -> ScoreOutcome:
    if outcome is None or isinstance(outcome, Failure):
        return outcome
    try:
        value = float(outcome) if not isinstance(outcome, str | bytes) else math.nan
    except (TypeError, ValueError):
        value = math.nan
    return value if math.isfinite(value) else Failure(f"the reward returned {outcome!r}, which is no finite number")


def check_limit(failed: int, total: int, *, limit: float, field: str, first: str) -> None:
    """Raise RewardError where more than a share `limit` of the completions failed. `first`: the first failure."""
    if failed <= limit * total:
        return
    reason = first.rstrip(".")
    allow = f" Or allow more: {field}={math.ceil(100 * failed / total) / 100:g}" if failed < total else ""
    raise RewardError(
        f"{failed} of {total} completions could not be scored, and {field}={limit:g} allows a share of {limit:g}. "
        f"{reason}.\nNothing is lost: when the cause is removed, run the same command again: it continues, and the "
        f"manifest names files that have changed.{allow}"
    )
