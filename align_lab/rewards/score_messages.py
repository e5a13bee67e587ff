"""What `reward=remote` and `align_lab serve` say to each other: JSON, with a version.

    POST /v1/score   {"version": 1, "examples": [{"key", "prompt", "columns"}], "completions": [text]}
    answer           {"version": 1, "outcomes": [{"score", "failure", "parts", "steps"}], "answers": [text] or null}

A prompt is a text, or a list of {"role", "content"}. Of an outcome, `score` is null for an abstention and for a
failure, and `failure` is then the reason. A value that JSON lacks (a date in a column) is sent as its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat

from align_lab.base.task import Example, Failure, Message, Prompt, Score, ScoreOutcome, StepScore
from align_lab.rewards.scores import CheckedScores

VERSION = 1
PATH = "/v1/score"
LONGEST_REASON = 2000  # characters of a failure


class SentMessage(BaseModel):
    """One turn of a conversation."""

    role: str
    content: str


class SentExample(BaseModel):
    """An example."""

    key: str
    prompt: str | list[SentMessage]
    columns: dict[str, Any] = {}

    def example(self) -> Example:
        """As a reward gets it."""
        prompt: Prompt = (
            self.prompt
            if isinstance(self.prompt, str)
            else tuple(Message(one.role, one.content) for one in self.prompt)
        )
        return Example(key=self.key, prompt=prompt, columns=self.columns)


class ScoreRequest(BaseModel):
    """Completions to score, each with its example."""

    version: int
    examples: list[SentExample]
    completions: list[str]

    def problem(self) -> str:
        """Why it cannot be scored; empty where it can."""
        if self.version != VERSION:
            return f"the request has version {self.version}, and this server speaks version {VERSION}: update align_lab"
        if len(self.examples) != len(self.completions):
            return f"{len(self.examples)} examples came with {len(self.completions)} completions: send one for each"
        return ""


class SentStep(BaseModel):
    """The score of one step, by character positions."""

    start: int
    end: int
    score: FiniteFloat


class SentOutcome(BaseModel):
    """The outcome of one completion."""

    model_config = ConfigDict(strict=True)

    score: FiniteFloat | None = None
    failure: str | None = None
    parts: dict[str, FiniteFloat | None] = {}
    steps: list[SentStep] = []

    def total(self) -> ScoreOutcome:
        """As a reward returns it."""
        return self.score if self.failure is None else Failure(_harmless(self.failure))


class ScoreAnswer(BaseModel):
    """The outcomes of all completions of a request, in their order."""

    version: int
    outcomes: list[SentOutcome]
    answers: list[str | None] | None = None


def request_body(examples: Sequence[Example], completions: Sequence[str]) -> dict[str, Any]:
    """The request, to be written as JSON."""
    sent = [{"key": one.key, "prompt": _sent_prompt(one.prompt), "columns": dict(one.columns)} for one in examples]
    return {"version": VERSION, "examples": sent, "completions": list(completions)}


def answer_of(checked: CheckedScores) -> ScoreAnswer:
    """The answer that carries these scores."""
    outcomes = [
        SentOutcome(
            score=value,
            failure=checked.failures.get(i),
            parts={name: part[i] for name, part in checked.parts.items()},
            steps=[_sent_step(step) for step in checked.steps[i]] if checked.steps else [],
        )
        for i, value in enumerate(checked.values)
    ]
    return ScoreAnswer(version=VERSION, outcomes=outcomes, answers=list(checked.answers) or None)


def score_of(answers: Sequence[ScoreAnswer], parts: Sequence[str]) -> Score:
    """The scores that several answers carry, one after another; of the parts those with these names."""
    outcomes = [one for answer in answers for one in answer.outcomes]
    extracted = [text for answer in answers for text in answer.answers or [None] * len(answer.outcomes)]
    return Score(
        total=[one.total() for one in outcomes],
        parts={name: [one.parts.get(name) for one in outcomes] for name in parts},
        steps=[[StepScore(start=s.start, end=s.end, score=s.score) for s in one.steps] for one in outcomes]
        if any(one.steps for one in outcomes)
        else (),
        answers=extracted if any(answer.answers for answer in answers) else (),
    )


def _harmless(reason: str) -> str:
    """The beginning of a server's text without control characters, which could move the cursor of a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in reason[:LONGEST_REASON])


def _sent_step(step: StepScore) -> SentStep:
    return SentStep(start=step.start, end=step.end, score=step.score)


def _sent_prompt(prompt: Prompt) -> Any:
    if isinstance(prompt, str):
        return prompt
    return [{"role": message.role, "content": message.content} for message in prompt]
