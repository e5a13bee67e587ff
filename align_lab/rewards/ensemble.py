"""Several rewards of the same thing, whose disagreement lowers the score: against over-optimization of one of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from align_lab.base.registry import param, register
from align_lab.base.task import Example, Failure, Score, ScoreOutcome, Scorer
from align_lab.rewards.combination import Combination, costs_of
from align_lab.rewards.scores import first_answers, outcomes_of


@register("reward", "ensemble")
@dataclass(frozen=True, kw_only=True)
class Ensemble(Combination):
    """Mean, minimum or mean minus standard deviation over the members that do not abstain (arXiv 2310.02743).

    The paper subtracts the variance; the standard deviation has the unit of the scores.
    """

    of: dict[str, Any] = param({}, "name -> member, for example {first: {name: python, file: a.py}}")
    mode: str = param("mean", "of the members' scores", choices=("mean", "min", "mean_minus_sd"))
    coefficient: float = param(1.0, "of the standard deviation, in mean_minus_sd", low=0)

    repeats: ClassVar = True
    holds: ClassVar = "of"
    least: ClassVar = 2
    on_gpu: ClassVar = False

    def parts(self) -> tuple[str, ...]:
        """The members' names, and what they cost."""
        return (*self.of, *self.cost_parts())

    def combine(self, scorers: Mapping[str, Scorer]) -> Scorer:
        """One score of all members' scores."""
        return EnsembleScorer(scorers=scorers, mode=self.mode, coefficient=self.coefficient, costs=self.costs_inside())


@dataclass(frozen=True, kw_only=True)
class EnsembleScorer:
    """Scores with each member."""

    scorers: Mapping[str, Scorer]
    mode: str
    coefficient: float
    costs: Mapping[str, Sequence[str]]

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """One score for each completion; the parts are the members' scores."""
        scores = {name: scorer.score(examples, completions) for name, scorer in self.scorers.items()}
        parts = {name: outcomes_of(score, completions) for name, score in scores.items()}
        rows = [{name: part[i] for name, part in parts.items()} for i in range(len(completions))]
        return Score(
            total=[self._total(row) for row in rows],
            parts={**parts, **costs_of(scores, self.costs)},
            answers=first_answers(scores.values()),
        )

    def _total(self, row: Mapping[str, ScoreOutcome]) -> ScoreOutcome:
        for name, outcome in row.items():
            if isinstance(outcome, Failure):
                return Failure(f"{name}: {outcome.reason}")
        values = [value for value in row.values() if isinstance(value, float)]
        if not values:
            return None
        if self.mode == "min":
            return min(values)
        deviation = statistics.pstdev(values) if self.mode == "mean_minus_sd" else 0.0
        return statistics.fmean(values) - self.coefficient * deviation
