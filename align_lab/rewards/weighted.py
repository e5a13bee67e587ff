"""A weighted sum of rewards, each of them logged by its name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from align_lab.base.registry import param, register
from align_lab.base.task import Example, Failure, Score, ScoreOutcome, Scorer, StepScore
from align_lab.rewards.combination import Combination, costs_of
from align_lab.rewards.scores import first_answers, outcomes_of


@register("reward", "weighted")
@dataclass(frozen=True, kw_only=True)
class Weighted(Combination):
    """Σ w·score over named parts. A part that abstains leaves its weight to the others; one that fails fails it all."""

    of: dict[str, Any] = param({}, "name -> reward with its weight, for example {short: {name: length, weight: 2}}")

    repeats: ClassVar = True
    holds: ClassVar = "of"
    beside: ClassVar = {"weight": 1.0}
    on_gpu: ClassVar = False

    def parts(self) -> tuple[str, ...]:
        """The rewards' names, and what they cost."""
        return (*self.of, *self.cost_parts())

    def weights(self) -> dict[str, float]:
        """Name -> weight."""
        return {name: float(entry.get("weight", 1.0)) for name, entry in self.of.items()}

    def problems(self) -> list[str]:
        """Also weights that are no numbers, or all 0."""
        messages = super().problems()
        weights = self.weights()
        messages += [
            f"reward.of.{name}.weight={weight}: it must be a finite number"
            for name, weight in weights.items()
            if not math.isfinite(weight)
        ]
        if weights and not any(weights.values()):
            messages.append("all weights of reward=weighted are 0. Set reward.of.NAME.weight=1")
        return messages

    def combine(self, scorers: Mapping[str, Scorer]) -> Scorer:
        """The weighted sum of their scores."""
        return WeightedScorer(scorers=scorers, weights=self.weights(), costs=self.costs_inside())


@dataclass(frozen=True, kw_only=True)
class WeightedScorer:
    """Scores with each scorer and adds up."""

    scorers: Mapping[str, Scorer]
    weights: Mapping[str, float]
    costs: Mapping[str, Sequence[str]]

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """The sums; the parts are the scores without their weights."""
        scores = {name: scorer.score(examples, completions) for name, scorer in self.scorers.items()}
        parts = {name: outcomes_of(score, completions) for name, score in scores.items()}
        rows = [{name: part[i] for name, part in parts.items()} for i in range(len(completions))]
        steps = [
            self._steps({name: one.steps[i] for name, one in scores.items() if one.steps}, row)
            for i, row in enumerate(rows)
        ]
        return Score(
            total=[self._total(row) for row in rows],
            parts={**parts, **costs_of(scores, self.costs)},
            steps=steps if any(steps) else (),
            answers=first_answers(scores.values()),
        )

    def _total(self, row: Mapping[str, ScoreOutcome]) -> ScoreOutcome:
        for name, outcome in row.items():
            if isinstance(outcome, Failure):
                return Failure(f"{name}: {outcome.reason}")
        scale = self._scale(row)
        if scale is None:
            return None
        return scale * math.fsum(self.weights[name] * value for name, value in row.items() if isinstance(value, float))

    def _scale(self, row: Mapping[str, ScoreOutcome]) -> float | None:
        """All weights over those of the parts with a score; None if no part with a weight has one."""
        present = math.fsum(abs(self.weights[name]) for name, value in row.items() if value is not None)
        return math.fsum(map(abs, self.weights.values())) / present if present else None

    def _steps(self, steps: Mapping[str, Sequence[StepScore]], row: Mapping[str, ScoreOutcome]) -> Sequence[StepScore]:
        scale = self._scale(row)
        if scale is None or any(isinstance(outcome, Failure) for outcome in row.values()):
            return ()
        weighted = [
            StepScore(start=step.start, end=step.end, score=scale * self.weights[name] * step.score)
            for name, of_part in steps.items()
            for step in of_part
        ]
        return sorted(weighted, key=lambda step: (step.end, step.start))
