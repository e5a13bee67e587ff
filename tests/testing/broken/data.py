"""Data sets."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import ClassVar

from align_lab.base.contracts import Data
from align_lab.base.registry import param
from align_lab.base.task import DataSet, Demonstration, Example, Message
from tests.testing.broken.collected import broken, component

calls = itertools.count()


@dataclass(frozen=True)
class Rows(DataSet):
    """Prompts by split, and texts to imitate."""

    prompts: dict
    texts: tuple = ()

    def examples(self, split):
        return [Example.of_text(prompt) for prompt in self.prompts[split]]

    def demonstrations(self, split):
        return [Demonstration(completion=text) for text in self.texts]


class Prompts(Data):
    """Keeps the contract, but for what a subclass changes."""

    rows: ClassVar = Rows({"train": ["one", "two"], "evaluation": ["three"]})

    def build(self, folder):
        assert not list(folder.iterdir())
        (folder / "rows.json").write_text(json.dumps({**self.rows.prompts}))

    def load(self, folder):
        assert json.loads((folder / "rows.json").read_text()) == self.rows.prompts
        return self.rows


@component("data", "sound")
class SoundData(Prompts):
    """Keeps the contract."""


@broken("data", "it is built and loaded")
class BuildsNothing(Prompts):
    def build(self, folder):
        """Writes no file, so `load` cannot read it."""


@broken("data", "splits begin with train")
class NoEvaluation(Prompts):
    def splits(self):
        return ("train",)


@broken("data", "the instruction is a text")
class InstructionWithoutPrompt(Prompts):
    instruction: str = param("Write a sentence.", "what a chat model is asked")


@broken("data", "every split has examples")
class EmptyEvaluation(Prompts):
    rows = Rows({"train": ["one"], "evaluation": []})


@broken("data", "keys are unique texts")
class DoubleKeys(Prompts):
    rows = Rows({"train": ["one", "one"], "evaluation": ["three"]})


class Numbered(Rows):
    """Keys that count up over the life of the process."""

    def examples(self, split):
        return [Example(key=str(next(calls)), prompt=prompt) for prompt in self.prompts[split]]


@broken("data", "loading again gives the same")
class KeysOfTheMoment(Prompts):
    rows = Numbered(Prompts.rows.prompts)


@broken("data", "prompts are texts or conversations")
class EmptyPrompt(Prompts):
    rows = Rows({"train": ["one", " "], "evaluation": ["three"]})


class Chats(Rows):
    """Conversations whose role no chat template knows."""

    def examples(self, split):
        turns = [(Message("human", prompt),) for prompt in self.prompts[split]]
        return [Example(key=turn[0].content, prompt=turn) for turn in turns]


@broken("data", "prompts are texts or conversations")
class UnknownRole(Prompts):
    rows = Chats(Prompts.rows.prompts)


@broken("data", "evaluation examples are not trained on")
class TrainsOnTheEvaluation(Prompts):
    rows = Rows({"train": ["one", "two"], "evaluation": ["two"]})


class SameQuestions(Rows):
    """Two splits with a question in common, under keys of their own."""

    def examples(self, split):
        return [Example(key=f"{split} {prompt}", prompt=prompt) for prompt in self.prompts[split]]


@broken("data", "evaluation examples are not trained on")
class TrainsOnAnEvaluationPrompt(Prompts):
    rows = SameQuestions({"train": ["one", "two"], "evaluation": ["two", "three"]})


@broken("data", "development examples are not evaluated on")
class ChoosesByTheEvaluation(Prompts):
    rows = SameQuestions({"train": ["one"], "evaluation": ["two", "three"], "development": ["four", "two"]})

    def has_development(self):
        return True


@broken("data", "what is promised is there")
class PromisesDemonstrations(Prompts):
    def has_demonstrations(self):
        return True


@broken("data", "what is promised is there")
class PromisesPairs(Prompts):
    def has_pairs(self):
        return True


@broken("data", "sizes are upper bounds")
class TooSmallASize(Prompts):
    def size(self, split):
        return 1


@broken("data", "sizes are upper bounds")
class TooShortATextBound(Prompts):
    rows = Rows(Prompts.rows.prompts, texts=("three words here",))

    def has_demonstrations(self):
        return True

    def longest_text(self):
        return 2
