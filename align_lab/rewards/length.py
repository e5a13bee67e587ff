"""A reward for the length of a completion: 0 inside a range, falling to -1 outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from align_lab.base.contracts import Reward
from align_lab.base.registry import param, register
from align_lab.base.task import Example, Score


@register("reward", "length")
@dataclass(frozen=True, kw_only=True)
class Length(Reward):
    """0 from `shortest` to `longest`; outside, minus the distance over `margin`, and -1 at most.

    With shortest=0 it is DAPO's soft punishment of overlong texts (arXiv 2503.14476, equation 13), in words instead of
    tokens: `longest` is its L_max - L_cache, `margin` its L_cache. With shortest=longest it is a target.
    """

    repeats: ClassVar = True
    unit: ClassVar = "-1 to 0"
    meaning: ClassVar = "length inside a range, -1 to 0"
    on_gpu: ClassVar = False

    count: str = param("words", "what is counted; words are separated by space", choices=("words", "characters"))
    shortest: int = param(0, "the shortest length without a penalty", low=0)
    longest: int = param(100, "the longest length without a penalty", low=0)
    margin: int = param(50, "distance from the range at which the score is -1; in between it falls steadily", low=1)

    def problems(self) -> list[str]:
        """A range that is empty."""
        if self.shortest > self.longest:
            return [
                f"reward.shortest={self.shortest} is more than reward.longest={self.longest}. "
                f"Set reward.longest={self.shortest} or more"
            ]
        return []

    def load(self, folder: Path | None) -> Length:
        """Nothing is trained: it scores as it is."""
        return self

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """The penalty of each completion."""
        return Score(total=[self.penalty(text) for text in completions])

    def penalty(self, text: str) -> float:
        """From -1 to 0."""
        length = len(text.split()) if self.count == "words" else len(text)
        distance = max(self.shortest - length, length - self.longest, 0)
        return -min(1.0, distance / self.margin)
