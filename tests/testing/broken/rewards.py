"""Rewards."""

from __future__ import annotations

import itertools
from typing import ClassVar

from align_lab.base.contracts import Reward
from align_lab.base.task import Score
from tests.testing.broken.collected import broken, component

calls = itertools.count()


class Length(Reward):
    """Keeps the contract, but for what a subclass changes."""

    def load(self, folder=None):
        return self

    def score(self, examples, completions):
        return Score(total=[float(len(text)) for text in completions])


@component("reward", "sound")
class SoundReward(Length):
    """Keeps the contract."""


@broken("reward", "every completion has one outcome")
class TooFewScores(Length):
    def score(self, examples, completions):
        return Score(total=[1.0])


@broken("reward", "every completion has one outcome")
class InfiniteScore(Length):
    def score(self, examples, completions):
        return Score(total=[float("inf") for _ in completions])


@broken("reward", "it scores the same again")
class RandomScore(Length):
    def score(self, examples, completions):
        return Score(total=[float(next(calls)) for _ in completions])


@broken("reward", "the order of the batch does not matter")
class ScoresThePlace(Length):
    def score(self, examples, completions):
        return Score(total=[float(place) for place, _ in enumerate(completions)])


@broken("reward", "the rest of the batch does not matter")
class ComparesWithTheBatch(Length):
    def score(self, examples, completions):
        longest = max(map(len, completions))
        return Score(total=[len(text) / longest for text in completions])


@broken("reward", "unusual texts have a score")
class DividesByTheLength(Length):
    def score(self, examples, completions):
        return Score(total=[1 / len(text) for text in completions])


@broken("reward", "unusual texts have a score")
class NoNumberForControlCharacters(Length):
    def score(self, examples, completions):
        return Score(total=[1.0 if "\x00" not in text else float("nan") for text in completions])


@broken("reward", "it loads without a folder")
class LoadsNothing(Length):
    def load(self, folder=None):
        return None


@broken("reward", "it is built from its settings")
class WithoutLoad(Reward):
    """The contract demands `load`."""


@broken("reward", "training is declared")
class TrainedWithoutBuild(Length):
    trained: ClassVar = True

    def load(self, folder=None):
        from align_lab.base.errors import DataError

        raise DataError("it has to be trained")


@broken("reward", "training is declared")
class BuildsInVain(Length):
    def build(self, folder, given):
        """Nobody calls it."""


@broken("reward", "an untrained one says that it must be trained")
class ScoresUntrained(Length):
    trained: ClassVar = True

    def build(self, folder, given):
        """Trains nothing."""


@broken("reward", "it starts from a model")
class UnknownBackbone(Length):
    def starts_from(self, policy):
        return {"name": "enormous"}


@component("reward", "verifier")
class Verifier(Reward):
    """Keeps the contract, on examples that have an answer."""

    def load(self, folder=None):
        return self

    def score(self, examples, completions):
        rows = zip(examples, completions, strict=True)
        return Score(total=[float(example.columns["answer"] in text) for example, text in rows])


@component("reward", "forgiving")
class Forgiving(Length):
    """Keeps the contract: a column that is missing counts as empty."""

    def score(self, examples, completions):
        return Score(total=[float(self.answer(one) in text) for one, text in zip(examples, completions, strict=True)])

    def answer(self, example):
        try:
            return example.columns["answer"]
        except KeyError:
            return ""
