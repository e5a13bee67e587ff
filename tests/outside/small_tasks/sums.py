"""Sums: every example carries its answer; a text shows how one is written; two sets of held-out sums."""

import json
import random
import re
from dataclasses import dataclass

from align_lab.base.contracts import Data, Reward
from align_lab.base.registry import param, register
from align_lab.base.task import DataSet, Demonstration, Example, PreferencePair, Score

SPLITS = ("train", "same", "harder")


class Sums(DataSet):
    """Rows of `a`, `b` and their sum, by split."""

    def __init__(self, rows):
        self.rows = rows

    def examples(self, split):
        return [
            Example(key=f"{split}-{i}", prompt=f"{row['a']} + {row['b']} =", columns={"answer": row["a"] + row["b"]})
            for i, row in enumerate(self.rows[split])
        ]

    def demonstrations(self, split):
        return [
            Demonstration(prompt=example.prompt, completion=f" {example.columns['answer']}")
            for example in self.examples(split)
        ]

    def pairs(self, split):
        """The right answer, and one that is off by some."""
        return [
            PreferencePair(example=one, chosen=f" {answer}", rejected=f" {answer + 1 + i % 5}")
            for i, one in enumerate(self.examples(split))
            for answer in [one.columns["answer"]]
        ]


@register("data", "sums")
@dataclass(frozen=True, kw_only=True)
class SumsData(Data):
    """Sums of two numbers."""

    largest: int = param(9, "largest number of a sum to train on", low=1)
    training: int = param(60, "sums to train on", low=1)
    held_out: int = param(24, "sums of each evaluation set", low=1)

    def splits(self):
        return SPLITS

    def size(self, split):
        return self.training if split == "train" else self.held_out

    def has_demonstrations(self):
        return True

    def has_pairs(self):
        return True

    def build(self, folder):
        draw = random.Random(0)
        rows = {}
        for split in SPLITS:
            largest = 10 * self.largest if split == "harder" else self.largest
            rows[split] = [
                {"a": draw.randint(0, largest), "b": draw.randint(0, largest)} for _ in range(self.size(split))
            ]
        (folder / "sums.json").write_text(json.dumps(rows))

    def load(self, folder):
        return Sums(json.loads((folder / "sums.json").read_text()))


@register("reward", "right_answer")
@dataclass(frozen=True, kw_only=True)
class RightAnswer(Reward):
    """1 for the answer, less the further away the first number of the completion is, -1 without a number."""

    label = "correctness"
    unit = "-1 to 1"
    meaning = "how near the completion is to the answer"
    on_gpu = False

    tolerance: float = param(10.0, "a number that is as far away scores 0", above=0)

    def load(self, folder):
        return self

    def score(self, examples, completions):
        return Score(total=[self.one(example, text) for example, text in zip(examples, completions, strict=True)])

    def one(self, example, text):
        number = re.search(r"\d+", text)
        if number is None:
            return -1.0
        return max(-1.0, 1 - abs(int(number[0][:6]) - example.columns["answer"]) / self.tolerance)


@register("reward", "is_number")
@dataclass(frozen=True, kw_only=True)
class IsNumber(Reward):
    """Is the completion a number and nothing else? 1 or 0."""

    label = "numbers"
    unit = "share of completions"
    on_gpu = False

    def load(self, folder):
        return self

    def score(self, examples, completions):
        return Score(total=[float(text.strip().isdecimal()) for text in completions])


@register("reward", "brevity")
@dataclass(frozen=True, kw_only=True)
class Brevity(Reward):
    """Minus the number of characters beyond the first `free`."""

    on_gpu = False

    free: int = param(3, "characters that cost nothing", low=0)

    def load(self, folder):
        return self

    def score(self, examples, completions):
        return Score(total=[-float(max(0, len(text) - self.free)) for text in completions])
