"""What every reward takes and gives: text in, one number a completion out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from align_lab.base.errors import RewardError


@dataclass(frozen=True, kw_only=True)
class Score:
    """`total`: one number a completion."""

    total: Sequence[float]


class Reward(Protocol):
    """Any model, rule or service that scores completions; it sees text, so it works with any tokenizer."""

    def score(self, prompts: list[str], responses: list[str]) -> Score: ...


def check(score: Score, responses: Sequence[str]) -> list[float]:
    """The totals as numbers. Raises RewardError when one is missing, too many, or not finite."""
    totals = [float(value) for value in score.total]
    if len(totals) != len(responses):
        raise RewardError(
            f"the reward returned {len(totals)} scores for {len(responses)} completions: it must return one each"
        )
    for value, text in zip(totals, responses, strict=True):
        if not math.isfinite(value):
            raise RewardError(
                f"the reward returned {value} for the completion {text[:80]!r}: it must be a finite number"
            )
    return totals
