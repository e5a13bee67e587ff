"""The contract of every kind of component: a component inherits one, and overrides what differs from the defaults.

    algo      the paper's mathematics: what it needs, advantages, loss
    data      where examples, demonstrations and preference pairs come from
    model     the policy that is trained, and how its start policy is built
    reward    what scores a completion, in training or, as a judge, only in evaluation
    hardware  where processes run, in which precision            (`base/hardware.py`, fields only)
    train     how much experience a step holds and how it is used (`base/hyperparameters.py`, fields only)
    record    what is stored of a run, and where else it is logged (`base/record.py`, fields only)

Only the methods of a contract are called; no other hook is looked up by name. `align_lab doctor` checks every
registered component against its contract, and `align_lab.testing` holds the same checks for the tests of a plug-in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from align_lab.base.component import Component
from align_lab.base.hardware import Hardware
from align_lab.base.hyperparameters import Train
from align_lab.base.record import Record
from align_lab.base.registry import contract, param
from align_lab.base.task import DEVELOPMENT, DataSet, Demonstration, PlacedPrompt, PromptForm, Scorer, ScorerMemory
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Algorithm", "Component", "Data", "Hardware", "Model", "Record", "Reward", "RewardInputs", "Train"]


@contract("algo")
class Algorithm(Component, ABC):
    """Hyper-parameters and pure mathematics, one paper a file (`align_lab.algos`)."""

    @property
    @abstractmethod
    def needs(self) -> Needs:
        """What the loop must provide: a reference, a critic, groups, pairs. No code tests an algorithm's name."""

    def init_state(self) -> State:
        """What is carried from step to step (running moments, a running baseline) and checkpointed."""
        return ()

    @abstractmethod
    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """The advantages [P G T] of a step's rollout over all processes, and the state for the next step."""

    def keep(self, x: Rollout) -> Tensor:
        """The groups [P] bool that are worth training on. Only called where `needs.refills` is not 0.

        Groups that are not kept are replaced by those of further prompts, and are charged all the same.
        """
        raise NotImplementedError(f"{type(self).__name__}.keep is needed where needs.refills is not 0")

    def statistics(self, now: PolicyOutput, x: Batch) -> Mapping[str, Tensor]:
        """Scalars that the loss of any part of a minibatch needs from all of it; they add up over the parts.

        The loss finds the sums in `x.statistics`, without gradient. Only called where `needs.statistics` is True.
        """
        raise NotImplementedError(f"{type(self).__name__}.statistics is needed where needs.statistics is True")

    @abstractmethod
    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """A scalar to differentiate, and detached metrics that add up over the parts of a minibatch."""


