"""What a task provides: examples with their columns, demonstrations, preferences; and what a reward returns.

An example is one prompt with everything that is known about it. Its key does not depend on the rest of the data set.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

TRAIN = "train"  # the split that the policy is trained on
FEW_PROMPTS = 64  # below which a set of prompts is warned of: what it decides is decided by few
DEVELOPMENT = "development"  # held out for what is decided before the end: the best checkpoint, tuning


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str  # system, user or assistant
    content: str


TURN = 64  # bytes with which a chat template may surround one turn
Prompt = str | tuple[Message, ...]  # a text that the policy continues, or a conversation that it answers


@dataclass(frozen=True, kw_only=True)
class Example:
    """One prompt, and every other column of its row by name (the answer, the difficulty, the source)."""

    key: str  # the row's own identifier, else a hash of its content
    prompt: Prompt
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of_text(cls, text: str, **columns: Any) -> Example:
        """An example whose key is a hash of its prompt."""
        return cls(key=content_key(text), prompt=text, columns=columns)

    @property
    def text(self) -> str:
        """The prompt as one text; a conversation has one line per turn."""
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n".join(f"{message.role}: {message.content}" for message in self.prompt)


@dataclass(frozen=True, kw_only=True)
class PlacedPrompt:
    """A prompt and where it lies, for messages."""

    split: str
    place: str  # a file and its line; of generated problems their first words
    example: Example


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """A text to imitate: the completion, and the prompt that it answers (empty if there is none)."""

    completion: str
    prompt: Prompt = ""

    @property
    def example(self) -> Example:
        """Its prompt as an example."""
        return Example(key="", prompt=self.prompt)

    @property
    def text(self) -> str:
        """Prompt and completion as one text."""
        return self.example.text + self.completion


@dataclass(frozen=True, kw_only=True)
class PreferencePair:
    """Two completions of one example, the preferred one first."""

    example: Example
    chosen: str
    rejected: str


@dataclass(frozen=True, kw_only=True)
class LabeledCompletion:
    """A completion of one example that somebody found desirable, or not. It needs no partner."""

    example: Example
    completion: str
    desirable: bool


@dataclass(frozen=True, kw_only=True)
class PromptForm:
    """How a model gets the prompts of a data set (fields of `base.contracts.Data`)."""

    chat: str = "answer"  # a chat model answers the text of a prompt, or its answer begins with it ("continuation")
    instruction: str = "{prompt}"  # what a chat model is asked; {prompt} stands for the text
    too_long: str = "error"  # of a prompt that leaves no room for a completion: error, drop or truncate


def bytes_of(prompt: Prompt) -> int:
    """Bytes of a prompt in UTF-8, with `TURN` for each turn of a conversation: a bound on its tokens."""
    if isinstance(prompt, str):
        return len(prompt.encode())
    return sum(len(turn.content.encode()) + TURN for turn in prompt)


def content_key(*parts: str) -> str:
    """The key of a row without an identifier: a hash of its content."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class DataSet(ABC):
    """A loaded data set. A part that it lacks is empty."""

    @abstractmethod
    def examples(self, split: str) -> Sequence[Example]:
        """The examples of `train`, `development`, or an evaluation set that the component names, in a fixed order."""

    def demonstrations(self, split: str) -> Sequence[Demonstration]:
        """Texts to imitate in supervised fine-tuning (`train`), and held-out ones."""
        return ()

    def pairs(self, split: str) -> Sequence[PreferencePair]:
        """Preference pairs that come with the data."""
        return ()

    def labeled(self, split: str) -> Sequence[LabeledCompletion]:
        """Single completions with a label that come with the data (unpaired preferences)."""
        return ()


@dataclass(frozen=True)
class Failure:
    """A completion could not be scored, for this reason. A failure is counted and never becomes a number."""

    reason: str


ScoreOutcome: TypeAlias = float | Failure | None  # a score, an abstention, or a failure


@dataclass(frozen=True, kw_only=True)
class StepScore:
    """The score of one step of a completion, which is its characters from `start` to before `end`."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """The outcome of each completion.

    `total`: a number; None where the scorer abstains, because it has no opinion; a `Failure` where it could not score.
    `parts`: what the total was computed from, by name, for the log (`Reward.parts` names them all).
    `steps`: the scores of a completion's steps, which are among its total, or empty: the total alone counts.
    `answers`: what was extracted from each completion to be judged, None where nothing could be read; or empty.
    """

    total: Sequence[ScoreOutcome]
    parts: Mapping[str, Sequence[ScoreOutcome]] = field(default_factory=dict[str, Sequence[ScoreOutcome]])
    steps: Sequence[Sequence[StepScore]] = ()
    answers: Sequence[str | None] = ()


@dataclass(frozen=True, kw_only=True)
class ScorerMemory:
    """Bytes of the weights of a scorer, and of one forward pass beside them."""

    weights: float = 0.0
    forward: float = 0.0


class Scorer(Protocol):
    """Anything that scores completions: a model, a rule, a service. It reads text, so any tokenizer works with it."""

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """The outcome of each completion of its example; both lists have the same length.

        An exception ends the run, which is saved. A scorer that cannot score one completion returns a `Failure`.
        """
        ...
