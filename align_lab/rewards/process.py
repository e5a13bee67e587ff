"""A reward of a completion's steps, each scored by another reward: algorithms that work by token credit each step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from align_lab.base.registry import param, register
from align_lab.base.task import Example, Failure, Score, ScoreOutcome, Scorer, StepScore
from align_lab.rewards.combination import ONE, Combination, costs_of
from align_lab.rewards.patterns import compiled, limited, problem
from align_lab.rewards.scores import outcomes_of

Span = tuple[int, int]  # from a character to before another one


@register("reward", "process")
@dataclass(frozen=True, kw_only=True)
class Process(Combination):
    """Splits a completion into steps, by line breaks or another pattern, and scores each.

    The total is the sum of the steps' scores, or their mean, and 0 for a completion without a step. A step on which the
    reward abstains counts nothing; a step that fails fails the completion.
    """

    of: dict[str, Any] = param({}, "the reward of a step, for example {name: python, file: my_steps.py}")
    separator: str = param(r"\n+", "the regular expression between two steps")
    given: str = param(
        "step", "what the reward of a step is given: the step, or the text up to its end", choices=("step", "prefix")
    )
    total: str = param("sum", "of the steps' scores; mean divides each by their number", choices=("sum", "mean"))
    max_steps: int = param(64, "what follows belongs to the last step", low=1)
    seconds: float = param(1.0, "limit of splitting one completion; beyond it, the completion failed", above=0)

    used_later: ClassVar = (*Combination.used_later, "seconds")
    repeats: ClassVar = True
    holds: ClassVar = "of"
    several: ClassVar = False
    on_gpu: ClassVar = False

    def parts(self) -> tuple[str, ...]:
        """What the steps cost."""
        return self.cost_parts()

    def problems(self) -> list[str]:
        """Also a separator that is none."""
        return [*super().problems(), *filter(None, [problem(self.separator, "reward.separator")])]

    def combine(self, scorers: Mapping[str, Scorer]) -> Scorer:
        """The scorer of steps."""
        return ProcessScorer(reward=self, scorer=scorers[ONE], separator=compiled(self.separator))


@dataclass(frozen=True, kw_only=True)
class ProcessScorer:
    """Scores all steps of all completions with one call."""

    reward: Process
    scorer: Scorer
    separator: Any

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """The totals, and the steps that they are the sums of."""
        spans = [self.spans(text) for text in completions]
        rows = [
            (example, self._given(text, span))
            for example, text, of_text in zip(examples, completions, spans, strict=True)
            if not isinstance(of_text, Failure)
            for span in of_text
        ]
        texts = [text for _, text in rows]
        score = self.scorer.score([one for one, _ in rows], texts) if rows else Score(total=[])
        outcomes = iter(outcomes_of(score, texts))
        totals: list[ScoreOutcome] = []
        steps: list[Sequence[StepScore]] = []
        for of_text in spans:
            own = [] if isinstance(of_text, Failure) else list(islice(outcomes, len(of_text)))
            total, scored = (of_text, ()) if isinstance(of_text, Failure) else self._completion(of_text, own)
            totals.append(total)
            steps.append(scored)
        counts = [0 if isinstance(of_text, Failure) else len(of_text) for of_text in spans]
        costs = costs_of({ONE: score}, {ONE: self.reward.cost_parts()})
        return Score(total=totals, steps=steps, parts={name: sums(part, counts) for name, part in costs.items()})

    def spans(self, text: str) -> list[Span] | Failure:
        """The steps of a text that hold more than space."""
        return limited(lambda: list(islice(self._split(text), self.reward.max_steps)), seconds=self.reward.seconds)

    def _split(self, text: str) -> Iterator[Span]:
        start, number = 0, 1
        for match in self.separator.finditer(text, timeout=self.reward.seconds):
            if number == self.reward.max_steps:
                break
            if text[start : match.start()].strip():
                yield start, match.start()
                number += 1
            start = match.end()
        if text[start:].strip():
            yield start, len(text)

    def _given(self, text: str, span: Span) -> str:
        return text[: span[1]] if self.reward.given == "prefix" else text[span[0] : span[1]]

    def _completion(
        self, spans: Sequence[Span], outcomes: Sequence[ScoreOutcome]
    ) -> tuple[ScoreOutcome, Sequence[StepScore]]:
        """The total of one completion, and its steps."""
        for number, outcome in enumerate(outcomes, start=1):
            if isinstance(outcome, Failure):
                return Failure(f"step {number}: {outcome.reason}"), ()
        scored = [(span, value) for span, value in zip(spans, outcomes, strict=True) if isinstance(value, float)]
        if spans and not scored:
            return None, ()
        share = 1 / len(scored) if scored and self.reward.total == "mean" else 1.0
        steps = [StepScore(start=start, end=end, score=share * value) for (start, end), value in scored]
        return sum((step.score for step in steps), start=0.0), steps


def sums(values: Sequence[ScoreOutcome], counts: Sequence[int]) -> list[ScoreOutcome]:
    """The sum of the first `counts[0]` values, of the next `counts[1]`, and so on."""
    left = iter(values)
    return [math.fsum(value for value in islice(left, count) if isinstance(value, float)) for count in counts]
