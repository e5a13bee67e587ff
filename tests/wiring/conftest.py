"""A whole run, put together by the functions that put together every run, from artefacts of a very small model."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from align_lab.base import registry
from align_lab.base.run_config import RunConfig
from align_lab.base.types import Needs
from align_lab.config.composition import compose
from align_lab.models.lora_settings import Lora
from align_lab.rewards.reward_model import PairReward
from align_lab.run.assembly import assemble
from align_lab.stages.dependencies import stages
from align_lab.stages.store import Artefact, Store
from tests.train import small
from tests.train.small import Memory
from tests.wiring.parts import COMPONENTS, Watched

DATA = {"name": "words", "instruction": "{prompt}", "chat_form": "answer", "too_long": "error"}
MODEL = {"name": "two_layers", "seed": 0, "context": 32, "lora": dataclasses.asdict(Lora())}
REWARD = {"name": "knows_the_example", "max_failed": 0.1}
REWARD_MODEL = {"name": "reward_model", **dataclasses.asdict(PairReward(epochs=2.0, batch=2, lr=0.01, held_out=0.0))}
SMALL = [
    *("train.steps=3", "train.prompts_per_step=4", "train.group_size=4", "train.lr=0.003", "train.warmup_steps=0"),
    *("sampling.max_new_tokens=6", "sampling.temperature=0.7", "hardware.numerics.dtype=float64"),
    *("preferences.pairs=12", "preferences.samples=4", "record.checkpoint_every=1"),
]
EVALUATION = {"prompts": 5, "every": 2, "judges": {}, "metric": "eval/score", "sets": []}


@dataclass(kw_only=True)
class Assembled:
    """A loop at step 0, what it was assembled from, and its algorithm, which keeps what it is given."""

    loop: Any
    cfg: RunConfig
    built: Mapping[str, Artefact]
    algo: Watched

    @property
    def start(self) -> Any:
        """A new copy of the start policy."""
        return self.cfg.model.load(self.built["policy"].path).to(next(self.loop.learner.policy.parameters()).dtype)

    @property
    def rows(self) -> list[dict[str, float]]:
        """The logged rows."""
        return self.loop.journal.rows

    @property
    def scorer(self) -> Any:
        """The scorer of the reward, in training and in evaluation."""
        return self.loop.evaluate.reward.scorer


@functools.cache
def composed(*overrides: str) -> dict[str, Any]:
    """The config of a run with the defaults of its algorithm. Composition takes longer than most of these tests."""
    return compose([*overrides]).values


def configured(overrides, *, reward, **of_groups) -> RunConfig:
    """A composed config with these values, which are not validated, and whose components are those of this folder."""
    default = composed(*(one for one in overrides if one.startswith(("algo=", "train.group_size="))))
    values = OmegaConf.from_dotlist([*SMALL, *(one for one in overrides if not one.startswith("algo="))])
    base = _of_the_type(OmegaConf.to_container(OmegaConf.merge(default, values)), default)
    parts = {**base, "data": DATA, "model": MODEL, "evaluation": {**base["evaluation"], **EVALUATION}}
    values = {**parts, "reward": reward} | {name: {**parts[name], **fields} for name, fields in of_groups.items()}
    algo = of_groups.get("algo", {})
    if "name" in algo and algo["name"] != base["algo"]["name"]:
        fields = dataclasses.fields(registry.lookup("algo", algo["name"]))
        values["algo"] = {
            key: value for key, value in values["algo"].items() if key in {"name", *(f.name for f in fields)}
        }
    return RunConfig(values, {"algo": values["algo"]["name"], "model": "two_layers"})


def _of_the_type(value: Any, default: Any) -> Any:
    """Whole numbers where the default is a float become floats, as in a composition."""
    if isinstance(value, dict) and isinstance(default, dict):
        return {key: _of_the_type(inner, default.get(key)) for key, inner in value.items()}
    return float(value) if isinstance(default, float) and value is not None else value


@pytest.fixture(autouse=True)
def _components(monkeypatch):
    registry.scan()
    monkeypatch.setattr(registry, "_components", {**registry._components, **COMPONENTS})


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Store:
    return Store(Path(tmp_path_factory.mktemp("artefacts")))


@pytest.fixture
def run(store):
    """Assemble a run: overrides as they are typed, then fields of groups (algo={...}), which are not validated."""

    def assembled(*overrides, reward=REWARD, **of_groups):
        cfg = configured(overrides, reward=reward, **of_groups)
        built = {name: store.get(stage) for name, stage in stages(cfg).items()}
        loop = assemble(cfg, built, journal=Memory(), should_stop=lambda: False)
        loop.algo = watched = Watched(loop.algo)
        return Assembled(loop=loop, cfg=cfg, built=built, algo=watched)

    return assembled


def names(wanted=lambda needs: True) -> list[str]:
    """The options of `algo` whose needs are as wanted, without the components of this folder."""
    return [name for name in small.algorithms() if ("algo", name) not in COMPONENTS and wanted(needs_of(name))]


def needs_of(name: str) -> Needs:
    """What an algorithm needs with its defaults."""
    return small.algorithm(name).needs


def choice(name: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The overrides and fields with which an algorithm trains its policy from the first step on, on this task."""
    needs = needs_of(name)
    overrides, fields = [f"algo={name}"], {}
    if needs.max_group_size is not None:
        overrides.append(f"train.group_size={min(4, needs.max_group_size)}")
    if needs.critic is not None and needs.critic.pretrain_steps:
        fields["algo"] = {"critic_pretrain_steps": 0}
    if needs.critic is not None and needs.critic.init == "reward":
        fields["reward"] = REWARD_MODEL
    return tuple(overrides), fields
