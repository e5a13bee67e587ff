"""A reward for texts that match a regular expression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from align_lab.base.contracts import Reward
from align_lab.base.registry import param, register
from align_lab.base.task import Example, Score, ScoreOutcome
from align_lab.rewards.patterns import compiled, limited, problem


@register("reward", "regex")
@dataclass(frozen=True, kw_only=True)
class RegexCount(Reward):
    """1 where a pattern occurs in the completion (or where it does not), or the number of its occurrences."""

    pattern: str = param("", "the regular expression, in Python's syntax; (?i) at its beginning ignores case")
    mode: str = param(
        "presence",
        "presence: 1 where it occurs, else 0; absence: the other way; count: how often, up to at_most",
        choices=("presence", "absence", "count"),
    )
    at_most: int = param(10, "of the occurrences that count", low=1)
    seconds: float = param(1.0, "limit of the search in one completion; beyond it, the completion failed", above=0)

    used_later: ClassVar = (*Reward.used_later, "seconds")
    repeats: ClassVar = True
    on_gpu: ClassVar = False

    def problems(self) -> list[str]:
        """A pattern that is missing or is none."""
        return [text for text in (problem(self.pattern, "reward.pattern"),) if text]

    def load(self, folder: Path | None) -> RegexScorer:
        """Nothing is trained."""
        return RegexScorer(self)


class RegexScorer:
    """Searches each completion."""

    def __init__(self, reward: RegexCount) -> None:
        self.reward, self.pattern = reward, compiled(reward.pattern)

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """One outcome for each completion."""
        return Score(total=[self._one(text) for text in completions])

    def _one(self, text: str) -> ScoreOutcome:
        most = self.reward.at_most if self.reward.mode == "count" else 1
        number: Any = limited(lambda: self._count(text, most), seconds=self.reward.seconds)
        if not isinstance(number, int):
            return number
        return float(1 - number if self.reward.mode == "absence" else number)

    def _count(self, text: str, most: int) -> int:
        matches = self.pattern.finditer(text, timeout=self.reward.seconds)
        return sum(1 for _ in islice(matches, most))
