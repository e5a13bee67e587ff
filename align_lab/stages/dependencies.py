"""The stages that a run depends on: data, start policy, reward, judges, preference pairs. Nothing is built here.

Each stage yields one artefact, which is built once and shared by all runs with an equal stage. A stage exists only if a
component needs it: a rule needs no training, and an algorithm that samples needs no pairs. A build imports what it
needs when it is called.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align_lab.base import made_of, registry
from align_lab.base.component import Component
from align_lab.base.contracts import Data, Model, Reward, texts
from align_lab.base.run_config import RunConfig
from align_lab.base.task import TRAIN, DataSet
from align_lab.stages.store import Stage

VERSION = {"sft": 3, "preferences": 1}  # raise one when our own part of a stage computes something else
JUDGE = "judges."  # in the name of a judge's stage: judges.NAME


def stages(cfg: RunConfig) -> dict[str, Stage]:
    """The stages of one run by name, from its config alone: `data`, `policy`, `reward`, `judges.NAME`, `pairs`.

    Those of rewards that another one holds are named after it: `reward.NAME`, `judges.NAME.NAME`.
    """
    values = cfg.values
    data = data_stage(values["data"])
    policy = policy_stage(values["model"], data)
    required = {"data": data, "policy": policy}
    rewards = reward_stages(values["reward"], data, values["model"])
    required |= _named("reward", rewards)
    for name, judge in cfg.evaluation.judges.items():
        required |= _named(f"{JUDGE}{name}", reward_stages(judge, data, values["model"]))
    if cfg.algo.needs.experience == "pairs":
        required["pairs"] = preference_stage(cfg, data, policy, rewards)
    return required


def _named(name: str, stages_of_reward: Mapping[str, Stage]) -> dict[str, Stage]:
    return {f"{name}.{inner}" if inner else name: stage for inner, stage in stages_of_reward.items()}


def folders_of(name: str, built: Mapping[str, Path]) -> dict[str, Path]:
    """What `Reward.load_from` takes: the folders of the stage `name` and of those named after it."""
    own = {name: ""} | {key: key.removeprefix(f"{name}.") for key in built if key.startswith(f"{name}.")}
    return {own[key]: folder for key, folder in built.items() if key in own}


def data_stage(values: Mapping[str, Any]) -> Stage:
    """The data set, downloaded or read, and split."""
    data: Data = registry.build("data", values)
    stage = _stage("data", "data set", data, _built_from(data, values), lambda folder, inputs: data.build(folder))
    return dataclasses.replace(stage, gpu=False)


def policy_stage(values: Mapping[str, Any], data: Stage) -> Stage:
    """The start policy: downloaded, converted, or fine-tuned on demonstrations if the model needs that."""
    model: Model = registry.build("model", values)
    plan = model.fine_tuning()
    if plan is None:
        return _stage(
            "policy", "start policy", model, _built_from(model, values), lambda folder, inputs: model.build(folder)
        )

    def build(folder: Path, inputs: list[Path]) -> None:
        from align_lab.train.sft import build_sft

        data_set, held_out = load_data(data, inputs[0]), _component(data).splits()[1]
        imitated, unseen = (texts(data_set.demonstrations(split)) for split in (TRAIN, held_out))
        build_sft(folder, model.initial(imitated), plan, texts=imitated, held_out=unseen)

    settings = {**_built_from(model, values), "sft_version": VERSION["sft"]}
    return _stage("sft", "start policy (supervised fine-tuning)", model, settings, build, data)


def reward_stage(values: Mapping[str, Any], data: Stage, model: Mapping[str, Any]) -> Stage | None:
    """The training of a reward or a judge; None for one that is not trained.

    Its backbone, if it has one, is the start policy of the model that it names: the run's own policy if it is that one.
    """
    reward: Reward = registry.build("reward", values)
    if not reward.trained:
        return None
    inputs = [data]
    if reward.backbone:
        inputs.append(policy_stage(_backbone(reward.backbone, model), data))

    def build(folder: Path, folders: list[Path]) -> None:
        reward.build(folder, load_data(data, folders[0]), folders[1] if folders[1:] else None)

    name = str(values["name"])
    stage = _stage(name, reward.title or name, reward, _built_from(reward, values), build, *inputs)
    return dataclasses.replace(stage, gpu=reward.on_gpu)


def reward_stages(values: Mapping[str, Any], data: Stage, model: Mapping[str, Any]) -> dict[str, Stage]:
    """The stages of a reward ("") and of the rewards that it holds (NAME, NAME.NAME), where they are trained."""
    own = reward_stage(values, data, model)
    found = {} if own is None else {"": own}
    for name, inner in registry.build("reward", values).inner().items():
        found |= _named(name, reward_stages(inner, data, model))
    return found


def _backbone(name: str, model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The run's own model if the reward names it; else the named model with its defaults."""
    if model["name"] == name:
        return model
    return {"name": name, **dataclasses.asdict(registry.lookup("model", name)())}


