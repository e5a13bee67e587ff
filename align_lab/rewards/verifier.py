"""Verified answers: the final answer of a completion is compared with that of its example. Nothing is learned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from align_lab.base import registry
from align_lab.base.contracts import Data, Reward
from align_lab.base.registry import param, register
from align_lab.base.task import Example, Failure, Score, ScoreOutcome, Scorer
from align_lab.data import gym
from align_lab.rewards import answers
from align_lab.rewards.math_comparison import MathComparison

PARTS = ("accuracy", "format", "readable")
Outcome = tuple[ScoreOutcome, ScoreOutcome, ScoreOutcome]  # accuracy, format, readable
FAILED = (None, None, None)


class UnverifiableError(Exception):
    """The verifier, and not the completion, is to blame: there is nothing to compare with, or the scorer failed."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The answer of a completion and the right one. `problem`: why there is nothing to compare it with."""

    answer: str  # empty where there is none
    in_format: bool
    reference: str
    problem: str


@register("reward", "verifier")
@dataclass(frozen=True, kw_only=True)
class Verifier(Reward):
    """1 for the right answer and 0 for a wrong or unreadable one, plus `format_score` for an answer in the format.

    Logged apart: `accuracy`; `format`, the share whose answer the pattern finds; `readable`, the share with an answer
    that can be compared, in the format or not. A completion that cannot be verified, because its example has no answer
    or the scorer raises, is a failure and no 0.
    """

    repeats: ClassVar = True
    unit: ClassVar = "share of completions"
    meaning: ClassVar = "share of completions whose answer is right"
    on_gpu: ClassVar = False

    kind: Literal["reasoning_gym", "exact", "numeric", "math"] = param(
        "reasoning_gym",
        "what is right: reasoning_gym (what its task's own scorer gives the full score), exact (the same text), "
        "numeric (the same number: 1,000.0 is 1000), math (the same mathematics in any form, by math-verify)",
        choices=("reasoning_gym", "exact", "numeric", "math"),
    )
    credit: Literal["full", "partial"] = param(
        "full",
        "of reasoning-gym's scores: full (1 for its full score, else 0), partial (its score, between 0 and 1)",
        choices=("full", "partial"),
    )
    answer: str = param("answer", "column that holds the right answer (exact, numeric, math)")
    entry: str = param("entry", "column that holds the problem as JSON (reasoning_gym)")
    pattern: str = param(r"<answer>(.*?)</answer>", "regular expression of the format; the answer is its only group")
    otherwise: Literal["last_line", "last_number", "nothing"] = param(
        "last_line",
        "what is the answer of a completion without the format: last_line, last_number, nothing (it is wrong)",
        choices=("last_line", "last_number", "nothing"),
    )
    format_score: float = param(0.0, "added to the score of a completion whose answer is in the format")
    tolerance: float = param(0.0, "largest difference from the right number (numeric)", low=0)
    seconds: float = param(10.0, "limit of comparing up to 64 answers (math); beyond it, those that hang fail", above=0)

    used_later: ClassVar = (*Reward.used_later, "seconds")

    def problems(self) -> list[str]:
        """A pattern that cannot be used, and a package that is missing."""
        if self.kind == "math" and not registry.installed("math-verify"):
            return ["reward.kind=math needs the package math-verify: pip install 'align_lab[math]'"]
        try:
            groups = re.compile(self.pattern).groups
        except re.error as error:
            return [f"reward.pattern={self.pattern!r} is no regular expression: {error}"]
        return [] if groups == 1 else [f"reward.pattern={self.pattern!r} has {groups} groups: it needs (...) once"]

    def data_problem(self, data: Data) -> str:
        """The data must have the column that is compared."""
        columns, needed = data.column_names(), self.column
        if columns is None or needed in columns:
            return ""
        has = f"has {', '.join(columns)}" if columns else "has no columns besides the prompt"
        remedy = {
            "reasoning_gym": "Only data=reasoning has it. For other data set reward.kind=exact, numeric or math",
            "exact": f"Add it, or name the column that holds the right answer: reward.answer={[*columns, 'NAME'][0]}",
        }
        remedy["numeric"] = remedy["math"] = remedy["exact"]
        return (
            f"the verifier with kind={self.kind} compares with the column {needed!r}, and the data {has}. "
            f"{remedy[self.kind]}"
        )

    @property
    def column(self) -> str:
        """The column that is compared."""
        return self.entry if self.kind == "reasoning_gym" else self.answer

    def parts(self) -> tuple[str, ...]:
        """Accuracy, and what may explain it."""
        return PARTS

    def load(self, folder: Path | None) -> Scorer:
        """Nothing is trained. With kind=math, the process that compares is started."""
        return MathScorer(self) if self.kind == "math" else self

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """The outcome of each completion."""
        given = [self.answered(example, text) for example, text in zip(examples, completions, strict=True)]
        return self.scored(given, [self.accuracy(one) for one in given])

    def scored(self, given: Sequence[Answered], accuracies: Sequence[ScoreOutcome]) -> Score:
        """The score of these answers. An accuracy is None where the answer cannot be read."""
        total, rows = list[ScoreOutcome](), list[Outcome]()
        for answer, accuracy in zip(given, accuracies, strict=True):
            if isinstance(accuracy, Failure):
                total.append(accuracy)
                rows.append(FAILED)
                continue
            total.append((accuracy or 0.0) + self.format_score * answer.in_format)
            rows.append((accuracy or 0.0, float(answer.in_format), float(accuracy is not None)))
        columns = zip(*rows, strict=True) if rows else ((), (), ())
        read = [
            None if accuracy is None or isinstance(accuracy, Failure) else answer.answer
            for answer, accuracy in zip(given, accuracies, strict=True)
        ]
        return Score(total=total, parts=dict(zip(PARTS, columns, strict=True)), answers=read)

    def answered(self, example: Example, completion: str) -> Answered:
        """The answer of a completion, with the right one."""
        extracted = answers.extract(completion, re.compile(self.pattern, re.DOTALL))
        answer = answers.fallback(completion, self.otherwise) if extracted is None else extracted
        reference = example.columns.get(self.column)
        problem = f"its example has no {self.column!r}, only {', '.join(example.columns) or 'a prompt'}"
        return Answered(
            answer=answer,
            in_format=extracted is not None,
            reference="" if reference is None else str(reference),
            problem=problem if reference is None else "",
        )

    def accuracy(self, given: Answered) -> ScoreOutcome:
        """1 or 0, or between them; None if the answer cannot be read, a failure if it cannot be verified."""
        if given.problem:
            return Failure(given.problem)
        try:
            return self.compared(given.answer, given.reference) if given.answer else None
        except UnverifiableError as error:
            return Failure(str(error))

    def compared(self, answer: str, reference: str) -> float | None:
        """The accuracy of an answer; None if it cannot be read. Raises UnverifiableError."""
        if self.kind == "exact":
            return float(answers.same_text(answer, reference))
        if self.kind == "numeric":
            return self._as_numbers(answer, reference)
        try:
            score = gym.score(reference, answer)
        except Exception as error:  # a scorer of reasoning-gym, over which we have no control
            raise UnverifiableError(f"reasoning-gym could not score it: {type(error).__name__}: {error}") from error
        return score if self.credit == "partial" else float(score >= 1)

    def _as_numbers(self, answer: str, reference: str) -> float | None:
        right, given = answers.number(reference), answers.number(answer)
        if right is None:
            raise UnverifiableError(f"its right answer {reference[:60]!r} is no number. Set reward.kind=exact")
        return None if given is None else float(answers.same_number(given, right, self.tolerance))


class MathScorer:
    """The verifier with kind=math, which compares all answers of a batch with one call of its child process."""

    def __init__(self, verifier: Verifier) -> None:
        self.verifier, self.comparison = verifier, MathComparison.start(seconds=verifier.seconds)

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """The outcome of each completion."""
        given = [self.verifier.answered(one, text) for one, text in zip(examples, completions, strict=True)]
        compared = {i: (one.reference, one.answer) for i, one in enumerate(given) if one.answer and not one.problem}
        outcomes = dict(zip(compared, self.comparison.compare(list(compared.values())), strict=True))
        return self.verifier.scored(
            given, [Failure(one.problem) if one.problem else outcomes.get(i) for i, one in enumerate(given)]
        )
