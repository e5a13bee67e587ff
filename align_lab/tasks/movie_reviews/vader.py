"""VADER: a sentiment lexicon with rules, made by people, learned from nothing here (Hutto and Gilbert, ICWSM 2014)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from align_lab.base.contracts import Reward
from align_lab.base.registry import register
from align_lab.base.task import Example, Score


@register("reward", "vader")
@dataclass(frozen=True, kw_only=True)
class Vader(Reward):
    """VADER's compound sentiment of prompt and response, from -1 to 1."""

    label: ClassVar = "VADER"
    repeats: ClassVar = True
    unit: ClassVar = "-1 to 1"
    meaning: ClassVar = "sentiment lexicon, -1 to 1"
    on_gpu: ClassVar = False

    def load(self, folder: Path | None = None) -> Vader:
        """Nothing is trained: the lexicon scores as it is."""
        return self

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """The compound sentiment of prompt and completion as one text."""
        judge = _analyzer()
        return Score(
            total=[
                judge.polarity_scores(example.text + completion)["compound"]
                for example, completion in zip(examples, completions, strict=True)
            ]
        )


@functools.cache
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
