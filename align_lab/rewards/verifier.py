"""Verified answers: the final answer of a completion is compared with that of its example. Nothing is learned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from align_lab.base.contracts import Data, Reward
from align_lab.base.registry import param, register
from align_lab.base.task import Example, Failure, Score, ScoreOutcome
from align_lab.data import gym
from align_lab.rewards import answers

PARTS = ("accuracy", "format", "readable")
Outcome = tuple[ScoreOutcome, ScoreOutcome, ScoreOutcome]  # accuracy, format, readable
FAILED = (None, None, None)


class UnverifiableError(Exception):
    """The verifier, and not the completion, is to blame: there is nothing to compare with, or the scorer failed."""


@register("reward", "verifier")
@dataclass(frozen=True, kw_only=True)
class Verifier(Reward):
    """1 for the right answer and 0 for a wrong or unreadable one, plus `format_score` for an answer in the format.

    Logged apart: `accuracy`; `format`, the share whose answer the pattern finds; `readable`, the share with an answer
    that can be compared, in the format or not. A completion that cannot be verified, because its example has no answer
    or the scorer raises, is a failure and no 0.
    """

    unit: ClassVar = "share of completions"
    meaning: ClassVar = "share of completions whose answer is right"
    on_gpu: ClassVar = False

    kind: Literal["reasoning_gym", "exact", "numeric"] = param(
        "reasoning_gym",
        "what is right: reasoning_gym (what its task's own scorer gives the full score), exact (the same text), "
        "numeric (the same number: 1,000.0 is 1000)",
        choices=("reasoning_gym", "exact", "numeric"),
    )
    credit: Literal["full", "partial"] = param(
        "full",
        "of reasoning-gym's scores: full (1 for its full score, else 0), partial (its score, between 0 and 1)",
        choices=("full", "partial"),
    )
    answer: str = param("answer", "column that holds the right answer (exact, numeric)")
    entry: str = param("entry", "column that holds the problem as JSON (reasoning_gym)")
    pattern: str = param(r"<answer>(.*?)</answer>", "regular expression of the format; the answer is its only group")
    otherwise: Literal["last_line", "last_number", "nothing"] = param(
        "last_line",
        "what is the answer of a completion without the format: last_line, last_number, nothing (it is wrong)",
        choices=("last_line", "last_number", "nothing"),
    )
    format_score: float = param(0.0, "added to the score of a completion whose answer is in the format")
    tolerance: float = param(0.0, "largest difference from the right number (numeric)", low=0)

    def problems(self) -> list[str]:
        """A pattern that cannot be used."""
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
            "reasoning_gym": "Only data=reasoning has it. For other data set reward.kind=exact or reward.kind=numeric",
            "exact": f"Add it, or name the column that holds the right answer: reward.answer={[*columns, 'NAME'][0]}",
        }
        remedy["numeric"] = remedy["exact"]
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

    def load(self, folder: Path | None) -> Verifier:
        """Nothing is trained."""
        return self

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """The outcome of each completion."""
        pattern, total, rows = re.compile(self.pattern, re.DOTALL), list[ScoreOutcome](), list[Outcome]()
        for example, completion in zip(examples, completions, strict=True):
            try:
                accuracy, in_format, readable = self.verified(example, completion, pattern)
            except UnverifiableError as error:
                total.append(Failure(str(error)))
                rows.append(FAILED)
                continue
            total.append(accuracy + self.format_score * in_format)
            rows.append((accuracy, float(in_format), float(readable)))
        columns = zip(*rows, strict=True) if rows else ((), (), ())
        return Score(total=total, parts=dict(zip(PARTS, columns, strict=True)))

    def verified(self, example: Example, completion: str, pattern: re.Pattern[str]) -> tuple[float, bool, bool]:
        """Accuracy, and whether the answer is in the format, and readable. Raises UnverifiableError."""
        reference = example.columns.get(self.column)
        if reference is None:
            raise UnverifiableError(
                f"its example has no {self.column!r}, only {', '.join(example.columns) or 'a prompt'}"
            )
        found = answers.extract(completion, pattern)
        answer = answers.fallback(completion, self.otherwise) if found is None else found
        accuracy = self.compared(answer, str(reference)) if answer else None
        return accuracy or 0.0, found is not None, accuracy is not None

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
