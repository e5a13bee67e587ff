"""The composed and validated config of a run, with its signature and its name."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from align_lab.base import registry
from align_lab.base.contracts import Algorithm, Data, Hardware, Model, Record, Reward, Train
from align_lab.base.roles import role
from align_lab.base.settings import Evaluation, Preferences, Sampling
from align_lab.base.task import DEVELOPMENT, FEW_PROMPTS

CLIPS = ("clip", "clip_high", "value_clip", "weight_cap")  # of the ratio to the policy that sampled, and of the value


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The composed and validated config of a run: plain values, and the option chosen in each config group."""

    values: Mapping[str, Any]
    choices: Mapping[str, str]

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    @property
    def study(self) -> str:
        """The folder under runs/ that holds this run and those it is compared with."""
        return str(self.values["study"])

    @property
    def seed(self) -> int:
        """Of the policy's training."""
        return int(self.values["seed"])

    @property
    def plugins(self) -> tuple[str, ...]:
        """Modules from outside this package that register components."""
        return tuple(self.values["plugins"])

    @property
    def hang_minutes(self) -> float:
        """The watchdog's time limit without progress."""
        return float(self.values["hang_minutes"])

    @functools.cached_property
    def train(self) -> Train:
        """How much experience a step holds, and how it is used."""
        return registry.build("train", self.values["train"])

    @functools.cached_property
    def hardware(self) -> Hardware:
        """Where processes run, and in which precision."""
        return registry.build("hardware", self.values["hardware"])

    @functools.cached_property
    def record(self) -> Record:
        """What is kept of the run."""
        return registry.build("record", self.values["record"])

    @functools.cached_property
    def sampling(self) -> Sampling:
        """How completions are sampled."""
        return registry.construct(Sampling, self.values["sampling"])

    @functools.cached_property
    def evaluation(self) -> Evaluation:
        """On what, and by whom, every arm is judged."""
        return registry.construct(Evaluation, self.values["evaluation"])

    @functools.cached_property
    def preferences(self) -> Preferences:
        """How preference pairs are made."""
        return registry.construct(Preferences, self.values["preferences"])

    @functools.cached_property
    def algo(self) -> Algorithm:
        """The algorithm's component."""
        return registry.build("algo", self.values["algo"])

    @functools.cached_property
    def data(self) -> Data:
        """The data's component."""
        return registry.build("data", self.values["data"])

    @functools.cached_property
    def model(self) -> Model:
        """The model's component."""
        return registry.build("model", self.values["model"])

    @functools.cached_property
    def reward(self) -> Reward:
        """The reward's component."""
        return registry.build("reward", self.values["reward"])

    @functools.cached_property
    def judges(self) -> dict[str, Reward]:
        """The judges' components by name."""
        return {name: registry.build("reward", values) for name, values in self.evaluation.judges.items()}

    @property
    def evaluated_sets(self) -> tuple[str, ...]:
        """The evaluation sets, and the development set where the run looks at it."""
        sets = self.data.evaluation_sets(self.evaluation.sets)
        return (*sets, DEVELOPMENT) if self.uses_development and DEVELOPMENT not in sets else sets

    @property
    def uses_development(self) -> bool:
        """Does the score on the development set decide which checkpoint is the best?"""
        return self.evaluation.development > 0 and self.data.has_development()

    @property
    def uses_data_pairs(self) -> bool:
        """Does the policy learn from preference pairs that come with the data?"""
        return self.algo.needs.pairs > 0 and self.preferences.source == "data"

    @property
    def uses_labeled(self) -> bool:
        """Does it learn from single completions of the data, each with a label? If they are of one kind, from pairs."""
        return self.uses_data_pairs and not self.algo.needs.paired and len(self.data.labels()) == 2

    @property
    def development_prompts(self) -> int | None:
        """How many prompts choose the best checkpoint; None where that is not known before the data is built."""
        size = self.data.size(DEVELOPMENT)
        return None if size is None else min(size, self.evaluation.development)

    @property
    def cautions(self) -> list[str]:
        """What is to be known before the run starts: settings that bias it, or that its algorithm does not read."""
        needs, cautions = self.algo.needs, list[str]()
        if needs.samples and self.sampling.caution:
            cautions.append(self.sampling.caution)
        if not needs.pairs and self.preferences.source == "data" and self._has_unread_preferences:
            cautions.append(
                f"preferences.source=data has no effect: algo={self.values['algo']['name']} learns from the reward of "
                "completions that it samples, and not from preferences. algo=dpo, for example, learns from those of "
                "the data; for any algorithm they can train a reward, reward=reward_model"
            )
        cautions += self._short_of_budget
        if self.uses_development and (few := self.development_prompts or FEW_PROMPTS) < FEW_PROMPTS:
            cautions.append(
                f"the best checkpoint is chosen by {few} development prompts, with so few in part by chance. Hold out "
                "more: data.development_share=0.2 (data=files) or data.development=N, and evaluation.development=128"
            )
        if idle := self._idle_clips:
            cautions.append(
                f"{', '.join(idle)}: with one update a step (train.epochs=1 train.minibatches=1) no clip ever acts, "
                "since ratios are 1 and values those of the rollout. Set train.minibatches=4, for example"
            )
        return cautions

    @property
    def _idle_clips(self) -> list[str]:
        """Clips with another value than their default, where a step makes one update."""
        if self.values["train"]["epochs"] * self.values["train"]["minibatches"] > 1:
            return []
        defaults = {spec.name: spec.default for spec in dataclasses.fields(cast(Any, self.algo))}
        values = {name: getattr(self.algo, name) for name in CLIPS if name in defaults}
        return [f"algo.{name}={value}" for name, value in values.items() if value != defaults[name]]

    @property
    def _short_of_budget(self) -> list[str]:
        """That the run ends before its budget of episodes is spent, and what to type; empty where it does not."""
        budget, plan, pairs = self.train.budget.episodes, self.train, self.preferences.pairs
        if budget is None or self.algo.needs.refills:
            return []
        step = plan.prompts_per_step * (plan.group_size + self.algo.needs.greedy)
        if self.algo.needs.samples and plan.steps * step < budget:
            return [
                f"train.steps={plan.steps} ends it after {plan.steps * step:,} completions, before its budget of "
                f"{budget:,} is spent. Leave train.steps out, or type train.steps={-(-budget // step)}"
            ]
        each = self.preferences.samples
        if self.algo.needs.samples or self.preferences.source != "reward" or not pairs or pairs * each >= budget:
            return []
        return [
            f"its {pairs:,} preference pairs are charged once, {pairs * each:,} completions of its budget of "
            f"{budget:,}. To spend all of it: preferences.pairs={-(-budget // each)}"
        ]

    @property
    def _has_unread_preferences(self) -> bool:
        """Are there preferences in the data, and no reward or judge that could be trained on them?"""
        if not self.data.has_pairs() and not self.data.labels():
            return False
        return not any(_learns(reward) for reward in (self.reward, *self.judges.values()))

    @functools.cached_property
    def signature(self) -> str:
        """Eight hex digits, a hash of everything that can change a result."""
        return signature(self.values)

    @property
    def name(self) -> str:
        """The name of the run's folder under runs/STUDY/, known before the run starts."""
        return f"{self.choices['algo']}-{self.choices['model']}{run_ending(self.seed, self.signature)}"


def _learns(reward: Reward) -> bool:
    """Is it trained on the data, or a reward that it holds?"""
    inside = (registry.build("reward", values) for values in reward.inner().values())
    return reward.trained or any(_learns(one) for one in inside)


def plain(config: Any) -> dict[str, Any]:
    """Config -> nested dictionary of plain values, interpolations resolved."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf, in the config's order."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from leaves(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def run_ending(seed: int, signature: str) -> str:
    """What the name of a run ends with."""
    return f"-s{seed}-{signature}"


def signature(config: Mapping[str, Any]) -> str:
    """Eight hex digits that identify a run before it has started: a hash of the full resolved config.

    Fields that cannot change a result are excluded: study, recording, placement (role `none`).
    """
    relevant = {key: value for key, value in leaves(config) if role(key) != "none"}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:8]
