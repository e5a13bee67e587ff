"""A task of a few dozen words, a model of two layers, a reward that knows the example, an algorithm that only asks.

They are components like any other, and enter the registry for the tests of this folder alone.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from align_lab.base.contracts import Algorithm, Data, Model, Reward
from align_lab.base.registry import checked, param, section
from align_lab.base.task import DataSet, Demonstration, Example, LabeledCompletion, PreferencePair, Score
from align_lab.base.types import Advantage, LossOutput, Needs, RoundNeeds
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.lora_settings import Lora
from align_lab.models.policy import Policy, load_built, save_policy
from align_lab.models.shape import Shape
from align_lab.models.text import Text
from tests.train import small

SPLITS = ("train", "near", "far")
PROMPTS = {
    "train": ["a good film", "a bad film", "good and bad", "the film is", "bad bad bad", "the plot", "a plot is", "is"],
    "near": ["is it good", "is it bad", "a film a film", "plot plot", "it is a plot"],
    "far": ["film bad", "film good", "and and", "the the the"],
}
END = 4.5  # logit of the end token
SIZES = {"vocab": 280, "width": 16, "layers": 2, "heads": 2, "kv_heads": 1, "mlp": 24, "context": 32}


class Words(DataSet):
    """Every prompt with a number of its own; the better completion of a pair is the one with this number."""

    def examples(self, split):
        return [
            Example(key=f"{split}-{i}", prompt=text, columns={"number": 10 * SPLITS.index(split) + i})
            for i, text in enumerate(PROMPTS[split])
        ]

    def demonstrations(self, split):
        return [Demonstration(prompt=one.prompt, completion=" film" * (1 + i)) for i, one in self._numbered(split)]

    def pairs(self, split):
        return [
            PreferencePair(example=one, chosen=f" {i} good", rejected=f" {i} bad bad")
            for i, one in self._numbered(split)
        ]

    def _numbered(self, split):
        return [(one.columns["number"], one) for one in self.examples(split)]


@checked
@dataclass(frozen=True, kw_only=True)
class WordsData(Data):
    """The prompts above."""

    def splits(self):
        return SPLITS

    def size(self, split):
        return len(PROMPTS[split])

    def has_demonstrations(self):
        return True

    def has_pairs(self):
        return True

    def build(self, folder):
        (folder / "words.txt").write_text("words")

    def load(self, folder):
        assert (folder / "words.txt").is_file(), "this is another artefact"
        return Words()


class SingleWords(Words):
    """The same prompts; of each the completion with its number, which is desirable where the number is even."""

    def pairs(self, split):
        return []

    def labeled(self, split):
        return [
            LabeledCompletion(example=one, completion=f" {i} good", desirable=i % 2 == 0)
            for i, one in self._numbered(split)
        ]


@checked
@dataclass(frozen=True, kw_only=True)
class SingleWordsData(WordsData):
    """Unpaired preferences."""

    def has_pairs(self):
        return False

    def labels(self):
        return frozenset({True, False})

    def load(self, folder):
        assert (folder / "words.txt").is_file(), "this is another artefact"
        return SingleWords()


@checked
@dataclass(frozen=True, kw_only=True)
class TwoLayers(Model):
    """Random weights that say clearly different things after different prompts, and often end."""

    seed: int = param(0, "of the weights")
    context: int = param(32, "longest sequence")
    lora: Lora = section(Lora, "low-rank adapters")

    used_later: ClassVar = ("lora",)
    pretrained: ClassVar = True
    tiny: ClassVar = True

    def shape(self):
        return Shape(**SIZES)

    def fine_tuning(self):
        return None

    def build(self, folder):
        torch.manual_seed(self.seed)
        model = Llama(LlamaConfig(**SIZES))
        for parameter in model.parameters():
            parameter.data = parameter.data * 3
        states = model.hidden(torch.randint(1, 280, (64, 8))).flatten(0, 1).detach()
        even = torch.linalg.lstsq(states, torch.full((len(states), 1), END)).solution[:, 0]
        model.embed.weight.data[0] = even  # after every text, the end token is about as likely as not
        save_policy(Policy(model, Text(tokenizer=small.tokenizer(), eos=0)), folder)

    def load(self, folder):
        return load_built(folder, self.lora)


def true_score(number: int, completion: str) -> float:
    """A number in [-2, 2) that depends on the example and on every character of the completion."""
    return int(hashlib.sha256(f"{number}|{completion}".encode()).hexdigest()[:6], 16) / 2**22 - 2


class Scored:
    """A scorer that remembers what it was asked: (key, completion) in the order of the calls."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def score(self, examples, completions):
        self.asked += [(one.key, text) for one, text in zip(examples, completions, strict=True)]
        pairs = zip(examples, completions, strict=True)
        return Score(total=[true_score(one.columns["number"], text) for one, text in pairs])


@checked
@dataclass(frozen=True, kw_only=True)
class KnowsTheExample(Reward):
    """The true score."""

    on_gpu: ClassVar = False

    def load(self, folder):
        return Scored()


@checked
@dataclass(frozen=True, kw_only=True)
class Asks(Algorithm):
    """Every need is a field; the loss is that of a policy gradient on the score."""

    pairs: float = 0.0
    paired: bool = True
    rounds: int = 0
    round_reference: str = "start"
    reference: bool = True
    refills: int = 0
    greedy: bool = False
    noise: bool = False
    pretrain_batch: bool = False
    at_least: float = -100.0  # groups are kept whose best score is higher

    @property
    def needs(self):
        reference: Any = self.round_reference
        return Needs(
            pairs=self.pairs,
            paired=self.paired,
            rounds=RoundNeeds(steps=self.rounds, reference=reference) if self.rounds else None,
            reference=self.reference,
            refills=self.refills,
            greedy=self.greedy,
            noise=self.noise,
            pretrain_batch=self.pretrain_batch,
        )

    def init_state(self):
        return (0,)

    def keep(self, x):
        return x.score.amax(1) > self.at_least

    def advantages(self, x, state):
        return Advantage(advantage=x.score.unsqueeze(-1) * x.mask), (state[0] + 1,)

    def loss(self, now, x):
        loss = -(x.advantage * now.logp * x.mask).sum() / x.sequences
        if now.logp_pretrain is not None:
            loss = loss - (now.logp_pretrain * now.mask_pretrain).sum() / now.tokens_pretrain
        return LossOutput(loss=loss, metrics={"loss/policy_avg": loss.detach()})


class Watched:
    """An algorithm that keeps what it was given: rollouts, and (policy output, batch) of every call of the loss."""

    def __init__(self, algo: Any) -> None:
        self.algo, self.rollouts, self.given, self.calls = algo, [], [], []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.algo, name)

    def advantages(self, x, state):
        self.rollouts.append(copy.copy(x))
        advantage, state = self.algo.advantages(x, state)
        self.given.append(advantage)
        return advantage, state

    def loss(self, now, x):
        self.calls.append((now, x))
        return self.algo.loss(now, x)


COMPONENTS = {
    ("data", "words"): WordsData,
    ("data", "single_words"): SingleWordsData,
    ("model", "two_layers"): TwoLayers,
    ("reward", "knows_the_example"): KnowsTheExample,
    ("algo", "asks"): Asks,
}
