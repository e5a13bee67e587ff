"""A reward with noise, for studies of how robust an algorithm is to it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from align_lab.base.registry import param, register
from align_lab.base.task import Example, Score, Scorer, content_key
from align_lab.rewards.combination import ONE, Combination, costs_of
from align_lab.rewards.scores import outcomes_of

WITHOUT = "without_noise"  # the part that is logged


@register("reward", "noise")
@dataclass(frozen=True, kw_only=True)
class Noise(Combination):
    """Adds N(0, σ²) to a reward. The noise depends on seed, example and completion alone: scored again, it is equal."""

    of: dict[str, Any] = param({}, "the reward, for example {name: length}")
    sd: float = param(0.5, "σ, in the reward's unit", low=0)
    seed: int = param(0, "of the noise", low=0)

    repeats: ClassVar = True
    holds: ClassVar = "of"
    several: ClassVar = False
    on_gpu: ClassVar = False

    def parts(self) -> tuple[str, ...]:
        """The score without the noise, and what it costs."""
        return (WITHOUT, *self.cost_parts())

    def combine(self, scorers: Mapping[str, Scorer]) -> Scorer:
        """The reward's scores with noise."""
        return NoisyScorer(scorer=scorers[ONE], sd=self.sd, seed=self.seed, costs=self.costs_inside())


@dataclass(frozen=True, kw_only=True)
class NoisyScorer:
    """Adds noise to another scorer's numbers; abstentions and failures stay."""

    scorer: Scorer
    sd: float
    seed: int
    costs: Mapping[str, Sequence[str]]

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """One score for each completion."""
        score = self.scorer.score(examples, completions)
        clean = outcomes_of(score, completions)
        total = [
            value + self.noise(example, text) if isinstance(value, float) else value
            for value, example, text in zip(clean, examples, completions, strict=True)
        ]
        parts = {WITHOUT: clean, **costs_of({ONE: score}, self.costs)}
        return Score(total=total, parts=parts, steps=score.steps, answers=score.answers)

    def noise(self, example: Example, completion: str) -> float:
        """The noise of one completion."""
        draw = random.Random(content_key("noise", str(self.seed), example.key, completion))
        return draw.gauss(0.0, self.sd)