@contract("data")
@dataclass(frozen=True, kw_only=True)
class Data(Component, ABC):
    """Where examples come from. `build` writes them into a folder once; `load` reads that folder."""

    instruction: str = param("{prompt}", "what a chat model is asked; {prompt} stands for the text of the prompt")
    chat_form: str = param(
        "answer",
        "a chat model answers the prompt (answer), or its answer begins with the prompt's text (continuation)",
        choices=("answer", "continuation"),
    )
    too_long: str = param(
        "error",
        "prompts that leave no room for sampling.max_new_tokens in the model's context: error; drop; "
        "truncate, from the left",
        choices=("error", "drop", "truncate"),
    )

    used_later: ClassVar[tuple[str, ...]] = ("instruction", "chat_form", "too_long")
    whole_sets: ClassVar[bool] = False  # of an evaluation set with fewer than evaluation.prompts examples, all are used

    @property
    def prompt_form(self) -> PromptForm:
        """How a model gets the prompts."""
        return PromptForm(chat=self.chat_form, instruction=self.instruction, too_long=self.too_long)

    def splits(self) -> tuple[str, ...]:
        """`train`, then the names of the evaluation sets."""
        return ("train", "evaluation")

    def has_development(self) -> bool:
        """Is there a split `development` beside them? What is decided before the end, the best checkpoint and tuning,
        looks at it and not at the evaluation sets."""
        return False

    def all_splits(self) -> tuple[str, ...]:
        """`splits`, and `development` if there is one."""
        return (*self.splits(), DEVELOPMENT) if self.has_development() else self.splits()

    def evaluation_sets(self, named: Sequence[str] = ()) -> tuple[str, ...]:
        """The sets of an evaluation: those that are named, else all evaluation sets. The first one decides."""
        return tuple(named) or self.splits()[1:]

    def size(self, split: str) -> int | None:
        """An upper bound on the examples of a split; None if the settings alone do not determine it."""
        return None

    def has_demonstrations(self) -> bool:
        """Are there texts for supervised fine-tuning?"""
        return False

    def has_pairs(self) -> bool:
        """Are there preference pairs?"""
        return False

    def labels(self) -> frozenset[bool]:
        """The labels of its single completions to train on: True (desirable), False, both; empty: there are none."""
        return frozenset()

    def column_names(self) -> tuple[str, ...] | None:
        """The names of the columns that its examples have; None if the settings alone do not determine them."""
        return None

    def longest_prompt(self) -> int | None:
        """Words of the longest prompt, for the memory estimate; None if the settings do not determine it."""
        return None

    def longest_text(self) -> int | None:
        """Words of the longest demonstration, for the memory estimate; None if the settings do not determine it."""
        return None

    def longest_pair(self) -> int | None:
        """Words of the longest prompt of a preference pair with its longer answer; None if that is not known."""
        return None

    def longer_prompts(self, least: int) -> Iterable[PlacedPrompt] | None:
        """The prompts with more than `least` bytes, for the check of their tokens before anything is queued.

        None, the default, if only the built data set has them: they are checked where it was built before.
        """
        return None

    def notes(self) -> Sequence[str]:
        """What `data inspect` says about it besides its counts: rows that were left out, oddities."""
        return ()

    @abstractmethod
    def build(self, folder: Path) -> None:
        """Write the data set into the empty `folder`. Raises DataError that names what is wrong, and where."""

    @abstractmethod
    def load(self, folder: Path) -> DataSet:
        """Read what `build` wrote. Raises DataError if it is incomplete."""


@contract("model")
class Model(Component, ABC):
    """The policy. Its start policy is built once: downloaded or converted, and fine-tuned where it needs that."""

    tiny: ClassVar[bool] = False  # so small that one thread is the fastest
    pretrained: ClassVar[bool] = False  # `build` writes a model that can write; if it is fine-tuned, that begins there

    def shape(self) -> Any | None:
        """The sizes (`align_lab.models.shape.Shape`) that determine memory; None if only the weights contain them."""
        return None

    def fine_tuning(self) -> Any | None:
        """Settings of supervised fine-tuning on demonstrations (`models.sft_settings`); None for no fine-tuning.

        They are the model's field `sft`, which the `build` of a pretrained model does not read.
        """
        return None

    def initial(self, texts: Sequence[str]) -> Any:
        """The policy (`align_lab.models.policy.Policy`) that fine-tuning begins with; `texts` may train its tokenizer.

        Only called where `fine_tuning` is not None and the model is not pretrained.
        """
        raise NotImplementedError(f"{type(self).__name__}.initial is needed where it is fine-tuned and not pretrained")

    def build(self, folder: Path) -> None:
        """Write the model, before any fine-tuning, into the empty `folder`. Raises DataError.

        Only called for a pretrained model, or where `fine_tuning` is None.
        """
        raise NotImplementedError(f"{type(self).__name__}.build is needed where it is pretrained or not fine-tuned")

    def tokenizer_folder(self) -> Path | None:
        """Where the files of its tokenizer lie on this machine before `build`; None where they do not."""
        return next((file.parent for file in self.files() if file.name == "tokenizer.json"), None)

    @abstractmethod
    def load(self, folder: Path) -> Any:
        """A new copy of the policy (`align_lab.models.policy.Policy`) at every call.

        `folder`: what `build` wrote, or a Hugging Face folder that fine-tuning wrote.
        """


