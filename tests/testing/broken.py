"""Components that each break one clause of the contract of their kind, and sound ones. Importing it imports no torch.

They join the registry in the tests of this folder alone (`conftest.py`).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from align_lab.base.contracts import Algorithm, Data, Model, Record, Reward
from align_lab.base.registry import checked, param, section
from align_lab.base.task import DataSet, Demonstration, Example, Message, Score
from align_lab.base.types import Advantage, LossOutput, Needs
from align_lab.models.sft_settings import Sft

calls = itertools.count()
BROKEN: dict[tuple[str, str], str] = {}  # (kind, name) -> the check that must find the mistake
COMPONENTS: dict[tuple[str, str], type] = {}


def broken(kind: str, check: str):
    """A component under the name of its class; `check` is the one that must find its mistake."""

    def keep(cls):
        BROKEN[kind, cls.__name__] = check
        return component(kind, cls.__name__)(cls)

    return keep


def component(kind: str, name: str):
    """What `@register` and `@dataclass` do, without the registry."""

    def keep(cls):
        COMPONENTS[kind, name] = checked(dataclass(frozen=True, kw_only=True)(cls))
        return COMPONENTS[kind, name]

    return keep


# ------------------------------------------------------------------------------------------------- settings


@broken("record", "every field has a help text")
class NoHelp(Record):
    colour: str = "blue"


@broken("record", "every field has a plain default")
class NoDefault(Record):
    colour: str


@broken("record", "every field has a plain default")
class ObjectAsDefault(Record):
    folder: Path = param(Path("x"), "a path object")


@broken("record", "fields of the contract remain")
class OtherType(Record):
    samples: str = param("three", "no longer a number")


@broken("record", "problems are sentences")
class ProblemsAsText(Record):
    def problems(self):
        return "all is wrong"


@broken("record", "files are paths")
class FilesAsText(Record):
    def files(self):
        return ["a.txt"]


@broken("record", "class variables have a meaning")
class UsedLaterOfNothing(Record):
    used_later: ClassVar = ("no_such_field",)


@broken("record", "it is read without torch")
class ImportsTorch(Record):
    def problems(self):
        import torch

        return ["a sentence"][: 1 - bool(torch)]


@broken("record", "problems are sentences")
class Raises(Record):
    def problems(self):
        raise KeyError("colour")


@dataclass(frozen=True, kw_only=True)
@checked
class WrongOrder(Record):
    """The decorators in the wrong order: the dataclass replaces the __init__ that checks."""

    speed: int = param(1, "lines a second", low=1)


@dataclass
class Changeable(Reward):
    def load(self, folder):
        return self


BROKEN["record", "WrongOrder"], COMPONENTS["record", "WrongOrder"] = "bounds are enforced", WrongOrder
BROKEN["reward", "Changeable"], COMPONENTS["reward", "Changeable"] = "it is a frozen dataclass", Changeable


# ------------------------------------------------------------------------------------------------- algorithms


class Reinforce(Algorithm):
    """Keeps the contract, but for what a subclass changes."""

    @property
    def needs(self):
        return Needs()

    def advantages(self, x, state):
        return Advantage(advantage=x.score[..., None] * x.mask), state

    def loss(self, now, x):
        from align_lab import equations as eq

        return LossOutput(loss=eq.masked_mean(-x.advantage * now.logp, x.mask, over=x.sequences))


@component("algo", "sound")
class Sound(Reinforce):
    """Keeps the contract."""


@broken("algo", "needs are declared")
class NeedsAsDict(Reinforce):
    @property
    def needs(self):
        return {"reference": True}


@broken("algo", "advantages have the shape of the rollout")
class ScoresAsAdvantages(Reinforce):
    def advantages(self, x, state):
        return Advantage(advantage=x.score), state


@broken("algo", "advantages have the shape of the rollout")
class AdvantagesUnderTheMask(Reinforce):
    def advantages(self, x, state):
        return Advantage(advantage=x.score[..., None].expand(x.mask.shape)), state


@broken("algo", "nothing under the mask matters")
class NaNLeaks(Reinforce):
    def loss(self, now, x):
        return LossOutput(loss=(-x.advantage * now.logp * x.mask).sum() / x.sequences)


@broken("algo", "what is not needed may be absent")
class UndeclaredReference(Reinforce):
    def loss(self, now, x):
        return LossOutput(loss=((now.logp - x.logp_ref).nan_to_num() * x.mask).sum() / x.sequences)


@broken("algo", "the loss is a finite scalar with a gradient")
class LossPerSample(Reinforce):
    def loss(self, now, x):
        return LossOutput(loss=(-x.advantage * now.logp).sum(-1))


@broken("algo", "the losses of parts add up")
class DividesByItsOwnSize(Reinforce):
    def loss(self, now, x):
        from align_lab import equations as eq

        return LossOutput(loss=eq.masked_mean(-x.advantage * now.logp, x.mask, over=float(x.mask.sum())))


@broken("algo", "metrics are declared detached scalars")
class UndeclaredMetric(Reinforce):
    def loss(self, now, x):
        out = super().loss(now, x)
        return dataclasses.replace(out, metrics={"my/metric": out.loss.detach()})


@broken("algo", "it computes the same again")
class Noisy(Reinforce):
    def advantages(self, x, state):
        import torch

        return Advantage(advantage=torch.rand_like(x.logp_old) * x.mask), state


@broken("algo", "the state survives a checkpoint")
class StateInTheComponent(Reinforce):
    def __post_init__(self):
        object.__setattr__(self, "steps", 0)

    def advantages(self, x, state):
        object.__setattr__(self, "steps", self.steps + 1)
        return Advantage(advantage=self.steps * x.score[..., None] * x.mask), state


@broken("algo", "the state survives a checkpoint")
class StateAsObject(Reinforce):
    def advantages(self, x, state):
        return Advantage(advantage=x.score[..., None] * x.mask), Path("state")


@broken("algo", "the inputs are not modified")
class InPlace(Reinforce):
    def advantages(self, x, state):
        x.score.sub_(x.score.mean())
        return Advantage(advantage=x.score[..., None] * x.mask), state


@broken("algo", "the smallest group is enough")
class LeaveOneOutOfOne(Reinforce):
    def advantages(self, x, state):
        size = x.score.shape[1]
        others = (x.score.sum(1, keepdim=True) - x.score) / (size - 1)
        return Advantage(advantage=((x.score - others)[..., None]).expand(x.mask.shape).where(x.mask, 0.0)), state


# ------------------------------------------------------------------------------------------------- data


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
    instruction = "Write a sentence."


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


# ------------------------------------------------------------------------------------------------- rewards


class Length(Reward):
    """Keeps the contract, but for what a subclass changes."""

    def load(self, folder=None):
        return self

    def score(self, examples, completions):
        return Score(total=[float(len(text)) for text in completions])


@component("reward", "sound")
class SoundReward(Length):
    """Keeps the contract."""


@broken("reward", "every completion has one finite score")
class TooFewScores(Length):
    def score(self, examples, completions):
        return Score(total=[1.0])


@broken("reward", "every completion has one finite score")
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
    def build(self, folder, data, backbone):
        """Nobody calls it."""


@broken("reward", "an untrained one says that it must be trained")
class ScoresUntrained(Length):
    trained: ClassVar = True

    def build(self, folder, data, backbone):
        """Trains nothing."""


@broken("reward", "the backbone is a model")
class UnknownBackbone(Length):
    backbone: ClassVar = "enormous"


@component("reward", "verifier")
class Verifier(Reward):
    """Keeps the contract, on examples that have an answer."""

    def load(self, folder=None):
        return self

    def score(self, examples, completions):
        rows = zip(examples, completions, strict=True)
        return Score(total=[float(example.columns["answer"] in text) for example, text in rows])


# ------------------------------------------------------------------------------------------------- models


@broken("model", "the start policy is made in one way")
class MadeByNobody(Model):
    def load(self, folder):
        raise NotImplementedError


@broken("model", "the start policy is made in one way")
class FineTunedFromNothing(Model):
    sft: Sft = section(Sft, "supervised fine-tuning")

    def fine_tuning(self):
        return self.sft

    def load(self, folder):
        raise NotImplementedError


@broken("model", "the shape is a shape")
class ShapeAsDict(Model):
    def shape(self):
        return {"width": 4}

    def build(self, folder):
        raise NotImplementedError

    def load(self, folder):
        raise NotImplementedError


class TinyStart(Model):
    """Tiny, but for what a subclass changes."""

    sft: Sft = Sft()

    def fine_tuning(self):
        return self.sft

    def initial(self, texts):
        from align_lab.models.tiny import Tiny

        return Tiny(width=8, layers=1, heads=2, kv_heads=2, mlp=8, vocab=300).initial(texts)

    def load(self, folder):
        from align_lab.models.policy import load_policy

        return load_policy(folder)


@broken("model", "initial gives a policy")
class InitialModelAlone(TinyStart):
    def initial(self, texts):
        return super().initial(texts).model


@broken("model", "log probabilities are finite")
class WeightsThatAreNaN(TinyStart):
    def initial(self, texts):
        policy = super().initial(texts)
        policy.model.head.data.fill_(float("nan"))
        return policy


@broken("model", "the tokenizer returns the text")
class LosesCapitals(TinyStart):
    def initial(self, texts):
        from tokenizers import normalizers

        policy = super().initial(texts)
        policy.tokenizer.normalizer = normalizers.Lowercase()
        return policy


@broken("model", "a saved policy is read anew")
class OneModelForAll(TinyStart):
    memory: ClassVar = {}

    def load(self, folder):
        return self.memory.setdefault("policy", super().load(folder))
