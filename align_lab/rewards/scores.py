"""Validated scores: one finite number per completion, or an error that names the completion."""

from __future__ import annotations

import math
from collections.abc import Sequence

from align_lab.base.errors import RewardError
from align_lab.base.task import Example, Score, Scorer


def scores(scorer: Scorer, examples: Sequence[Example], completions: Sequence[str]) -> list[float]:
    """The scores of these completions. Raises RewardError if their number is wrong or one is not finite."""
    return check(scorer.score(examples, completions), completions)


def check(score: Score, completions: Sequence[str]) -> list[float]:
    """The totals as floats. Raises RewardError if their number is wrong or one is not finite."""
    totals = [float(value) for value in score.total]
    if len(totals) != len(completions):
        raise RewardError(
            f"the reward returned {len(totals)} scores for {len(completions)} completions: it must return one each"
        )
    for value, text in zip(totals, completions, strict=True):
        if not math.isfinite(value):
            raise RewardError(
                f"the reward returned {value} for the completion {text[:80]!r}: it must be a finite number"
            )
    return totals
