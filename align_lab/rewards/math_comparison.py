"""Compares answers with math-verify in a child process, which is ended when a comparison hangs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from align_lab.base.errors import RewardError
from align_lab.base.task import Example, ScoreOutcome
from align_lab.rewards.child import CallFailed, Child
from align_lab.rewards.child_scorer import ChildScorer, Row

MEMORY_GIB = 2.0
BATCH = 64  # comparisons of a call


@dataclass(frozen=True, kw_only=True)
class MathComparison:
    """`seconds`: limit of a call, which compares up to 64 answers."""

    scorer: ChildScorer

    @classmethod
    def start(cls, *, seconds: float) -> MathComparison:
        """Start the process. Raises RewardError if math-verify cannot be imported."""
        child = Child("align_lab.rewards.math_answers:load", {}, name="math-verify", memory_gib=MEMORY_GIB)
        try:
            child.start()
        except CallFailed as failure:
            raise RewardError(f"math-verify cannot be used: {failure.reason}") from None
        return cls(scorer=ChildScorer(child=child, arguments=_arguments, seconds=seconds, batch=BATCH, advice=_advice))

    def compare(self, pairs: Sequence[tuple[str, str]]) -> list[ScoreOutcome]:
        """Of each (right answer, answer): 1 or 0, None if the answer cannot be read, or a failure."""
        examples = [Example(key="", prompt="", columns={"reference": reference}) for reference, _ in pairs]
        return list(self.scorer.score(examples, [answer for _, answer in pairs]).total)


def _arguments(rows: Sequence[Row]) -> dict[str, Any]:
    return {"pairs": [[example.columns["reference"], answer] for example, answer in rows]}


def _advice(failure: CallFailed) -> str:
    return "\nThe answer is too hard to compare" if failure.kind in ("slow", "memory") else ""
