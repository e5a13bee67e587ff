"""A reward for the form of a completion: named forms, or a regular expression that the whole text has to match."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from align_lab.base.contracts import Reward
from align_lab.base.registry import param, register
from align_lab.base.task import Example, Failure, Score, ScoreOutcome
from align_lab.rewards.patterns import compiled, limited, problem

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
PATTERNS = {
    "think_answer": r"\s*<think>.*?</think>\s*<answer>.*?</answer>\s*",
    "think": r"\s*<think>.*?</think>.*",
    "answer": r".*?<answer>.*?</answer>\s*",
}
FORMS = (*PATTERNS, "tags", "json_object", "pattern")


@register("reward", "format")
@dataclass(frozen=True, kw_only=True)
class FormatMatch(Reward):
    """1 for a completion of the form, 0 for any other."""

    form: str = param(
        "think_answer",
        "think_answer: <think>...</think><answer>...</answer> and nothing else; think: it begins with one; answer: it "
        "ends with one; tags: the share of the four tags that occur exactly once; json_object; pattern",
        choices=FORMS,
    )
    pattern: str = param("", "the regular expression of form=pattern, which the whole text has to match; . is any line")
    seconds: float = param(1.0, "limit of the search in one completion; beyond it, the completion failed", above=0)

    used_later: ClassVar = (*Reward.used_later, "seconds")
    repeats: ClassVar = True
    on_gpu: ClassVar = False

    def problems(self) -> list[str]:
        """A pattern that is none, or that another form would not use."""
        if self.form == "pattern":
            return [text for text in (problem(self.pattern, "reward.pattern"),) if text]
        if self.pattern:
            return [f"reward.form={self.form} has a pattern of its own. Set reward.form=pattern to use reward.pattern"]
        return []

    def load(self, folder: Path | None) -> FormatScorer:
        """Nothing is trained."""
        return FormatScorer(self)


class FormatScorer:
    """Looks at the form of each completion."""

    def __init__(self, reward: FormatMatch) -> None:
        self.form, self.seconds = reward.form, reward.seconds
        pattern = PATTERNS.get(reward.form, reward.pattern)
        self.pattern = compiled(pattern, dotall=True) if pattern else None

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """One outcome for each completion."""
        return Score(total=[self._one(text) for text in completions])

    def _one(self, text: str) -> ScoreOutcome:
        if self.form == "tags":
            return sum(text.count(tag) == 1 for tag in TAGS) / len(TAGS)
        if self.form == "json_object":
            return float(is_json_object(text))
        if any(tag in PATTERNS.get(self.form, "") and text.count(tag) != 1 for tag in TAGS):
            return 0.0  # a second tag would be part of what stands between the first two
        pattern: Any = self.pattern
        match = limited(lambda: pattern.fullmatch(text, timeout=self.seconds), seconds=self.seconds)
        return match if isinstance(match, Failure) else float(match is not None)


def is_json_object(text: str) -> bool:
    """Is the text a JSON object, with nothing but space around it?"""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
