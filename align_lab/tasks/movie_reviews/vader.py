"""VADER: a sentiment lexicon with rules, made by people, learned from nothing here (Hutto and Gilbert, ICWSM 2014)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align_lab.base.registry import register
from align_lab.rewards.scores import Score


@register("reward", "vader")
@dataclass(frozen=True, kw_only=True)
class Vader:
    """VADER's compound sentiment of prompt and response, from -1 to 1."""

    def load(self, folder: Path | None = None) -> Vader:
        return self

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Score:
        judge = _analyser()
        return Score(
            total=[
                judge.polarity_scores(prompt + response)["compound"]
                for prompt, response in zip(prompts, responses, strict=True)
            ]
        )


@functools.cache
def _analyser() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