@dataclass(frozen=True, kw_only=True)
class RewardInputs:
    """What a reward is trained on."""

    data: DataSet
    held_out: tuple[str, ...]  # names of the evaluation sets of the data
    prompt_form: PromptForm  # how a model gets the prompts
    start: Any | None = None  # the start policy (`align_lab.models.policy.Policy`) that `starts_from` names, a new copy


@contract("reward")
@dataclass(frozen=True, kw_only=True)
class Reward(Component, ABC):
    """What scores completions. The same component is the reward of a run or, in `evaluation.judges`, a judge."""

    max_failed: float = param(
        0.1, "share of a batch's completions that may fail to be scored; beyond it the run stops, saved", low=0, high=1
    )

    used_later: ClassVar[tuple[str, ...]] = ("max_failed",)

    label: ClassVar[str] = ""  # name of its score in tables; "": the name of its metric
    unit: ClassVar[str] = ""  # of its score
    meaning: ClassVar[str] = ""  # one line for tables
    title: ClassVar[str] = ""  # name of what `build` makes, for example "reward model"; "": the component's name
    trained: ClassVar[bool] = False  # `build` trains it on the data, once
    repeats: ClassVar[bool | None] = None  # a completion that is scored again gets the same score; None: not known
    on_gpu: ClassVar[bool] = True  # `build` and `score` use a GPU if there is one
    costs: ClassVar[tuple[str, ...]] = ()  # parts whose sums the manifest records under `spent`: tokens, money
    holds: ClassVar[str] = ""  # the field that names other rewards (`align_lab.rewards.combination`); "": there is none

    def data_problem(self, data: Data) -> str:
        """Why it cannot be trained or score on this data, and what to choose instead; empty where it can."""
        return ""

    def parts(self) -> tuple[str, ...]:
        """The names of the parts of its scores, which are logged as `reward/NAME`."""
        return ()

    def inner(self) -> Mapping[str, Mapping[str, Any]]:
        """Name -> config of each reward that it is computed from, in `holds`. Those that are trained have a stage."""
        return {}

    def cost_parts(self) -> tuple[str, ...]:
        """`costs`, and the same of the rewards that it holds."""
        return self.costs

    def memory(self, policy: Mapping[str, Any]) -> ScorerMemory:
        """What it needs in the memory of each process, for the preflight; not what the rewards that it holds need.

        `policy`: the config of the run's own model. By default nothing, and so where the size is not known yet.
        """
        return ScorerMemory()

    def trained_body(self, policy: Mapping[str, Any]) -> Any | None:
        """The language model that `build` trains (`align_lab.models.shape.TrainedBody`), for the preflight.

        `policy`: the config of the run's own model. None, the default, for a small model or one of unknown size.
        """
        return None

    def starts_from(self, policy: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The config of the model whose start policy `build` starts from; None for none.

        `policy`: the config of the run's own model, which is returned where the reward is to share its start policy.
        """
        return None

    def build(self, folder: Path, given: RewardInputs) -> None:
        """Train; write the result into the empty `folder`. Only called if `trained` is True."""
        raise NotImplementedError(f"{type(self).__name__}.build is needed where trained is True")

    @abstractmethod
    def load(self, folder: Path | None) -> Scorer:
        """The scorer. `folder`: what `build` wrote; None if nothing is trained."""

    def load_from(self, folders: Mapping[str, Path]) -> Scorer:
        """The scorer. `folders`: what was built, by name: "" for this reward, NAME or NAME.NAME for those it holds."""
        return self.load(folders.get(""))

    def value_weights(self, scorer: Scorer) -> tuple[Any, Tensor] | None:
        """(body, head [1 D]) of a scorer that is a language model, to initialize a critic; else None."""
        return None


contract("hardware")(Hardware)
contract("train")(Train)
contract("record")(Record)


def texts(demonstrations: Sequence[Demonstration]) -> list[str]:
    """Each demonstration as one text; a conversation has one line per turn."""
    return [one.text for one in demonstrations]
