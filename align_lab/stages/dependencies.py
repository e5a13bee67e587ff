"""What a run starts from, as recipes: data, start policy, reward, gold judge, preference pairs. Nothing is built here.

Each is an artefact, built once and shared by every run whose recipe is the same. A build imports what it needs when it is called.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align_lab.base import made_of, registry
from align_lab.base.run_config import RunConfig
from align_lab.base.settings import Preferences, Sampling
from align_lab.stages.store import Recipe

VERSION = {
    "data": 1,
    "sft": 3,
    "reward_model": 1,
    "gold": 2,
    "preferences": 1,
}  # raise one when its stage computes something else
TITLE = {
    "data": "data set",
    "sft": "start policy",
    "reward_model": "reward model",
    "gold": "gold judge",
    "preferences": "preference pairs",
}


@dataclass(frozen=True, kw_only=True)
class Stages:
    """`reward` is None for a reward that needs no training, `pairs` for an algorithm that samples its own experience."""

    data: Recipe
    policy: Recipe
    gold: Recipe
    reward: Recipe | None
    pairs: Recipe | None

    def named(self) -> dict[str, Recipe]:
        return {f.name: recipe for f in dataclasses.fields(self) if (recipe := getattr(self, f.name)) is not None}


def stages(cfg: RunConfig) -> Stages:
    """The stages of one run, from its config alone."""
    data = data_stage(cfg["data"])
    policy = policy_stage(cfg["model"], data)
    reward = reward_stage(cfg["reward"], data, cfg["model"])
    needs = registry.build("algo", cfg["algo"]).needs
    pairs = preference_stage(cfg, data, policy, reward) if needs.experience == "pairs" else None
    return Stages(data=data, policy=policy, gold=gold_stage(data), reward=reward, pairs=pairs)


def data_stage(values: Mapping[str, Any]) -> Recipe:
    data = registry.build("data", values)
    return _recipe("data", _built_from(data, values), lambda folder, inputs: data.build(folder), made_by=[data])


def policy_stage(values: Mapping[str, Any], data: Recipe) -> Recipe:
    model = registry.build("model", values)
    recipe = _recipe(
        "sft",
        _built_from(model, values),
        lambda folder, inputs: model.build(folder, _load(data, inputs[0])),
        data,
        made_by=[model],
    )
    return dataclasses.replace(recipe, title=f"{recipe.title} (supervised fine-tuning)") if "sft" in values else recipe


def reward_stage(values: Mapping[str, Any], data: Recipe, model: Mapping[str, Any]) -> Recipe | None:
    """A reward model grows from a tiny language model, whatever policy is trained: it reads text. A tiny policy shares its start."""
    reward = registry.build("reward", values)
    if not hasattr(reward, "build"):
        return None
    tiny = (
        model if model["name"] == "tiny" else {"name": "tiny", **dataclasses.asdict(registry.lookup("model", "tiny")())}
    )
    return _recipe(
        "reward_model",
        values,
        lambda folder, inputs: reward.build(folder, _load(data, inputs[0]), inputs[1]),
        data,
        policy_stage(tiny, data),
        made_by=[reward],
    )


def gold_stage(data: Recipe) -> Recipe:
    def build(folder: Path, inputs: list[Path]) -> None:
        from align_lab.tasks.movie_reviews.gold import build_gold

        reviews = _load(data, inputs[0])
        build_gold(folder, reviews.gold, reviews.evaluation)

    return _recipe("gold", {}, build, data)


def preference_stage(cfg: RunConfig, data: Recipe, policy: Recipe, reward: Recipe | None) -> Recipe:
    dtype = cfg["hardware"]["numerics"]["dtype"]

    def build(folder: Path, inputs: list[Path]) -> None:
        from align_lab.models.policy import DTYPES
        from align_lab.rollout.prompts import Prompts
        from align_lab.train.preference_pairs import build_pairs

        start = registry.build("model", cfg["model"]).load(inputs[1]).to(DTYPES[dtype])
        sampling = registry.construct(Sampling, cfg["sampling"])
        build_pairs(
            folder,
            registry.construct(Preferences, cfg["preferences"]),
            policy=start,
            sampling=sampling,
            prompts=Prompts.of(
                start, _load(data, inputs[0]).training_prompts(), sampling, instruction=instruction_of(cfg["data"])
            ),
            reward=registry.build("reward", cfg["reward"]).load(inputs[2] if reward else None),
        )

    settings = {
        "dtype": dtype,
        "instruction": instruction_of(cfg["data"]),
        **{name: cfg[name] for name in ("preferences", "sampling", "reward")},
    }
    scores = registry.build("reward", cfg["reward"])
    return _recipe("preferences", settings, build, data, policy, *([reward] if reward else []), made_by=[scores])


def instruction_of(values: Mapping[str, Any]) -> str:
    """What a chat model is asked on this data; "{prompt}" stands for the opening that it goes on from."""
    return values.get("instruction", "{prompt}")


def _built_from(component: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a component's `build` looks at: a change of the others builds nothing anew."""
    return {key: value for key, value in values.items() if key not in getattr(component, "used_later", ())}


def _recipe(kind: str, settings: Mapping[str, Any], build: Any, *inputs: Recipe, made_by: Sequence[Any] = ()) -> Recipe:
    """`made_by`: the components whose code, and whose files, decide what is built."""
    return Recipe(
        kind=kind,
        settings={**settings, "version": VERSION[kind]},
        build=build,
        inputs=inputs,
        title=TITLE[kind],
        made_of=made_of.of_components(made_by),
        files=made_of.files_of(made_by),
    )


def _load(data: Recipe, folder: Path) -> Any:
    values = {key: value for key, value in data.settings.items() if key != "version"}
    return registry.build("data", values).load(folder)