def preference_stage(cfg: RunConfig, data: Stage, policy: Stage, rewards: Mapping[str, Stage]) -> Stage:
    """Pairs of the start policy's completions, labelled by the reward."""
    dtype = cfg.hardware.numerics.dtype
    form = cfg.data.prompt_form

    def build(folder: Path, inputs: list[Path]) -> None:
        from align_lab.models.policy import DTYPES
        from align_lab.rollout.prompts import Prompts
        from align_lab.train.preference_pairs import build_pairs
        from align_lab.train.scoring import LimitedScorer

        start = cfg.model.load(inputs[1]).to(DTYPES[dtype])
        examples = load_data(data, inputs[0]).examples(TRAIN)
        build_pairs(
            folder,
            cfg.preferences,
            policy=start,
            sampling=cfg.sampling,
            prompts=Prompts.of(start, examples, cfg.sampling, form=form, split=TRAIN),
            reward=LimitedScorer(
                scorer=cfg.reward.load_from(dict(zip(rewards, inputs[2:], strict=True))),
                max_failed=cfg.reward.max_failed,
            ),
        )

    settings = {
        "dtype": dtype,
        "prompt_form": dataclasses.asdict(form),
        **{name: cfg.values[name] for name in ("preferences", "sampling")},
        "reward": _built_from(cfg.reward, cfg.values["reward"]),
        "version": VERSION["preferences"],
    }
    return Stage(
        kind="preferences",
        title="preference pairs",
        settings=settings,
        build=build,
        inputs=(data, policy, *rewards.values()),
        made_of=made_of.of_components([cfg.reward]),
        files=made_of.files_of([cfg.reward]),
    )


def load_data(data: Stage, folder: Path) -> DataSet:
    """The data set that `data` built into `folder`."""
    return _component(data).load(folder)


def _component(data: Stage) -> Data:
    """The component whose `build` is this stage."""
    return registry.build("data", {key: value for key, value in data.settings.items() if key != "version"})


def _built_from(component: Component, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a component's `build` reads: changing others does not rebuild its artefact."""
    return {key: _without_later(value) for key, value in values.items() if key not in component.used_later}


def _without_later(value: Any) -> Any:
    """The same of the rewards that a field holds."""
    if not isinstance(value, Mapping):
        return value
    if str(value.get("name")) in registry.names("reward"):
        return _built_from(registry.lookup("reward", value["name"])(), value)
    return {key: _without_later(inner) for key, inner in value.items()}


def _stage(
    kind: str, title: str, component: Component, settings: Mapping[str, Any], build: Any, *inputs: Stage
) -> Stage:
    versioned = {**settings, "version": component.version}
    return Stage(
        kind=kind,
        title=title,
        settings=versioned,
        build=build,
        inputs=inputs,
        made_of=made_of.of_components([component]),
        files=made_of.files_of([component]),
    )
